import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.inputs import Head, Input
from replay.capture.sources import caddy, cloudflare, ecs, envoy_json, json_lines, nginx_json, traefik_json
from replay.capture.sources.entries import BAD_TIME, NO_PATH, NO_RESPONSE, TUNNEL
from replay.capture.sources.envelopes import best
from replay.capture.sources.json_lines import NO_OBJECT, NOT_JSON, TOO_DEEP, JsonSource
from replay.capture.sources.lines import TOO_LONG
from replay.capture.sources.source import LINE_LIMIT_BYTES, ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Response, Skipped

FIXTURES = Path(__file__).parent / "fixtures"
MODULES = (json_lines, nginx_json, caddy, traefik_json, envoy_json, cloudflare, ecs)
SOURCES = {source.name: source for module in MODULES for source in module.SOURCES}
JSON = SOURCES["json"]


def read(data: bytes, source: JsonSource = JSON, options: ReadOptions | None = None) -> list[Record | Skipped]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        return list(source.read(Input("a.log", Path(file.name)), options or ReadOptions()))


def one(fields: dict[str, Any], options: ReadOptions | None = None) -> Record:
    (item,) = read(json.dumps(fields).encode(), JSON, options)
    assert isinstance(item, Record)
    return item


def read_shared(path: Path) -> tuple[str, list[Record], Counter[str]]:
    """What a file is found to be, the records in it, and the reasons why others are none."""
    file = Input(path.name, path)
    source, likeness = best(file, SOURCES.values())
    assert likeness > 0.5
    items = list(cast("Iterator[Record | Skipped]", source.read(file, ReadOptions())))
    assert len(items) == len([line for line in path.read_bytes().splitlines() if line.strip()])
    reasons = Counter(item.reason for item in items if isinstance(item, Skipped))
    return source.title, [item for item in items if isinstance(item, Record)], reasons


def told(record: Record) -> tuple[Any, ...]:
    exchange = record.exchange
    request = exchange.request
    status = exchange.response.status if exchange.response else None
    size_bytes = exchange.response.size_bytes if exchange.response else 0
    at = exchange.at.isoformat(timespec="milliseconds").removesuffix("+00:00")
    return (
        *(at, exchange.duration_s, request.method, request.host, request.path, request.query, status, size_bytes),
        *(record.address, record.user, exchange.connection, exchange.error),
    )


# Of each program a log of our own

FIRST = ("2026-03-01T08:00:02.000", 0.25, "POST", "shop.example.com", "/orders", "dry=1", 201, 48)
LOGS = {
    "nginx_1_26_escape_json.log": (
        "nginx-json",
        [
            (*FIRST, "192.0.2.7", "ann", "81", ""),
            (
                *("2026-03-01T08:00:02.000", 1.0, "GET", "shop.example.com:8080", "/a%C3%A4", "", 499, 0),
                *("2001:db8::7", "", "82", ""),
            ),
        ],
        ["line 3: no path is in it"],
    ),
    "caddy_2.log": (
        "caddy",
        [
            (
                *("2026-03-01T08:00:02.000", 0.25, "PUT", "shop.example.com", "/items/7", "full=yes", 200, 48),
                *("192.0.2.7", "ann", "40112", ""),
            ),
            (
                *("2026-03-01T08:00:02.988", 0.012, "GET", "shop.example.com:8443", "/", "", None, 0),
                *("192.0.2.8", "", "40113", NO_RESPONSE),
            ),
        ],
        ["line 1: a message of Caddy, no access record"],
    ),
    "traefik_3.log": (
        "traefik-json",
        [
            (
                *("2026-03-01T08:00:02.000", 0.25, "GET", "shop.example.com:8080", "/items/7", "full=yes", 200, 48),
                *("192.0.2.7", "ann", "40112", ""),
            ),
            (
                *("2026-03-01T08:00:02.998", 0.0015, "POST", "shop.example.com", "/orders", "", 502, 11),
                *("2001:db8::7", "", "40113", ""),
            ),
        ],
        ["line 1: a message of Traefik, no access record"],
    ),
    "envoy_gateway_1.log": (
        "envoy-json",
        [
            (*FIRST, "192.0.2.7", "", "40112", ""),
            (
                *("2026-03-01T08:00:03.000", 15.0, "GET", "shop.example.com:8443", "/slow", "", None, 0),
                *("2001:db8::7", "", "40113", "DC"),
            ),
        ],
        ["line 1: it is no JSON"],
    ),
    "cloudflare_logpush.jsonl": (
        "cloudflare",
        [
            (*FIRST, "192.0.2.7", "", "40112", ""),
            (
                *("2026-03-01T08:00:03.000", 1.5, "GET", "shop.example.com", "/slow", "", None, 0),
                *("2001:db8::7", "", "", NO_RESPONSE),
            ),
        ],
        ["line 3: no record of a request to Cloudflare"],
    ),
    "filebeat_8.ndjson": (
        "ecs",
        [
            (
                *("2026-03-01T08:00:02.000", 0.25, "POST", "shop.example.com:8443", "/orders", "dry=1", 201, 48),
                *("192.0.2.7", "ann", "40112", ""),
            ),
            (
                *("2026-03-01T08:00:03.000", 0.0, "GET", "shop.example.com", "/a", "b=c", 404, 0),
                *("2001:db8::7", "", "", ""),
            ),
        ],
        ["line 3: an event that is no request"],
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_of_a_program(name) -> None:
    source_name, exchanges, skipped = LOGS[name]
    file = Input(name, FIXTURES / name)
    source, likeness = best(file, SOURCES.values())
    assert (source.name, likeness > 0.9) == (source_name, True)
    items = list(cast("Iterator[Record | Skipped]", source.read(file, ReadOptions())))
    assert [told(item) for item in items if isinstance(item, Record)] == exchanges
    assert [f"{item.where}: {item.reason}" for item in items if isinstance(item, Skipped)] == skipped


def headers_of(name: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The request's and the response's headers of a log's first record."""
    file = Input(name, FIXTURES / name)
    exchange = next(
        item for item in SOURCES[LOGS[name][0]].read(file, ReadOptions()) if isinstance(item, Record)
    ).exchange
    found: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for into, headers in zip(found, (exchange.request.headers, exchange.response.headers), strict=True):
        for header, value in headers:
            into.setdefault(header, []).append(value)
    return found


def test_headers_that_programs_log() -> None:
    """What a program hides is left out."""
    assert headers_of("nginx_1_26_escape_json.log") == (
        {"User-Agent": ["curl/8.5.0"], "X-Request-Id": ["r-1"]},
        {"Content-Type": ["application/json"]},
    )
    assert headers_of("caddy_2.log") == (
        {"User-Agent": ["curl/8.5.0"], "Accept": ["text/html", "text/plain"]},
        {"Server": ["Caddy"], "Content-Type": ["application/json"]},
    )
    assert headers_of("traefik_3.log") == ({"User-Agent": ["curl/8.5.0"]}, {"Content-Type": ["text/html"]})
    assert headers_of("envoy_gateway_1.log") == (
        {"user-agent": ["curl/8.5.0"], "x-forwarded-for": ["203.0.113.9,192.0.2.7"], "x-request-id": ["r-1"]},
        {"X-Envoy-Upstream-Service-Time": ["248"]},
    )
    assert headers_of("cloudflare_logpush.jsonl") == (
        {
            "User-Agent": ["curl/8.5.0"],
            "Referer": ["https://shop.example.com/"],
            "CF-Ray": ["made0up0ray1"],
            "x-request-id": ["r-1"],
            "Cookie": ["session=made-up-1; theme=dark"],
        },
        {"Content-Type": ["application/json"], "etag": ['"e1"']},
    )
    assert headers_of("filebeat_8.ndjson") == (
        {
            "User-Agent": ["curl/8.5.0"],
            "Referer": ["https://shop.example.com/"],
            "X-Request-Id": ["r-1"],
            "Content-Type": ["application/json"],
        },
        {"Content-Type": ["text/plain"]},
    )


def test_bodies_that_programs_log() -> None:
    first = next(iter(read((FIXTURES / "nginx_1_26_escape_json.log").read_bytes(), SOURCES["nginx-json"])))
    assert isinstance(first, Record)
    assert first.exchange.request.body == '{"item": "7 ä"}'.encode()
    first = next(iter(read((FIXTURES / "filebeat_8.ndjson").read_bytes(), SOURCES["ecs"])))
    assert isinstance(first, Record)
    assert first.exchange.request.body == b'{"item": 7}'
    assert first.exchange.response.body == b"done"


# Logs of others


def test_caddy_of_others(shared_data) -> None:
    title, found, reasons = read_shared(shared_data / "caddy" / "crowdsec_caddy-logs.log")
    assert (title, len(found)) == ("Caddy access log", 10)
    assert reasons == {"a message of Caddy, no access record": 1}
    assert told(found[0]) == (
        *("2023-09-04T15:19:51.756", 2.701e-06, "GET", "127.0.0.1:8080", "/", "", None, 0),
        *("127.0.0.1", "", "44790", NO_RESPONSE),
    )
    title, found, reasons = read_shared(shared_data / "caddy" / "crowdsec_caddy-basic-auth-bf.log")
    assert (len(found), reasons) == (6, {})
    assert found[0].exchange.response == Response(
        401, (("Server", "Caddy"), ("Www-Authenticate", 'Basic realm="restricted"')), None, 0
    )


def test_caddy_under_compose_of_others(shared_data) -> None:
    title, found, reasons = read_shared(shared_data / "caddy" / "lnav_logfile_caddy_log.0")
    assert (title, len(found)) == ("Caddy access log in Docker Compose's log", 4)
    assert reasons == {"a message of Caddy, no access record": 35}
    assert told(found[3])[2:8] == ("GET", "localhost", "/index.html", "", 200, 188)
    assert found[3].exchange.request.header("cookie") is None
    assert found[3].exchange.duration_s == 0.000073649


def test_traefik_of_others(shared_data) -> None:
    title, found, reasons = read_shared(shared_data / "traefik" / "crowdsec_traefik_base-http-scenario.log")
    assert (title, len(found), reasons) == ("Traefik access log in JSON", 79, {TUNNEL: 1})
    assert told(found[0]) == (
        *("2021-12-08T14:02:43.464", 0.000215563, "GET", "test.docker.localhost", "/594VAEoi.dtd", "", 404, 356),
        *("172.17.0.1", "", "39490", ""),
    )
    assert found[0].exchange.request.header("user-agent") == "Nikto"
    assert {record.exchange.response.status for record in found} <= set(range(200, 600))


def test_envoy_of_others(shared_data) -> None:
    title, found, reasons = read_shared(shared_data / "envoy" / "crowdsec_envoy-logs.log")
    assert (title, len(found), reasons) == ("Envoy access log in JSON in Kubernetes' log", 6, {NOT_JSON: 4})
    assert told(found[0]) == (
        *("2025-12-31T16:37:40.479", 0.011, "GET", "www.example.com", "/assets/image.webp", "", 200, 121258),
        *("10.0.0.12", "", "59292", ""),
    )
    title, found, reasons = read_shared(shared_data / "envoy" / "crowdsec_envoy-http-bad-user-agent.log")
    assert [told(record)[2:7] for record in found] == [
        ("GET", "app.internal", "/admin", "", 404),
        ("GET", "app.internal", "/login", "", 200),
    ]


def test_a_log_without_requests_of_others(shared_data) -> None:
    path = shared_data / "json_access" / "lnav_logfile_ecs_log.json"
    source, likeness = best(Input(path.name, path), SOURCES.values())
    assert (source.name, likeness) == ("ecs", 0.8)
    with pytest.raises(InputError, match=r"an event that is no request \(5\)"):
        list(source.read(Input(path.name, path), ReadOptions()))


# Programs that nobody knows


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (
            {"ts": 1772352002.25, "req": {"method": "GET", "url": "/a?b=c", "remoteAddress": "192.0.2.7",
             "remotePort": 99}, "res": {"statusCode": 200}, "responseTime": 250},
            ("2026-03-01T08:00:02.000", 0.25, "GET", "", "/a", "b=c", 200, 0, "192.0.2.7", "", "99", ""),
        ),
        (
            {"time": "2026-03-01T08:00:02.25Z", "request": "GET http://ann:x@a.example:80/b HTTP/1.1", "status": "200",
             "latency": "250ms", "bytes": 7},
            ("2026-03-01T08:00:02.000", 0.25, "GET", "a.example", "/b", "", 200, 7, "", "", "", ""),
        ),
        (
            {"startTime": "2026-03-01T08:00:02Z", "endTime": "2026-03-01T08:00:02.250Z", "httpMethod": "DELETE",
             "path": "/c", "error": "timeout", "httpRequest": {"remoteIp": "[2001:db8::7]:99"}},
            ("2026-03-01T08:00:02.000", 0.25, "DELETE", "", "/c", "", None, 0, "2001:db8::7", "", "99", "timeout"),
        ),
    ],
)  # fmt: skip
def test_names_that_are_well_known(fields, found) -> None:
    assert JSON.likeness(Head("a.log", json.dumps(fields).encode())) == 0.75
    assert told(one(fields)) == found


def test_headers_are_those_that_reached_the_client() -> None:
    """Whatever their names are; those of the server behind count where no others are known."""
    fields = {"time": 1772352002, "method": "GET", "path": "/", "status": 200, "referer": "r", "ua": "u", "agent": "a"}
    behind = {"upstream_http_x_a": "1", "upstream_http_server": "s"}
    exchange = one(fields | behind | {"sent_http_server": "nginx"}).exchange
    assert set(exchange.request.headers) == {("Referer", "r"), ("User-Agent", "a")}
    assert exchange.response.headers == (("Server", "nginx"),)
    assert one(fields | behind).exchange.response.headers == (("X-A", "1"), ("Server", "s"))


def test_names_that_are_mapped() -> None:
    fields = {"x": {"when": "01/Mar/2026 09:00:02", "what": "a/b"}, "y": {"A": "1"}, "z": "eA==", "path": "/not/this"}
    columns = {"at": "x.when", "url": "x.what", "method": "'POST'", "request_headers": "y", "request_body:base64": "z"}
    record = one(fields, ReadOptions(columns=columns, host="h.example"))
    request = record.exchange.request
    assert told(record)[:6] == ("2026-03-01T09:00:02.000", 0.0, "POST", "h.example", "/a/b", "")
    assert (request.headers, request.body) == ((("A", "1"),), b"x")
    with pytest.raises(InputError, match="colour is nothing that a field can be mapped to"):
        one(fields, ReadOptions(columns={"colour": "x"}))


def test_sizes_and_times_that_make_no_sense() -> None:
    record = one({"time": 1772352002, "method": "get", "path": "/", "status": 200, "bytes": -5, "duration_ms": -1})
    assert (record.exchange.duration_s, record.exchange.response) == (0.0, Response(200))
    assert one({"time": 1772352002, "method": "GET", "path": "/", "host": "a\r\nb: c"}).exchange.request.host == ""
    items = read(b'{"time": 1772352002, "method": "GET", "path": "/"}\n{"time": 7, "method": "GET", "path": "/"}\n')
    assert items[1] == Skipped("a.log", "line 2", BAD_TIME)


def test_lines_that_are_no_records() -> None:
    good = b'{"time": 1772352002, "method": "GET", "path": "/"}'
    deep = b"[" * 100_000
    lines = [b"\xef\xbb\xbf" + good, b"", b"no", b"[]", b'{"a":' + deep, b'{"time": 1, "method": "GET"}', b"  ", good]
    items = read(b"\r\n".join(lines))
    assert [item.where + ": " + item.reason if isinstance(item, Skipped) else "" for item in items] == [
        "",
        f"line 3: {NOT_JSON}",
        f"line 4: {NO_OBJECT}",
        f"line 5: {TOO_DEEP}",
        f"line 6: {NO_PATH}",
        "",
    ]
    items = read(good + b"\n" + good[:-1] + b"," + b" " * LINE_LIMIT_BYTES + b'"a": 1}\n' + good)
    assert items[1] == Skipped("a.log", "line 2", TOO_LONG)
    assert len(items) == 3


def test_a_log_without_requests_says_which_fields_it_has() -> None:
    with pytest.raises(InputError, match=r"no path is in it \(2\)") as refused:
        read(b'{"time": 1, "a": {"b": 2}}\n' * 2)
    assert refused.value.hint.startswith("Its fields are time, a.b. --map at=FIELD")


# Anything at all

LINES = b"".join((FIXTURES / name).read_bytes() for name in LOGS)
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 9), st.binary(max_size=4)), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    "at time path method status size bytes duration host port client_ip request headers request_headers cookies "
    "request_body response_headers url query user error connection date msg ts logger".split()
)


def check(data: bytes, source: JsonSource) -> None:
    good = (
        b'{"time":"2026-03-01T08:00:02Z","method":"GET","path":"/",'
        b'"logger":"http.log.access","request":{"method":"GET","uri":"/"},"RequestMethod":"GET","RequestPath":"/",'
        b'"start_time":"2026-03-01T08:00:02Z","response_code":200,"http.request.method":"GET","url.path":"/",'
        b'"@timestamp":"2026-03-01T08:00:02Z","ClientRequestMethod":"GET","ClientRequestURI":"/","status":200,'
        b'"EdgeStartTimestamp":1772352002,"ts":1772352002,"time_iso8601":"2026-03-01T08:00:02Z","request_uri":"/",'
        b'"request_method":"GET"}'
    )
    items = read(good + b"\n" + data, source)
    assert isinstance(items[0], Record)
    assert len(items) == 1 + len([line for line in data.split(b"\n") if line.rstrip(b"\r\n").strip()])
    for item in items:
        if isinstance(item, Record):
            exchange = item.exchange
            assert exchange.at.tzinfo is not None
            assert exchange.duration_s >= 0
            assert exchange.request.method.isascii()
            (exchange.request.path + exchange.request.query).encode("ascii")
            for text in (exchange.request.host, item.user, item.address, exchange.error, str(exchange.request.headers)):
                text.encode()
            assert exchange.response is None or exchange.response.size_bytes >= 0


@given(st.sampled_from(list(SOURCES.values())), CHANGES)
def test_logs_with_other_bytes(source, changes) -> None:
    data = bytearray(LINES)
    for at, length, new in changes:
        start = at % len(data)
        data[start : start + length] = new
    check(bytes(data), source)
    assert 0 <= source.likeness(Head("a.log", bytes(data))) <= 1


@settings(max_examples=300)
@given(
    st.lists(st.dictionaries(NAMES, VALUES | st.sampled_from([200, "/a", "GET", 1772352002]), max_size=8), max_size=4)
)
def test_any_values_under_well_known_names(rows) -> None:
    check("\n".join(map(json.dumps, rows)).encode(), JSON)


@given(st.sampled_from(list(SOURCES.values())), st.binary(max_size=200))
def test_any_bytes(source, data) -> None:
    check(data, source)


@given(st.datetimes(min_value=datetime(1991, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - without a zone
def test_any_moment(at) -> None:
    record = one({"time": at.isoformat(), "method": "GET", "path": "/"})
    assert record.exchange.at.replace(tzinfo=None) == at
