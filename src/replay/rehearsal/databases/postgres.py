"""A PostgreSQL database: what it holds, and who uses it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from replay.rehearsal.databases.database import Activity, Identity, Listed, Part, Session
from replay.rehearsal.databases.postgres_schema import SCHEMA
from replay.rehearsal.probes.postgres.source import OURS, Source, place_of
from replay.rehearsal.sessions import ENCODING, limited

_NAME = "replay databases"
_CONNECT_S, _GRACE_S, _READ_S = 10, 3.0, 300.0
# Whatever the role's own are: rows are compared as texts. For one transaction: a pooler may stand between.
_SETTINGS = """
SET LOCAL jit = off; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;
"""
_IN_TIME = f"SET LOCAL statement_timeout = '5s' {OURS}; SET LOCAL lock_timeout = '1s' {OURS}"
_PATIENT = "SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s'"  # for a fingerprint
# The start of the server and the database's number tell whether two connection strings lead to the same one: nobody is
# kept from reading them, and a copy of the server has another start.
_IDENTITY = """
SELECT current_database()::text, d.oid::bigint, extract(epoch FROM pg_postmaster_start_time())::text
FROM pg_database d WHERE d.datname = current_database()
"""
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
# By the size that the server last noted: to ask for the true one takes a lock.
_NOTED_SIZE = "greatest(c.relpages, 0)::bigint * current_setting('block_size')::bigint"
_EXACT_SIZE = "pg_relation_size(c.oid)"
_TABLES = """
SELECT n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname), {size},
       (SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attname)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT p.relname::text FROM pg_class p WHERE p.oid = pg_partition_root(c.oid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 4, 1, 2
"""
_SESSIONS_COUNTED = 140000  # the version of the server that began to count them
_COUNTS = """
SELECT coalesce(sum(pg_stat_get_numscans(c.oid)), 0)::bigint AS scans,
       coalesce(sum(pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid)
                    + pg_stat_get_tuples_deleted(c.oid)), 0)::bigint AS writes,
       current_setting('track_counts')::bool AS counts
FROM pg_class c
WHERE c.relkind IN ('r', 'i', 'm')
  AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')
"""
# What a role may not see of others is null.
_SESSIONS = """
SELECT concat_ws(' ', pid, backend_start) AS who, concat_ws(' ', query_start, state_change) AS moved
FROM pg_stat_get_activity(NULL)
WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()
  AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
  AND application_name NOT LIKE 'replay%'
"""
_MADE = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database by its connection string."""

    dsn: str = field(repr=False)

    @property
    def name(self) -> str:
        """As the connection string has it; empty where it leaves it out."""
        return str(conninfo_to_dict(self.dsn).get("dbname") or "")

    @property
    def place(self) -> str:
        """Host and port."""
        return place_of(self.dsn)

    @contextlib.contextmanager
    def read(self, limit_s: float | None = None) -> Iterator["PostgresReading"]:
        """Connect to read it. A server that says nothing more is left alone some seconds after ``limit_s``."""
        settings = _SETTINGS + (_PATIENT if limit_s is None else _IN_TIME)
        whole_s = _READ_S if limit_s is None else limit_s + _GRACE_S
        connect_s = _CONNECT_S if limit_s is None else 3
        with limited(self.dsn, whole_s, _NAME, connect_limit_s=connect_s) as session, session.transaction():
            session.execute(settings.encode())
            yield PostgresReading(session)

    def watch(self) -> "PostgresWatch":
        """What looks at who uses it."""
        return PostgresWatch(self.dsn)


class PostgresReading:
    """A connection that reads what is there, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def version(self) -> str:
        """``PostgreSQL 18.0``."""
        return f"PostgreSQL {self._connection.info.parameter_status('server_version')}"

    @property
    def lost(self) -> bool:
        """Whether the connection has broken."""
        return bool(self._connection.closed)

    def identity(self) -> Identity:
        """By the server's start and the database's number."""
        name, oid, started = self._rows(_IDENTITY)[0]
        system = None
        with contextlib.suppress(psycopg.Error), self._connection.transaction():
            system = str(self._rows(_SYSTEM)[0][0])
        return Identity(str(name), (str(started), int(oid)), int(oid), system)

    def schema(self) -> list[Part]:
        """As the server writes it."""
        return _read_schema(self._connection)

    def tables(self, *, exact: bool = False) -> list[Listed]:
        """Partitions each for itself."""
        return [
            Listed(
                name=name,
                shown=name if schema == "public" else f"{schema}.{name}",
                full=quoted,
                quoted=quoted,
                size_bytes=int(size),
                columns=columns or "",
                parent=root or "",
            )
            for schema, name, quoted, size, columns, root in self._rows(
                _TABLES.replace("{size}", _EXACT_SIZE if exact else _NOTED_SIZE)
            )
        ]

    def count(self, table: Listed, *, checksum: bool, limit_s: float | None) -> tuple[int, str | None]:
        """The checksum goes over the columns as texts, in the order of their names."""
        checksum = checksum and bool(table.columns)
        total = f'sum(hashtextextended(ROW({table.columns})::text COLLATE "C", 0))' if checksum else "NULL"
        with self._connection.transaction():
            limit_ms = 0 if limit_s is None else max(1, int(1000 * limit_s))
            self._connection.execute(f"SET LOCAL statement_timeout = {limit_ms}".encode())
            # The names come quoted from the server itself.
            rows, found = self._rows(f"SELECT count(*), {total} FROM {table.quoted} AS t")[0]  # noqa: S608
        return int(rows), str(found or 0) if checksum else None

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode()).fetchall()


class PostgresWatch:
    """Looks at who uses a database: the server counts how often tables and indexes are read and written.

    Probes read none of them, so that between the steps only the application moves these counts, however short its
    sessions are. A session hands in what it has counted when it is at rest.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._source = Source(dsn, "databases")
        self._plain: Connection | None = None

    def connect(self) -> bool | None:
        """Connect, unless it is connected or too early."""
        return self._source.connect()

    def activity(self) -> Activity:
        """Scans of tables and indexes, and rows written."""
        row = self._source.rows(_COUNTS)[0]
        return Activity(int(row["scans"]), int(row["writes"]), bool(row["counts"]))

    def reads_of_replica(self) -> int:
        """Scans: what a replica replays makes none."""
        return self.activity().reads

    def sessions(self) -> set[Session]:
        """But for our own."""
        return {(str(one["who"]), str(one["moved"])) for one in self._source.rows(_SESSIONS)}

    def sessions_made(self) -> int | None:
        """As the server counts them, where it does."""
        return int(self._source.rows(_MADE)[0]["sessions"]) if self._source.version >= _SESSIONS_COUNTED else None

    def schema(self) -> list[Part]:
        """Through a connection that is kept open, so as not to be counted as a session."""
        try:
            if self._plain is None:
                self._plain = psycopg.connect(
                    self._dsn, autocommit=True, connect_timeout=3, application_name=_NAME, client_encoding=ENCODING
                )
            with self._plain.transaction():
                self._plain.execute(_IN_TIME.encode())
                return _read_schema(self._plain)
        except psycopg.Error:
            self._close_plain()
            raise

    def close(self) -> None:
        """Close both."""
        self._source.close()
        self._close_plain()

    def _close_plain(self) -> None:
        plain, self._plain = self._plain, None
        if plain is not None:
            with contextlib.suppress(psycopg.Error):
                plain.close()


def _read_schema(connection: Connection) -> list[Part]:
    with connection.transaction():
        # On it depends how names are written. For this transaction: a pooler may give the session to others.
        connection.execute(f"SET LOCAL search_path = public {OURS}".encode())
        rows = connection.execute(f"{SCHEMA.rstrip()} {OURS}".encode()).fetchall()
    return [(str(kind), str(name), str(text)) for kind, name, text in rows]
