"""What fails in production only: never denied by what pre-production is merely suspected of, or never asks for."""

import simulate
from incident import CHECK_IN, EVENTS, of, production, qa

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
