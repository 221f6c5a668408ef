"""Whether a series rises or falls, and how fast. Pure functions; arrays have shape (n,), one value for each block.

The slope is that of Theil (1950) and Sen (1968): the median of the slopes between any two blocks, which a few wild ones
do not move. Whether there is a trend at all is asked with Mann's (1945) and Kendall's (1975) test, with the variance
that Hamed and Rao (1998) give for a series whose blocks resemble their neighbours.

Their own estimate of how much they do (the significant autocorrelations of the ranks) finds trends in 7 to 30 of 100
series that have none, at a level of 1 in 100. So it is taken here from the first autocorrelation alone, as that of an
AR(1) process, with its bias removed (Marriott and Pope 1954) and one standard error added; and the test's value is held
against Student's distribution with as many degrees of freedom as the blocks are worth, less two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from replay.judge.arrays import Labels, Values

FEWEST = 20  # blocks; in fewer every long wave looks like a trend
_MOST_ALIKE = 0.98
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Trend:
    """A series' trend: ``slope`` in units a second, its 95% ``interval``, and ``p_value`` without a trend (two-sided).

    ``level`` is what the trend's line begins with, ``growth`` what it gains over ``span_s``. ``later_slope`` is the
    slope of the second half alone: what only rose at first, as caches fill, has none there.
    """

    slope: float
    interval: tuple[float, float]
    p_value: float
    level: float
    growth: float
    span_s: float
    blocks: int
    later_slope: float

    @property
    def per_hour(self) -> float:
        """The slope in units an hour."""
        return self.slope * 3600.0

    @property
    def lasting(self) -> bool:
        """Whether the second half goes the same way, at a quarter of the pace or more."""
        return self.later_slope * self.slope > 0 and abs(self.later_slope) >= abs(self.slope) / 4


def trend_of(at_s: Values, values: Values, season: Labels | None = None) -> Trend | None:
    """The trend of ``values`` at the moments ``at_s``; nan is no value. None where there are fewer than 20 of them.

    ``season`` labels blocks that are alike by nature: those at the same position of a schedule that repeats, or with
    about the same number of requests. Each label's median is taken out before the test, and the slope is that between
    blocks of one label (Hirsch, Slack and Smith 1982).
    """
    known = np.isfinite(values)
    at_s, values = at_s[known], values[known]
    season = np.zeros(len(values), dtype=np.int64) if season is None else season[known]
    if len(values) < FEWEST:
        return None
    first, second = np.triu_indices(len(values), 1)
    same = season[first] == season[second]
    first, second = first[same], second[same]
    if len(first) < FEWEST:
        return None
    slopes = (values[second] - values[first]) / (at_s[second] - at_s[first])
    slope = float(np.median(slopes))
    level_of = {label: np.median(values[season == label]) for label in np.unique(season)}
    flat = values - np.array([level_of[label] for label in season])
    worth = _worth(flat - slope * at_s, float(np.abs(values).max()))
    score, variance = _kendall(flat)
    variance *= len(flat) / worth
    within = sum(_kendall(values[season == label])[1] for label in level_of) * len(flat) / worth
    half = at_s >= (at_s[0] + at_s[-1]) / 2
    span_s = float(at_s[-1] - at_s[0])
    middle_s = float(np.median(at_s))
    return Trend(
        slope=slope,
        interval=_interval(slopes, within),
        p_value=_p_value(score, variance, worth),
        level=float(np.median(values)) - slope * (middle_s - float(at_s[0])),
        growth=slope * span_s,
        span_s=span_s,
        blocks=len(values),
        later_slope=float(np.median(later)) if len(later := slopes[half[first]]) else 0.0,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values as they count where that many are looked at (Holm 1979), in their order."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, p_values[at] * (len(p_values) - rank)))
        adjusted[at] = highest
    return adjusted


def _kendall(values: Values) -> tuple[float, float]:
    """Kendall's S against time, and its variance for independent values; ties are taken into account."""
    n = len(values)
    score = float(np.triu(np.sign(values[None, :] - values[:, None])).sum())
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    return score, variance


def _worth(residuals: Values, largest: float) -> float:
    """How many independent values these are worth: the n* of Hamed and Rao, for an AR(1) process."""
    n = len(residuals)
    # What is left of a straight line is rounding, which would be ranked as if it were something.
    ranks = stats.rankdata(np.round(residuals / (largest or 1.0), 9))
    ranks = ranks - ranks.mean()
    power = float((ranks**2).sum())
    if not power:
        return float(n)
    alike = float((ranks[1:] * ranks[:-1]).sum()) / power
    alike = min(max((n * alike + 2) / (n - 4), 0.0), _MOST_ALIKE)
    if alike > 0:
        alike = min(alike + np.sqrt((1 - alike**2) / n), _MOST_ALIKE)
    k = np.arange(1, n - 1, dtype=np.float64)
    weights = (n - k) * (n - k - 1) * (n - k - 2)
    return n / (1 + 2 / (n * (n - 1) * (n - 2)) * float((weights * alike**k).sum()))


def _p_value(score: float, variance: float, worth: float) -> float:
    if not score or variance <= 0:
        return 1.0
    value = max(0.0, abs(score) - 1) / np.sqrt(variance)
    return float(min(1.0, 2 * stats.t.sf(value, max(1.0, worth - 2))))


def _interval(slopes: Values, variance: float) -> tuple[float, float]:
    """Sen's interval of the slope from the ranks of the pairwise slopes."""
    ordered = np.sort(slopes)
    half = _Z * np.sqrt(max(variance, 0.0)) / 2
    low = int(np.clip(np.floor(len(ordered) / 2 - half), 0, len(ordered) - 1))
    high = int(np.clip(np.ceil(len(ordered) / 2 + half), 0, len(ordered) - 1))
    return float(ordered[low]), float(ordered[high])
