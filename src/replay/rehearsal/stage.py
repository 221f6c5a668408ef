"""Stage before an arm: put back, answering, and the same as before the other arms."""

import contextlib
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from replay.errors import StageError, first_line
from replay.rehearsal.commands import OutputLog, Program, RunningCommand
from replay.rehearsal.plan import TargetPlan
from replay.rehearsal.probes.plan import ProbePlan
from replay.rehearsal.probes.postgres.source import OURS
from replay.rehearsal.sessions import Session, limited

_POLL_S = 0.2
_COUNT_LIMIT_S = 20.0
_LOCK_S = 10
_READ_LIMIT_S = 300.0
_PATIENCE = f"SET LOCAL lock_timeout = '{_LOCK_S}s'; SET LOCAL statement_timeout = '60s'".encode()
# What makes up a schema, as the server itself writes it. Not the places of columns: one that was dropped and came back
# is the same.
_SCHEMA = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, {table},
       concat_ws(' ', c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f', 'S') AND {ours}
UNION ALL
SELECT 'column', {table} || '.' || a.attname,
       concat_ws(' ', c.relkind, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                 pg_get_expr(d.adbin, d.adrelid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {ours}
UNION ALL
SELECT 'constraint', {table} || '.' || k.conname, pg_get_constraintdef(k.oid) || ' ' || k.convalidated
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}
UNION ALL
SELECT 'index', {table} || '.' || x.relname, pg_get_indexdef(x.oid) || ' ' || i.indisvalid
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}
UNION ALL
SELECT 'trigger', {table} || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND {ours}
UNION ALL
SELECT 'view', {table}, pg_get_viewdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND {ours}
UNION ALL
SELECT 'function', p.oid::regprocedure::text,
       md5(concat_ws(' ', p.prokind, p.prorettype::regtype, p.provolatile, p.prosecdef, p.probin, p.prosrc))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {ours} AND NOT EXISTS (
    SELECT FROM pg_depend o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid AND o.deptype = 'e'
)
UNION ALL
SELECT 'type', format_type(t.oid, NULL), string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder)
FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {ours}
GROUP BY t.oid
ORDER BY 1, 2, 3
""".replace("{table}", "CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname").replace(
    "{ours}", "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
)
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY pg_relation_size(c.oid), 1
"""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A database's schema and how many rows each table has. Tables too large to count in time are not in ``rows``."""

    version: str
    schema: str
    rows: dict[str, int]

    @property
    def digest(self) -> str:
        """32 hex digits over the schema and the counted rows."""
        return digest([self.schema, sorted(self.rows.items())])

    def differences(self, other: "Fingerprint") -> list[str]:
        """What differs from another fingerprint, in words."""
        found = [] if self.schema == other.schema else ["the schema differs"]
        for table in sorted({*self.rows, *other.rows}):
            here, there = self.rows.get(table), other.rows.get(table)
            if here != there:
                found.append(f"{table} has {_rows(here)}, {_rows(there)} before the first arm")
        return found


def read_schema(connection: Session) -> list[tuple[str, str, str]]:
    """What the schema of a database has: (kind, name, definition), sorted. Raises psycopg.Error."""
    with connection.transaction():
        # On it depends how names are written. For this transaction: a pooler may give the session to others.
        connection.execute(f"SET LOCAL search_path = public {OURS}".encode())
        rows = connection.execute(f"{_SCHEMA.rstrip()} {OURS}".encode()).fetchall()
    return [(str(kind), str(name), str(text)) for kind, name, text in rows]


def digest(value: object) -> str:
    """32 hex digits over a value of JSON."""
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=16).hexdigest()


def fingerprint(dsn: str, only: Collection[str] | None = None) -> Fingerprint:
    """Fingerprint a database. ``only`` these tables are counted, else all, the smaller ones first, for 20 s at most.

    Raises StageError where the database cannot be read.
    """
    try:
        with limited(dsn, _READ_LIMIT_S, "replay fingerprint", connect_limit_s=10) as session:
            with session.transaction():
                session.execute(_PATIENCE)
                asked = session.execute("SELECT 'PostgreSQL ' || current_setting('server_version')")
                version = str(asked.fetchall()[0][0])
                schema = digest(read_schema(session))
                tables = [str(row[0]) for row in session.execute(_TABLES.encode()).fetchall()]
            if only is None:
                counted = _count(session, tables, _COUNT_LIMIT_S)
            else:  # the caches may be cold by now
                counted = _count(session, [table for table in tables if table in only], 5 * _COUNT_LIMIT_S)
    except psycopg.errors.LockNotAvailable as error:
        raise StageError(
            "Stage's database cannot be read: somebody holds a lock on one of its tables.",
            "End that session: pg_stat_activity shows it.",
        ) from error
    except psycopg.Error as error:
        raise StageError(
            f"Stage's database cannot be read: {first_line(error)}.", "See that it runs and that dsn is right."
        ) from error
    return Fingerprint(version, schema, counted)


def _count(session: Session, tables: Sequence[str], limit_s: float) -> dict[str, int]:
    """How many rows tables have, one after the other, as far as the time reaches."""
    deadline = time.monotonic() + limit_s
    counted: dict[str, int] = {}
    for table in tables:
        left_ms = int(1000 * (deadline - time.monotonic()))
        if left_ms <= 0:
            break
        with contextlib.suppress(psycopg.errors.QueryCanceled), session.transaction():
            session.execute(_PATIENCE)
            # Longer than the wait for a lock, which is Stage's trouble and no lack of time.
            session.execute(f"SET LOCAL statement_timeout = {left_ms + 1000 * _LOCK_S}".encode())
            # The name comes quoted from the server itself.
            counted[table] = session.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0]  # noqa: S608
    return counted


def put_back(
    target: TargetPlan, folder: Path, logs: Path, scrub: Callable[[str], str], doing: Callable[[str], None]
) -> float:
    """Reset Stage, wait until it answers, and fill its caches, as far as the plan says how. How long the reset took.

    The output is in ``reset.log`` and ``warm.log`` in ``logs``; ``doing`` is told what is being done. However it ends,
    nothing that was started runs on. Raises StageError where something fails.
    """
    started = time.monotonic()
    if target.reset is not None:
        doing("putting Stage back")
        _run("reset", target.reset, target.reset_timeout_s, folder, logs / "reset.log", scrub=scrub)
    reset_s = time.monotonic() - started
    doing("waiting until Stage answers")
    wait_until_ready(target)
    if target.warm is not None:
        doing("warming Stage's caches")
        _run("warm", target.warm, target.reset_timeout_s, folder, logs / "warm.log", scrub=scrub)
    return reset_s


def _run(
    key: str, program: Program, limit_s: float, folder: Path, log_file: Path, *, scrub: Callable[[str], str]
) -> None:
    with closing(OutputLog(log_file, scrub)) as log:
        log.write(f"$ {program.written}")
        running = RunningCommand(program, folder, log.write)
        try:
            result = running.wait(limit_s)
        finally:
            running.kill()
    if result.error:
        raise StageError(f"Stage's {key} failed: {scrub(result.error)}.", f"Its output is in {log_file}.")


def wait_until_ready(target: TargetPlan) -> None:
    """Wait until Stage answers. Raises StageError, with its last answer, where it does not within the limit."""
    deadline = time.monotonic() + target.ready_timeout_s
    asked = " ".join(target.ready) if target.ready else "a connection"
    while True:
        answer = _ask(target)
        if not answer:
            return
        if time.monotonic() > deadline:
            raise StageError(
                f"{target.target.url} did not answer {asked} within {target.ready_timeout_s:g} s: {answer}.",
                "See that Stage runs and that url and ready in [target] are right.",
            )
        time.sleep(_POLL_S)


def wait_for_replicas(probes: Sequence[ProbePlan], limit_s: float) -> None:
    """Wait until no replica is behind. Raises StageError where one still is after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while behind := next(filter(None, (probe.tell_behind() for probe in probes)), ""):
        if time.monotonic() > deadline:
            raise StageError(
                f"Stage is not as it was: {behind}, {limit_s:g} s after it was put back.",
                "See that replication runs; ready_timeout in [target] gives it longer.",
            )
        time.sleep(_POLL_S)


def _ask(target: TargetPlan) -> str:
    """Why Stage is not ready, or an empty text."""
    place = target.target
    try:
        if target.ready is None:
            socket.create_connection((place.host, place.port), timeout=5).close()
            return ""
        method, path = target.ready
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.host, place.port, timeout=5)
        try:
            connection.request(method, place.base_path + path)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return "" if status < 400 else f"status {status}"


def _rows(count: int | None) -> str:
    return "no count" if count is None else f"{count} rows"
