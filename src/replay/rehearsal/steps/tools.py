"""Migration tools that a plan names and need no command written out: Alembic and Django."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from replay.errors import InputError
from replay.rehearsal.commands import Program
from replay.rehearsal.steps.actions import Alembic, Django
from replay.rehearsal.steps.command import CommandWork

# What a tool said before it was ended would otherwise be lost in its buffer.
_UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


def alembic_work(step: str, alembic: Alembic, folder: Path, environment: Mapping[str, str]) -> CommandWork:
    """Alembic's command. Raises InputError where its configuration or Alembic itself is not there."""
    if not alembic.config.is_file():
        raise InputError(
            f"The step {step!r} runs Alembic, and there is no {alembic.config}.",
            'Say where it is: config = "PATH/alembic.ini".',
        )
    python = _own_python(folder)
    found = [python, "-m", "alembic"] if python else [_on_path("alembic", environment)]
    if not all(found):
        raise InputError(
            f"The step {step!r} runs Alembic, which is neither in {folder / '.venv'} nor on the PATH.",
            "Install it there, or start replay where it is installed.",
        )
    order = ["-c", alembic.config.name, alembic.order, alembic.revision]
    return _work([*found, *order], ["alembic", *order], alembic.config.parent, environment)


def django_work(step: str, django: Django, folder: Path, environment: Mapping[str, str]) -> CommandWork:
    """Django's command. Raises InputError where manage.py or a Python is not there."""
    if not django.manage.is_file():
        raise InputError(
            f"The step {step!r} runs Django, and there is no {django.manage}.", "Its path counts from the plan."
        )
    python = _own_python(folder) or _on_path("python3", environment) or _on_path("python", environment)
    if not python:
        raise InputError(f"The step {step!r} runs Django, and there is no Python in {folder / '.venv'} or on the PATH.")
    order = [django.manage.name, "migrate", "--noinput", *django.migrate]
    return _work([python, *order], ["python", *order], django.manage.parent, environment)


def _work(words: list[str], shown: list[str], folder: Path, environment: Mapping[str, str]) -> CommandWork:
    # The tool's own folder: what its configuration names by a relative path counts from there.
    return CommandWork(Program(tuple(words), " ".join(shown), {**environment, **_UNBUFFERED}), folder)


def _own_python(folder: Path) -> str:
    """The Python of the plan's own virtual environment, or an empty text."""
    python = folder / ".venv" / "bin" / "python"
    return str(python) if os.access(python, os.X_OK) else ""


def _on_path(program: str, environment: Mapping[str, str]) -> str:
    return shutil.which(program, path=environment.get("PATH")) or ""
