"""PostgreSQL servers of the versions that are installed here, each made for the tests of one file."""

import contextlib
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from replay.demo.postgres import find_programs

_OURS = "of the demonstration"
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Cluster:
    """A server without a replica."""

    primary: str
    version: int

    def connect(self, application: str = "a test") -> psycopg.Connection:
        return psycopg.connect(self.primary, autocommit=True, application_name=application)


def installed() -> dict[str, Path | None]:
    """The folders of programs: the demonstration's PostgreSQL, and Debian's, or None in their place.

    Further ones are in ``REPLAY_TEST_POSTGRES``, parted as a PATH is: ``/opt/pg12/bin:/opt/pg17/bin``.
    """
    others = {f"Debian's {folder.parent.name}": folder for folder in sorted(_DEBIAN.glob("*/bin"))}
    given = {folder: Path(folder) for folder in os.environ.get("REPLAY_TEST_POSTGRES", "").split(":") if folder}
    return {_OURS: find_programs(), **(others or {"Debian's": None}), **given}


@contextlib.contextmanager
def running(programs: Path, settings: Mapping[str, str]) -> Iterator[Cluster]:
    """A new server, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="replay-test-"))
    # PostgreSQL refuses to run as root.
    root = os.geteuid() == 0
    account = pwd.getpwnam("nobody" if root else getpass.getuser())
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if root else {}
    if root:
        os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*words: str) -> None:
        subprocess.run(
            [str(programs / words[0]), *words[1:]],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=60,
            **identity,
        )

    data, started = str(folder / "data"), False
    given = {
        "fsync": "off",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "port": str(port),
        "max_connections": "60",
        "shared_buffers": "64MB",
        **settings,
    }
    try:
        run("initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in given.items())
        run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", options)
        started = True
        dsn = f"host=127.0.0.1 port={port} user=tester dbname=postgres"
        with psycopg.connect(dsn) as connection:
            version = connection.info.server_version
        yield Cluster(dsn, version)
    finally:
        if started:
            run("pg_ctl", "stop", "-D", data, "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)
