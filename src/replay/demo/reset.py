"""Put Stage back: ``python -m replay.demo.reset``, with the database's DSN in STAGE_DSN.

Where STAGE_DEPLOYS is set, the API's first release is deployed. Then it drops the database, makes it anew from the
template, waits until the standby has followed, and reads it once into memory.
"""

import os
import sys
import time

import psycopg
from psycopg import sql

from replay.demo.data import DATABASE, TEMPLATE
from replay.demo.releases import FIRST, ask
from replay.errors import ReplayError, StageError

_PATIENCE_S = 60.0


def reset(dsn: str) -> None:
    """Make the database of ``dsn``'s server anew from its template. Raises StageError."""
    try:
        with psycopg.connect(psycopg.conninfo.make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            _recreate(connection)
            _wait_for_standby(connection)
        with psycopg.connect(psycopg.conninfo.make_conninfo(dsn, dbname=DATABASE), autocommit=True) as connection:
            _warm(connection)
    except psycopg.Error as error:
        raise StageError(f"Stage's database cannot be put back: {error}".strip()) from error


def _recreate(connection: psycopg.Connection) -> None:
    # Copying files writes next to nothing to the WAL, which a standby behind a narrow link is grateful for. Before
    # PostgreSQL 15 it was the only way, and had no name.
    strategy = sql.SQL("STRATEGY file_copy" if connection.info.server_version >= 150000 else "")
    database, template = sql.Identifier(DATABASE), sql.Identifier(TEMPLATE)
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
    connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(database, template, strategy))


def _wait_for_standby(connection: psycopg.Connection) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    here = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    behind = "SELECT FROM pg_stat_replication WHERE replay_lsn IS NULL OR replay_lsn < %s"
    while connection.execute(behind, here).rowcount:
        if time.monotonic() > deadline_s:
            raise StageError("The standby does not catch up with Stage's database.")
        time.sleep(0.05)


def _warm(connection: psycopg.Connection) -> None:
    for (table,) in connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                                       "AND relkind = 'r'").fetchall():  # fmt: skip
        connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))


def _main() -> int:
    dsn = os.environ.get("STAGE_DSN")
    try:
        if not dsn:
            raise StageError("STAGE_DSN is not set.", "It says where Stage's database is.")
        desk = os.environ.get("STAGE_DEPLOYS")
        if desk:
            ask(desk, FIRST)
        reset(dsn)
    except ReplayError as error:
        print(f"Error: {error.message} {error.hint}".strip(), file=sys.stderr)  # noqa: T201 - a program of its own
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
