"""An entry of a HAR as an exchange, with what the browsers and proxies that write HARs each do in their own way.

Fields: HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/). Those that begin with an underscore are the programs'
own: ``_fromCache`` and ``_fetchedViaServiceWorker`` Chrome's, ``_fetchType`` Safari's, ``_was*`` Playwright's and
WebPageTest's, ``_error`` Chrome's, ``_clientAddress`` Proxyman's.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from replay.capture.sources.har_form import is_multipart, multipart, urlencoded, with_boundary
from replay.capture.sources.http_message import (
    TUNNEL,
    UNDECODABLE,
    WEBSOCKET,
    BodyNotKept,
    as_kept,
    declared_size,
    decode_body,
    opens_websocket,
)
from replay.capture.sources.json_stream import TOO_LARGE
from replay.capture.sources.json_values import (
    HEADER_NAME,
    HOST,
    METHOD,
    PORTS,
    address_in,
    object_in,
    one_line,
    shortened,
    split_url,
    text_in,
)
from replay.capture.sources.moments import parse_duration_s, parse_moment
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Exchange, Headers, Request, Response, first_header

NOT_AN_ENTRY = "an entry without a request"
NO_METHOD = "a request without a method"
NO_URL = "a request whose URL cannot be read"
NO_TIME = "a request without a time"
NO_STATUS = "a response whose status is none of HTTP's"
NOT_FOR_SERVERS = "a data:, blob:, file: or extension's URL, which no server sees"
FROM_CACHE = "answered from the browser's cache, never sent"
FROM_WORKER = "answered by a service worker, which sends requests of its own"
FROM_TEST = "answered or stopped by the program that recorded it, never sent"
PUSHED = "pushed by the server, never asked for"
BLOCKED = "blocked by the browser, never sent"
NOT_IN_HAR = "not in the HAR"
IN_A_FILE = "in a file beside the HAR"
FILE_MISSING = "a form with a file that is not in the HAR"

_DAY_S = 86_400.0
_LONGEST_ERROR = 200
_BLOCKED = re.compile(r"ERR_BLOCKED_BY_(?:CLIENT|CSP|ADMINISTRATOR|ORB)")
_TIMINGS = ("blocked", "dns", "connect", "send", "wait", "receive")  # ssl is a part of connect
_FETCH_TYPES = {
    "memory cache": FROM_CACHE,
    "disk cache": FROM_CACHE,
    "service worker": FROM_WORKER,
    "inspector override": FROM_TEST,
}
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_CHARSET = re.compile(
    r"charset=[\"']?(iso-8859-\d{1,2}|windows-125\d|shift_jis|euc-(?:jp|kr)|gb\w{1,6}|big5)\b", re.IGNORECASE
)


def record_of(entry: object, options: ReadOptions, *, creator: str = "", is_shortened: bool = False) -> Record | str:
    """The exchange of an entry, or why it is none.

    ``creator`` is the program that wrote the HAR; ``is_shortened`` says that its longest strings were left out.
    """
    entry = object_in(entry)
    sent, received = object_in(entry.get("request")), object_in(entry.get("response"))
    if not isinstance(sent.get("url"), str):
        return NOT_AN_ENTRY
    headers = _headers(sent.get("headers"))
    target = _target(sent, headers)
    if isinstance(target, str):
        return target
    method = text_in(sent.get("method"))
    if not METHOD.fullmatch(method):
        return NO_METHOD
    if method == "CONNECT":
        return TUNNEL
    reason = _why_never_sent(entry, received, creator)
    if reason:
        return reason
    status = _status(received.get("status"))
    if status is None:
        return NO_STATUS
    if status == 101 or entry.get("_resourceType") == "websocket" or (not status and opens_websocket(headers)):
        return WEBSOCKET
    at = parse_moment(entry.get("startedDateTime"), options.timezone)
    if at is None or not 1970 <= at.year < 3000:
        return NO_TIME
    not_kept = []
    request, lack = _request(method, target, headers, sent)
    not_kept.append(lack)
    response = None
    if status:
        response, lack = _response(status, method, received)
        not_kept.append(lack)
    return Record(
        Exchange(
            at=at,
            duration_s=_duration_s(entry),
            client="",
            connection=text_in(entry.get("connection")) or text_in(entry.get("pageref")),
            request=request,
            response=response,
            error="" if response or received.get("status") is None else _error(received),
        ),
        address=address_in(text_in(entry.get("_clientAddress")) or text_in(entry.get("clientIPAddress"))),
        bodies_not_kept=tuple(TOO_LARGE if is_shortened and lack == NOT_IN_HAR else lack for lack in not_kept if lack),
    )


def _target(sent: dict[str, Any], headers: Headers) -> tuple[str, str, str] | str:
    """Host, path and query, or why there are none."""
    url = text_in(sent["url"]).strip()
    scheme, colon, _ = url.partition(":")
    scheme = scheme.lower()
    if colon and scheme in {"ws", "wss"}:
        return WEBSOCKET
    if colon and scheme not in PORTS and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        return NOT_FOR_SERVERS
    target = split_url(url)
    if target is None:
        return NO_URL
    host, path, query = target
    if not host:
        named = (first_header(headers, "host") or "").strip().lower()
        host = named if HOST.fullmatch(named) else ""
    if not query and "?" not in url:
        query = urlencoded(_named(sent.get("queryString"))).decode("ascii")
    return host, path, query


def _why_never_sent(entry: dict[str, Any], received: dict[str, Any], creator: str) -> str:
    """Why no server got the request; empty where one did, or was to."""
    fetched = _FETCH_TYPES.get(text_in(entry.get("_fetchType")).lower())
    if fetched:
        return fetched
    if entry.get("_fetchedViaServiceWorker"):
        return FROM_WORKER
    if entry.get("_wasFulfilled") or entry.get("_wasAborted"):
        return FROM_TEST
    if entry.get("_was_pushed") in (1, "1"):
        return PUSHED
    if entry.get("_fromCache") or _looks_cached(entry, received, creator):
        return FROM_CACHE
    return BLOCKED if _BLOCKED.search(text_in(received.get("_error"))) else ""


def _looks_cached(entry: dict[str, Any], received: dict[str, Any], creator: str) -> bool:
    """Whether there is an answer that nothing was received for."""
    if entry.get("connection") or received.get("_error"):
        return False
    if received.get("status") == 0:  # Firefox until 2018
        return bool(received.get("headers"))
    if "_transferSize" in received:  # Chrome before it had _fromCache
        return _size(received["_transferSize"]) == 0
    if creator == "Firefox":
        return entry.get("time") == 0 and not entry.get("serverIPAddress") and bool(received.get("status"))
    before = object_in(object_in(entry.get("cache")).get("beforeRequest"))  # browsertime
    return before.get("lastAccess") == "" and before.get("hitCount") == 0


def _request(method: str, target: tuple[str, str, str], headers: Headers, sent: dict[str, Any]) -> tuple[Request, str]:
    """The request, and why it lacks its body."""
    host, path, query = target
    posted = object_in(sent.get("postData"))
    fields = [] if posted.get("text") else _named(posted.get("params"))
    headers, kind = _with_kind(headers, text_in(posted.get("mimeType")), fields)
    cookies = _named(sent.get("cookies"))
    if cookies and first_header(headers, "cookie") is None:
        headers = (*headers, ("Cookie", one_line("; ".join(f"{c['name']}={c['value']}" for c in cookies))))
    headers = _with_credentials(headers, text_in(sent["url"]))
    body, lack = _posted_body(posted, fields, kind, first_header(headers, "content-encoding"))
    if not body and not lack and (declared_size(headers) > 0 or _size(sent.get("bodySize")) > 0):
        lack = NOT_IN_HAR
    headers = as_kept(headers)
    if body and declared_size(headers) != len(body):
        headers = tuple((name, value) for name, value in headers if name.lower() != "content-length")
    return Request(method, host, path, query, headers, body or None), lack


def _with_kind(headers: Headers, named: str, fields: list[dict[str, str]]) -> tuple[Headers, str]:
    """Headers with the body's Content-Type, which the HAR may have ``named`` elsewhere, and that type."""
    kind = first_header(headers, "content-type")
    complete = kind or one_line(named)
    if fields and is_multipart(complete):
        complete = with_boundary(complete, fields)
    if kind is not None and complete != kind:
        headers = tuple((name, value) for name, value in headers if name.lower() != "content-type")
    return (headers if complete == kind or not complete else (*headers, ("Content-Type", complete))), complete


def _posted_body(
    posted: dict[str, Any], fields: list[dict[str, str]], kind: str, content_encoding: str | None
) -> tuple[bytes | None, str]:
    """The body of a request, and why it is not there."""
    text, encoding = posted.get("text"), text_in(posted.get("encoding"))
    if isinstance(text, str) and text:
        if content_encoding and encoding.lower() != "base64" and ("\ufffd" in text or text[0] == "\x1f"):
            return None, UNDECODABLE  # compressed bytes that were taken for text
        return _bytes_of(text, encoding, kind, content_encoding)
    if fields:
        body = multipart(fields, kind) if is_multipart(kind) else urlencoded(fields)
        return body, "" if body is not None else FILE_MISSING
    return None, IN_A_FILE if _is_in_file(posted) else ""


def _response(status: int, method: str, received: dict[str, Any]) -> tuple[Response, str]:
    """The response, and why it lacks its body."""
    headers = _headers(received.get("headers"))
    if first_header(headers, "set-cookie") is None:
        headers = (*headers, *(("Set-Cookie", one_line(_set_cookie(c))) for c in _named(received.get("cookies"))))
    location = text_in(received.get("redirectURL"))
    if location and 300 <= status < 400 and first_header(headers, "location") is None:
        headers = (*headers, ("Location", one_line(location)))
    body: bytes | None = b""
    content = object_in(received.get("content"))
    lack = ""
    # What browsers show as the body of a 304 is what their cache has.
    if not (method == "HEAD" or status in {204, 304} or status < 200):
        text, size = content.get("text"), _size(content.get("size"))
        if isinstance(text, str) and (text or size == 0):
            kind = first_header(headers, "content-type") or text_in(content.get("mimeType"))
            encoding = first_header(headers, "content-encoding")
            body, lack = _bytes_of(text, text_in(content.get("encoding")), kind, encoding)
        elif size > 0 or (size < 0 and _size(received.get("bodySize")) != 0):
            body, lack = None, IN_A_FILE if _is_in_file(content) else NOT_IN_HAR
    return Response(status, headers, body, _received_bytes(received, headers, body)), lack


def _is_in_file(content: dict[str, Any]) -> bool:
    """As Playwright keeps bodies where it is asked to."""
    return bool(content.get("_file") or content.get("_sha1"))


def _bytes_of(text: str, encoding: str, kind: str, content_encoding: str | None) -> tuple[bytes | None, str]:
    """The bytes that ``text`` stands for, and why there are none."""
    if encoding.lower() != "base64":
        charset = None if text.isascii() else _CHARSET.search(kind)
        try:
            return text.encode(charset[1] if charset else "utf-8"), ""
        except (LookupError, UnicodeEncodeError):
            return text.encode("utf-8", "replace"), ""
    try:
        body = base64.b64decode(text.encode("ascii"))
    except (binascii.Error, ValueError):
        return None, UNDECODABLE
    if not content_encoding or not body.startswith(_COMPRESSED):
        return body, ""  # programs write bodies decoded, but for some that they cannot decode
    try:
        return decode_body(body, content_encoding), ""
    except BodyNotKept as error:
        return None, str(error)


def _received_bytes(received: dict[str, Any], headers: Headers, body: bytes | None) -> int:
    """The size of the body as it was received, or as near to that as the entry tells."""
    if body == b"":
        return 0
    content = object_in(received.get("content"))
    whole, head = _size(received.get("_transferSize")), _size(received.get("headersSize"))
    guesses = (
        _size(received.get("bodySize")),
        whole - head if whole > head > 0 else 0,
        declared_size(headers),
        _size(content.get("size")) - max(0, _size(content.get("compression"))),
        len(body or b""),
    )
    return next((guess for guess in guesses if guess > 0), 0)


def _duration_s(entry: dict[str, Any]) -> float:
    duration_s = parse_duration_s(entry.get("time"), 1e-3)
    if not duration_s:
        timings = object_in(entry.get("timings"))
        duration_s = sum(parse_duration_s(timings.get(name), 1e-3) or 0.0 for name in _TIMINGS)
    return duration_s if duration_s <= _DAY_S else 0.0


def _status(value: object) -> int | None:
    """The status, 0 where there was no response, None where it is no status of HTTP's."""
    text = text_in(value).removesuffix(".0")
    if text in {"", "0", "-1"}:
        return 0
    return int(text) if re.fullmatch(r"[1-9]\d\d", text, re.ASCII) else None


def _error(received: dict[str, Any]) -> str:
    said = (text_in(received.get(name)) for name in ("_error", "_failureText", "statusText", "comment"))
    return shortened(one_line(next(filter(None, said), "no response")), _LONGEST_ERROR)


def _headers(value: object) -> Headers:
    """Headers that can be sent: no pseudo headers of HTTP/2, and one for each line (Chrome joins those of one name)."""
    headers = []
    for header in _named(value):
        name = header["name"]
        if HEADER_NAME.fullmatch(name):
            text = header["value"]
            lines = text.splitlines() if "\n" in text or not text.isprintable() else [text]
            headers += [(name, one_line(line)) for line in lines or [""]]
    return tuple(headers)


def _named(value: object) -> list[dict[str, str]]:
    """A list of things with a name and a value, all text; also written as an object, as some programs do."""
    if isinstance(value, dict):
        value = [{"name": name, "value": text} for name, text in value.items()]
    return [
        {**_texts(each.items()), "name": text_in(each["name"]), "value": text_in(each.get("value"))}
        for each in (value if isinstance(value, list) else ())
        if isinstance(each, dict) and each.get("name") is not None
    ]


def _texts(items: Iterable[tuple[str, object]]) -> dict[str, str]:
    return {name: "yes" if value is True else text_in(value) for name, value in items}


def _set_cookie(cookie: dict[str, str]) -> str:
    named = (("path", "Path"), ("domain", "Domain"), ("expires", "Expires"), ("sameSite", "SameSite"))
    flags = (("httpOnly", "HttpOnly"), ("secure", "Secure"))
    attributes = [f"{title}={cookie[name]}" for name, title in named if cookie.get(name)]
    attributes += [title for name, title in flags if cookie.get(name)]
    return "; ".join([f"{cookie['name']}={cookie['value']}", *attributes])


def _with_credentials(headers: Headers, url: str) -> Headers:
    """With those of the URL, which browsers send as Basic."""
    user, at, _ = url.split("/", 3)[2].rpartition("@") if url.count("/") > 1 else ("", "", "")
    if not at or first_header(headers, "authorization") is not None:
        return headers
    return (*headers, ("Authorization", "Basic " + base64.b64encode(user.encode("utf-8", "replace")).decode("ascii")))


def _size(value: object) -> int:
    """A size in bytes, -1 where it is none."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else -1
