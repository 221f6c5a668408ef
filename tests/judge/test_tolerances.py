"""What a plan puts up with, and the limits that are set by it."""

import pytest
import simulate
from incident import CHECK_IN, EVENTS, incident, of, production, qa
from simulate import STEP, TOKEN

from replay.judge.verdict import judge


@pytest.mark.parametrize(
    ("outcome", "key"),
    [("server error", "tolerated_failures"), ("empty", "tolerated_empties"), ("wrong shape", "tolerated_changes")],
)
def test_a_share_that_is_put_up_with_weighs_nothing(outcome, key):
    planted = production()
    if outcome == "wrong shape":
        hit = (planted.steps["endpoint"] == EVENTS) & (planted.steps["due_s"] > 20)
        hit &= hit.cumsum() % 4 == 0
        planted.steps.loc[hit, "shape"] = "{id:number,scopes:null}"
    else:
        planted.fail(EVENTS, 20, 60, 0.25, outcome)
    assert judge(simulate.evidence(planted, qa())).verdict == "NO_GO"
    for limits in ({key: 0.4}, {"endpoints": {EVENTS: {key: 0.4}}}):
        verdict = judge(simulate.evidence(planted, qa(), criteria=limits))
        assert verdict.verdict == "GO", verdict.reasons
        assert {one["severity"] for one in of(verdict, endpoint=EVENTS, unit="share")} == {"note"}
    others = {"tolerated_failures": 0.4, "tolerated_empties": 0.4, "tolerated_changes": 0.4} | {key: 0.1}
    assert judge(simulate.evidence(planted, qa(), criteria=others)).verdict == "NO_GO"
    elsewhere = {"endpoints": {CHECK_IN: {key: 0.4}}}
    assert judge(simulate.evidence(planted, qa(), criteria=elsewhere)).verdict == "NO_GO"


def test_failed_steps_may_be_put_up_with():
    planted = production()
    planted.step(35, 36, "duplicate key", "add an index")
    planted.step(40, 41, "it is not there", "roll back", "rollback")
    both = {"failed_steps": 1, "failed_rollbacks": 1}
    judged = judge(simulate.evidence(planted, criteria=both))
    assert judged.verdict == "GO"
    (check,) = (one for one in judged.checks if one.name == "steps_succeed")
    assert check.sentence == "2 of 3 steps failed under production, which the plan puts up with."
    for one in both:
        assert judge(simulate.evidence(planted, qa(), criteria={one: 1})).verdict == "NO_GO"


def test_an_endpoint_must_come_back_within_its_time():
    planted = incident()
    (finding,) = of(judge(simulate.evidence(planted, qa(), criteria={"recovery_s": 2})), metric="recovery_s")
    assert finding["endpoint"] == TOKEN
    assert finding["severity"] == "blocking"
    assert finding["proven"]
    assert 4 < finding["observed"] < 8
    assert "2.0 s are allowed" in finding["explanation"]
    for limits in ({}, {"recovery_s": 20}, {"recovery_s": 2, "endpoints": {TOKEN: {"recovery_s": 20}}}):
        assert not of(judge(simulate.evidence(planted, qa(), criteria=limits)), metric="recovery_s")


@pytest.mark.parametrize(("growth", "verdict"), [(None, "NO_GO"), (0.5, "GO"), (0, "GO")])
def test_a_replica_that_falls_behind_for_ever(growth, verdict):
    planted = production()
    planted.lag(3.5, from_s=45, to_s=75)  # furthest in the end, by 0.23 s a second
    limits = {} if growth is None else {"replica_lag_growth": growth}
    judged = judge(simulate.evidence(planted, qa(), criteria=limits))
    assert judged.verdict == verdict, judged.reasons
    found = of(judged, metric="replica_lag_s")
    assert [one["evidence"]["growing"] for one in found] == [True] * (verdict == "NO_GO")


def test_a_replica_that_comes_back_is_held_to_its_limit_alone():
    planted = production()
    planted.lag(4.5, from_s=22, to_s=40)
    assert judge(simulate.evidence(planted, qa())).verdict == "GO"


def test_lines_that_are_new_are_noted_and_may_be_limited():
    planted = production()
    planted.lines({5: 2, 30: 3}, template="a well-known line")
    planted.log["steps"] += [
        one
        for second in (31, 33)
        for one in (simulate.LogEvent(float(second), "errors", "undefined column <x>", 4, "undefined column a"),)
    ]
    planted.lines({}, "control")
    judged = judge(simulate.evidence(planted, qa()))
    assert judged.verdict == "GO", judged.reasons
    (finding,) = of(judged, metric="new_error_lines")
    assert (finding["observed"], finding["severity"], finding["root"]) == (8, "note", "undefined column <x>")
    assert finding["phase"] == f"after {STEP}"
    assert judge(simulate.evidence(planted, qa(), criteria={"new_error_lines": 7})).verdict == "NO_GO"
    assert judge(simulate.evidence(planted, qa(), criteria={"new_error_lines": 8})).verdict == "GO"


def test_each_way_of_failing_is_a_criterion():
    planted = production()
    planted.fail(EVENTS, 20, 60, 0.25, "empty")
    verdict = judge(simulate.evidence(planted, qa()))
    passed = {check.name: check.passed for check in verdict.checks if check.workload == "production"}
    assert (passed["new_failures"], passed["new_empties"], passed["changed_answers"]) == (True, False, True)
    down = production()
    down.fail(CHECK_IN, 21, 33, 1.0, "timeout")
    verdict = judge(simulate.evidence(down, qa()))
    passed = {check.name: check.passed for check in verdict.checks if check.workload == "production"}
    assert not passed["unavailable_s"]
    assert not passed["new_failures"]


def test_what_is_put_up_with_adds_up():
    limits = {"tolerated_failures": 0.1, "tolerated_empties": 0.1}
    planted = production()
    for seed, outcome in enumerate(("server error", "timeout", "refused", "empty")):
        planted.fail(EVENTS, 20, 60, 0.08, outcome, seed=seed)
    verdict = judge(simulate.evidence(planted, qa(), criteria=limits))
    assert verdict.verdict == "NO_GO", verdict.reasons


def test_a_go_says_what_it_put_up_with():
    planted = production()
    planted.fail(EVENTS, 20, 60, 0.25, "server error")
    verdict = judge(simulate.evidence(planted, qa(), criteria={"tolerated_failures": 0.4}))
    assert verdict.verdict == "GO"
    assert "as many as the plan's limits put up with" in verdict.reasons[0]
    assert verdict.reasons[-1] == "The plan has limits of its own: tolerated_failures = 0.4."
