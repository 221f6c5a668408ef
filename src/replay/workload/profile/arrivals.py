"""How requests arrive over time: the rate, its bursts, what comes by the clock, and how unequal clients are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

Counts = npt.NDArray[np.int64]

_WINDOWS_S = (1, 10, 60)
_FEWEST_WINDOWS = 10
# So many of a turn's seconds may stand out.
_CLOCKS = ((60, "each minute", 6), (3600, "each hour", 72))
_PEAK = 2.0  # times what is usual at other phases
_CHANCE = 0.001  # that a clock is seen where there is none
_FEWEST_TURNS = 5
_MOST_PEAKS = 10
_MOST_SECONDS = 10_000_000
_MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class Peak:
    """A moment of the minute or the hour at which more arrives than at others.

    ``phase_s`` counts from the start of the minute or hour, ``ratio`` is how many times as much comes as is usual: at
    the median of a minute's seconds, or at the same second of an hour's minutes.
    """

    clock: str
    phase_s: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How requests arrive.

    ``dispersion`` has the index of dispersion (variance by mean) of counts, by the window in seconds: 1 is that of a
    Poisson process, more means bursts; a window is left out where the capture has fewer than ten. ``series`` are mean
    rates (per second) of equal parts of the capture, each ``step_s`` long, for a picture. The capture's first and last
    second count in none of these, nor in ``mean_per_s``, as it has only a part of them. All are those of the 10,000,000
    seconds (115 days) with the most requests where a capture is longer: one wrong clock is enough for that.
    """

    mean_per_s: float
    highest_per_s: int
    dispersion: dict[int, float]
    peaks: tuple[Peak, ...]
    series: tuple[float, ...]
    step_s: float = 0.0


def each_second(seconds: Counts, counts: Counts) -> tuple[int, Counts]:
    """The first second, and the number of requests in it and each one after: of 115 days at most, those with the most.

    ``seconds`` are those that have any, in order, ``counts`` how many each.
    """
    behind = np.searchsorted(seconds, seconds + _MOST_SECONDS)
    so_far = np.concatenate(([0], counts.cumsum()))
    start = int(np.argmax(so_far[behind] - so_far[:-1]))
    own = slice(start, int(behind[start]))
    first_s = int(seconds[start])
    dense = np.zeros(int(seconds[own][-1]) - first_s + 1, dtype=np.int64)
    dense[seconds[own] - first_s] = counts[own]
    return first_s, dense


def describe_arrivals(first_s: int, counts: Sequence[int] | Counts) -> Arrivals:
    """Describe arrivals from the number of requests in each second from ``first_s`` (seconds since 1970) on."""
    found = np.asarray(counts, dtype=np.int64)
    if not found.size:
        return Arrivals(0.0, 0, {}, (), ())
    whole = found[1:-1] if found[1:-1].any() else found
    series = _series(whole)
    return Arrivals(
        mean_per_s=float(whole.mean()),
        highest_per_s=int(found.max()),
        dispersion={size: index for size in _WINDOWS_S if (index := dispersion(whole, size)) is not None},
        peaks=tuple(_peaks(first_s, found)),
        series=series,
        step_s=whole.size / len(series),
    )


def dispersion(counts: Counts, window_s: int) -> float | None:
    """The index of dispersion of counts in windows of so many seconds; None where there are too few windows.

    Cox and Lewis, The Statistical Analysis of Series of Events (1966): variance by mean of the counts.
    """
    whole = counts.size // window_s
    if whole < _FEWEST_WINDOWS:
        return None
    sums = counts[: whole * window_s].reshape(whole, window_s).sum(axis=1)
    mean = float(sums.mean())
    return float(sums.var(ddof=1)) / mean if mean else None


def _peaks(first_s: int, counts: Counts) -> list[Peak]:
    """What stands out by the clock: phases with far more than is usual, and that not in one turn only but in most.

    Bursts stand out as well, but anywhere. Where there is no clock, a phase is among the highest of its turn as often
    as any other, whatever the law of the counts; how often it may be by chance, a binomial law says.
    """
    peaks: list[Peak] = []
    for period_s, clock, highest in _CLOCKS:
        turns = counts.size // period_s
        if turns < _FEWEST_TURNS:
            continue
        phases = (first_s + np.arange(period_s)) % period_s
        by_phase = np.empty((turns, period_s))
        by_phase[:, phases] = counts[: turns * period_s].reshape(turns, period_s)
        means = by_phase.mean(axis=0)
        usual = np.tile(np.median(means.reshape(-1, 60), axis=0), period_s // 60) if period_s > 60 else np.median(means)
        usual = np.broadcast_to(usual, means.shape)
        above = by_phase - usual
        bar = np.partition(above, -highest - 1, axis=1)[:, -highest - 1, np.newaxis]
        hits = (above > bar).sum(axis=0)
        by_chance = bdtrc(np.maximum(hits - 1, 0), turns, highest / period_s)
        ratios = means / np.maximum(usual, 1 / turns)
        found = np.flatnonzero((ratios >= _PEAK) & (hits > 0) & (by_chance <= _CHANCE / period_s))
        own = [Peak(clock, int(phase), float(ratios[phase])) for phase in found]
        peaks += sorted(own, key=lambda peak: -peak.ratio)[:_MOST_PEAKS]
    return peaks


def _series(counts: Counts) -> tuple[float, ...]:
    parts = np.array_split(counts, min(_MOST_POINTS, counts.size))
    return tuple(round(float(part.mean()), 4) for part in parts)


def tail_exponent(counts: Sequence[int] | Counts) -> float | None:
    """The tail exponent of how many requests each client sent: the smaller, the heavier the tail (below 2 it is heavy).

    Hill's estimator over the largest tenth, at least ten; None where there are too few clients or all are alike.
    B. M. Hill, A Simple General Approach to Inference About the Tail of a Distribution (1975).
    """
    ordered = np.sort(np.asarray(counts, dtype=float))[::-1]
    largest = max(10, ordered.size // 10)
    if ordered.size <= largest or ordered[largest] <= 0:
        return None
    mean = float(np.log(ordered[:largest] / ordered[largest]).mean())
    return 1 / mean if mean > 0 else None
