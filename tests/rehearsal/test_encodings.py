"""A database that has no encoding gives texts all the same, and no reader of it dies."""

import contextlib
import time
from types import SimpleNamespace

import psycopg
import pytest

from replay.rehearsal.databases import fingerprint
from replay.rehearsal.databases.postgres import PostgresDatabase
from replay.rehearsal.probes.readings import Sampler

from .probing import Probed
from .stepping import wait_for


@pytest.fixture
def unencoded(server):
    """The server, as it is reached by a database of SQL_ASCII."""
    made = "CREATE DATABASE unencoded ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    dsns = [dsn.replace("dbname=postgres", "dbname=unencoded") for dsn in (server.primary, server.replica)]
    with server.connect() as connection:
        connection.execute(made)
        with psycopg.connect(dsns[0], autocommit=True) as inside:
            inside.execute("CREATE TABLE token (id int, scope text)")
        yield SimpleNamespace(primary=dsns[0], replica=dsns[1])
        connection.execute("DROP DATABASE unencoded WITH (FORCE)")


def test_its_fingerprint_and_its_schema_are_texts(unencoded) -> None:
    database = PostgresDatabase(unencoded.primary)
    assert fingerprint(database).rows == {"public.token": 0}
    with database.read(5.0) as reading:
        assert reading.identity().name == "unencoded"
    with contextlib.closing(database.watch()) as watch:
        watch.connect()
        assert ("table", "token") in {(kind, name.removeprefix("public.")) for kind, name, _ in watch.schema()}


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_its_probe_reads(tmp_path, unencoded) -> None:
    wait_for(lambda: _reached(unencoded.replica))
    probed = Probed(tmp_path, unencoded)
    with probed.running():
        time.sleep(3.0)
    metrics = {*probed.readings()["metric"]}
    assert {"connections", "replica_lag_s"} <= metrics
    assert "probe_failed" not in metrics


def test_a_sample_that_breaks_is_told_and_followed_by_others() -> None:
    told: list[str] = []
    sampler = Sampler("a test", 0.01, lambda: next(iter(())), lambda: None, told.append)
    sampler.start()
    wait_for(lambda: len(told) > 2)
    sampler.stop()
    assert told[0] == "StopIteration: StopIteration"


def _reached(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=3).close()
    except psycopg.Error:
        return False
    return True
