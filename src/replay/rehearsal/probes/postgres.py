"""Reads a PostgreSQL database while an arm is played: who waits for whom, connections, replicas.

The primary is read through one connection, every replica through a pair of its own (it and the primary), so that
none of them can hold up the others.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from replay.rehearsal.probes.lag import LagHistory, lsn_number
from replay.rehearsal.probes.locks import Session, waits
from replay.rehearsal.probes.plan import ProbePlan, Setting
from replay.rehearsal.probes.readings import Readings, Sampler
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Dsn, Table

_PROBE_NAME = "replay probe"
_RETRY_S = 1.0
_ABILITY = """
SELECT current_user AS role, current_setting('max_connections')::int AS connections_limit,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
"""
# One short row for each backend, without its query: this runs several times a second.
_ACTIVITY = """
SELECT pid, application_name AS application, state, backend_type = 'client backend' AS is_client,
       wait_event_type = 'Lock' AS waits,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND application_name NOT LIKE 'replay probe%'
"""
# Only while something waits, or a transaction is long.
_SESSIONS = """
WITH lock AS MATERIALIZED (
    SELECT pid, locktype, mode, granted, WAITSTART AS waitstart,
           CASE WHEN database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                THEN relation END AS relation
    FROM pg_locks
)
SELECT a.pid, a.application_name AS application, coalesce(a.state, a.backend_type) AS state,
       left(a.query, 4000) AS query,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)), 0)::float8 AS running_s,
       CASE WHEN w.pid IS NULL THEN '{}'::int[] ELSE pg_blocking_pids(a.pid) END AS blockers,
       w.mode AS lock_mode, w.relation,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(w.waitstart, a.query_start)), 0)::float8 AS waited_s
FROM pg_stat_activity a
LEFT JOIN LATERAL (
    SELECT l.pid, l.mode, l.waitstart, (
        SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid = coalesce(l.relation, (
            -- who waits for a row's lock waits for a transaction, and holds the row's own lock meanwhile
            SELECT t.relation FROM lock t WHERE t.pid = l.pid AND t.locktype = 'tuple' AND t.granted LIMIT 1))
    ) AS relation
    FROM lock l WHERE l.pid = a.pid AND NOT l.granted LIMIT 1
) w ON true
WHERE a.pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class PostgresProbePlan(ProbePlan):
    """Locks, connections and replication of a database."""

    dsn: Dsn
    replicas: tuple[Dsn, ...]
    interval_s: float

    @property
    def dsns(self) -> tuple[Dsn, ...]:
        """The primary, and its replicas."""
        return (self.dsn, *self.replicas)

    def open(self, setting: Setting) -> "PostgresProbe":
        """The probe of one arm."""
        return PostgresProbe(self, setting)


def read_postgres(name: str, table: Table) -> PostgresProbePlan:
    """Read the table of such a probe: ``dsn``, ``replicas``, ``interval``."""
    dsn = table.dsn("dsn")
    if dsn is None:
        raise table.error("dsn", "is missing", 'Add dsn = "${STAGE_DSN}".')
    return PostgresProbePlan(name, dsn, table.dsns("replicas"), table.duration_s("interval", "200ms") or 0.0)


class PostgresProbe:
    """The probe of one database and its replicas."""

    def __init__(self, plan: PostgresProbePlan, setting: Setting) -> None:
        clock, segments, scrub = setting.clock, setting.readings, setting.scrub
        primary = _Primary(plan, Readings(plan.name, clock, segments(plan.name)), setting.steps, scrub)
        self._samplers = [Sampler(f"probe {plan.name}", plan.interval_s, primary.sample, primary.end)]
        for number, replica_dsn in enumerate(plan.replicas, 1):
            readings = Readings(plan.name, clock, segments(f"{plan.name}-replica-{number}"))
            replica = _Replica(plan, replica_dsn.value, readings, scrub)
            self._samplers.append(
                Sampler(f"probe {plan.name}, replica {number}", plan.interval_s, replica.sample, replica.end)
            )

    def start(self) -> None:
        """Begin to connect and to read."""
        for sampler in self._samplers:
            sampler.start()

    def stop(self) -> None:
        """End, and close what was read."""
        for sampler in self._samplers:
            sampler.stop()


def place_of(dsn: str) -> str:
    """Where a connection string leads, without who goes there: ``127.0.0.1:5432``."""
    values = conninfo_to_dict(dsn)
    return f"{values.get('host') or values.get('hostaddr') or 'local socket'}:{values.get('port') or 5432}"


class _Source:
    """A connection that is made again after it broke, at most once a second."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn = dsn
        self._name = f"{_PROBE_NAME}: {name}"
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._again_at = 0.0

    def connect(self) -> bool | None:
        """Whether a new connection was made; None where it is too early for another attempt."""
        if self._connection is not None:
            return False
        if time.monotonic() < self._again_at:
            return None
        self._again_at = time.monotonic() + _RETRY_S
        self._connection = psycopg.connect(
            self._dsn, autocommit=True, application_name=self._name, connect_timeout=3, row_factory=dict_row
        )
        self._connection.execute("SET statement_timeout = '5s'; SET lock_timeout = '1s'; SET jit = off")
        return True

    @property
    def version(self) -> int:
        """The server's version, such as 180001."""
        return self._connection.info.server_version if self._connection else 0

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query. Raises psycopg.Error."""
        if self._connection is None:
            raise psycopg.OperationalError("not connected")
        return self._connection.execute(query.encode()).fetchall()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


class _Primary:
    """Sessions, locks and connections of the primary."""

    def __init__(self, plan: PostgresProbePlan, readings: Readings, steps: Mapping[str, str], scrub: Scrubber) -> None:
        self._source = _Source(plan.dsn.value, plan.name)
        self._readings = readings
        self._steps = steps
        self._scrub = scrub
        self._limit: int | None = None

    def sample(self) -> None:
        """One look."""
        try:
            made = self._source.connect()
            if made is None:
                return
            if made:
                self._begin()
            self._read()
        except psycopg.Error as error:
            self._source.close()
            self._readings.failed(self._scrub(_first_line(error)))

    def end(self) -> None:
        """Close all."""
        self._source.close()
        self._readings.close()

    def _begin(self) -> None:
        row = self._source.rows(_ABILITY)[0]
        self._limit = row["connections_limit"]
        if not row["sees_all"]:
            self._readings.failed(
                f"{row['role']} may not see the sessions of others: GRANT pg_monitor TO {row['role']}"
            )

    def _read(self) -> None:
        rows = self._source.rows(_ACTIVITY)
        at_s = self._readings.now_s
        if at_s < 0:
            return
        if self._limit is not None:
            self._readings.add("connections_limit", float(self._limit), at_s=at_s)
            self._limit = None
        clients = [row for row in rows if row["is_client"]]
        states = Counter(row["state"] or "unknown" for row in clients)
        self._readings.add("connections", float(len(clients)), dict(states), at_s)
        self._readings.add("waiting_backends", float(sum(bool(row["waits"]) for row in rows)), at_s=at_s)
        self._long_transaction(clients, at_s)
        if any(row["waits"] for row in rows):
            for waited_s, detail in waits(self._sessions(), self._steps):
                self._readings.add("lock_wait_s", waited_s, detail, at_s)

    def _long_transaction(self, clients: list[dict[str, Any]], at_s: float) -> None:
        longest = max(clients, key=lambda row: row["transaction_s"] or 0.0, default=None)
        if longest is None or longest["transaction_s"] is None:
            self._readings.add("long_transaction_s", 0.0, at_s=at_s)
            return
        detail = {
            "pid": longest["pid"],
            "application": longest["application"],
            "state": longest["state"],
            "step": self._steps.get(longest["application"]),
        }
        self._readings.add("long_transaction_s", max(0.0, longest["transaction_s"]), detail, at_s)

    def _sessions(self) -> list[Session]:
        # pg_locks tells since when somebody waits from PostgreSQL 14 on.
        waitstart = "waitstart" if self._source.version >= 140000 else "NULL::timestamptz"
        return [
            Session(
                pid=row["pid"],
                application=row["application"] or "",
                state=row["state"] or "",
                query=self._scrub.query(row["query"] or ""),
                running_s=max(0.0, row["running_s"]),
                blockers=tuple(row["blockers"]),
                lock_mode=row["lock_mode"],
                relation=row["relation"],
                waited_s=max(0.0, row["waited_s"]),
            )
            for row in self._source.rows(_SESSIONS.replace("WAITSTART", waitstart))
        ]


class _Replica:
    """One replica's distance from its primary."""

    def __init__(self, plan: PostgresProbePlan, dsn: str, readings: Readings, scrub: Scrubber) -> None:
        self._name = place_of(dsn)
        self._primary = _Source(plan.dsn.value, plan.name)
        self._replica = _Source(dsn, plan.name)
        self._readings = readings
        self._scrub = scrub
        self._history = LagHistory()

    def sample(self) -> None:
        """One look. The primary first: the replica may then be ahead of it, which is no lag, never seem behind."""
        try:
            if None in (self._primary.connect(), self._replica.connect()):
                return
            primary = self._primary.rows("SELECT pg_current_wal_lsn()::text AS position")[0]["position"]
            at_s = self._readings.now_s
            row = self._replica.rows(
                "SELECT pg_is_in_recovery() AS is_replica, pg_last_wal_replay_lsn()::text AS position"
            )[0]
        except psycopg.Error as error:
            self._primary.close()
            self._replica.close()
            self._readings.failed(self._scrub(_first_line(error)), replica=self._name)
            return
        if not row["is_replica"] or row["position"] is None:
            self._readings.failed("this server is not a replica", replica=self._name)
            return
        size_bytes, seconds = self._history.lag(at_s, lsn_number(primary), lsn_number(row["position"]))
        self._readings.add("replica_lag_bytes", float(size_bytes), {"replica": self._name}, at_s)
        self._readings.add("replica_lag_s", seconds, {"replica": self._name}, at_s)

    def end(self) -> None:
        """Close all."""
        self._primary.close()
        self._replica.close()
        self._readings.close()


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
