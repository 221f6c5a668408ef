"""What fails in production only: never denied by what pre-production is merely suspected of, or never asks for."""

import numpy as np
import pytest
import simulate
from incident import CHECK_IN, EVENTS, QA, of, production, qa
from simulate import STEP

from replay.judge.verdict import Verdict, judge


def doubtful() -> simulate.Planted:
    """Pre-production's workload with failures that are no more than a suspicion."""
    planted = qa()
    planted.fail(EVENTS, 26, 60, 0.03, "server error")
    return planted


def judged(planted: simulate.Planted, other: simulate.Planted) -> Verdict:
    verdict = judge(simulate.evidence(planted, other))
    assert verdict.verdict == "NO_GO"
    assert verdict.workload_verdicts["production"] == "NO_GO"
    return verdict


def test_a_suspicion_under_pre_production_denies_nothing() -> None:
    planted = production()
    planted.fail(EVENTS, 21, 60, 0.3, "server error")
    verdict = judged(planted, doubtful())
    assert verdict.workload_verdicts["qa"] == "INCONCLUSIVE"
    mine = of(verdict, workload="production", endpoint=EVENTS, severity="blocking")
    assert mine
    assert {one["only_in_production"] for one in mine} == {None}
    assert not any("Under pre-production's traffic too." in reason for reason in verdict.reasons)


def test_a_stall_that_pre_production_did_not_have_is_productions_alone() -> None:
    planted, other = production(), qa()
    failed = planted.steps["request"].isin(planted.fail(None, 30, 37, 1.0, "timeout"))
    planted.steps.loc[failed, "done_s"] = planted.steps["sent_s"] + 0.01
    other.fail(EVENTS, 21, 60, 0.6, "server error")
    (stall,) = of(judged(planted, other), workload="production", metric="stall_s")
    assert stall["only_in_production"] is True


def test_an_endpoint_that_pre_production_never_calls_is_null_whatever_its_cause() -> None:
    planted, other = production(), qa()
    planted.fail(CHECK_IN, 30, 32, 0.4, "server error")
    other.fail(EVENTS, 30, 32, 0.4, "server error")
    for one in (planted, other):
        one.lines({30: 3, 31: 3, 32: 2}, template='ERROR: column "scopes" of oauth_token does not exist')
        one.lines({}, "control")
    verdict = judged(planted, other)
    (finding,) = of(verdict, endpoint=CHECK_IN)
    assert finding["proven"]
    assert finding["only_in_production"] is None
    assert any("Pre-production's traffic never calls it." in reason for reason in verdict.reasons)


def test_what_a_replica_catches_up_with_after_the_reset_hides_nothing() -> None:
    planted = production()
    for arm in ("control", "steps"):
        for moment in range(60):
            behind = max(0.0, 20.0 - 5.0 * moment) if arm == "control" or moment < 22 else 0.5 * (moment - 22)
            reading = simulate.Reading(float(moment), "database", "replica_lag_s", behind, {"replica": "reporting"})
            planted.readings[arm].append(reading)
    (finding,) = of(judged(planted, qa()), metric="replica_lag_s")
    assert finding["observed"] == 18.5
    assert finding["control"] == 0
    assert finding["evidence"]["growing"]


def rarely(calls: int, from_s: float = 27, to_s: float = 58) -> simulate.Planted:
    """Pre-production's workload with so many calls of one endpoint, after the step or at other moments."""
    planted = simulate.workload(2, name="qa", role="pre-production", mix={**QA, CHECK_IN: (calls, 0.0)})
    planted.step(20, 25)
    for frame in (planted.control, planted.steps):
        mine = frame["endpoint"] == CHECK_IN
        shift = np.linspace(from_s, to_s, calls) - frame.loc[mine, "due_s"]
        for column in ("due_s", "sent_s", "first_byte_s", "done_s"):
            frame.loc[mine, column] += shift
    return planted


def why(verdict: Verdict, **fields: object) -> set[object]:
    """What the findings say of pre-production."""
    found = of(verdict, workload="production", endpoint=CHECK_IN, severity="blocking", **fields)
    assert found
    return {(one["only_in_production"], one["evidence"].get("pre_production")) for one in found}


def test_calls_before_the_step_are_told_from_none() -> None:
    for other, does in (
        (rarely(7, 2, 18), "calls it, but not after the steps began"),
        (qa(), "never calls it"),
    ):
        planted = production()
        planted.fail(CHECK_IN, 26, 60, 0.5, "server error")
        verdict = judged(planted, other)
        assert why(verdict) == {(None, does)}
        assert any(f"Pre-production's traffic {does}." in reason for reason in verdict.reasons)


def test_what_would_not_show_in_so_few_calls_is_null_and_said() -> None:
    planted = production()
    planted.fail(CHECK_IN, 26, 60, 0.3, "server error")
    verdict = judged(planted, rarely(7))
    assert why(verdict, unit="share") == {(None, "calls it too seldom to tell")}
    assert any("Pre-production's traffic calls it too seldom to tell." in reason for reason in verdict.reasons)


def test_few_calls_that_all_went_well_tell_where_all_of_productions_fail() -> None:
    planted = production()
    planted.fail(CHECK_IN, 26, 60, 1.0, "server error")
    assert why(judged(planted, rarely(7)), unit="share") == {(True, None)}


def test_as_many_calls_as_the_judge_needs_tell() -> None:
    planted = production()
    planted.fail(CHECK_IN, 26, 60, 0.3, "server error")
    assert why(judged(planted, rarely(200)), unit="share") == {(True, None)}


def test_what_shows_a_little_there_too_is_not_only_in_production() -> None:
    planted, other = production(), rarely(200)
    planted.fail(CHECK_IN, 26, 60, 0.5, "server error")
    first = other.steps.index[(other.steps["endpoint"] == CHECK_IN) & (other.steps["due_s"] > 40)][0]
    other.fail(CHECK_IN, other.steps["due_s"][first] - 0.01, other.steps["due_s"][first] + 0.01, 1.0, "server error")
    verdict = judged(planted, other)
    assert why(verdict, unit="share") == {(None, "shows a little of it too, too little to tell")}
    refused = rarely(200)
    refused.fail(CHECK_IN, other.steps["due_s"][first] - 0.01, other.steps["due_s"][first] + 0.01, 1.0, "refused")
    assert why(judged(planted, refused), unit="share") == {(True, None)}


def test_few_slow_calls_of_pre_production_deny_that_it_is_productions_alone() -> None:
    planted, other = production(), rarely(7)
    for one in (planted, other):
        one.slow(CHECK_IN, 26, 60, 1.0)
    verdict = judged(planted, other)
    assert why(verdict, metric="latency_p95_s") == {(None, "calls it too seldom to tell")}
    assert {one["interaction"] for one in of(verdict, metric="latency_p95_s", endpoint=CHECK_IN)} == {None}


def test_what_pre_production_is_suspected_of_is_said() -> None:
    planted = production()
    planted.fail(EVENTS, 21, 60, 0.3, "server error")
    verdict = judged(planted, doubtful())
    does = "is suspected of it too, which is not confirmed"
    assert any(f"Pre-production's traffic {does}." in reason for reason in verdict.reasons)
    assert {one["evidence"]["pre_production"] for one in of(verdict, workload="production", endpoint=EVENTS)} == {does}


def test_a_lock_that_pre_production_did_not_wait_for_is_productions_alone_however_rare_its_calls() -> None:
    planted, other = production(), rarely(7)
    planted.lock()
    planted.fail(CHECK_IN, 20, 25, 0.1, "timeout")
    other.readings["steps"].append(simulate.Reading(30.0, "database", "waiting_backends", 0.0, {}))
    verdict = judged(planted, other)
    assert why(verdict, unit="share") == {(True, None)}


def test_how_much_slower_it_is_than_under_pre_production() -> None:
    planted, other = production(), qa()
    planted.slow(EVENTS, 26, 60, 1.0)
    other.slow(EVENTS, 26, 60, 0.005)
    verdict = judged(planted, other)
    (slow,) = of(verdict, workload="production", metric="latency_p95_s", endpoint=EVENTS)
    assert slow["only_in_production"] is True
    beside = slow["interaction"]
    low, high = beside["interval"]
    assert low < beside["effect"] < high
    assert beside["effect"] == pytest.approx(1.0, abs=0.05)
    assert beside["pre_production"] == pytest.approx(slow["effect"] - beside["effect"], abs=1e-5)
    assert low > 0.9
    assert high < 1.1


def test_how_many_more_answers_change_than_under_pre_production() -> None:
    planted, other = production(), qa()
    for one in (planted, other):
        one.lists(EVENTS, 20)
        one.shrink(EVENTS, 0, 60, 19, arm="control")
        one.shrink(EVENTS, 0, 60, 19)
    planted.shrink(EVENTS, 21, 60, 14)
    verdict = judge(simulate.evidence(planted, other))
    found = of(verdict, workload="production", metric="changed_answers", endpoint=EVENTS)
    assert found
    for one in found:
        assert one["interaction"]["effect"] == pytest.approx(one["effect"])
        assert one["interaction"]["interval"][0] > 0.5


def test_pre_productions_bursts_widen_its_own_interval() -> None:
    """As many failures there, in a burst or one by one: the burst tells less."""
    intervals = []
    for burst in (False, True):
        planted, other = production(), qa()
        planted.fail(EVENTS, 21, 60, 0.6, "server error")
        mine = other.steps.index[(other.steps["endpoint"] == EVENTS) & (other.steps["due_s"] > 26)]
        hit = mine[40:48] if burst else mine[::20][:8]
        other.steps.loc[hit, "status"], other.steps.loc[hit, "outcome"] = 500, "server error"
        other.steps.loc[hit, "shape"] = "text/plain"
        (found,) = of(
            judge(simulate.evidence(planted, other)),
            workload="production",
            endpoint=EVENTS,
            phase=f"after {STEP}",
            unit="share",
        )
        intervals.append(found["interaction"]["interval"])
    (low, high), (burst_low, burst_high) = intervals
    assert burst_low < low
    assert burst_high > high


def test_what_had_not_come_back_there_either_is_not_productions_alone() -> None:
    for outcome, only in (("server error", None), ("ok", True)):
        planted, other = production(), rarely(12)
        planted.fail(CHECK_IN, 26, 60, 1.0, "server error")
        mine = other.steps[other.steps["endpoint"] == CHECK_IN]
        last = mine["due_s"].idxmax()
        if outcome != "ok":
            other.steps.loc[last, ["status", "outcome", "shape"]] = [500, outcome, "text/plain"]
        verdict = judged(planted, other)
        assert {value for value, _ in why(verdict, metric="never_recovered")} == {only}
