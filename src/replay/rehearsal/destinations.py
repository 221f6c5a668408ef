"""Where the connections of a plan lead: hosts and databases by their names, those of the environment too."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from replay.rehearsal.plan import Plan
from replay.rehearsal.probes.plan import ProbePlan
from replay.rehearsal.spelled import spelled_out
from replay.rehearsal.steps.actions import Alembic, Django, Run
from replay.rehearsal.table import Dsn


@dataclass(frozen=True, slots=True)
class Destination:
    """Hosts and databases to which ``user`` goes, as messages call him."""

    user: str
    hosts: tuple[str, ...]
    databases: tuple[str, ...]


def destinations_of(plan: Plan) -> Iterator[Destination]:
    """All that a plan names: of its DSNs, of its probes, and of what its commands are given."""
    yield from lead(plan.dsns, plan.probes)
    given = plan.command_environment
    for user, command in (("The reset", plan.target.reset), ("The warming", plan.target.warm)):
        if command is not None:
            yield _of_command(user, command.words, given)
    for step in plan.steps:
        if isinstance(step.action, (Run, Alembic, Django)):
            words = step.run.words if step.run else ()
            yield _of_command(f"The step {step.name!r}", words, {**given, **dict(step.environment)})


def lead(dsns: Iterable[tuple[str, Dsn]], probes: Iterable[ProbePlan]) -> Iterator[Destination]:
    """Where DSNs lead, each with its user, and probes beside theirs. The DSNs must be connection strings."""
    for user, dsn in dsns:
        yield _of_settings(user, settings_of(dsn.value))
    for probe in probes:
        yield Destination(f"The probe {probe.name!r}", probe.hosts, probe.databases)


def settings_of(conninfo: str) -> dict[str, str]:
    """A PostgreSQL connection string with what it leaves out, as libpq takes it from PGHOST and its like.

    Raises psycopg.ProgrammingError for what is none.
    """
    usual = {option.keyword.decode(): (option.val or b"").decode() for option in Conninfo.get_defaults()}
    values = {**usual, **{key: str(value) for key, value in conninfo_to_dict(conninfo).items() if value}}
    return values | {"dbname": values.get("dbname") or values.get("user") or ""}


def single_hosts(conninfo: str) -> list[str]:
    """A connection string for each of the hosts that one names; itself where it names one or none."""
    values = settings_of(conninfo)
    listed = {key: (values.get(key) or "").split(",") for key in ("host", "hostaddr", "port")}
    count = max(len(listed["host"]), len(listed["hostaddr"]))
    alone = {key: found * count if len(found) == 1 else found for key, found in listed.items()}
    if count == 1 or any(len(found) != count for found in alone.values()):  # the latter will be refused as it is
        return [conninfo]
    # Which of them it would rather take does not matter.
    return [
        make_conninfo(conninfo, target_session_attrs="any", **{key: found[number] for key, found in alone.items()})
        for number in range(count)
    ]


def _of_settings(user: str, values: Mapping[str, str]) -> Destination:
    names = [values.get(key) or "" for key in ("host", "hostaddr")]
    hosts = dict.fromkeys(host for name in names for host in name.split(",") if host)
    return Destination(user, tuple(hosts), (values.get("dbname") or "",))


def _of_command(user: str, words: Sequence[str], environment: Mapping[str, str]) -> Destination:
    found = spelled_out(words, environment)
    return Destination(user, found.hosts, found.databases)
