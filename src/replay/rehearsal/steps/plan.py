"""A step of a plan: one table of ``[[steps]]``, read into a frozen value."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from replay.evidence.values import CHANGE_DATA, WAIT
from replay.rehearsal.steps.actions import Action, Call, Run, SqlFile, Wait, read_action
from replay.rehearsal.table import Command, Dsn, Surroundings, Table, Texts

STEP_KINDS = (*CHANGE_DATA, "deploy", "restart", "command", WAIT)
CONTINUE, END, ABORT, ROLLBACK = "continue", "end", "abort", "rollback"
_SESSION_NAME_BYTES = 63  # PostgreSQL cuts application_name there
_SECRET_NAME = re.compile(r"(?i)passw|pwd|secret|token|key|auth|cookie|credential")


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Something done to Stage: at ``at_s`` of the arm, or ``after_s`` past the end of the step before.

    ``moments_s`` are its moments in one repetition after the other; ``at_s`` is the first of them.
    ``on_failure``: the later steps are done all the same (``continue``), are not done (``end``), the arm ends
    (``abort``), or the next step of the kind rollback is done at once (``rollback``). ``environment`` is the step's
    own, for commands.
    """

    name: str
    kind: str
    at_s: float | None
    after_s: float | None
    action: Action
    timeout_s: float
    on_failure: str
    environment: Texts = field(default=(), repr=False)
    moments_s: tuple[float, ...] = ()

    def in_repetition(self, number: int) -> "StepPlan":
        """The step as repetition ``number`` (from 0) does it."""
        if len(self.moments_s) < 2:
            return self
        return dataclasses.replace(self, at_s=self.moments_s[number])

    @property
    def session_name(self) -> str:
        """The application_name of its database sessions, as PostgreSQL shows it."""
        plain = "".join(letter if " " <= letter <= "~" else "?" for letter in f"replay step: {self.name}")
        return plain[:_SESSION_NAME_BYTES]

    @property
    def sql(self) -> Path | None:
        """Its SQL file, where it has one."""
        return self.action.file if isinstance(self.action, SqlFile) else None

    @property
    def dsn(self) -> Dsn | None:
        """The database that its SQL goes to."""
        return self.action.dsn if isinstance(self.action, SqlFile) else None

    @property
    def run(self) -> Command | None:
        """The command that it runs, where the plan spells one out."""
        return self.action.command if isinstance(self.action, Run) else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What its headers and its environment hold under a name that says so."""
        headers = self.action.headers if isinstance(self.action, Call) else ()
        return secrets_in((*headers, *self.environment))


def secrets_in(texts: Texts) -> tuple[str, ...]:
    """The values whose names say that they are secret."""
    return tuple(value for name, value in texts if _SECRET_NAME.search(name))


def read_step(table: Table) -> StepPlan:
    """Read one step. Raises PlanError with the table and the key for whatever is wrong with it."""
    kind = table.required_text("kind", STEP_KINDS)
    action = read_action(table)
    if isinstance(action, Wait):
        kind = WAIT  # whatever it is called: it does nothing to Stage
    elif kind == WAIT:
        raise table.error("kind", f"is {WAIT!r}, and the step does something else")
    moments_s = table.durations_s("at", zero=True)
    plan = StepPlan(
        name=table.required_text("name"),
        kind=kind,
        at_s=moments_s[0] if moments_s else None,
        after_s=table.duration_s("after", zero=True),
        action=action,
        timeout_s=table.duration_s("timeout", "10m") or 0.0,
        on_failure=table.text("on_failure", CONTINUE, (CONTINUE, END, ABORT, ROLLBACK)) or CONTINUE,
        environment=read_environment(table),
        moments_s=moments_s,
    )
    table.done()
    if (plan.at_s is None) == (plan.after_s is None):
        raise table.error("at", "and after: one of the two must be there")
    if plan.environment and isinstance(plan.action, (SqlFile, Call)):
        raise table.error("environment", "is for commands, and this step runs none")
    return plan


def read_environment(table: Table) -> Texts:
    """The variables that a table gives to commands. Raises PlanError for one that cannot be set."""
    texts = table.texts_by_name("environment")
    for name, value in texts:
        if not name or "=" in name or "\0" in name + value:
            raise table.error("environment", f"has {name!r}, which cannot be set")
    return texts


def count_repetitions(steps: Sequence[StepPlan]) -> int:
    """How often the steps are played: once, or as often as their lists of moments say."""
    return max((len(step.moments_s) for step in steps), default=0) or 1


def check_steps(steps: Sequence[StepPlan], shortest_s: float | None, around: Surroundings) -> None:
    """Check steps beside each other; ``shortest_s`` is the shortest workload's length, as far as it is known.

    Raises PlanError where two have one name for the database, stand in another order than they are done, want a
    rollback that does not follow, or have lists of moments of different lengths.
    """
    repetitions = count_repetitions(steps)
    for step in steps:
        if len(step.moments_s) not in {0, 1, repetitions}:
            raise around.error(
                f"The step {step.name!r} has {len(step.moments_s)} moments, and another step has {repetitions}.",
                "Each moment in a list is one repetition of all steps: give every list as many, or a single moment.",
            )
    for number in range(repetitions):
        _check_order([step.in_repetition(number) for step in steps], shortest_s, around)


def _check_order(steps: Sequence[StepPlan], shortest_s: float | None, around: Surroundings) -> None:
    names: dict[str, str] = {}
    latest = 0.0
    for number, step in enumerate(steps, 1):
        if step.session_name in names:
            raise around.error(
                f"Two steps cannot be told apart: {names[step.session_name]!r} and {step.name!r}.",
                "PostgreSQL shows the first 50 characters of a step's name; they must differ.",
            )
        names[step.session_name] = step.name
        if step.on_failure == ROLLBACK and not any(later.kind == ROLLBACK for later in steps[number:]):
            raise around.error(
                f"The step {step.name!r} wants a rollback when it fails, and no step of that kind follows.",
                'Add a step of kind = "rollback" below it, or write on_failure = "end".',
            )
        if step.at_s is None:
            latest += step.after_s or 0.0
            continue
        if step.at_s < latest:
            raise around.error(f"The step {step.name!r} comes before the one that stands above it.", "Sort the steps.")
        latest = step.at_s
        if shortest_s is not None and step.at_s >= shortest_s:
            raise around.error(
                f"The step {step.name!r} is at {step.at_s:g} s, when a workload of {shortest_s:g} s has ended.",
                "Give the workloads a longer duration or the step an earlier moment.",
            )
