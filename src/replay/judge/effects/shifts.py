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

from replay.judge.effects.noise import Flags, Times

_BLOCKS_S = (2.0, 4.0)
_FURTHEST = 2.0  # of a log ratio: a single answer that took far longer tells no more
_SLACK = math.log(1.05)  # two arms are never quite alike
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


def shift_of(control_s: Times, steps_s: Times, at_s: Times, later: Flags) -> Shift | None:
    """The shift of the answers to the same requests; None where there are too few to tell.

    All are (n,): latencies (nan where there was no good answer), when the request of the steps arm began, and whether
    that was after the first step's start. The test is Student's, one-sided, on the blocks' means, weighted by their
    number of answers (effective degrees of freedom after Kish, *Survey Sampling*, 1965).
    """
    told = later & np.isfinite(control_s) & np.isfinite(steps_s) & (control_s > 0) & (steps_s > 0)
    if told.sum() < _FEWEST:
        return None
    ratios = np.log(steps_s[told] / control_s[told])
    p = max(_p_value(ratios, at_s[told], length_s) for length_s in _BLOCKS_S)
    longer_s = float(np.median(steps_s[told]) - np.median(control_s[told]))
    return Shift(float(np.exp(np.median(ratios))), longer_s, p, int(told.sum()))


def _p_value(ratios: Times, at_s: Times, length_s: float) -> float:
    _, block = np.unique(np.floor(at_s / length_s), return_inverse=True)
    answers = np.bincount(block).astype(np.float64)
    if len(answers) < _FEWEST_BLOCKS:
        return 1.0
    means = np.bincount(block, weights=np.clip(ratios, -_FURTHEST, _FURTHEST)) / answers
    weights = answers / answers.sum()
    mean = float((weights * means).sum())
    freedom = 1.0 / float((weights**2).sum()) - 1.0
    scatter = math.sqrt(float((weights * (means - mean) ** 2).sum()) / freedom)
    if scatter == 0.0:
        return 0.0 if mean > _SLACK else 1.0
    return float(stats.t.sf((mean - _SLACK) / scatter, freedom))


def shifted_in_both(first: Shift, second: Shift, least: Least, one_pair: float, both: float) -> bool:
    """Whether two pairs of arms together show that answers take so much longer.

    Each must suspect it (the second at twice the p), and their p-values, as Stouffer adds them (1949), must be
    ``both`` or less.
    """
    if not first.suspects(least, one_pair) or not second.suspects(least, 2 * one_pair):
        return False
    z = sum(float(stats.norm.isf(max(one.p_value, 1e-12))) for one in (first, second)) / math.sqrt(2)
    return math.sqrt(first.ratio * second.ratio) >= least.ratio and float(stats.norm.sf(z)) <= both
