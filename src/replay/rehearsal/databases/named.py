"""Which databases a plan names, and for what."""

from dataclasses import dataclass

from replay.rehearsal.databases.database import Database
from replay.rehearsal.databases.mysql import MysqlDatabase
from replay.rehearsal.databases.postgres import PostgresDatabase
from replay.rehearsal.plan import Plan
from replay.rehearsal.probes.mysql import MysqlProbePlan
from replay.rehearsal.probes.plan import ProbePlan
from replay.rehearsal.probes.postgres import PostgresProbePlan


@dataclass(frozen=True, slots=True)
class Named:
    """A database with the steps and the probes that go there, and the replicas that these name."""

    database: Database
    steps: tuple[str, ...]
    probes: tuple[str, ...]
    replicas: tuple[Database, ...]


def databases_of(plan: Plan) -> tuple[Named, ...]:
    """The databases that the steps and the probes of a plan name, each way to one once."""
    steps: dict[Database, list[str]] = {}
    probes: dict[Database, list[str]] = {}
    replicas: dict[Database, list[Database]] = {}
    for step in plan.steps:
        if step.dsn is not None:
            steps.setdefault(PostgresDatabase(step.dsn.value), []).append(step.name)
    for probe in plan.probes:
        for database in _of_probe(probe)[:1]:
            probes.setdefault(database, []).append(probe.name)
            replicas.setdefault(database, []).extend(_of_probe(probe)[1:])
    return tuple(
        Named(one, tuple(steps.get(one, ())), tuple(probes.get(one, ())), tuple(replicas.get(one, ())))
        for one in dict.fromkeys((*steps, *probes))
    )


def first_of(plan: Plan) -> Database | None:
    """The database that is fingerprinted: that of the first dsn of steps, or else of probes, pools, identities."""
    found: list[Database] = [PostgresDatabase(step.dsn.value) for step in plan.steps if step.dsn is not None]
    for probe in plan.probes:
        found += _of_probe(probe) or [PostgresDatabase(dsn.value) for dsn in probe.dsns]
    found += [PostgresDatabase(dsn.value) for _, dsn in plan.dsns]
    return next(iter(found), None)


def looks(probe: ProbePlan) -> bool:
    """Whether a probe's database is looked at: who uses it, and what is in it before and after an arm."""
    return bool(_of_probe(probe))


def _of_probe(probe: ProbePlan) -> tuple[Database, ...]:
    """The primary of a probe and its replicas; none of a kind that has no database of ours."""
    if isinstance(probe, PostgresProbePlan):
        return tuple(PostgresDatabase(dsn.value) for dsn in probe.dsns)
    if isinstance(probe, MysqlProbePlan):
        return tuple(MysqlDatabase(address) for address in (probe.primary, *probe.replicas))
    return ()
