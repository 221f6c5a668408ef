"""Cutting the lines of a block into values, all lines at once.

A block is never copied into lines: values are found as positions in it, and only what is wanted is taken out.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.logs.pattern import LinePattern, Variable

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_NEWLINE, _RETURN, _SPACE, _QUOTE, _BACKSLASH = b'\n\r "\\'
_PADDING = 64


class Text:
    """A block of text in memory, and where in it each byte of interest stands."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self._positions: dict[int, Positions] = {}

    def positions(self, byte: int) -> Positions:
        """Where ``byte`` stands."""
        found = self._positions.get(byte)
        if found is None:
            found = self._positions[byte] = np.flatnonzero(self.bytes == byte)
        return found

    @cached_property
    def is_ascii(self) -> bool:
        """Whether no byte is beyond ASCII."""
        return not len(self.bytes) or int(self.bytes.max()) < 0x80

    def has_byte(self, byte: int) -> bool:
        """Whether ``byte`` stands in it at all."""
        return bool((self.bytes == byte).any())

    @cached_property
    def closing_quotes(self) -> Positions:
        """Where a quote stands that no backslash escapes."""
        quotes, backslashes = self.positions(_QUOTE), self.positions(_BACKSLASH)
        if not len(backslashes):
            return quotes
        first_of_run = backslashes[np.diff(backslashes, prepend=-2) != 1]
        run = np.searchsorted(first_of_run, quotes, "right") - 1
        after_one = self.at(quotes - 1) == _BACKSLASH
        odd = (quotes - first_of_run[np.maximum(run, 0)]) % 2 == 1
        unescaped: Positions = quotes[~(after_one & odd)]
        return unescaped

    def after(self, found: Positions, start: Positions) -> Positions:
        """The first of the positions ``found`` from ``start`` on; beyond the end where there is none."""
        places = np.searchsorted(found, start)
        return np.append(found, len(self.bytes) + _PADDING)[places]

    def before(self, found: Positions, end: Positions) -> Positions:
        """The last of the positions ``found`` before ``end``; -1 where there is none."""
        return np.concatenate(([-1], found))[np.searchsorted(found, end)]

    def at(self, positions: Positions) -> npt.NDArray[np.uint8]:
        """The bytes there; outside of the text any byte."""
        if not len(self.bytes):
            return np.zeros(len(positions), np.uint8)
        return self.bytes.take(positions, mode="clip")

    def has(self, literal: bytes, positions: Positions, within: Mask) -> Mask:
        """Where, of the positions that ``within`` holds, ``literal`` stands."""
        for index, byte in enumerate(literal):
            within = within & (self.at(positions + index) == byte)
        return within

    def lines(self) -> tuple[Positions, Positions]:
        """Where each line starts and ends, without what ends it."""
        ends = self.positions(_NEWLINE)
        starts = np.concatenate((np.zeros(1, np.int64), ends + 1))
        if starts[-1] == len(self.bytes):
            starts = starts[:-1]
        else:
            ends = np.append(ends, len(self.bytes))
        return starts, ends - ((self.at(ends - 1) == _RETURN) & (ends > starts))

    def take(self, starts: Positions, ends: Positions) -> pa.Array:
        """The pieces between positions, which must not overlap and be in order, as an array of ``pa.binary()``."""
        offsets = np.empty(2 * len(starts) + 1, np.int32)
        offsets[:-1:2], offsets[1::2] = starts, ends
        offsets[-1] = offsets[-2] if len(starts) else 0
        both = pa.Array.from_buffers(
            pa.binary(), 2 * len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        )
        return both.take(pa.array(np.arange(0, 2 * len(starts), 2, dtype=np.int32)))


def column_text(column: pa.Array) -> tuple[Text, Positions]:
    """An array of ``pa.binary()`` as a text, and the position at which each value starts and, last, the end."""
    _, offsets, data = column.buffers()
    found = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    text = Text(memoryview(data)[: found[-1]] if data else b"")
    return text, found


def cut(
    pattern: LinePattern, text: Text, starts: Positions, ends: Positions, *, only_texts: bool = False
) -> tuple[Mask, list[pa.Array | None]]:
    """Which lines are written like ``pattern`` at first sight, and their values, None for what is ignored.

    With ``only_texts``, values that can hold no secret are ignored too. Lines that only ``search`` can make sense of do
    not count: those in which a value holds what also ends it.
    """
    cursor = starts
    fits = np.ones(len(starts), bool)
    found: list[tuple[Positions, Positions] | None] = []
    literals = [literal.encode() for literal, _ in pattern.pieces]
    fits = text.has(literals[0], cursor, fits)
    cursor = cursor + len(literals[0])
    for index, (variable, literal) in enumerate(zip(pattern.variables, literals[1:], strict=False)):
        if pattern.padded:
            cursor = _skip_spaces(text, cursor)
        anchor = pattern.anchor(index)
        where = text.closing_quotes if variable.quoted and pattern.escaped else text.positions(literal[anchor])
        end = text.after(where, cursor + anchor) - anchor
        fits = text.has(literal, end, fits & (end >= cursor) & (end + len(literal) <= ends))
        found.append((cursor, end) if _is_wanted(variable, only_texts=only_texts) else None)
        cursor = end + len(literal)
    if len(found) < len(pattern.variables):  # the last one, which ends with the line
        variable = pattern.variables[-1]
        if pattern.padded:
            cursor = _skip_spaces(text, cursor)
        found.append((cursor, ends) if _is_wanted(variable, only_texts=only_texts) else None)
        fits &= cursor <= ends
        if pattern.words or not variable.is_loose:
            fits &= text.after(text.positions(ord(pattern.between)), cursor) >= ends
    else:
        fits &= cursor == ends
    values = [None if at is None else text.take(at[0][fits], at[1][fits]) for at in found]
    return _of_form(pattern, fits, values)


def search(pattern: LinePattern, lines: pa.Array) -> tuple[Mask, list[pa.Array | None]]:
    """Which lines are written like ``pattern`` at second sight, and their values: slower, and complete."""
    fits = np.zeros(len(lines), bool)
    names = [f"v{i}" for i, variable in enumerate(pattern.variables) if not variable.is_ignored]
    rows, parts = [], []
    for lenient in (False, True):
        rest = np.flatnonzero(~fits)
        found = pc.extract_regex(lines.take(pa.array(rest)), pattern=pattern.regex(lenient=lenient))
        matched = found.is_valid().to_numpy(zero_copy_only=False)
        rows.append(rest[matched])
        parts.append(found.filter(pa.array(matched)))
        fits[rows[-1]] = True
    in_order = pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(rows), kind="stable")))
    values = dict(zip(names, in_order.flatten(), strict=True))
    return fits, [values.get(f"v{i}") for i in range(len(pattern.variables))]


def amend(column: pa.Array, mask: pa.Array, change: Callable[[Any], Any]) -> pa.Array:
    """``column`` with ``change`` made to the values that ``mask`` marks, once to each of those that are alike."""
    mask = pc.fill_null(mask, False)
    if not pc.any(mask).as_py():
        return column
    chosen = column.filter(mask).dictionary_encode()
    changed: Iterable[Any] = [change(value) for value in chosen.dictionary.to_pylist()]
    return pc.replace_with_mask(column, mask, pa.array(changed, column.type).take(chosen.indices))


def _is_wanted(variable: Variable, *, only_texts: bool) -> bool:
    return bool(variable.form) or (variable.is_text if only_texts else not variable.is_ignored)


def _of_form(pattern: LinePattern, fits: Mask, values: list[pa.Array | None]) -> tuple[Mask, list[pa.Array | None]]:
    """Without the lines whose values do not look as they have to."""
    wrong = np.zeros(np.count_nonzero(fits), bool)
    for variable, value in zip(pattern.variables, values, strict=True):
        if variable.form and value is not None:
            wrong |= ~pc.match_substring_regex(value, f"^(?:{variable.form})$").to_numpy(zero_copy_only=False)
    if not wrong.any():
        return fits, values
    fits = fits.copy()
    fits[np.flatnonzero(fits)[wrong]] = False
    return fits, [None if value is None else value.filter(pa.array(~wrong)) for value in values]


def _skip_spaces(text: Text, cursor: Positions) -> Positions:
    for _ in range(_PADDING):
        spaces = text.at(cursor) == _SPACE
        if not spaces.any():
            break
        cursor = cursor + spaces
    return cursor
