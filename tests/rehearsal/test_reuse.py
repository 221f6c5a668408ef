"""Controls of an earlier rehearsal that serve again."""

import json
from pathlib import Path

import pytest

from replay.errors import InputError
from replay.evidence.run import read_run
from replay.judge.verdict import judge_run
from replay.rehearsal.conductor import check_earlier, conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.scenario.locustfile import build_scenario


def rehearse(playable, out: Path, *, controls_of: Path | None = None):
    plan = read_plan(playable.write(), playable.environment)
    conduct(check_plan(plan, out), out, controls_of=controls_of)
    return read_run(out)


@pytest.fixture
def earlier(playable) -> Path:
    """A whole rehearsal of short arms; the plan has another migration since."""
    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "3s"
    rehearse(playable, playable.out)
    playable.values["steps"][0] |= {"name": "second try", "at": "1s"}
    (playable.folder / "up.sql").write_text("ALTER TABLE token ADD COLUMN added int;")
    return playable.out


@pytest.fixture
def out(playable) -> Path:
    return playable.folder / "runs" / "second"


@pytest.mark.slow
def test_they_are_not_played_again(playable, api, earlier, out) -> None:
    asked = api.asked["tokens"]
    plan = check_plan(read_plan(playable.write(), playable.environment), out)
    assert check_earlier(plan, out, resume=False, controls_of=earlier).there == {"production-control"}
    run = rehearse(playable, out, controls_of=earlier)
    assert list(run.arms) == ["production-control", "production-steps"]
    assert api.asked["tokens"] - asked == run.arms["production-steps"].info.planned
    before = read_run(earlier).arms["production-control"]
    assert run.arms["production-control"].observations.equals(before.observations)
    assert run.rehearsal["reused"]["production-control"]["run"] == "first"
    assert any("was not played again: the run first of " in warning for warning in run.rehearsal["warnings"])
    checks = {check.name: check.passed for check in judge_run(out).checks}
    assert checks["stage_the_same"]
    assert checks["run_complete"]
    assert checks["same_schedule"]


@pytest.mark.slow
def test_another_stage_plays_them_after_all(playable, server, earlier, out) -> None:
    with server.connect() as connection:
        connection.execute("INSERT INTO token VALUES (-1, 'another')")
    run = rehearse(playable, out, controls_of=earlier)
    before = read_run(earlier).arms["production-control"]
    assert not run.arms["production-control"].observations.equals(before.observations)
    assert run.arms["production-control"].info.state == "complete"
    assert run.rehearsal["reused"] == {}
    assert run.rehearsal["stage"]["differences"] == {}
    assert len(set(run.rehearsal["stage"]["fingerprints"].values())) == 1
    assert any("production-control had to be played again" in warning for warning in run.rehearsal["warnings"])


@pytest.mark.slow
def test_what_is_another_rehearsal_is_refused(playable, earlier, out) -> None:
    playable.values["workloads.production"]["speed"] = 2.0
    with pytest.raises(InputError, match=r"its plan has another workloads\.production\.speed"):
        rehearse(playable, out, controls_of=earlier)
    playable.values["workloads.production"]["speed"] = 1.0
    record = json.loads((earlier / "rehearsal.json").read_text())
    (earlier / "rehearsal.json").write_text(json.dumps(record | {"replay_version": "0.0.0"}))
    with pytest.raises(InputError, match="another version of replay"):
        rehearse(playable, out, controls_of=earlier)
    (earlier / "rehearsal.json").write_text(json.dumps(record | {"stage": {}}))
    with pytest.raises(InputError, match="nothing tells whether Stage is the same"):
        rehearse(playable, out, controls_of=earlier)
    with pytest.raises(InputError, match="no rehearsal in"):
        rehearse(playable, out, controls_of=playable.folder)
    assert not out.exists()


@pytest.mark.slow
def test_controls_of_another_locustfile_are_refused(playable, out) -> None:
    del playable.values["workloads.qa"]
    own = build_scenario(playable.folder / "production", playable.folder / "own.py").path
    workload = playable.values["workloads.production"]
    del workload["capture"]
    workload |= {"locustfile": "own.py", "duration": "3s"}
    rehearse(playable, playable.out)
    rehearse(playable, out, controls_of=playable.out)
    own.write_text(f"{own.read_text()}\n# asks something else now\n")
    with pytest.raises(InputError, match="its captures are others, or what is sent of them"):
        rehearse(playable, playable.folder / "runs" / "third", controls_of=playable.out)


@pytest.mark.slow
def test_killed_before_they_were_copied_they_are_played(playable, earlier, out, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("replay.rehearsal.conductor.take_over", killed)
        with pytest.raises(SystemExit):
            rehearse(playable, out, controls_of=earlier)
    assert json.loads((out / "rehearsal.json").read_text())["reused"]
    plan = read_plan(playable.write(), playable.environment)
    conduct(check_plan(plan, out, resume=True), out, resume=True)
    run = read_run(out)
    assert run.rehearsal["reused"] == {}
    before = read_run(earlier).arms["production-control"]
    assert not run.arms["production-control"].observations.equals(before.observations)
    assert set(run.rehearsal["stage"]["fingerprints"]) == {"production-control", "production-steps"}
