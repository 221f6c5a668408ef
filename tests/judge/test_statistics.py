import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from replay.judge.statistics import (
    dispersion,
    more_failures_p,
    quantile_difference,
    quantile_interval,
    rate_difference,
    smallest_visible,
    wilson,
)


@given(st.integers(0, 50), st.integers(1, 500), st.integers(0, 50), st.integers(1, 500))
def test_without_clustering_it_is_the_exact_binomial_test(x, n, x0, n0):
    exact = stats.binom.sf(x - 1, x + x0, n / (n + n0))
    assert more_failures_p(x, n, x0, n0, 1.0) == pytest.approx(exact, abs=1e-9)


@given(st.integers(0, 100), st.integers(0, 50), st.floats(1, 10))
def test_one_failure_more_never_weakens_the_evidence(x, x0, phi):
    assert more_failures_p(x + 1, 1000, x0, 1000, phi) <= more_failures_p(x, 1000, x0, 1000, phi) + 1e-12


def test_nothing_asked_proves_nothing():
    assert more_failures_p(5, 0, 0, 100, 1.0) == more_failures_p(5, 100, 0, 0, 1.0) == 1.0


def test_independent_failures_are_not_dispersed_and_bursts_are():
    requests = np.full(24, 100.0)
    even = np.random.default_rng(1).binomial(100, 0.02, 24).astype(float)
    burst = np.where(np.arange(24) == 7, 48.0, 0.0)
    assert dispersion((even, requests)) < 2
    assert dispersion((burst, requests)) > 20
    assert dispersion() == dispersion((np.zeros(3), np.zeros(3))) == 1.0


def test_the_difference_of_rates_is_newcombes():
    # Newcombe 1998, table II, case (a): 56/70 against 48/80, method 10
    low, high = rate_difference(56, 70, 48, 80, 1.0)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_wilson_at_the_edges():
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_smallest_visible_effect_is_found_about_four_times_in_five():
    smallest = smallest_visible(1000, 3, 2000, 1.0, 0.002)
    assert smallest is not None
    rng = np.random.default_rng(7)
    reference = rng.poisson(3, 4000)
    later = rng.poisson(1.5 + smallest, 4000)
    power = np.mean([more_failures_p(x, 1000, x0, 2000, 1.0) <= 0.002 for x, x0 in zip(later, reference, strict=True)])
    assert 0.6 < power < 0.95
    assert smallest_visible(0, 0, 10, 1.0, 0.002) is None
    assert smallest_visible(3, 0, 10, 1.0, 0.002) is None


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_the_interval_of_a_quantile_lies_within_the_values(values):
    low, high = quantile_interval(np.array(values), 0.95)
    assert min(values) <= low <= high <= max(values)


def test_the_difference_of_quantiles_holds_between_their_intervals_and_swaps_its_sign() -> None:
    rng = np.random.default_rng(5)
    slow, fast = rng.exponential(2.0, 400), rng.exponential(1.0, 300)
    effect, (low, high) = quantile_difference(slow, fast, 0.95)
    assert effect == np.quantile(slow, 0.95) - np.quantile(fast, 0.95)
    assert 0 < low < effect < high
    assert quantile_difference(fast, slow, 0.95) == (pytest.approx(-effect), pytest.approx((-high, -low)))
    same, _ = quantile_difference(slow, slow, 0.95)
    assert same == 0
