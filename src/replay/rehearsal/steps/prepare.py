"""Making a plan's steps ready: all that they need is found and read before anything runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from replay.rehearsal.commands import Program
from replay.rehearsal.plan import TargetPlan
from replay.rehearsal.steps.actions import Alembic, Call, Django, Run, SqlFile
from replay.rehearsal.steps.command import CommandWork
from replay.rehearsal.steps.http_call import HttpWork
from replay.rehearsal.steps.job import Work
from replay.rehearsal.steps.plan import StepPlan
from replay.rehearsal.steps.psql import read_script
from replay.rehearsal.steps.runner import Step
from replay.rehearsal.steps.sql_session import SqlWork
from replay.rehearsal.steps.tools import alembic_work, django_work
from replay.rehearsal.steps.wait import WaitWork
from replay.rehearsal.table import Dsn


def prepare_steps(
    plans: Sequence[StepPlan],
    *,
    folder: Path,
    target: TargetPlan,
    environment: Mapping[str, str],
    database: Dsn | None,
) -> tuple[Step, ...]:
    """Make a plan's steps ready. ``environment`` is what all commands see, ``database`` where lock waits are seen.

    Raises InputError where a file cannot be read, holds nothing, or needs psql, and where a tool is not there.
    """
    return tuple(Step(plan, _work(plan, folder, target, environment, database)) for plan in plans)


def _work(
    plan: StepPlan, folder: Path, target: TargetPlan, environment: Mapping[str, str], database: Dsn | None
) -> Work:
    seen = {**environment, **dict(plan.environment), "PGAPPNAME": plan.session_name}
    match plan.action:
        case SqlFile() as sql:
            return SqlWork(sql.dsn, read_script(sql.file, folder))
        case Run(command):
            return CommandWork(Program(command.words, command.written, seen))
        case Call() as call:
            return HttpWork(call, target.target)
        case Alembic() as alembic:
            return alembic_work(plan.name, alembic, folder, seen)
        case Django() as django:
            return django_work(plan.name, django, folder, seen)
    return WaitWork(plan.action.seconds, target, database)
