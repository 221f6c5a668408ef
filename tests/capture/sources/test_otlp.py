import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.inputs import Head, Input
from replay.capture.sources import json_stream
from replay.capture.sources.http_message import TUNNEL, WEBSOCKET
from replay.capture.sources.otlp import NO_TRACES, Otlp
from replay.capture.sources.otlp_span import NO_PATH, NO_TIME, NOT_A_SPAN, NOT_HTTP_SERVER
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Response, Skipped

FIXTURES = Path(__file__).parent / "fixtures"
AT = datetime(2026, 3, 1, 8, 0, 1, 234567, UTC)
NEW = {"http.request.method": "GET", "url.path": "/a", "url.scheme": "https", "server.address": "example.com"}


def read(data: bytes) -> list[Record | Skipped]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        return list(Otlp().read(Input("a.json", Path(file.name)), ReadOptions()))


def held(value: object) -> dict[str, object]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [held(each) for each in value]}}
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue"}.get(type(value), "stringValue")
    return {kind: str(value) if kind == "intValue" else value}


def span(attributes: dict[str, object], **changes: object) -> dict[str, object]:
    whole = {
        "kind": 2,
        "startTimeUnixNano": "1772352001234567890",
        "endTimeUnixNano": "1772352001259567890",
        "attributes": [{"key": key, "value": held(value)} for key, value in attributes.items()],
    }
    return {**whole, **changes}


def document(*spans: object) -> dict[str, object]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def one(attributes: dict[str, object], **changes: object) -> Record:
    (item,) = read(json.dumps(document(span(attributes, **changes))).encode())
    assert isinstance(item, Record), item.reason
    return item


def why_not(attributes: dict[str, object], **changes: object) -> str:
    (item,) = read(json.dumps(document(span(attributes, **changes))).encode())
    assert isinstance(item, Skipped)
    return item.reason


def target(attributes: dict[str, object]) -> tuple[str, str, str]:
    request = one({"http.method": "GET", **attributes}).exchange.request
    return request.host, request.path, request.query


@pytest.mark.parametrize("name", ["otel_collector.jsonl", "otel_sdk.json"])
def test_spans_of_both_conventions(name) -> None:
    """As the Collector's file exporter writes them, and as one document."""
    items = read((FIXTURES / name).read_bytes())
    new, old, lost = (item for item in items if isinstance(item, Record))
    reasons = [item.reason for item in items if isinstance(item, Skipped)]
    assert reasons == [NOT_HTTP_SERVER] * 2 + [NO_TRACES] * (name == "otel_collector.jsonl") + [NOT_HTTP_SERVER]

    exchange = new.exchange
    assert (exchange.at, exchange.duration_s) == (AT, 0.025)
    assert (new.address, new.user, exchange.connection) == ("192.0.2.44", "ann", "192.0.2.1:52011")
    request = exchange.request
    assert (request.method, request.host, request.path, request.query) == (
        "POST",
        "shop.example.com",
        "/orders",
        "dry=1",
    )
    assert request.headers == (("x-request-id", "r-1"), ("User-Agent", "curl/8.5.0"))
    assert exchange.response == Response(201, (("content-type", "application/json"),), None, 48)

    exchange = old.exchange
    request = exchange.request
    assert (request.host, request.path, request.query) == ("shop.example.com:8080", "/items/7", "full=yes")
    assert request.headers == (("x-request-id", "r-2"), ("User-Agent", "Mozilla/5.0"))
    assert exchange.response == Response(500, (), None, 12)
    assert (old.address, old.user, exchange.error) == ("192.0.2.45", "", "")

    assert (lost.exchange.response, lost.exchange.error) == (None, "timeout")


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"url.path": "/a b", "server.address": "x.org"}, ("x.org", "/a%20b", "")),
        ({"url.path": "/a", "url.query": "?q=1", "server.address": "x.org", "server.port": 80}, ("x.org", "/a", "q=1")),
        (
            {"url.path": "/a", "url.scheme": "http", "server.address": "x.org", "server.port": 443},
            ("x.org:443", "/a", ""),
        ),
        ({"url.path": "//a", "server.address": "2001:db8::1", "server.port": 81}, ("[2001:db8::1]:81", "//a", "")),
        ({"http.target": "/a?b=1?2", "http.host": "X.org:80"}, ("x.org", "/a", "b=1?2")),
        ({"http.target": "http://x.org/a?b", "net.host.name": "y.org"}, ("y.org", "/a", "b")),
        ({"http.target": "/a", "net.host.name": "y.org", "net.host.port": 8443}, ("y.org:8443", "/a", "")),
        ({"http.url": "https://x.org:443/a?b=c"}, ("x.org", "/a", "b=c")),
        ({"url.full": "https://x.org/a", "http.request.header.host": ["y.org"]}, ("y.org", "/a", "")),
        ({"http.target": "/a", "http.url": "https://x.org:8443/"}, ("x.org:8443", "/a", "")),
        ({"url.path": "/a"}, ("", "/a", "")),
        ({"url.path": "/a", "server.address": "no host"}, ("", "/a", "")),
    ],
)
def test_targets(attributes, found) -> None:
    assert target(attributes) == found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": 3}, NOT_HTTP_SERVER),
        ({"kind": "SPAN_KIND_CLIENT"}, NOT_HTTP_SERVER),
        ({"kind": None}, NOT_HTTP_SERVER),
        ({"startTimeUnixNano": None}, NO_TIME),
        ({"startTimeUnixNano": "0"}, NO_TIME),
        ({"startTimeUnixNano": "9" * 30}, NO_TIME),
        ({"startTimeUnixNano": -5}, NO_TIME),
    ],
)
def test_what_is_no_exchange(changes, reason) -> None:
    assert why_not(NEW, **changes) == reason


def test_what_else_is_no_exchange() -> None:
    assert why_not({**NEW, "http.request.method": "CONNECT"}) == TUNNEL
    assert why_not({**NEW, "http.response.status_code": 101}) == WEBSOCKET
    assert why_not({}) == NOT_HTTP_SERVER
    assert why_not({"http.method": "GET"}) == NO_PATH
    assert why_not({"http.method": "GET", "http.target": "*"}) == NO_PATH
    assert why_not({"rpc.system": "grpc"}) == NOT_HTTP_SERVER
    (item,) = read(json.dumps(document("x")).encode())
    assert item.reason == NOT_A_SPAN


def test_other_kinds_of_values() -> None:
    assert one(NEW, kind="SPAN_KIND_SERVER", startTimeUnixNano=1772352001234567890).exchange.at == AT
    assert one(NEW, endTimeUnixNano="5").exchange.duration_s == 0.0
    assert one({**NEW, "http.response.status_code": 200.0}).exchange.response.status == 200
    assert one({**NEW, "http.response.status_code": "200"}).exchange.response.status == 200
    assert one({**NEW, "http.response.status_code": True}).exchange.response is None
    assert (
        one({**NEW, "http.request.method": "_OTHER", "http.request.method_original": "BREW"}).exchange.request.method
        == "BREW"
    )
    assert one({**NEW, "client.address": "::ffff:192.0.2.4"}).address == "192.0.2.4"
    assert one({**NEW, "http.request.header.a": ["1", "2\n3"]}).exchange.request.headers == (("a", "1"), ("a", "2 3"))
    unset = one({**NEW, "error.type": "x"}).exchange
    assert (unset.response, unset.error) == (None, "")  # without a status, nothing is known to have failed


def test_names_as_protocol_buffers_have_them() -> None:
    snake = {
        "kind": 2,
        "start_time_unix_nano": "1772352001234567890",
        "attributes": [{"key": key, "value": {"string_value": value}} for key, value in NEW.items()],
    }
    whole = {"resource_spans": [{"scope_spans": [{"spans": [snake]}]}]}
    (item,) = read(json.dumps(whole).encode())
    assert (item.exchange.at, item.exchange.request.path) == (AT, "/a")


def test_a_broken_line_costs_no_other() -> None:
    line = json.dumps(document(span(NEW), span(NEW))).encode()
    for cut in (60, 150, len(line) - 3, len(line) - 20):
        items = read(line + b"\n" + line[:cut] + b"\n\n" + line + b"\n" + line[:cut])
        damaged = [item.where for item in items if isinstance(item, Skipped)]
        assert damaged == ["line 2", "line 5"]
        assert sum(isinstance(item, Record) for item in items) >= 4


def test_a_document_that_breaks_off() -> None:
    data = json.dumps(document(span(NEW), span(NEW)), indent=1).encode()
    items = read(data[:-200])
    assert [type(item) for item in items] == [Record, Skipped]
    assert items[1].where == "after span 1"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{}", "no resourceSpans"),
        (b'{"resourceSpans": 1}', "no resourceSpans"),
        (b'{"resourceLogs": []}\n', "no resourceSpans"),
        (b"[]", "no valid JSON"),
        (b'{"resourceSpans"', "breaks off"),
        (b'{"data": [{"traceID": "a", "spans": [{"operationName": "GET"}], "processes": {}}]}', "Jaeger's own format"),
        (
            b'[{"traceId": "a", "id": "b", "kind": "SERVER", "localEndpoint": {"serviceName": "x"}}]',
            "Zipkin's own format",
        ),
        (b'[[{"traceId": "a", "annotations": [], "binaryAnnotations": []}]]', "Zipkin's own format"),
    ],
)
def test_what_is_no_otlp_is_refused(data, reason) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        read(data)
    assert "OTLP" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "is_otlp"),
    [
        ('{"resourceSpans":[{', True),
        ('{\n  "resourceSpans": [', True),
        ('{"data": [{"traceID": "a", "spans": [{"operationName": "GET"', True),  # to be refused by its name
        ('{"resourceLogs": []}', False),
        ('{"log": {"entries": []}}', False),
        ('{"traceId": "a", "status": 200, "path": "/"}', False),
        ('[{"traceId": "a", "status": 200, "path": "/"}]', False),
        ("", False),
    ],
)
def test_traces_are_known_by_their_contents(text, is_otlp) -> None:
    assert (Otlp().likeness(Head("x", text.encode())) >= 0.5) == is_otlp


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["GET", "/a", "2"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("key value stringValue intValue arrayValue values kind x".split()), inner, max_size=4
        )
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    "http.request.method http.method url.path url.query http.target url.full http.url http.host server.address "
    "server.port net.host.name net.host.port http.status_code http.response.status_code client.address "
    "network.peer.port enduser.id http.request.header.a http.response.header.b http.response.body.size "
    "user_agent.original url.scheme".split()
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, st.text(st.characters())), st.data())
def test_any_value_anywhere_is_an_exchange_or_skipped(values, texts, data) -> None:
    whole = document(span({**NEW, **texts}), span(NEW))
    first = whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    first["attributes"] += [{"key": key, "value": value} for key, value in values.items()]
    for name in data.draw(st.lists(st.sampled_from([*first, "status"]), max_size=1)):
        first[name] = data.draw(VALUES)
    items = read(json.dumps(whole).encode())
    assert len(items) == 2
    assert isinstance(items[1], Record)
    if isinstance(items[0], Record):
        exchange = items[0].exchange
        assert exchange.at + timedelta(seconds=exchange.duration_s)
        texts = [exchange.request.host, exchange.request.path, exchange.request.query, exchange.error, items[0].user]
        headers = (*exchange.request.headers, *(exchange.response.headers if exchange.response else ()))
        texts += [text for header in headers for text in header]
        assert not any("\n" in text or "\r" in text for text in texts)
        "".join(texts).encode()  # can be stored


@given(VALUES, st.lists(st.integers(0, 3), max_size=8))
def test_any_shape_is_read_or_refused(value, way) -> None:
    whole = json.loads(json.dumps(document(span(NEW), span(NEW))))
    inside = whole
    for turn in way:
        keys = list(inside) if isinstance(inside, dict) else []
        keys = list(range(len(inside))) if isinstance(inside, list) else keys
        if not keys:
            break
        key = keys[turn % len(keys)]
        if not isinstance(inside[key], dict | list) or turn == 3:
            inside[key] = value
            break
        inside = inside[key]
    try:
        items = read(json.dumps(whole).encode())
    except InputError:
        return
    assert all(isinstance(item, Record | Skipped) for item in items)


@given(st.data())
def test_mutated_files_never_crash(data) -> None:
    name = data.draw(st.sampled_from(["otel_collector.jsonl", "otel_sdk.json"]))
    raw = bytearray((FIXTURES / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    try:
        items = read(bytes(raw))
    except InputError:
        return
    assert all(isinstance(item, Record | Skipped) for item in items)


@given(st.sampled_from(["otel_collector.jsonl", "otel_sdk.json"]), st.integers(1, 2000))
def test_any_chunking_gives_the_same(name, size) -> None:
    data = (FIXTURES / name).read_bytes()
    whole = read(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE_BYTES", size)
        assert read(data) == whole
