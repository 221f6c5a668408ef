"""Labeled tab-separated values: http://ltsv.org lists the labels. A line is written when its request ends."""

from collections.abc import Iterator

from replay.capture.inputs import Head, Input
from replay.capture.sources.aliases import ALIASES
from replay.capture.sources.entries import NotAnExchange, to_record
from replay.capture.sources.lines import FieldNames, read_lines, some_kept
from replay.capture.sources.roles import Layout, Reading, Role
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Skipped

NOT_LTSV = "it is no LTSV"
_LABELS = Layout(
    {
        "logged": "time",
        "request": "req",
        "address": "host remote_addr",
        "host": "vhost",
        "path": "uri",
        "duration:us": "reqtime_microsec",
        "duration": "reqtime taken_sec taken apptime",
        "request_header:X-Forwarded-For": "forwardedfor",
    }
)
_SURE, _KIN = 0.95, 0.6
# Of its first fields, at least these many have to have a label.
_FEWEST_LABELS = 3


class _Layout(Layout):
    def role(self, name: str) -> Role | None:
        """See Layout."""
        return _LABELS.role(name) or ALIASES.role(name)


class Ltsv:
    """See Source."""

    name = "ltsv"
    title = "LTSV"

    def likeness(self, head: Head) -> float:
        """See Source."""
        found = [fields for line in head.lines if len(fields := _fields(line)) >= _FEWEST_LABELS]
        if not found or 2 * len(found) < len(head.lines):
            return 0.0
        reading = Reading(_LAYOUT, {})
        roles = {role.name for fields in found for name in fields for role in reading.roles(name)}
        return _SURE if roles & {"request", "path"} and roles & {"logged", "at", "ended"} else _KIN

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Skipped]:
        """See Source."""
        names = FieldNames()
        return some_kept(self._read(file, options, names), file, lambda: str(names))

    def _read(self, file: Input, options: ReadOptions, names: FieldNames) -> Iterator[Record | Skipped]:
        reading = Reading(_LAYOUT, options.columns)
        for line in read_lines(file):
            if isinstance(line, Skipped):
                yield line
                continue
            fields = _fields(line.data.decode("utf-8", "surrogateescape"))
            names.see(fields)
            if not fields:
                yield Skipped(file.name, f"line {line.number}", NOT_LTSV)
                continue
            try:
                yield to_record(reading.find(fields.items()), options)
            except NotAnExchange as error:
                yield Skipped(file.name, f"line {line.number}", str(error))


def _fields(line: str) -> dict[str, object]:
    """The fields of a line by their labels; what has no label is left out."""
    fields: dict[str, object] = {}
    for piece in line.split("\t"):
        label, colon, value = piece.partition(":")
        if colon and label and all(sign.isalnum() or sign in "_.-" for sign in label):
            fields[label] = value
    return fields


_LAYOUT = _Layout({})
SOURCES = (Ltsv(),)
