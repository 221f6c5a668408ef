"""The plan of such a probe, and its threads."""

from dataclasses import dataclass

from replay.rehearsal.probes.plan import Probe, ProbePlan, Setting, read_interval_s
from replay.rehearsal.probes.postgres.behind import tell_behind
from replay.rehearsal.probes.postgres.replica import Replica
from replay.rehearsal.probes.postgres.server import Server
from replay.rehearsal.probes.postgres.sessions import Sessions
from replay.rehearsal.probes.readings import Readings, Sampler, Samplers
from replay.rehearsal.table import Dsn, Table

_SHORTEST_S = 0.1
_COUNTERS_S = 2.0


@dataclass(frozen=True, slots=True)
class PostgresProbePlan(ProbePlan):
    """Locks, connections, counters, sizes and replication of a database."""

    dsn: Dsn
    replicas: tuple[Dsn, ...]
    interval_s: float

    @property
    def dsns(self) -> tuple[Dsn, ...]:
        """The primary, and its replicas."""
        return (self.dsn, *self.replicas)

    @property
    def reads(self) -> frozenset[str]:
        """Who waits, and with replicas how far these are behind."""
        lag = {"replica_lag_s", "replica_lag_bytes"} if self.replicas else set()
        return frozenset({"waiting_backends", "lock_wait_s", "connections"} | lag)

    def tell_behind(self) -> str:
        """Which replica is behind."""
        return next(filter(None, (tell_behind(self.dsn, replica) for replica in self.replicas)), "")

    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""
        return Samplers(_samplers(self, setting))


def read_postgres(name: str, table: Table) -> PostgresProbePlan:
    """Read the table of such a probe: ``dsn``, ``replicas``, ``interval``. Raises PlanError."""
    dsn = table.dsn("dsn")
    if dsn is None:
        raise table.error("dsn", "is missing", 'Add dsn = "${STAGE_DSN}".')
    replicas = table.dsns("replicas")
    hint = "More than ten looks a second are a load on the database themselves."
    interval_s = read_interval_s(table, "200ms", _SHORTEST_S, hint)
    return PostgresProbePlan(name, dsn, replicas, interval_s)


def _samplers(plan: PostgresProbePlan, setting: Setting) -> list[Sampler]:
    name, dsn, scrub = plan.name, plan.dsn.value, setting.scrub

    def readings(suffix: str = "") -> Readings:
        return Readings(name, setting.clock, setting.readings(f"{name}{suffix}"))

    def sampler(what: str, reader: Sessions | Server | Replica, into: Readings, interval_s: float) -> Sampler:
        return Sampler(f"probe {name}{what}", interval_s, reader.sample, reader.end, into.failed)

    of_sessions, of_server = readings(), readings("-server")
    sessions = Sessions(dsn, name, of_sessions, setting.steps, scrub)
    server = Server(dsn, name, of_server, scrub)
    samplers = [
        sampler("", sessions, of_sessions, plan.interval_s),
        sampler(", server", server, of_server, max(_COUNTERS_S, plan.interval_s)),
    ]
    for number, replica_dsn in enumerate(plan.replicas, 1):
        of_replica = readings(f"-replica-{number}")
        replica = Replica(dsn, replica_dsn.value, name, of_replica, scrub)
        samplers.append(sampler(f", replica {number}", replica, of_replica, plan.interval_s))
    return samplers
