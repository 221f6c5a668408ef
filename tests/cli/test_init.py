"""A plan to start from, by flags or by asking on a terminal, that a dry run accepts once its files are there."""

import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from replay.capture.pseudonyms import fresh_key
from replay.capture.scrub import Scrubber
from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.rehearsal.plan import read_plan
from replay.rehearsal.steps.actions import Alembic, Django, Run, SqlFile
from replay.traffic import Exchange, Request, Response

SET = {"STAGE_DSN": "host=stage.test", "STAGE_REPLICA_DSN": "host=stage.test", "DB": "host=db.test"}


def capture(folder: Path, environment: str, *, credentials: bool = False) -> None:
    scrubber = Scrubber(fresh_key()) if credentials else None
    with CaptureWriter(folder, environment=environment, hosts=["api.test"], scrubber=scrubber) as writer:
        answer = Response(200, (), b"{}", 2)
        headers = (("Authorization", "Bearer made-up-Zk3vQ9xTn2Lw8RbY"),) if credentials else ()
        request = Request("GET", "api.test", "/", headers=headers)
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
    done = asked(tmp_path, "http://stage.test", "none", *[""] * 8)
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
        *("sh 'x", "./migrations", "migrations", "./migrations/0007.sql", "scripts/put back"),
        *("captures/broken", "none", "captures/later"),
        "none",
        *("captures", "none"),
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
        "./migrations is a folder",
        "./migrations/0007.sql cannot be executed",
        "scripts/put is not there yet",
        "captures/broken cannot be taken",
        "captures/broken has no capture.json",
        "A rehearsal needs one",
        "captures/later is not there yet",
        "One of sql, run, alembic, django",
        "There is no step without it",
        "migrations is a folder",
        "not the name of an environment variable",
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
    done = asked(tmp_path, "captures/x", "", "", "", options=options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("]: ") == 4
    assert "The migration" not in done.stderr
    assert isinstance(read_plan(tmp_path / "plan.toml", SET).steps[0].action, Run)


def test_on_a_terminal_with_yes_nothing_is_asked(tmp_path: Path) -> None:
    done = asked(tmp_path, options=("--yes",))
    assert done.returncode == 0
    assert "]: " not in done.stderr
    read = read_plan(tmp_path / "plan.toml", SET)
    assert read.steps[0].sql == tmp_path / "migrations/0001.sql"


def test_whoever_leaves_half_way_has_no_plan(tmp_path: Path) -> None:
    done = asked(tmp_path, "http://stage.test")
    assert done.returncode == 130
    assert not (tmp_path / "plan.toml").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--production", "empty"], "--production: .*has no capture.json"),
        (["--qa", "empty"], "--qa: .*has no capture.json"),
        (["--run", "psql -f 'up.sql"], "--run: That is no command: No closing quotation"),
        (["--run", ""], "--run: There is no step without it"),
        (["--reset", "./empty"], "--reset: ./empty is a folder"),
        (["--reset", "empty"], "--reset: empty is a folder"),
        (["--reset", "./plain.sh"], "--reset: ./plain.sh cannot be executed"),
        (["--sql", "empty"], "--sql: empty is a folder"),
        (["--identities", "empty"], "--identities: empty is a folder"),
        (["--target", "http://api-prod-1.test"], "--target: .*looks like production"),
        (["--target", "http://PROD.test:8000/v1"], "--target: .*looks like production"),
        (["--target", "stage.test:8000"], "--target: .*is not a target"),
        (["--target", "http://[::1"], "--target: .*is not a URL"),
    ],
)
def test_a_wrong_option_is_an_error(tmp_path: Path, options: list[str], said: str, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain.sh").write_text("true")
    assert run(["init", "--out", str(tmp_path / "plan.toml"), "--yes", *options]) == 2
    assert re.search(said, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "plan.toml").exists()


def test_the_host_of_production_is_no_stage(tmp_path: Path, capsys) -> None:
    capture(tmp_path / "monday", "production")
    options = ["--out", str(tmp_path / "plan.toml"), "--production", "monday"]
    assert run(["init", *options, "--target", "http://api.test"]) == 2
    assert "is the host of a production capture" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "plan.toml").exists()
    assert run(["init", *options, "--target", "http://stage.test"]) == 0


def test_what_is_not_there_yet_is_said_and_written(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("STAGE_DSN", raising=False)
    options = ("--sql", "later.sql", "--production", "captures/later", "--identities", "secrets/later.csv")
    assert run(["init", "--out", str(tmp_path / "plan.toml"), *options]) == 0
    said = capsys.readouterr()
    for path in ("later.sql", "captures/later", "secrets/later.csv", "scripts/reset-stage"):
        assert f"Note: {path} is not there yet." in said.err
    following = said.out.splitlines()[-1]
    assert following.startswith(
        "Next: set STAGE_DSN, write scripts/reset-stage (it puts Stage back), write secrets/later"
    )
    read = read_plan(tmp_path / "plan.toml", SET)
    assert [workload.identities for workload in read.workloads] == [tmp_path / "secrets/later.csv"] * 2


def test_next_names_only_what_is_still_to_be_done(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("STAGE_DSN", "host=stage.test")
    for name in ("scripts", "secrets"):
        (tmp_path / name).mkdir()
    (tmp_path / "scripts" / "reset-stage").write_text("#!/bin/sh\n")
    (tmp_path / "scripts" / "reset-stage").chmod(0o700)
    (tmp_path / "secrets" / "clients.csv").write_text("client\n")
    options = ("--out", str(tmp_path / "plan.toml"), "--identities", "secrets/clients.csv")
    assert run(["init", *options]) == 0
    assert "Next: replay rehearse" in capsys.readouterr().out


def test_identities_are_offered_where_a_capture_had_credentials(tmp_path: Path) -> None:
    capture(tmp_path / "captures" / "monday", "production", credentials=True)
    done = asked(tmp_path, "http://stage.test", "none", *[""] * 8)
    assert done.returncode == 0, done.stderr
    assert "[secrets/clients.csv]: " in done.stderr
    assert "write secrets/clients.csv (Stage's credentials" in done.stdout
    (workload,) = read_plan(tmp_path / "plan.toml", SET).workloads
    assert workload.identities == tmp_path / "secrets/clients.csv"
    (tmp_path / "plan.toml").unlink()
    done = asked(tmp_path, options=("--yes",))
    production = asked(tmp_path, options=("--yes", "--out", "two.toml", "--production", "captures/monday"))
    assert "name the identities" not in done.stdout, "nobody knows of a capture that is not there"
    assert "name the identities in the plan" in production.stdout
