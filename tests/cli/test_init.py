"""A plan to start from, by flags or by asking on a terminal, that a dry run accepts once its files are there."""

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.rehearsal.plan import read_plan
from replay.rehearsal.steps.actions import Alembic, Django, Run, SqlFile
from replay.traffic import Exchange, Request, Response

SET = {"STAGE_DSN": "host=stage.test", "STAGE_REPLICA_DSN": "host=stage.test", "DB": "host=db.test"}


def capture(folder: Path, environment: str) -> None:
    with CaptureWriter(folder, environment=environment, hosts=["api.test"], scrubber=None) as writer:
        answer = Response(200, (), b"{}", 2)
        request = Request("GET", "api.test", "/")
        writer.add(Exchange(datetime(2026, 1, 5, tzinfo=UTC), 0.01, "c", "c", request, answer))


def asked(folder: Path, *answers: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """One answer a line, typed on a real terminal; more questions than answers end with what Ctrl-D is."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode() + b"\x04")
        return subprocess.run(
            [sys.executable, "-m", "replay", "init", *options],
            cwd=folder,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_plan_can_be_read(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    assert run(["init", "--out", str(plan), "--target", "http://stage.test:8000", "--sql", 'odd "name".sql']) == 0
    read = read_plan(plan, {"STAGE_DSN": "host=stage.test"})
    assert read.target.target.url == "http://stage.test:8000"
    assert read.target.allow == ("stage.test",)
    assert [workload.role for workload in read.workloads] == ["pre-production", "production"]
    assert read.steps[0].sql == tmp_path / 'odd "name".sql'
    assert read.criteria == {}


def test_without_pre_production(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    assert run(["init", "--out", str(plan), "--qa", ""]) == 0
    assert [workload.name for workload in read_plan(plan, {"STAGE_DSN": "dbname=x"}).workloads] == ["production"]


def test_nothing_is_written_over(tmp_path: Path, capsys) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("mine")
    assert run(["init", "--out", str(plan)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert plan.read_text() == "mine"
    assert run(["init", "--out", str(tmp_path / "nowhere" / "plan.toml")]) == 2
    assert run(["init", "--out", str(tmp_path / "new.toml"), "--target", "stage"]) == 2
    assert not (tmp_path / "new.toml").exists()


@pytest.mark.parametrize(
    ("options", "kind", "value"),
    [
        (["--run", "psql -f 'up now.sql'"], Run, ("psql", "-f", "up now.sql")),
        (["--alembic", "db/alembic.ini"], Alembic, "db/alembic.ini"),
        (["--django", "site/manage.py"], Django, "site/manage.py"),
    ],
)
def test_other_migrations(tmp_path: Path, options: list[str], kind: type, value: object) -> None:
    plan = tmp_path / "plan.toml"
    assert run(["init", "--out", str(plan), "--dsn", "DB", "--replica", "STAGE_REPLICA_DSN", *options]) == 0
    read = read_plan(plan, SET)
    action = read.steps[0].action
    assert isinstance(action, kind)
    match action:
        case Run(command):
            assert command.words == value
        case Alembic(order, revision, config):
            assert (order, revision, config) == ("upgrade", "head", tmp_path / str(value))
        case Django(manage):
            assert manage == tmp_path / str(value)
    assert [dsn.written for dsn in read.probes[0].dsns] == ["${DB}", "${STAGE_REPLICA_DSN}"]


def test_what_the_flags_must_not_say(tmp_path: Path, capsys) -> None:
    plan = str(tmp_path / "plan.toml")
    assert run(["init", "--out", plan, "--run", "x", "--django", "manage.py"]) == 2
    assert "A step does one thing: --run or --django" in capsys.readouterr().err
    assert run(["init", "--out", plan, "--dsn", "postgresql://u:hush-hush-42@stage/x"]) == 2
    said = capsys.readouterr().err
    assert "is not the name of an environment variable" in said
    assert "hush" not in said
    assert not Path(plan).exists()


def test_the_known_host_of_a_database_is_allowed(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("DB", "postgresql://u:hush-hush-42@db.test/x")
    monkeypatch.delenv("STAGE_REPLICA_DSN", raising=False)
    plan = tmp_path / "plan.toml"
    assert run(["init", "--out", str(plan), "--dsn", "DB", "--reset", "", "--log", "api.log"]) == 0
    assert "Next: replay rehearse" in capsys.readouterr().out
    read = read_plan(plan, SET)
    assert read.target.allow == ("127.0.0.1", "db.test")
    assert read.target.reset is None
    assert [probe.name for probe in read.probes] == ["database", "errors"]
    assert "hush" not in plan.read_text()


def test_asking_offers_what_is_there(tmp_path: Path) -> None:
    capture(tmp_path / "captures" / "a-tests", "qa")
    capture(tmp_path / "captures" / "monday", "prod")
    (tmp_path / "manage.py").write_text("")
    done = asked(tmp_path, "http://stage.test", "none", *[""] * 7)
    assert done.returncode == 0, done.stderr
    assert "found captures/a-tests (qa)" in done.stderr
    assert "found captures/monday (production)" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("Next: set STAGE_DSN, then replay rehearse plan.toml --out runs/")
    read = read_plan(tmp_path / "plan.toml", SET)
    assert (read.target.target.url, read.target.reset) == ("http://stage.test:80", None)
    assert {one.role: one.capture for one in read.workloads} == {
        "production": tmp_path / "captures/monday",
        "pre-production": tmp_path / "captures/a-tests",
    }
    assert isinstance(read.steps[0].action, Django)
    assert len(read.probes) == 1


def test_a_wrong_answer_is_asked_again_at_once(tmp_path: Path) -> None:
    (tmp_path / "captures" / "broken").mkdir(parents=True)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0007.sql").write_text("SELECT 1;")
    answers = [
        *("stage", "http://stage.test:8000"),
        *("sh 'x", "scripts/put back"),
        *("captures/broken", "none", "captures/later"),
        "none",
        *("bash", "sql"),
        *("none", "migrations", ""),
        *("postgresql://u:p@stage/x", "DB"),
        "STAGE_REPLICA_DSN",
        *("captures", "api.log"),
    ]
    done = asked(tmp_path, *answers)
    assert done.returncode == 0, done.stderr
    for said in (
        "'stage' is not a target",
        "That is no command",
        "scripts/put is not there yet",
        "A rehearsal needs one",
        "captures/later is not there yet",
        "One of sql, run, alembic, django",
        "There is no step without it",
        "migrations is a folder",
        "The name of an environment variable",
    ):
        assert said in done.stderr, said
    read = read_plan(tmp_path / "plan.toml", SET)
    assert read.target.reset is not None
    assert read.target.reset.words == ("scripts/put", "back")
    assert [workload.role for workload in read.workloads] == ["production"]
    action = read.steps[0].action
    assert isinstance(action, SqlFile)
    assert (action.file, action.dsn.written) == (tmp_path / "migrations/0007.sql", "${DB}")
    assert [dsn.written for dsn in read.probes[0].dsns] == ["${DB}", "${STAGE_REPLICA_DSN}"]
    assert "path" in read.resolved["probes"]["errors"]


def test_what_a_flag_says_is_not_asked(tmp_path: Path) -> None:
    options = ("--target", "http://stage.test", "--reset", "true", "--run", "true", "--dsn", "DB", "--qa", "")
    done = asked(tmp_path, "captures/x", "", "", options=options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("]: ") == 3
    assert "The migration" not in done.stderr
    assert isinstance(read_plan(tmp_path / "plan.toml", SET).steps[0].action, Run)


def test_on_a_terminal_with_yes_nothing_is_asked(tmp_path: Path) -> None:
    done = asked(tmp_path, options=("--yes",))
    assert done.returncode == 0
    assert ": " not in done.stderr
    read = read_plan(tmp_path / "plan.toml", SET)
    assert read.steps[0].sql == tmp_path / "migrations/0001.sql"


def test_whoever_leaves_half_way_has_no_plan(tmp_path: Path) -> None:
    done = asked(tmp_path, "http://stage.test")
    assert done.returncode == 130
    assert not (tmp_path / "plan.toml").exists()
