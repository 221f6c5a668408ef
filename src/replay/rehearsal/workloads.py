"""A plan's workloads as their arms play them: what is sent, how often, and what is known of it beforehand."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from replay.capture.store import open_capture
from replay.errors import InputError
from replay.rehearsal.plan import Plan, WorkloadPlan
from replay.scenario.answers import Answers, count_sent
from replay.scenario.data import digest_of
from replay.scenario.identities import needed_credentials, rank_clients
from replay.scenario.locustfile import read_scenario
from replay.scenario.pace import pace
from replay.scenario.payloads import PAYLOADS, check_payloads, check_pools, read_payloads
from replay.scenario.planning import left_out, schedule_of
from replay.scenario.policy import KeptBack, resolve, withhold
from replay.scenario.pools import Binding, Pool, count_values, read_values
from replay.scenario.repeats import only, per_second, round_of
from replay.scenario.schedule import Schedule
from replay.workload.model import Workload, read_workload


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """Where a workload was recorded, for ``rehearsal.json``; ``hosts`` tell whether it was the target itself.

    ``played`` is a digest over the files that say what is sent: locustfile and data, payloads, identities, pools.
    """

    path: str
    name: str
    environment: str
    digest: str
    exchanges: int
    hosts: tuple[str, ...]
    played: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``rehearsal.json`` has it."""
        return {
            "path": self.path,
            "name": self.name,
            "environment": self.environment,
            "digest": self.digest,
            "exchanges": self.exchanges,
            "played": self.played,
        }


@dataclass(frozen=True, slots=True)
class PoolOutline:
    """How a pool is bound to a workload: how many different values it has, sent how often.

    ``binding`` is None where only Stage's database knows the pool's values.
    """

    name: str
    captured: int
    sent: int
    binding: Binding | None

    @property
    def told(self) -> str:
        """A sentence for people."""
        if self.binding is not None:
            return self.binding.told
        if not self.captured:
            return f"Pool {self.name}: no request sends its parameters, so nothing is bound."
        return (
            f"Pool {self.name}: {self.captured:,} captured values (sent {self.sent:,} times) get Stage's own, "
            "which its database is asked for before each arm."
        )


@dataclass(frozen=True, slots=True)
class WorkloadOutline:
    """A workload as its arms play it.

    ``model`` is None where only a locustfile is known, not its capture; ``described`` is what is known of it then too.
    ``credentials`` are the clients and the columns of the identities that their requests need, ``ranked`` those clients
    by how many requests they send. ``pools`` are those of the plan, in its order; ``left_out`` counts the requests
    whose bodies nobody knows, by endpoint; ``kept_back`` what the plan keeps from Stage. ``planned`` are the requests
    that are sent, ``due`` how many of them are due in each second. ``endpoints`` are those that any goes to, and
    ``unsent`` those that the workload has besides.
    """

    plan: WorkloadPlan
    capture: CaptureFacts
    model: Workload | None
    described: dict[str, Any]
    planned: int
    duration_s: float
    credentials: tuple[tuple[str, str], ...]
    ranked: tuple[str, ...] = ()
    pools: tuple[PoolOutline, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    kept_back: KeptBack = field(default_factory=KeptBack)
    due: tuple[int, ...] = ()
    endpoints: frozenset[str] = frozenset()
    unsent: frozenset[str] = frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the plan keeps from Stage."""
        of = "of its whole scenario" if self.plan.capture is None else "of its whole capture"
        return tuple(f"Workload {self.plan.name}: {sentence}" for sentence in self.kept_back.told(of))


def outline_workload(workload: WorkloadPlan, plan: Plan) -> WorkloadOutline:
    """What a workload comes to. Raises InputError where its capture, locustfile or payloads cannot be read."""
    model = None if workload.capture is None else read_workload(workload.capture)
    meta: dict[str, Any] = {}
    payloads = read_payloads(workload.payloads) if workload.payloads else {}
    answers: Answers
    if workload.locustfile is not None:
        scenario = read_scenario(workload.locustfile)
        schedule, meta, answers, kept_back = scenario.schedule, scenario.meta, scenario.answers, scenario.kept_back
        templates = scenario.data / PAYLOADS
        payloads = read_payloads(templates) if templates.exists() else {}
        missing = {str(endpoint): int(count) for endpoint, count in (meta.get("left_out") or {}).items()}
    else:
        assert model is not None  # noqa: S101 - a plan has one of the two
        check_payloads(payloads, map(str, model.endpoints))
        withheld = resolve(workload.policy, map(str, model.endpoints), f"[workloads.{workload.name}]: ")
        missing, answers = left_out(model, payloads, withheld.endpoints), withheld.answers
        schedule, kept_back = withhold(schedule_of(model, payloads, withheld.endpoints), withheld)
    check_pools(payloads, {parameter for pool in plan.pools for parameter in pool.parameters})
    recorded = meta.get("capture") or {}
    if workload.capture is not None:
        capture = open_capture(workload.capture)
        manifest = capture.manifest
        facts = CaptureFacts(
            _as_written(plan, workload, "capture"),
            manifest.name,
            manifest.environment,
            capture.digest(),
            manifest.exchanges,
            (*manifest.hosts, *(recorded.get("hosts") or ())),
        )
    else:
        facts = CaptureFacts(
            _as_written(plan, workload, "locustfile"),
            str(recorded.get("name", workload.name)),
            str(recorded.get("environment", "")),
            str(recorded.get("digest", "")),
            int(recorded.get("exchanges") or len(schedule)),
            tuple(recorded.get("hosts") or ()),
        )
    sent = frozenset(one.endpoint for one in schedule if one.endpoint not in answers)
    every = {*missing, *kept_back.endpoints, *(() if model is None else map(str, model.endpoints))}
    facts = dataclasses.replace(facts, played=_digest_of_files(workload, plan))
    played = pace(schedule, speed=workload.speed, scale=workload.scale, duration_s=workload.duration_s)
    if not count_sent(played, answers):
        why = " ".join(kept_back.told()) or "Its capture holds no exchanges."
        raise InputError(f"The workload {workload.name!r} has no request to send.", why)
    if model is not None:
        described = model.to_json(name=workload.name, role=workload.role)
    else:
        known = ("duration_s", "clients", "visits", "endpoints", "correlations")
        described = {"name": workload.name, "role": workload.role, "environment": facts.environment}
        described |= {"exchanges": facts.exchanges, **{key: meta[key] for key in known if key in meta}}
    once = round_of(played)
    clients = {played.copies.get(one.client, one.client) for one in once}  # a copy has its original's at least
    return WorkloadOutline(
        workload,
        facts,
        model,
        described,
        count_sent(played, answers),
        played.duration_s,
        credentials=tuple(one for one in needed_credentials(schedule) if one[0] in clients),
        ranked=rank_clients(schedule),
        pools=_pools(plan, schedule),
        left_out=missing,
        kept_back=kept_back,
        endpoints=sent,
        unsent=frozenset(every - sent),
        due=per_second(only(played.requests, lambda one: one.endpoint not in answers)),
    )


def _digest_of_files(workload: WorkloadPlan, plan: Plan) -> str:
    files = [workload.payloads, workload.identities, *(pool.csv for pool in plan.pools)]
    if workload.locustfile is not None:
        data = workload.locustfile.with_suffix(".data")
        files += [workload.locustfile, *sorted(file for file in data.glob("*") if file.is_file())]
    digests = [digest_of(file) if file is not None and file.is_file() else "" for file in files]
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()


def _pools(plan: Plan, schedule: Schedule) -> tuple[PoolOutline, ...]:
    found = []
    for plan_, counts in zip(plan.pools, count_values(schedule, [one.parameters for one in plan.pools]), strict=True):
        binding = None
        if plan_.csv is not None:
            values = read_values(plan_.csv, plan_.name, plan_.parameters, plan_.column)
            binding = Binding(Pool(plan_.name, plan_.parameters, values), counts)
        found.append(PoolOutline(plan_.name, len(counts), sum(counts.values()), binding))
    return tuple(found)


def _as_written(plan: Plan, workload: WorkloadPlan, key: str) -> str:
    return str(plan.resolved["workloads"][workload.name].get(key, ""))
