"""Distributions as a few values each, many side by side: one row a distribution.

A row holds the means of its values between given quantiles, so that what is drawn from it has the mean of what was
measured, however heavy the tail is: where that is lost, a monitor that was once away for a day is away all the time.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_BELOW_ONE = 1 - 1e-9  # a chance is added to numbers of a million

# Close where the middle is, and closer towards the ends, where one cell would have values of very different sizes.
_TAIL = np.array([0.0, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.007])
LEVELS: Floats = np.concatenate([_TAIL, np.linspace(0.01, 0.99, 99), 1 - _TAIL[::-1]])


def measure_quantiles(values: Floats, rows: Integers, count: int) -> Floats:
    """The means between ``LEVELS`` of each row's values, as ``count`` rows; NaN where a row has no value."""
    order = np.lexsort([values, rows])
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    sizes = np.bincount(rows, minlength=count)
    firsts = np.cumsum(sizes) - sizes
    found = np.full((count, LEVELS.size - 1), np.nan)
    full = np.flatnonzero(sizes)
    places = firsts[full, None] + sizes[full, None] * LEVELS[None, :]
    below = np.interp(places, np.arange(sums.size), sums)
    found[full] = np.diff(below, axis=1) / (sizes[full, None] * np.diff(LEVELS)[None, :])
    return found


def draw(quantiles: Floats, rows: Integers, chances: Floats) -> Floats:
    """A value of each of ``rows``, at the given chance (0 to 1)."""
    return np.asarray(quantiles[rows, np.searchsorted(LEVELS, chances, side="right") - 1])


def spread_chances(groups: npt.NDArray[np.generic], rng: np.random.Generator) -> Floats:
    """A chance for each member such that those of a group are spread evenly over 0 to 1, in random order.

    Each is uniform by itself, but what a group draws together scatters far less than independent draws would.
    """
    order = np.lexsort([rng.random(groups.size), groups])
    ordered = groups[order]
    firsts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if groups.size else np.zeros(0, int)
    sizes = np.diff(np.append(firsts, groups.size))
    ranks = np.arange(groups.size) - np.repeat(firsts, sizes)
    chances = np.empty(groups.size)
    chances[order] = (ranks + rng.random(groups.size)) / np.repeat(sizes, sizes)
    return np.minimum(chances, _BELOW_ONE)


def cumulate(groups: Integers, shares: Floats) -> Floats:
    """Each group's number plus the cumulative share within it: ``group + chance`` is then looked up in one array.

    Groups come in order.
    """
    by_group = pd.Series(shares).groupby(groups)
    sums = (by_group.cumsum() / by_group.transform("sum")).to_numpy()
    last = np.append(groups[1:] != groups[:-1], [True])[: groups.size]
    return np.asarray(groups + np.where(last, 1.0, np.minimum(sums, 1.0)))
