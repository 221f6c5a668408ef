"""Shows a rehearsal while it runs: a live display on a terminal, a line now and then where there is none."""

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from replay.cli.text import plain
from replay.evidence.values import ArmInfo, Mark
from replay.rehearsal.arms import ArmOutline
from replay.rehearsal.live import Follower
from replay.rehearsal.outline import Outline
from replay.rehearsal.steps.runner import Step
from replay.rehearsal.watch import Sight
from replay.scenario.process import Web

_LINE_EVERY_S = 10.0
_MOST_FAILING = 8
_MOST_BACK = 4
_LAG_WORTH_A_LINE_S = 0.5


class Display(Follower):
    """Says at every moment what goes on, and for how long still."""

    def __init__(self, console: Console, web: Web | None = None) -> None:
        super().__init__(web)
        self._console = console
        self._line_at = 0.0
        self._screen: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it as long as the block runs."""
        try:
            if not self._console.is_terminal:
                yield
                return
            with Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True) as live:
                self._screen = live
                yield
        finally:
            self.forget()

    def begins(self, outline: Outline) -> None:
        """See Observer."""
        super().begins(outline)
        self._say(
            f"Rehearsal {outline.plan.name}: {len(outline.arms)} arms on {outline.plan.target.target.url}"
            f"{f' ({len(outline.there)} there already)' if outline.there else ''}, {cost(outline)}"
        )
        for warning in outline.warnings:
            self._say(f"Note: {warning}")
        if self.web is not None:
            self._say(f"{self.web.told}, from the first arm on")

    def confirms(self, outline: Outline, workloads: Sequence[str]) -> None:
        """See Observer."""
        before = self.live.arms
        super().confirms(outline, workloads)
        more = dataclasses.replace(outline, arms=outline.arms[before:])
        self._say(
            f"Something is suspected under {' and '.join(workloads)} that a second pair of passes may confirm: "
            f"{len(more.arms)} arms more, about {minutes(more.estimate_s)}"
        )

    def doing(self, arm: ArmOutline, what: str) -> None:
        """See Observer."""
        super().doing(arm, what)
        if not self._console.is_terminal:
            self._say(f"{self._place()}: {what}")

    def started(self, arm: ArmOutline, number: int) -> None:
        """See Observer."""
        super().started(arm, number)
        if not self._console.is_terminal:
            self._say(
                f"{self._place()}: playing {extent(arm)}{', with the steps' if arm.steps and arm.planned else ''}"
            )

    def mark(self, arm: ArmOutline, mark: Mark) -> None:
        """See Observer."""
        super().mark(arm, mark)
        if mark.step and not mark.index:
            error = f": {mark.error}" if mark.error else ""
            self._say(f"  {mark.at_s:6.1f} s  {mark.kind} “{mark.step}” {mark.event}{error}")

    def progress(self, arm: ArmOutline, at_s: float, sight: Sight) -> None:
        """See Observer."""
        super().progress(arm, at_s, sight)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._line_at >= _LINE_EVERY_S:
            self._line_at = now
            done = (
                f"{at_s:.0f} of {arm.duration_s:.0f} s, {sight.observed:,} of {arm.planned:,} requests"
                if arm.planned
                else f"{at_s:.0f} s without traffic"
            )
            self._say(f"{self._place()}: {done}, {minutes(self.live.left_s)} left in all")
            for line in _trouble(at_s, sight):
                self._say(f"  {line}")

    def wants(self, arm: ArmOutline, rollback: Step) -> bool:  # noqa: ARG002 - an observer's signature
        """See Observer. Asked on a terminal only; else the step is named."""
        name = plain(rollback.plan.name)
        if not self._console.is_terminal or not sys.stdin.isatty():
            self._say(f"Stage is as the steps have left it; the plan's rollback is “{name}”.")
            return False
        if self._screen is not None:
            self._screen.stop()
        question = f"The load has stopped. Roll Stage back now, with “{name}”? (Ctrl-C: leave at once)"
        return Confirm.ask(question, console=self._console, default=False)

    def ended(self, arm: ArmOutline, info: ArmInfo) -> None:
        """See Observer."""
        reason = f": {info.reason}" if info.reason not in {"", info.state} else ""
        self._say(f"{arm.name}: {info.state}{reason} ({self.live.sight.observed:,} of {info.planned:,} requests)")

    def _say(self, line: str) -> None:
        # In a file or a pipeline's log a line stays one line.
        self._console.print(Text(plain(line)), highlight=False, soft_wrap=not self._console.is_terminal)

    def _place(self) -> str:
        return f"[{self.live.number}/{self.live.arms}] {self.live.arm.name if self.live.arm else ''}"

    def _render(self) -> RenderableType:
        live = self.live
        arm, at_s, sight, step, statement = live.arm, live.at_s, live.sight, live.step, live.statement
        if arm is None:
            return Text("preparing scenarios")
        role = f"{arm.role}, {'with the steps' if arm.steps else 'control'}"
        head = Text.assemble((f"arm {live.number} of {live.arms}  {arm.name}", "bold"), f"  ({role})")
        left = f"{minutes(live.left_s)} left in all"
        if at_s is None:
            return Group(head, Text(f"  {live.doing} ... {left}"))
        row = Table.grid(padding=(0, 2))
        if arm.planned:
            row.add_row(
                ProgressBar(total=arm.duration_s, completed=min(max(at_s, 0.0), arm.duration_s), width=32),
                Text(f"{max(0.0, at_s):.0f} of {arm.duration_s:.0f} s"),
                Text(f"{sight.observed:,} of {arm.planned:,} requests"),
                Text(left),
            )
        else:
            row.add_row(Text(f"{max(0.0, at_s):.0f} s without traffic"), Text(left))
        lines: list[RenderableType] = [head, row]
        if step is not None:
            running = f"{step.kind} “{step.step}” for {max(0.0, at_s - step.at_s):.1f} s"
            if statement is not None:
                text = " ".join(statement.statement.split())
                running += f", statement {statement.index} for {max(0.0, at_s - statement.at_s):.1f} s: {text}"
            lines.append(Text(f"  {running}", overflow="ellipsis", no_wrap=True))
        elif arm.planned and at_s > arm.duration_s:
            lines.append(Text("  waiting for the last answers"))
        if arm.planned:
            green = sum(since_s is None for _, since_s in sight.endpoints)
            lines.append(
                Text(
                    f"  {sight.asked_per_s:.0f} requests/s asked for, {sight.answered_per_s:.0f} answered; "
                    f"{green} of {len(sight.endpoints)} endpoints well"
                )
            )
        lines += [Text(f"  {line}", "red", overflow="ellipsis", no_wrap=True) for line in _trouble(at_s, sight)]
        lines += [Text(f"  {line}", "green", overflow="ellipsis", no_wrap=True) for line in _recovery(at_s, live.back)]
        return Group(*lines)


def _trouble(at_s: float, sight: Sight) -> list[str]:
    """What is not as it should be: failing endpoints, who waits for a lock, a replica behind."""
    failing = [f"{endpoint} fails for {max(0.0, at_s - since_s):.0f} s" for endpoint, since_s in sight.red]
    lines = failing[:_MOST_FAILING]
    if len(failing) > _MOST_FAILING:
        lines.append(f"and {len(failing) - _MOST_FAILING} endpoints more")
    if sight.lock is not None:
        behind = f" behind “{sight.lock.behind}”" if sight.lock.behind else ""
        sessions = "1 session waits" if sight.lock.queued == 1 else f"{sight.lock.queued} sessions wait"
        lines.append(f"{sessions} for a lock{behind}, up to {sight.lock.waited_s:.1f} s")
    if sight.lag_s is not None and sight.lag_s >= _LAG_WORTH_A_LINE_S:
        lines.append(f"a replica is {sight.lag_s:.1f} s behind")
    return lines


def _recovery(at_s: float, back: Sequence[tuple[str, float]]) -> list[str]:
    """Which endpoints that failed are well again, the latest first; those that never failed are only counted."""
    latest = sorted(back, key=lambda one: (-one[1], one[0]))
    lines = [f"{name} is well again for {max(0.0, at_s - since_s):.0f} s" for name, since_s in latest[:_MOST_BACK]]
    if len(latest) > _MOST_BACK:
        lines.append(f"and {len(latest) - _MOST_BACK} endpoints more that had failed")
    return lines


def cost(outline: Outline) -> str:
    """How long a rehearsal takes and how much it writes, and what a second pair of arms may add."""
    more = outline.may_follow
    told = f"about {minutes(outline.estimate_s)} and {outline.estimate_bytes / 1e6:,.0f} MB"
    if not more.arms:
        return told
    size = f"{more.estimate_bytes / 1e6:,.0f} MB"
    return (
        f"{told}, and up to {len(more.arms)} arms, {minutes(more.estimate_s)} and {size} more "
        "if something must be confirmed"
    )


def extent(arm: ArmOutline) -> str:
    """What an arm plays: ``911 requests in 22 s``."""
    if arm.planned:
        return f"{arm.planned:,} requests in {minutes(arm.duration_s)}"
    return "no requests, for as long as the steps take"


def minutes(seconds: float) -> str:
    """A length of time as people say it: ``48 s``, ``4 min 20 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
