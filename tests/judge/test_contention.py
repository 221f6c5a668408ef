"""Sessions of the application that wait for each other since the steps."""

import numpy as np
import pytest
import simulate
from incident import CHECK_IN, EVENTS, of, production, qa

from replay.evidence.values import Reading
from replay.judge.verdict import judge

SESSION = {"application": "api", "query": "UPDATE totals SET n = n + 1", "endpoint": "POST /v1/check-ins", "step": None}


def contend(planted, from_s, to_s, sessions, *, arm="steps", step=None):
    """So many sessions wait at each moment for another one (or for a step)."""
    for at_s in np.arange(0.0, planted.duration_s, 0.5):
        waiting = sessions if from_s <= at_s < to_s else 0
        planted.readings[arm].append(Reading(float(at_s), "database", "waiting_backends", float(waiting), {}))
        for pid in range(waiting):
            detail = {
                "waiting": SESSION | {"pid": pid, "relation": "totals", "lock": "row of totals"},
                "blocked_by": [SESSION | {"pid": 99, "level": 1, "step": step}],
            }
            planted.readings[arm].append(Reading(float(at_s), "database", "lock_wait_s", 0.3, detail))


def contention(planted):
    return of(judge(simulate.evidence(planted, qa())), metric="lock_contention")


def test_it_is_the_cause_of_what_fails_there():
    planted = production()
    contend(planted, 25, 60, 6)
    planted.fail(CHECK_IN, 25, 60, 0.4, "timeout")
    verdict = judge(simulate.evidence(planted, qa()))
    (finding,) = of(verdict, metric="lock_contention")
    assert verdict.verdict == "NO_GO"
    assert verdict.reasons[0].startswith(finding["explanation"].rstrip("."))
    assert "row of totals (POST /v1/check-ins)" in finding["explanation"]
    assert finding["severity"] == "blocking"
    assert finding["observed"] == pytest.approx(6 * 35 / 40, rel=0.05)  # from the step's start on, at 20 s
    assert {one["root"] for one in of(verdict, endpoint=CHECK_IN, unit="share")} == {finding["root"]}
    failed = {check.name for check in verdict.checks if check.about == "change" and not check.passed}
    assert "lock_wait_s" in failed


def test_nobody_is_harmed_by_it_alone():
    planted = production()
    contend(planted, 25, 60, 6)
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "GO", verdict.reasons
    assert [one["severity"] for one in of(verdict, metric="lock_contention")] == ["note"]


def test_what_fails_elsewhere_is_not_its_doing():
    planted = production()
    contend(planted, 25, 60, 6)
    planted.fail(EVENTS, 25, 60, 0.4, "timeout")
    assert [one["severity"] for one in contention(planted)] == ["note"]


def test_what_there_was_without_the_steps_is_none_of_theirs():
    planted = production()
    contend(planted, 25, 60, 6)
    contend(planted, 0, 60, 2, arm="control")
    assert not contention(planted)


def test_who_waits_for_a_step_waits_for_no_other():
    planted = production()
    contend(planted, 20, 60, 6, step="add token scopes")
    assert not contention(planted)
