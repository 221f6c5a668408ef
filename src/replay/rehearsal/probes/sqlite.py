"""Watches an SQLite database while an arm is played: is it locked, since when, and how large is its write-ahead log.

It takes no lock itself, so it never makes the application wait or fail: the system is asked who holds one (F_GETLK)
where SQLite keeps its locks, bytes of the file that hold no data, or of the index beside a write-ahead log.
"""

import contextlib
import fcntl
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from replay.errors import InputError
from replay.rehearsal.probes.plan import Probe, ProbePlan, Setting, read_interval_s
from replay.rehearsal.probes.readings import Readings, Sampler
from replay.rehearsal.table import Table

_SHORTEST_S = 0.1
_FLOCK = "hhqqi0q"  # of 64-bit Linux: type, whence, start, length, process
_MAGIC = b"SQLite format 3\0"
_WAL = 2  # the version in the header of a file with a write-ahead log
# The database file: a writer reserves, waits for readers to leave, and has the file for itself.
_PENDING, _RESERVED, _SHARED, _SHARED_LENGTH = 0x40000000, 0x40000001, 0x40000002, 510
# The index of a write-ahead log.
_WRITES, _RECOVERS = 120, 122
_INDEX_HEADER = 48
_CHANGES = slice(24, 28)  # in the database's header: a number that each transaction changes


@dataclass(frozen=True, slots=True)
class SqliteProbePlan(ProbePlan):
    """The locks of a database file."""

    path: Path
    interval_s: float

    @property
    def reads(self) -> frozenset[str]:
        """Nothing that criteria limit."""
        return frozenset()

    def check(self) -> None:
        """The file may come later, its folder not. Raises InputError."""
        if sys.platform != "linux":
            raise InputError("The locks of an SQLite database can be watched on Linux only.")
        if not self.path.parent.is_dir():
            raise InputError(f"The database {self.path} cannot be: its folder is not there.")

    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""
        looking = _Looking(self, setting)
        return Sampler(f"probe {self.name}", self.interval_s, looking.sample, looking.end)


def read_sqlite(name: str, table: Table) -> SqliteProbePlan:
    """Read the table of such a probe: ``path``, ``interval``. Raises PlanError."""
    path = table.path("path")
    if path is None:
        raise table.error("path", "is missing", "It names the database file.")
    return SqliteProbePlan(name, path, read_interval_s(table, "200ms", _SHORTEST_S))


@dataclass(frozen=True, slots=True)
class Look:
    """A database at one moment. Whoever keeps others from writing or reading is a process id, None where nobody does.

    ``changes`` differs after each transaction that changed something.
    """

    wal: bool
    changes: bytes
    wal_bytes: int
    writer: int | None
    keeper: int | None


class _Watched:
    """A file that is opened anew where another has taken its place.

    It is not closed between two looks: closing would take away the locks that this very process has on the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def open(self) -> int | None:
        """The file's descriptor, None where there is no file. Raises OSError."""
        try:
            there = os.stat(self._path)  # noqa: PTH116 - the path is one that SQLite makes: a text
        except FileNotFoundError:
            self.close()
            return None
        if self._file is not None:
            ours = os.fstat(self._file)
            if (ours.st_ino, ours.st_dev) != (there.st_ino, there.st_dev):
                self.close()
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


class Database:
    """The files of a database. Looking at them takes no lock."""

    def __init__(self, path: Path) -> None:
        real = os.path.realpath(path)  # SQLite puts its other files beside the file itself, not beside a link
        self._path = path
        self._wal = f"{real}-wal"
        self._file = _Watched(real)
        self._index = _Watched(f"{real}-shm")

    def look(self) -> Look:
        """One look. Raises OSError, and ValueError where the file is no database."""
        file = self._file.open()
        if file is None:
            raise FileNotFoundError(f"there is no file {self._path}")
        header = os.pread(file, 100, 0)
        if header and not header.startswith(_MAGIC):  # an empty file is a database without anything
            raise ValueError(f"{self._path} is not an SQLite database")
        wal = len(header) > 19 and header[19] == _WAL
        alone = _first(_holder(file, _PENDING), _holder(file, _SHARED, _SHARED_LENGTH))
        index = self._index.open() if wal else None
        if index is None:
            return Look(wal, header[_CHANGES], self._wal_bytes(), _first(_holder(file, _RESERVED), alone), alone)
        alone = _first(alone, _holder(index, _RECOVERS))
        changes = os.pread(index, _INDEX_HEADER, 0)
        return Look(wal, changes, self._wal_bytes(), _first(_holder(index, _WRITES), alone), alone)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._index.close()

    def _wal_bytes(self) -> int:
        try:
            return Path(self._wal).stat().st_size
        except FileNotFoundError:
            return 0


def _holder(file: int, start: int, length: int = 1) -> int | None:
    """The process that keeps these bytes from being locked for reading, None where none does."""
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
    kind, _, _, _, process = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else process


def _first(*holders: int | None) -> int | None:
    """The first who holds. A process that this one may not see has the number 0."""
    return next((one for one in holders if one is not None), None)


class Since:
    """Since when one and the same process holds a lock, over the same content."""

    def __init__(self) -> None:
        self._holder: tuple[int, bytes] | None = None
        self._since_s = 0.0

    def held_s(self, at_s: float, process: int | None, changes: bytes) -> float:
        """How long it has been so. Whoever has changed the content in between has let go in between."""
        holder = None if process is None else (process, changes)
        if holder != self._holder:
            self._holder, self._since_s = holder, at_s
        return 0.0 if holder is None else at_s - self._since_s


class _Looking:
    """Looks at one database file."""

    def __init__(self, plan: SqliteProbePlan, setting: Setting) -> None:
        self._database = Database(plan.path)
        self._readings = Readings(plan.name, setting.clock, setting.readings(plan.name))
        self._writing, self._keeping = Since(), Since()
        self._changes = b""

    def sample(self) -> None:
        """One look."""
        try:
            look = self._database.look()
        except (OSError, ValueError) as error:
            self._readings.failed(str(error))
            return
        at_s = self._readings.now_s
        # Without a write-ahead log, a writer that has the file for itself changes it before it lets go.
        if look.wal or look.keeper is None:
            self._changes = look.changes
        mode = "wal" if look.wal else "rollback"
        for metric, process, since in (
            ("sqlite_write_locked_s", look.writer, self._writing),
            ("sqlite_read_locked_s", look.keeper, self._keeping),
        ):
            detail: dict[str, object] = {"journal_mode": mode}
            if process is not None:
                detail["holder"] = _named(process)
            self._readings.add(metric, since.held_s(at_s, process, self._changes), detail, at_s)
        self._readings.add("sqlite_wal_bytes", float(look.wal_bytes), at_s=at_s)

    def end(self) -> None:
        """Close all."""
        self._database.close()
        self._readings.close()


def _named(process: int) -> dict[str, object]:
    """A process, with the name of its program as far as that is to be seen."""
    named: dict[str, object] = {"pid": process}
    with contextlib.suppress(psutil.Error, ValueError):
        named["program"] = psutil.Process(process).name()
    return named
