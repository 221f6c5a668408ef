"""The schedule as an arm plays it: faster, longer, with more visits. Pure: nothing here looks at a clock."""

import bisect
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from replay.errors import InputError
from replay.scenario.chance import draw
from replay.scenario.repeats import Repeats, earlier_of
from replay.scenario.schedule import PlannedRequest, Schedule

DEFAULT_SEED = 1


def pace(
    schedule: Schedule,
    *,
    speed: float = 1.0,
    scale: float = 1.0,
    duration_s: float | None = None,
    seed: int = DEFAULT_SEED,
) -> Schedule:
    """The schedule as an arm plays it: the same for the same ``seed``.

    ``speed`` divides every due time. ``duration_s`` (after that) cuts the schedule, or repeats it until it is that
    long: then its requests are ``Repeats``, of which one round lies in memory. ``scale`` multiplies visits: whole
    copies of visits, chosen evenly; below 1 it keeps that share of visits.
    Visits that hand values to each other are copied or left out together, and keep their distance. A copy's client is
    its own, ``NAME~2`` for the first copy of ``NAME``'s (``copies`` of the result says so), and its think times are
    those of its original. Requests are numbered anew in the order they are due, and ``after`` and ``origin`` follow.

    A copy starts at a moment drawn evenly from between the visit before its original and the visit after it. So where
    visits come densely, copies do too: bursts and lulls keep their shape, whatever the rate, while no copy moves in
    step with its original. It is at least 0.25 s to either side, so that a copy does not reach for the rows that its
    original still holds, and at most 5 s, so that what production does at the full minute stays there; both are of the
    capture's time, which ``speed`` compresses.

    Raises InputError where speed, scale or duration is not a positive number, or where a schedule without a span would
    have to be repeated.
    """
    for name, value in (("speed", speed), ("scale", scale), ("duration", duration_s)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise InputError(f"The {name} must be a number above 0.")
    if speed == 1.0 and scale == 1.0 and duration_s in (None, schedule.duration_s):
        return schedule
    span_s = schedule.duration_s / speed
    length_s = span_s if duration_s is None else duration_s
    repeated = length_s / span_s if span_s else 1.0
    if not span_s and schedule.requests and duration_s is not None:
        raise InputError("The schedule spans no time, so it cannot be repeated.", "Leave out the duration.")
    if min(repeated, 1.0) * max(scale, 1.0) * len(schedule) > _MOST_REQUESTS:
        raise InputError(
            f"That makes more than {_MOST_REQUESTS:,} requests.", "Give a shorter duration, or a lower speed or scale."
        )
    if repeated * max(scale, 1.0) * len(schedule) > _MOST_IN_ALL:
        raise InputError(
            f"That makes more than {_MOST_IN_ALL:,} requests.", "Give a shorter duration, or a lower speed or scale."
        )
    times = math.ceil(repeated)
    groups = _groups(schedule)
    copies = _copies(groups, scale)
    lags = _lags(schedule, copies, seed)
    played = [
        _Played((planned.due_s + lag_s) / speed, copy, planned)
        for planned in schedule.requests
        for copy, lag_s in enumerate(lags[groups[planned.visit]])
    ]
    if duration_s is not None:
        played = [one for one in played if one.due_s < duration_s]
    played.sort(key=lambda one: one.due_s)  # stable: what is due together keeps its order
    names = _names({planned.client for planned in schedule}, max(copies.values(), default=1))
    once = _renumbered(played, names)
    return Schedule(
        once if times == 1 or duration_s is None else Repeats(once, times, span_s, duration_s),
        max([length_s, *(one.due_s for one in played[-1:])]),
        {
            names[one.copy, one.planned.client]: schedule.copies.get(one.planned.client, one.planned.client)
            for one in played
            if one.copy or one.planned.client in schedule.copies
        },
    )


_MOST_REQUESTS = 5_000_000  # one round of a schedule lies in memory
_MOST_IN_ALL = 200_000_000
_LEAST_LAG_S = 0.25  # longer than most answers take
_MOST_LAG_S = 5.0
_ROUNDING = 1e-9  # 100 * 0.29 is 28.999999999999996


@dataclass(frozen=True, slots=True)
class _Played:
    """A request as one copy of its visit plays it."""

    due_s: float
    copy: int
    planned: PlannedRequest


def _groups(schedule: Schedule) -> dict[int, int]:
    """Each visit's group, in order: the first of the visits that its values come from."""
    group_of: dict[int, int] = {}
    visit_of = {planned.request: planned.visit for planned in schedule}

    def group(visit: int) -> int:
        while (first := group_of.setdefault(visit, visit)) != visit:
            group_of[visit] = group_of[first]  # half the way, the next time
            visit = first
        return visit

    order = {visit: rank for rank, visit in enumerate(dict.fromkeys(visit_of.values()))}
    for planned in schedule:
        for origin in earlier_of(planned):
            one, other = sorted((group(planned.visit), group(visit_of[origin])), key=lambda visit: order[visit])
            group_of[other] = one
    return {visit: group(visit) for visit in order}


def _copies(groups: Mapping[int, int], scale: float) -> dict[int, int]:
    """How often each group is played. The part of ``scale`` behind the point is spread evenly over the groups."""
    ordered = list(dict.fromkeys(groups.values()))
    played = [math.floor(index * scale + _ROUNDING) for index in range(len(ordered) + 1)]
    copies = {one: more - so_far for one, so_far, more in zip(ordered, played, played[1:], strict=False)}
    if ordered and not played[-1]:
        copies[ordered[0]] = 1  # a share so small that it would leave nothing to replay
    return copies


def _lags(schedule: Schedule, copies: Mapping[int, int], seed: int) -> dict[int, tuple[float, ...]]:
    """For each group how much later than the original each of its plays starts: the first at its own time."""
    first_s: dict[int, float] = {}
    for planned in schedule:
        first_s.setdefault(planned.visit, planned.due_s)
    starts = sorted(set(first_s.values()))

    def lags(group: int) -> Iterator[float]:
        start_s = first_s[group]
        index = bisect.bisect_left(starts, start_s)
        before = start_s - starts[index - 1] if index else _MOST_LAG_S
        behind = starts[index + 1] - start_s if index + 1 < len(starts) else _MOST_LAG_S
        low = max(-_within_bounds(before), -start_s)
        high = _within_bounds(behind)
        for copy in range(copies[group]):
            yield low + draw(seed, group, copy) * (high - low) if copy else 0.0

    return {group: tuple(lags(group)) for group in copies}


def _within_bounds(gap_s: float) -> float:
    return min(max(gap_s, _LEAST_LAG_S), _MOST_LAG_S)


def _names(clients: set[str], copies: int) -> dict[tuple[int, str], str]:
    """What each client is called in each copy; nobody is called like somebody else."""
    mark = "~"
    while any(f"{client}{mark}{copy + 1}" in clients for client in clients for copy in range(1, copies)):
        mark += "~"
    return {
        (copy, client): f"{client}{mark}{copy + 1}" if copy else client for client in clients for copy in range(copies)
    }


def _renumbered(played: Sequence[_Played], names: Mapping[tuple[int, str], str]) -> tuple[PlannedRequest, ...]:
    numbers = {(one.copy, one.planned.request): number for number, one in enumerate(played)}
    visits: dict[tuple[int, int], int] = {}
    result = []
    for number, one in enumerate(played):
        planned = one.planned
        moved = {earlier: numbers[one.copy, earlier] for earlier in earlier_of(planned)}
        result.append(
            dataclasses.replace(
                planned,
                request=number,
                visit=visits.setdefault((one.copy, planned.visit), len(visits)),
                client=names[one.copy, planned.client],
                due_s=one.due_s,
                after=None if planned.after is None else moved[planned.after],
                reads_back=None if planned.reads_back is None else numbers.get((one.copy, planned.reads_back)),
                injects=tuple(
                    inject if inject.origin is None else dataclasses.replace(inject, origin=moved[inject.origin])
                    for inject in planned.injects
                ),
            )
        )
    return tuple(result)
