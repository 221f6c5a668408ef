"""The probe beside a real MariaDB: its lock queues, a replica held back, and what it may not see."""

import contextlib
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from replay.errors import PlanError
from replay.evidence.files import ArmFolder
from replay.judge.probes.locks import lock_queues
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.mysql import MysqlProbePlan, queries
from replay.rehearsal.probes.mysql.source import parse_address
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Surroundings, Table

from .mariadb import PASSWORD, MariaDB, send, servers

STEP, SESSION = "add scopes", "replay step: add scopes"
ALTER = "ALTER TABLE token ADD COLUMN extra int, ALGORITHM = COPY"
EXPORT = "SELECT count(*) FROM token /*route='GET%20%2Fexports'*/"
LOOKUP = "SELECT scope FROM token WHERE id = 1 /*route='POST /oauth/token'*/"
SCHEMA = ("--performance-schema=ON", "--performance-schema-instrument=wait/lock/metadata/sql/mdl=ON")


class Probed:
    def __init__(self, folder: Path, primary: str, *replicas: str) -> None:
        self.arm = ArmFolder(folder / "arm")
        self.arm.create()
        self.plan = MysqlProbePlan("database", parse_address(primary), tuple(map(parse_address, replicas)), 0.2)
        self.probe = self.plan.open(
            Setting(
                ArmClock.started_now(),
                readings=self.arm.readings,
                log=self.arm.log,
                scrub=Scrubber({}, [PASSWORD, "hush-hush"]),
                steps={SESSION: STEP},
            )
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.probe.start()
        try:
            yield
        finally:
            self.probe.stop()

    def raw(self) -> pd.DataFrame:
        files = sorted((self.arm.path / "readings").glob("*.parquet"))
        columns = ["at_s", "probe", "metric", "value", "detail"]
        return (
            pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
            if files
            else pd.DataFrame(columns=columns)
        )

    def readings(self, metric: str) -> pd.DataFrame:
        frame = self.raw()
        frame["detail"] = frame["detail"].map(json.loads)
        return frame[frame["metric"] == metric]

    def errors(self) -> list[str]:
        return [detail["error"] for detail in self.readings("probe_failed")["detail"]]


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with servers(()) as (one,):
        yield one


@pytest.fixture(autouse=True)
def _as_before(request) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        request.getfixturevalue("server").run("ALTER TABLE shop.token DROP COLUMN IF EXISTS extra")


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def stages(server: MariaDB) -> list[str]:
    return [row["STATE"] for row in server.run("SELECT STATE FROM information_schema.PROCESSLIST")]


def waiting(server: MariaDB) -> int:
    return stages(server).count("Waiting for table metadata lock")


class Sender:
    """Sends statements in a thread of its own."""

    def __init__(self, server: MariaDB, application: str, *statements: str) -> None:
        def play() -> None:
            with contextlib.closing(server.connect(application, "shop")) as connection:
                for statement in statements:
                    send(connection, statement)

        self._thread = threading.Thread(target=play)
        self._thread.start()

    def done(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def play_a_queue(server: MariaDB, probed: Probed, alter: str) -> None:
    with probed.running(), contextlib.closing(server.connect("the export", "shop")) as reader:
        send(reader, "BEGIN")
        send(reader, EXPORT)
        step = Sender(server, SESSION, alter)
        wait_for(lambda: waiting(server) == 1)
        api = Sender(server, "the api", f"{LOOKUP} -- hush-hush")
        wait_for(lambda: waiting(server) == 2)
        time.sleep(1.0)
        send(reader, "ROLLBACK")
        step.done()
        api.done()


def assert_the_queue(probed: Probed) -> None:
    details = [one for one in probed.readings("lock_wait_s")["detail"] if len(one["blocked_by"]) == 2]
    stuck = details[-1]
    waiter = stuck["waiting"]
    assert (waiter["endpoint"], waiter["relation"], waiter["lock_mode"], waiter["step"]) == (
        "POST /oauth/token",
        "shop.token",
        "SHARED_READ",
        None,
    )
    assert "hush" not in waiter["query"]
    first, second = stuck["blocked_by"]
    assert (first["level"], first["step"], first["awaits"]) == (1, STEP, "EXCLUSIVE")
    assert first["query"].startswith("ALTER TABLE token")
    assert (second["level"], second["state"], second["step"]) == (2, "idle in transaction", None)
    (queue,) = lock_queues(probed.raw())
    assert queue.step == STEP
    assert queue.longest_s > 0.5
    assert queue.own_wait_s > 0.5
    assert "POST /oauth/token" in queue.endpoints
    assert probed.readings("waiting_backends")["value"].max() == 2
    assert probed.errors() == []


def test_without_a_list_of_locks_the_holder_is_guessed(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn())
    play_a_queue(server, probed, f"{ALTER} /* {SESSION} */")
    assert_the_queue(probed)
    waits = probed.readings("lock_wait_s")
    assert all("guess" in detail for detail in waits["detail"])
    longest = probed.readings("long_transaction_s")
    assert longest["value"].max() > 0.5
    assert longest.loc[longest["value"].idxmax(), "detail"]["application"].startswith("root@127.0.0.1")
    states = [one.get("idle in transaction", 0) for one in probed.readings("connections")["detail"]]
    assert max(states) == 1
    assert probed.readings("connections_limit")["value"].tolist() == [30]
    assert probed.readings("threads_running")["value"].max() >= 3


def test_with_the_plugin_the_holder_is_known(tmp_path, server) -> None:
    server.run("INSTALL SONAME 'metadata_lock_info'")
    try:
        probed = Probed(tmp_path, server.dsn())
        play_a_queue(server, probed, f"{ALTER} /* {SESSION} */")
    finally:
        server.run("UNINSTALL SONAME 'metadata_lock_info'")
    assert_the_queue(probed)
    details = list(probed.readings("lock_wait_s")["detail"])
    assert not any("guess" in detail for detail in details)
    # Once the export has ended the step holds the table itself, which is of no matter here.
    others = [link for detail in details for link in detail["blocked_by"] if link["step"] is None]
    assert {link["holds"] for link in others} == {"SHARED_READ"}


@pytest.mark.slow
def test_with_the_performance_schema_sessions_have_names_and_last_statements(tmp_path) -> None:
    with servers((*SCHEMA, "--performance-schema-consumer-events-statements-current=ON")) as (server,):
        probed = Probed(tmp_path, server.dsn())
        play_a_queue(server, probed, ALTER)
        columns = [set(server.run(query)[0]) for query in (queries.PROCESSES_MYSQL, queries.PROCESSES_MARIADB)]
    assert columns[0] == columns[1]
    assert_the_queue(probed)
    details = list(probed.readings("lock_wait_s")["detail"])
    assert not any("guess" in detail for detail in details)
    behind = [one for one in details if one["waiting"]["application"] == "the api" and len(one["blocked_by"]) == 2]
    holder = behind[-1]["blocked_by"][-1]
    assert (holder["application"], holder["endpoint"], holder["holds"]) == ("the export", "GET /exports", "SHARED_READ")
    (queue,) = lock_queues(probed.raw())
    assert queue.held_up_by[0] == "GET /exports"


def test_a_wait_for_a_row_names_the_table(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn())
    with probed.running(), contextlib.closing(server.connect("first", "shop")) as first:
        send(first, "BEGIN")
        send(first, "UPDATE token SET scope = 'a' WHERE id = 1")
        send(first, f"SELECT SLEEP(0.7) /* {SESSION} */")
        other = Sender(server, "second", "UPDATE token SET scope = 'b' WHERE id = 1")
        wait_for(lambda: "lock_wait_s" in set(probed.raw()["metric"]))
        time.sleep(0.5)
        send(first, "ROLLBACK")
        other.done()
    waits = probed.readings("lock_wait_s")
    assert waits["value"].max() > 0.5
    detail = waits.iloc[-1]["detail"]
    assert (detail["waiting"]["relation"], detail["waiting"]["lock_mode"]) == ("shop.token", "X")
    assert detail["waiting"]["query"].startswith("UPDATE token")
    (holder,) = detail["blocked_by"]
    assert (holder["state"], holder["step"]) == ("idle in transaction", STEP)
    assert "guess" not in detail


def test_history_grows_while_a_transaction_keeps_old_rows(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn())
    with probed.running(), contextlib.closing(server.connect("old", "shop")) as old:
        send(old, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        for number in range(50):
            server.run(f"UPDATE shop.token SET scope = 'n{number}'")  # noqa: S608
        time.sleep(0.5)
        send(old, "ROLLBACK")
    assert probed.readings("history_list_length")["value"].max() >= 40


def test_connections_against_their_limit(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn())
    with probed.running(), contextlib.ExitStack() as stack:
        wait_for(lambda: "connections" in set(probed.raw()["metric"]))
        for _ in range(20):
            stack.callback(server.connect().close)
        time.sleep(0.5)
    connections = probed.readings("connections")
    assert connections["value"].max() == 20
    assert connections.loc[connections["value"].idxmax(), "detail"] == {"idle": 20}


def test_a_wrong_password_is_said_without_it(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn(password="hush-hush"))
    with probed.running():
        time.sleep(0.5)
    assert "Access denied" in probed.errors()[0]
    assert "hush" not in str(probed.errors())


def test_what_the_user_may_not_see_is_said_with_the_grant(tmp_path, server) -> None:
    server.run(
        "CREATE OR REPLACE USER blinkered@'%' IDENTIFIED BY 'hush-hush'", "GRANT USAGE ON shop.* TO blinkered@'%'"
    )
    dsn = f"mysql://blinkered:hush-hush@127.0.0.1:{server.port}"
    probed = Probed(tmp_path, dsn, dsn)
    with probed.running():
        time.sleep(1.0)
    errors = set(probed.errors())
    assert any("GRANT PROCESS ON *.* TO 'blinkered'@'%'" in error for error in errors)
    assert any("GRANT BINLOG MONITOR ON *.* TO 'blinkered'@'%'" in error for error in errors)
    assert any("GRANT SLAVE MONITOR ON *.* TO 'blinkered'@'%'" in error for error in errors)
    assert not probed.readings("connections").empty


def test_a_server_that_is_no_replica_is_said(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn(), server.dsn(), "mysql://x:hush-hush@127.0.0.1:1/shop")
    with probed.running():
        time.sleep(1.0)
    assert probed.errors().count("this server is not a replica") == 1
    assert any("127.0.0.1" in error for error in probed.errors())


@pytest.mark.slow
def test_readings_go_on_after_the_server_was_killed(tmp_path, server) -> None:
    probed = Probed(tmp_path, server.dsn())

    def read() -> int:
        return int((probed.raw()["metric"] == "threads_running").sum())

    with probed.running():
        wait_for(read)
        server.stop(signal.SIGKILL)
        wait_for(lambda: "probe_failed" in set(probed.raw()["metric"]))
        server.start()
        before = read()
        wait_for(lambda: read() > before)
    assert len(probed.readings("connections_limit")) == 2


@pytest.mark.slow
def test_a_replica_that_stands_still_falls_behind_and_catches_up(tmp_path) -> None:
    options = "--log-bin=shop-bin", "--log-error-verbosity=1"
    with servers(options[:1], ()) as (primary, replica):
        primary.run("CREATE USER copier@'%' IDENTIFIED BY 'hush-hush'", "GRANT REPLICATION SLAVE ON *.* TO copier@'%'")
        replica.run(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'copier', MASTER_PASSWORD = 'hush-hush', "
            f"MASTER_PORT = {primary.port}, MASTER_LOG_FILE = 'shop-bin.000001', MASTER_LOG_POS = 4",
            "START SLAVE",
        )

        def copied(scope: str) -> bool:
            primary.run(f"UPDATE shop.token SET scope = '{scope}' WHERE id = 1")  # noqa: S608
            wait_for(lambda: replica.run("SELECT scope FROM shop.token WHERE id = 1")[0]["scope"] == scope)
            return True

        assert copied("first")
        probed = Probed(tmp_path, primary.dsn(), replica.dsn())

        def lags() -> list[float]:
            return probed.readings("replica_lag_s")["value"].to_list()

        with probed.running():
            wait_for(lambda: lags()[-1:] == [0])
            wait_for(lambda: not probed.plan.tell_behind())
            replica.run("STOP SLAVE SQL_THREAD")
            assert "replication does not run" in probed.plan.tell_behind()
            primary.run("UPDATE shop.token SET scope = 'stopped'", "FLUSH BINARY LOGS")
            wait_for(lambda: lags()[-1] > 1)
            replica.run("START SLAVE SQL_THREAD")
            assert copied("second")
            wait_for(lambda: lags()[-1] == 0)
            first_peaks = sum(lag > 1 for lag in lags())
            replica.run("STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 4", "START SLAVE")
            primary.run("UPDATE shop.token SET scope = 'waiting'")
            said = probed.plan.tell_behind()
            assert re.search(
                rf"127.0.0.1:{replica.port} has not all of its primary's log, .* shop-bin.000002:\d+", said
            )
            assert copied("third")
            wait_for(lambda: sum(lag > 1 for lag in lags()) > first_peaks)
            wait_for(lambda: lags()[-1] == 0)
            wait_for(lambda: not probed.plan.tell_behind())
        primary.run("CREATE USER plain@'%' IDENTIFIED BY 'hush-hush'", "GRANT PROCESS ON *.* TO plain@'%'")
        coarse = Probed(tmp_path / "coarse", f"mysql://plain:hush-hush@127.0.0.1:{primary.port}", replica.dsn())
        with coarse.running():
            time.sleep(0.7)
    assert all(one["whole_seconds"] for one in coarse.readings("replica_lag_s")["detail"])
    assert [error for error in coarse.errors() if "GRANT BINLOG MONITOR" in error] == coarse.errors()[-1:]
    lag = probed.readings("replica_lag_s")
    assert set(lag["detail"].map(lambda one: one["replica"])) == {f"127.0.0.1:{replica.port}"}
    assert not any("whole_seconds" in one for one in lag["detail"])
    assert lag["value"].iloc[0] == 0
    assert lag["value"].iloc[-1] == 0
    assert any("replication does not run: the thread that applies says No" in error for error in probed.errors())


def read_table(folder: Path, **values: object) -> MysqlProbePlan:
    surroundings = Surroundings(folder / "plan.toml", {"STAGE": "mysql://u:p%40ss%2Fword@stage:3307/shop"})
    plan = read_probe("database", Table("[probes.database]", {"kind": "mysql", **values}, surroundings))
    assert isinstance(plan, MysqlProbePlan)
    return plan


def test_the_plan_gives_hosts_and_secrets(tmp_path) -> None:
    plan = read_table(tmp_path, dsn="${STAGE}", replicas=["mysql://u:other@[::1]/shop"])
    assert plan.hosts == ("stage", "::1")
    assert plan.secrets == ("p@ss/word", "p%40ss%2Fword", "other")
    assert (plan.primary.port, plan.primary.database, plan.replicas[0].port) == (3307, "shop", 3306)
    assert plan.interval_s == 0.2
    assert "p@ss" not in repr(plan)
    assert plan.dsns == ()


@pytest.mark.parametrize(
    "dsn",
    [
        "host=stage user=u",
        "postgresql://u:secret-1@stage/shop",
        "mysql://stage/shop",
        "mysql://u:secret-1@stage:port/shop",
        "mysql://u:secret-1@stage/shop?ssl=1",
        "mysql://u:secret-1@[stage/shop",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(tmp_path, dsn) -> None:
    with pytest.raises(PlanError, match="dsn") as caught:
        read_table(tmp_path, dsn=dsn)
    assert "secret-1" not in f"{caught.value} {caught.value.hint}"


def test_looks_too_close_together_are_refused(tmp_path) -> None:
    with pytest.raises(PlanError, match="200ms or longer"):
        read_table(tmp_path, dsn="${STAGE}", interval="100ms")
