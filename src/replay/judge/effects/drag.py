"""How much all the rest of Stage slowed down at each moment: what every endpoint shares is not one endpoint's doing.

A Stage is slow for seconds at a time, since something else wants its processors. That is noise where a step slows one
endpoint down, and it is known, for the other endpoints have it too. Only what is slower than usual is taken off: where
a step makes the others faster, an endpoint that stays as it was has not become slow.
"""

import math
from collections.abc import Sequence

import numpy as np

from replay.judge.arrays import Flags, Rows, Times
from replay.judge.effects.blocks import TALLY_BLOCK_S

_FEWEST = 10  # answers of other endpoints in a block that tell how it was
FURTHEST = 2.0  # of log latency from the block's middle: a single answer that took far longer tells no more


def calm(at_s: Times, latency_s: Times, endpoint: Rows, usual_s: Sequence[float]) -> list[float]:
    """What the endpoints' answers take while Stage is at rest: ``usual_s``, less what it mostly lost to other things.

    Shapes as for `drag`. An arm may have been slowed down for most of its time; at rest it was in the quarter of its
    blocks in which all endpoints together were fastest.
    """
    slower, told, block = _slower(at_s, latency_s, endpoint, usual_s)
    counts = np.bincount(block[told], minlength=1)
    sums = np.bincount(block[told], weights=slower[told], minlength=1)
    enough = counts >= _FEWEST
    shared = float(np.quantile(sums[enough] / counts[enough], 0.25)) if enough.any() else 0.0
    return [one * math.exp(min(0.0, shared)) for one in usual_s]


def drag(at_s: Times, latency_s: Times, endpoint: Rows, usual_s: Sequence[float]) -> Times:
    """By what factor, 1 or more, the other endpoints' answers of the same two seconds took longer than ``usual_s``.

    ``at_s``, ``latency_s`` (nan where there was no good answer) and ``endpoint`` (numbers from 0) have shape (n,);
    ``usual_s`` has each endpoint's usual latency (nan where there is none).
    """
    slower, told, block = _slower(at_s, latency_s, endpoint, usual_s)
    blocks = int(block.max(initial=0)) + 1
    cell = endpoint * blocks + block
    sums, counts = (
        np.bincount(cell[told], weights=weights, minlength=len(usual_s) * blocks).reshape(-1, blocks)
        for weights in (slower[told], None)
    )
    others = counts.sum(axis=0) - counts
    mean = np.where(others >= _FEWEST, (sums.sum(axis=0) - sums) / np.maximum(others, 1), 0.0)
    factor: Times = np.exp(np.maximum(mean, 0.0)).reshape(-1)[cell]
    return factor


def is_told(at_s: Times, latency_s: Times, rows: Rows) -> bool:
    """Whether at most of these answers' moments enough others came that tell how all of Stage was.

    Shapes as for `drag`; ``rows`` are the answers of one endpoint, one at least.
    """
    block, came = _blocks(at_s), np.isfinite(latency_s)
    own = np.zeros(len(at_s), dtype=np.bool_)
    own[rows] = True
    others = np.bincount(block[came & ~own], minlength=int(block.max()) + 1)
    return bool(np.median(others[block[rows]]) >= _FEWEST)


def _slower(at_s: Times, latency_s: Times, endpoint: Rows, usual_s: Sequence[float]) -> tuple[Times, Flags, Rows]:
    """(by how much each answer was slower, as a logarithm; where that is known; the block of two seconds)."""
    block = _blocks(at_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        slower = np.log(latency_s / np.asarray(usual_s, dtype=np.float64)[endpoint])
    told = np.isfinite(slower)
    middle = _medians(block[told], slower[told], int(block.max(initial=0)) + 1)[block]
    return np.clip(slower, middle - FURTHEST, middle + FURTHEST), told, block


def _blocks(at_s: Times) -> Rows:
    block: Rows = np.maximum(np.floor(at_s / TALLY_BLOCK_S), 0.0).astype(np.int64)
    return block


def _medians(block: Rows, values: Times, blocks: int) -> Times:
    """The middle value of each block, 0 where it has none."""
    order = np.argsort(values)
    order = order[np.argsort(block[order].astype(np.int32), kind="stable")]
    counts = np.bincount(block, minlength=blocks)
    first = np.cumsum(counts) - counts
    found = np.zeros(blocks)
    known = counts > 0
    found[known] = values[order][(first + counts // 2)[known]]
    return found
