"""The plan of such a probe, and its threads."""

from dataclasses import dataclass

from replay.rehearsal.probes.mysql.behind import tell_behind
from replay.rehearsal.probes.mysql.replica import Replica
from replay.rehearsal.probes.mysql.sessions import Sessions
from replay.rehearsal.probes.mysql.source import Address, Source, parse_address
from replay.rehearsal.probes.mysql.tables import has_table
from replay.rehearsal.probes.plan import Probe, ProbePlan, Setting, read_interval_s
from replay.rehearsal.probes.readings import Readings, Sampler, Samplers
from replay.rehearsal.table import Table

# InnoDB shows its transactions and locks from a copy, which it does not renew until nobody has read it for 100 ms.
_SHORTEST_S = 0.2


@dataclass(frozen=True, slots=True)
class MysqlProbePlan(ProbePlan):
    """Locks, connections and replication of a database."""

    primary: Address
    replicas: tuple[Address, ...]
    interval_s: float

    @property
    def hosts(self) -> tuple[str, ...]:
        """The primary's, and those of its replicas."""
        return tuple(dict.fromkeys(one.host for one in (self.primary, *self.replicas)))

    @property
    def databases(self) -> tuple[str, ...]:
        """Those that are named."""
        return tuple(dict.fromkeys(one.database for one in (self.primary, *self.replicas) if one.database))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords, as they are and as they are written."""
        found = [word for one in (self.primary, *self.replicas) for word in (one.password, one.written)]
        return tuple(dict.fromkeys(word for word in found if word))

    @property
    def reads(self) -> frozenset[str]:
        """Who waits, and with replicas how far these are behind."""
        lag = {"replica_lag_s"} if self.replicas else set()
        return frozenset({"waiting_backends", "lock_wait_s", "connections", "history_list_length"} | lag)

    def holds(self, table: str) -> bool:
        """Whether any database of these servers holds the table: whoever looks at a server looks at all of it."""
        return any(has_table(one, table) for one in (self.primary, *self.replicas))

    def tell_behind(self) -> str:
        """Which replica is behind."""
        return next(filter(None, (tell_behind(self.primary, replica) for replica in self.replicas)), "")

    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""
        return Samplers(_samplers(self, setting))


def read_mysql(name: str, table: Table) -> MysqlProbePlan:
    """Read the table of such a probe: ``dsn``, ``replicas``, ``interval``. Raises PlanError."""
    dsn = table.text("dsn")
    if dsn is None:
        raise table.error("dsn", "is missing", 'Add dsn = "${STAGE_DSN}".')
    primary = _address(table, "dsn", dsn)
    replicas = tuple(_address(table, "replicas", one) for one in table.texts("replicas"))
    interval_s = read_interval_s(table, "200ms", _SHORTEST_S, "Who reads InnoDB's locks more often gets old ones.")
    return MysqlProbePlan(name, primary, replicas, interval_s)


def _address(table: Table, key: str, text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise table.error(
            key, str(error), "Write it like mysql://USER:PASSWORD@HOST:PORT/DATABASE, with % codes in the password."
        ) from error


def _samplers(plan: MysqlProbePlan, setting: Setting) -> list[Sampler]:
    name, scrub = plan.name, setting.scrub

    def readings(suffix: str = "") -> Readings:
        return Readings(name, setting.clock, setting.readings(f"{name}{suffix}"))

    sessions = Sessions(Source(plan.primary, name), readings(), setting.steps, scrub)
    samplers = [Sampler(f"probe {name}", plan.interval_s, sessions.sample, sessions.end)]
    for number, address in enumerate(plan.replicas, 1):
        pair = Source(plan.primary, name), Source(address, name)
        replica = Replica(*pair, readings(f"-replica-{number}"), scrub)
        samplers.append(Sampler(f"probe {name}, replica {number}", plan.interval_s, replica.sample, replica.end))
    return samplers
