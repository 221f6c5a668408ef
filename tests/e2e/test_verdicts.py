"""Rehearsals on the demonstration's Stage under its shipped captures, in arms of some seconds."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from e2e_parts import MIGRATIONS, Commands, Plan, workload

from replay.evidence.run import read_run

UNSAFE = MIGRATIONS / "unsafe"
MADE_FROM_EVIDENCE = ("verdict.json", "report.html", "summary.md", "junit.xml")


@pytest.mark.slow
def test_sql_that_fails_at_its_second_statement_is_no_go(plan: Plan, replay: Commands) -> None:
    plan.values["workloads.light"] = workload("qa", "production", "6s")
    plan.add_step(
        "add scopes",
        at="2s",
        sql="CREATE TABLE scopes (name text);\nALTER TABLE no_such_table ADD COLUMN scope text;\nDROP TABLE scopes;\n",
    )
    done = replay("rehearse", plan.write(), "--out", plan.out, "--json")
    assert done.code == 1, done.err
    assert json.loads(done.out)["verdict"] == plan.verdict["verdict"] == "NO_GO"
    (finding,) = [finding for finding in plan.verdict["findings"] if finding["metric"] == "step_failed"]
    assert finding["severity"] == "blocking"
    assert finding["evidence"]["step"] == "add scopes"
    assert finding["evidence"]["statement"] == "ALTER TABLE no_such_table ADD COLUMN scope text"
    assert "statement 2 (line 2)" in finding["evidence"]["error"]
    words = 'relation "no_such_table" does not exist'
    assert words in finding["evidence"]["error"]
    reason, grounds, *_ = plan.verdict["reasons"]
    assert grounds == "The cause is proven, which needs no repetition."
    assert words in reason
    assert "ALTER TABLE no_such_table" in reason
    marks = [(mark.index, mark.event) for mark in read_run(plan.out).arms["light-steps"].marks if mark.step]
    assert marks == [(0, "started"), (1, "started"), (1, "ended"), (2, "started"), (2, "failed"), (0, "failed")]
    page = (plan.out / "report.html").read_text()
    assert "NO GO" in page
    assert "no_such_table" in page


@pytest.mark.slow
def test_wrong_credentials_in_every_arm_prove_nothing(plan: Plan, replay: Commands) -> None:
    file = plan.folder / "clients.csv"
    with file.open(newline="") as lines:
        rows = [{**row, "client_secret": "wrong"} for row in csv.DictReader(lines)]
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, ["client", "client_secret"])
        writer.writeheader()
        writer.writerows(rows)
    plan.values["workloads.qa"] = workload("qa", "pre-production", "6s")
    plan.values["workloads.production"] = workload("production", "production", "6s")
    # The migration that breaks production when its clients can log in.
    plan.add_step("add token scopes", at="2s", sql=UNSAFE / "0042_token_scopes.sql")
    plan.add_step("roll the data back", "rollback", after="500ms", sql=UNSAFE / "rollback_data.sql")
    done = replay("rehearse", plan.write(), "--out", plan.out)
    assert done.code == 3, done.err
    assert plan.verdict["verdict"] == "INCONCLUSIVE"
    assert plan.verdict["workload_verdicts"] == {"qa": "INCONCLUSIVE", "production": "INCONCLUSIVE"}
    assert not [finding for finding in plan.verdict["findings"] if finding["severity"] != "note"]
    failed = {(check["name"], check["workload"]) for check in plan.verdict["criteria"] if not check["passed"]}
    checks = ("control_agreement", "answered_well")
    expected = {(name, workload) for name in checks for workload in ("qa", "production")}
    # An application that refuses all at its door may give its database too little to do for the steps to be seen in it.
    assert expected <= failed <= expected | {("steps_seen", "qa"), ("steps_seen", "production")}
    wrong = "does not behave like its capture", "requests were answered well"
    assert all(any(words in reason for reason in plan.verdict["reasons"]) for words in wrong)
    for workload_name in ("qa", "production"):
        outcomes = [arm["outcomes"] for arm in plan.verdict["arms"] if arm["workload"] == workload_name]
        assert outcomes[0] == outcomes[1]  # nothing differs: what proves nothing looks like a success
        assert set(outcomes[0]) == {"refused", "unsent"}
    assert "INCONCLUSIVE" in (plan.out / "report.html").read_text()


@pytest.fixture
def incident(plan: Plan) -> Plan:
    """Production's traffic alone, and the steps of the incident, while a report is being read."""
    plan.values["workloads.production"] = workload("production", "production", "12s")
    plan.add_step("add token scopes", at="4s", sql=UNSAFE / "0042_token_scopes.sql")
    plan.add_step("roll the data back", "rollback", after="1500ms", sql=UNSAFE / "rollback_data.sql")
    plan.add_step("revert the release", "revert", after="500ms", sql=UNSAFE / "revert.sql")
    return plan


@pytest.mark.slow
def test_the_unsafe_migration_is_no_go_and_the_evidence_alone_says_so(
    incident: Plan, replay: Commands, tmp_path: Path
) -> None:
    done = replay("rehearse", incident.write(), "--out", incident.out)
    assert done.code == 1, done.err
    verdict = incident.verdict
    assert verdict["verdict"] == "NO_GO"
    blocking = {finding["metric"] for finding in verdict["findings"] if finding["severity"] == "blocking"}
    assert {"lock_wait_s", "rollback_failed"} & blocking
    assert all(finding["only_in_production"] is None for finding in verdict["findings"])
    for arm in read_run(incident.out).arms.values():
        assert arm.info.state == "complete"
        assert len(arm.observations) == arm.info.planned > 500
    assert done.out.rstrip().endswith(f"Report: {incident.out / 'report.html'}")
    assert not {path.name for path in incident.out.rglob("*")} & {"clients.csv", "start", "start.ready"}

    # Elsewhere, under another name, without what was made of it.
    copy = tmp_path / "another machine" / "copied"
    shutil.copytree(incident.out, copy, ignore=shutil.ignore_patterns(*MADE_FROM_EVIDENCE))
    shutil.move(incident.folder, tmp_path / "gone")
    assert replay("judge", copy).code == 1
    assert replay("report", copy).code == 0
    for name in MADE_FROM_EVIDENCE:
        assert (copy / name).read_bytes() == (incident.out / name).read_bytes(), name


@pytest.mark.slow
def test_no_secret_of_stage_is_in_a_plan_as_it_was_resolved(plan: Plan, replay: Commands) -> None:
    plan.values["workloads.light"] = workload("qa", "production", "6s")
    done = replay("rehearse", plan.write(), "--out", plan.out, "--dry-run", "--json")
    assert done.code == 0, done.err
    resolved = json.loads(done.out)["plan"]
    assert resolved["probes"]["database"]["dsn"] == "${STAGE_DSN}"
    assert replay.environment["STAGE_DSN"] not in done.out
