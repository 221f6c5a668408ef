"""Limits that a plan sets, and nothing measured."""

import pytest
import simulate
from incident import failed, production, qa
from simulate import EXPORT, STEP, TOKEN

from replay.evidence.values import Reading
from replay.judge.criteria import Criteria
from replay.judge.trust.limits import measures_of
from replay.judge.verdict import judge


@pytest.mark.parametrize(
    ("name", "add"),
    [
        ("lock_wait_s", 'kind "postgres" or "mysql"'),
        ("replica_lag_s", "its replicas"),
        ("replica_lag_bytes", "its replicas"),
        ("replica_lag_growth", "its replicas"),
        ("new_error_lines", 'kind "log"'),
        ("log_flood_ratio", 'kind "log"'),
        ("log_flood_lines", 'kind "log"'),
        ("log_flood_s", 'kind "log"'),
        ("rollback_rows_share", 'kind = "rollback"'),
        ("drift_latency_share", "ten minutes"),
        ("drift_failure_share", "ten minutes"),
        ("drift_level_share", "ten minutes"),
    ],
)
def test_a_limit_that_nothing_measured_is_inconclusive(name, add):
    verdict = judge(simulate.evidence(production(), qa(), criteria={name: 1}))
    assert verdict.verdict == "INCONCLUSIVE"
    assert failed(verdict) == {"limits_measured"}
    assert f"[criteria] sets {name}, and nothing in production-steps measures it." in verdict.reasons[0]
    assert add in verdict.reasons[0]


def test_a_default_need_not_be_measured():
    assert judge(simulate.evidence(production(), qa())).verdict == "GO"
    assert judge(simulate.evidence(production(), qa(), criteria={"replica_lag_growth": 0})).verdict == "GO"


def test_what_was_measured_passes_and_is_said():
    planted = production()
    planted.lag(0.2)
    planted.lines({})
    planted.readings["steps"] += [Reading(float(at_s), "database", "waiting_backends", 0.0, {}) for at_s in range(60)]
    limits = {"lock_wait_s": 1, "replica_lag_s": "2s", "replica_lag_bytes": 1e9, "log_flood_s": 3, "migration_s": 9}
    verdict = judge(simulate.evidence(planted, qa(), criteria=limits))
    assert verdict.verdict == "GO", verdict.reasons
    assert [one.passed for one in verdict.checks if one.name == "limits_measured"] == [True] * 5


def test_what_was_read_before_the_steps_alone_measures_nothing():
    planted = production()
    planted.lag(0.2)
    planted.readings["steps"] = [one for one in planted.readings["steps"] if one.at_s < 20]
    assert "limits_measured" in failed(judge(simulate.evidence(planted, criteria={"replica_lag_s": 1})))


def test_a_migration_is_a_step_of_that_kind_whatever_it_runs():
    mix = {TOKEN: (1500, 0.0), EXPORT: (300, 0.0)}
    for kind, verdict in (("command", "INCONCLUSIVE"), ("migrate", "NO_GO")):
        planted = simulate.workload(1, mix=mix)
        planted.step(20, 25, kind=kind)
        plan = {"steps": [{"name": STEP, "kind": kind, "run": "alembic upgrade head"}]}
        judged = judge(simulate.evidence(planted, plan=plan, criteria={"migration_s": 1}))
        assert judged.verdict == verdict
        assert ('kind = "migrate"' in judged.reasons[0]) == (verdict == "INCONCLUSIVE")


def test_limits_of_one_endpoint_count_too():
    table = {"endpoints": {TOKEN: {"drift_latency_share": 0.1}}, "p_value": 0.01}
    assert [limits for _, limits in measures_of(table)] == [["drift_latency_share"]]


def test_every_limit_that_a_measure_names_is_one():
    named = {
        name for measure, _ in measures_of(dict.fromkeys(Criteria.__dataclass_fields__, 1)) for name in measure.limits
    }
    assert named <= set(Criteria.__dataclass_fields__)
