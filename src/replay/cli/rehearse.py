"""``replay rehearse``: the experiment, the verdict and the report."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from replay.cli.display import Display
from replay.cli.measured import check_measured
from replay.cli.outlining import dry
from replay.cli.text import one_line, plain, print_json
from replay.errors import ExitCode
from replay.judge.criteria import parse_criteria
from replay.rehearsal.conductor import check_earlier, conduct
from replay.rehearsal.live import LIVE
from replay.rehearsal.outline import Outline, check_plan
from replay.rehearsal.plan import read_plan
from replay.scenario.process import Web, parse_web

if TYPE_CHECKING:
    from replay.judge.verdict import Verdict

_EXIT_CODES = {"GO": ExitCode.GO, "NO_GO": ExitCode.NO_GO, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A rehearsal that came to its verdict: ``GO``, ``NO_GO`` or ``INCONCLUSIVE``, its reasons, its files."""

    run: Path
    verdict: str
    reasons: tuple[str, ...]
    document: dict[str, Any]
    report: Path

    @property
    def exit_code(self) -> ExitCode:
        """What a pipeline gets."""
        return _EXIT_CODES[self.verdict]


def outline_of(
    plan_file: Path, out: Path, environment: Mapping[str, str] | None = None, *, resume: bool = False
) -> Outline:
    """Read and check a plan, its criteria included. Raises InputError and its children; touches nothing."""
    plan = read_plan(plan_file, environment)
    parse_criteria(plan.criteria)
    outline = check_plan(plan, out, resume=resume)
    check_measured(outline)
    return outline


def rehearse(
    outline: Outline,
    out: Path,
    console: Console,
    *,
    resume: bool = False,
    controls_of: Path | None = None,
    web: Web | None = None,
) -> Rehearsed:
    """Play a checked plan into the folder ``out``, judge what was seen, and write the reports.

    Progress goes to ``console``, and to the page at ``web``. Raises StageError, ToolError or Interrupted as ``conduct``
    does; there is then no verdict, and the run's folder says why.
    """
    # The conductor leaves evidence on disk; the judge reads nothing else, and the report nothing but both.
    display = Display(console, None if web is None else dataclasses.replace(web, live=out.absolute() / LIVE))
    if controls_of is not None:
        console.print(
            f"The controls of {controls_of} are taken over, and not played again as long as Stage is the same.",
            highlight=False,
            soft_wrap=True,
        )
    judged: list[Verdict] = []

    def suspects(run: Path) -> dict[str, str]:
        judged.append(_judge(run))
        return judged[-1].unconfirmed

    with display.shown():
        conduct(outline, out, display, resume=resume, controls_of=controls_of, suspects=suspects)
    from replay.report.write import write_reports  # noqa: PLC0415 - heavy to load, and not wanted while the load runs

    with console.status("judging the evidence"):
        verdict = judged[0] if judged and not judged[0].unconfirmed else _judge(out)
    with console.status("writing the report"):
        report = write_reports(out)
    return Rehearsed(out, verdict.verdict, verdict.reasons, verdict.to_json(), report)


def _judge(run: Path) -> "Verdict":
    from replay.judge.verdict import judge_run  # noqa: PLC0415 - as above

    return judge_run(run)


@click.command(name="rehearse")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder, which must not hold anything yet; a dry run does without.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted rehearsal in --out: play the arms it lacks.")
@click.option(
    "--controls-of",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="An earlier run whose controls serve again, where captures, plan (but for its steps and criteria) and Stage "
    "are the same.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything that can be checked without load, and show what would be done: asks every database, puts "
    "Stage back, plays one visit of each identity.",
)
@click.option("--offline", is_flag=True, help="A dry run that asks and sends nothing.")
@click.option("--web", metavar="HOST:PORT", help="Show it in a browser too: locust's web page, with a tab Replay.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output and nothing else.")
def command(
    *,
    plan: Path,
    out: Path | None,
    resume: bool,
    controls_of: Path | None,
    dry_run: bool,
    offline: bool,
    web: str | None,
    as_json: bool,
) -> int:
    """Rehearse PLAN on Stage: every workload with its steps and without, then the verdict and the report.

    Leaves with 0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE; 2 where the plan cannot be done, 4 where Stage or replay
    broke, 130 where it was interrupted.

    \b
    Examples:
      replay rehearse plan.toml --out runs/first --dry-run
      replay rehearse plan.toml --dry-run --offline
      replay rehearse plan.toml --out runs/first
      replay rehearse plan.toml --out runs/first --web 127.0.0.1:8089
      replay rehearse plan.toml --out runs/first --resume
      replay rehearse plan.toml --out runs/second --controls-of runs/first
      replay rehearse plan.toml --out runs/first --json | jq -r .verdict
    """
    if offline and not dry_run:
        raise click.UsageError("--offline is for --dry-run.")
    if resume and controls_of is not None:
        raise click.UsageError("--resume keeps the controls that were taken over; leave --controls-of out.")
    if out is None and not dry_run:
        raise click.UsageError("Say where the run goes: --out runs/NAME")
    folder = out or Path("runs") / plan.stem
    outline = outline_of(plan, folder, resume=resume)
    if dry_run:
        outline = check_earlier(outline, folder, resume=resume, controls_of=controls_of)
        for note in (note for workload in outline.workloads for note in workload.notes):
            click.secho(f"Note: {plain(note)}", fg="yellow", err=True)  # before anything is sent
        return dry(outline, folder, offline=offline, as_json=as_json)
    address = None if web is None else parse_web(web)
    console = Console(stderr=True)
    done = rehearse(outline, folder, console, resume=resume, controls_of=controls_of, web=address)
    if as_json:
        document = {**done.document, "run": str(done.run), "report": str(done.report)}
        print_json(document, sort_keys=True)
    else:
        show_verdict(done)
    return done.exit_code


def show_verdict(done: Rehearsed) -> None:
    """Print a verdict, its reasons, and last the report's path."""
    colour = {"GO": "green", "NO_GO": "red"}.get(done.verdict, "yellow")
    click.secho(done.verdict, fg=colour, bold=True)
    for reason in done.reasons:
        click.echo(f"  - {one_line(reason)}")
    click.echo(f"Report: {done.report}")
