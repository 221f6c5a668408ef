"""HTTP/1 messages from bytes, as recorders and mirrors keep them: whole or broken off, chunked, compressed.

Lenient about what clients and servers really send (lines that end with a bare line feed, folded headers, absolute
targets, bytes that should not stand in a path), and bounded: nothing grows beyond the limits below.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from replay.capture.encodings import TooLarge, Undecodable, decoded
from replay.capture.sources.source import RECORD_LIMIT_BYTES
from replay.traffic import Headers, Request, Response, first_header

# nginx, Apache and HAProxy refuse headers far below this.
HEAD_LIMIT_BYTES = 256_000
BROKE_OFF = "broke off"
TOO_LARGE = f"larger than {RECORD_LIMIT_BYTES} bytes"
UNDECODABLE = "in an encoding that cannot be decoded"
WEBSOCKET = "a WebSocket, which is not replayed"
TUNNEL = "a CONNECT, which opens a tunnel and asks for nothing"

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) +(\S.*?) +HTTP/[01]\.\d")
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? +([1-9]\d\d)(?: .*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_PRINTABLE = re.compile(r"[!-~]*")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_INTERIM_RESPONSES = 8


class Malformed(ValueError):
    """Bytes that are no HTTP/1 message. Says why."""


class BodyNotKept(ValueError):
    """A body that cannot be kept. Says why."""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request; ``body_not_kept`` says why it lacks the body that it had, empty where it lacks none."""

    request: Request
    body_not_kept: str = ""


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A response; ``body_not_kept`` says why it lacks the body that it had, empty where it lacks none."""

    response: Response
    body_not_kept: str = ""


def parse_request(raw: bytes, default_host: str = "") -> ParsedRequest:
    """The request in ``raw``, with the body decoded and without the headers that then no longer hold.

    ``default_host`` is the host of a request that names none. Raises Malformed.
    """
    first, headers, rest = _split(raw)
    found = _REQUEST_LINE.fullmatch(first)
    if not found:
        raise Malformed("its first line is no request of HTTP/1")
    method = found[1].decode("ascii")
    target = percent_encoded(found[2])
    host = first_header(headers, "host") or ""
    if not target.startswith("/") and "://" in target:
        host, target = _from_absolute(target, host)
    path, _, query = target.partition("?")
    body, _, reason = _body(headers, rest, until_end=False)
    return ParsedRequest(
        Request(method, without_port(host or default_host, 80), path, query, as_kept(headers), body or None), reason
    )


def parse_response(raw: bytes, method: str = "GET") -> ParsedResponse:
    """The response in ``raw`` to a request with ``method``, the body decoded.

    Interim responses before it (100, 103) are passed over. Raises Malformed.
    """
    for _ in range(_INTERIM_RESPONSES):
        first, headers, rest = _split(raw)
        found = _STATUS_LINE.fullmatch(first)
        if not found:
            raise Malformed("its first line is no response of HTTP/1")
        status = int(found[1])
        if not (100 <= status < 200 and status != 101 and rest.startswith(b"HTTP/")):
            break
        raw = rest
    if method == "HEAD" or status in {204, 304} or status < 200:
        return ParsedResponse(Response(status, headers, b"", 0))
    body, size_bytes, reason = _body(headers, rest, until_end=True)
    return ParsedResponse(Response(status, headers, body, size_bytes), reason)


def decode_body(body: bytes, content_encoding: str | None) -> bytes:
    """``body`` with its Content-Encoding undone.

    Raises BodyNotKept where it is broken, in an encoding that is not known, or would grow beyond the limit.
    """
    if not body or not content_encoding:
        return body
    try:
        return decoded(body, content_encoding, RECORD_LIMIT_BYTES)
    except TooLarge as error:
        raise BodyNotKept(TOO_LARGE) from error
    except Undecodable as error:
        raise BodyNotKept(UNDECODABLE) from error


def as_kept(headers: Headers) -> Headers:
    """The headers of a request whose body is kept plain: decoded, and in one piece."""
    names = {name.lower() for name, _ in headers}
    gone = names & {"content-encoding", "transfer-encoding"}
    if not gone:
        return headers
    return tuple((name, value) for name, value in headers if name.lower() not in {*gone, "content-length"})


def opens_websocket(headers: Headers) -> bool:
    """Whether a request with these headers asks for a WebSocket."""
    return (first_header(headers, "upgrade") or "").strip().lower() == "websocket"


def declared_size(headers: Headers) -> int:
    """What Content-Length says, in bytes; 0 where it says nothing that can be used."""
    text = (first_header(headers, "content-length") or "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0


def without_port(host: str, default_port: int) -> str:
    """``host`` without the port that is its scheme's own."""
    return host.strip().removesuffix(f":{default_port}")


def percent_encoded(target: bytes) -> str:
    """A request's target with bytes that should not stand in one encoded; what was encoded stays as it is."""
    text = target.decode("latin-1")
    return text if _PRINTABLE.fullmatch(text) else quote(target, safe=_VISIBLE)


def header_text(value: bytes) -> str:
    """A header's value as text: UTF-8, or Latin-1 where it is none."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _split(raw: bytes) -> tuple[bytes, Headers, bytes]:
    found = _HEAD_END.search(raw, 0, HEAD_LIMIT_BYTES)
    if not found:
        raise Malformed("its headers are too large" if len(raw) >= HEAD_LIMIT_BYTES else "breaks off in its headers")
    head = raw[: found.start()]
    if b"\n " in head or b"\n\t" in head:
        head = _FOLD.sub(b" ", head)
    first, *lines = head.split(b"\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name:
            headers.append((name.decode("latin-1"), header_text(value.strip())))
    return first.rstrip(b"\r"), tuple(headers), raw[found.end() :]


def _from_absolute(target: str, host: str) -> tuple[str, str]:
    """Host and target of ``http://HOST/PATH?QUERY``, as clients send it to a proxy."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return host, target
    authority = parts.netloc.rpartition("@")[2]
    port = 443 if parts.scheme == "https" else 80
    return without_port(authority, port) or host, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _body(headers: Headers, rest: bytes, *, until_end: bool) -> tuple[bytes | None, int, str]:
    """The body, its size as received, and why it is not kept. ``until_end`` where it may end with the connection."""
    transfer = (first_header(headers, "transfer-encoding") or "").lower()
    length = first_header(headers, "content-length")
    is_whole = True
    if "chunked" in transfer:
        body, is_whole = _unchunked(rest)
    elif length is not None:
        size_bytes = declared_size(headers)
        body, is_whole = rest[:size_bytes], len(rest) >= size_bytes
    else:
        body = rest if until_end else b""
    if not is_whole:
        return None, max(len(body), declared_size(headers)), BROKE_OFF
    if transfer.strip() not in {"", "chunked", "identity"}:
        return None, len(body), UNDECODABLE
    try:
        return decode_body(body, first_header(headers, "content-encoding")), len(body), ""
    except BodyNotKept as error:
        return None, len(body), str(error)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The chunks of ``data`` in one piece, and whether the last is there."""
    pieces = bytearray()
    at = 0
    while found := _CHUNK_SIZE.match(data, at):
        size_bytes = int(found[1], 16)
        if size_bytes == 0:
            return bytes(pieces), True
        start = found.end()
        pieces += data[start : start + size_bytes]
        at = start + size_bytes
        if at > len(data):
            break
        at += 2 if data.startswith(b"\r\n", at) else 1 if data.startswith(b"\n", at) else 0
    if at == 0 and data:  # a recorder that kept the body in one piece, and the header of the chunks
        return data, True
    return bytes(pieces), False
