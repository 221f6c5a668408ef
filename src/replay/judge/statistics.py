"""The statistics, each with its source. Pure functions of counts; shapes of arrays are (n,) unless said."""

import math

import numpy as np
from scipy import special, stats

from replay.judge.arrays import Counts

CONFIDENCE_Z = 1.959963984540054  # two-sided 95%


def dispersion(*groups: tuple[Counts, Counts]) -> float:
    """How much more failures cluster than coin tosses would: phi = max(1, Pearson's chi2 / degrees of freedom).

    Each group is (failures, requests) per block of time, and is centred at its own rate. McCullagh and Nelder,
    *Generalized Linear Models* (1989), section 4.5.
    """
    chi2 = freedom = 0.0
    for failures, requests in groups:
        asked = requests > 0
        x, n = failures[asked], requests[asked]
        rate = x.sum() / n.sum() if n.sum() else 0.0
        if len(n) < 2 or rate <= 0 or rate >= 1:
            continue
        chi2 += float((((x - n * rate) ** 2) / (n * rate * (1 - rate))).sum())
        freedom += len(n) - 1
    return max(1.0, chi2 / freedom) if freedom else 1.0


def more_failures_p(later: float, n_later: float, reference: float, n_reference: float, phi: float) -> float:
    """One-sided p of ``later`` failures among ``n_later`` requests when the rate were the reference's.

    The conditional test of two rates given their sum (Przyborowski and Wilenski 1940), both counts divided by the
    dispersion: I_pi(x_T / phi, x_R / phi + 1) with pi = n_T / (n_T + n_R); at phi = 1 it is the exact binomial test.
    """
    if later <= 0 or n_later <= 0 or n_reference <= 0:
        return 1.0
    share = n_later / (n_later + n_reference)
    return float(special.betainc(later / phi, reference / phi + 1.0, share))


def chance_of_so_many(failures: float, requests: float, rate: float) -> float:
    """One-sided p of ``failures`` or more among ``requests`` at a known rate: exact binomial where these are whole."""
    return float(special.betainc(failures, requests - failures + 1.0, rate)) if failures > 0 else 1.0


def smallest_visible(n_later: float, reference: float, n_reference: float, phi: float, alpha: float) -> int | None:
    """The fewest new failures that ``more_failures_p`` finds with about 80% power; None where no number would be."""
    if n_later <= 0 or n_reference <= 0:
        return None
    expected = reference * n_later / n_reference
    extra = np.arange(1.0, n_later + 1.0) if n_later <= 2000 else np.unique(np.geomspace(1, n_later, 2000).round())
    total = expected + extra
    seen = np.maximum(total - 0.8416 * np.sqrt(phi * total), 0.0)
    share = n_later / (n_later + n_reference)
    p = np.ones_like(seen)
    some = seen > 0
    p[some] = special.betainc(seen[some] / phi, reference / phi + 1.0, share)
    found = np.flatnonzero(p <= alpha)
    return int(extra[found[0]]) if len(found) else None


def wilson(failures: float, requests: float, phi: float = 1.0) -> tuple[float, float]:
    """Wilson's 95% interval of a rate (1927), the sample counted as ``requests / phi``."""
    if requests <= 0:
        return (0.0, 1.0)
    n, rate, z = requests / phi, failures / requests, CONFIDENCE_Z
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if failures <= 0 else low, 1.0 if failures >= requests else high)


def rate_difference(x1: float, n1: float, x0: float, n0: float, phi: float) -> tuple[float, float]:
    """95% interval of x1/n1 - x0/n0: Newcombe's hybrid score interval (1998, method 10), samples divided by phi."""
    if n1 <= 0 or n0 <= 0:
        return (-1.0, 1.0)
    return mover(x1 / n1, wilson(x1, n1, phi), x0 / n0, wilson(x0, n0, phi))


def mover(a: float, a_interval: tuple[float, float], b: float, b_interval: tuple[float, float]) -> tuple[float, float]:
    """95% interval of a - b from both's intervals: the method of variance estimates recovery (Zou and Donner 2008)."""
    low = a - b - math.hypot(a - a_interval[0], b_interval[1] - b)
    high = a - b + math.hypot(a_interval[1] - a, b - b_interval[0])
    return (low, high)


def quantile_interval(values: Counts, q: float) -> tuple[float, float]:
    """95% interval of a quantile from order statistics (David and Nagaraja 2003, section 7.1); no distribution assumed.

    ``values`` are (n,) in any order and unit, n >= 1 and none of them nan; ``q`` is a share, and the interval has the
    unit of the values. The smallest and largest values serve where there are too few. Raises IndexError without values.
    """
    ordered = np.sort(values)
    n = len(ordered)
    low = int(stats.binom.ppf(0.025, n, q)) - 1
    high = int(stats.binom.ppf(0.975, n, q))
    return (float(ordered[max(0, low)]), float(ordered[min(n - 1, high)]))


def quantile_difference(values: Counts, others: Counts, q: float) -> tuple[float, tuple[float, float]]:
    """(a quantile of ``values`` less that of ``others``, its 95% interval): `mover` of both quantiles' intervals.

    Both are (n,), (m,), in any order and of one unit, which the difference has; n and m >= 1, and none of them nan.
    """
    one, other = float(np.quantile(values, q)), float(np.quantile(others, q))
    return one - other, mover(one, quantile_interval(values, q), other, quantile_interval(others, q))
