"""Which requests read back what their visit has written: the answer to them should not be the one from before.

Pure: nothing here looks at a clock.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from replay.scenario.schedule import PlannedRequest

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_READ = "GET"


def with_reads_back(
    requests: Sequence[PlannedRequest], was_same: Callable[[int, int], bool] = lambda *_: False
) -> tuple[PlannedRequest, ...]:
    """The requests, those that read back with the number of the one whose answer is out of date by then.

    That is the latest GET of the same path and query in the visit since which the visit wrote there: a write that had
    a status from 200 to 399 in the capture, to the same path, to one that it begins with, or to one that begins with
    it, by whole segments. Where the capture's two answers ``was_same`` (asked with both numbers), nothing reads back.
    """
    visits: dict[int, list[PlannedRequest]] = defaultdict(list)
    for planned in requests:
        visits[planned.visit].append(planned)
    found = {
        number: before for own in visits.values() for number, before in _pairs(own) if not was_same(before, number)
    }
    return tuple(
        dataclasses.replace(planned, reads_back=found[planned.request]) if planned.request in found else planned
        for planned in requests
    )


_What = tuple[str, str]  # a path and its query


@dataclass(slots=True)
class _Reads:
    """The reads of a path since which nothing was written to it, and those of the paths that begin with it."""

    own: dict[_What, int] = field(default_factory=dict)
    below: dict[str, "_Reads"] = field(default_factory=dict)

    def add(self, planned: PlannedRequest) -> None:
        """Take one more."""
        place = self
        for segment in _segments(planned.path):
            place = place.below.setdefault(segment, _Reads())
        place.own[planned.path, planned.query] = planned.request

    def take(self, path: str) -> Iterator[tuple[_What, int]]:
        """Those that a write to ``path`` puts out of date: each is taken once, so that many writes cost no more."""
        place = self
        for segment in _segments(path):
            yield from place.own.items()
            place.own.clear()
            if segment not in place.below:
                return
            place = place.below[segment]
        left = [place]
        while left:
            one = left.pop()
            yield from one.own.items()
            left += one.below.values()
        place.own, place.below = {}, {}


def _pairs(visit: Iterable[PlannedRequest]) -> Iterator[tuple[int, int]]:
    """The reads of one visit, each with the one that it reads back to."""
    reads = _Reads()
    outdated: dict[_What, int] = {}
    for planned in visit:
        if planned.method == _READ:
            if (before := outdated.get((planned.path, planned.query))) is not None:
                yield planned.request, before
            reads.add(planned)
        elif planned.method in WRITES and 200 <= (planned.expected_status or 0) < 400:
            outdated.update(reads.take(planned.path))


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]
