"""Eight ways in which a migration and an application meet: the probe and the judge name who waits for whom, and why."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from replay.judge.probes.locks import Queue

from .probing import STEP, STEP_SESSION, Scene, wait_for, waiting

API = "the api"
# Keeps a statement at work while it holds its lock, as a large table would: only where a session asks for it.
_SLOW = """
CREATE OR REPLACE FUNCTION slowly(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF pg_catalog.current_setting('test.pause', true) <> '' THEN
        PERFORM pg_catalog.pg_sleep(pg_catalog.current_setting('test.pause', true)::float8);
    END IF;
    RETURN n;
END $$
"""


@pytest.fixture
def scene(tmp_path, server, table) -> Iterator[Scene]:
    assert table
    with server.connect() as connection:
        connection.execute(_SLOW)
    yield Scene(tmp_path, server)
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS session_of, token CASCADE; DROP FUNCTION slowly CASCADE")


def step_in(detail: dict[str, Any]) -> dict[str, Any]:
    return next(link for link in detail["blocked_by"] if link["step"] == STEP)


def named(scene: Scene, statement: str, *endpoints: str) -> Queue:
    """The judge's queue behind a statement, with the endpoints that waited."""
    found = {queue.statement: queue for queue in scene.probed.queues()}
    assert statement in found, list(found)
    assert set(found[statement].endpoints) == set(endpoints)
    assert found[statement].step == STEP
    return found[statement]


def test_a_long_report_before_an_alter(scene: Scene) -> None:
    with scene.playing():
        scene.asks("GET /reports", "BEGIN; SELECT count(*), pg_sleep(3) FROM token", "the reports")
        wait_for(lambda: running_in(scene, "the reports"))
        scene.step("ALTER TABLE token ADD COLUMN b int")
        wait_for(lambda: waiting(scene.server) == 1)
        scene.asks("POST /oauth/token", "SELECT scope FROM token WHERE id = 1")
        scene.saw(API)
    alter, report = scene.longest_chain(API)["blocked_by"]
    assert (alter["query"], alter["holds"], alter["awaits"]) == (
        "ALTER TABLE token ADD COLUMN b int",
        None,
        "AccessExclusiveLock",
    )
    assert (report["state"], report["holds"], report["awaits"]) == ("active", "AccessShareLock", None)
    assert report["endpoint"] == "GET /reports"
    queue = named(scene, "ALTER TABLE token ADD COLUMN b int", "POST /oauth/token")
    assert queue.held_up_by[0] == "GET /reports"
    assert "count(*)" in queue.held_up_by[1]
    assert queue.own_wait_s > 0


def test_a_session_that_is_idle_in_a_transaction_before_an_alter(scene: Scene) -> None:
    with scene.playing(), scene.server.connect("the export") as export, export.transaction():
        export.execute("SELECT scope FROM token WHERE id = 7 /*route='GET%20%2Fexport',key='hush-42'*/")
        scene.step("ALTER TABLE token ADD COLUMN b int")
        wait_for(lambda: waiting(scene.server) == 1)
        scene.asks("POST /oauth/token", "UPDATE token SET scope = 'x' WHERE id = 1")
        scene.asks("GET /me", "SELECT scope FROM token WHERE id = 2", "the pages")
        scene.saw(API, "the pages")
    root = scene.longest_chain(API)["blocked_by"][-1]
    assert (root["state"], root["application"]) == ("idle in transaction", "the export")
    queue = named(scene, "ALTER TABLE token ADD COLUMN b int", "POST /oauth/token", "GET /me")
    assert queue.held_up_by[0] == "GET /export"
    assert "hush" not in queue.held_up_by[1]
    assert queue.queued == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "asked", "wanted", "held"),
    [
        ("VACUUM FULL token", "SELECT scope FROM token WHERE id = 1", "AccessShareLock", "AccessExclusiveLock"),
        (
            "CREATE INDEX late ON token (slowly(id))",
            "UPDATE token SET scope = 'x' WHERE id = 1",
            "RowExclusiveLock",
            "ShareLock",
        ),
    ],
    ids=["VACUUM FULL", "CREATE INDEX against writes"],
)
def test_a_statement_that_works_while_it_holds_its_lock(
    scene: Scene, statement: str, asked: str, wanted: str, held: str
) -> None:
    if statement.startswith("VACUUM"):
        with scene.server.connect() as connection:
            connection.execute("CREATE INDEX slow ON token (slowly(id))")
    with scene.playing():
        scene.step("SET test.pause = '0.004'", statement)
        wait_for(lambda: holds(scene, held))
        scene.asks("POST /oauth/token", asked)
        scene.saw(API)
    detail = scene.longest_chain(API)
    assert (detail["waiting"]["relation"], detail["waiting"]["lock_mode"]) == ("token", wanted)
    assert detail["waiting"]["lock"] == "relation token"
    (link,) = detail["blocked_by"]
    assert (link["query"], link["holds"], link["awaits"]) == (statement, held, None)
    assert link["taken"]["query"] == statement
    assert named(scene, statement, "POST /oauth/token").held_up_by == ("", ""), "it held the lock itself"


def test_row_locks_on_a_hot_key(scene: Scene) -> None:
    update = "UPDATE token SET scope = 'moved' WHERE id = 1"
    with scene.playing():
        scene.step("BEGIN", update, "SELECT pg_sleep(3)", "COMMIT")
        wait_for(lambda: running_in(scene, STEP_SESSION, "SELECT pg_sleep%"))
        scene.asks("POST /oauth/token", "UPDATE token SET scope = 'a' WHERE id = 1")
        wait_for(lambda: waiting(scene.server) == 1)
        scene.asks("DELETE /oauth/token", "DELETE FROM token WHERE id = 1", "the jobs")
        scene.saw(API, "the jobs")
    first, second = scene.longest_chain(API), scene.longest_chain("the jobs")
    assert first["waiting"]["lock"] == second["waiting"]["lock"] == "row of token"
    assert [link["application"] for link in first["blocked_by"]] == [STEP_SESSION]
    assert [link["application"] for link in second["blocked_by"]] == [API, STEP_SESSION], "one after the other"
    link = step_in(second)
    assert (link["query"], link["state"]) == ("SELECT pg_sleep(3)", "active")
    assert not link["taken"]["certain"], "which of several statements locked the row is not to be seen"
    queue = named(scene, update, "POST /oauth/token", "DELETE /oauth/token")
    assert "SELECT pg_sleep(3)" in queue.running
    assert update not in {one.statement for one in scene.probed.queues(marks=False)}, "what ran meanwhile"


def test_a_foreign_key_that_is_added_on_a_busy_parent(scene: Scene) -> None:
    with scene.server.connect() as connection:
        connection.execute("CREATE TABLE session_of (token int)")
    statement = "ALTER TABLE session_of ADD FOREIGN KEY (token) REFERENCES token"
    with scene.playing(), scene.server.connect("the jobs") as job, job.transaction():
        job.execute("UPDATE token SET scope = 'x' WHERE id = 5 /*route='PUT%20%2Fjobs'*/")
        scene.step(statement)
        wait_for(lambda: waiting(scene.server) == 1)
        scene.asks("POST /oauth/token", "UPDATE token SET scope = 'a' WHERE id = 1")
        scene.saw(API)
    detail = scene.longest_chain(API)
    assert detail["waiting"]["relation"] == "token", "the parent"
    alter, job_link = detail["blocked_by"]
    assert (alter["awaits"], alter["holds"]) == ("ShareRowExclusiveLock", None)
    assert (job_link["application"], job_link["holds"]) == ("the jobs", "RowExclusiveLock")
    assert named(scene, statement, "POST /oauth/token").held_up_by[0] == "PUT /jobs"


def test_a_deadlock_names_both(scene: Scene) -> None:
    first, second = "UPDATE token SET scope = 'b' WHERE id = 1", "UPDATE token SET scope = 'b' WHERE id = 2"
    with scene.playing(), scene.server.connect(API) as api:
        # It is the application that looks for a deadlock, two seconds after it closed the ring.
        api.execute("SET deadlock_timeout = '2s'")
        api.execute("BEGIN")
        api.execute("UPDATE token SET scope = 'a' WHERE id = 2 /*route='PUT%20%2Ftokens%2F2'*/")
        scene.step("SET deadlock_timeout = '1min'", "BEGIN", first, "SELECT pg_sleep(0.5)", second, "COMMIT")
        wait_for(lambda: waiting(scene.server) == 1)
        with pytest.raises(psycopg.errors.DeadlockDetected):
            api.execute("UPDATE token SET scope = 'a' WHERE id = 1 /*route='PUT%20%2Ftokens%2F1'*/")
    mine, theirs = scene.longest_chain(STEP_SESSION), scene.longest_chain(API)
    assert mine["ring"]
    assert theirs["ring"]
    assert [link["application"] for link in mine["blocked_by"]] == [API]
    assert [link["application"] for link in theirs["blocked_by"]] == [STEP_SESSION]
    assert theirs["waiting"]["endpoint"] == "PUT /tokens/1"
    found = {queue.statement: queue for queue in scene.probed.queues()}
    assert all(queue.deadlock for queue in found.values())
    assert found[second].own_wait_s > 0, "the statement that waited"
    assert found[second].held_up_by[0] == "PUT /tokens/1"
    behind = next(queue for queue in found.values() if queue.endpoints)
    assert (set(behind.endpoints), behind.held_up_by[0]) == ({"PUT /tokens/1"}, "PUT /tokens/1")
    assert behind.step == STEP
    assert "in a deadlock with PUT /tokens/1" in behind.root


def test_an_advisory_lock_that_the_step_holds(scene: Scene) -> None:
    with scene.playing():
        scene.step("SELECT pg_advisory_lock(4711)", "SELECT pg_sleep(3)", "SELECT pg_advisory_unlock(4711)")
        wait_for(lambda: running_in(scene, STEP_SESSION, "SELECT pg_sleep%"))
        scene.asks("POST /imports", "SELECT pg_advisory_xact_lock(4711)")
        scene.saw(API)
    detail = scene.longest_chain(API)
    assert (detail["waiting"]["lock"], detail["waiting"]["relation"]) == ("advisory lock 4711", None)
    (link,) = detail["blocked_by"]
    assert (link["step"], link["holds"]) == (STEP, "ExclusiveLock")
    assert named(scene, "SELECT pg_advisory_lock(4711)", "POST /imports").held_up_by == ("", "")


def test_the_statement_that_took_a_lock_earlier_in_the_transaction(scene: Scene) -> None:
    """What runs while others wait is an UPDATE of another table; the lock is the ALTER's."""
    with scene.server.connect() as connection:
        connection.execute("CREATE TABLE session_of (token int)")
    alter = "ALTER TABLE token ADD COLUMN b int"
    with scene.playing():
        scene.step("BEGIN", alter, "UPDATE session_of SET token = 1", "SELECT pg_sleep(3)", "COMMIT")
        wait_for(lambda: running_in(scene, STEP_SESSION, "SELECT pg_sleep%"))
        scene.asks("POST /oauth/token", "SELECT scope FROM token WHERE id = 1")
        scene.saw(API)
    assert step_in(scene.longest_chain(API))["query"] == "SELECT pg_sleep(3)"
    queue = named(scene, alter, "POST /oauth/token")
    assert "SELECT pg_sleep(3)" in queue.running


@pytest.mark.slow
def test_a_slow_statement_is_seen_to_take_its_lock(scene: Scene) -> None:
    """A lock that comes late in a statement is certain: the one look has the statement without it, the next with it."""
    slow = "DO $$BEGIN PERFORM pg_sleep(1); EXECUTE 'LOCK TABLE ' || 'to' || 'ken'; END$$"
    with scene.playing():
        scene.step("BEGIN", slow, "SELECT pg_sleep(3) /* token */", "COMMIT")
        wait_for(lambda: running_in(scene, STEP_SESSION, "SELECT pg_sleep%"))
        scene.asks("POST /oauth/token", "SELECT scope FROM token WHERE id = 1")
        scene.saw(API)
    link = step_in(scene.longest_chain(API))
    if link["taken"]["certain"]:  # unless no look came between the lock and the statement's end
        assert link["taken"]["query"] == slow
        named(scene, slow, "POST /oauth/token")


def running_in(scene: Scene, application: str, query: str = "%") -> bool:
    """Whether an application's session runs such a statement, its lock taken."""
    with scene.server.connect() as connection:
        found = connection.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = %s AND state = 'active' AND query LIKE %s "
            "AND wait_event = 'PgSleep'",
            (application, query),
        )
        return found.rowcount > 0


def holds(scene: Scene, mode: str) -> bool:
    """Whether somebody holds the table in a mode."""
    with scene.server.connect() as connection:
        return (
            connection.execute(
                "SELECT FROM pg_locks WHERE relation = 'token'::regclass AND granted AND mode = %s", (mode,)
            ).rowcount
            > 0
        )
