"""The requests that a mirror recorded, with the answers of which an access log tells.

A mirror sees whole requests and no response, a log sees every response and little of the request. They are joined by
the request's id (``X-Request-Id``, which the server passes to the mirror and logs), else by method, path, query and
time, where the same client or user agent goes before. Both come in order of time, so that only the answers of some
minutes are held at once.
"""

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.segments import SCHEMA, moments_of

# How far apart the clocks may be and how late an answer may be logged, with an id and without one.
_WITHIN_US = 120_000_000
_AROUND_US = 2_000_000
_UNTIL_LOGGED_US = 30_000_000
_ID = r'(?i)\["x-request-id", "(?P<id>[^"\\]{6,200})"\]'
_AGENT = r'(?i)\["user-agent", "(?P<agent>(?:[^"\\]|\\.)*)"\]'
_ANSWER = ("duration_s", "status", "response_headers", "response_body", "response_bytes", "error")

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Matched:
    """How many of the ``requests`` were joined, and by what."""

    requests: int = 0
    by_id: int = 0
    by_time: int = 0
    with_id: int = 0

    @property
    def sentence(self) -> str:
        """For a person."""
        joined = self.by_id + self.by_time
        share = f" ({joined / self.requests:.1%})" if self.requests else ""
        return (
            f"{joined:,} of the mirror's {self.requests:,} requests{share} were joined with an answer of the log: "
            f"{self.by_id:,} by X-Request-Id, {self.by_time:,} by time, client and request line."
        )

    @property
    def hint(self) -> str:
        """What is to be done where few were joined, empty where that is well."""
        if self.requests and not self.by_id + self.by_time:
            return "Is it the log of the same time and server, and are its times in the zone that --timezone says?"
        if self.with_id and not self.by_id:
            return "The mirror's requests have an X-Request-Id, the log shows none: give its format with --log-format."
        return ""


class Join:
    """Joins requests with ``answers``: a stream of tables (``segments.SCHEMA``, in order of time) for each log.

    ``lines`` and ``used`` count each log's answers, and those of them that were joined; both are true at the end.
    """

    def __init__(self, answers: Sequence[Iterator[pa.Table]]) -> None:
        self.matched = Matched()
        self.lines = [0] * len(answers)
        self.used = [0] * len(answers)
        self._coming = _in_turn(answers)
        self._next = next(self._coming, None)
        self._window = _Window.of(SCHEMA.empty_table(), 0)

    def joined(self, requests: Sequence[Iterator[pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
        """Each table of ``requests``, streams in order of time, with the stream's number and the answers found."""
        for number, table in _in_turn(requests):
            moments = moments_of(table)
            if moments.size:
                self._move(int(moments[0]) - _WITHIN_US, int(moments[-1]) + _WITHIN_US)
                yield number, self._with_answers(table)
        while self._next:
            self._load()

    def _move(self, start_us: int, end_us: int) -> None:
        """Hold the answers from ``start_us`` to ``end_us``, as far as they were not used."""
        windows = [self._window.since(start_us)]
        while self._next and int(moments_of(self._next[1])[0]) <= end_us:
            windows.append(self._load())
        self._window = _Window.joined(windows)

    def _load(self) -> "_Window":
        if not self._next:
            raise ValueError("no answers are left")
        number, table = self._next
        self.lines[number] += table.num_rows
        self._next = next(self._coming, None)
        return _Window.of(table, number)

    def _with_answers(self, table: pa.Table) -> pa.Table:
        window = self._window
        ids = _extracted(table, _ID, "id")
        found = _match_ids(ids, window)
        by_id = int((found >= 0).sum())
        _match_times(table, found, window)
        joined = found >= 0
        window.free[found[joined]] = False
        self.matched.requests += table.num_rows
        self.matched.with_id += len(ids) - ids.null_count
        self.matched.by_id += by_id
        self.matched.by_time += int(joined.sum()) - by_id
        for number, count in enumerate(np.bincount(window.logs[found[joined]], minlength=len(self.used)).tolist()):
            self.used[number] += count
        return _filled(table, window.table.take(pa.array(found[joined])), joined)


@dataclass(frozen=True, slots=True)
class _Window:
    """Answers that may be joined: from which log each is, and which are still free."""

    table: pa.Table
    logs: Rows
    free: Mask

    @classmethod
    def of(cls, table: pa.Table, log: int) -> "_Window":
        """All rows of a log's table."""
        return cls(table, np.full(table.num_rows, log), np.ones(table.num_rows, bool))

    @classmethod
    def joined(cls, windows: "Sequence[_Window]") -> "_Window":
        """The rows of all."""
        return cls(
            pa.concat_tables([window.table for window in windows]).combine_chunks(),
            np.concatenate([window.logs for window in windows]),
            np.concatenate([window.free for window in windows]),
        )

    def since(self, start_us: int) -> "_Window":
        """What is free and not before ``start_us``."""
        kept = self.free & (moments_of(self.table) >= start_us)
        return _Window(self.table.filter(pa.array(kept)), self.logs[kept], self.free[kept])


def _in_turn(streams: Sequence[Iterator[pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
    """The tables of all streams by their first moment, each with the number of its stream."""
    return heapq.merge(
        *(_numbered(number, stream) for number, stream in enumerate(streams)),
        key=lambda pair: int(moments_of(pair[1])[0]),
    )


def _numbered(number: int, stream: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    return ((number, table) for table in stream if table.num_rows)


def _match_ids(ids: pa.Array, window: _Window) -> Rows:
    """For each request the row of the answer that has its id, or -1. An answer is taken once."""
    answers = pc.if_else(pa.array(window.free), _extracted(window.table, _ID, "id"), pa.scalar(None, pa.string()))
    found = pc.index_in(ids, answers, skip_nulls=True).fill_null(-1).to_numpy().astype(np.int64)
    _, first = np.unique(found, return_index=True)
    once = np.zeros(found.size, bool)
    once[first] = True
    return np.where(once, found, -1)


def _match_times(table: pa.Table, found: Rows, window: _Window) -> None:
    """Put the nearest answer with the same request line where ``found`` has none yet."""
    missing = np.flatnonzero(found < 0)
    free = window.free.copy()
    free[found[found >= 0]] = False
    if not missing.size or not free.any():
        return
    wanted = moments_of(table)[missing]
    moments = moments_of(window.table)
    near = free & (moments >= wanted.min() - _AROUND_US) & (moments <= wanted.max() + _UNTIL_LOGGED_US)
    answers = _Answers.of(window.table, np.flatnonzero(near))
    for row, at, signs in zip(missing.tolist(), wanted.tolist(), _signs(table, missing), strict=True):
        nearest = answers.take(at, signs)
        if nearest is not None:
            found[row] = nearest


@dataclass(frozen=True, slots=True)
class _Signs:
    """By what a request is known again: its line at least, its client and user agent where they are the same."""

    line: tuple[str, ...]
    client: str
    agent: str | None

    @property
    def keys(self) -> tuple[tuple[object, ...], ...]:
        """What answers may have in common with it, the most first."""
        line, client, agent = self.line, self.client, self.agent
        return (line, client, agent), (line, client), (line, None, agent), (line,)


class _Answers:
    """Rows of answers by all that requests may have in common with them. Each is taken once."""

    def __init__(self) -> None:
        self._queues: defaultdict[tuple[object, ...], _Queue] = defaultdict(_Queue)
        self._taken: set[int] = set()

    @classmethod
    def of(cls, table: pa.Table, rows: Rows) -> Self:
        """Those ``rows`` of ``table``."""
        answers = cls()
        moments = moments_of(table)[rows]
        order = np.argsort(moments, kind="stable")
        rows = rows[order]
        durations = table["duration_s"].to_numpy()[rows]
        untils = np.where(durations > 0, _AROUND_US, _UNTIL_LOGGED_US)
        for row, at, until, signs in zip(
            rows.tolist(), moments[order].tolist(), untils.tolist(), _signs(table, rows), strict=True
        ):
            for key in signs.keys:
                answers._queues[until, *key].add(row, at)
        return answers

    def take(self, at: int, signs: _Signs) -> int | None:
        """The answer to a request that began then: of those that have the most in common with it, the nearest."""
        for key in signs.keys:
            near = [
                pair
                for until in (_AROUND_US, _UNTIL_LOGGED_US)
                if (queue := self._queues.get((until, *key)))
                for pair in queue.near(at, self._taken)
                if -_AROUND_US <= pair[0] - at <= until
            ]
            if near:
                _, row = min(near, key=lambda pair: (abs(pair[0] - at), pair[1]))
                self._taken.add(row)
                return row
        return None


class _Queue:
    """Answers in order of time. Many may be alike, so that those that were taken are passed over at once."""

    __slots__ = ("_after", "_before", "_moments", "_rows")

    def __init__(self) -> None:
        self._moments: list[int] = []
        self._rows: list[int] = []
        self._after: list[int] = []
        self._before: list[int] = []

    def add(self, row: int, at: int) -> None:
        """One that is not earlier than those before."""
        self._before.append(len(self._rows) - 1)
        self._rows.append(row)
        self._moments.append(at)
        self._after.append(len(self._rows))

    def near(self, at: int, taken: Set[int]) -> Iterator[tuple[int, int]]:
        """The nearest before ``at`` and the nearest after it that are not ``taken``: each one's moment and row."""
        place = bisect_left(self._moments, at)
        after = self._pass_over(self._after, place, taken)
        if after < len(self._rows):
            yield self._moments[after], self._rows[after]
        before = self._pass_over(self._before, place - 1, taken)
        if before >= 0:  # of those of one moment, the first that was logged
            first = self._pass_over(self._after, bisect_left(self._moments, self._moments[before]), taken)
            yield self._moments[first], self._rows[first]

    def _pass_over(self, following: list[int], place: int, taken: Set[int]) -> int:
        passed = []
        while 0 <= place < len(self._rows) and self._rows[place] in taken:
            passed.append(place)
            place = following[place]
        for one in passed:
            following[one] = place
        return place


def _signs(table: pa.Table, rows: Rows) -> Iterator[_Signs]:
    table = table.select(["method", "path", "query", "client", "request_headers"]).take(pa.array(rows))
    lines = zip(*(table[name].to_pylist() for name in ("method", "path", "query")), strict=True)
    agents = _extracted(table, _AGENT, "agent").to_pylist()
    return map(_Signs, lines, table["client"].to_pylist(), agents)


def _extracted(table: pa.Table, pattern: str, name: str) -> pa.Array:
    """What ``pattern`` finds in the request's headers, null where it finds nothing."""
    found = pc.struct_field(pc.extract_regex(table["request_headers"], pattern), name)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _filled(table: pa.Table, answers: pa.Table, joined: Mask) -> pa.Table:
    """``table`` with the answers, in their order, in the rows that are ``joined``."""
    mask = pa.array(joined)
    for name in _ANSWER:
        column = pc.replace_with_mask(table[name].combine_chunks(), mask, answers[name].combine_chunks())
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return table
