"""From what a record says about a request, role by role, to an exchange."""

import base64
import binascii
import ipaddress
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from replay.capture.sources.http_message import BodyNotKept, as_kept, decode_body, percent_encoded
from replay.capture.sources.json_values import HOST
from replay.capture.sources.moments import parse_duration_s, parse_moment, started
from replay.capture.sources.roles import UNITS_S, Found
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Exchange, Headers, Request, Response, first_header

NO_PATH = "no path is in it"
NO_METHOD = "no method is in it"
NOT_HTTP = "the request is not HTTP"
TUNNEL = "a tunnel is opened, which is no request"
NO_TIME = "no time is in it"
BAD_TIME = "the time cannot be read"
BAD_STATUS = "the status is no number"
NO_RESPONSE = "no response was logged"

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) +(\S.*?)(?: +HTTP/[0-9.]{1,3})?", re.DOTALL)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20})://([^/?#]*)(.*)", re.DOTALL)
_PORTS = {"http": (":80",), "ws": (":80",), "https": (":443",), "wss": (":443",)}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_BREAKS = re.compile(r"[\r\n\0]+ *")
_EARLIEST_YEAR = 1990  # there was no HTTP before; a number as small is no time
_HIDDEN = "REDACTED"  # what Caddy and Traefik write for a header that they hide
_NO_STATUS = frozenset({0, -1})
_LARGEST_SIZE = 1 << 62
_NO_TEXT = (list, dict, bytes, bool)


class NotAnExchange(ValueError):
    """The record is no exchange. Says why."""


class _Target(NamedTuple):
    """What a request asks for."""

    method: str
    host: str
    path: str
    query: str


def to_record(found: Found, options: ReadOptions) -> Record:
    """The exchange that a record speaks of. Raises NotAnExchange where something that it needs is missing."""
    target = _target(found)
    at, duration_s = _time(found, options)
    status = _status(found)
    error = ""
    if status is None and (found.get("status") is not None or found.get("error")):
        error = _text(found.get("error")) or NO_RESPONSE
    headers = _request_headers(found)
    body, headers, not_kept = _request_body(found, headers)
    reasons = [not_kept] if not_kept else []
    response = None
    if status is not None:
        received = _headers(found, "response_header", "response_headers")
        received_body, not_kept = _body(found, "response_body", received)
        reasons += [not_kept] if not_kept else []
        size_bytes = _integer(found.get("size"))
        response = Response(status, received, received_body, max(0, size_bytes or len(received_body or b"")))
    address, port = split_address(_text(found.get("address")))
    request = Request(target.method, target.host or options.host, target.path, target.query, headers, body)
    exchange = Exchange(at, duration_s, "", _text(found.get("connection")) or port, request, response, error)
    return Record(exchange, address, _text(found.get("user")), tuple(reasons))


def split_address(text: str) -> tuple[str, str]:
    """A client's address without its brackets, and its port or nothing. Of a list of forwarders, the first."""
    text = text.partition(",")[0].strip()
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, port.lstrip(":")
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        return text, ""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return host, port
    return text, ""


def clean(text: str) -> str:
    """A text that can be written as UTF-8: bytes that were none are read as Latin-1, halves of characters replaced."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = _bytes(text)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return text


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _text(value: object) -> str:
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, _NO_TEXT):
        return ""
    return _plain_number(value)


def _plain_number(value: object) -> str:
    """As digits, where a table's column of integers became one of floats."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_SIZE:
        return str(int(value))
    return str(value) if not isinstance(value, int) or abs(value) < _LARGEST_SIZE else ""


# The request line


def _target(found: Found) -> _Target:
    method, target = _text(found.get("method")), _raw(found.get("path"))
    line = _raw(found.get("request"))
    if line.startswith("/") and not target:
        target = line
    elif line and not (method and target):
        parts = _REQUEST_LINE.fullmatch(line)
        if not parts:
            raise NotAnExchange(NOT_HTTP)
        method, target = method or parts[1], target or parts[2]
    if not target:
        raise NotAnExchange(NO_PATH)
    if not method:
        raise NotAnExchange(NO_METHOD)
    if not _METHOD.fullmatch(method):
        raise NotAnExchange(NOT_HTTP)
    method = method.upper() if method.islower() else method  # as ECS once wrote them
    if method == "CONNECT":
        raise NotAnExchange(TUNNEL)
    return _asked(method, target, found)


def _asked(method: str, target: str, found: Found) -> _Target:
    scheme = _text(found.get("scheme")).lower()
    host = ""
    if url := _URL.match(target):
        scheme, host, target = url[1].lower(), clean(url[2].rpartition("@")[2]), url[3]
    if not target.startswith("/") and target != "*":
        target = "/" + target
    path, _, query = target.partition("#")[0].partition("?")
    query = query or _raw(found.get("query")).removeprefix("?")
    host = host_of(host or _host(found), scheme)
    return _Target(method, host if HOST.fullmatch(host) else "", _sent(path), _sent(query))


def host_of(host: str, scheme: str = "") -> str:
    """A host without its scheme's own port; without 80 and 443 where the scheme is not known."""
    for port in _PORTS.get(scheme, (":80", ":443")):
        host = host.removesuffix(port)
    return host


def _host(found: Found) -> str:
    host = next((text for _, value in found.all("host") if (text := _text(value).strip()) and text != "_"), "")
    if not host:
        host = first_header(_headers(found, "request_header", "request_headers"), "host") or ""
    port = _text(found.get("port"))
    has_port = re.search(r":\d+$", host) and (host.count(":") == 1 or "]:" in host)
    return f"{host}:{port}" if host and port.isdigit() and not has_port else host


def _raw(value: object) -> str:
    """A text that may hold bytes that are no UTF-8, as ``_sent`` takes them."""
    if isinstance(value, dict):  # Cloudflare's and others' parsed queries cannot be put together again as sent
        return ""
    return value if isinstance(value, str) else _text(value)


def _sent(text: str) -> str:
    return percent_encoded(_bytes(text))


# The times


def _time(found: Found, options: ReadOptions) -> tuple[datetime, float]:
    duration_s = _duration_s(found)
    at = _first_moment(found, "at", options)
    ended = _first_moment(found, "ended", options)
    if at:
        if duration_s is None and ended and ended > at:
            duration_s = (ended - at).total_seconds()
        return at, duration_s or 0.0
    ended = ended or _first_moment(found, "logged", options)
    if not ended:
        given = any(found.get(role) is not None for role in ("at", "ended", "logged"))
        raise NotAnExchange(BAD_TIME if given else NO_TIME)
    return started(ended, duration_s or 0.0), duration_s or 0.0


def _first_moment(found: Found, role: str, options: ReadOptions) -> datetime | None:
    values = found.all(role)
    date = _text(found.get("date")) if values else ""
    for _, value in values:
        moment = parse_moment(value, options.timezone)
        if (not moment or moment.year < _EARLIEST_YEAR) and date:
            moment = parse_moment(f"{date} {_text(value)}", options.timezone)
        if moment and moment.year >= _EARLIEST_YEAR:
            return moment
    return None


def _duration_s(found: Found) -> float | None:
    for role, value in found.all("duration"):
        duration_s = parse_duration_s(value, UNITS_S[role.detail or "s"])
        if duration_s is not None:
            return round(duration_s, 9)
    return None


# The response


def _status(found: Found) -> int | None:
    value = found.get("status")
    if value is None:
        return None
    status = _integer(value)
    if status is None or (status not in _NO_STATUS and not 100 <= status <= 999):
        raise NotAnExchange(BAD_STATUS)
    return None if status in _NO_STATUS else status


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < _LARGEST_SIZE else None
    if isinstance(value, str):
        text = value.strip().removesuffix(".0")
        value = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
    return value if isinstance(value, int) and abs(value) < _LARGEST_SIZE else None


# Headers and bodies


def _request_headers(found: Found) -> Headers:
    headers = _headers(found, "request_header", "request_headers")
    cookies = _cookies(found)
    if cookies and not first_header(headers, "cookie"):
        headers = (*headers, ("Cookie", cookies))
    return tuple((name, value) for name, value in headers if name.lower() != "host" and not name.startswith(":"))


def _cookies(found: Found) -> str:
    if "request_cookies" not in found.values and "request_cookie" not in found.values:
        return ""
    cookies = found.get("request_cookies")
    if isinstance(cookies, str):
        cookies = _parsed(cookies) or cookies
    pairs = list(pairs_of(cookies))
    pairs += [(role.detail, text) for role, value in found.all("request_cookie") for text in _each(value)]
    return "; ".join(f"{name}={value}" for name, value in pairs) if pairs else _text(cookies)


def _headers(found: Found, role_of_one: str, role_of_all: str) -> Headers:
    """The headers, once each unless the record has a list of values for one."""
    if role_of_one not in found.values and role_of_all not in found.values:
        return ()
    headers: list[tuple[str, str]] = []
    for _, value in found.all(role_of_all)[:1]:
        headers += pairs_of(_parsed(value) if isinstance(value, str) else value)
    single = found.all(role_of_one)
    has_own = any(not role.is_behind for role, _ in single)
    for role, value in single:
        if role.is_behind and has_own:
            continue
        name = role.detail
        if first_header(tuple(headers), name) is None:
            headers += [(name, text) for text in _each(value)]
    return tuple(
        (name, value) for name, value in headers if value != _HIDDEN and _HEADER_NAME.fullmatch(name.lstrip(":"))
    )


def pairs_of(value: object) -> Iterator[tuple[str, str]]:
    """Names and values of an object (also of lists), a list of pairs, or one of objects with ``name`` and ``value``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            for text in _each(inner):
                yield clean(str(name)), text
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                name, inner = item.get("name", item.get("key")), item.get("value")
            elif isinstance(item, list | tuple) and len(item) == 2:
                name, inner = item
            else:
                continue
            if isinstance(name, str) and name:
                for text in _each(inner):
                    yield clean(name), text


def _each(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [_BREAKS.sub(" ", _text(item)) for item in values if isinstance(item, str | int | float)]


def _parsed(text: str) -> object:
    if text[:1] not in "{[":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _request_body(found: Found, headers: Headers) -> tuple[bytes | None, Headers, str]:
    body, not_kept = _body(found, "request_body", headers)
    media_type = _text(found.get("request_type"))
    if body is not None and media_type and not first_header(headers, "content-type"):
        headers = (*headers, ("Content-Type", media_type))
    return body, as_kept(headers) if body is not None else headers, not_kept


def _body(found: Found, role: str, headers: Headers) -> tuple[bytes | None, str]:
    """A body, and why it is not kept where the record has one."""
    given = next(iter(found.all(role)), None)
    if given is None:
        return None, ""
    body = given[1]
    if isinstance(body, dict | list):
        return json.dumps(body, default=str).encode(), ""
    if given[0].detail != "base64" and not isinstance(body, bytes):
        return _bytes(body if isinstance(body, str) else _text(body)), ""  # a text is decoded already
    try:
        raw = body if isinstance(body, bytes) else base64.b64decode(_text(body), validate=True)
        return decode_body(raw, first_header(headers, "content-encoding")), ""
    except (binascii.Error, ValueError, BodyNotKept) as error:
        reason = str(error) if isinstance(error, BodyNotKept) else "not base64"
        return None, f"the {role.replace('_', ' ')} is {reason}"
