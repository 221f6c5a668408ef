"""CSV and its kin, whatever stands between the fields, with the columns' names in the first line. See ``table``."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.sources.entries import NotAnExchange, to_record
from replay.capture.sources.lines import BREAKS_OFF, FieldNames, some_kept
from replay.capture.sources.roles import Reading
from replay.capture.sources.source import LINE_LIMIT_BYTES, Lines, ReadOptions, Record
from replay.capture.sources.table_columns import check, likeness, reading_for
from replay.capture.sources.table_lines import Plain, plain_rows
from replay.errors import InputError
from replay.traffic import Skipped

TOO_LONG = f"the row is longer than {LINE_LIMIT_BYTES} characters; a quote before it may not be closed"
BAD_QUOTES = "its quotes do not match"

_SURE, _LIKELY = 0.95, 0.6
_DELIMITERS = ",\t;|\x01\x1f"
_QUOTE = '"'
_PIECE_CHARS = 1 << 20
_BLOCK_ROWS, _BLOCK_CHARS = 8192, 4_000_000
_NULLS = frozenset({"\\N", "NULL", "null"})
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_ESCAPE = re.compile(r"\\([tnr0\\])")
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "\\": "\\"}


Item = Record | Lines | Skipped
Numbered = tuple[int, list[str] | str]  # a row, or why there is none


class Csv:
    """See Source."""

    name = "csv"
    title = "CSV"

    def likeness(self, head: Head) -> float:
        """See Source."""
        if not head.lines or head.data.startswith((b"{", b"[")):
            return 0.0
        rows = _rows_of(head, _dialect_of(head))
        names, first = next(rows, []), next(rows, None)
        is_known, _ = likeness(names)
        if not is_known or len(names) < 2:
            return 0.0
        return _SURE if first is None or len(first) == len(names) else _LIKELY

    def read(self, file: Input, options: ReadOptions) -> Iterator[Item]:
        """See Source. Rows have numbers from 1, the first after the columns' names."""
        names = FieldNames()
        return some_kept(_read(file, options, names), file, lambda: str(names))


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How fields are told apart.

    ``has_spaces`` says that a space follows the delimiter; ``escape`` is what stands before a quote within quotes,
    where it is not doubled.
    """

    delimiter: str
    has_spaces: bool = False
    has_quotes: bool = True
    escape: str | None = None

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=_QUOTE if self.has_quotes else None,
            quoting=csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE,
            escapechar=self.escape,
            skipinitialspace=self.has_spaces,
            strict=True,
        )


def _dialect_of(head: Head) -> _Dialect:
    first = head.lines[0] if head.lines else ""

    def count(delimiter: str) -> tuple[int, int]:
        names = next(_rows_of(head, _Dialect(delimiter)), [])
        return likeness(names)[1], first.count(delimiter)

    delimiter = max(_DELIMITERS, key=count)
    ends = re.escape(delimiter)
    quoted = rf'(?:^|{ends})"(?:[^"]|"")*"(?={ends}|[\r\n]|\Z)'
    has_quotes = delimiter == "," or re.search(quoted, head.text, re.MULTILINE) is not None
    is_escaped = re.search(rf'\\"[^"\r\n{ends}]', head.text) is not None
    return _Dialect(delimiter, f"{delimiter} " in first, has_quotes, "\\" if is_escaped and has_quotes else None)


def _rows_of(head: Head, dialect: _Dialect) -> Iterator[list[str]]:
    """The rows of a file's beginning, as far as they can be read."""
    rows = dialect.reader(iter(head.text.splitlines(keepends=True)))
    try:
        yield from (row for row in rows if row)
    except csv.Error:
        return


def _read(file: Input, options: ReadOptions, names: FieldNames) -> Iterator[Item]:
    if file.head.is_empty:
        raise InputError(f"{file.name} is empty.")
    dialect = _dialect_of(file.head)
    reading = reading_for(options)
    with file.open() as stream:
        rows = _Rows(stream, file.head, dialect)
        try:
            columns = [name.strip() for name in rows.next() or ()]
        except _NoRow as error:
            raise InputError(f"The first line of {file.name} cannot be read: {error}.") from error
        names.see(columns)
        check(columns, reading, file.name)
        table = _Table(file.name, columns, dialect, reading, options)
        for block in rows.blocks():
            yield from table.items(block)


@dataclass(frozen=True, slots=True)
class _Table:
    """What the rows of a file mean."""

    name: str
    columns: list[str]
    dialect: _Dialect
    reading: Reading
    options: ReadOptions

    def items(self, block: list[Numbered]) -> Iterator[Item]:
        """The records of some rows: those that are plain first, the others in their order."""
        good: list[list[str]] = []
        numbers: list[int] = []
        found: dict[int, Item] = {}
        count = len(self.columns)
        for number, row in block:
            if isinstance(row, str):
                found[number] = self._skipped(number, row)
            elif len(row) == count or (len(row) > count and not any(row[count:])):
                good.append(row)
                numbers.append(number)
            else:
                found[number] = self._skipped(number, f"it has {len(row)} fields, and there are {count} columns")
        places = [place for place, name in enumerate(self.columns) if self.reading.roles(name)]
        names = [self.columns[place] for place in places]
        cells = [self._values([row[place] for row in good]) for place in places]
        plain = self._plain(names, cells)
        if plain and plain.table.num_rows:
            yield Lines(plain.table)
        for index in np.flatnonzero(~plain.rows).tolist() if plain else range(len(good)):
            number = numbers[index]
            fields = [(name, column[index]) for name, column in zip(names, cells, strict=True)]
            try:
                found[number] = to_record(self.reading.find(fields), self.options)
            except NotAnExchange as error:
                found[number] = self._skipped(number, str(error))
        yield from (found[number] for number in sorted(found))

    def _plain(self, names: list[str], cells: list[list[str | None]]) -> Plain | None:
        try:
            columns = [(name, pa.array(column, pa.string())) for name, column in zip(names, cells, strict=True)]
        except UnicodeEncodeError:
            return None
        return plain_rows(columns, self.reading, self.options)

    def _skipped(self, number: int, reason: str) -> Skipped:
        return Skipped(self.name, f"row {number}", reason)

    def _values(self, cells: list[str]) -> list[str | None]:
        values = [None if cell in _NULLS else cell for cell in cells]
        if self.dialect.has_quotes:
            return values
        # As PostgreSQL, MySQL and others write what would end a field or a line.
        return [value and _ESCAPE.sub(lambda found: _ESCAPED[found[1]], value) for value in values]


class _NoRow(Exception):
    """A row cannot be read. Says why."""

    def __init__(self, reason: str, *, is_last: bool = False) -> None:
        super().__init__(reason)
        self.is_last = is_last


class _Rows:
    """The rows of a CSV, none of which may be longer than the limit, over however many lines."""

    def __init__(self, stream: BinaryIO, head: Head, dialect: _Dialect) -> None:
        # For the whole process: no other limit may be lower than ours, which is kept here in any case.
        csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT_BYTES + 1))
        encoding = next((name for mark, name in _ENCODINGS if head.data.startswith(mark)), "utf-8")
        errors = "replace" if encoding == "utf-16" else "surrogateescape"
        self._text = io.TextIOWrapper(stream, encoding, errors, newline="")
        self._rows = dialect.reader(self)
        self._length = 0

    def next(self) -> list[str] | None:
        """The next row that is not blank, or None at the end. Raises _NoRow where there is one that cannot be read."""
        try:
            while True:
                self._length = 0
                row = next(self._rows, None)
                if row is None or row:
                    return row
        except csv.Error as error:
            raise _NoRow(BAD_QUOTES) from error
        except BROKEN_STREAM as error:
            raise _NoRow(BREAKS_OFF, is_last=True) from error

    def blocks(self) -> Iterator[list[Numbered]]:
        """The rows that follow, some at once."""
        block: list[Numbered] = []
        number = chars = 0
        is_last = False
        while not is_last:
            number += 1
            try:
                row = self.next()
                is_last = row is None
                block += [(number, row)] if row is not None else []
            except _NoRow as error:
                block.append((number, str(error)))
                is_last = error.is_last
            chars += self._length
            if is_last or len(block) >= _BLOCK_ROWS or chars >= _BLOCK_CHARS:
                yield block
                block, chars = [], 0

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> str:
        """The next line of the row that is read."""
        line = self._text.readline(LINE_LIMIT_BYTES + 1)
        self._length += len(line)
        if self._length > LINE_LIMIT_BYTES:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(_PIECE_CHARS)
            raise _NoRow(TOO_LONG)
        if not line:
            raise StopIteration
        return line
