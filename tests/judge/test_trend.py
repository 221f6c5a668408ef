"""Trends: found where they are, and hardly ever where they are not, also in series that resemble themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.judge.arrays import Labels, Values
from replay.judge.soak.trend import FEWEST, holm, trend_of

AT_S = np.arange(80, dtype=np.float64) * 15


def noise(seed: int, blocks: int, alike: float) -> Values:
    """An AR(1) process whose values have the standard deviation 1."""
    chance = np.random.default_rng(seed)
    found = np.zeros(blocks + 100)
    for number, push in enumerate(chance.normal(size=blocks + 99) * np.sqrt(1 - alike**2), 1):
        found[number] = alike * found[number - 1] + push
    return found[100:]


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("blocks", [24, 80])
def test_no_trend_is_found_where_there_is_none(blocks: int, alike: float) -> None:
    times, level = 400, 0.05
    found = 0
    for seed in range(times):
        trend = trend_of(AT_S[:blocks], noise(seed, blocks, alike))
        assert trend is not None
        found += trend.p_value < level
    # Three standard deviations of the count above the level.
    assert found <= times * level + 3 * np.sqrt(times * level * (1 - level))


@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_a_planted_slope_is_found(alike: float) -> None:
    found = []
    for seed in range(60):
        trend = trend_of(AT_S, 100 + 0.01 * AT_S + noise(seed, 80, alike))
        assert trend is not None
        found.append(trend)
    assert sum(trend.p_value < 0.01 for trend in found) >= 58
    assert np.median([trend.slope for trend in found]) == pytest.approx(0.01, rel=0.05)
    assert sum(trend.interval[0] <= 0.01 <= trend.interval[1] for trend in found) >= 54
    assert all(trend.lasting for trend in found)
    assert np.median([trend.level for trend in found]) == pytest.approx(100, rel=0.01)


@settings(deadline=None)
@given(
    st.lists(st.integers(-1000, 1000), min_size=FEWEST, max_size=60),
    st.integers(1, 4),
    st.sampled_from([0.25, 1.0, 64.0]),
)
def test_what_holds_for_every_series(series: list[int], seasons: int, factor: float) -> None:
    values = np.array(series, dtype=np.float64)
    at_s, labels = np.arange(len(values), dtype=np.float64), np.arange(len(values)) % seasons
    if len(values) // seasons < 8:
        return
    trend, back = trend_of(at_s, values, labels), trend_of(at_s, values[::-1].copy(), labels[::-1].copy())
    scaled, shifted = trend_of(at_s, values * factor, labels), trend_of(at_s, values + 4096, labels)
    assert trend is not None
    assert back is not None
    assert scaled is not None
    assert shifted is not None
    # Time turned round turns the sign.
    assert back.slope == pytest.approx(-trend.slope)
    assert back.p_value == pytest.approx(trend.p_value, rel=1e-6)
    # Neither the unit nor the level changes what is significant.
    assert scaled.slope == pytest.approx(factor * trend.slope)
    assert scaled.p_value == pytest.approx(trend.p_value, rel=1e-6)
    assert shifted.slope == pytest.approx(trend.slope)
    assert 0 <= trend.p_value <= 1
    assert trend.interval[0] <= trend.slope <= trend.interval[1]


@given(st.floats(-1e9, 1e9), st.integers(FEWEST, 50))
def test_a_constant_has_no_trend(value: float, blocks: int) -> None:
    trend = trend_of(AT_S[:blocks], np.full(blocks, value))
    assert trend is not None
    assert (trend.slope, trend.p_value, trend.growth) == (0.0, 1.0, 0.0)


def test_too_short_says_so() -> None:
    values = np.arange(40, dtype=np.float64)
    values[::2] = np.nan
    assert trend_of(AT_S[:40], values) is not None  # twenty are known
    values[1] = np.nan
    assert trend_of(AT_S[:40], values) is None
    assert trend_of(AT_S[:5], np.arange(5.0)) is None


def test_what_a_season_does_is_no_trend_and_hides_none() -> None:
    season: Labels = np.arange(80) % 10
    wave = 50 * np.sin(season / 10 * 2 * np.pi)
    still = trend_of(AT_S, wave + noise(1, 80, 0.0), season)
    rising = trend_of(AT_S, wave + 0.005 * AT_S + noise(1, 80, 0.0), season)
    assert still is not None
    assert rising is not None
    assert still.p_value > 0.05
    assert rising.p_value < 0.001
    assert rising.slope == pytest.approx(0.005, rel=0.15)


def test_what_only_rose_at_first_does_not_last() -> None:
    filled = trend_of(AT_S, np.minimum(AT_S, 300) + noise(3, 80, 0.0))
    assert filled is not None
    assert not filled.lasting


def test_holm_on_its_own_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_never_makes_less(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(one >= p for one, p in zip(adjusted, p_values, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [one for _, one in pairs] == sorted(one for _, one in pairs)
