"""Whether a replica has all that its primary has, at one moment."""

from typing import Any

import psycopg

from replay.errors import first_line
from replay.rehearsal.probes.lag import lsn_number
from replay.rehearsal.probes.postgres.source import place_of
from replay.rehearsal.sessions import limited
from replay.rehearsal.table import Dsn

# Without synchronous commits, what was done last is inserted into the log and not yet written.
_WRITTEN = """
SELECT (CASE WHEN itself THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END)::text,
       (CASE WHEN itself THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_insert_lsn() END)::text
FROM pg_is_in_recovery() AS itself
"""
_REPLAYED = "SELECT pg_last_wal_replay_lsn()::text"
_ANSWER_S = 5.0
_PAGE_HEADER_BYTES = 64  # where a page is full, the place of insertion lies behind the header of the next


def tell_behind(primary: Dsn, replica: Dsn) -> str:
    """What the replica lacks, in words; empty where it lacks nothing."""
    asked = primary
    try:
        written, inserted = _row(primary, _WRITTEN)
        asked = replica
        (replayed,) = _row(replica, _REPLAYED)
    except psycopg.Error as error:
        return f"{place_of(asked.value)} cannot be read: {first_line(error)}"
    place = place_of(replica.value)
    if replayed is None or written is None:
        return f"{place} is not a replica"
    wanted = max(lsn_number(str(written)), lsn_number(str(inserted)) - _PAGE_HEADER_BYTES)
    lacking = wanted - lsn_number(str(replayed))
    return f"the replica {place} is {lacking:,} bytes behind" if lacking > 0 else ""


def _row(dsn: Dsn, query: str) -> tuple[Any, ...]:
    with limited(dsn.value, _ANSWER_S, "replay probe: before an arm", connect_limit_s=3) as session:
        return session.execute(query.encode()).fetchall()[0]
