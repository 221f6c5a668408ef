"""What ``replay init`` takes for an answer, by an option or asked on a terminal."""

import dataclasses
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from replay.capture.store import Capture, open_capture
from replay.cli.text import plain
from replay.errors import InputError, Refused
from replay.target import (
    NOT_PRODUCTION,
    PRODUCTION,
    check_name,
    check_not_production,
    parse_environment,
    parse_target,
)

KINDS = ("sql", "run", "alembic", "django")
_NONE = "none"
_IDENTITIES = "secrets/clients.csv"
# What scrubbing counts where requests said who sent them.
_CREDENTIALS = frozenset({"bearer", "basic", "authorization", "password", "jwt", "token", "cookie", "header"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_SHOWN = 20


@dataclass(slots=True)
class Answers:
    """What a plan is made of. ``alembic`` is a configuration file; an empty text is none."""

    target: str
    reset: str
    production: str
    qa: str
    identities: str
    kind: str
    migration: str
    dsn: str
    replica: str
    log: str


NAMES = tuple(field.name for field in dataclasses.fields(Answers) if field.name != "kind")


class Checks:
    """What is an answer, and what is none. Paths count from ``folder``, the plan's.

    Each takes a text and gives what the plan shall have of it. They raise InputError; what is not there yet may still
    be made, and is a note.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, answers: Answers, names: set[str]) -> None:
        """Check the answers of these ``names``. Raises InputError, which names the option."""
        migration = self.needed_command if answers.kind == "run" else self.needed_path
        checks: dict[str, Callable[[str], str]] = {
            "target": self.target,
            "reset": self.command,
            "production": self.needed_capture,
            "qa": self.capture,
            "identities": self.path,
            "migration": migration,
            "dsn": self.variable,
            "replica": self.variable_or_none,
            "log": self.path,
        }
        for name, check in checks.items():
            if name not in names:
                continue
            try:
                setattr(answers, name, check(getattr(answers, name)))
            except InputError as error:
                option = answers.kind if name == "migration" else name
                raise InputError(f"--{option}: {error.message}", error.hint) from error

    def check_together(self, answers: Answers) -> None:
        """Raise InputError where the target is a host that a production capture was recorded from."""
        for name in filter(None, (answers.production, answers.qa)):
            capture = self.opened(name)
            if capture and parse_environment(capture.manifest.environment) == PRODUCTION:
                check_not_production(parse_target(answers.target), capture.manifest.hosts)

    def target(self, text: str) -> str:
        """A URL whose host is not named like production."""
        target = parse_target(text.strip())
        try:
            check_name("Its host", target.host)
        except Refused as error:
            raise InputError(
                f"The host {target.host} looks like production.",
                "Give Stage's address. If it is Stage, begin with another one, and write this into the plan with "
                f'not_production = "{NOT_PRODUCTION}".',
            ) from error
        return text.strip()

    def kind(self, text: str) -> str:
        """What the migration is done by."""
        if text.strip() not in KINDS:
            raise InputError(f"One of {', '.join(KINDS)}.")
        return text.strip()

    def variable(self, text: str) -> str:
        """The name of an environment variable."""
        if not _VARIABLE.fullmatch(text.strip()):
            raise InputError(
                "That is not the name of an environment variable.",
                "Give one such as STAGE_DSN; the DSN itself stays in it, and never stands in a plan.",
            )
        return text.strip()

    def variable_or_none(self, text: str) -> str:
        """The name of an environment variable, or nothing."""
        return self.variable(text) if _or_none(text) else ""

    def needed_capture(self, text: str) -> str:
        """The folder of a capture."""
        if not (name := self.capture(text)):
            raise InputError("A rehearsal needs one.")
        return name

    def capture(self, text: str) -> str:
        """The folder of a capture, or nothing."""
        name = _or_none(text)
        if name and self._known(name):
            open_capture(self._at(name))
        return name

    def needed_command(self, text: str) -> str:
        """A command line."""
        if not (line := self.command(text)):
            raise InputError("There is no step without it.")
        return line

    def command(self, text: str) -> str:
        """A command line, or nothing. What is run must be a file that can be executed."""
        line = _or_none(text)
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise InputError(f"That is no command: {error}.") from error
        if words and not _varies(words[0]):
            self._check_program(words[0])
        return line

    def needed_path(self, text: str) -> str:
        """A file."""
        if not (path := self.path(text)):
            raise InputError("There is no step without it.")
        return path

    def path(self, text: str) -> str:
        """A file, or nothing."""
        path = _or_none(text)
        if path and self._known(path) and self._at(path).is_dir():
            raise InputError(f"{path} is a folder.")
        return path

    def opened(self, name: str) -> Capture | None:
        """The capture of that name, where it is there and whole."""
        try:
            return open_capture(self._at(name))
        except InputError:
            return None

    def needs_credentials(self, names: list[str]) -> bool:
        """Whether one of the captures had credentials that were scrubbed."""
        captures = [self.opened(name) for name in names if name]
        return any(_CREDENTIALS & {*one.manifest.scrubbing.counts} for one in captures if one)

    def missing(self, path: str) -> bool:
        """Whether a path is still to be made."""
        return bool(path) and not _varies(path) and not self._at(path).exists()

    def _check_program(self, program: str) -> None:
        file = self._folder / program
        if "/" not in program:
            if shutil.which(program):
                return
            if not file.exists():
                _note(f"{program} is not on the PATH.")
                return
            if file.is_file():
                raise InputError(f"{program} is not on the PATH.", f"Write ./{program}, which counts from the plan.")
        if self._known(program) and not (file.is_file() and os.access(file, os.X_OK)):
            raise InputError(f"{program} {'is a folder' if file.is_dir() else 'cannot be executed'}.")

    def _known(self, path: str) -> bool:
        """Whether it is there; what is not may still be made, but is said."""
        if self.missing(path):
            _note(f"{path} is not there yet.")
            return False
        return not _varies(path)

    def _at(self, path: str) -> Path:
        return self._folder / Path(path).expanduser()


class Questions:
    """Asks for what nobody gave, on a terminal. Paths count from ``folder``, the plan's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checks = Checks(folder)

    def ask(self, answers: Answers, given: set[str]) -> None:
        """Fill in the answers but for those that were ``given``."""
        checks = self._checks
        click.echo(f"Paths count from {self._folder}; {_NONE!r} leaves something out.", err=True)
        if "target" not in given:
            answers.target = _prompt("Stage's address", answers.target, checks.target)
        if "reset" not in given:
            answers.reset = _prompt("What puts Stage back (a command)", answers.reset, checks.command)
        captures = {} if {"production", "qa"} <= given else self._captures()
        if "production" not in given:
            found = next((name for name, environment in captures.items() if environment == PRODUCTION), "")
            answers.production = _prompt("Capture of production", found or answers.production, checks.needed_capture)
        if "qa" not in given:
            found = next((name for name, environment in captures.items() if environment != PRODUCTION), "")
            answers.qa = _prompt("Capture of pre-production", found or _NONE, checks.capture)
        if "identities" not in given:
            needed = checks.needs_credentials([answers.production, answers.qa])
            what = "Stage's credentials for the captures' clients (a table)"
            answers.identities = _prompt(what, _IDENTITIES if needed else _NONE, checks.path)
        if "migration" not in given:
            self._ask_migration(answers)
        if "dsn" not in given:
            answers.dsn = _prompt("Variable that has the database's DSN", answers.dsn, checks.variable)
        if "replica" not in given:
            known = next((name for name in ("STAGE_REPLICA_DSN",) if name in os.environ), _NONE)
            answers.replica = _prompt("Variable that has a replica's DSN", known, checks.variable_or_none)
        if "log" not in given:
            answers.log = _prompt("The API's error log (a file)", _NONE, checks.path)

    def _ask_migration(self, answers: Answers) -> None:
        files = sorted(self._folder.glob("migrations/*.sql"))
        found = {
            "alembic": "alembic.ini" if (self._folder / "alembic.ini").is_file() else "",
            "django": "manage.py" if (self._folder / "manage.py").is_file() else "",
            "sql": str(files[-1].relative_to(self._folder)) if files else "",
        }
        likely = next((kind for kind, file in found.items() if file), "sql")
        answers.kind = _prompt(f"The migration is ({', '.join(KINDS)})", likely, self._checks.kind)
        what, usual = {
            "sql": ("Its SQL file", found["sql"] or answers.migration),
            "run": ("Its command", ""),
            "alembic": ("Alembic's configuration file", found["alembic"] or "alembic.ini"),
            "django": ("Django's manage.py", found["django"] or "manage.py"),
        }[answers.kind]
        check = self._checks.needed_command if answers.kind == "run" else self._checks.needed_path
        answers.migration = _prompt(what, usual or None, check)

    def _captures(self) -> dict[str, str]:
        """The captures beside the plan, by their paths, with their environments; shown, with what is no capture."""
        beside, found, said = self._folder / "captures", {}, []
        for folder in sorted(beside.glob("[!.]*/")):
            name = str(folder.relative_to(self._folder))
            try:
                environment = parse_environment(open_capture(folder).manifest.environment)
            except InputError as error:
                said.append(f"  {name} cannot be taken: {error.message}")
            else:
                found[name] = environment
                said.append(f"  found {name} ({environment or 'of no named environment'})")
        for line in said[:_MOST_SHOWN] or [f"  no captures found in {beside}: `replay capture` records one"]:
            click.echo(plain(line), err=True)
        return found


def _prompt(what: str, default: str | None, check: Callable[[str], str]) -> str:
    """Ask until the answer is one. What ``check`` gives of it."""

    def checked(text: str) -> str:
        try:
            return check(text)
        except InputError as error:
            raise click.UsageError(plain(f"{error.message} {error.hint}".strip())) from error

    answer: str = click.prompt(
        what, default=default or (_NONE if default == "" else None), value_proc=checked, err=True
    )
    return answer


def _or_none(text: str) -> str:
    return "" if text.strip() in {"", _NONE} else text.strip()


def _varies(path: str) -> bool:
    """Whether a plan takes it from the environment: it may be anywhere then."""
    return "${" in path


def _note(sentence: str) -> None:
    click.secho(plain(f"  Note: {sentence}"), fg="yellow", err=True)
