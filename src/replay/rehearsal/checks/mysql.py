"""Whether the MySQL and MariaDB servers of a plan's probes answer, and tell what the probes want to know."""

from collections.abc import Iterator

from replay.rehearsal.checks.check import PLAN, STAGE, Check, failed, not_asked, passed
from replay.rehearsal.checks.clocks import DATABASE_LIMIT_S, judge_clock, look_at
from replay.rehearsal.checks.places import listens
from replay.rehearsal.databases.mysql import MysqlDatabase
from replay.rehearsal.probes.mysql import queries
from replay.rehearsal.probes.mysql.plan import MysqlProbePlan
from replay.rehearsal.probes.mysql.source import TROUBLE, Address, Source, is_refused, quoted_user, said

_LIMIT_S, _MOST_TOLD = 10.0, 5
_UNCOUNTED = (
    "The server does not count who reads and writes them, and sessions that come and go are hardly seen: switch "
    "performance_schema on, or in MariaDB SET GLOBAL userstat = 1."
)
_NOW = "SELECT UNIX_TIMESTAMP(SYSDATE(6)) AS now_s"


def check_mysql(probe: MysqlProbePlan) -> Iterator[Check]:
    """All that is asked for one probe: its primary, then its replicas."""
    yield from _check(probe, probe.primary, replica=False)
    for address in probe.replicas:
        yield from _check(probe, address, replica=True)


def _check(probe: MysqlProbePlan, address: Address, *, replica: bool) -> Iterator[Check]:
    name = f"database {address.place}"
    if why := listens(address.host, address.port):
        yield not_asked(name, f"Nobody answers there ({why}), where the probe {probe.name!r} would go.")
        return
    source = Source(address, "check")
    try:
        source.connect()
        row = source.rows(queries.USER)[0]
        user = quoted_user(str(row["user"]))
        number = ".".join(map(str, source.version.number))
        server = f"{'MariaDB' if source.version.maria else 'MySQL'} {number}"
        yield passed(
            name,
            f"It answers as {user}: {server}, for the probe {probe.name!r}.",
            figures={"user": user, "version": server},
        )
        looks = look_at(lambda: float(source.rows(_NOW)[0]["now_s"]))
        yield judge_clock(f"clock of the database {address.place}", looks, DATABASE_LIMIT_S)
        whose = f"rights of the probe {probe.name!r}" + (f" of the replica {address.place}" if replica else "")
        yield (
            _replica(source, user, whose)
            if replica
            else _primary(source, user, whose, schema_on=bool(row["schema_on"]), replicated=bool(probe.replicas))
        )
        if not replica:
            yield _tables(MysqlDatabase(address), probe.name)
    except TROUBLE as error:
        fault = PLAN if is_refused(error) else STAGE
        yield failed(name, f"It refuses the probe {probe.name!r}: {said(error)}.", "See its dsn.", fault=fault)
    finally:
        source.close()


def _primary(source: Source, user: str, name: str, *, schema_on: bool, replicated: bool) -> Check:
    lacking = []
    if not _may(source, queries.TRANSACTIONS):
        lacking.append(f"GRANT PROCESS ON *.* TO {user}")
    if schema_on and not _may(source, queries.KEEPS_LOCKS):
        lacking.append(f"GRANT SELECT ON performance_schema.* TO {user}")
    if replicated and not _may(source, queries.position_query(source.version)):
        right = "BINLOG MONITOR" if source.version.maria else "REPLICATION CLIENT"
        lacking.append(f"GRANT {right} ON *.* TO {user}")
    if lacking:
        return failed(
            name, f"{user} may not see all that it reads.", "; ".join(lacking), fault=PLAN, figures={"lacks": lacking}
        )
    note = "" if schema_on else "performance_schema is off: who holds a metadata lock will not be known."
    return passed(name, f"{user} may see what other sessions do.", note, figures={"performance_schema": schema_on})


def _tables(database: MysqlDatabase, probe: str) -> Check:
    """Whether all tables can be compared, and whether it will be known who uses them."""
    name = f"tables for the probe {probe!r}"
    with database.read(_LIMIT_S) as reading:
        tables = reading.tables()
    hidden = [table for table in tables if table.forbidden]
    if hidden:
        names = [table.shown for table in hidden]
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        told = f"{', '.join(names[:_MOST_TOLD])}{more} cannot be compared before and after an arm."
        return failed(name, told, hidden[0].forbidden, fault=PLAN, figures={"hidden": names})
    if not tables:
        return passed(name, f"There are none in {database.name}, or none that its user may read.")
    watch = database.watch()
    try:
        watch.connect()
        counts = watch.activity().counts
    finally:
        watch.close()
    note = "" if counts else _UNCOUNTED
    return passed(name, f"{len(tables)} can be compared before and after an arm.", note, figures={"counts": counts})


def _replica(source: Source, user: str, name: str) -> Check:
    try:
        rows = source.rows(queries.replica_query(source.version))
    except TROUBLE as error:
        if not is_refused(error):
            raise
        right = "SLAVE MONITOR" if source.version.maria else "REPLICATION CLIENT"
        hint = f"GRANT {right} ON *.* TO {user}"
        return failed(name, f"{user} may not see how far it is.", hint, fault=PLAN, figures={"lacks": [hint]})
    if not rows:
        return failed(name, "It replicates from nobody, and needs to be a replica.", "See replicas.", fault=PLAN)
    return passed(name, f"{user} may see how far it is.")


def _may(source: Source, query: str) -> bool:
    try:
        source.rows(query)
    except TROUBLE as error:
        if not is_refused(error):
            raise
        return False
    return True
