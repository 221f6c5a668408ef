"""Whether all of an endpoint's answers take longer than those to the same requests without the steps.

A share of slow answers sees what the slowest do; where every answer takes twice as long as before, the same request in
both arms tells more. Each pair of answers gives a ratio of latencies. Their mean over blocks of time is the unit: in
a block they may have anything in common; blocks of two lengths are looked at, the worse of which counts.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from replay.judge.arrays import Flags, Times
from replay.judge.effects.drag import FURTHEST

_BLOCKS_S = (2.0, 4.0)
SLACK = math.log(1.05)  # two arms are never quite alike
_FEWEST, _FEWEST_BLOCKS = 20, 3
_PART = 5 / 6  # of the ratio (as a logarithm) that both pairs must have together, each must have by itself


@dataclass(frozen=True, slots=True)
class Shift:
    """How much longer an endpoint's answers took in one pair of arms: ``ratio`` and ``longer_s`` are of the middle one.

    ``p_value`` is one-sided, ``pairs`` the number of answers compared.
    """

    ratio: float
    longer_s: float
    p_value: float
    pairs: int

    def suspects(self, least: "Least", p_value: float) -> bool:
        """Whether one pair of arms suspects that the answers take so much longer, or not far from it."""
        return self.ratio >= least.ratio**_PART and self.longer_s >= least.longer_s and self.p_value <= p_value


class Least(NamedTuple):
    """How much longer answers must take to count: so many times as long, and by so many seconds."""

    ratio: float
    longer_s: float


def shift_of(
    control_s: Times,
    steps_s: Times,
    at_s: Times,
    later: Flags,
    before: Flags | None = None,
    *,
    strictly: bool = True,
) -> Shift | None:
    """The shift of the answers to the same requests; None where there are too few to tell.

    All are (n,): latencies (nan where there was no good answer), when the request of the steps arm began, and whether
    that was after the step. The test is Student's, one-sided, on the blocks' means, weighted by their number of answers
    (effective degrees of freedom after Kish, *Survey Sampling*, 1965). With ``before``, the requests before the step,
    the ratio is that to how the arms differed then: what made one arm slower than the other all through was not the
    step. ``strictly`` the test is that of both as well (Welch 1947), and too few before the step tell nothing; else
    only as much of that difference counts as is sure: it less its standard error.
    """
    known = np.isfinite(control_s) & np.isfinite(steps_s) & (control_s > 0) & (steps_s > 0)
    told = later & known
    if told.sum() < _FEWEST:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(steps_s / control_s)
    ratio, earlier = float(np.median(ratios[told])), None
    if before is not None:
        earlier = before & known
        if strictly and earlier.sum() < _FEWEST:
            return None
        then = float(np.median(ratios[earlier])) if strictly else _surely(ratios[earlier], at_s[earlier])
        ratio -= max(0.0, then)
    p = max(_p_value(ratios, at_s, length_s, told, earlier if strictly else None) for length_s in _BLOCKS_S)
    longer_s = float(np.median(steps_s[told]) - np.median(control_s[told]))
    return Shift(float(np.exp(ratio)), longer_s, p, int(told.sum()))


def _p_value(ratios: Times, at_s: Times, length_s: float, later: Flags, before: Flags | None) -> float:
    now = _mean(ratios[later], at_s[later], length_s, _FEWEST_BLOCKS)
    then = _Mean(0.0, 0.0, math.inf) if before is None else _mean(ratios[before], at_s[before], length_s, 2)
    if now is None or then is None:
        return 1.0
    more = now.value - max(0.0, then.value) - SLACK
    variance = now.variance + then.variance
    if variance == 0.0:
        return 0.0 if more > 0 else 1.0
    freedom = variance**2 / (now.variance**2 / now.freedom + then.variance**2 / then.freedom)
    return float(stats.t.sf(more / math.sqrt(variance), freedom))


def _surely(ratios: Times, at_s: Times) -> float:
    """How far the arms differed at least, as a logarithm; 0 where that cannot be told."""
    then = _mean(ratios, at_s, _BLOCKS_S[0], 2)
    return 0.0 if then is None else then.value - math.sqrt(then.variance)


class _Mean(NamedTuple):
    """A mean over blocks, its variance and the degrees of freedom of that."""

    value: float
    variance: float
    freedom: float


def _mean(ratios: Times, at_s: Times, length_s: float, fewest: int) -> _Mean | None:
    _, block = np.unique(np.floor(at_s / length_s), return_inverse=True)
    answers = np.bincount(block).astype(np.float64)
    if len(answers) < fewest:
        return None
    means = np.bincount(block, weights=np.clip(ratios, -FURTHEST, FURTHEST)) / answers
    weights = answers / answers.sum()
    mean = float((weights * means).sum())
    freedom = 1.0 / float((weights**2).sum()) - 1.0
    return _Mean(mean, float((weights * (means - mean) ** 2).sum()) / freedom, freedom)


def shifted_in_both(first: Shift, second: Shift, least: Least, one_pair: float, both: float) -> bool:
    """Whether two pairs of arms together show that answers take so much longer.

    Each must suspect it (the second at twice the p), and their p-values, as Stouffer adds them (1949), must be
    ``both`` or less.
    """
    if not first.suspects(least, one_pair) or not second.suspects(least, 2 * one_pair):
        return False
    z = sum(float(stats.norm.isf(max(one.p_value, 1e-12))) for one in (first, second)) / math.sqrt(2)
    return math.sqrt(first.ratio * second.ratio) >= least.ratio and float(stats.norm.sf(z)) <= both
