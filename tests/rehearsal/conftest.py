"""A real PostgreSQL with a streaming standby, made once for the tests of this folder."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from replay.demo.postgres import find_programs

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
        connection.execute("DROP TABLE IF EXISTS token CASCADE")
        connection.execute("CREATE TABLE token (id int PRIMARY KEY, scope text)")
        connection.execute("INSERT INTO token SELECT n, 'read' FROM generate_series(1, 1000) n")
        yield "token"
        connection.execute("DROP TABLE IF EXISTS token CASCADE")
