"""When visits begin: what recurs by the clock, and bursts at every scale.

The number of visits in a stretch of time is split between its halves, then between the halves' halves, down to a
fraction of a second. The expected share of a half follows the clock (of the day, the hour and the minute) and a given
curve; how much shares scatter beyond chance is measured at each scale. Counts in windows of any size then vary as those
of the capture do, which a process with one correlation time cannot do. Such cascades are known from network traffic:
Riedi, Crouse, Ribeiro, Baraniuk, A Multifractal Wavelet Model with Application to Network Traffic (1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression
from scipy.special import betaincinv

from replay.workload.synthesis.quantiles import spread_chances

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Curve = Sequence[tuple[float, float]]

_FINEST_S = 0.2
_CLOCKS = ((86400, 48), (3600, 60), (60, 60))  # a period in seconds, and its parts
_FEWEST_TURNS = 3
_NEARLY = 0.05  # of a turn may be missing at the end
_MOST_SCATTER = 0.995
_MOST_CHANGE = 3.0
_POINTS = 200_000
_SHIFTS = 8
_MANY = 2_000
_ALIKE = 16


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How visits begin: ``per_s`` is the rate where every clock's factor is 1.

    ``scatter`` has for widths in seconds how alike the fates of two visits are when a stretch of that width, in which
    both begin, is halved: 0 is chance, 1 is that all begin in the same half. ``clocks`` has for a period in seconds
    the factor of each of its parts.
    """

    per_s: float
    scatter: tuple[tuple[float, float], ...]
    clocks: tuple[tuple[int, tuple[float, ...]], ...]


def fit_arrivals(starts_s: Floats, duration_s: float) -> Arrivals:
    """Fit the starts of visits between 0 and ``duration_s``."""
    starts = np.sort(starts_s)
    clocks = tuple(
        (period, factors)
        for period, parts in _CLOCKS
        if (factors := _factors(starts, duration_s, period, parts)) is not None
    )
    if not starts.size:
        return Arrivals(0.0, (), ())
    pace = _Pace(Arrivals(1.0, (), clocks), 0.0, duration_s, ())
    # Clocks that know of the same rush multiply: the capture's own length must still give the capture's own number.
    rate = starts.size / max(pace.total, 1e-9)
    levels = max(1, int(np.ceil(np.log2(max(duration_s / _FINEST_S, 2)))))
    together = [
        (duration_s / 2**level, _togetherness(starts, duration_s, 2**level, pace)) for level in range(1, levels + 1)
    ]
    return Arrivals(rate, _increments(together), clocks)


def with_bursts(arrivals: Arrivals, factors: Sequence[tuple[float, float]]) -> Arrivals:
    """The same with so many times the togetherness beyond chance within each of some widths (in seconds, rising).

    What lies between two widths grows or shrinks as a whole, by no more than ``_MOST_CHANGE``.
    """
    if not arrivals.scatter or not factors:
        return arrivals
    widths, values = (np.array(column) for column in zip(*arrivals.scatter, strict=True))
    growth = np.log1p(values)
    within = [float(growth[widths / 2 >= width].sum()) for width, _ in factors]
    wanted = [float(np.log1p(np.expm1(known) * factor)) for known, (_, factor) in zip(within, factors, strict=True)]
    steps, goals = -np.diff([*within, 0.0]), -np.diff([*wanted, 0.0])
    gains = np.clip(np.where(steps > 1e-9, goals / np.maximum(steps, 1e-9), 1.0), 1 / _MOST_CHANGE, _MOST_CHANGE)
    part = np.searchsorted([width for width, _ in factors], widths / 2, side="right")
    changed = np.minimum(np.expm1(growth * np.concatenate([[1.0], gains])[part]), _MOST_SCATTER)
    return replace(arrivals, scatter=tuple(zip(widths.tolist(), changed.tolist(), strict=True)))


def draw_starts(
    arrivals: Arrivals, duration_s: float, rng: np.random.Generator, *, scale: float, start_s: float, curve: Curve
) -> Floats:
    """The starts of visits between 0 and ``duration_s``, in order; ``start_s`` is when 0 is on the capture's clock."""
    pace = _Pace(arrivals, start_s, duration_s, curve)
    count = round(arrivals.per_s * scale * pace.total)
    counts, lefts, width = np.array([count], dtype=np.int64), np.zeros(1), duration_s
    widths = np.log([size for size, _ in arrivals.scatter][::-1] or [1.0])
    values = [value for _, value in arrivals.scatter][::-1] or [0.0]
    while width > _FINEST_S and counts.size:
        middle = lefts + width / 2
        share = pace.share(lefts, middle, lefts + width)
        scatter = float(np.interp(np.log(width), widths, values))
        if scatter > 0:
            share = _scattered(share, 1 / scatter - 1, counts, rng)
        first = rng.binomial(counts, share)
        lefts = np.stack([lefts, middle], axis=1).ravel()
        counts = np.stack([first, counts - first], axis=1).ravel()
        lefts, counts = lefts[counts > 0], counts[counts > 0]
        width /= 2
    return np.sort(np.repeat(lefts, counts) + rng.uniform(0, width, int(counts.sum())))


def _scattered(share: Floats, strength: float, counts: Integers, rng: np.random.Generator) -> Floats:
    """Shares scattered about what is expected: evenly among large and among small stretches, where they are few."""
    one, other = np.maximum(share * strength, 1e-9), np.maximum((1 - share) * strength, 1e-9)
    if share.size > _MANY:
        drawn = rng.beta(one, other)
    else:
        alike = np.empty(share.size, dtype=np.int64)
        alike[np.argsort(-counts, kind="stable")] = np.arange(share.size) // _ALIKE
        drawn = np.asarray(betaincinv(one, other, spread_chances(alike, rng)), dtype=np.float64)
    return np.where((share > 0) & (share < 1), drawn, share)


class _Pace:
    """The expected number of visits up to a moment, in units of the mean rate: the clock's factors by the curve's."""

    def __init__(self, arrivals: Arrivals, start_s: float, duration_s: float, curve: Curve) -> None:
        step = max(0.5, duration_s / _POINTS)
        moments = np.arange(0, duration_s + step, step)
        middles = moments[:-1] + step / 2
        rate = np.ones(middles.size)
        for period, factors in arrivals.clocks:
            if step <= period / len(factors):
                part = ((start_s + middles) % period / period * len(factors)).astype(np.int64)
                rate *= np.asarray(factors)[part]
        if curve:
            rate *= np.interp(middles, [at_s for at_s, _ in curve], [factor for _, factor in curve])
        self._moments = moments
        self._sums = np.concatenate([[0.0], np.cumsum(rate) * step])
        self.total = float(np.interp(duration_s, self._moments, self._sums))

    def unevenness(self, parts: int) -> float:
        """The mean square of what is expected in each of so many equal parts, over the square of its mean."""
        edges = np.linspace(0, self._moments[-1], min(parts, self._moments.size) + 1)
        expected = np.diff(np.interp(edges, self._moments, self._sums))
        return float((expected**2).mean() / expected.mean() ** 2)

    def share(self, left: Floats, middle: Floats, right: Floats) -> Floats:
        """The share of what is expected between ``left`` and ``right`` that comes before ``middle``."""
        below, half, above = (np.interp(at_s, self._moments, self._sums) for at_s in (left, middle, right))
        whole = above - below
        return np.where(whole > 0, (half - below) / np.where(whole > 0, whole, 1.0), 0.5)


def _factors(starts: Floats, duration_s: float, period: int, parts: int) -> tuple[float, ...] | None:
    """The factor of each part of a period, drawn towards 1 by as much as turns differ; None where turns are too few."""
    turns = int(duration_s / period + _NEARLY)
    if turns < _FEWEST_TURNS:
        return None
    within = starts[starts < turns * period]
    counts = np.bincount((within / period * parts).astype(np.int64), minlength=turns * parts).reshape(turns, parts)
    means = counts.mean(axis=0)
    if not means.any():
        return None
    noise = float((counts.var(axis=0, ddof=1) / turns).mean())
    signal = max(0.0, 1 - noise / max(float(means.var()), 1e-12))
    if signal < 0.2:
        return None
    return tuple(np.round(1 + signal * (means / means.mean() - 1), 4).tolist())


def _togetherness(starts: Floats, duration_s: float, parts: int, pace: _Pace) -> float:
    """How often two visits begin in the same of so many equal parts of the time, relative to chance at this pace.

    The parts are laid several ways, the end followed by the beginning: a burst across an edge counts as any other.
    NaN where too few pairs are together to tell.
    """
    pairs = 0
    for shift in range(_SHIFTS):
        cells = np.floor(starts / duration_s * parts + shift / _SHIFTS).astype(np.int64) % parts
        counts = np.unique(cells, return_counts=True)[1]
        pairs += int((counts * (counts - 1)).sum())
    if pairs < 2 * _SHIFTS:
        return float("nan")
    return pairs / _SHIFTS * parts / (starts.size * (starts.size - 1.0)) / pace.unevenness(parts)


def _increments(together: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The scatter at each width, from how often visits are together within it.

    Togetherness grows by a factor of one plus the scatter where a stretch is halved. A cascade cannot make it fall:
    where it does, it is levelled with its neighbours, such that the product over scales stays as near as can be.
    """
    known = [(width, value) for width, value in together if value > 0]  # no NaN
    if not known:
        return ()
    rising = np.maximum(isotonic_regression(np.log([value for _, value in known])).x, 0.0)
    scatter = np.expm1(np.diff(rising, prepend=0.0))
    # What is known of a width is what halving the next wider one came to.
    return tuple(
        (2 * width, float(min(value, _MOST_SCATTER))) for (width, _), value in zip(known, scatter, strict=True)
    )
