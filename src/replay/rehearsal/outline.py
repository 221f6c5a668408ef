"""What a plan comes to: its arms in order, what they will send, how long it takes. Checked before anything runs."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from replay.capture.store import open_capture
from replay.errors import InputError, PlanError, Refused
from replay.rehearsal.plan import Plan, WorkloadPlan
from replay.rehearsal.steps.runner import Step, prepare_steps
from replay.rehearsal.table import Command, Dsn
from replay.scenario.identities import needed_credentials, rank_clients, read_identities, tell_lack
from replay.scenario.locustfile import read_scenario
from replay.scenario.pace import pace
from replay.scenario.payloads import PAYLOADS, check_payloads, check_pools, read_payloads
from replay.scenario.planning import left_out, schedule_of
from replay.scenario.pools import Binding, Pool, count_values, read_values
from replay.scenario.schedule import Schedule
from replay.target import PRODUCTION, check_allowed, check_not_production, parse_environment
from replay.workload.model import Workload, read_workload

# For the estimates alone: how long a reset takes as a rule, or else locust's boot, and what evidence weighs.
_RESET_S = 5.0
_BOOT_S = 2.0
_BYTES_OF_A_REQUEST = 400
_BYTES_OF_A_SECOND = 40_000
_SPARE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """Where a workload was recorded, for ``rehearsal.json``; ``hosts`` tell whether it was the target itself."""

    path: str
    name: str
    environment: str
    digest: str
    exchanges: int
    hosts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``rehearsal.json`` has it."""
        return {
            "path": self.path,
            "name": self.name,
            "environment": self.environment,
            "digest": self.digest,
            "exchanges": self.exchanges,
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
    whose bodies nobody knows, by endpoint.
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


@dataclass(frozen=True, slots=True)
class ArmOutline:
    """One arm to play."""

    name: str
    workload: WorkloadOutline
    steps: bool

    @property
    def duration_s(self) -> float:
        """How long its schedule is."""
        return self.workload.duration_s


@dataclass(frozen=True, slots=True)
class Outline:
    """A checked plan: nothing in it is known to stand in the way. ``warnings`` are worth a look."""

    plan: Plan
    workloads: tuple[WorkloadOutline, ...]
    arms: tuple[ArmOutline, ...]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]

    @property
    def overhead_s(self) -> float:
        """About how long an arm takes beyond its schedule."""
        return (_RESET_S if self.plan.target.reset else _BOOT_S) + self.plan.settle_s + 2.0

    @property
    def estimate_s(self) -> float:
        """About how long all of it takes."""
        return sum(arm.duration_s + self.overhead_s for arm in self.arms)

    @property
    def estimate_bytes(self) -> int:
        """About how much it writes."""
        requests = sum(arm.workload.planned for arm in self.arms)
        return int(requests * _BYTES_OF_A_REQUEST + sum(arm.duration_s for arm in self.arms) * _BYTES_OF_A_SECOND)


def check_plan(plan: Plan, out: Path) -> Outline:
    """Check all that can be checked without touching Stage.

    Raises Refused where load, a step or a probe would go where it must not, PlanError or InputError where something the
    plan names is not there, and where ``out`` is not free.
    """
    target = plan.target
    if not target.allow:
        raise PlanError(
            f"{plan.file}: [target] allows no host.", f'Write allow = ["{target.target.host}"] if that is Stage.'
        )
    check_allowed(target.target.host, target.allow, "Load")
    for user, dsn in plan.dsns:
        _check_database(user, dsn, target.allow)
    for probe in plan.probes:
        for host in probe.hosts:
            check_allowed(host, target.allow, f"The probe {probe.name!r}")
    workloads = tuple(_outline(workload, plan) for workload in plan.workloads)
    for workload in workloads:
        if parse_environment(workload.capture.environment) == PRODUCTION:
            check_not_production(target.target, workload.capture.hosts)
    _check_files(plan)
    steps = prepare_steps(plan.steps)
    _check_moments(plan, workloads)
    outline = Outline(plan, workloads, _in_order(plan, workloads), steps, tuple(_warnings(plan, workloads)))
    _check_out(out, outline.estimate_bytes)
    return outline


def _in_order(plan: Plan, workloads: Iterable[WorkloadOutline]) -> tuple[ArmOutline, ...]:
    """Pre-production first. Where nothing puts Stage back, the steps come last: controls would otherwise meet them."""
    arms = [
        ArmOutline(name, workload, steps)
        for workload in workloads
        for name, steps in zip(workload.plan.arms, (False, True), strict=True)
        if plan.steps or not steps
    ]
    return tuple(arms if plan.target.reset else sorted(arms, key=lambda arm: arm.steps))


def _outline(workload: WorkloadPlan, plan: Plan) -> WorkloadOutline:
    model = None if workload.capture is None else read_workload(workload.capture)
    meta: dict[str, Any] = {}
    payloads = read_payloads(workload.payloads) if workload.payloads else {}
    if workload.locustfile is not None:
        scenario = read_scenario(workload.locustfile)
        schedule, meta = scenario.schedule, scenario.meta
        templates = scenario.data / PAYLOADS
        payloads = read_payloads(templates) if templates.exists() else {}
        missing = {str(endpoint): int(count) for endpoint, count in (meta.get("left_out") or {}).items()}
    else:
        assert model is not None  # noqa: S101 - a plan has one of the two
        check_payloads(payloads, map(str, model.endpoints))
        schedule, missing = schedule_of(model, payloads), left_out(model, payloads)
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
    played = pace(schedule, speed=workload.speed, scale=workload.scale, duration_s=workload.duration_s)
    if not played.requests:
        raise InputError(f"The workload {workload.name!r} has no request to send.", "Its capture holds no exchanges.")
    if model is not None:
        described = model.to_json(name=workload.name, role=workload.role)
    else:
        known = ("duration_s", "clients", "visits", "endpoints", "correlations")
        described = {"name": workload.name, "role": workload.role, "environment": facts.environment}
        described |= {"exchanges": facts.exchanges, **{key: meta[key] for key in known if key in meta}}
    clients = {played.copies.get(one.client, one.client) for one in played}  # a copy has its original's at least
    return WorkloadOutline(
        workload,
        facts,
        model,
        described,
        len(played),
        played.duration_s,
        credentials=tuple(one for one in needed_credentials(schedule) if one[0] in clients),
        ranked=rank_clients(schedule),
        pools=_pools(plan, schedule),
        left_out=missing,
    )


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


def _check_database(user: str, dsn: Dsn, allow: Iterable[str]) -> None:
    try:
        values = conninfo_to_dict(dsn.value)
    except ProgrammingError as error:
        raise PlanError(
            f"{user} has a dsn that is not a connection string.",
            "Write it like postgresql://USER@HOST:PORT/DATABASE.",
        ) from error
    # What the string leaves out comes from PGHOST and its like, as it does when the connection is made.
    usual = {option.keyword.decode(): (option.val or b"").decode() for option in Conninfo.get_defaults()}
    if values.get("service") or usual.get("service"):
        raise PlanError(f"{user} goes to a database by the name of a service.", "Write its host into the dsn.")
    names = {str(values.get(key) or usual.get(key) or "") for key in ("host", "hostaddr")} - {""}
    hosts = {host for name in names for host in name.split(",")}
    here = {"localhost", "127.0.0.1", "::1"} & {entry.lower() for entry in allow}
    for host in sorted(hosts or {""}):
        # No host, or a path: a socket, whose database is on this very machine.
        if host and not host.startswith(("/", "@")):
            check_allowed(host, tuple(allow), user)
        elif not here:
            raise Refused(
                f"{user} would go to a database on this machine, which the plan does not allow.",
                'Add "localhost" to allow in [target] if that is Stage\'s.',
            )


def _check_files(plan: Plan) -> None:
    for workload in plan.workloads:
        if workload.identities is not None and not workload.identities.is_file():
            raise InputError(f"There is no identities file {workload.identities}.", "It holds Stage's credentials.")
    for probe in plan.probes:
        probe.check()
    commands = [("The reset", plan.target.reset), *((f"The step {step.name!r}", step.run) for step in plan.steps)]
    for user, command in commands:
        if command is not None:
            _check_program(user, command, plan.folder)


def _check_program(user: str, command: Command, folder: Path) -> None:
    program = command.words[0]
    if "/" not in program:
        if shutil.which(program) is None:
            raise InputError(f"{user} runs {program!r}, which is not on the PATH.")
    elif not os.access(folder / program, os.X_OK) or not (folder / program).is_file():
        raise InputError(
            f"{user} runs {program}, which is not a program.", f"It is looked for in {folder}; is it executable?"
        )


def _check_moments(plan: Plan, workloads: Iterable[WorkloadOutline]) -> None:
    for workload in workloads:
        for step in plan.steps:
            if step.at_s is not None and step.at_s >= workload.duration_s:
                raise PlanError(
                    f"{plan.file}: the step {step.name!r} is at {step.at_s:g} s, when the workload "
                    f"{workload.plan.name!r} of {workload.duration_s:.0f} s has ended.",
                    "Give the workload a longer duration (it is repeated) or the step an earlier moment.",
                )


def _check_out(out: Path, needed: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already.", "Give another folder to --out; a run is never written over.")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise InputError(f"{out} cannot be written.")
    free = shutil.disk_usage(parent).free
    if free < needed + _SPARE_BYTES:
        raise InputError(
            f"The run needs about {needed // 1_000_000 + 50} MB in {parent}, which has {free // 1_000_000} MB left."
        )


def _warnings(plan: Plan, workloads: Iterable[WorkloadOutline]) -> Iterable[str]:
    if not plan.steps:
        yield "The plan has no steps: only controls are played."
    if plan.target.reset is None and plan.steps:
        yield "Nothing puts Stage back before each arm (no reset): the evidence is weaker."
    if not any(workload.plan.role == "production" for workload in workloads):
        yield "No workload has the role production: nothing will be known about the release."
    for workload in workloads:
        yield from _lacking(workload)
        missing = sum(workload.left_out.values())
        if missing:
            yield (
                f"The workload {workload.plan.name!r} leaves out {missing:,} requests of its capture's "
                f"{workload.capture.exchanges:,} ({missing / max(1, workload.capture.exchanges):.1%}), as it does not "
                f"hold their bodies, the most of {next(iter(workload.left_out))}: give them with payloads."
            )
    for number, pool in enumerate(plan.pools):
        if not any(workload.pools[number].captured for workload in workloads):
            yield f"The pool {pool.name!r} is bound to nothing: no request sends {', '.join(pool.parameters)}."


def _lacking(workload: WorkloadOutline) -> Iterable[str]:
    """What the identities file does not have. Requests that need it are not sent, so some of it may be left out."""
    file = workload.plan.identities
    if workload.plan.credentials is not None:
        return  # checked when Stage's database was asked
    given = {} if file is None else read_identities(file, workload.ranked)
    lack = tell_lack(workload.credentials, given, "" if file is None else file.name)
    if lack:
        yield (
            f"The workload {workload.plan.name!r} lacks Stage's credentials for {lack}: "
            "their requests will not be sent. `replay build` writes a file to fill in."
        )
