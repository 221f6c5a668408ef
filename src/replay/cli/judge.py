"""``replay judge``: the verdict again, from a run's evidence."""

from pathlib import Path

import click

from replay.cli.text import one_line, print_json
from replay.errors import ExitCode
from replay.judge.verdict import Unwritten, Verdict, judge_run

_EXIT_CODES = {"GO": ExitCode.GO, "NO_GO": ExitCode.NO_GO, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}


@click.command(name="judge")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json on standard output and nothing else.")
def command(run: Path, as_json: bool) -> int:
    """Judge RUN again from its evidence, and write its verdict.json anew.

    The limits are those in RUN's rehearsal.json. The report stays as it was: make it again with `replay report`.

    Leaves with 0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE, 2 where RUN is not a run's folder, 4 where
    verdict.json cannot be written; the verdict is printed all the same.

    \b
    Examples:
      replay judge runs/demo
      replay judge runs/demo --json | jq .reasons
    """
    unwritten: Unwritten | None = None
    try:
        verdict = judge_run(run)
    except Unwritten as error:
        unwritten, verdict = error, error.verdict
    if as_json:
        print_json(verdict.to_json(), sort_keys=True)
    else:
        _show(verdict)
    if unwritten is not None:
        raise unwritten
    if not as_json:
        click.echo(f"Written: {run / 'verdict.json'}")
    return _EXIT_CODES[verdict.verdict]


def _show(verdict: Verdict) -> None:
    colour = {"GO": "green", "NO_GO": "red"}.get(verdict.verdict, "yellow")
    click.secho(verdict.verdict, fg=colour, bold=True)
    for reason in verdict.reasons:
        click.echo(f"  - {one_line(reason)}")
