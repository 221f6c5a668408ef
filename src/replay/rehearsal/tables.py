"""How many rows tables have, and a checksum over them that does not depend on their order."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from replay.errors import first_line

_MOST_TABLES, _MOST_TOLD = 100, 200
# Largest sizes in bytes: of tables that are named, and of others.
_CHECKSUM_BYTES = (512 << 20, 64 << 20)
_QUICK_CHECKSUM_BYTES = (4 << 20, 4 << 20)
_COUNT_BYTES = (4 << 30, 512 << 20)
_ONE_S = 5.0
# By the size that the server last noted: to ask for the true one takes a lock.
_TABLES = """
SELECT n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname),
       greatest(c.relpages, 0)::bigint * current_setting('block_size')::bigint,
       (SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attname)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT p.relname::text FROM pg_class p WHERE p.oid = pg_partition_root(c.oid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 4, 1, 2
"""


@dataclass(frozen=True, slots=True)
class TableCount:
    """What one table holds; None where it was not counted, and ``uncounted`` says why."""

    rows: int | None = None
    checksum: str | None = None
    uncounted: str = ""


def count_tables(
    connection: psycopg.Connection[tuple[Any, ...]], named: Collection[str], *, others: bool, quick: bool, until: float
) -> dict[str, TableCount]:
    """The tables whose names are ``named``, and ``others`` that are small, until a moment of the monotonic clock.

    The smaller ones come first; those too large for the time are not counted, and of large ones there is no checksum
    (``quick``: of those above 4 MiB). A table's partitions are named with it. Names come as ``schema.table``, those of
    public without it.

    Raises psycopg.Error where they cannot be listed.
    """
    tables = connection.execute(_TABLES.encode()).fetchall()
    mine = [row for row in tables if {row[1], row[5]} & set(named)]
    checksum_bytes = _QUICK_CHECKSUM_BYTES if quick else _CHECKSUM_BYTES
    found: dict[str, TableCount] = {}
    for is_other, rows in enumerate((mine, [row for row in tables if row not in mine] if others else [])):
        for schema, name, quoted, size, columns, _ in rows:
            shown = name if schema == "public" else f"{schema}.{name}"
            with_checksum = size <= checksum_bytes[is_other] and bool(columns)
            if len(found) >= _MOST_TABLES:
                found[shown] = TableCount(uncounted=f"{_MOST_TABLES} others were counted")
            elif size > _COUNT_BYTES[is_other]:
                found[shown] = TableCount(uncounted="it is too large to be counted in time")
            else:
                found[shown] = _count(connection, quoted, columns if with_checksum else "", until)
            if len(found) >= _MOST_TOLD:
                return found
    return found


def _count(connection: psycopg.Connection[tuple[Any, ...]], quoted: str, columns: str, until: float) -> TableCount:
    left_s = min(_ONE_S, until - time.monotonic())
    if left_s < 0.01:
        return TableCount(uncounted="no time was left for it")
    checksum = f', sum(hashtextextended(ROW({columns})::text COLLATE "C", 0))' if columns else ", NULL"
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {int(1000 * left_s)}".encode())
            # The names come quoted from the server itself.
            query = f"SELECT count(*){checksum} FROM {quoted} AS t"  # noqa: S608
            rows, total = connection.execute(query.encode()).fetchall()[0]
    except psycopg.Error as error:
        if connection.closed:
            raise
        return TableCount(uncounted=first_line(error))
    return TableCount(int(rows), None if not columns else str(total or 0))
