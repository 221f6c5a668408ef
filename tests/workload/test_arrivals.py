"""Arrivals: counts whose law is known, and what comes by the clock."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.workload.profile.arrivals import describe_arrivals, dispersion, each_second, tail_exponent

HOUR = 3600
NINE = 1_772_442_000  # 2026-03-02 09:00:00
SEEDS = range(40)
Counts = npt.NDArray[np.int64]


def poisson(seed: int, per_s: float, seconds: int) -> Counts:
    return np.random.default_rng(seed).poisson(per_s, seconds).astype(np.int64)


def bursty(seed: int, per_s: float, seconds: int) -> Counts:
    """A rate that is another one every 20 s or so, as chance has it: no clock in it."""
    chance = np.random.default_rng(seed)
    lengths = chance.geometric(1 / 20, seconds)
    rates = np.repeat(chance.gamma(0.5, 2 * per_s, seconds), lengths)[:seconds]
    return chance.poisson(rates).astype(np.int64)


@pytest.mark.parametrize("per_s", [0.5, 5.0, 300.0])
def test_poisson_has_no_bursts(per_s: float) -> None:
    found = describe_arrivals(NINE, poisson(1, per_s, 4 * HOUR))
    assert found.dispersion.keys() == {1, 10, 60}
    assert found.dispersion == pytest.approx({1: 1, 10: 1, 60: 1}, abs=0.3)
    assert found.mean_per_s == pytest.approx(per_s, rel=0.05)


def test_bursts_show_at_each_scale() -> None:
    found = describe_arrivals(NINE, bursty(1, 5, 4 * HOUR))
    assert 5 < found.dispersion[1] < found.dispersion[10] < found.dispersion[60]


def test_a_machine_is_more_even_than_chance() -> None:
    assert describe_arrivals(NINE, [3] * 1000).dispersion == {1: 0, 10: 0, 60: 0}


def test_the_seconds_that_are_there_in_part_are_no_seconds() -> None:
    found = describe_arrivals(NINE, [8, *[100] * 50, 2])
    assert found.dispersion == {1: 0}
    assert found.series == (100.0,) * 50
    assert (found.mean_per_s, found.highest_per_s, found.step_s) == (100.0, 100, 1.0)


def test_dispersion_is_variance_by_mean_of_whole_windows() -> None:
    counts = poisson(2, 3, 125)
    sums = [int(counts[start : start + 10].sum()) for start in range(0, 120, 10)]
    assert dispersion(counts, 10) == pytest.approx(np.var(sums, ddof=1) / np.mean(sums))
    assert dispersion(counts, 60) is None
    assert dispersion(np.zeros(100, dtype=np.int64), 1) is None


@pytest.mark.parametrize("kind", [poisson, bursty])
@pytest.mark.parametrize("first_s", [NINE, NINE + 17])
def test_what_comes_each_minute_is_found(kind: Callable[[int, float, int], Counts], first_s: int) -> None:
    counts = kind(3, 2.0, HOUR)
    by_the_clock = (first_s + np.arange(counts.size)) % 60 == 0
    found = describe_arrivals(first_s, counts + 100 * by_the_clock)
    assert [(peak.clock, peak.phase_s) for peak in found.peaks] == [("each minute", 0)]
    assert found.peaks[0].ratio > 20


@pytest.mark.parametrize("hours", [6, 24])
def test_what_comes_each_hour_is_found(hours: int) -> None:
    counts = poisson(4, 2.0, hours * HOUR)
    phase = (NINE + np.arange(counts.size)) % HOUR
    found = describe_arrivals(NINE, counts + 500 * (phase == 300) + 50 * (phase % 60 == 7))
    assert [(peak.clock, peak.phase_s) for peak in found.peaks] == [("each minute", 7), ("each hour", 300)]


def test_a_clock_that_is_alone_is_found() -> None:
    counts = np.zeros(6 * HOUR, dtype=np.int64)
    counts[::60] = 10
    assert [(peak.clock, peak.phase_s) for peak in describe_arrivals(NINE, counts).peaks] == [("each minute", 0)]


@pytest.mark.parametrize("seconds", [5 * 60, HOUR, 6 * HOUR, 24 * HOUR])
@pytest.mark.parametrize("per_s", [0.02, 0.5, 5.0, 100.0])
@pytest.mark.parametrize("kind", [poisson, bursty])
def test_without_a_clock_hardly_a_peak_is_seen(
    kind: Callable[[int, float, int], Counts], per_s: float, seconds: int
) -> None:
    alarms = sum(bool(describe_arrivals(NINE + seed, kind(seed, per_s, seconds)).peaks) for seed in SEEDS)
    assert alarms <= 2


def test_one_wrong_clock_does_not_make_a_capture_long() -> None:
    seconds = np.concatenate(([0], NINE + np.arange(0, 1000, 2), [NINE + 10**9]))
    first_s, counts = each_second(seconds, np.ones(seconds.size, dtype=np.int64))
    assert first_s == NINE
    assert counts.tolist() == [1, 0] * 499 + [1]


@given(st.dictionaries(st.integers(0, 3000), st.integers(1, 50), min_size=1))
def test_each_second_has_its_count(by_second: dict[int, int]) -> None:
    seconds = sorted(by_second)
    first_s, counts = each_second(np.array(seconds), np.array([by_second[second] for second in seconds]))
    assert {first_s + place: count for place, count in enumerate(counts.tolist()) if count} == by_second
    assert counts[0] > 0
    assert counts[-1] > 0


def test_a_short_capture_has_no_peaks() -> None:
    assert describe_arrivals(NINE, [100, *[0] * 200]).peaks == ()


@given(st.lists(st.integers(0, 1000), max_size=400), st.integers(0, 10**10))
def test_any_counts_are_described(counts: list[int], first_s: int) -> None:
    found = describe_arrivals(first_s, counts)
    assert found.highest_per_s == max(counts, default=0)
    whole = counts[1:-1] if any(counts[1:-1]) else counts
    assert len(found.series) == min(120, len(whole))
    assert found.step_s * len(found.series) == pytest.approx(len(whole))
    assert all(index >= 0 for index in found.dispersion.values())
    assert all(peak.ratio >= 2 and 0 <= peak.phase_s < HOUR for peak in found.peaks)


@pytest.mark.parametrize("exponent", [0.8, 1.5, 2.5])
def test_the_tail_of_pareto_is_found(exponent: float) -> None:
    sample = np.random.default_rng(5).pareto(exponent, 20_000) + 1
    assert tail_exponent(np.round(1000 * sample).astype(np.int64)) == pytest.approx(exponent, rel=0.1)


def test_a_light_tail_is_light() -> None:
    assert (tail_exponent(np.random.default_rng(6).poisson(1000, 5000)) or 0) > 10


@pytest.mark.parametrize("counts", [(), (5,), (7,) * 500, (0,) * 500, tuple(range(10))])
def test_there_may_be_no_tail(counts: tuple[int, ...]) -> None:
    assert tail_exponent(counts) is None
