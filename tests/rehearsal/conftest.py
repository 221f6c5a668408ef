"""A real PostgreSQL with a streaming standby, made once for the tests of this folder, and a small Stage over it."""

import getpass
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from replay.capture.store import CaptureWriter
from replay.demo.postgres import find_programs
from replay.traffic import Exchange, Request, Response

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "replica",
}


@dataclass(frozen=True)
class Server:
    primary: str
    replica: str
    port: int

    def connect(self, application: str = "a test") -> psycopg.Connection:
        return psycopg.connect(self.primary, autocommit=True, application_name=application)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    bin_folder = find_programs()
    folder = Path(tempfile.mkdtemp(prefix="replay-test-"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    account = pwd.getpwnam(user)
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    if identity:
        os.chown(folder, account.pw_uid, account.pw_gid)

    def run(*words: object) -> None:
        subprocess.run(
            [str(bin_folder / str(words[0])), *map(str, words[1:])],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=60,
            **identity,
        )

    ports = free_port(), free_port()
    first, second = folder / "primary", folder / "standby"
    settings = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in SETTINGS.items())
    started = []
    try:
        run("initdb", "-D", first, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        run("pg_ctl", "start", "-w", "-D", first, "-l", folder / "1.log", "-o", f"{settings} -p {ports[0]}")
        started.append(first)
        run("pg_basebackup", "-h", "127.0.0.1", "-p", ports[0], "-U", "tester", "-D", second, "-R", "-c", "fast", "-N")
        run("pg_ctl", "start", "-w", "-D", second, "-l", folder / "2.log", "-o", f"{settings} -p {ports[1]}")
        started.append(second)
        dsn = "host=127.0.0.1 port={} user=tester dbname=postgres"
        yield Server(dsn.format(ports[0]), dsn.format(ports[1]), ports[0])
    finally:
        for data in reversed(started):
            run("pg_ctl", "stop", "-D", data, "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    """A table of a thousand rows."""
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS token, gone CASCADE")  # gone: what a migration of a test calls it
        connection.execute("CREATE TABLE token (id int PRIMARY KEY, scope text)")
        connection.execute("INSERT INTO token SELECT n, 'read' FROM generate_series(1, 1000) n")
        yield "token"
        connection.execute("DROP TABLE IF EXISTS token CASCADE")


def make_capture(path: Path, *, environment: str, host: str, requests: int = 60, seconds: float = 4.0) -> Path:
    """A capture of clients that read tokens, each on a connection of its own."""
    start = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    body = b'{"id":1,"scope":"read"}'
    with CaptureWriter(path, environment=environment, hosts=[host], scrubber=None) as writer:
        for number in range(requests):
            client = f"client-{number % 5}"
            request = Request("GET", host, f"/tokens/{number + 1}", headers=(("user-agent", client),))
            response = Response(200, (("content-type", "application/json"),), body, len(body))
            at = start + timedelta(seconds=number * seconds / requests)
            writer.add(Exchange(at, 0.01, client, client, request, response))
    return path


class Api(ThreadingHTTPServer):
    """A very small API over the real table, so that a lock on it is felt. Counts what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, dsn: str) -> None:
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.dsn = dsn
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_GET(self) -> None:
        kind, _, number = self.path.strip("/").partition("/")
        self.server.asked[kind] += 1
        if kind == "health":
            self.answer(200, b'{"ok":true}')
            return
        try:
            with psycopg.connect(self.server.dsn, autocommit=True, application_name="the api") as connection:
                query = "SELECT scope FROM token WHERE id = %s /*route='GET /tokens/{id}'*/"
                row = connection.execute(query, (int(number),)).fetchone()
        except psycopg.Error:
            self.answer(500, b"")
            return
        self.answer(200, json.dumps({"id": int(number), "scope": row[0] if row else None}).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(server: Server, table: str) -> Iterator[Api]:
    assert table
    with Api(server.primary) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


@dataclass
class Setting:
    """A folder with captures, a migration, a reset that leaves a mark, and a plan over them."""

    folder: Path
    values: dict[str, Any]
    environment: dict[str, str]

    @property
    def plan(self) -> Path:
        return self.folder / "plan.toml"

    @property
    def out(self) -> Path:
        return self.folder / "runs" / "first"

    @property
    def was_reset(self) -> int:
        marker = self.folder / "was-reset"
        return len(marker.read_text().splitlines()) if marker.exists() else 0

    def program(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return f"./{name}"

    def write(self) -> Path:
        lines = [f"[{name}]\n{_table(table)}" for name, table in self.values.items() if name != "steps"]
        lines += [f"[[steps]]\n{_table(step)}" for step in self.values.get("steps", [])]
        self.plan.write_text("\n".join(lines))
        return self.plan


def _table(values: dict[str, Any]) -> str:
    # JSON's values are TOML's too, as long as they are flat.
    return "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items())


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Plan and files that need no server until something is played."""
    make_capture(tmp_path / "production", environment="production", host="api.example.test:443")
    make_capture(tmp_path / "qa", environment="qa", host="qa.example.test", requests=20)
    (tmp_path / "up.sql").write_text("ALTER TABLE token ADD COLUMN added int;\nUPDATE token SET added = 1;\n")
    (tmp_path / "error.log").write_text("")
    made = Setting(tmp_path, {}, {"STAGE_DSN": "host=127.0.0.1 port=1 user=tester password=hush-hush-42"})
    reset = made.program("reset", 'echo reset >> was-reset; psql "$STAGE_DSN" -c "x" || true')
    made.values |= {
        "rehearsal": {"name": "small", "order": "listed"},
        "target": {"url": "http://127.0.0.1:1", "allow": ["127.0.0.1"], "ready": "GET /health", "reset": reset},
        "workloads.production": {"capture": "production", "role": "production", "duration": "4s"},
        "workloads.qa": {"capture": "qa", "role": "pre-production", "duration": "4s"},
        "probes.database": {"kind": "postgres", "dsn": "${STAGE_DSN}", "replicas": ["${STAGE_DSN}"]},
        "probes.errors": {"kind": "log", "path": "error.log"},
        "criteria": {"lock_wait_s": 2.5},
        "steps": [{"name": "migrate", "kind": "migrate", "at": "1.5s", "sql": "up.sql", "dsn": "${STAGE_DSN}"}],
    }
    return made


@pytest.fixture
def playable(setting: Setting, api: Api, server: Server) -> Setting:
    """The same over a running Stage, put back by dropping what the migration adds."""
    # A made-up password, which a server that trusts everybody ignores.
    setting.environment["STAGE_DSN"] = f"{server.primary} password=hush-hush-42"
    setting.environment["STAGE_REPLICA_DSN"] = f"{server.replica} password=hush-hush-42"
    put_back = setting.folder / "put_back.py"
    put_back.write_text(
        "import psycopg\n"
        f"connection = psycopg.connect({server.primary!r}, autocommit=True)\n"
        "connection.execute('ALTER TABLE token DROP COLUMN IF EXISTS added')\n"
    )
    reset = setting.program("reset", f"echo reset >> was-reset; exec {sys.executable} put_back.py")
    setting.values["target"] |= {"url": api.url, "reset": reset}
    setting.values["probes.database"]["replicas"] = ["${STAGE_REPLICA_DSN}"]
    return setting
