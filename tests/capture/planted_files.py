"""Files of every format that hold exchanges with secrets planted in them: those with whole messages, and tables.

What a format has no place for is left out: ``FORMATS`` says which places a format can hold. The client's address, who
was logged in and the name of the connection are planted as well; none of them may be found afterwards.
"""

import base64
import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from import_parts import SEPARATOR, capture_of
from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow
from planted import KINDS, UNLISTED, Kind, Planted
from planted_places import BODIES_ONLY, PLACES

from replay.capture.pseudonyms import Key
from replay.capture.scrub import Scrubber
from replay.traffic import Exchange, Headers, Response, first_header

ALL = frozenset(PLACES)
_KEY = Key(bytes(32))
MESSAGES = ALL - {"error"}
HEADERS = frozenset({"header", "cookie", "set-cookie", "referer", "location", "fragment"})
TARGETS = frozenset(
    {"path", "query", "twice encoded", "every character encoded", "base64 of json in a query"}
    | {"matrix parameter", "query's name"}
)
ADDRESS = Kind("client's address", lambda r: f"198.18.{r.randrange(100, 256)}.{r.randrange(100, 256)}", "", True)
ADDRESS_6 = Kind(
    "client's IPv6 address", lambda r: f"2001:db8:{r.randrange(4096, 65536):x}::{r.randrange(9):x}", "", True
)
USER = Kind("name of who was logged in", lambda r: f"lena-{r.randrange(16**8):08x}", "", True)
PEOPLE = (ADDRESS, ADDRESS_6, USER)
_LISTED = ("json", "form", "query")


@dataclass(frozen=True, slots=True)
class Sent:
    """An exchange with what only some formats say of who sent it."""

    exchange: Exchange
    address: str
    user: str

    @property
    def target(self) -> str:
        request = self.exchange.request
        return f"{request.path}{'?' * bool(request.query)}{request.query}"

    @property
    def peer(self) -> str:
        """Address and port."""
        return f"[{self.address}]:41234" if ":" in self.address else f"{self.address}:41234"

    @property
    def answer(self) -> Response:
        return self.exchange.response or Response(0)


def sent(places: frozenset[str], random: Random, most: int | None = None) -> tuple[list[Sent], list[Planted]]:
    """Exchanges with a secret of each kind in ``most`` of the ``places`` (or in all), and all that was planted.

    What is known by a name alone stands under that name last.
    """
    secrets = [Planted(kind, _made(kind, random)) for kind in KINDS]
    made: list[Exchange] = []
    for one in secrets:
        usable = sorted(place for place in places if "\n" not in one.value or place in BODIES_ONLY)
        chosen = usable if most is None else random.sample(usable, min(most, len(usable)))
        made += [PLACES[place](len(made), random.choice(UNLISTED), one.value) for place in chosen]
        if not one.kind.shows_itself:
            place = random.choice([place for place in _LISTED if place in places])
            made.append(PLACES[place](len(made), one.kind.listed, one.value))
    people = [
        [Planted(kind, kind.make(random)) for kind in (ADDRESS_6 if number % 4 == 0 else ADDRESS, USER)]
        for number in range(20)
    ]
    found = [Sent(one, *(each.value for each in random.choice(people))) for one in made]
    usable_secrets = [one for one in secrets if "\n" not in one.value or places & BODIES_ONLY]
    return found, usable_secrets + [each for pair in people for each in pair]


def _made(kind: Kind, random: Random) -> str:
    """A secret of that kind. One of base64 in some hundred looks like a path by chance, and shows nothing by itself."""
    tries = (kind.make(random) for _ in range(5))
    return next(one for one in tries if not kind.shows_itself or one not in Scrubber(_KEY).text(f"it is {one}"))


# Whole messages


def _text(body: bytes | None) -> dict[str, str]:
    """A body as HAR has it."""
    try:
        return {"text": (body or b"").decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body or b"").decode(), "encoding": "base64"}


def _pairs(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def entry(one: Sent) -> dict[str, Any]:
    exchange, request, answer = one.exchange, one.exchange.request, one.answer
    posted = {"mimeType": request.header("content-type") or "", **_text(request.body)}
    return {
        "startedDateTime": exchange.at.isoformat(),
        "time": 12.5,
        "connection": one.peer,
        "_clientAddress": one.address,
        "request": {
            "method": request.method,
            "url": f"https://{request.host}{one.target}",
            "httpVersion": "HTTP/1.1",
            "headers": _pairs(request.headers),
            "cookies": [],
            "queryString": [],
            **({"postData": posted} if request.body else {}),
        },
        "response": {
            "status": answer.status,
            "statusText": "",
            "headers": _pairs(answer.headers),
            "cookies": [],
            "content": {"size": len(answer.body or b""), "mimeType": "", **_text(answer.body)},
            "redirectURL": "",
            "_error": exchange.error,
        },
        "cache": {},
        "timings": {"send": 1, "wait": 10, "receive": 1.5},
    }


def har(found: list[Sent]) -> bytes:
    entries = [entry(one) for one in found]
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": "a", "version": "1"}, "entries": entries}}
    ).encode()


def _fields(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers)


def mitmproxy_dump(found: list[Sent]) -> bytes:
    file = io.BytesIO()
    writer = FlowWriter(file)
    for one in found:
        exchange, request = one.exchange, one.exchange.request
        at = exchange.at.timestamp()
        made = http.Request.make(request.method, f"https://{request.host}/", request.body or b"", ())
        made.headers = http.Headers((*_fields(request.headers), (b"Host", request.host.encode())))
        made.data.path = one.target.encode()
        made.timestamp_start, made.timestamp_end = at, at + 0.001
        flow = tflow.tflow(req=made, err=mitm_flow.Error(exchange.error) if exchange.error else False)
        flow.client_conn.peername = (one.address, 41234)
        if exchange.response:
            flow.response = http.Response.make(200, exchange.response.body or b"", ())
            flow.response.headers = http.Headers(_fields(exchange.response.headers))
            flow.response.timestamp_start, flow.response.timestamp_end = at + 0.01, at + 0.02
        writer.add(flow)
    return file.getvalue()


def message(first: str, headers: Headers, body: bytes | None) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body or b'')}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def request_of(one: Sent) -> bytes:
    request = one.exchange.request
    headers = (("Host", request.host), ("X-Forwarded-For", f"{one.address}, 10.0.0.1"), *request.headers)
    return message(f"{request.method} {one.target} HTTP/1.1", headers, request.body)


def gor(found: list[Sent]) -> bytes:
    pieces = []
    for number, one in enumerate(found):
        ns = int(one.exchange.at.timestamp() * 1e9)
        asked = request_of(one)
        answer = message("HTTP/1.1 200 OK", one.answer.headers, one.answer.body)
        pieces += [f"1 {number:024x} {ns} 0\n".encode() + asked, f"2 {number:024x} {ns + 5000} 0\n".encode() + answer]
    return b"".join(piece + SEPARATOR.encode() for piece in pieces)


def span(one: Sent) -> dict[str, Any]:
    exchange, request = one.exchange, one.exchange.request
    said: dict[str, Any] = {
        "http.request.method": request.method,
        "url.path": request.path,
        "url.query": request.query,
        "server.address": request.host,
        "client.address": one.address,
        "network.peer.address": one.address,
        "network.peer.port": "41234",
        "enduser.id": one.user,
        "user_agent.original": next((v for k, v in request.headers if k.startswith("X-")), "one/1"),
        **({"http.response.status_code": "200"} if exchange.response else {}),
        **{f"http.request.header.{name.lower()}": value for name, value in request.headers},
        **{f"http.response.header.{name.lower()}": value for name, value in one.answer.headers},
    }
    ns = int(exchange.at.timestamp() * 1e9)
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "kind": 2,
        "startTimeUnixNano": str(ns),
        "endTimeUnixNano": str(ns + 5_000_000),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in said.items()],
        "status": {"code": 2, "message": exchange.error} if exchange.error else {},
    }


def otlp(found: list[Sent]) -> bytes:
    spans = [span(one) for one in found]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


# Tables, and lines of JSON with all there is


def _all_of(one: Sent) -> dict[str, Any]:
    exchange, request = one.exchange, one.exchange.request
    return {
        "time": exchange.at.isoformat(),
        "method": request.method,
        "host": request.host,
        "url": one.target,
        "status": exchange.response.status if exchange.response else None,
        "client_ip": one.address,
        "user": one.user,
        "connection": one.peer,
        "error": exchange.error,
        "request_headers": json.dumps([list(pair) for pair in request.headers]),
        "response_headers": json.dumps([list(pair) for pair in one.answer.headers]),
        "request_body": request.body,
        "response_body": exchange.response.body if exchange.response else None,
    }


def _encoded(one: Sent) -> dict[str, Any]:
    row = _all_of(one)
    for name in ("request_body", "response_body"):
        body = row.pop(name)
        row[f"{name}_base64"] = base64.b64encode(body).decode() if body else None
    return row


def json_lines(found: list[Sent]) -> bytes:
    rows = [_encoded(one) for one in found]
    for row in rows:
        row["request_headers"] = dict(json.loads(row["request_headers"]))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _plain(one: Sent) -> dict[str, Any]:
    """Without bodies: what is read column by column."""
    exchange, request = one.exchange, one.exchange.request
    received = one.answer.headers
    return {
        "started_at": exchange.at.isoformat(),
        "method": request.method,
        "host": request.host,
        "url": one.target,
        "status": str(exchange.response.status) if exchange.response else "",
        "client_ip": one.address,
        "user": one.user,
        "connection": one.peer,
        "error": exchange.error,
        "user_agent": next((value for name, value in request.headers if name.startswith("X-")), ""),
        "referer": request.header("referer") or "",
        "cookie": request.header("cookie") or "",
        "sent_http_location": first_header(received, "location") or "",
        "sent_http_set_cookie": first_header(received, "set-cookie") or "",
    }


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def capture(found: Iterable[Sent], path: Path) -> None:
    """A capture that was not scrubbed, as ``--scrub off`` makes it."""
    named = [replace(one.exchange, connection=one.peer) for one in found]
    capture_of(path, sorted(named, key=lambda one: one.at), key=None, environment="production")


@dataclass(frozen=True, slots=True)
class Format:
    """``write`` makes a file of the exchanges; ``options`` are what an import of it needs."""

    write: Callable[[list[Sent]], bytes]
    places: frozenset[str]
    options: tuple[str, ...] = ()


FORMATS = {
    "har": Format(har, ALL),
    "mitmproxy": Format(mitmproxy_dump, ALL),
    "gor": Format(gor, MESSAGES),
    "otlp": Format(otlp, HEADERS | TARGETS | {"error"}),
    "json": Format(json_lines, ALL),
    "csv": Format(lambda found: _csv([_encoded(one) for one in found]), ALL),
    "csv without bodies": Format(lambda found: _csv([_plain(one) for one in found]), HEADERS | TARGETS | {"error"}),
    "parquet": Format(lambda found: _parquet([_all_of(one) for one in found]), ALL),
    "parquet without bodies": Format(
        lambda found: _parquet([_plain(one) for one in found]), HEADERS | TARGETS | {"error"}
    ),
}
