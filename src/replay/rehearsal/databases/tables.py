"""How many rows tables have, and a checksum over them that does not depend on their order."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from replay.rehearsal.databases.database import TROUBLE, Listed, Reading, said

_MOST_TABLES, _MOST_TOLD = 100, 200
# Largest sizes in bytes: of tables that are named, and of others.
_CHECKSUM_BYTES = (512 << 20, 64 << 20)
_QUICK_CHECKSUM_BYTES = (4 << 20, 4 << 20)
_COUNT_BYTES = (4 << 30, 512 << 20)
_ONE_S = 5.0


@dataclass(frozen=True, slots=True)
class TableCount:
    """What one table holds; None where it was not counted, and ``uncounted`` says why."""

    rows: int | None = None
    checksum: str | None = None
    uncounted: str = ""


def count_tables(
    reading: Reading, named: Collection[str], *, others: bool, quick: bool, until: float
) -> dict[str, TableCount]:
    """The tables whose names are ``named``, and ``others`` that are small, until a moment of the monotonic clock.

    The smaller ones come first; those too large for the time are not counted, and of large ones there is no checksum
    (``quick``: of those above 4 MiB). A table's partitions are named with it. Names come as messages show them.

    Raises TROUBLE where they cannot be listed.
    """
    tables = reading.tables()
    mine = [table for table in tables if {table.name, table.parent} & set(named)]
    checksum_bytes = _QUICK_CHECKSUM_BYTES if quick else _CHECKSUM_BYTES
    found: dict[str, TableCount] = {}
    for is_other, listed in enumerate((mine, [table for table in tables if table not in mine] if others else [])):
        for table in listed:
            if len(found) >= _MOST_TABLES:
                counted = TableCount(uncounted=f"{_MOST_TABLES} others were counted")
            elif table.forbidden:
                counted = TableCount(uncounted=table.forbidden)
            elif table.size_bytes > _COUNT_BYTES[is_other]:
                counted = TableCount(uncounted="it is too large to be counted in time")
            else:
                counted = _count(reading, table, table.size_bytes <= checksum_bytes[is_other], until)
            found[table.shown] = counted
            if len(found) >= _MOST_TOLD:
                return found
    return found


def _count(reading: Reading, table: Listed, checksum: bool, until: float) -> TableCount:
    left_s = min(_ONE_S, until - time.monotonic())
    if left_s < 0.01:
        return TableCount(uncounted="no time was left for it")
    try:
        return TableCount(*reading.count(table, checksum=checksum, limit_s=left_s))
    except TROUBLE as error:
        if reading.lost:
            raise
        return TableCount(uncounted=said(error))
