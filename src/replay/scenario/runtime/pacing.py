"""When a planned request may be sent, and by which worker. Pure: nothing here looks at a clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replay.errors import InputError
from replay.scenario.repeats import only, round_of
from replay.scenario.schedule import PlannedRequest, Schedule

VISITS = "visits"
STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Moment:
    """When a request may be sent, and how long past its due time its predecessors kept it."""

    at_s: float
    waited_s: float


def moment(due_s: float, answered_s: Iterable[float]) -> Moment:
    """The moment of a request that is due at ``due_s`` and follows answers that came at ``answered_s``."""
    at_s = max([due_s, *answered_s])
    return Moment(at_s, at_s - due_s)


def predecessors(planned: PlannedRequest, pacing: str) -> tuple[int, ...]:
    """The requests whose answers this one waits for, in order.

    In visits that is the one it followed in the capture; however it is paced, those whose values it needs.
    """
    numbers = {injection.origin for injection in planned.injects if injection.origin is not None}
    if pacing == VISITS and planned.after is not None:
        numbers.add(planned.after)
    return tuple(sorted(numbers))


def check(schedule: Schedule, pacing: str) -> None:
    """Raise InputError unless every request waits only for earlier ones, so that none can wait for ever."""
    if pacing not in {VISITS, STRICT}:
        raise InputError(f"pacing is {pacing!r}.", f'Set it to "{VISITS}" or "{STRICT}".')
    known: set[int] = set()
    due_s = 0.0
    for planned in schedule:
        for number in predecessors(planned, VISITS):
            if number not in known:
                raise InputError(
                    f"Request {planned.request} of the schedule waits for request {number}, which is not before it.",
                    "Build the scenario again with `replay build`.",
                )
        if planned.request in known or planned.due_s < due_s:
            raise InputError(
                f"Request {planned.request} of the schedule comes twice or is out of order.",
                "Build the scenario again with `replay build`.",
            )
        known.add(planned.request)
        due_s = planned.due_s


def part(schedule: Schedule, index: int, count: int) -> Sequence[PlannedRequest]:
    """The requests that worker ``index`` of ``count`` sends, in the order they are due.

    Visits that hand values to each other stay together; such groups go, largest first, to the worker that has the
    least. Every worker computes the same, so each request is sent by exactly one.
    """
    if count == 1:
        return schedule.requests
    groups = _Groups()
    once = round_of(schedule)
    visit_of = {planned.request: planned.visit for planned in once}
    for planned in once:
        groups.find(planned.visit)
        for number in predecessors(planned, VISITS):
            groups.join(planned.visit, visit_of[number])
    sizes: dict[int, int] = {}
    for planned in once:
        group = groups.find(planned.visit)
        sizes[group] = sizes.get(group, 0) + 1
    loads = [0] * count
    worker_of: dict[int, int] = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
        worker = min(range(count), key=lambda worker: (loads[worker], worker))
        worker_of[group] = worker
        loads[worker] += sizes[group]
    return only(schedule.requests, lambda planned: worker_of[groups.find(planned.visit)] == index)


class _Groups:
    """Disjoint sets of visits, each known by its lowest number."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def find(self, visit: int) -> int:
        parent = self._parent.setdefault(visit, visit)
        while parent != visit:
            grandparent = self._parent[parent]
            self._parent[visit] = grandparent
            visit, parent = parent, grandparent
        return visit

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low
