"""Which requests a dry run plays: the first visit of each client, cut short. Pure: nothing here is sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from replay.scenario.schedule import PlannedRequest, Schedule

MOST_CLIENTS = 200  # of all workloads
SPAN_S = 300.0  # of a workload; what has not been sent by then stays unsent
_MOST_REQUESTS = 50  # of one visit
_MOST_IN_ALL = 4_000
_APART_S = 0.02
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Visits:
    """A schedule that plays the visits of ``clients`` one after the other: each request waits for the answer before.

    In it, a visit's number is the place of its client in ``clients``.
    """

    schedule: Schedule
    clients: tuple[str, ...]

    def of(self, client: str) -> tuple[PlannedRequest, ...]:
        """The requests played for one client."""
        number = self.clients.index(client)
        return tuple(planned for planned in self.schedule if planned.visit == number)


def share_out(ranked: Mapping[str, Sequence[str]], most: int = MOST_CLIENTS) -> dict[str, tuple[str, ...]]:
    """Whose visits are played, by workload: the busiest client of each workload, then the second of each, and so on."""
    chosen: dict[str, list[str]] = {workload: [] for workload in ranked}
    places = max(map(len, ranked.values()), default=0)
    turns = [(own[at], workload) for at in range(places) for workload, own in ranked.items() if at < len(own)]
    for client, workload in turns[:most]:
        chosen[workload].append(client)
    return {workload: tuple(clients) for workload, clients in chosen.items()}


def most_of_each(clients: int) -> int:
    """How many requests of each visit are played where so many are: fewer of many, so that all have their turn."""
    return max(1, min(_MOST_REQUESTS, _MOST_IN_ALL // max(1, clients)))


def first_visits(
    schedule: Schedule, clients: Iterable[str], *, reads_only: bool, most: int = _MOST_REQUESTS
) -> tuple[Visits, tuple[str, ...]]:
    """The first visit of each client, and the clients whose visit has nothing that may be sent.

    Of a visit ``most`` requests are kept, counting those of others whose answers it needs values from. With
    ``reads_only`` only those are that change nothing by their method, nor need what does.
    """
    firsts: dict[str, int] = {}
    for planned in schedule:
        firsts.setdefault(planned.client, planned.visit)
    kept: dict[str, list[int]] = {}
    idle = []
    for client in clients:
        numbers = _kept(schedule, firsts.get(client), reads_only=reads_only, most=most)
        if numbers:
            kept[client] = numbers
        else:
            idle.append(client)
    requests: list[PlannedRequest] = []
    for place, numbers in enumerate(kept.values()):
        moved = {number: len(requests) + at for at, number in enumerate(numbers)}
        requests += [_moved(schedule.requests[number], moved, place) for number in numbers]
    return Visits(Schedule(tuple(requests), SPAN_S), tuple(kept)), tuple(idle)


def _kept(schedule: Schedule, visit: int | None, *, reads_only: bool, most: int) -> list[int]:
    taken: set[int] = set()
    for planned in schedule:
        if planned.visit != visit:
            continue
        wanted = _with_origins(schedule, planned) - taken
        if reads_only and any(schedule.requests[number].method not in _READS for number in wanted):
            continue
        if len(taken) + len(wanted) > most:
            break
        taken |= wanted
    return sorted(taken)


def _with_origins(schedule: Schedule, planned: PlannedRequest) -> set[int]:
    """A request and all whose answers it needs values from, directly or not."""
    found: set[int] = set()
    due = [planned.request]
    while due:
        number = due.pop()
        if number not in found:
            found.add(number)
            due += [one.origin for one in schedule.requests[number].injects if one.origin is not None]
    return found


def _moved(planned: PlannedRequest, moved: Mapping[int, int], visit: int) -> PlannedRequest:
    number = moved[planned.request]
    return replace(
        planned,
        request=number,
        visit=visit,
        due_s=number * _APART_S,
        after=number - 1 if number else None,
        reads_back=None if planned.reads_back is None else moved.get(planned.reads_back),
        injects=tuple(one if one.origin is None else replace(one, origin=moved[one.origin]) for one in planned.injects),
    )
