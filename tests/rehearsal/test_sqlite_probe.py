"""The probe beside real SQLite databases that other processes lock, with and without a write-ahead log."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from replay.errors import InputError, PlanError
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.probes.sqlite import Database, Since, SqliteProbePlan, read_sqlite
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Surroundings, Table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="F_GETLK is asked in Linux's words")

# Runs the statements that it is given, one a line, and says what came of each.
PLAYER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
for line in sys.stdin:
    try:
        connection.execute(line).fetchall()
        print("done", flush=True)
    except sqlite3.OperationalError as error:
        print(error, flush=True)
"""


class Player:
    """Another process with a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLAYER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def try_to(self, statement: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{statement}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def run(self, *statements: str) -> None:
        for statement in statements:
            assert self.try_to(statement) == "done"

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(params=["delete", "wal"])
def mode(request) -> str:
    return request.param


@pytest.fixture
def path(tmp_path, mode) -> Path:
    file = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE token (id integer PRIMARY KEY, scope text)")
        connection.executemany("INSERT INTO token VALUES (?, 'read')", [(number,) for number in range(2000)])
        connection.commit()
    return file


@pytest.fixture
def player(path) -> Iterator[Callable[[], Player]]:
    made: list[Player] = []

    def make() -> Player:
        made.append(Player(path))
        made[-1].run("SELECT count(*) FROM token")
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def database(path) -> Iterator[Database]:
    with contextlib.closing(Database(path)) as one:
        yield one


def test_who_writes_is_seen_and_readers_may_read(database, player, mode) -> None:
    writer, reader = player(), player()
    look = database.look()
    assert (look.wal, look.writer, look.keeper) == (mode == "wal", None, None)
    writer.run("BEGIN IMMEDIATE", "UPDATE token SET scope = 'a' WHERE id = 1")
    look = database.look()
    assert (look.writer, look.keeper) == (writer.process.pid, None)
    assert reader.try_to("BEGIN IMMEDIATE") == "database is locked"
    reader.run("SELECT count(*) FROM token")
    before = look.changes
    writer.run("COMMIT")
    look = database.look()
    assert (look.writer, look.keeper) == (None, None)
    assert look.changes != before
    reader.run("BEGIN", "SELECT count(*) FROM token")
    assert database.look().writer is None, "who only reads keeps nobody from writing"


@pytest.mark.parametrize("mode", ["delete"], indirect=True)
def test_a_writer_that_waits_for_readers_keeps_new_ones_out(database, player) -> None:
    writer, reader, other = player(), player(), player()
    reader.run("BEGIN", "SELECT count(*) FROM token")
    writer.run("BEGIN", "UPDATE token SET scope = 'a'")
    assert writer.try_to("COMMIT") == "database is locked"
    assert other.try_to("SELECT count(*) FROM token") == "database is locked"
    look = database.look()
    assert (look.writer, look.keeper) == (writer.process.pid, writer.process.pid)
    reader.run("ROLLBACK")
    writer.run("COMMIT")
    assert database.look().keeper is None


@pytest.mark.parametrize("mode", ["delete"], indirect=True)
def test_who_has_the_file_for_himself_keeps_all_out(database, player) -> None:
    owner, other = player(), player()
    owner.run("BEGIN EXCLUSIVE")
    assert other.try_to("SELECT count(*) FROM token") == "database is locked"
    look = database.look()
    assert (look.writer, look.keeper) == (owner.process.pid, owner.process.pid)


@pytest.mark.parametrize("mode", ["wal"], indirect=True)
def test_a_log_of_one_process_alone_keeps_all_out(database, path) -> None:
    owner, other = Player(path), Player(path)
    try:
        owner.run("PRAGMA locking_mode = EXCLUSIVE", "UPDATE token SET scope = 'a'")
        assert other.try_to("SELECT count(*) FROM token") == "database is locked"
        assert database.look().keeper == owner.process.pid
    finally:
        owner.end()
        other.end()


def test_looking_disturbs_nobody(database, player) -> None:
    writer = player()
    for _ in range(100):
        database.look()
        writer.run("BEGIN EXCLUSIVE", "UPDATE token SET scope = scope || 'n' WHERE id = 1")
        database.look()
        writer.run("COMMIT")


class Probed:
    def __init__(self, folder: Path, path: Path) -> None:
        self.arm = ArmFolder(folder / "arm")
        self.arm.create()
        plan = SqliteProbePlan("store", path, 0.05)
        plan.check()
        setting = Setting(ArmClock.started_now(), readings=self.arm.readings, log=self.arm.log, scrub=Scrubber({}, []))
        self.probe = plan.open(setting)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.probe.start()
        try:
            yield
        finally:
            self.probe.stop()

    def readings(self, metric: str) -> pd.DataFrame:
        files = sorted((self.arm.path / "readings").glob("*.parquet"))
        frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
        frame["detail"] = frame["detail"].map(json.loads)
        return frame[frame["metric"] == metric]


def test_how_long_it_was_locked(tmp_path, path, player, mode) -> None:
    writer = player()
    probed = Probed(tmp_path, path)
    with probed.running():
        time.sleep(0.3)
        writer.run("BEGIN IMMEDIATE")
        time.sleep(1.0)
        writer.run("UPDATE token SET scope = 'a'", "COMMIT")
        time.sleep(0.3)
    locked = probed.readings("sqlite_write_locked_s")
    assert locked["value"].max() > 0.5
    assert locked["value"].iloc[0] == 0
    assert locked["value"].iloc[-1] == 0
    longest = locked.loc[locked["value"].idxmax(), "detail"]
    assert longest["holder"]["pid"] == writer.process.pid
    assert longest["holder"]["program"].startswith("python")
    assert longest["journal_mode"] == ("wal" if mode == "wal" else "rollback")
    assert (probed.readings("sqlite_wal_bytes")["value"].max() > 0) == (mode == "wal")
    assert probed.readings("probe_failed").empty


def test_many_short_transactions_are_no_long_lock(database, player) -> None:
    writer, since = player(), Since()
    held_s = []
    for at_s in range(5):
        writer.run("BEGIN IMMEDIATE", "UPDATE token SET scope = scope || 'n' WHERE id = 1")
        look = database.look()
        held_s += [since.held_s(moment, look.writer, look.changes) for moment in (at_s, at_s + 0.5)]
        writer.run("COMMIT")
    assert held_s == [0, 0.5] * 5, "whoever commits lets go"


def test_a_database_that_is_put_back_is_followed(tmp_path, path, player) -> None:
    player()
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    with contextlib.closing(Database(path)) as database:
        assert database.look().writer is None
        for beside in path.parent.glob("shop.db-*"):
            beside.unlink()
        copy.replace(path)
        writer = player()
        writer.run("BEGIN IMMEDIATE", "UPDATE token SET scope = 'a'")
        assert database.look().writer == writer.process.pid


def test_what_is_no_database_is_said(tmp_path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to have a header" * 5)
    for name, error in (("text.db", "is not an SQLite database"), ("none.db", "there is no file")):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        probed = Probed(folder, tmp_path / name)
        with probed.running():
            time.sleep(0.1)
        assert error in probed.readings("probe_failed")["detail"].iloc[0]["error"]


def test_an_empty_file_and_a_link_are_databases(tmp_path) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "empty.db")
    with contextlib.closing(Database(tmp_path / "link.db")) as database:
        assert database.look().writer is None
        owner = Player(tmp_path / "empty.db")
        owner.run("PRAGMA journal_mode = WAL", "CREATE TABLE token (id int)", "BEGIN IMMEDIATE")
        look = database.look()
        assert (look.wal, look.writer) == (True, owner.process.pid)
        assert look.wal_bytes == os.stat(tmp_path / "empty.db-wal").st_size > 0  # noqa: PTH116
        owner.end()


def test_the_plan(tmp_path) -> None:
    table = Table("[probes.store]", {"kind": "sqlite", "path": "var/shop.db"}, Surroundings(tmp_path / "plan.toml", {}))
    plan = read_probe("store", table)
    assert plan == SqliteProbePlan("store", tmp_path / "var" / "shop.db", 0.2)
    with pytest.raises(InputError, match="folder"):
        plan.check()
    with pytest.raises(PlanError, match="path"):
        read_probe("store", Table("[probes.store]", {"kind": "sqlite"}, Surroundings(tmp_path / "plan.toml", {})))


@pytest.mark.parametrize(
    ("interval", "said"),
    [("1ms", "must be 100ms or longer"), ("99ms", "must be 100ms"), ("2h", "must be 1h or shorter")],
)
def test_an_interval_that_cannot_be(tmp_path: Path, interval: str, said: str) -> None:
    table = Table("[probes.store]", {"path": "app.db", "interval": interval}, Surroundings(tmp_path / "plan.toml", {}))
    with pytest.raises(PlanError, match=said):
        read_sqlite("store", table)
