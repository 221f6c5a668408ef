"""Shows how far a replay is: a bar on a terminal, a line now and then elsewhere."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from replay.cli.text import plain
from replay.evidence.rollup import MERGED
from replay.evidence.values import ArmInfo, Outcome, expected_outcome
from replay.parquet import read_parquet
from replay.rehearsal.upkeep import Standing, Upkeep
from replay.scenario.process import LocustProcess

_LOOKS_EVERY_S = 1.0
_LINE_EVERY_S = 10.0
_COLUMNS = ["outcome", "expected_status", "expected_shape"]


def watch(
    process: LocustProcess, arm: Path, info: ArmInfo, console: Console, tick: Callable[[], None] = lambda: None
) -> int:
    """Wait for the end of a replay into the folder ``arm``, and show meanwhile how far it is. Its exit code.

    ``tick`` is called each second. Meanwhile the run's heartbeat is written and its evidence rolled up.
    """
    seen = _Seen(arm)
    upkeep = Upkeep(arm.parents[1], arm, info.planned, lambda: seen.standing, lambda: process.pid)
    with _shown(console, info.duration_s) as show, upkeep:
        show("Starting locust", 0.0)
        while (code := process.wait(_LOOKS_EVERY_S)) is None:
            tick()
            elapsed_s = seen.look()
            if elapsed_s is not None:
                show(seen.told(info, elapsed_s), elapsed_s)
        seen.look()
    return code


@dataclass(slots=True)
class _Seen:
    """What the evidence of an arm says so far."""

    arm: Path
    began: datetime | None = None
    outcomes: dict[bool | None, int] = field(default_factory=lambda: {True: 0, False: 0, None: 0})
    files: set[Path] = field(default_factory=set)

    def look(self) -> float | None:
        """Read what was written since. The arm's time, None where it has not begun."""
        found = set((self.arm / "observations").glob("*.parquet"))
        self.files &= found  # what was merged since need not be remembered: its rows were seen in its parts
        for file in found - self.files:
            if not file.name.startswith(MERGED):
                self._add(file)
        if self.began is None:
            self.began = next(filter(None, map(_began, self.arm.glob("replay-*.json"))), None)
        return None if self.began is None else max(0.0, (datetime.now(UTC) - self.began).total_seconds())

    def _add(self, file: Path) -> None:
        try:
            rows = read_parquet(file, _COLUMNS)
        except (OSError, pa.ArrowException):
            return  # it is being written
        self.files.add(file)
        counts = rows.group_by(_COLUMNS, use_threads=False).aggregate([([], "count_all")]).to_pylist()
        for row in counts:
            as_expected = row["outcome"] == expected_outcome(row["expected_status"], row["expected_shape"])
            self.outcomes[None if row["outcome"] == Outcome.UNSENT else as_expected] += row["count_all"]

    @property
    def standing(self) -> Standing:
        """The same, for the heartbeat."""
        elapsed_s = None if self.began is None else (datetime.now(UTC) - self.began).total_seconds()
        return Standing(elapsed_s, self.outcomes[True] + self.outcomes[False], self.outcomes[False])

    def told(self, info: ArmInfo, elapsed_s: float) -> str:
        """How far it is: the time, what was sent, and what of that failed."""
        fine, failed, unsent = (self.outcomes[key] for key in (True, False, None))
        said = f"{min(elapsed_s, info.duration_s):.0f} of {info.duration_s:.0f} s, "
        said += f"{fine + failed:,} of {info.planned:,} sent, {failed:,} failed"
        said += f", {unsent:,} not sent" if unsent else ""
        return said + (", waiting for the last answers" if elapsed_s > info.duration_s else "")


def _began(file: Path) -> datetime | None:
    try:
        began = json.loads(file.read_text(encoding="utf-8"))["started_at"]
    except (OSError, ValueError):
        return None
    return datetime.fromisoformat(began) if began else None


@contextmanager
def _shown(console: Console, total_s: float) -> Iterator[Callable[[str, float], None]]:
    if console.is_terminal:
        bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True)
        with bar:
            task = bar.add_task("", total=total_s)
            yield lambda text, done_s: bar.update(task, description=escape(plain(text)), completed=min(done_s, total_s))
        return
    due = 0.0

    def line(text: str, done_s: float) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_EVERY_S if done_s else due
            console.print(plain(text), highlight=False, markup=False, soft_wrap=True)

    yield line
