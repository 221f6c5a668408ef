"""What is asked of a plan's database, whichever server it lies on: one file a server gives the answers."""

from collections.abc import Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import psycopg

from replay.rehearsal.probes.mysql.source import TROUBLE as MYSQL_TROUBLE
from replay.rehearsal.probes.mysql.source import said

__all__ = ["TROUBLE", "Activity", "Database", "Identity", "Listed", "Part", "Reading", "Session", "Watch", "said"]

# What a server, a wire or a driver can do to a question.
TROUBLE = (psycopg.Error, *MYSQL_TROUBLE)

Part = tuple[str, str, str]
"""A part of a schema: its kind, its name and its definition. Parts of a table are named ``TABLE.PART``."""

Session = tuple[str, str]
"""Who is connected, and a text that is another one once the session has done something."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database of which server it is. ``key`` is the same by whatever way the database is reached."""

    name: str
    key: Hashable
    oid: int | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A table. ``shown`` is its name in messages, ``full`` that with its schema in any case, ``quoted`` that in SQL.

    ``parent`` is the table of which it is a partition.
    ``columns`` are what a checksum goes over, as SQL; empty where there is nothing. ``forbidden`` says why it cannot be
    read, where that is known beforehand.
    """

    name: str
    shown: str
    full: str
    quoted: str
    size_bytes: int
    columns: str = ""
    parent: str = ""
    forbidden: str = ""


@dataclass(frozen=True, slots=True)
class Activity:
    """What the server has counted of a database's tables: reads and rows written. ``counts``: whether it does count."""

    reads: int
    writes: int
    counts: bool


class Reading(Protocol):
    """A connection that reads what a database holds. Everything raises TROUBLE."""

    @property
    def version(self) -> str:
        """The server's name and version: ``PostgreSQL 18.0``."""

    @property
    def lost(self) -> bool:
        """Whether the connection has broken."""

    def identity(self) -> Identity:
        """Which database it is."""

    def schema(self) -> list[Part]:
        """What its schema has, sorted."""

    def tables(self, *, exact: bool = False) -> list[Listed]:
        """Its tables, the smaller ones first. Sizes are as last noted; ``exact`` ones may have to wait for a lock."""

    def count(self, table: Listed, *, checksum: bool, limit_s: float | None) -> tuple[int, str | None]:
        """How many rows a table has, and a checksum over them that does not depend on their order."""


class Watch(Protocol):
    """A connection that looks again and again at who uses a database. Everything but ``close`` raises TROUBLE."""

    def connect(self) -> bool | None:
        """Whether a new connection was made; None where it is too early for another attempt."""

    def activity(self) -> Activity:
        """What was counted until now, by everybody."""

    def reads_of_replica(self) -> int:
        """How much clients have read here until now, where this is a replica."""

    def sessions(self) -> set[Session]:
        """The sessions of others in this database. Raises OSError where nothing at all tells who uses it."""

    def sessions_made(self) -> int | None:
        """How many sessions this database has had; None where nobody counts them."""

    def schema(self) -> list[Part]:
        """What the schema has now, read without being counted as a session."""

    def close(self) -> None:
        """Close all."""


class Database(Protocol):
    """A database as a plan names it. Equal where it is named alike."""

    @property
    def name(self) -> str:
        """As the plan has it."""

    @property
    def place(self) -> str:
        """Where it is, without who goes there: ``127.0.0.1:5432``."""

    def read(self, limit_s: float | None = None) -> AbstractContextManager[Reading]:
        """Connect to read it, for so long at most. Raises TROUBLE."""

    def watch(self) -> Watch:
        """What looks at who uses it; not connected yet."""
