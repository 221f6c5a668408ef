"""The counters, sizes and statements that the probe reads, of every PostgreSQL that is installed here."""

import contextlib
import threading
from collections.abc import Iterator

import pandas as pd
import psycopg
import pytest

from replay.rehearsal.probes.postgres.counters import COUNTERS
from replay.rehearsal.probes.postgres.statements import Cost

from .clusters import Cluster, installed, running
from .probing import STEP, STEP_SESSION, Probed, wait_for, waiting

_SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "autovacuum_naptime": "1s",
    "deadlock_timeout": "100ms",
    "max_replication_slots": "4",
}


@pytest.fixture(scope="module", params=installed().items(), ids=lambda one: one[0])
def cluster(request) -> Iterator[Cluster]:
    name, programs = request.param
    if programs is None:
        pytest.skip(f"{name} PostgreSQL is not installed")
    with running(programs, _SETTINGS) as cluster:
        with cluster.connect() as connection:
            connection.execute("CREATE TABLE token (id int PRIMARY KEY, scope text)")
            connection.execute("INSERT INTO token SELECT n, 'read' FROM generate_series(1, 1000) n")
        yield cluster


def seen(probed: Probed, metric: str) -> pd.DataFrame:
    """The readings of a metric as far as their segments are closed."""
    if not any((probed.arm.path / "readings").glob("*.parquet")):
        return pd.DataFrame({"value": [], "detail": []})
    return probed.readings(metric)


def test_a_lock_queue_is_named(tmp_path, cluster: Cluster) -> None:
    probed = Probed(tmp_path, cluster, replicas=[])
    with probed.running(), cluster.connect(STEP_SESSION) as step:
        with step.transaction():
            step.execute("LOCK TABLE token")

            def send() -> None:
                with cluster.connect("the api") as api:
                    api.execute("SELECT count(*) FROM token /*route='GET%20%2Ftokens'*/")

            asked = threading.Thread(target=send)
            asked.start()
            wait_for(lambda: waiting(cluster) == 1)
            wait_for(lambda: probed.waits_of("the api"))
        asked.join(20)
    detail = probed.waits_of("the api")[-1]
    assert (detail["waiting"]["endpoint"], detail["waiting"]["lock"]) == ("GET /tokens", "relation token")
    assert (detail["blocked_by"][0]["holds"], detail["blocked_by"][0]["step"]) == ("AccessExclusiveLock", STEP)
    assert detail["blocked_by"][0]["taken"]["query"] == "LOCK TABLE token"
    assert probed.readings("lock_wait_s")["value"].min() >= 0


def test_what_a_step_locks_is_read_though_nobody_waits(tmp_path, cluster: Cluster) -> None:
    probed = Probed(tmp_path, cluster, replicas=[])
    with probed.running(), cluster.connect(STEP_SESSION) as step:
        with step.transaction():
            step.execute("LOCK TABLE token")
            step.execute("CREATE TABLE unborn (n int)")  # which nobody else can wait for yet
            step.execute("SELECT pg_sleep(0.6)")
            wait_for(lambda: len(seen(probed, "lock_held_s")) > 3)
        with step.transaction():
            step.execute("LOCK TABLE token IN ROW EXCLUSIVE MODE")  # as any writer
            step.execute("SELECT pg_sleep(0.3)")
    held = probed.readings("lock_held_s")
    known = {"step": STEP, "relation": "token", "lock_mode": "AccessExclusiveLock"}
    assert all(detail == known for detail in held["detail"])
    assert held["value"].is_monotonic_increasing
    assert 0.3 < held["value"].max() < 10
    assert probed.readings("probe_failed").empty


@pytest.mark.slow
def test_counters_count_what_happens(tmp_path, cluster: Cluster) -> None:
    with cluster.connect() as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('left_behind', true)")
    probed = Probed(tmp_path, cluster, replicas=[])
    try:
        with probed.running():
            wait_for(lambda: not seen(probed, "wal_bytes").empty)
            deadlock(cluster)
            with cluster.connect() as connection:
                connection.execute("SET work_mem = '64kB'")
                connection.execute("SELECT n FROM generate_series(1, 100000) n ORDER BY -n")
                connection.execute("UPDATE token SET scope = repeat('x', 500)")
                connection.execute("CHECKPOINT")
            for metric in ("deadlocks", "temp_files", "temp_bytes", "wal_bytes", "checkpoints", "slot_retained_bytes"):
                wait_for(lambda metric=metric: seen(probed, metric)["value"].agg(lambda all_: all_.max() > all_.min()))
    finally:
        with cluster.connect() as connection:
            connection.execute("SELECT pg_drop_replication_slot('left_behind')")
    assert probed.readings("wal_bytes")["value"].is_monotonic_increasing
    slot = probed.readings("slot_retained_bytes")["detail"].iloc[-1]
    assert (slot["slot"], slot["active"], slot["kind"]) == ("left_behind", False, "physical")
    assert probed.readings("checkpoints")["detail"].iloc[-1]["requested"] >= 1
    assert probed.readings("probe_failed").empty


@pytest.mark.slow
def test_autovacuum_is_seen_with_its_table(tmp_path, cluster: Cluster) -> None:
    probed = Probed(tmp_path, cluster, replicas=[])
    with cluster.connect() as connection:
        connection.execute(
            "CREATE TABLE heap (n int) WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, "
            "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)"
        )
        connection.execute("INSERT INTO heap SELECT generate_series(1, 50000)")
        with probed.running():
            with cluster.connect() as another:  # up to 14 a session may report what it did only at its end
                another.execute("DELETE FROM heap")
            wait_for(lambda: "public.heap" in str(seen(probed, "autovacuum_workers")["detail"].tolist()), 60)
        connection.execute("DROP TABLE heap")


def test_what_an_arm_leaves_is_seen_beside_what_it_began_with(tmp_path, cluster: Cluster) -> None:
    probed = Probed(tmp_path, cluster, replicas=[])
    with cluster.connect() as connection:
        connection.execute('CREATE TABLE "Odd name" (n int)')
        connection.execute('CREATE INDEX odd ON "Odd name" (n)')
        with probed.running():
            wait_for(lambda: not seen(probed, "invalid_indexes").empty)
            connection.execute('INSERT INTO "Odd name" SELECT n % 7 FROM generate_series(1, 20000) n')
            with contextlib.suppress(psycopg.errors.UniqueViolation):
                connection.execute('CREATE UNIQUE INDEX CONCURRENTLY twice ON "Odd name" (n)')
        connection.execute('DROP TABLE "Odd name"')
    for metric in ("table_bytes", "index_bytes"):
        sizes = probed.readings(metric)
        mine = sizes[sizes["detail"].map(lambda detail: detail["table"] == '"Odd name"')]
        before, after = mine["value"]
        assert [detail["moment"] for detail in mine["detail"]] == ["start", "end"]
        assert after > before + 100_000
    invalid = probed.readings("invalid_indexes")
    assert invalid["value"].tolist() == [0, 1]
    assert invalid["detail"].iloc[1] == {"moment": "end", "indexes": ["twice"]}


def test_statements_have_what_they_cost_during_the_arm(tmp_path, cluster: Cluster) -> None:
    with cluster.connect() as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS watch")
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA watch")
        for _ in range(3):
            connection.execute("SELECT scope FROM token WHERE id = 1")
        probed = Probed(tmp_path, cluster, replicas=[])
        with probed.running():
            wait_for(lambda: not seen(probed, "invalid_indexes").empty)
            for _ in range(2):
                connection.execute("SELECT scope FROM token WHERE id = 1")
            connection.execute("SELECT pg_sleep(0.3), id FROM token WHERE id < 2")
    costs = probed.readings("statement_s")
    by_query = {detail["query"]: (value, detail) for value, detail in zip(costs["value"], costs["detail"], strict=True)}
    value, slow = next(one for query, one in by_query.items() if "pg_sleep" in query)
    assert value > 0.25
    assert (slow["calls"], slow["rows_per_call"], slow["mean_before_s"]) == (1, 1, None)
    _, quick = by_query["SELECT scope FROM token WHERE id = $1"]
    assert quick["rows_per_call"] == 1
    assert quick["mean_before_s"] > 0
    assert costs["value"].is_monotonic_decreasing
    assert not [query for query in by_query if "pg_stat" in query or "timeout" in query]  # what the probe asks itself
    assert probed.readings("probe_failed").empty


def test_what_a_role_may_not_see_is_said_once_and_the_rest_is_read(tmp_path, cluster: Cluster) -> None:
    with cluster.connect() as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS watch")
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA watch")
        connection.execute("DROP ROLE IF EXISTS blinkered")
        connection.execute("CREATE ROLE blinkered LOGIN")
    blinkered = Cluster(cluster.primary.replace("user=tester", "user=blinkered"), cluster.version)
    probed = Probed(tmp_path, blinkered, replicas=[])
    with probed.running():
        wait_for(lambda: len(seen(probed, "deadlocks")) > 1)
    errors = [detail["error"] for detail in probed.readings("probe_failed")["detail"]]
    assert sum("GRANT pg_monitor TO blinkered" in error for error in errors) == 1
    assert sum(error.startswith("statements: ") and "GRANT USAGE" in error for error in errors) == 1
    assert len(errors) == 2
    for metric in ("connections", "wal_bytes", "checkpoints", "autovacuum_workers", "invalid_indexes", "table_bytes"):
        assert not probed.readings(metric).empty, metric


def deadlock(cluster: Cluster) -> None:
    """Two sessions that wait for each other, until one is told to give up."""
    with cluster.connect() as one, cluster.connect() as other:
        one.execute("BEGIN; UPDATE token SET scope = 'a' WHERE id = 1")
        other.execute("BEGIN; UPDATE token SET scope = 'a' WHERE id = 2")

        def close() -> None:
            with contextlib.suppress(psycopg.errors.DeadlockDetected):
                other.execute("UPDATE token SET scope = 'a' WHERE id = 1")

        waits = threading.Thread(target=close)
        waits.start()
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            one.execute("UPDATE token SET scope = 'a' WHERE id = 2")
        waits.join(20)


@pytest.mark.parametrize("version", [120000, 130000, 140000, 150000, 160000, 170000, 180000])
def test_each_version_is_asked_what_it_has(version: int) -> None:
    queries = {what: query(version) for what, query in COUNTERS}
    assert ("pg_stat_checkpointer" in queries["checkpoints"]) == (version >= 170000)
    assert ("NULL::text" in queries["replication slots"]) == (version < 130000)


def test_costs_that_were_put_back_to_nothing_count_from_there() -> None:
    assert Cost(5, 2.0, 5, 0).since(Cost(3, 1.5, 3, 0)) == Cost(2, 0.5, 2, 0)
    assert Cost(5, 2.0, 5, 0).since(Cost(9, 9.0, 9, 0)) == Cost(5, 2.0, 5, 0)
