"""OpenTelemetry traces as OTLP JSON: one document, or one a line as the Collector's file exporter writes them."""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.sources.json_stream import CANNOT_BE_READ, Damaged, JsonStream, Readable, Unreadable
from replay.capture.sources.otlp_span import record_of
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Skipped

NO_TRACES = "metrics or logs, not traces"

_TRACES = re.compile(r'"resource_?[sS]pans"\s*:')
_DOCUMENT = re.compile(r'\{\s*"resource_?[A-Za-z]+"\s*:')
_OTHER_SIGNALS = {"resourceMetrics", "resourceLogs", "resource_metrics", "resource_logs"}
_SPAN_LISTS = {"scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"}
_JAEGER = re.compile(r'\{\s*"data"\s*:\s*\[\s*\{\s*"traceID"|"traceID"\s*:.*"operationName"\s*:', re.DOTALL)
_ZIPKIN = re.compile(r'\[\s*\[?\s*\{(?=.*"traceId"\s*:)(?=.*"(?:localEndpoint|annotations)"\s*:)', re.DOTALL)
_HINT = "Export the traces as OTLP JSON, such as with the OpenTelemetry Collector's file exporter."
_PIECE_BYTES = 1 << 20


class Otlp:
    """OTLP JSON: ``{"resourceSpans": [...]}``. What servers say of the HTTP requests that they got."""

    name = "otlp"
    title = "OpenTelemetry traces (OTLP JSON)"

    def likeness(self, head: Head) -> float:
        """By its ``resourceSpans``; traces of Jaeger and Zipkin are claimed too, to be refused by name."""
        text = head.text.lstrip()
        if text.startswith("{") and _TRACES.search(text):
            return 0.95
        return 0.9 if _foreign(text) else 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Skipped]:
        """Its spans. One is an exchange where a server wrote it about an HTTP request.

        Raises InputError where there are no traces, or where it is damaged before the first span ends.
        """
        foreign = _foreign(file.head.text.lstrip())
        if foreign:
            raise InputError(f"{file.name} is in {foreign}'s own format, which is not read.", _HINT)
        reading = _Reading(file.name, options)
        with file.open() as raw:
            yield from reading.lines(raw) if _is_one_a_line(file.head) else reading.document(raw)
        reading.check()


SOURCES = (Otlp(),)


class _Line:
    """The next line of a file, as a stream of its own."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.is_empty = True
        self._is_over = False

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes of it, none at its end."""
        piece = b"" if self._is_over else self._raw.readline(size)
        self.is_empty = self.is_empty and not piece
        self._is_over = not piece or piece.endswith(b"\n")
        return piece

    def pass_over(self) -> None:
        """Go to where the line ends."""
        while self.read(_PIECE_BYTES):
            pass


class _Reading:
    """How far the reading of one file is."""

    def __init__(self, name: str, options: ReadOptions) -> None:
        self._name = name
        self._options = options
        self._spans = 0
        self._has_traces = False
        self._damage = ""

    def document(self, raw: Readable) -> Iterator[Record | Skipped]:
        """The spans of a file that is one document."""
        yield from self._document(raw, "")

    def lines(self, raw: BinaryIO) -> Iterator[Record | Skipped]:
        """The spans of a file with a document in each line. What is wrong with one line costs only that line's rest."""
        number = 0
        try:
            while True:
                line = _Line(raw)
                number += 1
                yield from self._document(line, f"line {number}")
                line.pass_over()
                if line.is_empty:
                    return
        except BROKEN_STREAM:
            self._damage = CANNOT_BE_READ
            if self._has_traces:
                yield Skipped(self._name, f"line {number}", _unread(CANNOT_BE_READ))

    def check(self) -> None:
        """Raises InputError where there was nothing to read."""
        if not self._has_traces:
            reason = self._damage or "it has no resourceSpans"
            raise InputError(f"{self._name} cannot be read as OTLP JSON: {reason}.", _HINT)

    def _document(self, raw: Readable, where: str) -> Iterator[Record | Skipped]:
        try:
            stream = JsonStream(raw, strict=bool(where))
            if where and not stream.peek():
                return  # a blank line
            for key in stream.members():
                if key in {"resourceSpans", "resource_spans"} and stream.peek() == "[":
                    self._has_traces = True
                    for _ in stream.elements():
                        yield from self._resource(stream)
                elif key in _OTHER_SIGNALS:
                    yield Skipped(self._name, where or "document", NO_TRACES)
        except Damaged as error:
            self._damage = self._damage or str(error)
            if self._has_traces:
                yield Skipped(self._name, where or f"after span {self._spans}", _unread(str(error)))

    def _resource(self, stream: JsonStream) -> Iterator[Record | Skipped]:
        for key in _members(stream):
            if key in _SPAN_LISTS and stream.peek() == "[":
                for _ in stream.elements():
                    yield from self._scope(stream)

    def _scope(self, stream: JsonStream) -> Iterator[Record | Skipped]:
        for key in _members(stream):
            if key == "spans" and stream.peek() == "[":
                for _ in stream.elements():
                    yield self._span(stream)

    def _span(self, stream: JsonStream) -> Record | Skipped:
        try:
            found = record_of(stream.value(), self._options)
        except Unreadable as error:
            found = f"a span {error}"
        self._spans += 1
        return found if isinstance(found, Record) else Skipped(self._name, f"span {self._spans}", found)


def _members(stream: JsonStream) -> Iterator[str]:
    """The keys of what comes next, none where it is no object."""
    return stream.members() if stream.peek() == "{" else iter(())


def _unread(reason: str) -> str:
    return f"the traces cannot be read beyond here: {reason}"


def _foreign(text: str) -> str:
    """Whose format this is, where it is none of OpenTelemetry's."""
    if text.startswith("[") and _ZIPKIN.match(text):
        return "Zipkin"
    return "Jaeger" if text.startswith("{") and _JAEGER.search(text) and not _TRACES.search(text) else ""


def _is_one_a_line(head: Head) -> bool:
    """Whether the first line is a document, or is too long to say; else the document has many lines."""
    if b"\0" in head.data:
        return False  # in UTF-16, a line does not end with the byte that others end with
    lines = head.lines
    if not lines or b"\n" not in head.data:
        return True
    try:
        return isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return len(lines) > 1 and bool(_DOCUMENT.match(lines[0]) and _DOCUMENT.match(lines[1]))
