"""What all endpoints share is taken off, and what is one endpoint's own is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.effects.drag import calm, drag


def stage(seed: int, n: int = 4000, endpoints: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """(moments, latencies, endpoints, usual latencies) of a Stage at rest."""
    rng = np.random.default_rng(seed)
    endpoint = rng.integers(0, endpoints, n)
    usual = [0.01 * 3**number for number in range(endpoints)]
    latency = np.array(usual)[endpoint] * np.exp(rng.normal(0, 0.5, n))
    return np.sort(rng.uniform(0, 60, n)), latency, endpoint, usual


def test_a_wave_over_all_of_stage_is_taken_off() -> None:
    at_s, latency, endpoint, usual = stage(1)
    slow = (at_s >= 20) & (at_s < 30)
    factor = drag(at_s, np.where(slow, 3 * latency, latency), endpoint, usual)
    assert np.median(factor[slow]) == pytest.approx(3, rel=0.15)
    assert np.median(factor[~slow]) < 1.1


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_what_one_endpoint_has_alone_stays_whatever_its_share(share: float) -> None:
    at_s, latency, endpoint, usual = stage(2, n=8000)
    endpoint = np.where(np.random.default_rng(3).random(len(endpoint)) < share, 0, endpoint)
    latency = np.array(usual)[endpoint] * np.exp(np.random.default_rng(4).normal(0, 0.5, len(endpoint)))
    slow = np.where(endpoint == 0, 5 * latency, latency)
    factor = drag(at_s, slow, endpoint, usual)
    assert np.median(factor[endpoint == 0]) < 1.15


def test_where_the_others_become_faster_nobody_becomes_slow() -> None:
    at_s, latency, endpoint, usual = stage(5)
    faster = np.where((endpoint > 0) & (at_s > 30), latency / 4, latency)
    mine = endpoint == 0
    assert np.quantile((faster / drag(at_s, faster, endpoint, usual))[mine], 0.95) <= np.quantile(latency[mine], 0.95)


@given(st.integers(0, 50), st.integers(0, 30), st.booleans())
def test_it_is_one_or_more_and_needs_others_that_tell(seed: int, n: int, missing: bool) -> None:
    at_s, latency, endpoint, usual = stage(seed, n)
    if missing:
        latency = np.full(n, np.nan)
    factor = drag(at_s, latency, endpoint, usual)
    assert factor.shape == (n,)
    assert (factor >= 1).all()
    if missing:
        assert (factor == 1).all()


@given(st.integers(0, 20), st.permutations(range(4)))
def test_the_endpoints_numbers_do_not_matter(seed: int, order: list[int]) -> None:
    at_s, latency, endpoint, usual = stage(seed, 400)
    other = np.array(order)[endpoint]
    renamed = [usual[order.index(number)] for number in range(4)]
    factor, again = drag(at_s, latency, endpoint, usual), drag(at_s, latency, other, renamed)
    assert again == pytest.approx(factor)


def test_a_control_that_was_slow_for_most_of_its_time_is_not_the_rule() -> None:
    at_s, latency, endpoint, usual = stage(6)
    slow = at_s < 40
    medians = [float(np.median(np.where(slow, 20 * latency, latency)[endpoint == number])) for number in range(4)]
    assert medians[0] > 10 * usual[0]
    rest = calm(at_s, np.where(slow, 20 * latency, latency), endpoint, medians)
    assert rest == pytest.approx(usual, rel=0.3)
    factor = drag(at_s, np.where(slow, 20 * latency, latency), endpoint, rest)
    assert np.median(factor[slow]) == pytest.approx(20, rel=0.3)


def test_a_stage_at_rest_stays_as_it_is() -> None:
    at_s, latency, endpoint, usual = stage(7)
    assert calm(at_s, latency, endpoint, usual) == pytest.approx(usual, rel=0.15)
    assert calm(at_s[:5], latency[:5], endpoint[:5], usual) == usual
