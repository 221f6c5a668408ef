"""Records with secrets in them that are broken, so that they end up among what was skipped, or in an error message."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from import_parts import SEPARATOR
from planted_files import Sent, entry, span

_SPLIT = {"gor": SEPARATOR.encode()}
_DIGITS = re.compile(rb"2026|\d\d:\d\d:\d\d|17723\d{5}")
_NEEDED = {"startedDateTime", "request", "startTimeUnixNano", "attributes", "kind"}
_METHOD = re.compile(rb"POST|GET")


def broken(name: str, data: bytes, found: list[Sent], random: Random) -> bytes:
    """A file of the format ``name`` in which no record is whole; ``data`` is one in which all are."""
    if name == "har":
        entries = [_spoilt(entry(one), random) for one in found]
        return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()[:-40]
    if name == "otlp":
        spans = [_spoilt(span(one), random) for one in found]
        return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()[:-40]
    if name in {"mitmproxy", "parquet", "parquet without bodies"}:
        return data[: len(data) // 2 + 7]
    separator = _SPLIT.get(name, b"\n")
    records = data.split(separator)
    heads = records[:1] if name.startswith("csv") else [line for line in records if line.startswith(b"#")]
    secrets = [one.exchange.request.query.encode() or b"password=Tr0ub4dor" for one in found]
    spoilt = [random.choice(_WAYS)(one, random.choice(secrets)) for one in records if one and one not in heads]
    return separator.join([*heads, *spoilt, b""])


def spoilt(name: str, data: bytes, random: Random) -> bytes:
    """The records of ``data``, and after them some that were put out of order: what they say may stand anywhere."""
    separator = _SPLIT.get(name, b"\n")
    records = [one for one in data.split(separator) if one]
    made = [_shifted(one, random) for one in random.sample(records, min(300, len(records)))]
    return data + separator.join([*made, b""])


def nameless(found: list[Sent]) -> tuple[bytes, bytes]:
    """A log of JSON and a table whose fields nobody knows, with values where names should stand."""
    values = [one.exchange.request.header(name) or "" for one in found for name, _ in one.exchange.request.headers]
    values = [value for value in values if value and "," not in value and '"' not in value]
    lines = "".join(json.dumps({value: 1, "n": {value: value}}) + "\n" for value in values)
    return lines.encode(), f"time,{','.join(values[:30])}\n1,{','.join('2' * len(values[:30]))}\n".encode()


def _spoilt(record: dict[str, Any], random: Random) -> Any:
    name = random.choice(["", *_NEEDED & record.keys()])
    return {**record, name: [record[name]]} if name else json.dumps(record)


def _shifted(record: bytes, random: Random) -> bytes:
    """A record with one of its words before it, behind it, or in another's place."""
    words = re.split(rb"([ \t,])", record)
    word = random.choice(words)
    if random.random() < 0.5:
        return random.choice([word + b" " + record, record + b" " + word, record[: random.randrange(len(record))]])
    words[random.randrange(0, len(words), 2)] = word
    return b"".join(words)


_WAYS: tuple[Callable[[bytes, bytes], bytes], ...] = (
    lambda record, secret: secret + b" " + record[: len(record) // 3],
    lambda record, secret: _DIGITS.sub(secret.replace(b"\\", b""), record),
    lambda record, secret: _METHOD.sub(b'"' + secret.replace(b"\\", b"") + b'" ', record),
    lambda record, secret: b"{" + secret,  # noqa: ARG005 - nothing is left of the record
    lambda record, secret: b"password=" + secret + record[20:60],
)
