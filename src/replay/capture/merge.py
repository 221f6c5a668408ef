"""Many segments in one order of time, with little memory.

Segments that follow each other in time, in the order in which they were read, are one *run*. Runs are read row group by
row group; what no later row group can come before is put in order and handed on.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from replay.capture.segments import Microseconds, Segment, in_order, moments_of, write_segment
from replay.errors import InputError

# How many runs are read at once; where more overlap, some are merged before.
FAN_IN = 8

OnDamage = Callable[[InputError], None]


@dataclass(frozen=True, slots=True)
class Span:
    """A segment and the moments (microseconds since 1970) of its first and its last exchange."""

    segment: Segment
    first: int
    last: int

    @property
    def file(self) -> Path:
        """Where it is."""
        return self.segment.file


@dataclass(frozen=True, slots=True)
class Run:
    """Segments of which none begins before the one ahead of it has ended. ``number`` is the order of reading."""

    number: int
    spans: tuple[Span, ...]

    @property
    def first(self) -> int:
        """The moment of its first exchange."""
        return self.spans[0].first

    @property
    def last(self) -> int:
        """The moment of its last exchange."""
        return self.spans[-1].last


def span_of(file: Path, *, strict: bool = True) -> Span | None:
    """A segment's span, or None where it is empty.

    Raises InputError where it is damaged; where that is not ``strict``, only where its footer is.
    """
    segment = Segment(file)
    first = _bounds(segment, range(segment.groups), strict)
    last = _bounds(segment, range(segment.groups - 1, -1, -1), strict)
    return Span(segment, first[0], last[1]) if first and last else None


def _bounds(segment: Segment, groups: Iterable[int], strict: bool) -> tuple[int, int] | None:
    """The first and last moment of the first of ``groups`` that has any."""
    for group in groups:
        try:
            moments = moments_of(segment.read(group, ["at"]))
        except InputError:
            if strict:
                raise
            continue
        if moments.size:
            return int(moments[0]), int(moments[-1])
    return None


def find_runs(spans: Iterable[Span]) -> list[Run]:
    """The runs of segments that are given in the order of reading."""
    found: list[list[Span]] = []
    for span in spans:
        if found and found[-1][-1].last <= span.first:
            found[-1].append(span)
        else:
            found.append([span])
    return [Run(number, tuple(run)) for number, run in enumerate(found)]


def merged(runs: Sequence[Run], on_damage: OnDamage | None = None) -> Iterator[pa.Table]:
    """The exchanges of all runs in order of ``at``; those of one moment in the order of reading.

    A damaged row group raises InputError, or is told to ``on_damage`` and left out.
    """
    waiting = sorted(runs, key=lambda run: run.first)[::-1]
    cursors: list[_Cursor] = []
    while waiting or cursors:
        if waiting and all(waiting[-1].first <= cursor.moments[0] for cursor in cursors):
            cursor = _Cursor(waiting.pop(), on_damage)
            if cursor.load():
                cursors.append(cursor)
                cursors.sort(key=lambda one: one.number)
            continue
        horizon, number = _horizon(cursors, waiting)
        pieces = [cursor.take(horizon, number) for cursor in cursors]
        pieces = [piece for piece in pieces if piece.num_rows]
        if pieces:
            yield pieces[0] if len(pieces) == 1 else in_order(pa.concat_tables(pieces).combine_chunks())
        cursors = [cursor for cursor in cursors if cursor.moments.size or cursor.load()]


def _horizon(cursors: "Sequence[_Cursor]", waiting: Sequence[Run]) -> tuple[int | None, int]:
    """Up to which moment all that there is was loaded (None: to the end), and up to which run at that moment itself."""
    ends = [(int(cursor.moments[-1]), cursor.number) for cursor in cursors if cursor.has_more]
    if waiting:
        ends.append((waiting[-1].first, -1))
    return min(ends) if ends else (None, 0)


class _Cursor:
    """How far a run was read: a row group of it, and what comes after."""

    def __init__(self, run: Run, on_damage: OnDamage | None) -> None:
        self.number = run.number
        self.moments: Microseconds = np.empty(0, np.int64)
        self._table: pa.Table = None
        self._on_damage = on_damage
        self._rest = [
            (span.segment, group) for span in run.spans for group in range(span.segment.groups) if span.segment.rows
        ][::-1]

    @property
    def has_more(self) -> bool:
        """Whether there is more than what is loaded."""
        return bool(self._rest)

    def load(self) -> bool:
        """Load the next row group that can be read; whether there was one."""
        while self._rest:
            segment, group = self._rest.pop()
            try:
                self._table = segment.read(group)
            except InputError as error:
                if self._on_damage is None:
                    raise
                self._on_damage(error)
                continue
            self.moments = moments_of(self._table)
            if self.moments.size:
                return True
        return False

    def take(self, horizon: int | None, number: int) -> pa.Table:
        """What comes before ``horizon``, and at that moment where no run up to ``number`` has more of it to come."""
        count = self.moments.size
        if horizon is not None:
            count = int(np.searchsorted(self.moments, horizon, side="right" if self.number <= number else "left"))
        piece = self._table.slice(0, count)
        self._table, self.moments = self._table.slice(count), self.moments[count:]
        return piece


def depth_of(runs: Iterable[Run]) -> int:
    """How many runs overlap at once, at most."""
    edges = sorted(edge for run in runs for edge in ((run.first, 0), (run.last, 1)))
    depth = deepest = 0
    for _, is_end in edges:
        depth += -1 if is_end else 1
        deepest = max(deepest, depth)
    return deepest


def merge_into(spans: Sequence[Span], file: Path, metadata: Mapping[str, str]) -> None:
    """Write all exchanges of ``spans``, given in the order of reading, to one segment."""
    runs = find_runs(spans)
    before: list[Span] = []
    for level in itertools.count():
        if depth_of(runs) <= FAN_IN:
            break
        groups = [runs[start : start + FAN_IN] for start in range(0, len(runs), FAN_IN)]
        spans = [_merged_before(group, _level_file(file, level, n)) for n, group in enumerate(groups)]
        _remove(before)
        before, runs = list(spans), find_runs(spans)
    write_segment(merged(runs), file, metadata)
    _remove(before)


def _level_file(file: Path, level: int, number: int) -> Path:
    return file.with_name(f".{file.name}.{level}-{number}.part")


def _merged_before(runs: Sequence[Run], file: Path) -> Span:
    write_segment(merged(runs), file)
    return Span(Segment(file), min(run.first for run in runs), max(run.last for run in runs))


def _remove(spans: Iterable[Span]) -> None:
    for span in spans:
        span.file.unlink()
