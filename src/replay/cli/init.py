"""``replay init``: a plan to start from, by asking or by flags."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from replay.capture.store import open_capture
from replay.cli.text import plain
from replay.errors import InputError
from replay.target import PRODUCTION, parse_environment, parse_target

_NONE = "none"
_KINDS = ("sql", "run", "alembic", "django")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_SHOWN = 20
_TEMPLATE = """\
# A rehearsal: what is played, on which Stage, and what is done to it meanwhile.
#   replay rehearse {file} --out runs/first --dry-run    checks all of this without load
#   replay rehearse {file} --out runs/first              does it
# Paths count from this file's folder. ${{NAME}} comes from the environment: a secret never stands in a plan.

[target]
url = {url}
allow = [{hosts}]              # load, steps and probes go nowhere else
ready = "GET /health"            # asked before each arm until it answers
{reset}
reset_timeout = "10m"

[workloads.production]
capture = {production}     # from `replay capture`
role = "production"
duration = "60s"                 # a shorter capture is repeated, a longer one cut
# speed = 1.0                    # time compressed
# scale = 1.0                    # visits multiplied
# identities = "secrets/clients.csv"   # Stage's credentials for the capture's clients

{qa}[[steps]]
name = "migrate"
kind = "migrate"                 # or rollback, revert, deploy, restart, command
at = "20s"                       # of the arm; after = "10s" counts from the end of the step before
{step}
timeout = "10m"                  # then it is cancelled, and has failed

# What you would do if it went wrong is worth rehearsing too:
# [[steps]]
# name = "roll back"
# kind = "rollback"
# after = "10s"
# sql = "migrations/rollback.sql"
# dsn = "${{{dsn}}}"

[probes.database]                # who waits for whom, connections, replica lag
kind = "postgres"
dsn = "${{{dsn}}}"
{replica}

{log}

# [abort]                        # ends an arm before its end
# failures = 0.9                 # of the last 10 s

[criteria]                       # defaults serve; any limit can be set, for all endpoints or for one
# lock_wait_s = 2.0
# replica_lag_s = 5.0
"""
_QA = """\
[workloads.qa]                   # what Stage testing sends: shows what only production would have found
capture = {qa}
role = "pre-production"
duration = "60s"

"""
_SQL = """\
sql = {sql}      # sent statement by statement
dsn = "${{{dsn}}}"             # such as postgresql://user:password@127.0.0.1/stage
# run = "psql -f up.sql"         # instead of sql and dsn; or alembic = "head", django = "manage.py", http = "POST /x"\
"""
_TOOL = """\
{key} = {value}
# environment = {{ DATABASE_URL = "${{{dsn}}}" }}   # a command sees little of your own\
"""


@dataclass(slots=True)
class _Answers:
    """What a plan is made of. ``alembic`` is a configuration file; an empty text is none."""

    target: str
    reset: str
    production: str
    qa: str
    kind: str
    migration: str
    dsn: str
    replica: str
    log: str


@click.command(name="init")
@click.option("--out", type=click.Path(path_type=Path), default=Path("plan.toml"), show_default=True, help="The plan.")
@click.option("--target", default="http://127.0.0.1:8000", show_default=True, metavar="URL", help="Stage's address.")
@click.option(
    "--reset", default="scripts/reset-stage", show_default=True, help="The command that puts Stage back; '' for none."
)
@click.option("--production", default="captures/production", show_default=True, help="The capture of production.")
@click.option("--qa", default="captures/qa", show_default=True, help="The capture of pre-production; '' for none.")
@click.option("--sql", default="migrations/0001.sql", show_default=True, help="The migration's SQL file.")
@click.option("--run", "command_line", help="The migration as a command, instead of --sql.")
@click.option("--alembic", metavar="INI", help="The migration by Alembic, with this configuration file.")
@click.option("--django", metavar="MANAGE_PY", help="The migration by Django, with this manage.py.")
@click.option(
    "--dsn", default="STAGE_DSN", show_default=True, metavar="NAME", help="The variable that has the database's DSN."
)
@click.option("--replica", metavar="NAME", help="The variable that has the DSN of a replica.")
@click.option("--log", metavar="PATH", help="The API's error log.")
@click.option("--yes", is_flag=True, help="Ask nothing, also on a terminal: take the defaults.")
@click.pass_context
def command(context: click.Context, /, *, out: Path, yes: bool, **given: Any) -> None:
    """Write a commented plan to start from. An existing file is never written over.

    On a terminal it asks for what no option says, and offers what it finds: captures, SQL files, Alembic, Django.

    \b
    Examples:
      replay init
      replay init --yes
      replay init --out plans/scopes.toml --target http://stage.internal --sql ../migrations/0042.sql
    """
    named = {name for name in given if context.get_parameter_source(name) != ParameterSource.DEFAULT}
    kinds = [kind for kind in _KINDS if ("command_line" if kind == "run" else kind) in named]
    if len(kinds) > 1:
        raise click.UsageError(f"A step does one thing: --{kinds[0]} or --{kinds[1]}.")
    if out.exists():
        raise InputError(f"{out} is there already.", "Give another name to --out.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out} cannot be written: there is no folder {out.parent}.")
    kind = kinds[0] if kinds else "sql"
    answers = _Answers(
        target=given["target"],
        reset=given["reset"],
        production=given["production"],
        qa=given["qa"],
        kind=kind,
        migration=given["command_line" if kind == "run" else kind],
        dsn=given["dsn"],
        replica=given["replica"] or "",
        log=given["log"] or "",
    )
    if not yes and sys.stdin.isatty():
        _Questions(out.absolute().parent).ask(answers, {*named, *(["migration"] if kinds else [])})
    _check(answers)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(_text(answers, out))
    except FileExistsError as error:
        raise InputError(f"{out} is there already.", "Give another name to --out.") from error
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    click.echo(f"Written: {out}")
    unset = [name for name in (answers.dsn, answers.replica) if name and name not in os.environ]
    first = f"set {' and '.join(unset)}, then " if unset else ""
    click.echo(f"Next: {first}replay rehearse {shlex.quote(str(out))} --out runs/first --dry-run")


class _Questions:
    """Asks for what nobody gave, on a terminal. Paths count from ``folder``, the plan's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, answers: _Answers, given: set[str]) -> None:
        """Fill in the answers but for those that were ``given``."""
        click.echo(f"Paths count from {self._folder}; {_NONE!r} leaves something out.", err=True)
        captures = self._captures()
        if "target" not in given:
            answers.target = _prompt("Stage's address", answers.target, _target)
        if "reset" not in given:
            answers.reset = _prompt("What puts Stage back (a command)", answers.reset, self._command)
        if not {"production", "qa"} <= given:
            self._show(captures)
        if "production" not in given:
            found = next((name for name, environment in captures.items() if environment == PRODUCTION), "")
            answers.production = _prompt("Capture of production", found or answers.production, self._needed_capture)
        if "qa" not in given:
            found = next((name for name, environment in captures.items() if environment != PRODUCTION), "")
            answers.qa = _prompt("Capture of pre-production", found or _NONE, self._capture)
        if "migration" not in given:
            self._ask_migration(answers)
        if "dsn" not in given:
            answers.dsn = _prompt("Variable that has the database's DSN", answers.dsn, _variable)
        if "replica" not in given:
            known = next((name for name in ("STAGE_REPLICA_DSN",) if name in os.environ), _NONE)
            answers.replica = _prompt("Variable that has a replica's DSN", known, _variable_or_none)
        if "log" not in given:
            answers.log = _prompt("The API's error log (a file)", _NONE, self._path)

    def _ask_migration(self, answers: _Answers) -> None:
        files = sorted(self._folder.glob("migrations/*.sql"))
        found = {
            "alembic": "alembic.ini" if (self._folder / "alembic.ini").is_file() else "",
            "django": "manage.py" if (self._folder / "manage.py").is_file() else "",
            "sql": str(files[-1].relative_to(self._folder)) if files else "",
        }
        likely = next((kind for kind, file in found.items() if file), "sql")
        answers.kind = _prompt(f"The migration is ({', '.join(_KINDS)})", likely, _kind)
        what, usual = {
            "sql": ("Its SQL file", found["sql"] or answers.migration),
            "run": ("Its command", ""),
            "alembic": ("Alembic's configuration file", found["alembic"] or "alembic.ini"),
            "django": ("Django's manage.py", found["django"] or "manage.py"),
        }[answers.kind]
        check = self._needed_command if answers.kind == "run" else self._needed_path
        answers.migration = _prompt(what, usual or None, check)

    def _captures(self) -> dict[str, str]:
        """The captures beside the plan, by their paths, with their environments."""
        found = {}
        for file in sorted(self._folder.glob("captures/*/capture.json")):
            try:
                manifest = open_capture(file.parent).manifest
            except InputError:
                continue
            found[str(file.parent.relative_to(self._folder))] = parse_environment(manifest.environment)
        return found

    def _show(self, captures: dict[str, str]) -> None:
        for name, environment in list(captures.items())[:_MOST_SHOWN]:
            click.echo(plain(f"  found {name} ({environment or 'of no named environment'})"), err=True)
        if not captures:
            click.echo(f"  no captures found in {self._folder / 'captures'}: `replay capture` records one", err=True)

    def _needed_capture(self, text: str) -> str:
        if not self._capture(text):
            raise click.UsageError("A rehearsal needs one.")
        return text

    def _capture(self, text: str) -> str:
        name = _or_none(text)
        if name and self._known(name):
            try:
                open_capture(self._folder / Path(name).expanduser())
            except InputError as error:
                raise click.UsageError(plain(error.message)) from error
        return name

    def _needed_command(self, text: str) -> str:
        if not (line := self._command(text)):
            raise click.UsageError("There is no step without it.")
        return line

    def _command(self, text: str) -> str:
        line = _or_none(text)
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise click.UsageError(f"That is no command: {error}.") from error
        if words and "/" in words[0] and self._known(words[0]) and not os.access(self._folder / words[0], os.X_OK):
            raise click.UsageError(f"{words[0]} cannot be executed.")
        return line

    def _needed_path(self, text: str) -> str:
        if not (path := self._path(text)):
            raise click.UsageError("There is no step without it.")
        return path

    def _path(self, text: str) -> str:
        path = _or_none(text)
        if path and self._known(path) and (self._folder / Path(path).expanduser()).is_dir():
            raise click.UsageError(f"{path} is a folder.")
        return path

    def _known(self, path: str) -> bool:
        """Whether it is there; what is not may still be made, but is said."""
        there = (self._folder / Path(path).expanduser()).exists()
        if not there:
            click.secho(plain(f"  Note: {path} is not there yet."), fg="yellow", err=True)
        return there


def _prompt(what: str, default: str | None, check: Callable[[str], str]) -> str:
    """Ask until the answer is one. What ``check`` gives of it."""
    answer: str = click.prompt(what, default=default or (_NONE if default == "" else None), value_proc=check, err=True)
    return answer


def _or_none(text: str) -> str:
    return "" if text.strip() in {"", _NONE} else text.strip()


def _target(text: str) -> str:
    try:
        parse_target(text.strip())
    except InputError as error:
        raise click.UsageError(f"{plain(error.message)} {error.hint}") from error
    return text.strip()


def _kind(text: str) -> str:
    if text.strip() not in _KINDS:
        raise click.UsageError(f"One of {', '.join(_KINDS)}.")
    return text.strip()


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text.strip()):
        raise click.UsageError("The name of an environment variable, such as STAGE_DSN; the DSN itself stays in it.")
    return text.strip()


def _variable_or_none(text: str) -> str:
    return _variable(text) if _or_none(text) else ""


def _check(answers: _Answers) -> None:
    parse_target(answers.target)
    for option, name in (("--dsn", answers.dsn), ("--replica", answers.replica)):
        if name and not _VARIABLE.fullmatch(name):
            raise InputError(
                f"{option} is not the name of an environment variable.", "The DSN itself never stands in a plan."
            )
    if not answers.dsn:
        raise InputError("--dsn is empty.", "Give the name of the variable that has the database's DSN.")


def _text(answers: _Answers, out: Path) -> str:
    if answers.kind == "sql":
        step = _SQL.format(sql=_toml(answers.migration), dsn=answers.dsn)
    elif answers.kind == "alembic":
        config = f'"head"\nconfig = {_toml(answers.migration)}'
        step = _TOOL.format(key="alembic", value=config, dsn=answers.dsn)
    else:
        step = _TOOL.format(key=answers.kind, value=_toml(answers.migration), dsn=answers.dsn)
    reset = f"reset = {_toml(answers.reset)}  # puts Stage back before each arm; without it the evidence is weaker"
    probe = f'# replicas = ["${{{answers.replica or "STAGE_REPLICA_DSN"}}}"]'
    log = ["[probes.errors]                  # the API's error log", 'kind = "log"']
    log.append(f"path = {_toml(answers.log or 'var/api-error.log')}")
    return _TEMPLATE.format(
        file=str(out).replace("\n", " "),
        url=_toml(answers.target),
        hosts=", ".join(map(_toml, _hosts(answers))),
        reset=reset if answers.reset else '# reset = "scripts/reset-stage"   # without it the evidence is weaker',
        production=_toml(answers.production),
        qa=_QA.format(qa=_toml(answers.qa)) if answers.qa else "",
        step=step,
        dsn=answers.dsn,
        replica=probe.removeprefix("# ") if answers.replica else probe,
        log="\n".join(log if answers.log else [f"# {line}" for line in log]),
    )


def _hosts(answers: _Answers) -> Sequence[str]:
    """The target's host, and those of the databases as far as they are known already."""
    found = [parse_target(answers.target).host]
    for name in (answers.dsn, answers.replica):
        try:
            values = conninfo_to_dict(os.environ.get(name, ""))
        except ProgrammingError:
            continue
        hosts = str(values.get("host") or values.get("hostaddr") or "").split(",")
        found += [host for host in hosts if host and not host.startswith(("/", "@"))]
    return tuple(dict.fromkeys(found))


def _toml(text: str) -> str:
    # JSON's strings are TOML's too.
    return json.dumps(text, ensure_ascii=False)
