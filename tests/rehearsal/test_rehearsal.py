"""Whole rehearsals of a small Stage: a real API over a real PostgreSQL, real locust, real Ctrl-C."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from replay.cli.display import Display
from replay.errors import Interrupted, StageError
from replay.evidence.run import read_run
from replay.judge.verdict import judge_run
from replay.rehearsal.conductor import conduct
from replay.rehearsal.observer import Observer
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.report.write import write_reports

SECRET = b"hush-hush-42"


def outline(setting):
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


def files_with(secret: bytes, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and secret in file.read_bytes()]


def waiting(server) -> int:
    with server.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return connection.execute(query).fetchone()[0]


def wait_for(condition, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


@pytest.mark.slow
def test_four_arms_and_their_evidence(playable, api, server) -> None:
    playable.values["target"]["warm"] = playable.program("warm", "wc -l < was-reset >> was-warm")
    checked = outline(playable)

    def hold_the_table() -> None:
        """A long reader, in every arm that has steps: the migration must wait, and the API behind it."""
        with server.connect("the export") as connection, contextlib.suppress(psycopg.Error):
            for name in ("qa-steps", "production-steps"):
                wait_for(lambda name=name: (playable.out / "arms" / name / "marks.jsonl").exists(), 120)
                with connection.transaction():
                    connection.execute("SELECT count(*) FROM token /*route='GET /exports/{id}'*/")
                    wait_for(lambda: waiting(server) >= 2)
                    time.sleep(1.0)

    holder = threading.Thread(target=hold_the_table, daemon=True)
    holder.start()
    with (playable.folder / "said").open("w") as said:
        conduct(checked, playable.out, Display(Console(file=said, width=200)))
    holder.join(30)
    evidence = read_run(playable.out)
    record = evidence.rehearsal
    assert (record["state"], record["reason"]) == ("complete", "")
    assert list(evidence.arms) == record["order"]
    assert playable.was_reset == 4
    assert (playable.folder / "was-warm").read_text().split() == ["1", "2", "3", "4"]
    assert len(set(record["stage"]["fingerprints"].values())) == 1
    assert record["stage"]["database version"].startswith("PostgreSQL ")
    assert record["captures"]["production"]["environment"] == "production"
    assert record["migrations"][0]["file"] == "up.sql"
    assert set(evidence.workloads) == {"qa", "production"}
    for name, arm in evidence.arms.items():
        assert arm.info.state == "complete"
        assert arm.info.steps == name.endswith("-steps")
        assert len(arm.observations) == arm.info.planned
        assert arm.damaged == ()
        assert (arm.observations["outcome"] == "ok").all()
        assert arm.marks[0].kind == arm.marks[-1].kind == "arm"
        assert arm.readings[arm.readings["metric"] == "probe_failed"].empty
        assert set(arm.readings["metric"]) >= {"connections", "replica_lag_s", "replica_lag_bytes", "log_lines"}
        assert [mark.event for mark in arm.marks if mark.step] == ["started", "ended"] * 3 * arm.info.steps or (
            [mark.index for mark in arm.marks if mark.step] == [0, 1, 1, 2, 2, 0]
        )
    waits = evidence.arms["production-steps"].readings
    waits = waits[waits["metric"] == "lock_wait_s"]
    assert waits["value"].max() > 0.5
    details = [json.loads(detail) for detail in waits["detail"]]
    behind = [detail for detail in details if detail["waiting"]["application"] == "the api"]
    assert behind
    assert {detail["waiting"]["endpoint"] for detail in behind} == {"GET /tokens/{id}"}
    assert {link["step"] or link["application"] for detail in behind for link in detail["blocked_by"]} == {
        "migrate",
        "the export",
    }
    assert api.asked["tokens"] == sum(arm.info.planned for arm in evidence.arms.values())
    assert files_with(SECRET, playable.out) == []
    lines = (playable.folder / "said").read_text().splitlines()
    assert any("[4/4] production-steps: playing" in line for line in lines)
    for name, arm in evidence.arms.items():
        assert f"{name}: complete ({arm.info.planned} of {arm.info.planned} requests)" in lines
    assert len(lines) < 60


@pytest.mark.slow
def test_controls_and_repetitions_are_played_and_judged(playable) -> None:
    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "3s"
    playable.values["rehearsal"]["controls"] = 2
    playable.values["steps"][0]["at"] = ["1s", "2s"]
    conduct(outline(playable), playable.out)
    evidence = read_run(playable.out)
    assert set(evidence.arms) == {f"production-{kind}" for kind in ("control", "control-2", "steps", "steps-2")}
    begun = {
        name: [mark.at_s for mark in arm.marks if mark.step == "migrate" and not mark.index][:1]
        for name, arm in evidence.arms.items()
    }
    assert begun["production-control"] == begun["production-control-2"] == []
    assert [round(begun[name][0]) for name in ("production-steps", "production-steps-2")] == [1, 2]
    verdict = judge_run(playable.out)
    passed = {check.name for check in verdict.checks if check.passed}
    assert {"run_complete", "stage_the_same", "same_schedule", "steps_finished", "arms_present"} <= passed
    assert {row["arm"] for row in verdict.facts["endpoints"]} == {"production-steps", "production-steps-2"}
    write_reports(playable.out)
    report = (playable.out / "report.html").read_text()
    assert "production met the steps 2 times" in report


@pytest.mark.slow
def test_a_quiet_arm_has_steps_and_readings_and_no_traffic(playable) -> None:
    for name in ("workloads.qa", "workloads.production"):
        playable.values[name]["duration"] = "2s"
    playable.values["rehearsal"] |= {"order": "shuffled", "quiet": True}
    conduct(outline(playable), playable.out)
    quiet = read_run(playable.out).arms["quiet-steps"]
    assert (quiet.info.state, quiet.info.role, quiet.info.steps) == ("complete", "quiet", True)
    assert quiet.info.planned == len(quiet.observations) == 0
    assert [mark.event for mark in quiet.marks if mark.step] == ["started"] * 2 + ["ended", "started"] + ["ended"] * 2
    assert set(quiet.readings["metric"]) >= {"connections", "replica_lag_s"}
    assert playable.was_reset == 5
    verdict = judge_run(playable.out)
    assert set(verdict.workload_verdicts) == {"production", "qa"}
    assert [row["step"] for row in verdict.facts["steps"] if row["arm"] == "quiet-steps"] == ["migrate"]
    page = write_reports(playable.out).read_text()
    assert re.search(
        r"In a maintenance window, without any traffic, the steps took [^;]*, and all of them succeeded[;.]", page
    )


@pytest.mark.slow
def test_a_step_that_fails_without_traffic_is_a_no(playable) -> None:
    (playable.folder / "up.sql").write_text("SELECT 1 / 0;\n")
    for name in ("workloads.qa", "workloads.production"):
        playable.values[name]["duration"] = "2s"
    playable.values["rehearsal"]["quiet"] = True
    conduct(outline(playable), playable.out)
    verdict = judge_run(playable.out)
    quiet = next(finding for finding in verdict.findings if finding.arm == "quiet-steps")
    assert (quiet.metric, quiet.severity, quiet.only_in_production) == ("step_failed", "blocking", None)
    assert "failed without any traffic at 'SELECT 1 / 0'" in quiet.explanation


class Pressing(Observer):
    """Presses Ctrl-C when a step has ended, and says whether a rollback is wanted."""

    def __init__(self, *, rolls_back: bool) -> None:
        self._rolls_back = rolls_back
        self.asked: list[str] = []

    def mark(self, _arm, mark) -> None:
        if (mark.kind, mark.event, mark.index) == ("migrate", "ended", 0):
            os.kill(os.getpid(), signal.SIGINT)

    def wants(self, _arm, rollback) -> bool:
        self.asked.append(rollback.plan.name)
        return self._rolls_back


@pytest.mark.slow
@pytest.mark.parametrize("rolls_back", [True, False])
def test_ctrl_c_offers_the_rollback(playable, server, api, rolls_back) -> None:
    (playable.folder / "down.sql").write_text("ALTER TABLE token DROP COLUMN added;")
    playable.values["workloads.production"]["duration"] = "60s"
    del playable.values["workloads.qa"]
    rollback = {"name": "back", "kind": "rollback", "at": "50s", "sql": "down.sql", "dsn": "${STAGE_DSN}"}
    playable.values["steps"].append(rollback)
    checked = outline(playable)
    pressing = Pressing(rolls_back=rolls_back)
    with pytest.raises(Interrupted):
        conduct(dataclasses.replace(checked, arms=checked.arms[1:]), playable.out, pressing)
    arm = read_run(playable.out).arms["production-steps"]
    assert pressing.asked == ["back"]
    assert arm.info.state == "interrupted"
    marks = [(mark.event, mark.error) for mark in arm.marks if mark.step == "back" and not mark.index]
    assert marks == [("not done", "interrupted"), *([("started", ""), ("ended", "")] if rolls_back else [])]
    assert (playable.out / "arms" / "production-steps" / "steps" / "02.log").exists() == rolls_back
    with server.connect() as connection:
        query = "SELECT FROM information_schema.columns WHERE table_name = 'token' AND column_name = 'added'"
        assert connection.execute(query).rowcount == (not rolls_back)
    assert api.asked["tokens"] < 100


@pytest.mark.slow
def test_rehearse_from_the_command_line(playable) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "replay", "rehearse", playable.write(), "--out", playable.out, "--json"],
        env={**os.environ, **playable.environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    document = json.loads(done.stdout)
    assert done.returncode == {"GO": 0, "NO_GO": 1, "INCONCLUSIVE": 3}[document["verdict"]]
    assert json.loads((playable.out / "verdict.json").read_text())["verdict"] == document["verdict"]
    assert Path(document["report"]) == playable.out / "report.html"
    assert files_with(SECRET, playable.out) == []
    assert "hush" not in done.stdout + done.stderr


def test_a_reset_that_fails(playable) -> None:
    playable.values["target"]["reset"] = playable.program("broken", "echo no template $STAGE_DSN; exit 7")
    with pytest.raises(StageError, match="exit code 7: no template") as failed:
        conduct(outline(playable), playable.out)
    assert failed.value.exit_code == 4
    record = json.loads((playable.out / "rehearsal.json").read_text())
    assert record["state"] == "failed"
    assert "exit code 7" in record["reason"]


def test_a_reset_that_hangs(playable) -> None:
    playable.values["target"] |= {"reset": "sleep 60", "reset_timeout": "500ms"}
    with pytest.raises(StageError, match="ended at its limit"):
        conduct(outline(playable), playable.out)


def test_a_stage_that_does_not_answer(playable) -> None:
    playable.values["target"] |= {"url": "http://127.0.0.1:1", "ready_timeout": "500ms"}
    with pytest.raises(StageError, match=r"did not answer GET /health within 0\.5 s"):
        conduct(outline(playable), playable.out)
    assert read_run(playable.out).rehearsal["state"] == "failed"


def test_a_database_that_does_not_answer(playable) -> None:
    playable.environment["STAGE_DSN"] = "host=127.0.0.1 port=1 user=x password=hush-hush-42"
    with pytest.raises(StageError, match="of which nobody knows whether it is production"):
        conduct(outline(playable), playable.out)
    assert files_with(SECRET, playable.out) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_from_outside(playable, server, how) -> None:
    """Whatever ends it, nothing runs on, and what was seen is kept."""
    (playable.folder / "up.sql").write_text("SELECT 1;\nSELECT pg_sleep(100);\n")
    playable.values["steps"].append(
        {"name": "never", "kind": "command", "at": "2s", "run": "sleep 100"},
    )
    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "60s"
    process = subprocess.Popen(
        [sys.executable, "-m", "replay", "rehearse", playable.write(), "--out", playable.out],
        env={**os.environ, **playable.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    arm = playable.out / "arms" / "production-control"
    try:
        wait_for(lambda: len(list((arm / "observations").glob("*.parquet"))) >= 2)
        assert children_with(str(arm))
    finally:
        process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)
    wait_for(lambda: not children_with(str(arm)), 30)
    evidence = read_run(playable.out)
    assert len(evidence.arms["production-control"].observations) > 10
    state = "running" if how == signal.SIGKILL else "interrupted"
    assert evidence.rehearsal["state"] == evidence.arms["production-control"].info.state == state
    if how != signal.SIGKILL:
        assert "was interrupted" in said
        assert "Traceback" not in said

    def sessions() -> int:
        with server.connect() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'replay%'"
            return connection.execute(query).fetchone()[0]

    wait_for(lambda: sessions() == 0, 15)


@pytest.mark.slow
def test_a_killed_conductor_leaves_no_step_behind(playable) -> None:
    """The step's statement and the step's command end by themselves."""
    (playable.folder / "up.sql").write_text("SELECT pg_sleep(100);\n")
    playable.values["steps"][0] |= {"at": "0s", "timeout": "1s"}
    alive = playable.folder / "alive"
    loop = f"while :; do date +%s%N > {alive}; sleep 0.1; done"
    playable.values["steps"].append({"name": "loop", "kind": "command", "after": "0s", "run": f'sh -c "{loop}"'})
    del playable.values["workloads.qa"]
    del playable.values["target"]["reset"]
    playable.values["workloads.production"]["duration"] = "3s"
    process = subprocess.Popen(
        [sys.executable, "-m", "replay", "rehearse", playable.write(), "--out", playable.out],
        env={**os.environ, **playable.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(alive.exists)
    finally:
        process.kill()
        process.wait(30)

    def stands_still() -> bool:
        before = alive.read_text()
        time.sleep(0.5)
        return before == alive.read_text()

    wait_for(stands_still, 20)


def children_with(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
