"""The figures of the criteria about the change, where limits are small, and where nothing is concluded at all."""

import pytest
import simulate
from incident import EVENTS, PRODUCTION, failed, of, production, qa
from simulate import STEP, TOKEN

from replay.judge.criteria import Criteria, parse_criteria
from replay.judge.verdict import judge


def told(verdict, name, workload="production"):
    (check,) = (check for check in verdict.checks if (check.name, check.workload) == (name, workload))
    return check


# Where nothing is concluded from requests and probes


def unsound():
    """Credentials are wrong without the steps too, while the step waits for a lock and takes its time."""
    planted = production()
    planted.lock()
    planted.lag(9)
    planted.fail(TOKEN, 0, 60, 1.0, "refused")
    planted.fail(TOKEN, 0, 60, 1.0, "refused", arm="control")
    planted.step(35, 36, name="roll back", kind="rollback")
    return planted


def test_what_is_not_judged_has_not_passed():
    lost = simulate.database(steps=[STEP, "roll back"], schema_after="2")
    sound_ones = [simulate.database(steps=[STEP, "roll back"])]
    stage = {"databases": {"production-steps": [lost], "production-control": sound_ones}}
    verdict = judge(simulate.evidence(unsound(), qa(), criteria={"migration_s": 6}, stage=stage))
    assert verdict.verdict == "INCONCLUSIVE"
    assert "control_agreement" in failed(verdict)
    mine = {check.name for check in verdict.checks if check.about == "change" and check.workload == "production"}
    assert mine == {"steps_succeed"}
    theirs = {check.name for check in verdict.checks if check.about == "change" and check.workload == "qa"}
    assert {"new_failures", "unavailable_s", "migration_s"} < theirs
    noted = {one["metric"] for one in of(verdict, workload="production", severity="note")}
    assert {"lock_wait_s", "replica_lag_s", "data_after_rollback"} <= noted, "they are shown all the same"


def test_a_step_that_failed_is_told_all_the_same():
    planted = unsound()
    planted.step(40, 41, "it is in use", "again")
    verdict = judge(simulate.evidence(planted))
    assert verdict.verdict == "NO_GO"
    assert not told(verdict, "steps_succeed").passed


# Small limits


def out(length_s: float, share: float = 1.0):
    """One endpoint gives nothing but failures for so long, while the Stage is well."""
    planted = simulate.workload(1, mix=PRODUCTION | {EVENTS: (1200, 0.0)})
    planted.step(20, 21)
    planted.fail(EVENTS, 30, 30 + length_s, share, "server error")
    planted.steps["done_s"] = planted.steps[["done_s"]].min(axis=1).clip(upper=planted.steps["sent_s"] + 0.1)
    return planted


def test_the_longest_outage_of_any_endpoint_is_told_where_none_is_too_long():
    check = told(judge(simulate.evidence(out(1.6))), "unavailable_s")
    assert (check.passed, check.limit) == (True, 5.0)
    assert check.observed == pytest.approx(1.6, abs=0.2)
    assert "(at most 1." in check.sentence
    assert told(judge(simulate.evidence(production())), "unavailable_s").observed == 0.0


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({}, "GO"),
        ({"unavailable_s": 1}, "NO_GO"),
        ({"unavailable_s": 1.9}, "GO"),
        ({"endpoints": {EVENTS: {"unavailable_s": 1}}}, "NO_GO"),
        ({"unavailable_s": 1, "endpoints": {EVENTS: {"unavailable_s": 5}}}, "GO"),
        ({"recovery_s": 1}, "INCONCLUSIVE"),
        ({"recovery_s": 4}, "GO"),
    ],
    ids=str,
)
def test_an_outage_that_is_shorter_than_usual_ones_counts_where_the_plan_says_so(limits, verdict):
    judged = judge(simulate.evidence(out(1.6), criteria=limits))
    assert judged.verdict == verdict, judged.reasons
    for name in limits.keys() & {"unavailable_s", "recovery_s"}:
        check = told(judged, name)
        assert check.observed == pytest.approx(1.6, abs=0.2)
        assert check.passed is (verdict == "GO")
        assert check.passed is (check.observed < check.limit), "the limit is that of the endpoint"


def test_what_two_pairs_show_of_a_late_recovery_is_blocking():
    first = out(1.6)
    second = simulate.again(first, 4, 2, PRODUCTION | {EVENTS: (1200, 0.0)})
    second.step(20, 21)
    second.fail(EVENTS, 30, 31.6, 1.0, "server error")
    assert judge(simulate.evidence(first, second)).verdict == "GO"
    assert judge(simulate.evidence(first, second, criteria={"recovery_s": 1})).verdict == "NO_GO"


def test_an_outage_beyond_its_limit_that_is_put_up_with_is_not_said_to_be_none():
    judged = judge(simulate.evidence(out(1.6), criteria={"unavailable_s": 1, "tolerated_failures": 1}))
    assert judged.verdict == "GO"
    check = told(judged, "unavailable_s")
    assert (check.passed, check.limit) == (True, 1.0)
    assert check.observed == pytest.approx(1.6, abs=0.2)
    assert EVENTS in check.sentence
    assert "does not count" in check.sentence


def test_no_outage_is_shorter_than_a_moment():
    assert Criteria().shortest_outage_s == 2.0
    assert parse_criteria({"outage_s": 1}).shortest_outage_s == 1.0
    assert parse_criteria({"unavailable_s": 1.5, "recovery_s": 1}).shortest_outage_s == 1.0
    assert parse_criteria({"recovery_s": 60}).shortest_outage_s == 2.0
    assert 0 < parse_criteria({"unavailable_s": 0}).shortest_outage_s < 0.01


@pytest.mark.parametrize(
    ("lag_s", "limit_s", "verdict"),
    [(0.9, 5, "GO"), (0.9, 1, "GO"), (0.9, 0.5, "NO_GO"), (0.4, 0.5, "GO"), (0.9, 0, "NO_GO"), (0.0, 0, "GO")],
)
def test_a_small_limit_of_a_replicas_lag_is_a_limit(lag_s, limit_s, verdict):
    planted = production()
    planted.lag(lag_s)
    judged = judge(simulate.evidence(planted, criteria={"replica_lag_s": limit_s}))
    assert judged.verdict == verdict
    check = told(judged, "replica_lag_s")
    assert (check.limit, check.observed, check.passed) == (limit_s, pytest.approx(lag_s, abs=0.06), verdict == "GO")
    for found in of(judged, metric="replica_lag_s"):
        assert 22 < found["first_bad_s"] < 31
        assert 31 < found["recovered_s"] <= 41
        assert "and caught up" in found["explanation"]


@pytest.mark.parametrize(("lag_s", "verdict"), [(7.5, "GO"), (9.5, "NO_GO")])
def test_a_replica_that_is_often_behind_must_fall_behind_by_half_as_much_again(lag_s, verdict):
    planted = production()
    planted.lag(lag_s)
    planted.lag(6.0, arm="control")
    judged = judge(simulate.evidence(planted))
    assert judged.verdict == verdict
    (check,) = [one for one in judged.checks if one.name == "replica_lag_s"]
    assert check.passed == (verdict == "GO")
    assert ("beside what it does anyway" in check.sentence) == check.passed


@pytest.mark.parametrize(
    ("from_s", "beside"), [(0, "without the steps it was 0 s"), (30, "nobody read it without them")]
)
def test_where_nobody_read_a_replica_without_the_steps_none_says_what_it_did(from_s, beside):
    planted = production()
    planted.lag(9.0, from_s=32)
    if from_s == 0:
        planted.lag(0.0, arm="control")
    planted.readings["steps"] = [one for one in planted.readings["steps"] if one.at_s >= from_s]
    (found,) = of(judge(simulate.evidence(planted)), metric="replica_lag_s")
    assert beside in found["explanation"]


def test_a_small_lag_that_is_there_without_the_steps_too_is_none():
    planted = production()
    planted.lag(0.9)
    planted.lag(0.9, arm="control")
    assert judge(simulate.evidence(planted, criteria={"replica_lag_s": 0.5})).verdict == "GO"
