"""Whether a replica has all that its primary has, at one moment."""

from replay.rehearsal.probes.mysql.queries import replica_query
from replay.rehearsal.probes.mysql.replica import chosen, status_of
from replay.rehearsal.probes.mysql.source import TROUBLE, Address, Source, said


def tell_behind(replica: Address) -> str:
    """What the replica lacks as far as it says itself, in words; empty where it lacks nothing."""
    source = Source(replica, "before an arm")
    try:
        source.connect()
        rows = source.rows(replica_query(source.version))
    except TROUBLE as error:
        return f"{source.place} cannot be read: {said(error)}"
    finally:
        source.close()
    if not rows:
        return f"{source.place} is not a replica"
    status = chosen([status_of(row) for row in rows], None)
    if status.stopped:
        return f"{source.place}: {status.stopped}"
    return f"the replica {source.place} is {status.behind_s:g} s behind" if status.behind_s else ""
