"""Answers that all take longer than those to the same requests without the steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.judge.effects.shifts import Least, Shift, shift_of, shifted_in_both

LEAST = Least(1.5, 0.002)


def latencies(seed: int, n: int, factor: float = 1.0, *, wave: float = 0.0, noise: float = 0.5):
    """(control, steps, moments): lognormal latencies of 10 ms; ``wave`` is what two seconds have in common."""
    rng = np.random.default_rng(seed)
    at_s = np.sort(rng.uniform(8, 25, n))
    second = np.floor(at_s / 2).astype(int)
    found = [0.01 * np.exp(rng.normal(0, noise, n) + rng.normal(0, wave, second.max() + 1)[second]) for _ in range(2)]
    return found[0], found[1] * factor, at_s


def shifted(seed: int, n: int = 100, factor: float = 1.0, **kinds: float) -> Shift:
    control, steps, at_s = latencies(seed, n, factor, **kinds)
    found = shift_of(control, steps, at_s, np.ones(n, dtype=bool))
    assert found is not None
    return found


def test_a_doubling_is_seen() -> None:
    found = [shifted(seed, factor=2.0) for seed in range(40)]
    assert sum(one.suspects(LEAST, 0.05) for one in found) == 40
    assert 1.8 < np.median([one.ratio for one in found]) < 2.2
    assert sum(shifted_in_both(a, b, LEAST, 0.05, 0.002) for a, b in zip(found[::2], found[1::2], strict=True)) == 20


@pytest.mark.parametrize("wave", [0.0, 0.4])
def test_equal_arms_are_hardly_ever_suspected(wave: float) -> None:
    found = [shifted(seed, wave=wave) for seed in range(600)]
    assert sum(one.suspects(LEAST, 0.05) for one in found) <= 24  # 4%, of which another pair shows the fewest again
    assert not any(shifted_in_both(a, b, LEAST, 0.05, 0.002) for a, b in zip(found[::2], found[1::2], strict=True))


def test_a_burst_of_slow_answers_is_no_shift() -> None:
    control, steps, at_s = latencies(1, 200)
    steps[(at_s > 10) & (at_s < 13)] *= 20
    found = shift_of(control, steps, at_s, np.ones(200, dtype=bool))
    assert found is not None
    assert not found.suspects(LEAST, 0.05)


def test_what_is_fast_is_not_held_to_it() -> None:
    control, steps, at_s = latencies(1, 200, 2.0)
    found = shift_of(control / 20, steps / 20, at_s, np.ones(200, dtype=bool))
    assert found is not None
    assert found.p_value < 0.01
    assert not found.suspects(LEAST, 0.05)


def test_too_few_answers_tell_nothing() -> None:
    control, steps, at_s = latencies(1, 60, 2.0)
    assert shift_of(control, steps, at_s, at_s > 24) is None
    assert shift_of(np.full(60, np.nan), steps, at_s, np.ones(60, dtype=bool)) is None
    narrow = shift_of(control, steps, np.full(60, 9.0), np.ones(60, dtype=bool))
    assert narrow is not None
    assert narrow.p_value == 1.0


seeds, factors = st.integers(0, 1000), st.floats(0.3, 4)


@settings(deadline=None)
@given(seeds, factors)
def test_swapping_the_arms_turns_the_ratio_round(seed: int, factor: float) -> None:
    control, steps, at_s = latencies(seed, 80, factor)
    every = np.ones(80, dtype=bool)
    one, other = shift_of(control, steps, at_s, every), shift_of(steps, control, at_s, every)
    assert one is not None
    assert other is not None
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.longer_s == pytest.approx(-other.longer_s)
    assert min(one.p_value, other.p_value) <= 0.5 or one.ratio == pytest.approx(1, abs=0.3)


@settings(deadline=None)
@given(seeds, factors, st.floats(1, 3))
def test_slower_answers_are_never_less_surprising(seed: int, factor: float, more: float) -> None:
    control, steps, at_s = latencies(seed, 80, factor, noise=0.2)
    every = np.ones(80, dtype=bool)
    one, slower = shift_of(control, steps, at_s, every), shift_of(control, steps * more, at_s, every)
    assert one is not None
    assert slower is not None
    assert slower.ratio >= one.ratio
    if one.ratio * more < 4:  # beyond, a single answer tells no more
        assert slower.p_value <= one.p_value + 1e-9


@pytest.mark.parametrize("strictly", [True, False])
def test_what_was_slower_before_the_step_is_no_effect_of_it(strictly: bool) -> None:
    control, steps, at_s = latencies(1, 300, 2.0)
    later = at_s >= 14
    alone = shift_of(control, steps, at_s, later)
    held = shift_of(control, steps, at_s, later, ~later, strictly=strictly)
    assert alone is not None
    assert held is not None
    assert alone.suspects(LEAST, 0.05)
    assert held.ratio == pytest.approx(1, abs=0.25)
    assert not held.suspects(LEAST, 0.05)


def test_few_before_the_step_tell_only_what_is_sure() -> None:
    control, steps, at_s = latencies(1, 100, 2.0)
    later = at_s >= 8.5
    assert 0 < (~later).sum() < 20
    assert shift_of(control, steps, at_s, later, ~later) is None
    alone, held = shift_of(control, steps, at_s, later), shift_of(control, steps, at_s, later, ~later, strictly=False)
    assert held == alone  # they are all of one block
