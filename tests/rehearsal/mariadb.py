"""A real MariaDB for the tests of a probe: its own data, port and socket, ended by its process id."""

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from pymysql.cursors import DictCursor

from .conftest import free_port

PASSWORD = "hush-42"
_SEEN_BY = "GRANT PROCESS, BINLOG MONITOR, SLAVE MONITOR ON *.* TO watcher@'%'"


class MariaDB:
    """One server. ``start`` and ``stop`` may follow each other."""

    def __init__(self, folder: Path, number: int, *options: str) -> None:
        self.folder = folder / f"server-{number}"
        self.port = free_port()
        self._options = (f"--server-id={number}", *options)
        self._process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        self.folder.mkdir()
        if os.geteuid() == 0:
            account = pwd.getpwnam(_user())
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        program = shutil.which("mariadb-install-db") or "mariadb-install-db"
        subprocess.run(
            [
                program,
                "--no-defaults",
                f"--user={_user()}",
                f"--datadir={self.folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _program(),
                    "--no-defaults",
                    f"--user={_user()}",
                    f"--datadir={self.folder / 'data'}",
                    f"--socket={self.folder / 'socket'}",
                    f"--pid-file={self.folder / 'pid'}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-buffer-pool-size=16M",
                    "--max-connections=30",
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
            except pymysql.MySQLError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < until, "MariaDB does not answer"
                time.sleep(0.05)
            else:
                return

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
        self._process = None

    def connect(self, application: str = "a test", database: str | None = None) -> "pymysql.Connection[DictCursor]":
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            autocommit=True,
            connect_timeout=5,
            read_timeout=60,
            program_name=application,
            cursorclass=DictCursor,
        )

    def run(self, *statements: str) -> list[dict]:
        """The rows of the last of the statements."""
        with contextlib.closing(self.connect()) as connection:
            return [send(connection, statement) for statement in statements][-1]

    def dsn(self, user: str = "watcher", password: str = PASSWORD) -> str:
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/shop"


def send(connection: "pymysql.Connection[DictCursor]", statement: str) -> list[dict]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


@contextlib.contextmanager
def servers(*options: tuple[str, ...]) -> Iterator[list[MariaDB]]:
    """Servers with these options, each with a shop of a thousand tokens and a user who may see what there is."""
    if _program() == "":
        pytest.skip("there is no mariadbd on this machine")
    folder = Path(tempfile.mkdtemp(prefix="replay-mariadb-"))
    folder.chmod(0o755)
    made = [MariaDB(folder, number, *those) for number, those in enumerate(options, 1)]
    try:
        for server in made:
            server.install()
            server.start()
            # A replica that played these as well would stumble: they are left out of the log.
            with contextlib.closing(server.connect()) as connection:
                for statement in (
                    "SET SESSION sql_log_bin = 0",
                    f"CREATE USER watcher@'%' IDENTIFIED BY '{PASSWORD}'",
                    _SEEN_BY,
                    "GRANT SELECT ON performance_schema.* TO watcher@'%'",
                    "CREATE DATABASE shop",
                    "GRANT SELECT ON shop.* TO watcher@'%'",
                    "CREATE TABLE shop.token (id int PRIMARY KEY, scope varchar(200)) ENGINE = InnoDB",
                    "INSERT INTO shop.token SELECT seq, 'read' FROM shop.seq_1_to_1000",
                ):
                    send(connection, statement)
        yield made
    finally:
        for server in reversed(made):
            server.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _program() -> str:
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""


def _user() -> str:
    """MariaDB refuses to run as root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    try:
        return pwd.getpwnam("mysql").pw_name
    except KeyError:
        return "nobody"
