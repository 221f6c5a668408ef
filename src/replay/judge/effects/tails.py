"""Whether an endpoint's slowest answers have become slower still, where the others are as fast as before.

Few answers are beyond any limit then, and their number alone is no proof. How long those take that are slow anyway
tells more: the slowest twentieth of the reference are known, and what is as slow in the steps arm is held beside them.
An answer counts as slow as it came, and how slow is told beside the others: where all of Stage was slow for a time,
more answers are slow, but none is far slower than the rest of Stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from replay.judge.arrays import Times
from replay.judge.effects.blocks import TALLY_BLOCK_S
from replay.judge.effects.shifts import SLACK, Shift

_FEWEST_BLOCKS, _REFERENCE_AT_LEAST = 4, 8
_BEFORE_AT_LEAST = 3


@dataclass(frozen=True, slots=True)
class Tail:
    """The slow answers of one stretch: when each was asked for and how long it took, shapes (n,)."""

    at_s: Times
    latency_s: Times

    @classmethod
    def beyond(cls, limit_s: float, at_s: Times, came_s: Times, own_s: Times) -> "Tail":
        """Those of (n,) answers that came later than ``limit_s``, with what they took beside the others."""
        slow = np.isfinite(came_s) & (came_s > limit_s)
        return cls(at_s[slow], own_s[slow])


def tail_shift(reference: Sequence[Tail], later: Tail) -> Shift | None:
    """How much longer the slow answers took; None where there are too few to tell.

    The last part of the ``reference`` is the same arm before the steps: where its slow answers were further off, it is
    these that the later ones are held to.
    The test is that of Mann and Whitney (1947), one-sided, on the middle answers of blocks of two seconds: what slow
    answers have in common, they have within a block.
    """
    known, now = np.concatenate([_by_block(part) for part in reference]), _by_block(later)
    if len(now) < _FEWEST_BLOCKS or len(known) < _REFERENCE_AT_LEAST:
        return None
    usual_s = float(np.median(np.concatenate([part.latency_s for part in reference])))
    before = reference[-1].latency_s
    if len(before) >= _BEFORE_AT_LEAST:
        usual_s = max(usual_s, float(np.median(before)))
    found_s = float(np.median(later.latency_s))
    p = stats.mannwhitneyu(now, known + SLACK, alternative="greater").pvalue
    return Shift(found_s / usual_s, found_s - usual_s, float(p), len(later.at_s))


def _by_block(tail: Tail) -> Times:
    """The logarithm of the middle latency of each block."""
    _, block = np.unique(np.floor(tail.at_s / TALLY_BLOCK_S), return_inverse=True)
    counts = np.bincount(block)
    first = np.cumsum(counts) - counts
    latency_s = tail.latency_s[np.lexsort((tail.latency_s, block))]
    middle_s: Times = (latency_s[first + (counts - 1) // 2] + latency_s[first + counts // 2]) / 2
    return np.log(middle_s)
