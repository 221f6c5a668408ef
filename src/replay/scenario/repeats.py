"""A schedule that repeats, of which one round lies in memory, however many there are.

Pure: nothing here looks at a clock.
"""

import dataclasses
import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
import numpy.typing as npt

from replay.scenario.schedule import PlannedRequest, Schedule

Coming = Iterator[tuple[PlannedRequest, tuple[int, ...]]]


class Repeats(Sequence[PlannedRequest]):
    """The requests of one round, ``times`` times, each ``span_s`` after the one before, as far as they are due in time.

    A round's requests are in the order they are due, numbered from 0, and so are its visits; what begins in one round
    may end in the next. Requests and visits of all rounds are numbered through in the order they are due.
    """

    def __init__(
        self,
        once: Sequence[PlannedRequest],
        times: int,
        span_s: float,
        before_s: float,
        kept: frozenset[int] | None = None,
    ) -> None:
        """Nothing is due at ``before_s`` or later. Only the requests ``kept`` of a round are there; None: all."""
        self.once = tuple(once)
        self._times = times
        self._span_s = span_s
        self._before_s = before_s
        self._kept = kept

    def __len__(self) -> int:
        return sum(len(moments) for moments in self._moments())

    def __iter__(self) -> Iterator[PlannedRequest]:
        return (planned for planned, _ in self._walk([()] * len(self.once)))

    @overload
    def __getitem__(self, index: int) -> PlannedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PlannedRequest]: ...
    def __getitem__(self, index: int | slice) -> PlannedRequest | Sequence[PlannedRequest]:
        """By walking there: whoever needs many goes through them once instead."""
        if isinstance(index, slice):
            return tuple(self)[index]
        found = next(islice(self, index + len(self) if index < 0 else index, None), None)
        if found is None:
            raise IndexError(index)
        return found

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Repeats | tuple)
            and len(self) == len(other)
            and all(one == another for one, another in zip(self, other, strict=True))
        )

    def __hash__(self) -> int:
        return hash((len(self.once), self._times, self._span_s, self._before_s))

    def changed(self, change: Callable[[PlannedRequest], PlannedRequest]) -> "Repeats":
        """With every request of a round changed in something else than its number, its moment or what it follows."""
        return Repeats(tuple(map(change, self.once)), self._times, self._span_s, self._before_s, self._kept)

    def only(self, wanted: Callable[[PlannedRequest], bool]) -> "Repeats":
        """Those that are wanted, by what they are in a round; they keep their numbers."""
        kept = frozenset(
            one.request for one in self.once if (self._kept is None or one.request in self._kept) and wanted(one)
        )
        return Repeats(self.once, self._times, self._span_s, self._before_s, kept)

    def per_second(self) -> npt.NDArray[np.int64]:
        """How many are due in each second."""
        seconds = [moments.astype(np.int64) for moments in self._moments()]
        counts = np.zeros(1 + max((int(one.max()) for one in seconds if len(one)), default=-1), dtype=np.int64)
        for one in seconds:
            counts += np.bincount(one, minlength=len(counts))
        return counts

    def with_ends(self) -> "Coming":
        """Each request with the numbers of those that nobody needs any more when it, and all before it, are over."""
        return self._walk(ends_of(self.once))

    def _walk(self, ends: Sequence[tuple[int, ...]]) -> "Coming":
        due_s = [one.due_s for one in self.once]
        numbers: dict[int, list[int]] = {0: []}
        visits: dict[int, dict[int, int]] = {0: {}}
        number = visit = 0
        heap = [(due_s[0], 0, 0)] if self.once else []
        while heap:
            moment_s, time, index = heapq.heappop(heap)
            if moment_s >= self._before_s:
                return
            if index == 0 and time + 1 < self._times:
                numbers[time + 1], visits[time + 1] = [], {}
                heapq.heappush(heap, (due_s[0] + (time + 1) * self._span_s, time + 1, 0))
            own, own_visits = numbers[time], visits[time]
            own.append(number)
            planned = self.once[index]
            if planned.visit not in own_visits:
                own_visits[planned.visit] = visit
                visit += 1
            if self._kept is None or index in self._kept:
                yield (
                    _moved(planned, moment_s, number, own_visits[planned.visit], own),
                    tuple(own[earlier] for earlier in ends[index]),
                )
            number += 1
            if index + 1 < len(due_s):
                heapq.heappush(heap, (due_s[index + 1] + time * self._span_s, time, index + 1))
            else:
                del numbers[time], visits[time]

    def _moments(self) -> Iterator[npt.NDArray[np.float64]]:
        """When the requests of each round are due."""
        kept = [one.due_s for one in self.once if self._kept is None or one.request in self._kept]
        due_s = np.array(kept, dtype=np.float64)
        for time in range(self._times):
            moments = due_s + time * self._span_s
            yield moments[moments < self._before_s]


def round_of(schedule: Schedule) -> Schedule:
    """One round of a schedule: what is asked of each request is asked of all rounds by it."""
    requests = schedule.requests
    return dataclasses.replace(schedule, requests=requests.once) if isinstance(requests, Repeats) else schedule


def changed(
    requests: Sequence[PlannedRequest], change: Callable[[PlannedRequest], PlannedRequest]
) -> Sequence[PlannedRequest]:
    """Requests changed in something else than their numbers, their moments or what they follow."""
    return requests.changed(change) if isinstance(requests, Repeats) else tuple(map(change, requests))


def only(requests: Sequence[PlannedRequest], wanted: Callable[[PlannedRequest], bool]) -> Sequence[PlannedRequest]:
    """Those that are wanted, by what they are in a round."""
    return requests.only(wanted) if isinstance(requests, Repeats) else tuple(filter(wanted, requests))


def per_second(requests: Sequence[PlannedRequest]) -> tuple[int, ...]:
    """How many are due in each second."""
    if isinstance(requests, Repeats):
        return tuple(requests.per_second().tolist())
    return tuple(np.bincount([int(one.due_s) for one in requests]).tolist()) if requests else ()


def ends_of(requests: Sequence[PlannedRequest]) -> list[tuple[int, ...]]:
    """For each request the numbers of those, itself too, that no later one needs any more, be it through others."""
    at = {one.request: index for index, one in enumerate(requests)}
    last = list(range(len(requests)))
    for index in range(len(requests) - 1, -1, -1):
        for earlier in earlier_of(requests[index]):
            if (place := at.get(earlier)) is not None:
                last[place] = max(last[place], last[index])
    ends: dict[int, list[int]] = {}
    for one, end in zip(requests, last, strict=True):
        ends.setdefault(end, []).append(one.request)
    return [tuple(ends.get(index, ())) for index in range(len(requests))]


def earlier_of(planned: PlannedRequest) -> Iterator[int]:
    """The requests that one hangs on."""
    if planned.after is not None:
        yield planned.after
    for inject in planned.injects:
        if inject.origin is not None:
            yield inject.origin


def coming(requests: Sequence[PlannedRequest]) -> Coming:
    """The same as ``Repeats.with_ends``, of any requests in the order they are due."""
    if isinstance(requests, Repeats):
        return requests.with_ends()
    listed = tuple(requests)
    return zip(listed, ends_of(listed), strict=True)


def _moved(planned: PlannedRequest, due_s: float, number: int, visit: int, numbers: Sequence[int]) -> PlannedRequest:
    return dataclasses.replace(
        planned,
        request=number,
        visit=visit,
        due_s=due_s,
        after=None if planned.after is None else numbers[planned.after],
        reads_back=None if planned.reads_back is None else numbers[planned.reads_back],
        injects=tuple(
            inject if inject.origin is None else dataclasses.replace(inject, origin=numbers[inject.origin])
            for inject in planned.injects
        ),
    )
