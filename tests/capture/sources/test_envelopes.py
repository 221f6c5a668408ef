import gzip
import io
import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.inputs import Head, Input
from replay.capture.sources import combined, json_lines, ltsv
from replay.capture.sources.envelopes import ENVELOPES, Enveloped, best, layers, unwrapped
from replay.capture.sources.lines import TOO_LONG
from replay.capture.sources.source import LINE_LIMIT_BYTES, Lines, ReadOptions, Record, Source
from replay.traffic import Skipped

SOURCES: list[Source] = [*json_lines.SOURCES, *ltsv.SOURCES, *combined.SOURCES]
JSON = json_lines.SOURCES[0]
BY_TITLE = {envelope.title: envelope for envelope in ENVELOPES}
PATHS = ["/a", "/b?c=d", '/\u00e4 \\ "quoted"']
OBJECTS = [json.dumps({"time": 1772352000 + n, "method": "GET", "path": path}) for n, path in enumerate(PATHS)]
ACCESS = [
    f'192.0.2.{n} - - [01/Mar/2026:08:00:0{n} +0000] "GET /{n} HTTP/1.1" 200 5 "-" "example: [1] | 2"' for n in range(3)
]


def read(data: bytes, source: Source | None = None) -> tuple[str, list[Any]]:
    """The title of the source that some lines look like most, and what it reads; rows of tables as dicts."""
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        source = source or best(Input("a.log", Path(file.name)), SOURCES)[0]
        items: list[Any] = []
        for item in source.read(Input("a.log", Path(file.name)), ReadOptions()):
            items += [*item.table.to_pylist(), *item.skipped] if isinstance(item, Lines) else [item]
        return source.title, items


def paths(items: list[Any]) -> list[str]:
    return [
        f"{item.exchange.request.path}?{item.exchange.request.query}" if isinstance(item, Record) else item["path"]
        for item in items
        if not isinstance(item, Skipped)
    ]


# Each envelope, as the program writes it, around a line


def docker(line: str) -> str:
    return json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-03-01T08:00:00.123456789Z"})


def journald(line: str) -> str:
    fields = {"__REALTIME_TIMESTAMP": "1772352000123456", "_HOSTNAME": "web1", "_SYSTEMD_UNIT": "app.service"}
    return json.dumps(fields | {"MESSAGE": line})


def journald_of_bytes(line: str) -> str:
    return json.dumps({"_PID": "7", "MESSAGE": list(line.encode())})


def logstash(line: str) -> str:
    return json.dumps({"@timestamp": "2026-03-01T08:00:00Z", "@version": "1", "host": "web1", "message": line})


def elastic_agent(line: str) -> str:
    return json.dumps({"@timestamp": "2026-03-01T08:00:00Z", "event": {"original": line}, "message": "GET"})


WRAPPERS = [
    ("Kubernetes' log", "2026-03-01T08:00:00.123456789Z stdout F {}"),
    ("Kubernetes' log", "2026-03-01T09:00:00.123456789+01:00 stderr F {}"),
    ("Docker's JSON log", docker),
    ("journald's JSON", journald),
    ("journald's JSON", journald_of_bytes),
    ("Docker Compose's log", "web-1  | {}"),
    ("Docker Compose's log", "\x1b[36mweb-1  |\x1b[0m {}"),
    ("kubectl's log", "[pod/web-7d9f-x2x/app] {}"),
    ("syslog (RFC 5424)", "<190>1 2026-03-01T08:00:00.123456Z web1 app 7 - - {}"),
    ("syslog (RFC 5424)", '<190>1 2026-03-01T08:00:00Z web1 app 7 ID [a@1 b="c\\"d]" e="f"][g@1] \ufeff{}'),
    ("syslog", "<190>Mar  1 08:00:00 web1 app[7]: {}"),
    ("syslog", "Mar 11 08:00:00 web1 app: {}"),
    ("syslog", "2026-03-01T08:00:00.123456+00:00 web1 app[7]: {}"),
    ("lines with times before", "2026-03-01T08:00:00Z {}"),
    ("lines with tags before", "app[7]: {}"),
    ("lines with tags before", "web1 app[7]: {}"),
    ("messages in JSON", logstash),
    ("messages in JSON", elastic_agent),
]


def wrap(wrapper: Any, lines: list[str]) -> bytes:
    return "".join(
        (wrapper.format(line) if isinstance(wrapper, str) else wrapper(line)) + "\n" for line in lines
    ).encode()


@pytest.mark.parametrize(("title", "wrapper"), WRAPPERS)
def test_lines_in_an_envelope(title, wrapper) -> None:
    found, items = read(wrap(wrapper, OBJECTS))
    assert (found, len(items)) == (f"JSON lines in {title}", 3)
    assert paths(items) == ["/a?", "/b?c=d", '/%C3%A4%20\\%20"quoted"?']
    found, items = read(wrap(wrapper, ACCESS))
    assert found.endswith(f" in {title}")
    assert paths(items) == ["/0", "/1", "/2"]


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(WRAPPERS[0], WRAPPERS[2]), (WRAPPERS[2], WRAPPERS[10]), (WRAPPERS[5], WRAPPERS[16]), (WRAPPERS[3], WRAPPERS[8])],
)
def test_envelopes_in_envelopes(outer, inner) -> None:
    found, items = read(wrap(outer[1], wrap(inner[1], ACCESS).decode().splitlines()))
    assert found.endswith(f" in {inner[0]} in {outer[0]}")
    assert paths(items) == ["/0", "/1", "/2"]


def test_lines_in_no_envelope_stay_as_they_are() -> None:
    title, items = read("\n".join(OBJECTS).encode())
    assert (title, len(items)) == ("JSON lines", 3)
    # A message that an application logs beside its request is no envelope.
    with_message = [json.dumps({**json.loads(line), "message": "GET /a took 5 ms"}) for line in OBJECTS]
    assert read("\n".join(with_message).encode())[0] == "JSON lines"


def test_numbers_of_lines_are_those_of_the_file() -> None:
    lines = [docker(OBJECTS[0]), "", docker("not at all"), OBJECTS[1], docker("  "), docker('{"time": 1}')]
    title, items = read("\n".join(lines).encode())
    assert title == "JSON lines in Docker's JSON log"
    assert paths(items) == ["/a?", "/b?c=d"]
    assert [item.where for item in items if isinstance(item, Skipped)] == ["line 3", "line 6"]


# Messages that were split


def test_kubernetes_splits_long_lines() -> None:
    """Parts of both streams stand between each other; the last line of a message has all of it."""
    at = "2026-03-01T08:00:00.123456789Z"
    first, second, third = OBJECTS
    lines = [
        f"{at} stdout P {first[:9]}",
        f"{at} stderr P {second[:5]}",
        f"{at} stdout P {first[9:20]}",
        f"{at} stderr F {second[5:]}",
        f"{at} stdout F {first[20:]}",
        f"{at} stdout F:tag {third}",
        f"{at} stdout F",
        f"{at} stdout P no end",
    ]
    title, items = read("\n".join(lines).encode())
    assert title == "JSON lines in Kubernetes' log"
    assert paths(items) == ["/b?c=d", "/a?", '/%C3%A4%20\\%20"quoted"?']
    assert [item.where for item in items if isinstance(item, Skipped)] == ["line 9"]


def test_docker_splits_long_lines() -> None:
    """Of a message that was split, all but the last part lack the line feed."""
    parts = [OBJECTS[0][:10], OBJECTS[0][10:] + "\n", OBJECTS[1] + "\n"]
    lines = [json.dumps({"log": part, "stream": "stdout", "time": "2026-03-01T08:00:00Z"}) for part in parts]
    _, items = read("\n".join(lines).encode())
    assert paths(items) == ["/a?", "/b?c=d"]


def test_a_message_of_many_parts_is_bounded() -> None:
    at = b"2026-03-01T08:00:00Z stdout "
    part = at + b"P " + b"x" * 100_000 + b"\n"
    data = at + b"F " + OBJECTS[0].encode() + b"\n" + part * (LINE_LIMIT_BYTES // 100_000 + 20) + at + b"F x\n"
    _, items = read(data + at + b"F " + OBJECTS[1].encode())
    assert paths(items) == ["/a?", "/b?c=d"]
    assert [item.reason for item in items if isinstance(item, Skipped)] == [TOO_LONG]


def test_a_line_that_is_too_long_to_be_unwrapped() -> None:
    lines = [docker(OBJECTS[0]), docker("x" * LINE_LIMIT_BYTES), docker(OBJECTS[1])]
    _, items = read("\n".join(lines).encode())
    assert items[1] == Skipped("a.log", "line 2", TOO_LONG)
    assert paths(items) == ["/a?", "/b?c=d"]


def test_a_message_of_several_lines_stays_one() -> None:
    pretty = json.dumps(json.loads(OBJECTS[0]), indent=1)
    _, items = read(wrap(journald, [pretty, *OBJECTS[1:]]))
    assert paths(items)[0] == "/a?"
    assert len(items) == 3


def test_a_compressed_file_that_breaks_off() -> None:
    data = gzip.compress(wrap(docker, OBJECTS * 5_000))[:-50]
    title, items = read(data)
    assert title == "JSON lines in Docker's JSON log"
    assert isinstance(items[-1], Skipped)
    assert items[-1].reason == "the file is damaged or breaks off here"
    assert len(paths(items)) > 1_000
    assert len(paths(items)) == len(items) - 1


# Anything at all

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30)


@given(
    st.sampled_from(WRAPPERS),
    st.lists(TEXTS.filter(lambda text: text and text == text.rstrip()), min_size=1, max_size=5),
)
def test_any_line_comes_out_as_it_went_in(wrapper, lines) -> None:
    data = unwrapped(io.BytesIO(wrap(wrapper[1], lines)), BY_TITLE[wrapper[0]]).read()
    if wrapper[0] not in {"lines with times before", "messages in JSON"}:  # which want more of what is inside
        assert data.decode().split("\n") == [*lines, ""]
    assert data.count(b"\n") == len(lines)


LOGS = [wrap(wrapper, OBJECTS + ACCESS) for _, wrapper in WRAPPERS]
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 9), st.binary(max_size=4)), max_size=12)


@settings(max_examples=300)
@given(st.sampled_from(LOGS), CHANGES, st.sampled_from(ENVELOPES))
def test_lines_with_other_bytes(log, changes, other) -> None:
    data = bytearray(log)
    for at, length, new in changes:
        start = at % len(data)
        data[start : start + length] = new
    check(bytes(data), other)


@given(st.binary(max_size=300), st.sampled_from(ENVELOPES))
def test_any_bytes(data, envelope) -> None:
    check(data, envelope)


def check(data: bytes, envelope: Any) -> None:
    """In whatever envelope lines are said to be: all that are not blank inside it are kept or skipped."""
    for layer in layers(Head("a.log", data)):
        assert 0 < layer.weight <= 1
    good = OBJECTS[0].encode() + b"\n"
    inside = unwrapped(io.BytesIO(good + data), envelope).read()
    _, items = read(good + data, Enveloped(JSON, (envelope,)))
    assert len(items) == len([line for line in inside.split(b"\n") if line.strip()])
    assert inside.count(b"\n") >= len(data.splitlines()[:1])
