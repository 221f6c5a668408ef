"""A flow of mitmproxy's as an exchange. With ``proxy.py`` the only part of the capture that imports mitmproxy."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from mitmproxy import flow as flows
from mitmproxy import http, version
from mitmproxy.io import compat

from replay.capture.sources.http_message import (
    TUNNEL,
    WEBSOCKET,
    BodyNotKept,
    as_kept,
    declared_size,
    decode_body,
    header_text,
    opens_websocket,
    percent_encoded,
    without_port,
)
from replay.capture.sources.source import ReadOptions, Record
from replay.capture.sources.tnetstring import parse_netstring
from replay.traffic import Exchange, Headers, Request, Response, first_header

_OTHER_KINDS = {
    "tcp": "a TCP flow, which is no HTTP",
    "udp": "a UDP flow, which is no HTTP",
    "dns": "a DNS flow, which is no HTTP",
    "websocket": WEBSOCKET,
}
_UNREADABLE = "no flow that mitmproxy can read"
_TOO_NEW = "written by a newer mitmproxy than the one installed"
_NO_TIME = "a request without a time"
_NOT_IN_DUMP = "not in the dump"
_DAY_S = 86_400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_S = 32_503_680_000.0  # the year 3000

# Else a warning of mitmproxy's would reach the terminal, where nothing is set up to take it.
logging.getLogger("mitmproxy").addHandler(logging.NullHandler())


def record_of(raw: bytes, options: ReadOptions) -> Record | str:
    """The exchange of a flow, or why it is none."""
    try:
        state = parse_netstring(raw)
        return _of_state(state, options) if isinstance(state, dict) else _UNREADABLE
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - what mitmproxy raises for a damaged flow has no common kind
        return _UNREADABLE


def _of_state(state: dict[Any, Any], options: ReadOptions) -> Record | str:
    kind = _text(_entry(state, "type"))
    if kind in _OTHER_KINDS:
        return _OTHER_KINDS[kind]
    # Before its handshake is migrated: mitmproxy keeps each in memory, for messages that are to follow.
    if _entry(state, "websocket") or any(str(name).startswith("websocket") for name in _entry(state, "metadata") or ()):
        return WEBSOCKET
    connection = _text((_entry(state, "client_conn") or {}).get("id"))
    flow = _flow(state)
    return flow if isinstance(flow, str) else _of_flow(flow, connection, options)


def _flow(state: dict[Any, Any]) -> http.HTTPFlow | str:
    written_by = _entry(state, "version")
    if isinstance(written_by, int) and written_by > version.FLOW_FORMAT_VERSION:
        return _TOO_NEW
    migrated: dict[Any, Any] = compat.migrate_flow(state)
    # Certificates are of no use here, and parsing those of strangers may warn or fail.
    for name in ("client_conn", "server_conn"):
        migrated[name]["certificate_list"] = []
    # mitmproxy remembers each connection of a dump of version 4, of which there may be millions.
    for memory in ("client_connections", "server_connections"):
        getattr(compat, memory, {}).clear()
    found = flows.Flow.from_state(migrated)
    return found if isinstance(found, http.HTTPFlow) else _UNREADABLE


def _of_flow(flow: http.HTTPFlow, connection: str, options: ReadOptions) -> Record | str:
    request = _request(flow, options)
    started_s = flow.request.timestamp_start
    if request.method == "CONNECT":
        return TUNNEL
    if (flow.response and flow.response.status_code == 101) or (not flow.response and opens_websocket(request.headers)):
        return WEBSOCKET
    if not 0 < started_s < _LAST_S:
        return _NO_TIME
    not_kept = []
    # A streamed body is not in the dump, and then neither is a body that was never there.
    had_body = declared_size(request.headers) > 0 or request.header("transfer-encoding") is not None
    body, reason = _body(flow.request)
    if reason != _NOT_IN_DUMP or had_body:
        not_kept.append(reason)
    request = Request(request.method, request.host, request.path, request.query, as_kept(request.headers), body or None)
    # What came of a response that then broke off is no response.
    whole = flow.response if flow.response and not flow.error else None
    response = None
    if whole:
        headers = _headers(whole.headers)
        body, reason = _body(whole)
        not_kept.append(reason)
        size_bytes = len(whole.raw_content) if whole.raw_content is not None else declared_size(headers)
        response = Response(whole.status_code, headers, body, size_bytes)
    ended_s = whole.timestamp_end or whole.timestamp_start if whole else flow.error.timestamp if flow.error else 0.0
    return Record(
        Exchange(
            at=_EPOCH + timedelta(seconds=started_s),
            duration_s=_duration_s(started_s, ended_s),
            client="",
            connection=connection,
            request=request,
            response=response,
            error=(flow.error.msg or "no reason given") if flow.error else "",
        ),
        address=str(flow.client_conn.peername[0]).removeprefix("::ffff:") if flow.client_conn.peername else "",
        bodies_not_kept=tuple(filter(None, not_kept)),
    )


def _request(flow: http.HTTPFlow, options: ReadOptions) -> Request:
    """The request, without its body and its headers as they came."""
    request = flow.request
    headers = _headers(request.headers)
    authority = request.data.authority.decode("latin-1") or first_header(headers, "host") or ""
    if not authority and request.host:
        authority = f"[{request.host}]" if ":" in request.host else request.host
        authority += f":{request.port}"
    path, _, query = percent_encoded(request.data.path).partition("?")
    host = without_port(authority or options.host, 443 if request.scheme == "https" else 80)
    return Request(request.method, host, path, query, headers)


def _body(message: http.Message) -> tuple[bytes | None, str]:
    """The body, decoded, and why it is not kept."""
    if message.raw_content is None:
        return None, _NOT_IN_DUMP
    try:
        return decode_body(message.raw_content, message.headers.get("content-encoding")), ""
    except BodyNotKept as error:
        return None, str(error)


def _headers(headers: http.Headers) -> Headers:
    return tuple((name.decode("latin-1"), header_text(value)) for name, value in headers.fields)


def _duration_s(started_s: float, ended_s: float | None) -> float:
    duration_s = (ended_s or 0.0) - started_s
    return duration_s if 0.0 <= duration_s <= _DAY_S else 0.0


def _entry(state: dict[Any, Any], name: str) -> Any:
    """What a flow has under ``name``: dumps of Python 2 have bytes for names."""
    return state.get(name, state.get(name.encode()))


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""
