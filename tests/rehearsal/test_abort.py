"""Rules that end an arm before its end."""

import dataclasses
import shutil

import pytest

from replay.errors import PlanError
from replay.evidence.run import read_run
from replay.judge.verdict import judge_run
from replay.rehearsal.abort import AbortPlan, reason_to_abort
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan

from .watching import Watched


@pytest.fixture
def watched(tmp_path) -> Watched:
    return Watched(tmp_path)


def reason(watched: Watched, at_s: float, **limits) -> str:
    values = {"failures": None, "window_s": 10.0, "replica_lag_s": None, "time_s": None, "disk_bytes": 0}
    plan = AbortPlan(**(values | limits))
    return reason_to_abort(plan, watched.watch.look(at_s), watched.watch, watched.arm.path)


def test_a_share_of_failures_within_the_window(watched) -> None:
    watched.observe(1.0, "." * 30)
    assert reason(watched, 2.0, failures=0.5) == ""
    watched.observe(3.0, "x" * 20 + "u" * 10)
    assert reason(watched, 4.0, failures=0.5) == ""
    watched.observe(5.0, "x")
    assert reason(watched, 5.5, failures=0.5) == "51% of the 61 requests of the last 10 s failed, more than 50%"


def test_what_is_older_than_the_window_does_not_count(watched) -> None:
    watched.observe(1.0, "x" * 100)
    assert reason(watched, 7.0, failures=0.5, window_s=5.0) == ""
    assert reason(watched, 7.0, failures=0.5, window_s=6.0) != ""


def test_what_failed_in_the_capture_too_does_not_count(watched) -> None:
    watched.observe(1.0, "r" * 30, expected_status=404)
    assert reason(watched, 2.0, failures=0.5) == ""
    watched.observe(2.0, "r" * 100)
    assert reason(watched, 3.0, failures=0.5).startswith("77% of the 130 requests")


def test_a_few_requests_say_nothing(watched) -> None:
    watched.observe(1.0, "x" * 19)
    assert reason(watched, 2.0, failures=0.1) == ""
    watched.observe(2.0, "x")
    assert reason(watched, 3.0, failures=0.1) != ""


def test_a_replica_behind(watched) -> None:
    watched.read(1.0, "replica_lag_s", 4.9, {"replica": "a:1"})
    assert reason(watched, 2.0, replica_lag_s=5.0) == ""
    watched.read(2.0, "replica_lag_s", 7.3, {"replica": "a:1"})
    assert reason(watched, 3.0, replica_lag_s=5.0) == "a replica was 7.3 s behind, more than 5 s"


def test_time_and_disk(watched) -> None:
    assert reason(watched, 2.9, time_s=3.0) == ""
    assert reason(watched, 4.0, time_s=3.0) == "it lasted longer than 3 s"
    more = shutil.disk_usage(watched.arm.path).free + 10**10
    assert "MB left, less than" in reason(watched, 5.0, disk_bytes=more)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"failures": 1.5}, "must be a share between 0 and 1"),
        ({"failures": True}, "must be a share between 0 and 1"),
        ({"disk": "200"}, "is not a size"),
        ({"time": 5}, "is not a duration"),
        ({"lag": "5s"}, 'unknown key "lag"'),
    ],
)
def test_a_rule_that_cannot_be(setting, values, said) -> None:
    setting.values["abort"] = values
    with pytest.raises(PlanError, match=said):
        read_plan(setting.write(), setting.environment)


@pytest.mark.slow
def test_an_arm_that_only_fails_is_ended_and_judged_on_what_it_has(playable) -> None:
    """The migration takes the table away: nothing works from then on."""
    (playable.folder / "up.sql").write_text("ALTER TABLE token RENAME TO gone;")
    (playable.folder / "put_back.py").write_text(
        (playable.folder / "put_back.py").read_text()
        + "connection.execute('ALTER TABLE IF EXISTS gone RENAME TO token')\n"
    )
    playable.values["workloads.production"]["duration"] = "60s"
    playable.values["abort"] = {"failures": 0.5, "window": "3s"}
    playable.values["rehearsal"]["order"] = "listed"
    del playable.values["workloads.qa"]
    outline = check_plan(read_plan(playable.write(), playable.environment), playable.out)
    conduct(dataclasses.replace(outline, arms=outline.arms[1:]), playable.out)
    arm = read_run(playable.out).arms["production-steps"]
    assert arm.info.state == "aborted"
    assert arm.info.reason.endswith("requests of the last 3 s failed, more than 50%")
    assert arm.marks[-1].at_s < 20
    assert (arm.observations["outcome"] == "server error").sum() >= 20
    assert [check.passed for check in judge_run(playable.out).checks if check.name == "arm_complete"] == [False]


@pytest.mark.slow
def test_a_failed_step_ends_its_arm_and_the_arm_is_judged_on_what_it_has(playable) -> None:
    (playable.folder / "up.sql").write_text("ALTER TABLE token ADD COLUMN added int;\nSELECT 1/0;\n")
    playable.values["steps"][0]["on_failure"] = "abort"
    later = {"name": "undo", "kind": "rollback", "after": "1s", "sql": "up.sql", "dsn": "${STAGE_DSN}"}
    playable.values["steps"].append(later)
    playable.values["workloads.production"]["duration"] = "8s"
    del playable.values["workloads.qa"]
    outline = check_plan(read_plan(playable.write(), playable.environment), playable.out)
    conduct(outline, playable.out)
    arm = read_run(playable.out).arms["production-steps"]
    assert (arm.info.state, arm.info.reason) == ("aborted", "the step 'migrate' failed")
    failed = next(mark for mark in arm.marks if (mark.step, mark.index, mark.event) == ("migrate", 0, "failed"))
    assert failed.at_s < arm.marks[-1].at_s < failed.at_s + 3
    assert [mark.event for mark in arm.marks if mark.step == "undo"] == ["not done"]
    assert 10 < (arm.observations["outcome"] != "unsent").sum() < arm.info.planned
    verdict = judge_run(playable.out)
    assert verdict.verdict == "NO_GO"
    assert any("'migrate' failed" in reason for reason in verdict.reasons)
    assert any("it is aborted (the step 'migrate' failed)" in check.sentence for check in verdict.checks)
