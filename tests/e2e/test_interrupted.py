"""Ctrl-C in the midst of it: what was seen is kept, nothing runs on, and it is no verdict."""

import psutil
import psycopg
import pytest
from e2e_parts import Commands, Plan, wait_until, workload

from replay.demo.stage import Stage
from replay.evidence.run import read_run


def sessions(stage: Stage) -> int:
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'replay%'"
        return int(connection.execute(query).fetchall()[0][0])


@pytest.mark.slow
def test_a_rehearsal_that_is_interrupted_while_its_migration_runs(plan: Plan, stage: Stage, replay: Commands) -> None:
    plan.values["workloads.light"] = workload("qa", "production", "6s")
    plan.add_step("add scopes", at="1s", sql="CREATE TABLE scopes (name text);\nSELECT pg_sleep(100);\n")
    plan.add_step("never", at="2s", sql="SELECT 1;\n")
    running = replay.start("rehearse", plan.write(), "--out", plan.out, "--json")
    arm = plan.out / "arms" / "light-steps"
    wait_until(lambda: len(list((arm / "observations").glob("*.parquet"))) >= 3, 120)
    children = psutil.Process(running.process.pid).children(recursive=True)
    assert children
    assert sessions(stage) >= 2  # the step's and the probe's

    running.press_ctrl_c()
    done = running.wait(60)
    assert done.code == 130, done.err
    assert done.said("Error: The rehearsal was interrupted.")
    assert done.said(f"What was seen until then is in {plan.out}.")
    assert not done.out
    psutil.wait_procs(children, timeout=15)
    assert not [child for child in children if child.is_running()]
    wait_until(lambda: not running.processes, 15)
    wait_until(lambda: sessions(stage) == 0, 15)

    assert plan.record["state"] == "interrupted"
    assert not (plan.out / "verdict.json").exists()
    arms = read_run(plan.out).arms
    assert {name: arm.info.state for name, arm in arms.items()} == {
        "light-control": "complete",
        "light-steps": "interrupted",
    }
    assert len(arms["light-control"].observations) == arms["light-control"].info.planned
    assert len(arms["light-steps"].observations) > 10
    assert not any(arm.damaged for arm in arms.values())

    assert replay("judge", plan.out).code == 3
    assert plan.verdict["verdict"] == "INCONCLUSIVE"
    assert any("interrupted" in reason for reason in plan.verdict["reasons"])
    assert replay("report", plan.out).code == 0
    assert "INCONCLUSIVE" in (plan.out / "report.html").read_text()


@pytest.mark.slow
def test_a_killed_rehearsal_is_no_verdict_either(plan: Plan, stage: Stage, replay: Commands) -> None:
    plan.values["workloads.light"] = workload("qa", "production", "20s")
    plan.add_step("wait", at="1s", sql="SELECT pg_sleep(1);\n")
    running = replay.start("rehearse", plan.write(), "--out", plan.out)
    arm = plan.out / "arms" / "light-control"
    wait_until(lambda: len(list((arm / "observations").glob("*.parquet"))) >= 2, 60)
    running.process.kill()
    assert running.wait(10).code == -9
    wait_until(lambda: not running.processes, 30)
    wait_until(lambda: sessions(stage) == 0, 15)
    assert plan.record["state"] == "running"
    assert replay("judge", plan.out).code == 3
    assert plan.verdict["verdict"] == "INCONCLUSIVE"
    assert replay("report", plan.out).code == 0


@pytest.mark.slow
def test_a_demonstration_that_is_interrupted_takes_its_stage_along(plan: Plan, replay: Commands) -> None:
    running = replay.start("demo", "--out", plan.out)
    wait_until(lambda: list(plan.out.glob("arms/qa-control/observations/*.parquet")), 120)
    names = {process.name() for process in running.processes}
    assert "postgres" in names
    running.press_ctrl_c()
    done = running.wait(60)
    assert done.code == 130, done.err
    assert done.said("Error: The rehearsal was interrupted.")
    wait_until(lambda: not running.processes, 15)
    assert plan.record["state"] == "interrupted"
