"""Shows what a plan comes to, and what Stage said when it was asked."""

import itertools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from replay.cli.display import cost, extent, minutes
from replay.cli.text import plain, print_json
from replay.errors import ExitCode
from replay.rehearsal.checks.asking import ask_stage
from replay.rehearsal.checks.check import FAILED, NOT_ASKED, PASSED, Check, exit_code_of, passed
from replay.rehearsal.checks.identities import IDENTITY
from replay.rehearsal.outline import Outline

_MOST_ALIKE = 10
_COLOURS = {PASSED: "green", FAILED: "red", NOT_ASKED: "yellow"}


def dry(outline: Outline, out: Path, *, offline: bool, as_json: bool) -> ExitCode:
    """Ask Stage, unless ``offline``, and print what the plan comes to. The exit code; only what is wrong makes one."""
    if offline:
        _show(outline, None, as_json=as_json)
        return ExitCode.GO
    with _told("Dry run") as say, _in_good_order():
        asked = ask_stage(outline, out, say)
    _show(asked.outline, asked.checks, as_json=as_json)
    return exit_code_of(asked.checks)


@contextmanager
def _in_good_order() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: nothing that was started, and no credential that was written, is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _told(what: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error that ``what`` is done, and each part of it: beside a spinner, or line by line."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda part: click.echo(plain(f"{what}: {part}"), err=True)
        return
    with console.status(Text(plain(what))) as status:
        yield lambda part: status.update(Text(plain(f"{what}: {part}")))


def _show(outline: Outline, checks: Sequence[Check] | None, *, as_json: bool) -> None:
    """Print a checked plan, for people or as JSON, and the ``checks`` of Stage; None where it was not to be asked."""
    if as_json:
        print_json(_outline_json(outline, checks or ()), sort_keys=True)
        return
    plan = outline.plan
    scrub = plan.scrubber()
    click.secho(plain(f"{plan.name} on {plan.target.target.url}"), bold=True)
    reset = plain(scrub(plan.target.reset.written)) if plan.target.reset else "no"
    click.echo(f"Stage is put back before each arm: {reset}")
    click.echo("\nArms, in this order:")
    for number, arm in enumerate(outline.arms, 1):
        steps = "with the steps" if arm.steps else "control"
        there = "; there already" if arm.name in outline.there else ""
        click.echo(f"  {number}. {arm.name:24} {arm.role}, {steps}: {extent(arm)}{there}")
    _show_pools(outline)
    click.echo("\nSteps:" if outline.steps else "\nSteps: none")
    for step in outline.steps:
        moments = ", ".join(f"{moment_s:g}" for moment_s in step.plan.moments_s)
        when = f"at {moments} s" if moments else f"{step.plan.after_s:g} s after that"
        what = plain(scrub(step.work.told))
        click.echo(f"  {when:18} {step.plan.kind} “{step.plan.name}”: {what}, at most {minutes(step.plan.timeout_s)}")
    probes = ", ".join(probe.name for probe in plan.probes) or "none"
    click.echo(f"\nProbes: {probes}")
    for warning in (*outline.warnings, *outline.hints):
        click.secho(f"Note: {warning}", fg="yellow")
    if checks is not None:
        _show_checks(checks)
    told = cost(outline)
    click.echo(f"\n{told[0].upper()}{told[1:]}. {_conclusion(outline, checks)}")


def _show_pools(outline: Outline) -> None:
    for workload in outline.workloads:
        if workload.pools:
            click.echo(f"\nStage's own values in {workload.plan.name}:")
        for pool in workload.pools:
            click.echo(f"  {plain(pool.told)}")


def _show_checks(checks: Sequence[Check]) -> None:
    click.echo("\nStage:")
    for check in _folded(checks):
        state = click.style(f"{check.state:10}", fg=_COLOURS[check.state])
        click.echo(f"  {state} {plain(check.name)}: {plain(check.sentence)}")
        if check.hint:
            click.secho(f"  {'':10} {plain(check.hint)}", fg=None if check.state == FAILED else "yellow")
    if left := sum(check.state == NOT_ASKED for check in checks):
        questions = "1 question" if left == 1 else f"{left} questions"
        click.secho(f"Note: {questions} could not be asked; what the answers would be is not known.", fg="yellow")


def _folded(checks: Sequence[Check]) -> Iterator[Check]:
    """The checks as they are shown: of a workload's many identities that are well, the first ten and a count."""
    for workload, group in itertools.groupby(checks, key=_workload_of):
        shown = list(group)
        yield from shown[: _MOST_ALIKE if workload else None]
        if workload and len(shown) > _MOST_ALIKE:
            yield passed(f"{len(shown) - _MOST_ALIKE} identities more of {workload}", "Accepted alike.")


def _workload_of(check: Check) -> str:
    """Whose identity is well, by a check that says so and nothing else; empty where it is another."""
    well = check.name.startswith(f"{IDENTITY} ") and check.state == PASSED and not check.hint
    return check.name.rpartition(" of ")[2] if well else ""


def _conclusion(outline: Outline, checks: Sequence[Check] | None) -> str:
    if checks is None:
        order = "Apart from the notes, everything" if outline.warnings else "Everything"
        return f"{order} that can be checked without asking Stage is in order; nothing was sent."
    counts = {state: sum(check.state == state for check in checks) for state in _COLOURS}
    failed, left = counts[FAILED], counts[NOT_ASKED]
    told = f"{counts[PASSED]} checks passed"
    told += f", {failed} failed" if failed else ""
    told += f", {left} could not be asked" if left else ""
    return f"{told}." if failed or left else f"Everything that can be checked beforehand is in order: {told}."


def _outline_json(outline: Outline, checks: Sequence[Check]) -> dict[str, Any]:
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
                "there": arm.name in outline.there,
            }
            for arm in outline.arms
        ],
        "steps": [
            {
                "name": step.plan.name,
                "kind": step.plan.kind,
                "at_s": step.plan.at_s,
                "moments_s": list(step.plan.moments_s),
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
        "kept_back": {workload.plan.name: workload.kept_back.to_json() for workload in outline.workloads},
        "probes": [probe.name for probe in outline.plan.probes],
        "reset": scrub(outline.plan.target.reset.written) if outline.plan.target.reset else None,
        "estimate_s": outline.estimate_s,
        "estimate_bytes": outline.estimate_bytes,
        "may_follow": {
            "arms": len(outline.may_follow.arms),
            "estimate_s": outline.may_follow.estimate_s,
            "estimate_bytes": outline.may_follow.estimate_bytes,
        },
        "warnings": list(outline.warnings),
        "hints": list(outline.hints),
        "checks": [check.to_json() for check in checks],
        "plan": outline.plan.resolved,
    }
