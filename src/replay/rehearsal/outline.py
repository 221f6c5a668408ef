"""What a plan comes to: its arms in order, what they will send, how long it takes. Checked before anything runs."""

import dataclasses
import difflib
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import ProgrammingError

from replay.errors import InputError, PlanError, Refused
from replay.evidence.values import CHANGE_DATA
from replay.rehearsal.arms import ArmOutline, arms_of, second_pairs
from replay.rehearsal.databases import looks
from replay.rehearsal.destinations import destinations_of, settings_of
from replay.rehearsal.plan import Plan
from replay.rehearsal.probes.plan import check_interval
from replay.rehearsal.production import check_captured, check_names
from replay.rehearsal.steps.actions import Alembic, Django, Run
from replay.rehearsal.steps.plan import count_repetitions
from replay.rehearsal.steps.prepare import prepare_steps
from replay.rehearsal.steps.runner import Step
from replay.rehearsal.table import Command, Dsn
from replay.rehearsal.workloads import WorkloadOutline, outline_workload
from replay.scenario.identities import read_identities, tell_lack
from replay.target import PRODUCTION, check_allowed, check_not_production, is_allowed, parse_environment

# For the estimates alone: how long a reset takes as a rule, or else locust's boot, and what evidence weighs.
_RESET_S = 5.0
_BOOT_S = 2.0
_BYTES_OF_A_REQUEST = 120  # 25 to 35 once it was rolled up, 55 to 90 before, and then some
_BYTES_OF_A_SECOND = 40_000
_SPARE_BYTES = 50_000_000
_MOST_JUDGED = 20_000_000  # requests; the judge holds them all
_JUDGED_BYTES = 275  # of memory, for each


@dataclass(frozen=True, slots=True)
class Outline:
    """A checked plan: nothing in it is known to stand in the way. ``warnings`` are worth a look.

    ``reset_s`` is how long putting Stage back takes, by a guess until it was timed. ``there`` are the names of the arms
    that need not be played, as an earlier rehearsal has them.
    """

    plan: Plan
    workloads: tuple[WorkloadOutline, ...]
    arms: tuple[ArmOutline, ...]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    reset_s: float = _RESET_S
    there: frozenset[str] = frozenset()

    @property
    def to_play(self) -> tuple[ArmOutline, ...]:
        """The arms that are not there already."""
        return tuple(arm for arm in self.arms if arm.name not in self.there)

    @property
    def overhead_s(self) -> float:
        """About how long an arm takes beyond its schedule."""
        return (self.reset_s if self.plan.target.reset else _BOOT_S) + self.plan.settle_s + 2.0

    @property
    def estimate_s(self) -> float:
        """About how long it takes to play what is not there already."""
        return sum(arm.duration_s + self.overhead_s for arm in self.to_play)

    @property
    def estimate_bytes(self) -> int:
        """About how much it writes."""
        return int(sum(arm.planned * _BYTES_OF_A_REQUEST + arm.duration_s * _BYTES_OF_A_SECOND for arm in self.to_play))

    @property
    def planned(self) -> int:
        """How many requests its arms have."""
        return sum(arm.planned for arm in self.arms)

    @property
    def may_follow(self) -> "Outline":
        """The same with the arms alone that may be played besides: a second pair of each workload, if all want one."""
        if not confirms(self.plan):
            return dataclasses.replace(self, arms=(), there=frozenset())
        wanted = {arm.workload_name: arm.name for arm in reversed(self.arms) if arm.steps}
        pairs = tuple(arm for pair in second_pairs(self.arms, wanted) for arm in pair)
        return dataclasses.replace(self, arms=pairs, there=frozenset())

    @property
    def hints(self) -> tuple[str, ...]:
        """What makes a rehearsal better and is no fault: for who tries a plan."""
        if self.plan.target.reset is None or self.plan.target.warm is not None:
            return ()
        why = "where its caches are cold then, the first seconds of each arm are slow, and not alike"
        return (f"Nothing warms Stage after it was put back (no warm in [target]): {why}.",)


def confirms(plan: Plan) -> bool:
    """Whether what is suspected is played once more: not where nothing puts Stage back."""
    return plan.confirm and plan.target.reset is not None


def check_plan(plan: Plan, out: Path, *, resume: bool = False) -> Outline:
    """Check all that can be checked without touching Stage.

    Raises Refused where load, a step or a probe would go where it must not, PlanError or InputError where something the
    plan names is not there, and where ``out`` is not free (but for a rehearsal to go on with, with ``resume``).
    """
    target = plan.target
    if not target.allow:
        raise PlanError(
            f"{plan.file}: [target] allows no host.", f'Write allow = ["{target.target.host}"] if that is Stage.'
        )
    check_allowed(target.target.host, target.allow, "Load")
    for user, dsn in plan.dsns:
        check_database(user, dsn, target.allow)
    for probe in plan.probes:
        for host in probe.hosts:
            check_allowed(host, target.allow, f"The probe {probe.name!r}")
    check_names(plan)
    workloads = tuple(outline_workload(workload, plan) for workload in plan.workloads)
    for workload in workloads:
        if parse_environment(workload.capture.environment) == PRODUCTION:
            check_not_production(target.target, workload.capture.hosts)
            check_captured(target.target, destinations_of(plan), workload.capture.hosts)
    _check_criteria(plan, workloads)
    _check_files(plan)
    steps = prepare_steps(
        plan.steps,
        folder=plan.folder,
        target=target,
        environment=plan.command_environment,
        database=plan.dsns[0][1] if plan.dsns else None,
    )
    _check_moments(plan, workloads)
    for workload in workloads:
        for probe in plan.probes:
            check_interval(probe, workload.duration_s, f"the workload {workload.plan.name!r}")
    if plan.target.reset is None and count_repetitions(plan.steps) > 1:
        raise PlanError(
            f"{plan.file}: the steps are to be repeated, and nothing puts Stage back before they are.",
            "Give [target] a reset, or the steps one moment.",
        )
    arms = arms_of(plan, workloads, steps)
    outline = Outline(plan, workloads, arms, steps, tuple(_warnings(plan, workloads)))
    outline = dataclasses.replace(outline, warnings=(*outline.warnings, *_too_many(outline)))
    _check_out(out, outline.estimate_bytes, resume=resume)
    return outline


def check_endpoints(named: Iterable[str], known: Collection[str], lack: str) -> None:
    """Raise PlanError where criteria are for an endpoint that is none of the ``known``, with the nearest of these.

    ``lack`` says who has none such, in words.
    """
    for name in named:
        if name not in known:
            near = " or ".join(f'"{one}"' for one in difflib.get_close_matches(name, sorted(known), 3))
            raise PlanError(
                f'[criteria.endpoints."{name}"] is for an endpoint that {lack}.',
                f"Did you mean {near}?" if near else "Write it as `replay inspect` shows it.",
            )


def check_database(user: str, dsn: Dsn, allow: Iterable[str], *, by_option: bool = False) -> None:
    """Raise Refused where a database lies where ``allow`` does not let ``user`` go; PlanError for what is no dsn.

    ``by_option`` says that ``allow`` was given with ``--allow`` and not in a plan.
    """
    try:
        # What the string leaves out comes from PGHOST and its like, as it does when the connection is made.
        values = settings_of(dsn.value)
    except ProgrammingError as error:
        raise PlanError(
            f"{user} has a dsn that is not a connection string.",
            "Write it like postgresql://USER@HOST:PORT/DATABASE.",
        ) from error
    if values.get("service"):
        raise PlanError(f"{user} goes to a database by the name of a service.", "Write its host into the dsn.")
    names = {values.get(key) or "" for key in ("host", "hostaddr")} - {""}
    hosts = {host for name in names for host in name.split(",")}
    here = any(is_allowed(name, tuple(allow)) for name in ("localhost", "127.0.0.1", "::1"))
    for host in sorted(hosts or {""}):
        # No host, or a path: a socket, whose database is on this very machine.
        if host and not host.startswith(("/", "@")):
            check_allowed(host, tuple(allow), user, by_option=by_option)
        elif not here:
            raise Refused(
                f"{user} would go to a database on this machine, which "
                f"{'is not allowed' if by_option else 'the plan does not allow'}.",
                "Give --allow localhost if that is Stage's."
                if by_option
                else 'Add "localhost" to allow in [target] if that is Stage\'s.',
            )


def _check_criteria(plan: Plan, workloads: Sequence[WorkloadOutline]) -> None:
    """The endpoints that the criteria are for must be some workload's, and some of their requests sent."""
    named = plan.criteria.get("endpoints")
    if not named or not isinstance(named, dict):
        return
    sent = {endpoint for workload in workloads for endpoint in workload.endpoints}
    unsent = {endpoint: workload for workload in workloads for endpoint in workload.unsent - sent}
    check_endpoints(named, {*sent, *unsent}, "no workload has")
    for name in named:
        if name in unsent:
            raise PlanError(
                f'[criteria.endpoints."{name}"] is for an endpoint to which nothing is sent.',
                " ".join(unsent[name].kept_back.told()) or "Its requests are left out, as nobody knows their bodies.",
            )


def _check_files(plan: Plan) -> None:
    for workload in plan.workloads:
        if workload.identities is not None and not workload.identities.is_file():
            raise InputError(f"There is no identities file {workload.identities}.", "It holds Stage's credentials.")
    for probe in plan.probes:
        probe.check()
    commands: list[tuple[str, Command | None]] = [("The reset", plan.target.reset), ("The warming", plan.target.warm)]
    commands += [(f"The step {step.name!r}", step.run) for step in plan.steps]
    for user, command in commands:
        if command is not None:
            _check_program(user, command, plan)


def _check_program(user: str, command: Command, plan: Plan) -> None:
    program, folder = command.words[0], plan.folder
    if "/" not in program:
        if shutil.which(program, path=plan.command_environment.get("PATH")) is None:
            raise InputError(f"{user} runs {program!r}, which is not on the PATH.")
    elif not os.access(folder / program, os.X_OK) or not (folder / program).is_file():
        raise InputError(
            f"{user} runs {program}, which is not a program.", f"It is looked for in {folder}; is it executable?"
        )


def _check_moments(plan: Plan, workloads: Iterable[WorkloadOutline]) -> None:
    for workload in workloads:
        for step in plan.steps:
            latest_s = max(step.moments_s, default=0.0)
            if latest_s >= workload.duration_s:
                raise PlanError(
                    f"{plan.file}: the step {step.name!r} is at {latest_s:g} s, when the workload "
                    f"{workload.plan.name!r} of {workload.duration_s:.0f} s has ended.",
                    "Give the workload a longer duration (it is repeated) or the step an earlier moment.",
                )


def _check_out(out: Path, needed: int, *, resume: bool) -> None:
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is there already.",
            "Give another folder to --out, as a run is never written over; --resume goes on with one.",
        )
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise InputError(f"{out} cannot be written.")
    free = shutil.disk_usage(parent).free
    if free < needed + _SPARE_BYTES:
        raise InputError(
            f"The run needs about {needed // 1_000_000 + 50} MB in {parent}, which has {free // 1_000_000} MB left."
        )


def _warnings(plan: Plan, workloads: Iterable[WorkloadOutline]) -> Iterable[str]:
    if plan.quiet and not plan.steps:
        yield "There is no quiet arm: the plan has no steps."
    if not plan.steps:
        yield "The plan has no steps: only controls are played."
    yield from _unseen(plan)
    if plan.target.reset is None and plan.steps:
        yield "Nothing puts Stage back before each arm (no reset): the evidence is weaker."
        if len(plan.workloads) > 1:
            yield f"The steps are played {len(plan.workloads)} times, and meet what they have done to Stage before."
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


def _too_many(outline: Outline) -> Iterable[str]:
    """More requests than the judge can well hold in memory."""
    planned = outline.planned + outline.may_follow.planned
    if planned > _MOST_JUDGED:
        second = ", with second pairs," if outline.may_follow.planned else ""
        yield (
            f"The arms have {planned:,} requests in all{second} and the judge holds what became of each: about "
            f"{planned * _JUDGED_BYTES / 2**30:.0f} GiB of memory. Give the workloads a shorter duration or a lower "
            "scale, or play fewer controls and repetitions."
        )


def _unseen(plan: Plan) -> Iterable[str]:
    """Steps with commands of which nothing will tell where they went."""
    looked = any(map(looks, plan.probes))
    commands = (Run, Alembic, Django)
    unseen = [step.name for step in plan.steps if step.kind in CHANGE_DATA and isinstance(step.action, commands)]
    if unseen and not looked and plan.criteria.get("unseen_steps") is not True:
        yield (
            f"Nothing will show whether {', '.join(map(repr, unseen))} met the application's database, so that the "
            "verdict cannot be GO: add a probe of kind postgres or mysql for it, or unseen_steps = true in [criteria] "
            "where that database is another (SQLite)."
        )


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
