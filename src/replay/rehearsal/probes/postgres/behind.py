"""Whether a replica has all that its primary has, at one moment."""

import psycopg

from replay.errors import first_line
from replay.rehearsal.probes.lag import lsn_number
from replay.rehearsal.probes.postgres.source import Source, place_of
from replay.rehearsal.table import Dsn

_WRITTEN = "SELECT pg_current_wal_lsn()::text AS position"
_REPLAYED = "SELECT pg_last_wal_replay_lsn()::text AS position"


def tell_behind(primary: Dsn, replica: Dsn) -> str:
    """What the replica lacks, in words; empty where it lacks nothing."""
    asked = primary
    try:
        written = _position(primary, _WRITTEN)
        asked = replica
        replayed = _position(replica, _REPLAYED)
    except psycopg.Error as error:
        return f"{place_of(asked.value)} cannot be read: {first_line(error)}"
    place = place_of(replica.value)
    if written is None or replayed is None:
        return f"{place} is not a replica"
    return f"the replica {place} is {written - replayed:,} bytes behind" if written > replayed else ""


def _position(dsn: Dsn, query: str) -> int | None:
    source = Source(dsn.value, "before an arm")
    try:
        source.connect()
        position = source.rows(query)[0]["position"]
    finally:
        source.close()
    return None if position is None else lsn_number(str(position))
