"""Outages as intervals that hold the moments, whatever the traffic, the latency and the share that fails."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from incident import EVENTS, production
from simulate import TOKEN, I, S, evidence, workload

from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.failures import failures
from replay.judge.effects.outages import Outage, asked_for, outages
from replay.judge.verdict import judge

END_S = 60.0


def found(planted, *, every=True) -> dict[str, list[Outage]]:
    """The outages of a simulated workload, of all endpoints or of those with findings."""
    run = evidence(planted)
    control, steps = (run.arms[f"{planted.workload}-{kind}"] for kind in ("control", "steps"))
    case = Case(planted.workload, planted.role, control, steps, Criteria())
    findings = [] if every else judge(run).findings
    return outages(case, failures(case), findings, every=every)


def break_it(planted, endpoint, from_s, to_s, *, share=1.0, seed=0, took: Callable[[int], np.ndarray] | None = None):
    """What is under way or sent between the two moments fails: as a break on Stage does, and not by when it was due."""
    frame = planted.steps
    if took is not None:
        mine = frame["endpoint"] == endpoint
        frame.loc[mine, "done_s"] = frame.loc[mine, "sent_s"] + took(int(mine.sum()))
    met = (frame["endpoint"] == endpoint) & (frame["done_s"] > from_s) & (frame["sent_s"] < to_s)
    # In flight at either end, an answer may be the one or the other.
    wholly = (frame["sent_s"] > from_s) & (frame["done_s"] < to_s)
    dice = np.random.default_rng(seed)
    met &= wholly | (dice.random(len(frame)) < 0.5)
    met &= dice.random(len(frame)) < share
    frame.loc[met, ["status", "outcome"]] = [500, "server error"]
    frame["status"] = frame["status"].astype("float64")
    return met


def holds(outage: Outage, broke_s: float, back_s: float | None) -> bool:
    if outage.last_good_s is not None and broke_s < outage.last_good_s:
        return False
    if broke_s > outage.first_bad_s:
        return False
    if back_s is None:
        return outage.first_good_s is None
    return outage.last_bad_s <= back_s and (outage.first_good_s is None or back_s <= outage.first_good_s)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    requests=st.integers(60, 3000),
    broke_s=st.floats(21, 35),
    length_s=st.floats(4, 15),
    slowest_s=st.sampled_from([0.005, 0.1, 0.9]),
)
def test_the_intervals_hold_a_total_outage(seed, requests, broke_s, length_s, slowest_s) -> None:
    planted = workload(seed, mix={EVENTS: (requests, 0.0), TOKEN: (300, 0.0)})
    planted.step(20, 25)
    took = np.random.default_rng(seed)
    met = break_it(
        planted, EVENTS, broke_s, broke_s + length_s, seed=seed, took=lambda n: took.uniform(0.001, slowest_s, n)
    )
    several = found(planted).get(EVENTS, [])
    if not met.any():
        assert not several
        return
    (one,) = several
    assert holds(one, broke_s, broke_s + length_s)
    assert one.failures == met.sum() <= one.requests
    assert one.share > 0.5


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_share_is_one_outage_and_held(share: float) -> None:
    """A good answer proves nothing where many are: the intervals are wider then, and still hold nearly always."""
    held = 0
    for seed in range(40):
        planted = workload(seed, mix={EVENTS: (3000, 0.0), TOKEN: (300, 0.0)})
        planted.step(20, 25)
        met = break_it(planted, EVENTS, 22.0, 40.0, share=share, seed=seed)
        several = found(planted)[EVENTS]
        assert sum(one.failures for one in several) == met.sum()
        assert len(several) <= 2
        widest = max(several, key=lambda one: one.failures)
        assert widest.share == pytest.approx(share, abs=0.12)
        held += len(several) == 1 and holds(widest, 22.0, 40.0)
    assert held >= 36


def test_an_endpoint_that_never_comes_back() -> None:
    planted = production()
    break_it(planted, EVENTS, 22.0, 99.0)
    (one,) = found(planted)[EVENTS]
    assert one.first_good_s is None
    assert one.came_back is None
    assert one.broke == "during add token scopes"


def test_two_outages_are_two_and_a_pause_is_none() -> None:
    planted = production()
    for from_s, to_s in ((21.0, 26.0), (26.8, 30.0), (38.0, 42.0)):
        break_it(planted, EVENTS, from_s, to_s)
    first, second = found(planted)[EVENTS]
    assert holds(first, 21.0, 30.0)
    assert holds(second, 38.0, 42.0)
    assert first.broke == "during add token scopes"
    assert first.came_back == second.broke == second.came_back == "after add token scopes"


@pytest.mark.parametrize("regime", [I, S])
def test_noise_is_no_outage_of_a_step(regime) -> None:
    planted = workload(3, regime=regime, mix={EVENTS: (1500, 0.02), TOKEN: (600, 0.0)})
    planted.step(20, 25)
    assert not found(planted, every=False)
    break_it(planted, TOKEN, 22.0, 30.0)
    assert set(found(planted, every=False)) == {TOKEN}


def test_flaky_failures_are_left_out_beside_an_outage() -> None:
    planted = workload(5, mix={EVENTS: (2000, 0.01), TOKEN: (300, 0.0)})
    planted.step(20, 25)
    break_it(planted, EVENTS, 22.0, 30.0)
    several = found(planted)[EVENTS]
    assert len(several) == 1
    assert several[0].failures > 100


def test_what_was_not_sent_tells_nothing() -> None:
    planted = production()
    planted.fail(EVENTS, 22, 30, outcome="unsent")
    assert EVENTS not in found(planted)


def test_too_few_good_answers_before_or_after_are_said() -> None:
    planted = production()
    planted.steps = planted.steps[(planted.steps["endpoint"] != EVENTS) | (planted.steps["due_s"] > 21)]
    break_it(planted, EVENTS, 20.0, 99.0)
    (one,) = found(planted)[EVENTS]
    assert one.last_good_s is None


@pytest.mark.parametrize(("failed", "of", "asked"), [(9, 9, 1), (99, 100, 1), (5, 10, 7), (3, 10, 13), (1, 10, 44)])
def test_how_many_good_answers_are_asked_for(failed: int, of: int, asked: int) -> None:
    assert asked_for(failed, of) == asked


def test_the_verdict_has_them() -> None:
    planted = production()
    break_it(planted, EVENTS, 22.0, 30.0)
    document = judge(evidence(planted)).to_json()
    rows = {row["endpoint"]: row["outages"] for row in document["endpoints"]}
    (one,) = rows.pop(EVENTS)
    assert one["last_good_s"] < 22.1 < one["last_bad_s"] < 30.0 < one["first_good_s"]
    assert not any(rows.values())
    told = {event["kind"]: event["at_s"] for event in document["timeline"] if event["subject"] == EVENTS}
    assert told["outage"] == one["first_bad_s"]
    assert told["back"] == one["first_good_s"]
