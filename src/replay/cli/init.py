"""``replay init``: a plan to start from, by asking or by flags."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from replay.cli.asking import KINDS, NAMES, Answers, Checks, Questions
from replay.cli.text import plain
from replay.errors import InputError
from replay.target import parse_target

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
# warm = "scripts/warm-stage"    # run after that, once Stage answers: fills its caches, so that all arms begin alike

[workloads.production]
capture = {production}     # from `replay capture`
role = "production"
duration = "60s"                 # a shorter capture is repeated, a longer one cut
# speed = 1.0                    # time compressed
# scale = 1.0                    # visits multiplied
{identities}

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
{identities}

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


@click.command(name="init")
@click.option("--out", type=click.Path(path_type=Path), default=Path("plan.toml"), show_default=True, help="The plan.")
@click.option("--target", default="http://127.0.0.1:8000", show_default=True, metavar="URL", help="Stage's address.")
@click.option(
    "--reset", default="scripts/reset-stage", show_default=True, help="The command that puts Stage back; '' for none."
)
@click.option("--production", default="captures/production", show_default=True, help="The capture of production.")
@click.option("--qa", default="captures/qa", show_default=True, help="The capture of pre-production; '' for none.")
@click.option("--identities", metavar="FILE", help="Stage's credentials for the captures' clients, a table.")
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
    kinds = [kind for kind in KINDS if ("command_line" if kind == "run" else kind) in named]
    if len(kinds) > 1:
        raise click.UsageError(f"A step does one thing: --{kinds[0]} or --{kinds[1]}.")
    if out.exists():
        raise InputError(f"{out} is there already.", "Give another name to --out.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out} cannot be written: there is no folder {out.parent}.")
    kind = kinds[0] if kinds else "sql"
    answers = Answers(
        target=given["target"],
        reset=given["reset"],
        production=given["production"],
        qa=given["qa"],
        identities=given["identities"] or "",
        kind=kind,
        migration=given["command_line" if kind == "run" else kind],
        dsn=given["dsn"],
        replica=given["replica"] or "",
        log=given["log"] or "",
    )
    folder = out.absolute().parent
    checks = Checks(folder)
    asking = not yes and sys.stdin.isatty()
    asked = {name for name in NAMES if name not in {*named, *(["migration"] if kinds else [])}} if asking else set()
    checks.check(answers, {*NAMES} - asked)
    if asking:
        Questions(folder).ask(answers, {*NAMES} - asked)
    checks.check_together(answers)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(_text(answers, out))
    except FileExistsError as error:
        raise InputError(f"{out} is there already.", "Give another name to --out.") from error
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    click.echo(f"Written: {out}")
    click.echo(
        f"Next: {plain(_to_do(answers, checks))}replay rehearse {shlex.quote(str(out))} --out runs/first --dry-run"
    )


def _to_do(answers: Answers, checks: Checks) -> str:
    """What is still to be made before a dry run can pass; empty for nothing."""
    unset = [name for name in (answers.dsn, answers.replica) if name and name not in os.environ]
    program = next(iter(shlex.split(answers.reset)), "")
    todo = [f"set {' and '.join(unset)}"] if unset else []
    if "/" in program and checks.missing(program):
        todo.append(f"write {program} (it puts Stage back)")
    if checks.missing(answers.identities):
        todo.append(f"write {answers.identities} (Stage's credentials for the captures' clients)")
    elif not answers.identities and checks.needs_credentials([answers.production, answers.qa]):
        todo.append("name the identities in the plan (Stage's credentials for the captures' clients)")
    return "".join(f"{one}, " for one in todo) + ("then " if todo else "")


def _text(answers: Answers, out: Path) -> str:
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
    identities = f"identities = {_toml(answers.identities or 'secrets/clients.csv')}"
    identities = f"{'' if answers.identities else '# '}{identities}   # Stage's credentials for the capture's clients"
    return _TEMPLATE.format(
        file=str(out).replace("\n", " "),
        url=_toml(answers.target),
        hosts=", ".join(map(_toml, _hosts(answers))),
        reset=reset if answers.reset else '# reset = "scripts/reset-stage"   # without it the evidence is weaker',
        production=_toml(answers.production),
        identities=identities,
        qa=_QA.format(qa=_toml(answers.qa), identities=identities) if answers.qa else "",
        step=step,
        dsn=answers.dsn,
        replica=probe.removeprefix("# ") if answers.replica else probe,
        log="\n".join(log if answers.log else [f"# {line}" for line in log]),
    )


def _hosts(answers: Answers) -> Sequence[str]:
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
