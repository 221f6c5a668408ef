"""HAR, the HTTP archive of browsers and proxies, versions 1.1 and 1.2."""

import re
from collections.abc import Iterator

from replay.capture.inputs import Head, Input
from replay.capture.sources.har_entry import record_of
from replay.capture.sources.json_stream import Damaged, JsonStream, Readable, Unreadable
from replay.capture.sources.json_values import object_in, text_in
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Skipped

_LOG = re.compile(r'"log"\s*:\s*\{')
_IN_LOG = re.compile(r'"(?:entries|creator|pages|browser)"')
_HINT = "Export it again as a HAR, or leave --format away to have its format found."


class Har:
    """A HAR: ``{"log": {..., "entries": [...]}}``, the keys in any order, entry by entry."""

    name = "har"
    title = "HAR 1.1 and 1.2"

    def likeness(self, head: Head) -> float:
        """By its ``log`` and what stands in one."""
        text = _text(head).lstrip()
        if not text.startswith("{"):
            return 0.0
        found = _LOG.search(text)
        if not found:
            return 0.0
        is_first = not text[1 : found.start()].strip()
        is_har = _IN_LOG.search(text, found.end()) or (not text[found.end() :].strip())
        return (0.95 if is_first else 0.7) if is_har else 0.3

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Skipped]:
        """Its entries. What was answered without a server is skipped, as is what is no HTTP.

        Raises InputError where it has no log with entries, or is damaged before the first one ends.
        """
        with file.open() as raw:
            yield from _Reading(file.name, options).read(raw)


SOURCES = (Har(),)


def _text(head: Head) -> str:
    """The beginning, also in UTF-16 without a byte order mark."""
    return head.text.replace("\0", "") if head.data[:2].count(0) else head.text


class _Reading:
    """How far the reading of one HAR is."""

    def __init__(self, name: str, options: ReadOptions) -> None:
        self._name = name
        self._options = options
        self._number = 0
        self._has_log = False
        self._has_entries = False
        self._creator = ""

    def read(self, raw: Readable) -> Iterator[Record | Skipped]:
        try:
            stream = JsonStream(raw)
            if stream.peek() != "{":
                raise self._refused("it is no JSON object")
            while stream.peek():  # some programs append one document to another
                for key in stream.members():
                    if key == "log":
                        yield from self._log(stream)
        except Damaged as error:
            if not self._number:
                raise self._refused(str(error)) from error
            yield Skipped(self._name, f"after entry {self._number}", f"the HAR cannot be read beyond here: {error}")
            return
        if not self._has_log:
            raise self._refused("it has no log")
        if not self._has_entries:
            raise self._refused("its log has no entries")

    def _log(self, stream: JsonStream) -> Iterator[Record | Skipped]:
        if stream.peek() != "{":
            return
        self._has_log = True
        for key in stream.members():
            if key == "creator":
                self._creator = _name_in(stream)
            elif key == "entries" and stream.peek() == "[":
                self._has_entries = True
                for _ in stream.elements():
                    yield self._entry(stream)

    def _entry(self, stream: JsonStream) -> Record | Skipped:
        try:
            entry = stream.value()
        except Unreadable as error:
            found: Record | str = f"an entry {error}"
        else:
            found = record_of(entry, self._options, creator=self._creator, is_shortened=stream.is_shortened)
        self._number += 1
        return found if isinstance(found, Record) else Skipped(self._name, f"entry {self._number}", found)

    def _refused(self, reason: str) -> InputError:
        return InputError(f"{self._name} cannot be read as a HAR: {reason}.", _HINT)


def _name_in(stream: JsonStream) -> str:
    try:
        return text_in(object_in(stream.value()).get("name"))
    except Unreadable:
        return ""
