"""Where an effect is looked for."""

import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import PRODUCTION

from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.windows import LATER, windows_of


def case(*steps: tuple[float, float]) -> Case:
    planted = simulate.workload(1, mix=dict(list(PRODUCTION.items())[:1]))
    for number, (start_s, end_s) in enumerate(steps):
        planted.step(start_s, end_s, name=f"step {number}")
    control, arm = planted.arms().values()
    return Case("production", "production", control, arm, Criteria())


def test_windows_are_the_phases_all_that_is_later_and_what_follows_a_start() -> None:
    assert windows_of(case((20, 25))) == {
        LATER: (0, 20),
        "during step 0": (0, 3),
        "after step 0": (3, 20),
        "soon after the start of step 0": (0, 10),
    }


def test_a_window_has_one_name() -> None:
    assert windows_of(case((20, 40))) == {LATER: (0, 20), "during step 0": (0, 10), "after step 0": (10, 20)}


def test_without_a_step_there_is_none() -> None:
    assert windows_of(case()) == {}


@given(st.lists(st.floats(1, 58), min_size=2, max_size=6, unique=True))
def test_windows_lie_within_the_arm(moments: list[float]) -> None:
    edges = sorted(moments)
    found = windows_of(case(*zip(edges[::2], edges[1::2], strict=False)))
    assert len(set(found.values())) == len(found)
    last = found[LATER][1]
    for first, stop in found.values():
        assert 0 <= first < stop <= last + 1
