"""A span of OpenTelemetry's as an exchange.

Attributes by the semantic conventions for HTTP, stable (1.23 and later) and before
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from replay.capture.sources.http_message import TUNNEL, WEBSOCKET, without_port
from replay.capture.sources.json_values import (
    HEADER_NAME,
    METHOD,
    PORTS,
    address_in,
    object_in,
    one_line,
    shortened,
    split_url,
    text_in,
)
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Exchange, Headers, Request, Response, first_header

NOT_A_SPAN = "not a span"
NOT_HTTP_SERVER = "not an HTTP server span"
NO_PATH = "an HTTP server span without a path"
NO_TIME = "an HTTP server span without a time"

_SERVER = {"2", "SPAN_KIND_SERVER"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NS = 32_503_680_000 * 10**9  # the year 3000
_DAY_NS = 86_400 * 10**9
_STATUS = re.compile(r"[1-9]\d\d", re.ASCII)
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
_LONGEST_ERROR = 200

Attributes = dict[str, str | list[str]]


def record_of(span: object, options: ReadOptions) -> Record | str:  # noqa: ARG001 - times are always in UTC
    """The exchange of a span, or why it is none. Spans have no bodies."""
    if not isinstance(span, dict):
        return NOT_A_SPAN
    if text_in(span.get("kind")) not in _SERVER:
        return NOT_HTTP_SERVER
    attributes = _attributes(span.get("attributes"))
    method = _first(attributes, "http.request.method_original", "http.request.method", "http.method")
    if not METHOD.fullmatch(method):
        return NOT_HTTP_SERVER
    status_text = _first(attributes, "http.response.status_code", "http.status_code")
    if method == "CONNECT":
        return TUNNEL
    if status_text == "101":
        return WEBSOCKET
    headers = _headers(attributes, "http.request.header.")
    target = _target(attributes, headers)
    if target is None:
        return NO_PATH
    started_ns = _whole(_either(span, "startTimeUnixNano", "start_time_unix_nano"))
    ended_ns = _whole(_either(span, "endTimeUnixNano", "end_time_unix_nano"))
    if not 0 < started_ns < _LAST_NS:
        return NO_TIME
    host, path, query = target
    agent = _first(attributes, "user_agent.original", "http.user_agent")
    if agent and first_header(headers, "user-agent") is None:
        headers = (*headers, ("User-Agent", agent))
    response = None
    if _STATUS.fullmatch(status_text):
        size = _first(attributes, "http.response.body.size", "http.response_content_length", "http.response.size")
        response = Response(int(status_text), _headers(attributes, "http.response.header."), None, _whole(size))
    address, connection = _client(attributes)
    return Record(
        Exchange(
            at=_EPOCH + timedelta(microseconds=started_ns // 1_000),
            duration_s=(ended_ns - started_ns) / 1e9 if 0 <= ended_ns - started_ns <= _DAY_NS else 0.0,
            client="",
            connection=connection,
            request=Request(method, host, path, query, headers),
            response=response,
            error="" if response else _error(span, attributes),
        ),
        address=address,
        user=_first(attributes, "enduser.id", "user.id"),
    )


def _target(attributes: Attributes, headers: Headers) -> tuple[str, str, str] | None:
    """Host, path and query."""
    target = _first(attributes, "url.path", "http.target")
    if "url.path" in attributes and attributes.get("url.query"):
        target += "?" + _first(attributes, "url.query").removeprefix("?")
    url = _first(attributes, "url.full", "http.url")
    scheme = _first(attributes, "url.scheme", "http.scheme") or url.partition(":")[0]
    # A path that begins with two slashes would be taken for a host.
    asked = split_url(f"http://x{target}") if target.startswith("/") else split_url(target or url)
    if asked is None:
        return None
    host = "" if target.startswith("/") else asked[0]
    named = _named_host(attributes, headers, PORTS.get(scheme.lower(), 0))
    if not named and url and not host:
        host = (split_url(url) or ("",))[0]
    return named or host, asked[1], asked[2]


def _named_host(attributes: Attributes, headers: Headers, own_port: int) -> str:
    """The server's host as the client knows it, with its port where it is not the scheme's own."""
    host = _first(attributes, "server.address", "http.host") or first_header(headers, "host") or ""
    port = _first(attributes, "server.port") if "server.address" in attributes else ""
    if not host:
        host = _first(attributes, "net.host.name", "http.server_name")
        port = _first(attributes, "net.host.port")
    host = host.strip().lower()
    if ":" in host and not host.startswith("[") and host.count(":") > 1:
        host = f"[{host}]"
    has_port = re.search(r":\d+\Z", host)
    if port and not has_port:
        host = f"{host}:{port}"
    for own in [own_port] if own_port else PORTS.values():
        host = without_port(host, own)
    found = split_url(f"//{host}/") if host else None
    return host if found else ""


def _client(attributes: Attributes) -> tuple[str, str]:
    """The client's address, and its connection: address and port of whom the server speaks with."""
    address = address_in(_first(attributes, "client.address", "http.client_ip"))
    peer = address_in(_first(attributes, "network.peer.address", "net.sock.peer.addr", "net.peer.ip", "net.peer.name"))
    port = _first(attributes, "network.peer.port", "net.sock.peer.port", "net.peer.port", "client.port")
    return address or peer, port and f"{peer or address}:{port}"


def _error(span: dict[str, Any], attributes: Attributes) -> str:
    """What the span says of its failure; empty where it says nothing, as then the response is merely not known."""
    status = object_in(span.get("status"))
    if text_in(status.get("code")) not in {"2", "STATUS_CODE_ERROR"}:
        return ""
    said = text_in(status.get("message")) or _first(attributes, "error.type", "exception.message")
    return shortened(one_line(said), _LONGEST_ERROR) or "no reason given"


def _headers(attributes: Attributes, prefix: str) -> Headers:
    headers = []
    for key, value in attributes.items():
        if key.startswith(prefix):
            name = key[len(prefix) :].replace("_", "-")  # as the conventions had it before 1.23
            if HEADER_NAME.fullmatch(name):
                headers += [(name, one_line(each)) for each in (value if isinstance(value, list) else [value])]
    return tuple(headers)


def _attributes(value: object) -> Attributes:
    """Names and values, all as text; empty ones are left out."""
    attributes: Attributes = {}
    for each in value if isinstance(value, list) else ():
        pair = object_in(each)
        key, held = pair.get("key"), object_in(pair.get("value"))
        if not isinstance(key, str) or not held:
            continue
        array = object_in(_either(held, "arrayValue", "array_value")).get("values")
        if isinstance(array, list):
            attributes[key] = [text for item in array if (text := _text_of(object_in(item)))]
        elif text := _text_of(held):
            attributes[key] = text
    return attributes


def _text_of(held: dict[str, Any]) -> str:
    for name in ("stringValue", "intValue", "doubleValue", "string_value", "int_value", "double_value"):
        if name in held:
            value = held[name]
            return text_in(int(value) if isinstance(value, float) and value.is_integer() else value)
    return ""


def _first(attributes: Attributes, *names: str) -> str:
    for name in names:
        value = attributes.get(name)
        if value:
            return one_line(value[0] if isinstance(value, list) else value)
    return ""


def _either(values: dict[str, Any], name: str, other: str) -> object:
    """OTLP's JSON has names in camel case; some write them as Protocol Buffers do."""
    return values.get(name, values.get(other))


def _whole(value: object) -> int:
    """A whole number, which JSON has as text where it may be large; 0 where it is none."""
    text = text_in(value)
    if _NUMBER.fullmatch(text):
        return int(text)
    return int(value) if isinstance(value, float) and 0 <= value < 2**63 else 0
