"""Logs of JSON objects, one a line: what they share, and those of programs that nobody knows.

A program of its own has a file of its own: a layout of its fields, and what tells its access records apart.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from replay.capture.inputs import Head, Input
from replay.capture.sources.aliases import ALIASES
from replay.capture.sources.entries import NotAnExchange, to_record
from replay.capture.sources.lines import FieldNames, Line, read_lines, some_kept
from replay.capture.sources.roles import Layout, Reading
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Skipped

NOT_JSON = "it is no JSON"
NO_OBJECT = "it is JSON, but no object"
TOO_DEEP = "its JSON is nested too deep"

_DEEPEST = 6
_LONGEST_NAME = 300
_HEX_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_SURE, _KIN, _READABLE, _JSON = 0.97, 0.8, 0.75, 0.5

Fields = dict[str, object]


class NotJson(ValueError):
    """It is no JSON object. Says why."""


def parse_object(data: bytes) -> dict[str, object]:
    """The JSON object that a line is. Raises NotJson.

    Bytes that are no UTF-8 come as single surrogates, also those that nginx's ``escape=default`` writes as ``\\xHH``.
    """
    try:
        try:
            value = json.loads(data.decode("utf-8", "surrogateescape"))
        except ValueError:
            if b"\\x" not in data:
                raise
            data = _HEX_ESCAPE.sub(lambda found: _as_json(int(found[1], 16)), data)
            value = json.loads(data.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise NotJson(NOT_JSON) from error
    except RecursionError as error:
        raise NotJson(TOO_DEEP) from error
    if not isinstance(value, dict):
        raise NotJson(NO_OBJECT)
    return value


def _as_json(byte: int) -> bytes:
    return b"\\u%04x" % (byte if byte < 0x80 else 0xDC00 + byte)


def flatten(value: Mapping[str, object]) -> Fields:
    """The fields of nested objects by their dotted names. What lies deeper than six levels stays as it is."""
    flat: Fields = {}
    _flatten(value, "", 1, flat)
    return flat


def _flatten(value: Mapping[str, object], prefix: str, depth: int, flat: Fields) -> None:
    for name, inner in value.items():
        path = prefix + name
        if isinstance(inner, dict) and depth < _DEEPEST and len(path) < _LONGEST_NAME:
            _flatten(inner, path + ".", depth + 1, flat)
        else:
            flat[path] = inner


def _within(value: object, name: str) -> object:
    """What ``value`` has by a dotted name: an object, where it is none of the flattened fields."""
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True)
class JsonSource:
    """A program's JSON log. See Source.

    ``why_not`` says why a record, flattened, is no access record, or nothing where it is one; ``is_kin`` whether it is
    something else that the same program logs.
    """

    name: str
    title: str
    layout: Layout
    why_not: Callable[[Fields], str]
    is_kin: Callable[[Fields], bool] = lambda _: False

    def likeness(self, head: Head) -> float:
        """See Source."""
        records = _objects(head)
        if any(not self.why_not(fields) for fields in records):
            return _SURE
        return _KIN if any(map(self.is_kin, records)) else 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Skipped]:
        """See Source."""
        names = FieldNames()
        return some_kept(self._read(file, options, names), file, lambda: str(names))

    def _read(self, file: Input, options: ReadOptions, names: FieldNames) -> Iterator[Record | Skipped]:
        reading = Reading(self.layout, options.columns)
        for line in read_lines(file):
            if isinstance(line, Skipped):
                yield line
                continue
            try:
                yield self._record(line, reading, options, names)
            except (NotJson, NotAnExchange) as error:
                yield Skipped(file.name, f"line {line.number}", str(error))

    def _record(self, line: Line, reading: Reading, options: ReadOptions, names: FieldNames) -> Record:
        value = parse_object(line.data)
        fields = flatten(value)
        names.see(fields)
        for name in reading.told:
            if name not in fields and (inner := _within(value, name)) is not None:
                fields[name] = inner
        reason = "" if options.columns else self.why_not(fields)
        if reason:
            raise NotAnExchange(reason)
        return to_record(reading.find(fields.items()), options)


class _AnyJson(JsonSource):
    def likeness(self, head: Head) -> float:
        """See Source."""
        records = _objects(head)
        if 2 * len(records) < len(head.lines) or not records:
            return 0.0
        return _READABLE if any(map(_is_readable, records)) else _JSON


def _is_readable(fields: Fields) -> bool:
    try:
        to_record(Reading(ALIASES, {}).find(fields.items()), ReadOptions())
    except NotAnExchange:
        return False
    return True


def _objects(head: Head) -> list[Fields]:
    records = []
    for line in head.lines:
        if line.startswith("{"):
            try:
                records.append(flatten(parse_object(line.encode("utf-8", "surrogateescape"))))
            except NotJson:
                continue
    return records


def has(fields: Fields, *groups: str) -> bool:
    """Whether at least one name of each group (names with spaces between) is a field."""
    return all(any(name in fields for name in group.split()) for group in groups)


SOURCES = (_AnyJson("json", "JSON lines", ALIASES, lambda _: ""),)
