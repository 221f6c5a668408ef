"""Events counted by block of time or by client, and how many of them count: what is usual, and little more."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.judge.arrays import Counts, Flags, Rows, Times

TALLY_BLOCK_S = 2.0
_CALM = 0.9  # the share of the blocks that say what is usual: those with the fewest events
_ABOVE = 1.5  # a block, or a client, counts up to so many standard deviations more than that, and one


@dataclass(frozen=True, slots=True)
class Blocks:
    """Events and requests by block of time, or by client."""

    events: Counts
    requests: Counts

    def part(self, first: int, stop: int) -> "Blocks":
        """The blocks from ``first`` to before ``stop``."""
        return Blocks(self.events[first:stop], self.requests[first:stop])


def in_blocks(at_s: Times, events: Flags, from_s: float = 0.0) -> Blocks:
    """The events among requests by blocks of two seconds from ``from_s`` on; what is earlier is in the first.

    ``at_s`` (arm seconds) and ``events`` (which of the requests are one) are (n,). There are as many blocks as reach to
    the last request.
    """
    return counted(blocks_of(at_s, from_s), events)


def blocks_of(at_s: Times, from_s: float = 0.0) -> Rows:
    """The number of the block that each moment is in: (n,)."""
    block: Rows = np.maximum(np.floor((at_s - from_s) / TALLY_BLOCK_S), 0.0).astype(np.int64)
    return block


def counted(cells: Rows, events: Flags) -> Blocks:
    """The events among requests by the cell that each request is in, a number from 0 on: both (n,)."""
    requests = np.bincount(cells)
    return Blocks(np.bincount(cells[events], minlength=len(requests)).astype(np.float64), requests.astype(np.float64))


def usual_rate(parts: Sequence[Blocks]) -> float:
    """Events a request in the blocks, or of the clients, that have the fewest."""
    events = np.concatenate([one.events for one in parts])
    requests = np.concatenate([one.requests for one in parts])
    events, requests = events[requests > 0], requests[requests > 0]
    calm = np.argsort(events, kind="stable")[: int(_CALM * len(events))]
    asked = float(requests[calm].sum())
    return float(events[calm].sum()) / asked if asked else 0.0


def at_most(requests: Counts, rate: float, least: float = 1.0) -> Counts:
    """So many events count of cells with so many requests, at the usual ``rate``; ``least`` in any."""
    usual = rate * requests
    most: Counts = np.maximum(least, 1.0 + np.ceil(usual + _ABOVE * np.sqrt(usual)))
    return most
