"""The primary's sessions: who is connected, who waits for whom, which transaction is long."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from replay.errors import first_line
from replay.rehearsal.probes.locks import Session, waits
from replay.rehearsal.probes.postgres.source import Source
from replay.rehearsal.probes.readings import Readings
from replay.rehearsal.probes.taken import KEEPING_OUT, Holdings, Look
from replay.rehearsal.secrets import Scrubber

_ABILITY = """
SELECT current_user AS role, current_setting('max_connections')::int AS connections_limit,
       (SELECT oid FROM pg_database WHERE datname = current_database())::text AS database,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
"""
# One short row for each backend, without its query: this runs several times a second.
_ACTIVITY = """
SELECT pid, application_name AS application, state, backend_type = 'client backend' AS is_client,
       wait_event_type = 'Lock' AS waits,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s
FROM pg_stat_get_activity(NULL)
WHERE pid <> pg_backend_pid() AND application_name NOT LIKE 'replay probe%'
"""
# What tells one lock from another.
_TARGET = (
    "concat_ws(':', locktype, database, relation, page, tuple, transactionid, virtualxid, classid, objid, objsubid)"
)
# Only while a step's session is in a transaction. A session's statement is read after its locks: the function takes
# their process ids from them.
_HELD = f"""
WITH held AS MATERIALIZED (
    SELECT pid, array_agg({_TARGET}) AS targets, array_agg(mode) AS modes
    FROM pg_locks WHERE granted AND pid = ANY (%s) AND mode <> 'AccessShareLock'
    GROUP BY pid HAVING count(*) <= 1000 -- half of them would say that the others were taken later
)
SELECT h.pid, h.targets, h.modes, left(a.query, 4000) AS query,
       extract(epoch FROM statement_timestamp())::float8 AS server_s,
       extract(epoch FROM a.query_start)::float8 AS query_start_s,
       extract(epoch FROM a.xact_start)::float8 AS transaction_start_s
FROM held h CROSS JOIN LATERAL pg_stat_get_activity(h.pid) a
WHERE a.xact_start IS NOT NULL AND a.query_start IS NOT NULL
"""  # noqa: S608 - of constants alone
# Of what a step locks, once for each relation: those that nobody but the step can see yet have no row.
_TABLES = """
SELECT oid::text AS oid, CASE WHEN relkind IN ('r', 'p', 'm') THEN oid::regclass::text END AS name
FROM pg_class WHERE oid = ANY (%s::oid[])
"""
# Only while something waits.
_SESSIONS = f"""
WITH lock AS MATERIALIZED (
    SELECT *, {_TARGET} AS target,
           CASE WHEN database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                THEN relation END AS here
    FROM pg_locks
),
waiting AS MATERIALIZED (
    -- who waits for a row's lock waits for a transaction, and holds the row's own lock meanwhile
    SELECT DISTINCT ON (l.pid) l.*, t.here AS row_of, 'relation:' || t.database || ':' || t.relation AS table_target
    FROM lock l
    LEFT JOIN lock t ON l.locktype = 'transactionid' AND t.pid = l.pid AND t.locktype = 'tuple' AND t.granted
    WHERE NOT l.granted
),
holding AS MATERIALIZED (
    SELECT pid, array_agg(target) AS targets, array_agg(mode) AS modes
    FROM lock WHERE granted AND target IN (SELECT target FROM waiting) GROUP BY pid
)
SELECT a.pid, a.application_name AS application, coalesce(a.state, a.backend_type) AS state,
       left(a.query, 4000) AS query,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)), 0)::float8 AS running_s,
       CASE WHEN w.pid IS NULL THEN '{{}}'::int[] ELSE pg_blocking_pids(a.pid) END AS blockers,
       w.locktype AS lock_type, w.mode AS lock_mode, w.target,
       CASE WHEN w.locktype = 'tuple' THEN 'relation:' || w.database || ':' || w.relation
            ELSE w.table_target END AS row_table,
       (SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid = coalesce(w.here, w.row_of)) AS relation,
       CASE WHEN w.locktype = 'advisory' THEN
            CASE WHEN w.objsubid = 1 THEN ((w.classid::bigint << 32) | w.objid::bigint)::text
                 ELSE w.classid || ', ' || w.objid END END AS advisory_key,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(WAITSTART, a.query_start)), 0)::float8 AS waited_s,
       h.targets, h.modes
FROM pg_stat_activity a
LEFT JOIN waiting w ON w.pid = a.pid
LEFT JOIN holding h ON h.pid = a.pid
WHERE a.pid <> pg_backend_pid()
"""  # noqa: S608 - of constants alone
_MOST_HELD = 20  # locks of one look
_WORDS = {"tuple": "row", "transactionid": "row", "virtualxid": "end of a transaction"}


class Sessions:
    """Sessions, locks and connections of the primary."""

    def __init__(self, dsn: str, name: str, readings: Readings, steps: Mapping[str, str], scrub: Scrubber) -> None:
        self._source = Source(dsn, name)
        self._readings = readings
        self._steps = steps
        self._scrub = scrub
        self._limit: int | None = None
        self._database = ""
        self._tables: dict[str, str | None] = {}  # by oid; None is what is no table
        self._holdings = Holdings()

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
            self._readings.failed(self._scrub(first_line(error)))

    def end(self) -> None:
        """Close all."""
        self._source.close()
        self._readings.close()

    def _begin(self) -> None:
        row = self._source.rows(_ABILITY)[0]
        self._limit = row["connections_limit"]
        self._database = row["database"]
        if not row["sees_all"]:
            self._readings.failed(
                f"{row['role']} may not see the sessions and statements of others: GRANT pg_monitor TO {row['role']}"
            )

    def _read(self) -> None:
        from_s = self._readings.now_s
        rows = self._source.rows(_ACTIVITY)
        at_s = self._readings.now_s
        self._look_at_steps(from_s, rows)
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
            for waited_s, detail in waits(self._sessions(), self._steps, self._holdings):
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

    def _look_at_steps(self, from_s: float, rows: list[dict[str, Any]]) -> None:
        pids = [row["pid"] for row in rows if row["application"] in self._steps and row["transaction_s"] is not None]
        held = self._source.rows(_HELD, pids) if pids else []
        to_s = self._readings.now_s
        self._holdings.see(
            from_s,
            {
                row["pid"]: Look(
                    from_s,
                    to_s,
                    server_s=row["server_s"],
                    transaction_start_s=row["transaction_start_s"],
                    query_start_s=row["query_start_s"],
                    query=self._scrub.query(row["query"] or ""),
                    held=_by_target(row["targets"], row["modes"]),
                )
                for row in held
            },
        )
        if held and to_s >= 0:
            steps = {row["pid"]: self._steps.get(row["application"]) for row in rows}
            self._say_held(held, steps, to_s)

    def _say_held(self, held: list[dict[str, Any]], steps: Mapping[int, str | None], at_s: float) -> None:
        """Since when the steps hold what keeps others out of a table, as far as they were seen to."""
        locks = [
            (row["pid"], target, mode)
            for row in held
            for target, mode in zip(row["targets"], row["modes"], strict=True)
            if mode in KEEPING_OUT and target.startswith(f"relation:{self._database}:")
        ][:_MOST_HELD]
        unknown = {_relation_of(target) for _, target, _ in locks} - self._tables.keys()
        if unknown:
            self._tables |= {row["oid"]: row["name"] for row in self._source.rows(_TABLES, sorted(unknown))}
        for pid, target, mode in locks:
            table, taken = self._tables.get(_relation_of(target)), self._holdings.taken(pid, target, [mode])
            if table and taken is not None:
                detail = {"step": steps.get(pid), "relation": table, "lock_mode": mode}
                self._readings.add("lock_held_s", max(0.0, at_s - taken.by_s), detail, at_s)

    def _sessions(self) -> list[Session]:
        # pg_locks tells since when somebody waits from PostgreSQL 14 on.
        waitstart = "w.waitstart" if self._source.version >= 140000 else "NULL::timestamptz"
        rows = self._source.rows(_SESSIONS.replace("WAITSTART", waitstart))
        involved = {pid for row in rows if row["blockers"] for pid in (row["pid"], *row["blockers"])}
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
                lock=_in_words(row),
                target=row["target"],
                table=row["row_table"],
                holds=_by_target(row["targets"] or (), row["modes"] or ()),
            )
            for row in rows
            if row["pid"] in involved
        ]


def _relation_of(target: str) -> str:
    """The oid of a relation, of what `_TARGET` makes of its lock."""
    return target.split(":")[2]


def _by_target(targets: Sequence[str], modes: Sequence[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for target, mode in zip(targets, modes, strict=True):
        found.setdefault(target, set()).add(mode)
    return {target: frozenset(held) for target, held in found.items()}


def _in_words(row: Mapping[str, Any]) -> str | None:
    """What a session waits for: ``relation token``, ``row of token``, ``advisory lock 42``."""
    kind: str | None = row["lock_type"]
    if kind is None:
        return None
    if kind == "advisory":
        return f"advisory lock {row['advisory_key']}"
    words = _WORDS.get(kind, kind)
    if not row["relation"]:
        return words
    return f"{words} {row['relation']}" if kind == "relation" else f"{words} of {row['relation']}"
