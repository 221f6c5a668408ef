"""The plan of a rehearsal: a TOML file, read into frozen values.

::

    [rehearsal]            name, seed, settle, drain, order, quiet, controls, confirm, environment
    [target]               url, allow, ready, ready_timeout, reset, reset_timeout, warm, production,
                           not_production
    [workloads.NAME]       capture | locustfile, role, speed, scale, duration, identities, payloads, pacing, timeout,
                           leave_out, [[answers]]
    [pools.NAME]           csv, column | sql + dsn, parameters
    [[steps]]              name, kind, at | after, sql + dsn | run | http | wait | alembic | django, timeout, on_failure
    [probes.NAME]          kind = "postgres": dsn, replicas, interval;  kind = "log": path
    [abort]                failures, window, replica_lag, time, disk
    [criteria]             the judge's own; kept as it is written

``${NAME}`` in a value is the environment's; paths are relative to the plan's folder; durations are ``"20s"``,
``"10m"``, ``"1.5h"``. What goes to disk is ``Plan.resolved``, where ``${NAME}`` stands unexpanded and other secrets
are hidden.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.errors import InputError, PlanError
from replay.evidence.values import QUIET
from replay.rehearsal.abort import AbortPlan, read_abort
from replay.rehearsal.commands import Program, usual_environment
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.plan import ProbePlan
from replay.rehearsal.queries import PoolPlan, Query, read_pool, read_query
from replay.rehearsal.secrets import Scrubber, identity_words, passwords_in
from replay.rehearsal.steps.plan import StepPlan, check_steps, read_environment, read_step, secrets_in
from replay.rehearsal.table import Dsn, Surroundings, Table, Texts, named_tables, suggest
from replay.scenario.answers import GivenAnswer, read_answer
from replay.scenario.policy import Policy
from replay.scenario.pools import check_parameters
from replay.target import NOT_PRODUCTION, USUAL_NAMES, Target, parse_target

ROLES = ("production", "pre-production")
_TABLES = ("rehearsal", "target", "workloads", "pools", "steps", "probes", "abort", "criteria")
_MOST_CONTROLS = 20


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """Where load goes, and how Stage is put back.

    ``ready`` is a method and a path, or None: a connection is enough. ``warm`` fills Stage's caches before an arm.
    ``production`` are patterns of production's names, which ``not_production`` overrides.
    """

    target: Target
    allow: tuple[str, ...]
    ready: tuple[str, str] | None
    ready_timeout_s: float
    reset: Program | None
    reset_timeout_s: float
    warm: Program | None
    production: tuple[str, ...]
    not_production: bool


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """A workload to play: from a capture, or a locustfile (whose capture may be named beside it, for its model).

    Stage's credentials are in the file ``identities``, or ``credentials`` asks Stage's database for them. ``policy``
    says what of the capture is not sent.
    """

    name: str
    role: str
    capture: Path | None
    locustfile: Path | None
    speed: float
    scale: float
    duration_s: float | None
    identities: Path | None
    credentials: Query | None
    payloads: Path | None
    policy: Policy
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. ``resolved`` is what may be written down; ``environment`` the variables that it used.

    ``given`` is what it gives to every command beyond them; ``controls`` how many control arms a workload has.
    ``confirm`` says whether what is suspected is played once more.
    """

    file: Path
    name: str
    seed: int
    settle_s: float
    drain_s: float
    shuffled: bool
    quiet: bool
    confirm: bool
    controls: int
    target: TargetPlan
    workloads: tuple[WorkloadPlan, ...]
    pools: tuple[PoolPlan, ...]
    steps: tuple[StepPlan, ...]
    probes: tuple[ProbePlan, ...]
    abort: AbortPlan
    criteria: dict[str, Any]
    resolved: dict[str, Any]
    environment: dict[str, str] = field(repr=False)
    given: Texts = field(repr=False)

    @property
    def command_environment(self) -> dict[str, str]:
        """All that every command sees."""
        return _command_environment(self.environment, self.given)

    @property
    def folder(self) -> Path:
        """The plan's folder: commands run there."""
        return self.file.parent

    @property
    def dsns(self) -> tuple[tuple[str, Dsn], ...]:
        """Every database of the plan, with who uses it."""
        found = [(f"The step {step.name!r}", step.dsn) for step in self.steps if step.dsn]
        found += [(f"The probe {probe.name!r}", dsn) for probe in self.probes for dsn in probe.dsns]
        found += [(f"The pool {pool.name!r}", pool.query.dsn) for pool in self.pools if pool.query]
        found += [(f"The identities of {one.name!r}", one.credentials.dsn) for one in self.workloads if one.credentials]
        return tuple(found)

    def scrubber(self, words: Iterable[str] = ()) -> Scrubber:
        """What takes this plan's secrets out of a text, and the words that are given too."""
        passwords = [word for _, dsn in self.dsns for word in passwords_in(dsn.value)]
        passwords += _secrets(self.probes, self.steps, self.given)
        files = {workload.identities for workload in self.workloads if workload.identities}
        known = {word for file in files for word in identity_words(file)}
        return Scrubber(self.environment, passwords, known.union(words))


def read_plan(file: Path, environment: Mapping[str, str] | None = None) -> Plan:
    """Read a plan. Raises PlanError with the file, the table and the key for whatever is wrong with it."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PlanError(f"There is no plan {file}.", "`replay init` writes one to start from.") from error
    except (OSError, ValueError) as error:
        raise PlanError(f"{file} cannot be read as TOML: {error}.") from error
    around = Surroundings(file.absolute()) if environment is None else Surroundings(file.absolute(), environment)
    for key in values:
        if key not in _TABLES:
            raise around.error(f"Unknown table [{key}].", suggest(key, _TABLES))
    return _plan(values, around)


def _plan(values: dict[str, Any], around: Surroundings) -> Plan:
    general = Table("[rehearsal]", values.get("rehearsal", {}), around)
    resolved: dict[str, Any] = {"rehearsal": general.resolved}
    name = general.text("name", around.file.stem) or ""
    seed = general.whole("seed", 0)
    settle_s = general.duration_s("settle", "0s", zero=True) or 0.0
    drain_s = general.duration_s("drain", "60s") or 0.0
    shuffled = general.text("order", "shuffled", ("shuffled", "listed")) == "shuffled"
    quiet = general.flag("quiet", default=False)
    confirm = general.flag("confirm", default=True)
    controls = _controls(general)
    given = read_environment(general)
    general.done()

    target_table = Table("[target]", values.get("target", {}), around)
    resolved["target"] = target_table.resolved
    target = _target(target_table)

    workloads = []
    resolved["workloads"] = {}
    for key, table in named_tables("workloads", values, around):
        resolved["workloads"][key] = table.resolved
        workloads.append(_workload(key, table, _answers(key, values["workloads"][key], around)))
        if key == QUIET:
            raise around.error(f"A workload cannot be named {QUIET!r}: that is the arm without traffic.")
    if not workloads:
        raise around.error("No workload to play.", 'Add [workloads.production] with capture = "captures/NAME".')

    pools = []
    resolved["pools"] = {}
    for key, table in named_tables("pools", values, around):
        resolved["pools"][key] = table.resolved
        pools.append(read_pool(key, table))
    try:
        check_parameters((pool.name, pool.parameters) for pool in pools)
    except InputError as error:
        raise around.error(error.message, error.hint) from error

    step_tables = _listed("steps", values, around)
    steps = tuple(read_step(table) for table in step_tables)
    resolved["steps"] = [table.resolved for table in step_tables]
    check_steps(
        steps, min((workload.duration_s for workload in workloads if workload.duration_s), default=None), around
    )

    probes = []
    resolved["probes"] = {}
    for key, table in named_tables("probes", values, around):
        resolved["probes"][key] = table.resolved
        probes.append(read_probe(key, table))

    abort_table = Table("[abort]", values.get("abort", {}), around)
    resolved["abort"] = abort_table.resolved
    abort = read_abort(abort_table)

    criteria = resolved["criteria"] = _criteria(values, around)
    dsns = [step.dsn for step in steps if step.dsn]
    dsns += [dsn for probe in probes for dsn in probe.dsns]
    queries = [*(pool.query for pool in pools), *(workload.credentials for workload in workloads)]
    dsns += [query.dsn for query in queries if query]
    # Only what the plan itself spells out is hidden; a name from the environment stays as ${NAME}.
    written = [word for dsn in dsns for word in passwords_in(dsn.written)]
    hide = Scrubber({}, [*written, *_secrets(probes, steps, given)])
    return Plan(
        file=around.file,
        name=name,
        seed=seed,
        settle_s=settle_s,
        drain_s=drain_s,
        shuffled=shuffled,
        quiet=quiet,
        confirm=confirm,
        controls=controls,
        target=_with_environment(target, _command_environment(around.used, given)),
        workloads=tuple(sorted(workloads, key=lambda workload: workload.role == "production")),
        pools=tuple(pools),
        steps=steps,
        probes=tuple(probes),
        abort=abort,
        criteria=criteria,
        resolved=_hidden(resolved, hide),
        environment=dict(around.used),
        given=given,
    )


def _criteria(values: dict[str, Any], around: Surroundings) -> dict[str, Any]:
    criteria = values.get("criteria", {})
    if not isinstance(criteria, dict):
        raise around.error("[criteria] must be a table.")
    return criteria


def _controls(general: Table) -> int:
    controls = general.whole("controls", 1)
    if not 1 <= controls <= _MOST_CONTROLS:
        raise general.error("controls", f"is {controls}, and must be from 1 to {_MOST_CONTROLS}")
    return controls


def _command_environment(used: Mapping[str, str], given: Texts) -> dict[str, str]:
    return {**usual_environment(), **used, **dict(given)}


def _with_environment(target: TargetPlan, environment: Mapping[str, str]) -> TargetPlan:
    """The target with its commands' environment, which is known only when the whole plan was read."""
    reset, warm = (
        None if program is None else dataclasses.replace(program, environment=environment)
        for program in (target.reset, target.warm)
    )
    return dataclasses.replace(target, reset=reset, warm=warm)


def _target(table: Table) -> TargetPlan:
    target = parse_target(table.required_text("url"))
    allow = table.texts("allow")
    ready = table.text("ready")
    method, _, path = (ready or "").partition(" ")
    if ready and (not path.startswith("/") or not method.isalpha() or " " in path):
        raise table.error("ready", f"is {ready!r}, and must be a method and a path", 'Write it like "GET /health".')
    reset, warm = table.command("reset"), table.command("warm")
    plan = TargetPlan(
        target=target,
        allow=allow,
        ready=(method.upper(), path) if ready else None,
        ready_timeout_s=table.duration_s("ready_timeout", "30s") or 0.0,
        reset=None if reset is None else Program(reset.words, reset.written, {}),
        reset_timeout_s=table.duration_s("reset_timeout", "10m") or 0.0,
        warm=None if warm is None else Program(warm.words, warm.written, {}),
        production=table.texts("production", USUAL_NAMES),
        not_production=table.text("not_production", None, (NOT_PRODUCTION,)) is not None,
    )
    table.done()
    return plan


def _answers(name: str, values: dict[str, Any], around: Surroundings) -> tuple[GivenAnswer, ...]:
    """The answers of a workload, taken out of its ``values``: what is in them stays as it is written."""
    tables = values.pop("answers", [])
    if not isinstance(tables, list):
        raise around.error(f"answers of [workloads.{name}] must be a list of tables.", f"[[workloads.{name}.answers]]")
    try:
        where = f"[[workloads.{name}.answers]] number"
        return tuple(read_answer(table, f"{where} {number}") for number, table in enumerate(tables, 1))
    except InputError as error:
        raise around.error(error.message, error.hint) from error


def _workload(name: str, table: Table, answers: tuple[GivenAnswer, ...]) -> WorkloadPlan:
    table.texts("answers")  # a key like the others, though they were taken out
    table.resolved["answers"] = [answer.to_json() for answer in answers]
    asked = table.table("identities")
    plan = WorkloadPlan(
        name=name,
        role=table.text("role", "production", ROLES) or "",
        capture=table.path("capture"),
        locustfile=table.path("locustfile"),
        speed=table.number("speed", 1.0),
        scale=table.number("scale", 1.0),
        duration_s=table.duration_s("duration"),
        identities=None if asked else table.path("identities"),
        credentials=None if asked is None else read_query(asked),
        payloads=table.path("payloads"),
        policy=Policy(table.texts("leave_out"), answers),
        timeout_s=table.duration_s("timeout"),
    )
    pacing = table.text("pacing", "visits", ("visits", "strict"))
    table.done()
    if asked is not None:
        asked.done()
    if pacing == "strict":
        raise table.error(
            "pacing",
            "cannot be strict here",
            'Build a locustfile with `replay build`, set pacing = "strict" in it, and name it as locustfile.',
        )
    if plan.capture is None and plan.locustfile is None:
        raise table.error("capture", "is missing", f"{table.name} needs a capture or a locustfile.")
    if plan.locustfile is not None and plan.policy != Policy():
        key, option = ("leave_out", "--leave-out PATTERN") if plan.policy.leave_out else ("answers", "--answers FILE")
        raise table.error(key, "is for a capture", f"Build the locustfile anew with `replay build {option}`.")
    if plan.payloads is not None and plan.locustfile is not None:
        raise table.error("payloads", "is for a capture", "Give the locustfile's with `replay build --payloads`.")
    return plan


def _listed(kind: str, values: dict[str, Any], around: Surroundings) -> list[Table]:
    tables = values.get(kind, [])
    if not isinstance(tables, list):
        raise around.error(f"{kind} must be a list of tables.", f"Write [[{kind}]] with two brackets.")
    return [Table(f"[[{kind}]] number {number}", table, around) for number, table in enumerate(tables, 1)]


def _secrets(probes: Iterable[ProbePlan], steps: Iterable[StepPlan], given: Texts) -> list[str]:
    """What the plan holds beside its databases that must not be shown."""
    found = [word for probe in probes for word in probe.secrets]
    found += [word for step in steps for word in step.secrets]
    return [*found, *secrets_in(given)]


def _hidden(value: Any, hide: Scrubber) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {key: _hidden(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    return value
