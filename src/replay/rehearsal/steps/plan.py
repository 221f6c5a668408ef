"""A step of a plan: one table of ``[[steps]]``, read into a frozen value."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from replay.rehearsal.table import Command, Dsn, Surroundings, Table

STEP_KINDS = ("migrate", "rollback", "revert", "deploy", "restart", "command")
_SESSION_NAME_BYTES = 63  # PostgreSQL cuts application_name there


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Something done to Stage: at ``at_s`` of the arm, or ``after_s`` past the end of the step before.

    Either ``sql`` goes through ``dsn``, or ``run`` is started. ``ends_on_failure``: later steps are then not done.
    """

    name: str
    kind: str
    at_s: float | None
    after_s: float | None
    sql: Path | None
    dsn: Dsn | None
    run: Command | None
    timeout_s: float
    ends_on_failure: bool

    @property
    def session_name(self) -> str:
        """The application_name of its database sessions, as PostgreSQL shows it."""
        plain = "".join(letter if " " <= letter <= "~" else "?" for letter in f"replay step: {self.name}")
        return plain[:_SESSION_NAME_BYTES]


def read_step(table: Table) -> StepPlan:
    """Read one step. Raises PlanError with the table and the key for whatever is wrong with it."""
    kind = table.required_text("kind", STEP_KINDS)
    plan = StepPlan(
        name=table.required_text("name"),
        kind=kind,
        at_s=table.duration_s("at", zero=True),
        after_s=table.duration_s("after", zero=True),
        sql=table.path("sql"),
        dsn=table.dsn("dsn"),
        run=table.command("run"),
        timeout_s=table.duration_s("timeout", "10m") or 0.0,
        ends_on_failure=table.text("on_failure", "continue", ("continue", "end")) == "end",
    )
    table.done()
    if (plan.at_s is None) == (plan.after_s is None):
        raise table.error("at", "and after: one of the two must be there")
    if (plan.sql is None) == (plan.run is None):
        raise table.error("sql", "and run: one of the two must be there")
    if plan.sql is not None and plan.dsn is None:
        raise table.error("sql", "needs a dsn to go through", 'Add dsn = "${STAGE_DSN}".')
    if plan.run is not None and plan.dsn is not None:
        raise table.error("dsn", "is for sql; a command gets its database from its own arguments or the environment")
    return plan


def check_steps(steps: Sequence[StepPlan], shortest_s: float | None, around: Surroundings) -> None:
    """Check steps beside each other; ``shortest_s`` is the shortest workload's length, as far as it is known.

    Raises PlanError where two have one name for the database, or stand in another order than they are done.
    """
    names: dict[str, str] = {}
    latest = 0.0
    for step in steps:
        if step.session_name in names:
            raise around.error(
                f"Two steps cannot be told apart: {names[step.session_name]!r} and {step.name!r}.",
                "PostgreSQL shows the first 50 characters of a step's name; they must differ.",
            )
        names[step.session_name] = step.name
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
