"""What is asked of Stage's databases is waited for no longer than a limit."""

import socket
import socketserver
import sys
import threading
import time
from contextlib import contextmanager, suppress

import psycopg
import pytest

from replay.errors import StageError
from replay.rehearsal.databases import postgres
from replay.rehearsal.databases.fingerprint import fingerprint
from replay.rehearsal.databases.postgres import PostgresDatabase
from replay.rehearsal.probes.postgres import behind
from replay.rehearsal.sessions import limited, sever
from replay.rehearsal.steps import wait
from replay.rehearsal.steps.actions import Wait
from replay.rehearsal.table import Dsn

from .stepping import Stage


@contextmanager
def locked(server, mode: str = "ACCESS EXCLUSIVE"):
    with server.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE token IN {mode} MODE")
        yield


def test_a_session_is_cut_at_its_limit(server) -> None:
    began = time.monotonic()
    late = pytest.raises(psycopg.OperationalError, match=r"no answer within 0\.3 s")
    with late, limited(server.primary, 0.3, "a test") as session:
        session.execute("SELECT pg_sleep(20)")
    assert time.monotonic() - began < 5


def test_a_table_that_somebody_has_locked_is_named_before_an_arm(server, table, monkeypatch) -> None:
    monkeypatch.setattr(postgres, "_PATIENT", "SET LOCAL lock_timeout = '200ms'")
    with locked(server), pytest.raises(StageError, match="somebody holds a lock on one of its tables"):
        fingerprint(PostgresDatabase(server.primary))
    assert fingerprint(PostgresDatabase(server.primary)).rows[f"public.{table}"] == 1000


def test_a_table_that_takes_too_long_is_not_counted(server, table, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[fingerprint.__module__], "_COUNT_LIMIT_S", 0.05)
    monkeypatch.setattr(sys.modules[fingerprint.__module__], "_LOCK_S", 0)
    with server.connect() as connection:
        connection.execute("CREATE TABLE wide AS SELECT n FROM generate_series(1, 4000000) n")
        try:
            assert "public.wide" not in fingerprint(PostgresDatabase(server.primary)).rows
        finally:
            connection.execute("DROP TABLE wide")
    assert f"public.{table}" in fingerprint(PostgresDatabase(server.primary)).rows


class Mute(socketserver.ThreadingTCPServer):
    """A database that takes connections and never answers a question: in the way of one that would."""

    daemon_threads = True

    def __init__(self, server) -> None:
        self.behind = ("127.0.0.1", server.port)
        super().__init__(("127.0.0.1", 0), MuteHandler)

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.server_address[1]} user=tester dbname=postgres"


class MuteHandler(socketserver.BaseRequestHandler):
    server: Mute

    def handle(self) -> None:
        with socket.create_connection(self.server.behind) as behind:
            threading.Thread(target=self.pass_back, args=(behind,), daemon=True).start()
            with suppress(OSError):
                while said := self.request.recv(1 << 16):
                    if said[:1] not in {b"Q", b"P"}:
                        behind.sendall(said)
            sever(behind.fileno())

    def pass_back(self, behind: socket.socket) -> None:
        with suppress(OSError):
            while said := behind.recv(1 << 16):
                self.request.sendall(said)


@pytest.fixture
def mute(server):
    with Mute(server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.slow
def test_a_step_ends_at_its_limit_whatever_its_server_does(tmp_path, mute) -> None:
    stage = Stage(tmp_path, mute.dsn)
    stage.step("SELECT 1", timeout_s=0.5)
    assert stage.play(20)[-1].event == "failed"


def test_a_database_that_answers_nothing_has_not_recovered(tmp_path, mute, api, monkeypatch) -> None:
    monkeypatch.setattr(wait, "_ANSWER_S", 0.3)
    stage = Stage(tmp_path, mute.dsn, api.url)
    stage.step(action=Wait(None), kind="wait", timeout_s=1.0)
    assert "no answer within" in stage.play(10)[-1].error


def test_replicas_of_a_database_that_answers_nothing_are_behind(server, mute, monkeypatch) -> None:
    monkeypatch.setattr(behind, "_ANSWER_S", 0.3)
    assert "no answer within 0.3 s" in behind.tell_behind(Dsn(mute.dsn, ""), Dsn(server.replica, ""))
