"""``replay rehearse``: the experiment, the verdict and the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from replay.cli.display import Display, minutes
from replay.cli.text import plain, print_json
from replay.errors import ExitCode
from replay.judge.criteria import parse_criteria
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import Outline, check_plan
from replay.rehearsal.plan import read_plan

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
    return check_plan(plan, out, resume=resume)


def rehearse(outline: Outline, out: Path, console: Console, *, resume: bool = False) -> Rehearsed:
    """Play a checked plan into the folder ``out``, judge what was seen, and write the reports.

    Progress goes to ``console``. Raises StageError, ToolError or Interrupted as ``conduct`` does; there is then no
    verdict, and the run's folder says why.
    """
    # The conductor leaves evidence on disk; the judge reads nothing else, and the report nothing but both.
    display = Display(console)
    with display.shown():
        conduct(outline, out, display, resume=resume)
    # Both are heavy to load, and not wanted while the load runs.
    from replay.judge.verdict import judge_run  # noqa: PLC0415
    from replay.report.write import write_reports  # noqa: PLC0415

    with console.status("judging the evidence"):
        verdict = judge_run(out)
    with console.status("writing the report"):
        report = write_reports(out)
    return Rehearsed(out, verdict.verdict, verdict.reasons, verdict.to_json(), report)


@click.command(name="rehearse")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder, which must not hold anything yet; a dry run does without.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted rehearsal in --out: play the arms it lacks.")
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be done; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output and nothing else.")
def command(*, plan: Path, out: Path | None, resume: bool, dry_run: bool, as_json: bool) -> int:
    """Rehearse PLAN on Stage: every workload with its steps and without, then the verdict and the report.

    Leaves with 0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE; 2 where the plan cannot be done, 4 where Stage or replay
    broke, 130 where it was interrupted.

    \b
    Examples:
      replay rehearse plan.toml --out runs/first --dry-run
      replay rehearse plan.toml --out runs/first
      replay rehearse plan.toml --out runs/first --resume
      replay rehearse plan.toml --out runs/first --json | jq -r .verdict
    """
    if out is None and not dry_run:
        raise click.UsageError("Say where the run goes: --out runs/NAME")
    folder = out or Path("runs") / plan.stem
    outline = outline_of(plan, folder, resume=resume)
    if dry_run:
        _show_outline(outline, as_json)
        return ExitCode.GO
    done = rehearse(outline, folder, Console(stderr=True), resume=resume)
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
        click.echo(f"  - {plain(reason)}")
    click.echo(f"Report: {done.report}")


def _show_outline(outline: Outline, as_json: bool) -> None:
    if as_json:
        print_json(_outline_json(outline), sort_keys=True)
        return
    plan = outline.plan
    scrub = plan.scrubber()
    click.secho(plain(f"{plan.name} on {plan.target.target.url}"), bold=True)
    reset = plain(scrub(plan.target.reset.written)) if plan.target.reset else "no"
    click.echo(f"Stage is put back before each arm: {reset}")
    click.echo("\nArms, in this order:")
    for number, arm in enumerate(outline.arms, 1):
        steps = "with the steps" if arm.steps else "control"
        click.echo(
            f"  {number}. {arm.name:24} {arm.role}, {steps}: {arm.planned:,} requests in {minutes(arm.duration_s)}"
        )
    _show_pools(outline)
    click.echo("\nSteps:" if outline.steps else "\nSteps: none")
    for step in outline.steps:
        when = f"at {step.plan.at_s:g} s" if step.plan.at_s is not None else f"{step.plan.after_s:g} s after that"
        what = plain(scrub(step.work.told))
        click.echo(f"  {when:18} {step.plan.kind} “{step.plan.name}”: {what}, at most {minutes(step.plan.timeout_s)}")
    probes = ", ".join(probe.name for probe in plan.probes) or "none"
    click.echo(f"\nProbes: {probes}")
    for warning in outline.warnings:
        click.secho(f"Note: {warning}", fg="yellow")
    order = "Apart from the notes, everything" if outline.warnings else "Everything"
    click.echo(
        f"\nAbout {minutes(outline.estimate_s)} and {outline.estimate_bytes / 1e6:.0f} MB. "
        f"{order} that can be checked beforehand is in order; nothing was sent."
    )


def _show_pools(outline: Outline) -> None:
    for workload in outline.workloads:
        if workload.pools:
            click.echo(f"\nStage's own values in {workload.plan.name}:")
        for pool in workload.pools:
            click.echo(f"  {plain(pool.told)}")


def _outline_json(outline: Outline) -> dict[str, Any]:
    scrub = outline.plan.scrubber()
    return {
        "name": outline.plan.name,
        "target": outline.plan.target.target.url,
        "arms": [
            {
                "arm": arm.name,
                "workload": arm.workload_name,
                "role": arm.role,
                "steps": bool(arm.steps),
                "planned": arm.planned,
                "duration_s": arm.duration_s,
            }
            for arm in outline.arms
        ],
        "steps": [
            {
                "name": step.plan.name,
                "kind": step.plan.kind,
                "at_s": step.plan.at_s,
                "after_s": step.plan.after_s,
                "does": scrub(step.work.told),
                "statements": [scrub.query(statement.text) for statement in step.statements],
                "run": scrub(step.plan.run.written) if step.plan.run else None,
                "timeout_s": step.plan.timeout_s,
                "on_failure": step.plan.on_failure,
            }
            for step in outline.steps
        ],
        "pools": {
            workload.plan.name: [
                {
                    "pool": pool.name,
                    "captured": pool.captured,
                    "sent": pool.sent,
                    "values": None if pool.binding is None else len(pool.binding.pool.values),
                    "shared": None if pool.binding is None else pool.binding.shared,
                }
                for pool in workload.pools
            ]
            for workload in outline.workloads
        },
        "left_out": {workload.plan.name: workload.left_out for workload in outline.workloads},
        "probes": [probe.name for probe in outline.plan.probes],
        "reset": scrub(outline.plan.target.reset.written) if outline.plan.target.reset else None,
        "estimate_s": outline.estimate_s,
        "estimate_bytes": outline.estimate_bytes,
        "warnings": list(outline.warnings),
        "plan": outline.plan.resolved,
    }
