"""A MySQL or MariaDB database: what it holds, and who uses it.

An address that names no database stands for all of its server's that the user may see, but for the server's own.
"""

import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from replay.rehearsal.databases.database import Activity, Identity, Listed, Part, Session
from replay.rehearsal.databases.mysql_schema import LISTS, parts_of
from replay.rehearsal.probes.mysql import queries
from replay.rehearsal.probes.mysql.source import TROUBLE, Address, Source, is_refused, quoted_user

_NAME = "databases"
_PATIENCE_S = 600.0  # for a fingerprint
_OURS = re.compile(r"\{ours ([\w.]+)\}")
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
# Whatever the user's own are: rows are compared as texts.
_SETTINGS = "SET SESSION time_zone = '+00:00', sql_mode = '', sql_quote_show_create = 1"
# MySQL would give sizes of yesterday.
_SETTINGS_MYSQL = f"{_SETTINGS}, information_schema_stats_expiry = 0"
_IDENTITY = """
SHOW VARIABLES WHERE Variable_name IN ('hostname', 'port', 'datadir', 'server_uuid', 'server_uid')
"""
_TABLES = """
SELECT TABLE_SCHEMA AS base, TABLE_NAME AS name, TABLE_TYPE AS kind, COALESCE(DATA_LENGTH, 0) AS size_bytes
FROM information_schema.TABLES WHERE {ours TABLE_SCHEMA}
"""
_WITH_ROWS = ("BASE TABLE", "SYSTEM VERSIONED")
# What is generated follows from the others.
_COLUMNS = """
SELECT TABLE_SCHEMA AS base, TABLE_NAME AS name, COLUMN_NAME AS col, DATA_TYPE AS kind
FROM information_schema.COLUMNS WHERE {ours TABLE_SCHEMA} AND COALESCE(GENERATION_EXPRESSION, '') = ''
"""
_LONG = re.compile(r".*(?:blob|text|json|geometry|point|linestring|polygon|collection)")
# InnoDB's own list has those too that the user may not read, as DATABASE/TABLE#P#PARTITION.
_INNODB = "SELECT NAME AS name FROM information_schema.{}"
_NOT_TABLES = re.compile(r"(?i)#|FTS_[0-9a-f]{16}_")
_ENCODED = re.compile(r"@([0-9a-f]{4})")
# Whether the server counts reads and writes of tables, and the counts: by performance_schema, or MariaDB's userstat.
_COUNTED = """
SELECT COUNT(*) = 2 AS kept FROM (
    SELECT NAME FROM performance_schema.setup_instruments
    WHERE NAME = 'wait/io/table/sql/handler' AND ENABLED = 'YES'
    UNION ALL
    SELECT NAME FROM performance_schema.setup_consumers WHERE NAME = 'global_instrumentation' AND ENABLED = 'YES'
) AS needed
"""
_COUNTS = """
SELECT COALESCE(SUM(COUNT_READ), 0) AS seen, COALESCE(SUM(COUNT_WRITE), 0) AS written
FROM performance_schema.table_io_waits_summary_by_table WHERE OBJECT_TYPE = 'TABLE' AND {ours OBJECT_SCHEMA}
"""
_COUNTS_USERSTAT = """
SELECT COALESCE(SUM(ROWS_READ), 0) AS seen, COALESCE(SUM(ROWS_CHANGED), 0) AS written
FROM information_schema.TABLE_STATISTICS WHERE {ours TABLE_SCHEMA}
"""
# Where neither counts, InnoDB tells at least which rows were written since it last counted a table.
_WRITTEN = "SELECT NAME AS name, MODIFIED_COUNTER AS written FROM information_schema.{}"
# What tells that a session has done something since it was last looked at.
_SESSIONS_MARIADB = """
SELECT ID AS pid, USER AS user, COMMAND AS command, QUERY_ID AS moved
FROM information_schema.PROCESSLIST WHERE {ours DB}
"""
_SESSIONS = _SESSIONS_MARIADB.replace("QUERY_ID", "CONCAT_WS(' ', COMMAND, TIME, STATE, INFO)")
_SESSIONS_MYSQL = """
SELECT t.PROCESSLIST_ID AS pid, t.PROCESSLIST_USER AS user, t.PROCESSLIST_COMMAND AS command, e.EVENT_ID AS moved
FROM performance_schema.threads t
LEFT JOIN performance_schema.events_statements_current e
    ON e.THREAD_ID = t.THREAD_ID AND e.NESTING_EVENT_LEVEL = 0
WHERE t.TYPE = 'FOREGROUND' AND t.PROCESSLIST_ID IS NOT NULL AND {ours t.PROCESSLIST_DB}
"""


@dataclass(frozen=True, slots=True)
class MysqlDatabase:
    """A database by its address."""

    address: Address

    @property
    def name(self) -> str:
        """As the address has it."""
        return self.address.database or "all databases"

    @property
    def place(self) -> str:
        """Host and port."""
        return self.address.place

    @contextlib.contextmanager
    def read(self, limit_s: float | None = None) -> Iterator["MysqlReading"]:
        """Connect to read it. Nothing more is asked after ``limit_s``, and no answer takes longer."""
        source = Source(self.address, _NAME, patience_s=limit_s or _PATIENCE_S)
        try:
            source.connect()
            source.rows(_SETTINGS if source.version.maria else _SETTINGS_MYSQL)
            yield MysqlReading(_Asked(source, self.address.database), limit_s)
        finally:
            source.close()

    def watch(self) -> "MysqlWatch":
        """What looks at who uses it."""
        return MysqlWatch(self.address)


class _Asked:
    """A connection that is asked about one database, or about all."""

    def __init__(self, source: Source, base: str | None) -> None:
        self.source = source
        self.base = base

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query, with ``{ours COLUMN}`` for what limits it to the database."""
        wanted = (self.base,) if self.base else _SYSTEM
        condition = rf"\1 {'IN' if self.base else 'NOT IN'} ({', '.join(['%s'] * len(wanted))})"
        found = len(_OURS.findall(query))
        return self.source.rows(_OURS.sub(condition, query), *(wanted * found))

    def may(self, query: str) -> bool:
        """Whether the user may ask this."""
        try:
            self.rows(query)
        except TROUBLE as error:
            if not is_refused(error):
                raise
            return False
        return True

    def shown(self, base: str, name: str) -> str:
        """A table's name in messages."""
        return name if self.base else f"{base}.{name}"

    def holds(self, path: str) -> bool:
        """Whether a table is of the database, by InnoDB's name for it: ``DATABASE/TABLE``."""
        base = _decoded(path.partition("/")[0])
        return base == self.base if self.base else base not in _SYSTEM

    @property
    def user(self) -> str:
        """Who is connected, as GRANT wants it."""
        return quoted_user(str(self.source.rows("SELECT CURRENT_USER() AS user")[0]["user"]))

    def tables(self) -> list[dict[str, Any]]:
        """All that are listed: ``base``, ``name``, ``kind`` and ``size_bytes`` of each."""
        return self.rows(_TABLES)

    def schema(self) -> list[Part]:
        """What the schema has, as far as the user may see it."""
        found: list[Part] = []
        for row in self.tables():
            if row["kind"] in _WITH_ROWS:
                found += self._parts(str(row["base"]), str(row["name"]))
        for query in LISTS:
            for row in self.rows(query):
                names = self.shown(str(row["base"]), str(row["name"])), row["part"]
                name = ".".join(str(one) for one in names if one is not None)
                found.append((str(row["kind"]), name, str(row["text"])))
        return sorted(found)

    def _parts(self, base: str, name: str) -> Iterable[Part]:
        shown = self.shown(base, name)
        try:
            created = self.source.rows(f"SHOW CREATE TABLE {_quoted(base)}.{_quoted(name)}")[0]["Create Table"]
        except TROUBLE as error:
            if not is_refused(error):
                raise
            return [("table", shown, "not to be read")]
        return parts_of(shown, str(created))


class MysqlReading:
    """A connection that reads what is there, one statement after the other."""

    def __init__(self, asked: _Asked, limit_s: float | None) -> None:
        self._asked = asked
        self._until = None if limit_s is None else time.monotonic() + limit_s

    @property
    def version(self) -> str:
        """``MariaDB 10.11.19``."""
        return self._asked.source.server

    @property
    def lost(self) -> bool:
        """Whether the connection has broken."""
        return self._asked.source.lost

    def identity(self) -> Identity:
        """By what the server calls itself, and where it keeps its data."""
        told = {row["Variable_name"]: str(row["Value"]) for row in self._rows(_IDENTITY)}
        name = self._asked.base
        key = (*(told.get(one) for one in ("hostname", "port", "datadir")), name)
        return Identity(name or "all databases", key, None, told.get("server_uuid") or told.get("server_uid"))

    def schema(self) -> list[Part]:
        """As far as the user may see it."""
        self._check_time()
        return self._asked.schema()

    def tables(self, *, exact: bool = False) -> list[Listed]:  # noqa: ARG002 - sizes take no lock here
        """A table with its partitions is one. Those that the user may not see are told at the end."""
        columns: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for row in self._rows(_COLUMNS):
            columns[str(row["base"]), str(row["name"])].append((str(row["col"]), str(row["kind"])))
        self._check_time()
        rows = [
            (int(row["size_bytes"]), str(row["base"]), str(row["name"]), row["kind"]) for row in self._asked.tables()
        ]
        listed = [
            self._listed(base, name, size_bytes, ", ".join(map(_as_bytes, sorted(columns[base, name]))))
            for size_bytes, base, name, kind in sorted(rows)
            if kind in _WITH_ROWS
        ]
        return [*listed, *self._hidden({name.lower() for _, _, name, _ in rows})]

    def count(self, table: Listed, *, checksum: bool, limit_s: float | None) -> tuple[int, str | None]:
        """The checksum goes over the columns as bytes, in the order of their names."""
        self._check_time()
        checksum = checksum and bool(table.columns)
        digest = f"CONV(LEFT(SHA2(CONCAT({table.columns}), 256), 16), 16, 10)"
        total = f"SUM(CAST({digest} AS UNSIGNED))" if checksum else "NULL"
        self._asked.source.limit(limit_s)
        # The names come from the server itself.
        row = self._asked.source.rows(f"SELECT COUNT(*) AS counted, {total} AS total FROM {table.quoted}")[0]  # noqa: S608
        return int(row["counted"]), str(row["total"] or 0) if checksum else None

    def _hidden(self, seen: set[str]) -> Iterator[Listed]:
        """The tables of this database that the user may not see, as far as InnoDB tells of them."""
        base = self._asked.base
        query = _INNODB.format("INNODB_SYS_TABLES" if self._asked.source.version.maria else "INNODB_TABLES")
        if base is None or not self._asked.may(f"{query} LIMIT 1"):
            return
        paths = [str(row["name"]) for row in self._rows(query)]
        names = {path.partition("/")[2] for path in paths if self._asked.holds(path)}
        hidden = {_decoded(re.split("(?i)#p#", name)[0]) for name in names if not _NOT_TABLES.match(name)}
        for name in sorted(hidden):
            if name.lower() not in seen:
                told = f"{self._asked.user} may not read it: GRANT SELECT ON {_quoted(base)}.* TO {self._asked.user}"
                yield self._listed(base, name, 0, "", told)

    def _listed(self, base: str, name: str, size_bytes: int, columns: str, forbidden: str = "") -> Listed:
        return Listed(
            name=name,
            shown=self._asked.shown(base, name),
            full=f"{base}.{name}",
            quoted=f"{_quoted(base)}.{_quoted(name)}",
            size_bytes=size_bytes,
            columns=columns,
            forbidden=forbidden,
        )

    def _rows(self, query: str) -> list[dict[str, Any]]:
        self._check_time()
        return self._asked.rows(query)

    def _check_time(self) -> None:
        if self._until is not None and time.monotonic() > self._until:
            raise TimeoutError("no time was left to ask more")


class MysqlWatch:
    """Looks at who uses a database: ``performance_schema`` counts reads and writes of tables, and so does ``userstat``.

    Where neither does, only sessions tell, and a session that comes and goes between two looks is not seen.
    """

    def __init__(self, address: Address) -> None:
        self._asked = _Asked(Source(address, _NAME), address.database)
        self._counts, self._sessions = "", ""
        self._sees_others = False
        self._known: set[Session] | None = None
        self._reads = 0

    def connect(self) -> bool | None:
        """Connect, unless it is connected or too early, and find out what this server tells this user."""
        made = self._asked.source.connect()
        if made:
            maria = self._asked.source.version.maria
            on = bool(self._asked.source.rows(queries.USER)[0]["schema_on"]) and self._asked.may(_COUNTED)
            self._counts = _counts_query(self._asked, schema_on=on)
            self._sessions = _SESSIONS_MARIADB if maria else _SESSIONS_MYSQL if on else _SESSIONS
            self._sees_others = self._asked.may(queries.TRANSACTIONS)
        return made

    def activity(self) -> Activity:
        """Rows read and written."""
        if not self._counts:
            return Activity(0, self._written() if self._sees_others else 0, counts=False)
        row = self._asked.rows(self._counts)[0]
        return Activity(int(row["seen"]), int(row["written"]), counts=True)

    def _written(self) -> int:
        table = "INNODB_SYS_TABLESTATS" if self._asked.source.version.maria else "INNODB_TABLESTATS"
        rows = self._asked.source.rows(_WRITTEN.format(table))
        return sum(int(row["written"]) for row in rows if self._asked.holds(str(row["name"])))

    def reads_of_replica(self) -> int:
        """How often sessions were seen at work: what a replica applies reads rows too, but has no such session."""
        sessions = self.sessions()
        self._reads += 0 if self._known is None else len(sessions - self._known)
        self._known = sessions
        return self._reads

    def sessions(self) -> set[Session]:
        """But for our own, and the server's; none where the user may not see them and the server counts."""
        if not self._sees_others:
            if self._counts:
                return set()
            user = self._asked.user
            raise PermissionError(f"{user} may not see the sessions of others: GRANT PROCESS ON *.* TO {user}")
        ours = self._asked.source.ours
        return {
            (str(row["pid"]), str(row["moved"]))
            for row in self._asked.rows(self._sessions)
            if int(row["pid"]) not in ours and queries.is_client(row)
        }

    def sessions_made(self) -> int | None:
        """The server counts only those of all its databases together."""
        return None

    def schema(self) -> list[Part]:
        """Through the same connection."""
        return self._asked.schema()

    def close(self) -> None:
        """Close it."""
        self._asked.source.close()


def _counts_query(asked: _Asked, *, schema_on: bool) -> str:
    """How this server is asked what it counted; empty where it counts nothing."""
    if schema_on and asked.rows(_COUNTED)[0]["kept"]:
        return _COUNTS
    if asked.source.version.maria and asked.rows("SELECT @@userstat AS kept")[0]["kept"]:
        return _COUNTS_USERSTAT
    return ""


def _as_bytes(column: tuple[str, str]) -> str:
    """A column as bytes in quotes, so that no two rows give the same text; what may be long by a digest of it."""
    name, kind = _quoted(column[0]), column[1]
    return f"QUOTE(SHA2({name}, 256))" if _LONG.fullmatch(kind.lower()) else f"QUOTE(CAST({name} AS BINARY))"


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _decoded(name: str) -> str:
    """A table's name as InnoDB's file of it has it: ``my@002dtable``."""
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), name)
