"""Steps done beside a test, as an arm does them, and what became of them."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replay.evidence.values import Mark
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.commands import usual_environment
from replay.rehearsal.plan import read_plan
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.steps.actions import Action, Run, SqlFile
from replay.rehearsal.steps.plan import StepPlan
from replay.rehearsal.steps.prepare import prepare_steps
from replay.rehearsal.steps.runner import Step, StepRunner
from replay.rehearsal.table import Command, Dsn


class Stage:
    """A folder with the steps of a plan."""

    def __init__(self, folder: Path, dsn: str, url: str = "http://127.0.0.1:1") -> None:
        self.folder, self.dsn = folder, dsn
        self.scrub = Scrubber({"STAGE_DSN": dsn}, ["hush-hush-42"])
        self.environment = {**usual_environment(), "STAGE_DSN": dsn}
        plan = folder / "plan.toml"
        plan.write_text(
            f'[target]\nurl = "{url}"\nallow = ["127.0.0.1"]\nready = "GET /health"\n'
            '[workloads.production]\ncapture = "x"\n'
        )
        self.target = read_plan(plan).target
        self.marks: list[Mark] = []
        self.plans: list[StepPlan] = []

    def step(
        self, sql: str | None = None, run: str | None = None, action: Action | None = None, **changes: Any
    ) -> None:
        number = len(self.plans) + 1
        if sql is not None:
            file = self.folder / f"{number}.sql"
            file.write_bytes(sql.encode())
            action = SqlFile(file, Dsn(self.dsn, "${STAGE_DSN}"))
        if run is not None:
            action = Run(Command(("sh", "-c", run), run))
        assert action is not None
        values = {
            "name": f"step {number}",
            "kind": "migrate",
            "at_s": 0.0,
            "after_s": None,
            "action": action,
            "timeout_s": 30.0,
            "on_failure": "continue",
        }
        self.plans.append(StepPlan(**{**values, **changes}))

    def prepare(self) -> tuple[Step, ...]:
        return prepare_steps(
            self.plans,
            folder=self.folder,
            target=self.target,
            environment=self.environment,
            database=Dsn(self.dsn, "${STAGE_DSN}"),
        )

    def runner(self) -> StepRunner:
        return StepRunner(
            self.prepare(),
            ArmClock.started_now(),
            mark=self.marks.append,
            scrub=self.scrub,
            folder=self.folder,
            logs=self.folder / "steps",
        )

    def play(self, seconds: float = 40.0) -> list[Mark]:
        runner = self.runner()
        runner.start()
        assert runner.join(seconds)
        assert runner.broke is None
        return self.marks

    def log(self, number: int = 1) -> str:
        return (self.folder / "steps" / f"{number:02d}.log").read_text()

    def said(self, number: int = 1) -> list[str]:
        """The log's lines without their times."""
        return [line.partition("] ")[2] for line in self.log(number).splitlines()]


def events(marks: list[Mark]) -> list[tuple[str, int, str]]:
    return [(mark.step, mark.index, mark.event) for mark in marks]


def wait_for(condition: Callable[[], object], seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def running(marker: str) -> list[int]:
    """The living processes that have ``marker`` on their command line or in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if state != b"Z" and marker.encode() in words:
            found.append(int(folder.name))
    return found
