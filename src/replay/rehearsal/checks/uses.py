"""Who of a plan goes to which PostgreSQL database, and for what."""

from collections.abc import Iterator
from dataclasses import dataclass

from replay.evidence.values import WAIT
from replay.rehearsal.outline import Outline
from replay.rehearsal.probes.postgres.plan import PostgresProbePlan
from replay.rehearsal.table import Dsn

PROBE, REPLICA, STEP, QUERY, OTHER = "probe", "replica", "step", "query", "other"


@dataclass(frozen=True, slots=True)
class Use:
    """One user of a database: ``user`` is what messages call it. ``statements`` are those of a step.

    ``before`` are those of the steps before it, whatever database they go to; None where one of them is a command,
    which may do anything.
    """

    user: str
    kind: str
    dsn: Dsn
    statements: tuple[str, ...] = ()
    before: tuple[str, ...] | None = None


def uses_of(outline: Outline) -> dict[str, list[Use]]:
    """The users of each database, by its connection string."""
    found: dict[str, list[Use]] = {}
    for use in _uses(outline):
        found.setdefault(use.dsn.value, []).append(use)
    return found


def _uses(outline: Outline) -> Iterator[Use]:
    plan = outline.plan
    before: tuple[str, ...] | None = ()
    for step in outline.steps:
        if step.plan.dsn is not None:
            texts = tuple(statement.text for statement in step.statements)
            yield Use(f"the step {step.plan.name!r}", STEP, step.plan.dsn, texts, before)
            before = None if before is None else before + texts
        elif step.plan.kind != WAIT:
            before = None
    for probe in plan.probes:
        if isinstance(probe, PostgresProbePlan):
            yield Use(f"the probe {probe.name!r}", PROBE, probe.dsn)
            for replica in probe.replicas:
                yield Use(f"the probe {probe.name!r} of a replica", REPLICA, replica)
        else:  # another package's kind: only it knows what it needs
            yield from (Use(f"the probe {probe.name!r}", OTHER, dsn) for dsn in probe.dsns)
    for pool in plan.pools:
        if pool.query is not None:
            yield Use(f"the pool {pool.name!r}", QUERY, pool.query.dsn)
    for workload in plan.workloads:
        if workload.credentials is not None:
            yield Use(f"the identities of {workload.name!r}", QUERY, workload.credentials.dsn)
