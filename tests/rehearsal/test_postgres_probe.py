"""The probe beside a real lock queue and a real standby."""

import threading
import time

import psycopg
import pytest

from replay.errors import PlanError
from replay.rehearsal.probes.lag import LagHistory, lsn_number
from replay.rehearsal.probes.locks import Session, endpoint_of, waits
from replay.rehearsal.probes.postgres import PostgresProbePlan, read_postgres
from replay.rehearsal.table import Surroundings, Table

from .probing import STEP_SESSION, Probed, wait_for, waiting


@pytest.mark.usefixtures("table")
def test_a_lock_queue_is_named_from_end_to_end(tmp_path, server) -> None:
    probed = Probed(tmp_path, server)
    with probed.running(), server.connect("the export") as reader:
        with reader.transaction():
            reader.execute("SELECT count(*) FROM token /*route='GET%20%2Fexports%2F{id}'*/")

            def send(application: str, sql: str) -> None:
                with server.connect(application) as connection:
                    connection.execute(sql)

            alter = threading.Thread(target=send, args=(STEP_SESSION, "ALTER TABLE token ADD COLUMN b int"))
            alter.start()
            wait_for(lambda: waiting(server) == 1)
            behind = "SELECT scope FROM token WHERE id = 1 /*db_driver='psycopg',route='POST /oauth/token'*/ -- hush-42"
            queued = threading.Thread(target=send, args=("the api", behind))
            queued.start()
            wait_for(lambda: waiting(server) == 2)
            time.sleep(1.0)
        alter.join(20)
        queued.join(20)
    waits_read = probed.readings("lock_wait_s")
    by_application = {
        name: waits_read[waits_read["detail"].map(lambda detail, name=name: detail["waiting"]["application"] == name)]
        for name in (STEP_SESSION, "the api")
    }
    stuck = by_application["the api"].iloc[-1]
    assert stuck["value"] > 0.5
    waiter = stuck["detail"]["waiting"]
    assert (waiter["endpoint"], waiter["relation"], waiter["lock_mode"], waiter["step"]) == (
        "POST /oauth/token",
        "token",
        "AccessShareLock",
        None,
    )
    assert "hush" not in waiter["query"]
    alter_link, export_link = stuck["detail"]["blocked_by"]
    assert (alter_link["level"], alter_link["step"]) == (1, "add scopes")
    assert alter_link["query"].startswith("ALTER TABLE token")
    assert (export_link["level"], export_link["application"], export_link["endpoint"], export_link["state"]) == (
        2,
        "the export",
        "GET /exports/{id}",
        "idle in transaction",
    )
    assert export_link["running_s"] > 0.5
    step_waits = by_application[STEP_SESSION].iloc[-1]["detail"]
    assert (step_waits["waiting"]["lock_mode"], step_waits["waiting"]["step"]) == ("AccessExclusiveLock", "add scopes")
    assert [link["application"] for link in step_waits["blocked_by"]] == ["the export"]
    assert probed.readings("waiting_backends")["value"].max() == 2
    assert probed.readings("connections_limit")["value"].tolist() == [40]
    longest = probed.readings("long_transaction_s")
    assert longest["value"].max() > 0.5
    assert longest.loc[longest["value"].idxmax(), "detail"]["application"] == "the export"
    assert max(probed.readings("connections")["detail"].map(lambda states: states.get("idle in transaction", 0))) == 1
    assert probed.readings("probe_failed").empty


@pytest.mark.usefixtures("table")
def test_a_wait_for_a_row_names_the_table(tmp_path, server) -> None:
    probed = Probed(tmp_path, server, replicas=[])
    with probed.running(), server.connect("first") as first, server.connect("second") as second:
        with first.transaction():
            first.execute("UPDATE token SET scope = 'a' WHERE id = 1")

            def send() -> None:
                second.execute("UPDATE token SET scope = 'b' WHERE id = 1")

            other = threading.Thread(target=send)
            other.start()
            wait_for(lambda: waiting(server) == 1)
            time.sleep(0.5)
        other.join(20)
    detail = probed.readings("lock_wait_s").iloc[-1]["detail"]
    assert detail["waiting"]["relation"] == "token"
    assert [link["application"] for link in detail["blocked_by"]] == ["first"]


def written(server) -> int:
    with server.connect() as connection:
        return lsn_number(connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()[0])


def replayed(replica) -> int:
    return lsn_number(replica.execute("SELECT pg_last_wal_replay_lsn()::text").fetchone()[0])


@pytest.mark.usefixtures("table")
def test_a_standby_that_stands_still_falls_behind_and_catches_up(tmp_path, server) -> None:
    probed = Probed(tmp_path, server)
    with probed.running(), psycopg.connect(server.replica, autocommit=True) as replica:
        time.sleep(0.5)
        replica.execute("SELECT pg_wal_replay_pause()")
        try:
            with server.connect() as connection:
                connection.execute("UPDATE token SET scope = repeat('x', 200)")
            time.sleep(1.5)
        finally:
            replica.execute("SELECT pg_wal_replay_resume()")
        wait_for(lambda: replayed(replica) >= written(server))
        time.sleep(0.5)
    for metric, behind in (("replica_lag_s", 1.0), ("replica_lag_bytes", 100_000)):
        lag = probed.readings(metric)
        assert lag["value"].max() > behind
        assert lag["value"].iloc[-1] == 0
        assert set(lag["detail"].map(lambda detail: detail["replica"])) == {
            f"127.0.0.1:{server.replica.split('port=')[1].split()[0]}"
        }


def test_what_cannot_be_read_is_said(tmp_path, server) -> None:
    probed = Probed(tmp_path, server, replicas=[server.primary, "host=127.0.0.1 port=1 user=x password=hush-42"])
    with probed.running():
        time.sleep(1.2)
    failed = probed.readings("probe_failed")
    errors = failed["detail"].map(lambda detail: detail["error"]).tolist()
    assert "this server is not a replica" in errors
    assert any("port 1" in error for error in errors)
    assert "hush-42" not in str(errors)
    assert not probed.readings("connections").empty


def test_a_role_that_sees_too_little_is_said(tmp_path, server) -> None:
    with server.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS blinkered")
        connection.execute("CREATE ROLE blinkered LOGIN")
    probed = Probed(tmp_path, type(server)(server.primary.replace("user=tester", "user=blinkered"), "", 0), replicas=[])
    with probed.running():
        time.sleep(0.5)
    assert "GRANT pg_monitor TO blinkered" in probed.readings("probe_failed")["detail"].iloc[0]["error"]


def test_lag_in_seconds_is_the_age_of_the_oldest_position_not_replayed() -> None:
    history = LagHistory()
    assert history.lag(0.0, 100, 100) == (0, 0.0)
    assert history.lag(1.0, 200, 100) == (100, 0.0)
    assert history.lag(2.0, 300, 100) == (200, 1.0)
    assert history.lag(3.0, 300, 250) == (50, 1.0)
    assert history.lag(60.0, 300, 300) == (0, 0.0)
    assert history.lag(90.0, 300, 300) == (0, 0.0), "an idle primary is not a lag"
    assert history.lag(91.0, 310, 400) == (0, 0.0), "the replica was read later and may be ahead"


def test_lsn() -> None:
    assert lsn_number("16/B374D848") == (0x16 << 32) + 0xB374D848


@pytest.mark.parametrize(
    ("query", "endpoint"),
    [
        ("SELECT 1 /*route='GET%20%2Fx%2F{id}'*/", "GET /x/{id}"),
        ("/*framework='f',route='POST /a',traceparent='00'*/ SELECT 1", "POST /a"),
        ("SELECT 1", None),
        ("SELECT 'route=''GET /x'''", None),
        ("SELECT /*+ hint */ 1 /* route=GET */", None),
        ("SELECT 1 /*myroute='GET /x'*/", None),
    ],
)
def test_the_endpoint_of_a_query(query: str, endpoint: str | None) -> None:
    assert endpoint_of(query) == endpoint


@pytest.mark.parametrize(
    ("query", "application", "endpoint"),
    [
        ("SELECT 1", "GET /v1/events/{event_id}", "GET /v1/events/{event_id}"),
        ("SELECT 1", "POST /graphql#GetUser", "POST /graphql#GetUser"),
        ("SELECT 1 /*route='POST /a'*/", "GET /b", "POST /a"),
        ("SELECT 1", "the api", None),
        ("SELECT 1", "GET", None),
        ("SELECT 1", "worker GET /v1/events", None),
        ("SELECT 1", "GET /v1/events and more", None),
        ("SELECT 1", "replay step: POST /migrate", None),
    ],
)
def test_the_endpoint_of_a_session_whose_query_has_no_comment(
    query: str, application: str, endpoint: str | None
) -> None:
    assert endpoint_of(query, application) == endpoint


@pytest.mark.usefixtures("table")
def test_sessions_named_after_their_endpoint_are_tied_to_it(tmp_path, server) -> None:
    probed = Probed(tmp_path, server, replicas=[])

    def send(application: str, sql: str) -> threading.Thread:
        def run() -> None:
            with server.connect(application) as connection:
                connection.execute(sql)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with probed.running(), server.connect("GET /exports/{id}") as reader:
        with reader.transaction():
            reader.execute("SELECT count(*) FROM token")
            alter = send(STEP_SESSION, "ALTER TABLE token ADD COLUMN b int")
            wait_for(lambda: waiting(server) == 1)
            queued = send("POST /oauth/token", "SELECT scope FROM token WHERE id = 1")
            wait_for(lambda: waiting(server) == 2)
            time.sleep(1.0)
        alter.join(20)
        queued.join(20)
    (queue,) = [one for one in probed.queues() if one.queued]
    assert set(queue.endpoints) == {"POST /oauth/token"}
    assert queue.held_up_by[0] == "GET /exports/{id}"


def test_a_ring_of_waits_ends() -> None:
    ring = [Session(1, "a", "active", "", 1.0, (2,)), Session(2, "b", "active", "", 1.0, (1, 0))]
    chains = [[(link["application"], link["level"]) for link in detail["blocked_by"]] for _, detail in waits(ring, {})]
    assert chains == [[("b", 1), ("prepared transaction", 2)], [("a", 1), ("prepared transaction", 1)]]


def test_readings_are_read_back(tmp_path, server) -> None:
    probed = Probed(tmp_path, server)
    with probed.running():
        time.sleep(0.4)
    assert set(probed.evidence().readings["probe"]) == {"database"}


def test_the_shortest_interval_is_a_tenth_of_a_second(tmp_path) -> None:
    def read(interval: str) -> PostgresProbePlan:
        values = {"dsn": "host=127.0.0.1", "interval": interval}
        return read_postgres("database", Table("[probes.database]", values, Surroundings(tmp_path / "plan.toml")))

    assert read("100ms").interval_s == pytest.approx(0.1)
    with pytest.raises(PlanError, match="is 99ms, and must be 100ms or longer"):
        read("99ms")
