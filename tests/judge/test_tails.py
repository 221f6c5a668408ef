"""The slowest answers of an endpoint beside the slowest ones without the steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.judge.effects.shifts import Least, Shift
from replay.judge.effects.tails import Tail, tail_shift

LEAST = Least(1.5, 0.002)


def answers(seed: int, n: int = 300, *, wave: float = 0.0, factor: float = 1.0) -> tuple[np.ndarray, ...]:
    """(moments, as they came, beside the others): 120 s of answers that take 0.6 s, the slowest 5% ``factor`` times."""
    rng = np.random.default_rng(seed)
    at_s = np.sort(rng.uniform(0, 120, n))
    own = 0.6 * np.exp(rng.normal(0, 0.5, n))
    own[own >= np.quantile(own, 0.95)] *= factor
    came = own * np.exp(rng.normal(0, wave, 61)[(at_s // 2).astype(int)])
    return at_s, came, own


def shifted(seed: int, factor: float = 1.0, n: int = 300, *, wave: float = 0.0, from_s: float = 60) -> Shift | None:
    at_s, came, own = answers(2 * seed, n, wave=wave)
    limit_s = float(np.quantile(came, 0.95))
    later = answers(2 * seed + 1, n, wave=wave, factor=factor)
    later = tuple(column[later[0] >= from_s] for column in later)
    return tail_shift([Tail.beyond(limit_s, at_s, came, own)], Tail.beyond(limit_s, *later))


def suspects(shift: Shift | None, p_value: float = 0.02) -> bool:
    return shift is not None and shift.suspects(LEAST, p_value)


def test_a_tail_that_doubled_is_seen() -> None:
    found = [shifted(seed, 2.0, 600) for seed in range(40)]
    assert sum(map(suspects, found)) >= 36
    assert 1.7 < np.median([one.ratio for one in found if one]) < 2.3
    assert sum(suspects(shifted(seed, 2.0)) for seed in range(40)) >= 20


@pytest.mark.parametrize("wave", [0.0, 0.4])
def test_equal_arms_are_hardly_ever_suspected(wave: float) -> None:
    assert sum(suspects(shifted(seed, wave=wave)) for seed in range(600)) <= 12


def test_a_stage_that_is_slow_as_a_whole_has_no_slower_tail() -> None:
    at_s, came, own = answers(1, 600)
    limit_s = float(np.quantile(came, 0.95))
    known = Tail.beyond(limit_s, at_s, came, own)
    slow = Tail.beyond(limit_s, at_s, 3 * came, own)
    assert len(slow.at_s) > 4 * len(known.at_s)
    assert not suspects(tail_shift([known], slow), 0.5)


def test_a_burst_is_no_tail() -> None:
    at_s, came, own = answers(3, 600)
    limit_s = float(np.quantile(came, 0.95))
    burst = (at_s > 70) & (at_s < 76)
    known, later = (
        Tail.beyond(limit_s, at_s, came, own),
        Tail.beyond(limit_s, at_s[burst], 9 * came[burst], 9 * own[burst]),
    )
    assert len(later.at_s) > 20
    assert tail_shift([known], later) is None


def test_what_never_came_is_left_out() -> None:
    tail = Tail.beyond(1.0, np.arange(4.0), np.array([np.nan, 0.5, 2.0, 3.0]), np.array([np.nan, 0.5, 1.0, 1.5]))
    assert tail.at_s.tolist() == [2, 3]
    assert tail.latency_s.tolist() == [1.0, 1.5]
    empty = Tail.beyond(9.0, tail.at_s, tail.latency_s, tail.latency_s)
    assert tail_shift([tail], empty) is None
    assert tail_shift([empty], tail) is None


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0.001, 100), st.integers(0, 59))
def test_units_and_the_parts_of_the_reference_do_not_matter(seed: int, unit: float, parted: int) -> None:
    at_s, came, own = answers(seed, 400)
    limit_s, later = float(np.quantile(came, 0.95)), answers(seed + 1, 400, factor=1.5)
    none = Tail(np.empty(0), np.empty(0))  # nothing was slow in the same arm before the step
    one = tail_shift([Tail.beyond(limit_s, at_s, came, own), none], Tail.beyond(limit_s, *later))
    first = at_s < 2 * parted  # a whole block or none
    parts = [Tail.beyond(unit * limit_s, at_s[half], unit * came[half], unit * own[half]) for half in (first, ~first)]
    other = tail_shift([*parts, none], Tail.beyond(unit * limit_s, later[0], unit * later[1], unit * later[2]))
    assert one is not None
    assert other is not None
    assert other.ratio == pytest.approx(one.ratio)
    assert other.longer_s == pytest.approx(unit * one.longer_s, abs=1e-9 * unit)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(1, 4))
def test_a_slower_tail_is_never_less_surprising(seed: int, factor: float) -> None:
    at_s, came, own = answers(seed, 400)
    limit_s, later = float(np.quantile(came, 0.95)), answers(seed + 1, 400)
    known, now = Tail.beyond(limit_s, at_s, came, own), Tail.beyond(limit_s, *later)
    one, other = tail_shift([known], now), tail_shift([known], Tail(now.at_s, factor * now.latency_s))
    assert one is not None
    assert other is not None
    assert other.ratio >= one.ratio
    assert other.p_value <= one.p_value + 1e-12


def test_a_tail_that_was_further_off_before_the_step_is_no_effect_of_it() -> None:
    at_s, came, own = answers(11, 600)
    limit_s = float(np.quantile(came, 0.95))
    known, later = Tail.beyond(limit_s, at_s, came, own), answers(12, 600, factor=2.0)
    early = later[0] < 40
    before, after = (Tail.beyond(limit_s, *(column[part] for column in later)) for part in (early, ~early))
    assert suspects(tail_shift([known], after))
    assert len(before.at_s) >= 3
    assert not suspects(tail_shift([known, before], after), 1.0)
