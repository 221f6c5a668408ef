"""Reading a log in blocks of lines: in memory that is bounded, on all processors, in order."""

import codecs
import io
import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.logs.cutting import Mask, Positions, Text, cut, search
from replay.capture.logs.parallel import in_order
from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.tables import EMPTY, LINE, NO_STATUS, NO_TIME, extract, extract_texts
from replay.capture.sources.source import LINE_LIMIT_BYTES, Lines, ReadOptions
from replay.errors import InputError
from replay.traffic import Skipped

OTHER_LINE = "the line is not of this format"
TOO_LONG = f"the line is longer than {LINE_LIMIT_BYTES // 1_000_000} MB"
BREAKS_OFF = "the file is damaged from here on"

Patterns = tuple[LinePattern, ...]
# What a line that begins with # says of the lines after it: how they are written, given how those before are, or None.
Directive = Callable[[bytes, Patterns], "Patterns | None"]
Decoder = Callable[[pa.Table], pa.Table]

_BLOCK_BYTES = 3 << 20
_PART_BYTES = 1 << 20
# Each block that is in work takes some 40 MB.
_WORKERS = min(os.cpu_count() or 1, 2)
_LONGEST_DIRECTIVE = 65536
_BACKSLASH = ord("\\")
_MARK = b"\xef\xbb\xbf"
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, the number of the first of them, and how they are written."""

    data: bytes
    first: int
    patterns: Patterns = ()


@dataclass(frozen=True)
class LogSource:
    """A format of a log with an exchange in a line: a ``Source`` (see ``sources.source``).

    Each line is read by the first of ``patterns`` that it fits. Where there is a ``directive``, lines that begin with
    ``#`` are no records, and may change the patterns. ``decode`` undoes, in tables as ``Lines`` has them, what a format
    does to values; ``read_texts`` gives it only those that may hold secrets.
    """

    name: str
    title: str
    patterns: Patterns
    directive: Directive | None = None
    decode: Decoder | None = None

    def likeness(self, head: Head) -> float:
        """See Source: the share of the lines that fit, each with the weight of its pattern."""
        count, weight = 0, 0.0
        whole = part = Block("\n".join(head.lines).encode("utf-8", "replace"), 1)
        for part in cast("Iterator[Block]", self._sections(iter([whole]))):
            lines = [line for line in part.data.split(b"\n") if line and not self._is_directive(line)]
            count += len(lines)
            weight += sum(pattern.weight * number for pattern, number in _count_fitting(part.patterns, lines))
        return weight / count if count else float(part.patterns not in {(), self.patterns})

    def read(self, file: Input, options: ReadOptions) -> Iterator[Lines | Skipped]:
        """See Source."""
        likely = self._likely(file.head)

        def work(block: Block | Skipped) -> Lines | Skipped:
            if isinstance(block, Skipped):
                return block
            lines = read_block(block, file.name, options, likely, directives=self.directive is not None)
            return replace(lines, table=self.decode(lines.table)) if self.decode else lines

        with file.open() as stream:
            yield from in_order(work, self._sections(blocks(stream, file.name)), _WORKERS)

    def read_texts(self, file: Input, _: ReadOptions) -> Iterator[pa.Table]:
        """Of each block, what may hold secrets: its paths, queries and headers. For ``Columns.learn``."""
        likely = self._likely(file.head)

        def work(block: Block | Skipped) -> list[pa.Table]:
            tables = [] if isinstance(block, Skipped) else read_block_texts(block, likely)
            return [self.decode(table) for table in tables] if self.decode else tables

        with file.open() as stream:
            for tables in in_order(work, self._sections(blocks(stream, file.name)), _WORKERS):
                yield from tables

    def _likely(self, head: Head) -> Set[LinePattern]:
        lines = [line.encode("utf-8", "replace") for line in head.lines]
        return {pattern for pattern, count in _count_fitting(self.patterns, lines) if count}

    def _is_directive(self, line: bytes) -> bool:
        return self.directive is not None and line.startswith(b"#")

    def _sections(self, blocks: Iterator[Block | Skipped]) -> Iterator[Block | Skipped]:
        """The blocks, each divided where a directive changes the patterns."""
        patterns = self.patterns
        for block in blocks:
            if isinstance(block, Skipped):
                yield block
                continue
            start, number = 0, block.first
            for at, line in _directives(block.data) if self.directive else ():
                changed = self.directive(line, patterns) if self.directive else None
                if changed is not None and changed != patterns:
                    yield Block(block.data[start:at], number, patterns)
                    number += block.data.count(b"\n", start, at)
                    start, patterns = at, changed
            yield Block(block.data[start:] if start else block.data, number, patterns)


def read_block(
    block: Block,
    name: str,
    options: ReadOptions,
    likely: Set[LinePattern] = frozenset(),
    *,
    directives: bool = False,
) -> Lines:
    """The exchanges of a block's lines, and what is none. The patterns that are ``likely`` are tried first."""
    rest, too_long = _lines(block)
    if directives:
        rest.remove(rest.text.at(rest.starts) == ord("#"))
    refused = [(int(number), TOO_LONG) for number in too_long]
    extracts = []
    for pattern, values, fitting in _fitting(block.patterns, rest, likely):
        extracts.append(extract(pattern, values, fitting, options, escapes=rest.text.has_byte(_BACKSLASH)))
        refused += extracts[-1].refused
    refused += [(int(number), OTHER_LINE) for number in rest.numbers]
    skipped = tuple(Skipped(name, f"line {number}", reason) for number, reason in sorted(refused))
    return Lines(_joined([part.table for part in extracts]), skipped)


def read_block_texts(block: Block, likely: Set[LinePattern] = frozenset()) -> list[pa.Table]:
    """What may hold secrets in a block's lines."""
    rest, _ = _lines(block)
    return [
        extract_texts(pattern, values, len(numbers))
        for pattern, values, numbers in _fitting(block.patterns, rest, likely, only_texts=True)
    ]


def blocks(stream: BinaryIO, name: str, block_bytes: int = _BLOCK_BYTES) -> Iterator[Block | Skipped]:
    """A log in blocks of whole lines. Longer lines than the limit are left out.

    Raises InputError where nothing can be read; a file that breaks off later ends with a ``Skipped``.
    """
    number, rest, is_long = 1, b"", False
    pieces = _in_utf_8(_pieces(stream, block_bytes))
    while True:
        try:
            piece = next(pieces, b"")
        except BROKEN_STREAM as error:
            if number == 1 and not rest:
                raise InputError(f"{name} cannot be read: it is damaged.") from error
            yield Skipped(name, f"line {number}", BREAKS_OFF)
            return
        if not piece:
            break
        if is_long:
            _, newline, piece = piece.partition(b"\n")
            is_long = not newline
            number += bool(newline)
        data = rest + piece if rest else piece
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        if whole:
            yield Block(whole, number)
            number += whole.count(b"\n")
        if len(rest) > LINE_LIMIT_BYTES + 1:
            yield Skipped(name, f"line {number}", TOO_LONG)
            rest, is_long = b"", True
    if rest:
        yield Block(rest, number)


@dataclass
class _Lines:
    """Lines that no pattern fitted so far."""

    text: Text
    starts: Positions
    ends: Positions
    numbers: Positions

    def of(self, mask: Mask) -> "_Lines":
        if mask.all():
            return self
        return _Lines(self.text, self.starts[mask], self.ends[mask], self.numbers[mask])

    def remove(self, mask: Mask) -> None:
        self.starts, self.ends, self.numbers = self.starts[~mask], self.ends[~mask], self.numbers[~mask]


def _fitting(
    patterns: Patterns, rest: _Lines, likely: Set[LinePattern] = frozenset(), *, only_texts: bool = False
) -> Iterator[tuple[LinePattern, list[pa.Array | None], Positions]]:
    """Each pattern with the values and numbers of the lines that it fits, which are removed from ``rest``."""
    for pattern in sorted(patterns, key=lambda pattern: pattern not in likely):
        if len(rest.numbers):
            fits, values = cut(pattern, rest.text, rest.starts, rest.ends, only_texts=only_texts)
            if fits.any():
                yield pattern, values, rest.numbers[fits]
                rest.remove(fits)
    for pattern in patterns:
        if len(rest.numbers) and all(text in rest.text.data for text in pattern.texts):
            fits, values = search(pattern, rest.text.take(rest.starts, rest.ends))
            if fits.any():
                yield pattern, values, rest.numbers[fits]
                rest.remove(fits)


def _lines(block: Block) -> tuple[_Lines, Positions]:
    """The lines that hold more than white space, and the numbers of those that are too long."""
    text = Text(block.data)
    starts, ends = text.lines()
    numbers = np.arange(block.first, block.first + len(starts))
    too_long = ends - starts > LINE_LIMIT_BYTES
    lines = _Lines(text, starts, ends, numbers).of((ends > starts) & ~too_long)
    blank = text.at(lines.starts) <= ord(" ")
    for at in np.flatnonzero(blank):
        blank[at] = not block.data[lines.starts[at] : lines.ends[at]].strip()
    lines.remove(blank)  # a pattern of words may fit what holds none
    return lines, numbers[too_long]


def _count_fitting(patterns: Patterns, lines: list[bytes]) -> list[tuple[LinePattern, int]]:
    """How many lines with a time, and with no nonsense for a status, each pattern fits."""
    text = Text(b"\n".join(lines))
    starts, ends = text.lines()
    rest = _Lines(text, starts, ends, np.arange(len(starts))).of(ends - starts < LINE_LIMIT_BYTES)
    return [
        (pattern, sum(reason not in {NO_TIME, NO_STATUS} for _, reason in found.refused) + found.table.num_rows)
        for pattern, values, numbers in _fitting(patterns, rest)
        for found in [extract(pattern, values, numbers, ReadOptions())]
    ]


def _joined(tables: list[pa.Table]) -> pa.Table:
    """The tables' rows in the order of the lines."""
    if not tables:
        return EMPTY
    if len(tables) == 1:
        return tables[0].drop_columns(LINE)
    table = pa.concat_tables(tables, promote_options="default")
    return table.take(np.argsort(table[LINE].to_numpy(), kind="stable")).drop_columns(LINE)


def _directives(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0 if data.startswith(b"#") else data.find(b"\n#") + 1
    while at or data.startswith(b"#"):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        yield at, data[at : min(end, at + _LONGEST_DIRECTIVE)].rstrip(b"\r")
        following = data.find(b"\n#", end)
        if following < 0:
            return
        at = following + 1


def _in_utf_8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces that are not empty, without a byte order mark. What has the mark of UTF-16 is decoded."""
    decode: Callable[[bytes], str] | None = None
    for index, piece in enumerate(pieces):
        data = piece
        if not index:
            encoding = _UTF_16.get(piece[:2])
            decode = codecs.getincrementaldecoder(encoding)("replace").decode if encoding else None
            data = piece[2:] if decode else piece.removeprefix(_MARK)
        data = decode(data).encode() if decode else data
        if data:
            yield data


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """All that can be read, in pieces of about ``size``. Raises BROKEN_STREAM at the end."""
    reader = cast("io.BufferedReader", stream)
    broken: Exception | None = None
    while not broken:
        parts: list[bytes] = []
        missing = max(size, len(_MARK))
        while missing > 0:
            try:
                part = reader.read1(min(missing, _PART_BYTES))  # read() would lose what it read before the damage
            except BROKEN_STREAM as error:
                broken = error
                break
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        piece = parts[0] if len(parts) == 1 else b"".join(parts)
        if piece:
            yield piece
        elif not broken:
            return
    raise broken
