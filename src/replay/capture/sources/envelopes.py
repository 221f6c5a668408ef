"""Lines that a collector of logs wrapped in lines of its own: Docker, Kubernetes, syslog, journald, JSON messages.

What is inside is read as if it stood in a file of its own. Each line stays a line, so that numbers of lines hold: of a
message that was split, the last line has all of it and those before are blank.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, cast

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.sources.lines import split_lines
from replay.capture.sources.source import LINE_LIMIT_BYTES, Lines, ReadOptions, Record, Source
from replay.traffic import Skipped

_BUFFER_BYTES = 1 << 18
_DEEPEST = 3
_MOST_STREAMS = 64
# Where a file can be read both as it is and unwrapped: a collector's line is its own, a message in JSON is an aside.
_LESS_LIKELY = 0.9
# What can be nothing else may still take for its own what an envelope put before each line, but not before some.
_SURE, _PARTLY = 0.99, 0.98


class Payload(NamedTuple):
    """What a line holds. ``is_whole`` is False where the next line of the same ``stream`` goes on with it."""

    data: bytes
    stream: bytes = b""
    is_whole: bool = True


@dataclass(frozen=True)
class Envelope:
    """A way to wrap lines. ``unwrap`` gives a line's payload, or None where the line is not wrapped so.

    ``is_outer`` says that a line so wrapped is nothing else.
    """

    title: str
    unwrap: Callable[[bytes], Payload | None]
    is_outer: bool = True


def _by_pattern(pattern: bytes) -> Callable[[bytes], Payload | None]:
    compiled = re.compile(pattern, re.DOTALL)

    def unwrap(line: bytes) -> Payload | None:
        found = compiled.match(line)
        return Payload(line[found.end() :]) if found else None

    return unwrap


_ISO = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
_CRI = re.compile(_ISO + rb" (stdout|stderr) ([FP])(?::\S*)? ?", re.DOTALL)
_COLOUR = rb"(?:\x1b\[[0-9;]{0,20}m)*"


def _cri(line: bytes) -> Payload | None:
    found = _CRI.match(line)
    return Payload(line[found.end() :], found[1], found[2] == b"F") if found else None


def _object(line: bytes) -> dict[str, object] | None:
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _docker(line: bytes) -> Payload | None:
    value = _object(line)
    text = value.get("log") if value and ("stream" in value or "time" in value) else None
    if not value or not isinstance(text, str):
        return None
    return Payload(_encoded(text.rstrip("\r\n")), str(value.get("stream")).encode(), text.endswith("\n"))


def _journald(line: bytes) -> Payload | None:
    value = _object(line)
    if not value or "MESSAGE" not in value or not any(name.startswith("_") for name in value):
        return None
    message = value["MESSAGE"]
    if isinstance(message, list):  # what is no UTF-8, as numbers of bytes
        try:
            return Payload(bytes(message))
        except (ValueError, TypeError):
            return None
    return Payload(_encoded(message)) if isinstance(message, str) else None


_MESSAGES = ("message", "log", "msg", "line", "textPayload", "@message", "_raw", "text")


def _message(line: bytes) -> Payload | None:
    value = _object(line)
    if not value:
        return None
    event = value.get("event")
    texts = [event.get("original") if isinstance(event, dict) else None, *(value.get(name) for name in _MESSAGES)]
    text = next((text for text in texts if isinstance(text, str) and text), None)
    return Payload(_encoded(text)) if text else None


ENVELOPES = (
    Envelope("Kubernetes' log", _cri),
    Envelope("Docker's JSON log", _docker),
    Envelope("journald's JSON", _journald),
    Envelope("Docker Compose's log", _by_pattern(_COLOUR + rb"[\w.-]{1,200} *\|" + _COLOUR + rb" ")),
    Envelope("kubectl's log", _by_pattern(rb"\[pod/[\w./-]{1,300}\] ")),
    Envelope(
        "syslog (RFC 5424)",
        _by_pattern(
            rb"<\d{1,3}>1 (?:-|" + _ISO + rb") \S{1,255} \S{1,48} \S{1,128} \S{1,32} "
            rb'(?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+) ?(?:\xef\xbb\xbf)?'
        ),
    ),
    Envelope(
        "syslog",
        _by_pattern(
            rb"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|" + _ISO + rb") (?:[\w.:-]{1,255} )?"
            rb"[\w./-]{1,100}(?:\[\d{1,10}\])?: "
        ),
    ),
    Envelope("lines with times before", _by_pattern(_ISO + rb" (?=[{\d\[])")),
    Envelope("lines with tags before", _by_pattern(rb"(?:[\w.-]{1,255} )?[A-Za-z][\w./-]{1,100}(?:\[\d{1,10}\])?: ")),
    Envelope("messages in JSON", _message, is_outer=False),
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A file's beginning under some envelopes, the outermost first. ``weight`` is how likely that is meant."""

    head: Head
    envelopes: tuple[Envelope, ...] = ()
    weight: float = 1.0


def layers(head: Head) -> list[Layer]:
    """The beginning of a file as it is, and without each envelope that most of its lines are in."""
    found = [Layer(head)]
    while len(found) <= _DEEPEST:
        last = found[-1]
        envelope, share = _envelope_of(last.head)
        if not envelope:
            break
        lines = list(_payloads(((line.encode("utf-8", "surrogateescape")) for line in last.head.lines), envelope))
        inner = Layer(
            Head(head.name, b"\n".join(lines)),
            (*last.envelopes, envelope),
            last.weight * (1.0 if share == 1.0 else _PARTLY) * (1.0 if envelope.is_outer else _LESS_LIKELY),
        )
        if envelope.is_outer:
            found[-1] = Layer(last.head, last.envelopes, last.weight * _LESS_LIKELY)
        found.append(inner)
    return found


def _envelope_of(head: Head) -> tuple[Envelope | None, float]:
    """What most lines are in, and which share of them."""
    lines = [line.encode("utf-8", "replace") for line in head.lines]
    for envelope in ENVELOPES:
        count = sum(envelope.unwrap(line) is not None for line in lines)
        if 2 * count > len(lines):
            return envelope, count / len(lines)
    return None, 0.0


@dataclass(frozen=True)
class Enveloped:
    """A source whose records lie in envelopes. See Source."""

    source: Source
    envelopes: tuple[Envelope, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """See Source."""
        return self.source.name

    @property
    def title(self) -> str:
        """See Source."""
        return " in ".join([self.source.title, *(envelope.title for envelope in reversed(self.envelopes))])

    def likeness(self, head: Head) -> float:
        """See Source."""
        return max((self.source.likeness(layer.head) for layer in layers(head)), default=0.0)

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Lines | Skipped]:
        """See Source."""
        return self.source.read(file.seen_through(self._unwrapped), options)

    def _unwrapped(self, stream: BinaryIO) -> BinaryIO:
        for envelope in self.envelopes:
            stream = unwrapped(stream, envelope)
        return stream


def unwrapped(stream: BinaryIO, envelope: Envelope) -> BinaryIO:
    """The payloads of the lines of ``stream``, one a line."""
    return io.BufferedReader(_Payloads(stream, envelope), _BUFFER_BYTES)


def _payloads(lines: Iterable[bytes], envelope: Envelope) -> Iterator[bytes]:
    """For each line its payload; the line itself where it is in no envelope."""
    begun: dict[bytes, bytes] = {}
    for line in lines:
        payload = envelope.unwrap(line)
        if payload is None:
            yield line
            continue
        data = payload.data
        if payload.stream in begun:
            # One byte beyond the limit is enough to be too long for whoever reads it.
            data = (begun.pop(payload.stream) + data)[: LINE_LIMIT_BYTES + 1]
        if payload.is_whole or len(begun) >= _MOST_STREAMS:
            yield data.replace(b"\n", b" ") if b"\n" in data else data
        else:
            begun[payload.stream] = data
            yield b""
    yield from begun.values()


class _Payloads(io.RawIOBase):
    """The payloads of lines as a stream."""

    def __init__(self, stream: BinaryIO, envelope: Envelope) -> None:
        self._stream = stream
        self._lines = _payloads(self._raw_lines(stream), envelope)
        self._rest = b""
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = self._more(len(buffer))
        piece = self._rest[: len(buffer)]
        self._rest = self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _more(self, size: int) -> bytes:
        """About as many bytes; what was read before the stream broke comes before the error."""
        if self._error:
            raise self._error
        pieces: list[bytes] = []
        gathered = 0
        try:
            for line in self._lines:
                pieces.append(line)
                gathered += len(line) + 1
                if gathered >= size:
                    break
        except BROKEN_STREAM as error:
            self._error = error
            if not pieces:
                raise
        return b"\n".join([*pieces, b""]) if pieces else b""

    @staticmethod
    def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
        for line in split_lines(stream):
            # What is too long to be unwrapped has to be too long for whoever reads it, too.
            yield bytes(LINE_LIMIT_BYTES + 1) if isinstance(line, int) else line.data


def best(file: Input, sources: Iterable[Source]) -> tuple[Source, float]:
    """The source that the beginning of ``file`` looks like most, as it is or in envelopes, and how much."""
    found: tuple[Source, tuple[Envelope, ...], float] | None = None
    known = list(sources)
    for layer in layers(file.head):
        for source in known:
            likeness = source.likeness(layer.head)
            likeness *= max(layer.weight, _SURE) if likeness == 1.0 and not layer.envelopes else layer.weight
            if not found or likeness > found[2]:
                found = (source, layer.envelopes, likeness)
    if not found:
        raise ValueError("no sources")
    source, envelopes, likeness = found
    return (cast("Source", Enveloped(source, envelopes)) if envelopes else source), likeness
