"""Visits: one sitting of one client, its exchanges in order, and which answer each of them may have waited for.

A client's exchanges are parted where it was idle for more than half an hour, the usual bound for user sessions, and
for more than three of its own median gaps: a job that comes by every hour stays one visit.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from replay.traffic import Client

IDLE_S = 1800.0
_USUAL_GAPS = 3.0
_GAPS_TO_JUDGE = 5


@dataclass(frozen=True, slots=True)
class Visit:
    """One sitting of one client: the numbers of its exchanges, in the order they started."""

    number: int
    client: Client
    exchanges: tuple[int, ...]


def find_visits(
    starts_s: Sequence[float], ends_s: Sequence[float], clients: Sequence[Client], strands: Sequence[int]
) -> tuple[tuple[Visit, ...], tuple[int | None, ...]]:
    """The visits, and for each exchange its predecessor: the last one of its visit to end before it started.

    Exchanges are given in the order they started. What has not ended overlaps, and is no predecessor, nor is what
    belongs to another strand of the client's work.
    """
    by_client: dict[Client, list[int]] = defaultdict(list)
    for number, client in enumerate(clients):
        by_client[client].append(number)
    parts = [(client, part) for client, own in by_client.items() for part in _parted(own, starts_s, ends_s)]
    parts.sort(key=lambda part: part[1][0])
    visits = tuple(Visit(number, client, tuple(part)) for number, (client, part) in enumerate(parts))
    after: list[int | None] = [None] * len(clients)
    for visit in visits:
        by_strand: dict[int, list[int]] = defaultdict(list)
        for number in visit.exchanges:
            by_strand[strands[number]].append(number)
        for own in by_strand.values():
            _follow(own, starts_s, ends_s, after)
    return visits, tuple(after)


def _follow(own: Sequence[int], starts_s: Sequence[float], ends_s: Sequence[float], after: list[int | None]) -> None:
    running: list[tuple[float, int]] = []
    last: int | None = None
    for number in own:
        while running and _ended(running[0], starts_s, number):
            last = heapq.heappop(running)[1]
        after[number] = last
        heapq.heappush(running, (ends_s[number], number))


def _ended(running: tuple[float, int], starts_s: Sequence[float], number: int) -> bool:
    """Whether an exchange was over when another started. One that took no time overlaps what starts with it."""
    end, other = running
    return end < starts_s[number] or (end == starts_s[number] and starts_s[other] < end)


def _parted(own: Sequence[int], starts_s: Sequence[float], ends_s: Sequence[float]) -> list[list[int]]:
    idle: list[float] = []
    busy_until = ends_s[own[0]]
    for number in own[1:]:
        idle.append(starts_s[number] - busy_until)
        busy_until = max(busy_until, ends_s[number])
    usual = median(idle) if len(idle) >= _GAPS_TO_JUDGE else 0.0
    bound = max(IDLE_S, _USUAL_GAPS * usual)
    parts = [[own[0]]]
    for number, gap in zip(own[1:], idle, strict=True):
        if gap > bound:
            parts.append([])
        parts[-1].append(number)
    return parts
