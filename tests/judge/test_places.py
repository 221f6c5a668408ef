"""Each finding says where in the evidence it lies."""

import numpy as np
import pytest
import simulate
from incident import EVENTS, of, production, qa
from simulate import TOKEN

from replay.judge.verdict import judge


def test_a_slow_endpoint_has_its_five_slowest_requests_and_the_first_moment() -> None:
    planted = production()
    planted.slow(EVENTS, 27, 60, 1.0)
    (found,) = of(judge(simulate.evidence(planted, qa())), metric="latency_p95_s", endpoint=EVENTS)
    mine = planted.steps[(planted.steps["endpoint"] == EVENTS) & (planted.steps["due_s"] >= 27)]
    took = (mine["done_s"] - mine["sent_s"]).to_numpy()
    assert found["evidence"]["requests"] == mine["request"].to_numpy()[np.argsort(-took)[:5]].tolist()
    assert found["first_bad_s"] == pytest.approx(mine["done_s"].min(), rel=1e-5)


def test_what_never_came_back_has_the_last_requests_that_failed() -> None:
    planted = production()
    planted.fail(TOKEN, 27, 60, 0.9, "server error")
    (found,) = of(judge(simulate.evidence(planted, qa())), metric="never_recovered", endpoint=TOKEN)
    ours = planted.steps[(planted.steps["endpoint"] == TOKEN) & (planted.steps["outcome"] == "server error")]
    assert found["evidence"]["requests"] == ours.sort_values("done_s")["request"].to_numpy()[::-1][:5].tolist()


def test_a_late_recovery_has_the_first_that_failed() -> None:
    planted = production()
    numbers = planted.fail(EVENTS, 27, 45, 1.0, "server error")
    verdict = judge(simulate.evidence(planted, qa(), criteria={"recovery_s": 5}))
    (found,) = of(verdict, metric="recovery_s", endpoint=EVENTS)
    assert len(found["evidence"]["requests"]) == 5
    assert set(found["evidence"]["requests"]) <= set(numbers.tolist())


def test_a_stall_has_the_first_requests_that_fell_into_it() -> None:
    planted = production()
    failed = planted.fail(None, 30, 37, 1.0, "timeout")
    (found,) = of(judge(simulate.evidence(planted, qa())), metric="stall_s", workload="production")
    assert set(found["evidence"]["requests"]) <= set(failed.tolist())
    due = planted.steps.set_index("request")["due_s"]
    assert all(30 <= due[number] < 31 for number in found["evidence"]["requests"])


def test_a_control_unlike_its_capture_names_the_first_requests_that_missed() -> None:
    planted = production()
    missed = planted.fail(EVENTS, 0, 60, 1.0, "refused", arm="control")
    planted.fail(EVENTS, 0, 60, 1.0, "refused")
    verdict = judge(simulate.evidence(planted, qa()))
    (check,) = [
        one for one in verdict.to_json()["criteria"] if one["name"] == "control_agreement" and not one["passed"]
    ]
    assert check["evidence"] == {"arm": "production-control", "requests": missed[:5].tolist()}
    well = [one for one in verdict.to_json()["criteria"] if one["passed"]]
    assert {str(one["evidence"]) for one in well} == {"{}"}


def test_between_two_samples_a_replica_may_have_been_further_behind() -> None:
    planted = production()
    planted.lag(8.0)
    found = {one["metric"]: one for one in of(judge(simulate.evidence(planted, qa())), probe="database")}
    lag = found["replica_lag_s"]
    assert lag["interval"] == [lag["effect"], pytest.approx(lag["effect"] + 0.5)]
    limits = {"replica_lag_bytes": 1e6}
    verdict = judge(simulate.evidence(planted, qa(), criteria=limits))
    (lag,) = of(verdict, metric="replica_lag_bytes")
    assert lag["interval"] is None
