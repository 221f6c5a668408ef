"""Whether a replica has all that its primary has, at one moment."""

from replay.rehearsal.probes.mysql.queries import position_query, replica_query
from replay.rehearsal.probes.mysql.replica import Position, chosen, comparable, status_of
from replay.rehearsal.probes.mysql.source import TROUBLE, Address, Source, is_refused, said

_NAME = "before an arm"


def tell_behind(primary: Address, replica: Address) -> str:
    """What the replica lacks, in words; empty where it lacks nothing.

    By the primary's binary log, or where that cannot be read or is another one, as far as the replica says it itself.
    """
    sources = Source(primary, _NAME), Source(replica, _NAME)
    asked, other = sources
    try:
        asked.connect()
        end = _end_of_log(asked)
        asked = other
        asked.connect()
        rows = asked.rows(replica_query(asked.version))
    except TROUBLE as error:
        return f"{asked.place} cannot be read: {said(error)}"
    finally:
        for source in sources:
            source.close()
    if not rows:
        return f"{other.place} is not a replica"
    status = chosen([status_of(row) for row in rows], end.server if end else None)
    if status.stopped:
        return f"{other.place}: {status.stopped}"
    both = comparable(end, status.applied)
    if end is not None and both is not None and both[1] < both[0]:
        return f"the replica {other.place} has not all of its primary's log, which goes to {end.file}:{end.offset}"
    return f"the replica {other.place} is {status.behind_s:g} s behind" if status.behind_s else ""


def _end_of_log(primary: Source) -> Position | None:
    """Where the primary's log ends; None where it has none, or does not tell this user."""
    try:
        rows = primary.rows(position_query(primary.version))
    except TROUBLE as error:
        if not is_refused(error):
            raise
        return None
    server = int(primary.rows("SELECT @@server_id AS id")[0]["id"])
    return Position(server, str(rows[0]["File"]), int(rows[0]["Position"])) if rows else None
