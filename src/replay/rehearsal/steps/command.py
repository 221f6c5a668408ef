"""A step that runs a program."""

import threading
from dataclasses import dataclass
from pathlib import Path

from replay.rehearsal.commands import Program, RunningCommand
from replay.rehearsal.steps.job import Bench


@dataclass(frozen=True, slots=True)
class CommandWork:
    """A program to be run, in a folder of its own or else the plan's."""

    program: Program
    folder: Path | None = None

    @property
    def told(self) -> str:
        """What it would do."""
        return f"runs {self.program.written}"

    def job(self, bench: Bench) -> "CommandJob":
        """Begin nothing yet."""
        return CommandJob(self, bench)


class CommandJob:
    """A program being run. It has no terminal and nothing to read; its output goes to the step's log."""

    def __init__(self, work: CommandWork, bench: Bench) -> None:
        self._work = work
        self._bench = bench
        self._lock = threading.Lock()
        self._running: RunningCommand | None = None
        self._why = ""

    def do(self) -> str:
        """Run it. Why it failed, or an empty text."""
        work, bench = self._work, self._bench
        bench.write(f"$ {work.program.written}")
        with self._lock:
            if self._why:
                return self._why
            try:
                self._running = RunningCommand(work.program, work.folder or bench.folder, bench.write)
            except OSError as error:
                return f"{work.program.words[0]} cannot be started: {error.strerror or error}"
        return self._running.wait(bench.plan.timeout_s).error

    def end(self, why: str) -> None:
        """End it with all that it started."""
        with self._lock:
            self._why = self._why or why
            running = self._running
        if running is not None:
            running.end(why)
