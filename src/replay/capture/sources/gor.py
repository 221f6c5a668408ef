"""GoReplay's files: requests, the responses that production gave to them, and those of a replay.

A record is a line ``TYPE ID TIME [LATENCY]`` (type 1 a request, 2 its response, 3 a response to its replay), the HTTP
message as it was sent, and a separator. What times mean changed over GoReplay's versions (facts from its source):

====  ==================================  ==============================================
from  request                             response
====  ==================================  ==============================================
2015  start                               round trip
2016  start                               the request's start, round trip
2018  start                               start, from the request's end to the response's
2020  start, from its start to its end    start, from its start to its end
====  ==================================  ==============================================

All in nanoseconds; programs of others write microseconds, milliseconds or seconds, known by their magnitude.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import BinaryIO

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.sources.http_message import (
    TOO_LARGE,
    TUNNEL,
    WEBSOCKET,
    Malformed,
    ParsedRequest,
    ParsedResponse,
    opens_websocket,
    parse_request,
    parse_response,
)
from replay.capture.sources.source import RECORD_LIMIT_BYTES, ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Exchange, Skipped

SEPARATOR = "\n🐵🙈🙉\n".encode()
_REQUEST, _RESPONSE = b"1", b"2"
_HEADER = re.compile(rb"([123]) (\S{1,200})(?: (-?\d{1,20}))?(?: (-?\d{1,20}))?(?: [^\n]{0,200})?\r?\n")
_MESSAGE = re.compile(rb"[A-Z]{1,20} \S+ HTTP/1\.|HTTP/1\.")
_INTERIM = re.compile(rb"HTTP/1\.[01] 10[023]")
_CONNECTION_ID = re.compile(rb"[0-9a-f]{24}")
_PIECE_BYTES = 1 << 20
# What may wait for its other half. Nothing waits by time: what a file says of time may be wrong.
_WAITING_RECORDS = 60_000
_WAITING_BYTES = 32_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_NS = 10**17  # 1973: below this in nanoseconds, a number is a duration or in another unit
_DAY_NS = 86_400 * 10**9

_NO_HEADER = "its first line is no header of GoReplay"
_NO_TIME = "its header has no time"
_NO_REQUEST = "a response whose request is not there"
_REPLAYED = "a replayed response"
_INTERIM_ALONE = "an interim response"
_DAMAGED = "the file cannot be read beyond here: it is damaged or breaks off"


class Gor:
    """GoReplay's ``.gor``. Each chunk (``_0.gor``, ``_1.gor``) is an input of its own."""

    name = "gor"
    title = "GoReplay (.gor)"

    def likeness(self, head: Head) -> float:
        """By its first record's header, and by a separator."""
        found = _HEADER.match(head.data)
        if SEPARATOR in head.data:
            return 1.0 if found else 0.6
        return 0.8 if found and _MESSAGE.match(head.data, found.end()) else 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Skipped]:
        """Each request with its original response, where that stands near enough in the file.

        A request whose headers break off is skipped; one whose body does is kept without it. Raises InputError where
        the file is none of GoReplay's.
        """
        if not self.likeness(file.head):
            raise InputError(f"{file.name} is no file of GoReplay.", "Leave --format away to have its format found.")
        waiting = _Waiting(file.name, options)
        number = 0
        is_damaged = False
        with file.open() as stream:
            try:
                for number, raw in enumerate(split_records(stream), 1):
                    yield from waiting.take(number, raw)
            except BROKEN_STREAM:
                is_damaged = True
        yield from waiting.rest()
        if is_damaged:
            yield Skipped(file.name, f"record {number + 1}", _DAMAGED)


SOURCES = (Gor(),)


def split_records(stream: BinaryIO) -> Iterator[bytes | None]:
    """The records of a file, without separators; None for one beyond the limit, which is passed over unread."""
    buffer = bytearray()
    searched = 0
    is_too_large = False
    # One read at a time: where a compressed file is damaged, nothing before the damage is lost.
    read = getattr(stream, "read1", stream.read)
    while piece := read(_PIECE_BYTES):
        buffer += piece
        start = 0
        while (end := buffer.find(SEPARATOR, max(start, searched))) >= 0:
            is_too_large = is_too_large or end - start > RECORD_LIMIT_BYTES
            yield None if is_too_large else bytes(buffer[start:end])
            is_too_large = False
            start = end + len(SEPARATOR)
        if len(buffer) - start > RECORD_LIMIT_BYTES:
            is_too_large = True
            start = len(buffer) - len(SEPARATOR)
        del buffer[:start]
        searched = max(0, len(buffer) - len(SEPARATOR))
    if is_too_large:
        yield None
    elif buffer and not buffer.isspace():
        yield bytes(buffer)


@dataclass(frozen=True, slots=True)
class _Half:
    """A request or a response, not yet parsed. Times as its header has them."""

    number: int
    kind: bytes
    id: bytes
    time: int
    latency: int | None
    message: bytes


@dataclass
class _Waiting:
    """Requests and responses whose other half did not come yet, the oldest first."""

    source: str
    options: ReadOptions
    _halves: OrderedDict[bytes, _Half] = field(default_factory=OrderedDict)
    _size_bytes: int = 0

    def take(self, number: int, raw: bytes | None) -> Iterator[Record | Skipped]:
        """What the record ``raw`` completes or crowds out."""
        half = _half(number, raw)
        if isinstance(half, str):
            yield self._skipped(number, half)
            return
        other = self._halves.pop(half.id, None)
        if other:
            self._size_bytes -= len(other.message)
        if other and other.kind != half.kind:
            yield from self._exchange(*((half, other) if half.kind == _REQUEST else (other, half)))
            return
        if other:  # the same id again: the newer one is the likelier to find its other half
            yield from self._alone(other)
        self._halves[half.id] = half
        self._size_bytes += len(half.message)
        while len(self._halves) > _WAITING_RECORDS or self._size_bytes > _WAITING_BYTES:
            yield from self._oldest()

    def rest(self) -> Iterator[Record | Skipped]:
        """What is left at the end of the file."""
        while self._halves:
            yield from self._oldest()

    def _oldest(self) -> Iterator[Record | Skipped]:
        _, half = self._halves.popitem(last=False)
        self._size_bytes -= len(half.message)
        yield from self._alone(half)

    def _alone(self, half: _Half) -> Iterator[Record | Skipped]:
        if half.kind == _REQUEST:
            yield from self._exchange(half, None)
        else:
            yield self._skipped(half.number, _NO_REQUEST)

    def _exchange(self, half: _Half, answer: _Half | None) -> Iterator[Record | Skipped]:
        scale = _scale(half.time)
        try:
            parsed = parse_request(half.message, self.options.host)
        except Malformed as error:
            yield self._skipped(half.number, str(error))
            if answer:
                yield self._skipped(answer.number, _NO_REQUEST)
            return
        response: ParsedResponse | None = None
        if answer:
            try:
                response = parse_response(answer.message, parsed.request.method)
            except Malformed as error:
                yield self._skipped(answer.number, str(error))
                answer = None
        reason = _not_replayed(parsed, response) if scale else _NO_TIME
        if reason:
            yield self._skipped(half.number, reason)
            if answer:
                yield self._skipped(answer.number, reason)
            return
        yield Record(
            Exchange(
                at=_EPOCH + timedelta(microseconds=half.time * scale // 1000),
                duration_s=_duration_ns(half, answer, scale) / 1e9 if answer else 0.0,
                client="",
                connection=half.id[:16].decode() if _CONNECTION_ID.fullmatch(half.id) else "",
                request=parsed.request,
                response=response.response if response else None,
            ),
            address=_address(parsed.request.header("x-real-ip")),
            bodies_not_kept=tuple(
                reason for reason in (parsed.body_not_kept, response.body_not_kept if response else "") if reason
            ),
        )

    def _skipped(self, number: int, reason: str) -> Skipped:
        return Skipped(self.source, f"record {number}", reason)


def _half(number: int, raw: bytes | None) -> _Half | str:
    """A record's parts, or why it is none."""
    if raw is None:
        return TOO_LARGE
    found = _HEADER.match(raw)
    if not found:
        return _NO_HEADER
    kind, identity, time, latency = found.groups()
    if kind not in {_REQUEST, _RESPONSE}:
        return _REPLAYED
    message = raw[found.end() :]
    if kind == _RESPONSE and _INTERIM.match(message) and message.find(b"HTTP/", 5) < 0:
        return _INTERIM_ALONE
    return _Half(number, kind, identity, int(time or -1), int(latency) if latency else None, message)


def _not_replayed(parsed: ParsedRequest, parsed_response: ParsedResponse | None) -> str:
    if parsed.request.method == "CONNECT":
        return TUNNEL
    if opens_websocket(parsed.request.headers) and (parsed_response is None or parsed_response.response.status == 101):
        return WEBSOCKET
    return ""


def _scale(time: int) -> int:
    """How many nanoseconds a unit of ``time`` has; 0 where it is no moment."""
    return next((scale for scale in (1, 10**3, 10**6, 10**9) if time * scale >= _FIRST_NS), 0)


def _duration_ns(request: _Half, response: _Half, scale: int) -> int:
    """From the request's start to the response's end; 0 where that cannot be."""
    time = response.time * scale
    latency = max(0, response.latency or 0) * scale
    if 0 <= time < _FIRST_NS:
        duration = time
    elif latency and (request.latency is None or request.latency < 0):
        duration = latency
    else:
        duration = time + latency - request.time * scale
    return duration if 0 <= duration <= _DAY_NS else 0


def _address(text: str | None) -> str:
    """What ``--input-raw-realip-header X-Real-IP`` wrote, where that is an address."""
    try:
        return str(ip_address((text or "").strip()))
    except ValueError:
        return ""
