"""What is noted of a plan's databases while an arm is played: real servers, real sessions."""

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from replay.evidence.run import read_run
from replay.evidence.values import Mark
from replay.judge.trust.bystanders import follows_traffic
from replay.judge.trust.databases import outside
from replay.judge.verdict import judge, judge_run
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.conductor import conduct
from replay.rehearsal.databases.arm import ArmDatabases, _read
from replay.rehearsal.databases.postgres import _GRACE_S, PostgresReading
from replay.rehearsal.databases.tables import TableCount, count_tables
from replay.rehearsal.databases.usage import Spells
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import Plan, read_plan
from replay.rehearsal.steps.prepare import prepare_steps
from replay.report.write import write_reports

from .probing import wait_for

PLAN = """
[target]
url = "http://127.0.0.1:1"
allow = ["127.0.0.1"]
[workloads.production]
capture = "x"
"""
SQL_STEP = '[[steps]]\nname = "{name}"\nkind = "{kind}"\nat = "{at}s"\nsql = "{name}.sql"\ndsn = "{dsn}"\n'
COMMAND = '[[steps]]\nname = "{name}"\nkind = "migrate"\nat = "{at}s"\nrun = "true"\n'
PROBE = '[probes.database]\nkind = "postgres"\ndsn = "{dsn}"\n'


@dataclass
class Made:
    """A plan put together, and an arm of it."""

    folder: Path
    text: str = PLAN
    sql: dict[str, str] = field(default_factory=dict)

    def sql_step(self, name: str, sql: str, dsn: str, at: int = 1, kind: str = "migrate") -> "Made":
        self.text += SQL_STEP.format(name=name, kind=kind, at=at, dsn=dsn)
        (self.folder / f"{name}.sql").write_text(sql)
        return self

    def command(self, name: str, at: int = 1) -> "Made":
        self.text += COMMAND.format(name=name, at=at)
        return self

    def probe(self, dsn: str) -> "Made":
        self.text += PROBE.format(dsn=dsn)
        return self

    @property
    def plan(self) -> Plan:
        file = self.folder / "plan.toml"
        file.write_text(self.text)
        return read_plan(file, {})

    def begin(self) -> ArmDatabases:
        plan = self.plan
        steps = prepare_steps(plan.steps, folder=self.folder, target=plan.target, environment={}, database=None)
        databases = ArmDatabases(plan, steps, quick=False)
        databases.begin()
        return databases


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


@pytest.fixture
def other(server) -> Iterator[str]:
    """Another database of the same server, with a table that nobody uses."""
    with server.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS other WITH (FORCE)")
        connection.execute("CREATE DATABASE other")
        dsn = make_conninfo(server.primary, dbname="other")
        with psycopg.connect(dsn, autocommit=True) as there:
            there.execute("CREATE TABLE token (id int PRIMARY KEY, scope text)")
            there.execute("INSERT INTO token SELECT n, 'read' FROM generate_series(1, 100) n")
        yield dsn
        connection.execute("DROP DATABASE IF EXISTS other WITH (FORCE)")


class Watched:
    """An arm under way: steps are marked, sessions come and go, and then it ends."""

    def __init__(self, databases: ArmDatabases, rest_s: float = 0.3) -> None:
        self.databases = databases
        self.clock = ArmClock(time.time() + rest_s)
        databases.start(self.clock)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.databases.mark(Mark(self.clock.now_s(), name, "migrate", "started"))
        time.sleep(0.2)
        yield
        self.databases.mark(Mark(self.clock.now_s(), name, "migrate", "ended"))
        self.looks(2)

    def looks(self, more: int = 1) -> None:
        """Wait until each database was looked at again."""
        usages = [one.usage for one in self.databases._databases if one.usage is not None]
        had = [usage.to_json()["samples"] for usage in usages]
        wait_for(
            lambda: all(usage.to_json()["samples"] >= before + more for usage, before in zip(usages, had, strict=True))
        )

    def end(self) -> list[dict[str, Any]]:
        return self.databases.end(str)


@contextlib.contextmanager
def using(dsn: str, sql: str = "SELECT scope FROM token WHERE id = 7") -> Iterator[None]:
    """An application that connects for each of its queries, so that its sessions are hardly ever seen."""
    stopping = threading.Event()

    def play() -> None:
        while not stopping.wait(0.1):
            with psycopg.connect(dsn, autocommit=True, application_name="the api") as connection:
                connection.execute(sql.encode())

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(20)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 2)), max_size=30))
def test_spells_are_the_intervals_that_were_added(looks) -> None:
    spells, at_s, total_s = Spells(), 0.0, 0.0
    for moved, length_s in looks:
        if moved:
            spells.add(at_s, at_s + length_s)
            total_s += length_s
        at_s += length_s
    found = spells.to_json()
    assert sum(to_s - from_s for from_s, to_s in found) == pytest.approx(total_s, abs=0.1)
    assert all(earlier[1] < later[0] for earlier, later in itertools.pairwise(found))


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_who_uses_which_database(made, server, other) -> None:
    made.sql_step("here", "SELECT 1", server.primary).sql_step("there", "UPDATE token SET scope = 'x'", other)
    made.probe(server.primary)
    with using(server.primary):
        watched = Watched(made.begin())
        watched.looks(3)
        with watched.step("there"), psycopg.connect(other, application_name="replay step: there") as session:
            session.execute("UPDATE token SET scope = 'x'")
        began_s = watched.clock.now_s()
        watched.looks(2)
        found = {one["name"]: one for one in watched.end()}
    here, there = found["postgres"], found["other"]
    assert (here["steps"], here["probes"]) == (["here"], ["database"])
    assert (there["steps"], there["probes"]) == (["there"], [])
    assert here["system_identifier"] == there["system_identifier"]
    assert here["oid"] != there["oid"]
    assert outside(here["seen"]["touched"], [(0.0, 1.0)])
    assert here["seen"]["written"] == []
    written = there["seen"]["written"]
    assert written
    assert there["seen"]["touched"] == written
    assert not outside(written, [(written[0][0], began_s)])
    assert there["seen"]["sessions"] == []
    assert [one["unread"] for one in found.values()] == [[], []]


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_only_what_follows_the_traffic_is_the_applications(made, server, other) -> None:
    made.sql_step("here", "SELECT 1", server.primary).sql_step("there", "SELECT 1", other)
    with using(other):  # a monitoring
        watched = Watched(made.begin(), rest_s=6.5)
        wait_for(lambda: watched.clock.now_s() > 0)
        with using(server.primary):
            watched.looks(8)
            found = {one["name"]: one["seen"]["looks"] for one in watched.end()}
    for looks in found.values():
        assert sum(to_s <= 0 for _, to_s, *_ in looks) >= 3
        assert [look[0] for look in looks[1:]] == pytest.approx([look[1] for look in looks[:-1]])
    moved = {name: [(from_s, to_s, scans) for from_s, to_s, scans, _ in looks] for name, looks in found.items()}
    assert follows_traffic(moved["postgres"]) is True
    assert follows_traffic(moved["other"]) is False


def test_two_ways_to_one_database_are_one(made, server, table) -> None:
    with server.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS watcher")
        connection.execute("CREATE ROLE watcher LOGIN")
        try:
            made.sql_step("up", f"ALTER TABLE {table} ADD COLUMN added int", server.primary)
            made.probe(make_conninfo(server.primary, user="watcher", options="-c search_path=pg_catalog"))
            (found,) = Watched(made.begin()).end()
        finally:
            connection.execute("DROP ROLE watcher")
    assert (found["steps"], found["probes"]) == (["up"], ["database"])


@pytest.mark.usefixtures("table")
def test_what_changed_is_named(made, server) -> None:
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS scopes; DROP FUNCTION IF EXISTS f")
        connection.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        made.sql_step("up", "UPDATE token SET scope = 'x' WHERE id = 1", server.primary)
        watched = Watched(made.begin())
        for statement in (
            "ALTER TABLE token ADD COLUMN added int",
            "CREATE INDEX token_scope ON token (scope)",
            "CREATE TABLE scopes (name text PRIMARY KEY)",
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
            "UPDATE token SET scope = 'x' WHERE id = 1",
        ):
            connection.execute(statement)
        (found,) = watched.end()
        connection.execute("DROP TABLE scopes; DROP FUNCTION f")
    assert found["schema"] != found["schema_after"]
    assert found["changes"] == [
        "column token.added came",
        "function f() changed",
        "index token.token_scope came",
        "table scopes came",
    ]
    (token,) = found["tables"]
    assert (token["table"], token["rows"], token["rows_after"]) == ("token", 1000, 1000)
    assert token["checksum"] != token["checksum_after"]


@pytest.mark.usefixtures("table")
def test_what_was_put_back_is_the_same(made, server) -> None:
    """Rows in another order, and a column that went and came back, are no difference."""
    with server.connect() as connection:
        made.sql_step("up", "UPDATE token SET scope = 'x'", server.primary)
        watched = Watched(made.begin())
        connection.execute("UPDATE token SET scope = 'x' WHERE id % 3 = 0")
        connection.execute("UPDATE token SET scope = 'read'")
        connection.execute("ALTER TABLE token ADD COLUMN kept text; ALTER TABLE token DROP COLUMN kept")
        connection.execute("ALTER TABLE token RENAME scope TO was; ALTER TABLE token ADD COLUMN scope text")
        connection.execute("UPDATE token SET scope = was; ALTER TABLE token DROP COLUMN was")
        (found,) = watched.end()
    assert (found["schema"], found["changes"]) == (found["schema_after"], [])
    (token,) = found["tables"]
    assert token["checksum"] == token["checksum_after"]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("statement", ["SELECT 1", "ALTER TABLE token ADD COLUMN added int", None])
def test_a_command_is_seen_by_its_session_or_by_what_it_changed(made, server, other, statement) -> None:
    made.command("tool").probe(server.primary)
    watched = Watched(made.begin())
    watched.looks()
    with watched.step("tool"):
        dsn = other if statement is None else server.primary
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute((statement or "ALTER TABLE token ADD COLUMN added int").encode())
    wait_for(lambda: all(one.usage._command is None for one in watched.databases._databases))
    (found,) = watched.end()
    told = found["seen"]["commands"]["tool"]
    assert bool(told["sessions"]) == (statement is not None)
    assert told["schema"] == ("changed" if statement and "ADD" in statement else "same")
    assert [one["table"] for one in found["tables"]] == ["token"]


def test_a_server_that_is_away_is_said(made, server) -> None:
    away = "host=127.0.0.1 port=1 user=tester password=hush-42 dbname=app"
    made.sql_step("up", "SELECT 1", away).probe(server.primary)
    databases = made.begin()
    databases.start(ArmClock.started_now())
    databases.mark(Mark(0.0, "up", "migrate", "started"))
    gone, _ = databases.end(lambda text: text.replace("hush-42", "***"))
    assert (gone["name"], gone["place"], gone["oid"]) == ("app", "127.0.0.1:1", None)
    assert (gone["schema"], gone["schema_after"], gone["seen"], gone["tables"]) == (None, None, None, [])
    assert len(gone["unread"]) == 1
    assert gone["unread"][0].startswith("before the arm: ")


def test_an_arm_that_was_given_up_is_not_looked_at_again(made, server, table) -> None:
    made.sql_step("up", f"SELECT FROM {table}", server.primary)
    databases = made.begin()
    databases.start(ArmClock.started_now())
    (found,) = databases.end(str, look=False)
    assert found["schema"] is not None
    assert found["schema_after"] is None
    assert [(one["rows"], one["rows_after"], one["uncounted"]) for one in found["tables"]] == [(1000, None, "")]


def counted_of(connection: psycopg.Connection, name: str, limit_s: float = 5.0) -> dict[str, TableCount]:
    until = time.monotonic() + limit_s
    return count_tables(PostgresReading(connection), {name}, others=False, quick=False, until=until)


def test_a_locked_table_and_the_time_are_no_reason_to_wait(server, table) -> None:
    with server.connect() as holder, server.connect() as connection:
        connection.execute("SET lock_timeout = '100ms'")
        with holder.transaction():
            holder.execute(f"LOCK TABLE {table}")
            locked = count_tables(
                PostgresReading(connection), {table}, others=False, quick=False, until=time.monotonic() + 5
            )
        late = counted_of(connection, table, limit_s=0.0)
        counted = count_tables(
            PostgresReading(connection), {table}, others=False, quick=False, until=time.monotonic() + 5
        )
        nothing = count_tables(
            PostgresReading(connection), {"elsewhere"}, others=False, quick=False, until=time.monotonic() + 5
        )
    assert "lock timeout" in locked[table].uncounted
    assert late[table].uncounted == "no time was left for it"
    assert (counted[table].rows, counted[table].uncounted) == (1000, "")
    assert nothing == {}


def test_a_server_that_says_nothing_more_is_left_alone(made, server) -> None:
    databases = made.sql_step("up", "SELECT 1", server.primary).begin()
    (database,) = databases._databases
    _read(database, "then", 0.1 - _GRACE_S, lambda reading: reading._rows("SELECT pg_sleep(60)") and None)
    (said,) = database.unread
    assert said.startswith("then: ")
    assert "statement timeout" not in said


def test_partitions_are_named_with_their_table(server) -> None:
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS visit")
        connection.execute("CREATE TABLE visit (at int) PARTITION BY RANGE (at)")
        connection.execute("CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (0) TO (10)")
        connection.execute("INSERT INTO visit SELECT generate_series(0, 9)")
        found = count_tables(
            PostgresReading(connection), {"visit"}, others=False, quick=False, until=time.monotonic() + 5
        )
        connection.execute("DROP TABLE visit")
    assert {name: one.rows for name, one in found.items()} == {"visit_1": 10}


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_step_in_another_database_proves_nothing(playable, other, elsewhere) -> None:
    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "7s"
    playable.values["steps"][0]["at"] = "3s"
    if elsewhere:
        playable.environment["OTHER_DSN"] = other
        playable.values["steps"][0]["dsn"] = "${OTHER_DSN}"
    else:
        (playable.folder / "up.sql").write_text("SELECT 1")
    conduct(check_plan(read_plan(playable.write(), playable.environment), playable.out), playable.out)
    evidence = read_run(playable.out)
    noted = evidence.rehearsal["stage"]["databases"]
    assert set(noted) == {"production-control", "production-steps"}
    verdict = judge(evidence)
    (seen,) = (check for check in verdict.checks if check.name == "steps_seen")
    assert seen.passed is not elsewhere
    if elsewhere:
        assert "'migrate' ran in the database other (127.0.0.1:" in seen.sentence
        assert verdict.verdict == "INCONCLUSIVE"
        assert any(seen.sentence in reason for reason in verdict.reasons)
        (there,) = (one for one in noted["production-steps"] if one["steps"])
        assert there["changes"] == ["column token.added came"]
    assert b"hush-hush-42" not in (playable.out / "rehearsal.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("loses", [False, True])
def test_what_a_rollback_left_is_judged_with_traffic_and_without(playable, loses) -> None:
    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "8s"
    playable.values["rehearsal"]["quiet"] = True
    playable.values["criteria"] = {"visible_share": 1.0, "unseen_steps": True}
    playable.values["target"]["reset"] = playable.program("reset", f"exec {sys.executable} put_back.py")
    (playable.folder / "put_back.py").write_text(
        "import os, psycopg\n"
        "connection = psycopg.connect(os.environ['STAGE_DSN'], autocommit=True)\n"
        "connection.execute('ALTER TABLE token DROP COLUMN IF EXISTS added; TRUNCATE token')\n"
        "connection.execute(\"INSERT INTO token SELECT n, 'read' FROM generate_series(1, 1000) n\")\n"
    )
    down = ["UPDATE token SET scope = 'read';", "ALTER TABLE token DROP COLUMN added;"]
    down += ["DELETE FROM token WHERE id > 900;"] * loses
    (playable.folder / "down.sql").write_text("\n".join(down))
    (playable.folder / "up.sql").write_text(
        "ALTER TABLE token ADD COLUMN added int; UPDATE token SET scope = 'all', added = 1 WHERE id > 500;"
    )
    playable.values["steps"] += [
        {"name": "undo", "kind": "rollback", "after": "1s", "sql": "down.sql", "dsn": "${STAGE_DSN}"}
    ]
    conduct(check_plan(read_plan(playable.write(), playable.environment), playable.out), playable.out)
    verdict = judge_run(playable.out)
    write_reports(playable.out)
    assert verdict.verdict == ("NO_GO" if loses else "GO"), verdict.reasons
    checks = {check.workload: check for check in verdict.checks if check.name == "data_after_rollback"}
    assert set(checks) == {"production", "quiet"}
    assert {check.passed for check in checks.values()} == {not loses}
    if loses:
        assert "token has 900 rows, beside 1,000 in the control" in checks["production"].sentence
        assert "token has 900 rows, and had 1,000" in checks["quiet"].sentence
