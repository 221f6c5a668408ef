"""``replay judge``: the verdict again, from a run's evidence."""

from pathlib import Path

import click

from replay.cli.text import plain, print_json
from replay.errors import ExitCode
from replay.judge.verdict import judge_run

_EXIT_CODES = {"GO": ExitCode.GO, "NO_GO": ExitCode.NO_GO, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}


@click.command(name="judge")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json on standard output and nothing else.")
def command(run: Path, as_json: bool) -> int:
    """Judge RUN again from its evidence, and write its verdict.json anew.

    The limits are those in RUN's rehearsal.json. The report stays as it was: make it again with `replay report`.

    Leaves with 0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE, 2 where RUN is not a run's folder.

    \b
    Examples:
      replay judge runs/demo
      replay judge runs/demo --json | jq .reasons
    """
    verdict = judge_run(run)
    if as_json:
        print_json(verdict.to_json(), sort_keys=True)
        return _EXIT_CODES[verdict.verdict]
    colour = {"GO": "green", "NO_GO": "red"}.get(verdict.verdict, "yellow")
    click.secho(verdict.verdict, fg=colour, bold=True)
    for reason in verdict.reasons:
        click.echo(f"  - {plain(reason)}")
    click.echo(f"Written: {run / 'verdict.json'}")
    return _EXIT_CODES[verdict.verdict]
