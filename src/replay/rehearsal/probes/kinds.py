"""The kinds of probes: those that come with replay, and those that other packages add.

Another package adds one as an entry point of the group ``replay.probes``: its name is the kind, and it loads a function
that takes the probe's name and its table of the plan, and returns a ``ProbePlan``.
"""

from collections.abc import Callable
from importlib.metadata import entry_points

from replay.rehearsal.probes.log import read_log
from replay.rehearsal.probes.metrics import read_metrics
from replay.rehearsal.probes.mysql import read_mysql
from replay.rehearsal.probes.plan import ProbePlan
from replay.rehearsal.probes.postgres import read_postgres
from replay.rehearsal.probes.process import read_process
from replay.rehearsal.probes.sqlite import read_sqlite
from replay.rehearsal.table import Table

ReadProbe = Callable[[str, Table], ProbePlan]
GROUP = "replay.probes"
_OURS: dict[str, ReadProbe] = {
    "postgres": read_postgres,
    "log": read_log,
    "mysql": read_mysql,
    "sqlite": read_sqlite,
    "process": read_process,
    "prometheus": read_metrics,
}


def read_probe(name: str, table: Table) -> ProbePlan:
    """Read one probe. Raises PlanError with the table and the key for whatever is wrong with it."""
    kind = table.required_text("kind")
    plan = (_OURS.get(kind) or _added(table))(name, table)
    table.done()
    return plan


def _added(table: Table) -> ReadProbe:
    """What reads a kind of another package."""
    added = {point.name: point for point in entry_points(group=GROUP)}
    kind = table.required_text("kind", tuple(dict.fromkeys([*_OURS, *added])))
    try:
        read: ReadProbe = added[kind].load()
    except Exception as error:
        raise table.error("kind", f"is of another package, which does not load: {error}") from error
    return read
