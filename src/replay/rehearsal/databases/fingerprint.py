"""What a database is like before an arm: its schema, and how many rows its tables have."""

import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from replay.errors import StageError
from replay.rehearsal.databases.database import TROUBLE, Database, Reading, said

_COUNT_LIMIT_S = 20.0
_LOCK_S = 10.0


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


def digest(value: object) -> str:
    """32 hex digits over a value of JSON."""
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=16).hexdigest()


def fingerprint(database: Database, only: Collection[str] | None = None) -> Fingerprint:
    """Fingerprint a database. ``only`` these tables are counted, else all, the smaller ones first, for 20 s at most.

    Raises StageError where the database cannot be read.
    """
    try:
        with database.read() as reading:
            return Fingerprint(reading.version, digest(reading.schema()), _counted(reading, only))
    except psycopg.errors.LockNotAvailable as error:
        raise StageError(
            "Stage's database cannot be read: somebody holds a lock on one of its tables.",
            "End that session: pg_stat_activity shows it.",
        ) from error
    except TROUBLE as error:
        raise StageError(
            f"Stage's database cannot be read: {said(error)}.",
            "See that it runs, that dsn is right, and that its user may read the tables.",
        ) from error


def _counted(reading: Reading, only: Collection[str] | None) -> dict[str, int]:
    found: dict[str, int] = {}
    # What was counted once is counted again: the caches may be cold by now.
    deadline = time.monotonic() + _COUNT_LIMIT_S * (1 if only is None else 5)
    for table in reading.tables(exact=True):
        if table.forbidden or (only is not None and table.full not in only):
            continue
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        try:
            # Longer than the wait for a lock, which is Stage's trouble and no lack of time.
            found[table.full], _ = reading.count(table, checksum=False, limit_s=left_s + _LOCK_S)
        except TROUBLE:
            if reading.lost or time.monotonic() < deadline:
                raise
            break
    return found


def _rows(count: int | None) -> str:
    return "no count" if count is None else f"{count} rows"
