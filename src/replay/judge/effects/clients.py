"""Whose requests events are: how they cluster among clients, and what is spread over clients."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.judge.arrays import Counts, Flags, Rows, Times
from replay.judge.effects.blocks import Blocks, at_most, blocks_of, counted, usual_rate


@dataclass(frozen=True, slots=True)
class Part:
    """Requests of one arm: when each was asked (arm seconds), which are events, and whose they are (a number)."""

    at_s: Times
    events: Flags
    clients: Rows


def clustered(part: Part) -> tuple[float, float]:
    """(variance of the number of events as clients cluster them, what it would be for independent ones).

    An event counts once for its client in each block: a burst of one is no cluster, as a block's count is capped too.
    Their ratio is the design effect that counts are divided by: Rao and Scott, *A simple method for the analysis of
    clustered binary data* (Biometrics 1992). Both are 0 where there is nothing to tell it by.
    """
    events, clients = _once(part), part.clients
    total, n = float(events.sum()), float(len(events))
    if total < 2 or total == n:
        return (0.0, 0.0)
    by_client = counted(clients, events)
    apart, several = by_client.events - by_client.requests * (total / n), float((by_client.requests > 0).sum())
    if several < 2:
        return (0.0, 0.0)
    return (several / (several - 1.0) * float((apart**2).sum()), total * (1.0 - total / n))


def _once(part: Part) -> Flags:
    """One event of each client in each block."""
    hits, block = np.flatnonzero(part.events), blocks_of(part.at_s)
    cells = part.clients[hits] * (int(block.max(initial=0)) + 1) + block[hits]
    once = np.zeros(len(part.events), dtype=np.bool_)
    once[hits[np.unique(cells, return_index=True)[1]]] = True
    return once


def spread(parts: Sequence[Part]) -> list[Part]:
    """The parts, of which the last is the time since the steps, without what clients have beyond the usual of events.

    A client counts up to what is usual for so many requests, as a block does; of those that have more the rest is left
    out evenly. What it counts up to depends little on how much it asks, so that a long part must not have it once where
    a short one has it once too: each is cut into pieces as long as the last part, with clients of its own.
    """
    last_s = parts[-1].at_s
    length_s = float(np.ptp(last_s)) if len(last_s) else 0.0
    cells = [_in_pieces(part, length_s) for part in parts]
    counts = [counted(cell, part.events) for cell, part in zip(cells, parts, strict=True)]
    rate = usual_rate([_by_size(one) for one in counts])
    return [
        dataclasses.replace(part, events=_thinned(part.events, cell, at_most(one.requests, rate)))
        for part, cell, one in zip(parts, cells, counts, strict=True)
    ]


def _by_size(blocks: Blocks) -> Blocks:
    """The cells with the fewest requests first: of those with as many events the numbers of clients decide nothing."""
    order = np.argsort(blocks.requests, kind="stable")
    return Blocks(blocks.events[order], blocks.requests[order])


def _in_pieces(part: Part, length_s: float) -> Rows:
    """Whose each request is, as another client in each piece of so many seconds."""
    if length_s <= 0.0 or not len(part.at_s):
        return part.clients
    piece = np.floor((part.at_s - part.at_s.min()) / length_s).astype(np.int64)
    whose: Rows = part.clients + (int(part.clients.max()) + 1) * piece
    return whose


def _thinned(events: Flags, clients: Rows, most: Counts) -> Flags:
    hits = np.flatnonzero(events)
    hits = hits[np.argsort(clients[hits], kind="stable")]
    whose = clients[hits]
    found = np.bincount(whose, minlength=len(most))
    rank = np.arange(len(hits)) - (np.cumsum(found) - found)[whose]
    allowed = np.minimum(most, found)[whose]
    share = allowed / found[whose]
    kept = np.floor((rank + 1) * share + 0.5) > np.floor(rank * share + 0.5)
    thinned = np.zeros(len(events), dtype=np.bool_)
    thinned[hits[kept]] = True
    return thinned
