"""``replay init``: a plan to start from."""

import json
from pathlib import Path

import click

from replay.errors import InputError
from replay.target import parse_target

_TEMPLATE = """\
# A rehearsal: what is played, on which Stage, and what is done to it meanwhile.
#   replay rehearse {file} --out runs/first --dry-run    checks all of this and sends nothing
#   replay rehearse {file} --out runs/first              does it
# Paths count from this file's folder. ${{NAME}} comes from the environment: a secret never stands in a plan.

[target]
url = {url}
allow = [{host}]              # load, steps and probes go nowhere else
ready = "GET /health"            # asked before each arm until it answers
reset = {reset}  # puts Stage back before each arm; without it the evidence is weaker
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
sql = {sql}      # sent statement by statement
dsn = "${{STAGE_DSN}}"             # such as postgresql://user:password@127.0.0.1/stage
# run = "psql -f up.sql"         # instead of sql and dsn; or alembic = "head", django = "manage.py", http = "POST /x"
timeout = "10m"                  # then it is cancelled, and has failed

# What you would do if it went wrong is worth rehearsing too:
# [[steps]]
# name = "roll back"
# kind = "rollback"
# after = "10s"
# sql = "migrations/rollback.sql"
# dsn = "${{STAGE_DSN}}"

[probes.database]                # who waits for whom, connections, replica lag
kind = "postgres"
dsn = "${{STAGE_DSN}}"
# replicas = ["${{STAGE_REPLICA_DSN}}"]

# [probes.errors]                # the API's error log
# kind = "log"
# path = "var/api-error.log"

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


@click.command(name="init")
@click.option("--out", type=click.Path(path_type=Path), default=Path("plan.toml"), show_default=True, help="The plan.")
@click.option("--target", default="http://127.0.0.1:8000", show_default=True, metavar="URL", help="Stage's address.")
@click.option("--production", default="captures/production", show_default=True, help="The capture of production.")
@click.option("--qa", default="captures/qa", show_default=True, help="The capture of pre-production; '' for none.")
@click.option("--sql", default="migrations/0001.sql", show_default=True, help="The migration's SQL file.")
@click.option("--reset", default="scripts/reset-stage", show_default=True, help="The command that puts Stage back.")
def command(*, out: Path, target: str, production: str, qa: str, sql: str, reset: str) -> None:
    """Write a commented plan to start from. An existing file is never written over.

    \b
    Examples:
      replay init
      replay init --out plans/scopes.toml --target http://stage.internal --sql ../migrations/0042.sql
    """
    host = parse_target(target).host
    text = _TEMPLATE.format(
        file=out,
        url=_toml(target),
        host=_toml(host),
        production=_toml(production),
        qa=_QA.format(qa=_toml(qa)) if qa else "",
        sql=_toml(sql),
        reset=_toml(reset),
    )
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{out} is there already.", "Give another name to --out.") from error
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    click.echo(f"Written: {out}")
    click.echo(f"Next: set STAGE_DSN, then replay rehearse {out} --out runs/first --dry-run")


def _toml(text: str) -> str:
    # JSON's strings are TOML's too.
    return json.dumps(text, ensure_ascii=False)
