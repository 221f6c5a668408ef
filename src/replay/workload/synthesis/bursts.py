"""How bursty traffic is: the index of dispersion of its counts, in windows of several sizes."""

import numpy as np

from replay.workload.profile.arrivals import dispersion
from replay.workload.synthesis.quantiles import Floats

WINDOWS_S = (1, 10, 60)


def measure_bursts(at_s: Floats, duration_s: float) -> tuple[float | None, ...]:
    """The index of each of ``WINDOWS_S``; None where there are too few windows. Cox and Lewis (1966) have the index."""
    seconds = np.bincount(at_s.astype(np.int64), minlength=int(np.ceil(duration_s)))
    return tuple(dispersion(seconds, size) for size in WINDOWS_S)


def compare_bursts(found: tuple[float | None, ...], wanted: tuple[float | None, ...], scale: float) -> float:
    """How far apart two are, over all windows: the sum of the logarithms of their ratios, without sign.

    Where ``scale`` times as many do the same together, the index in excess of chance is as many times as large.
    """
    pairs = [(one, 1 + (other - 1) * scale) for one, other in zip(found, wanted, strict=True) if one and other]
    return sum(abs(float(np.log(one / other))) for one, other in pairs if other > 0)
