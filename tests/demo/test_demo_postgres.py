import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from replay.demo import postgres
from replay.demo.postgres import Postgres, find_programs
from replay.demo.reset import reset
from replay.demo.stage import Stage
from replay.errors import StageError


def test_another_postgresql_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.2 (Somewhere 1)'\n")
    (tmp_path / "postgres").chmod(0o755)
    monkeypatch.setenv("REPLAY_POSTGRES_BIN", str(tmp_path))
    assert find_programs() == tmp_path


def test_an_old_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.9'\n")
    (tmp_path / "postgres").chmod(0o755)
    monkeypatch.setenv("REPLAY_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(StageError, match="too old"):
        find_programs()


def test_a_folder_without_programs_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLAY_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(StageError, match="does not run"):
        find_programs()


def test_without_the_wheel_the_path_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 17.1'\n")
    (tmp_path / "postgres").chmod(0o755)
    monkeypatch.delenv("REPLAY_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(postgres.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_programs() == tmp_path
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(StageError, match="no PostgreSQL"):
        find_programs()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_closes_its_folder_and_all_goes_at_the_end(tmp_path: Path) -> None:
    """The data and the programs lie where the other user can reach them, and nothing of them stays."""
    tmp_path.chmod(0o700)
    with Postgres(tmp_path) as server:
        server.start_primary()
        home = server._home
        assert not home.is_relative_to(tmp_path)
        with psycopg.connect(server.dsn("postgres")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not home.exists()
    assert (tmp_path / "primary.log").is_file()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_SETTINGS", "no_such_setting = on\n")
    with Postgres(tmp_path) as server, pytest.raises(StageError, match="no_such_setting"):
        server.start_primary()


def test_the_password_is_needed(stage: Stage) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(stage.dsn, password="wrong")


def test_the_standby_follows_and_is_read_only(stage: Stage, database: psycopg.Connection) -> None:
    database.execute("INSERT INTO attendees (name, email) VALUES ('Follower', 'follower@example.test')")
    with psycopg.connect(stage.replica_dsn, autocommit=True) as replica:
        deadline = time.monotonic() + 20
        while not replica.execute("SELECT FROM attendees WHERE name = 'Follower'").rowcount:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            replica.execute("DELETE FROM attendees")


def test_a_reset_puts_everything_back(fresh_stage: Stage) -> None:
    stage = fresh_stage
    with psycopg.connect(stage.dsn, autocommit=True) as busy:
        before = busy.execute("SELECT count(*), max(id) FROM registrations").fetchone()
        busy.execute("DELETE FROM check_ins")
        busy.execute("DELETE FROM registrations")
        busy.execute("ALTER TABLE access_tokens ADD COLUMN scope text")
        # Somebody is still connected, as the API is.
        environment = {**os.environ, **stage.environment}
        subprocess.run(shlex.split(stage.environment["STAGE_RESET"]), env=environment, check=True, timeout=60)
    for dsn in (stage.dsn, stage.replica_dsn):
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT count(*), max(id) FROM registrations").fetchone() == before
            assert not connection.execute("SELECT FROM pg_attribute WHERE attname = 'scope'").rowcount


def test_a_reset_says_what_it_lacks() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "STAGE_DSN"}
    done = subprocess.run(
        [sys.executable, "-m", "replay.demo.reset"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "STAGE_DSN" in done.stderr


def test_a_reset_of_nothing_is_an_error() -> None:
    with pytest.raises(StageError, match="cannot be put back"):
        reset("host=127.0.0.1 port=1 user=nobody dbname=events connect_timeout=3")
