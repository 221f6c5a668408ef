"""Doing the plan's steps to Stage at their moments, in their order, with a mark for each step and each statement."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from replay.evidence.values import Mark
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.commands import OutputLog
from replay.rehearsal.steps.job import Bench, Job, Work
from replay.rehearsal.steps.plan import ABORT, CONTINUE, ROLLBACK, StepPlan
from replay.rehearsal.steps.sql import Statement
from replay.rehearsal.steps.sql_session import SqlWork


@dataclass(frozen=True, slots=True)
class Step:
    """A step ready to be done: what it needs is found and read."""

    plan: StepPlan
    work: Work

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Its SQL, cut into statements."""
        return self.work.script.statements if isinstance(self.work, SqlWork) else ()


class StepRunner:
    """Does the steps of one arm in a thread, one after the other; ``begun`` are those that have begun.

    ``aborts`` is why the arm shall end now, where a step has failed that wants so; empty as long as none has.
    ``mark`` gets every mark and ``scrub`` takes secrets out of what servers and programs say. ``first`` is the number
    of the first step, by which its log is named. A step whose moment comes while the one before still runs begins when
    that has ended.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        clock: ArmClock,
        *,
        mark: Callable[[Mark], None],
        scrub: Callable[[str], str],
        folder: Path,
        logs: Path,
        first: int = 1,
    ) -> None:
        self._steps = steps
        self._first = first
        self._clock = clock
        self._mark = mark
        self._scrub = scrub
        self._folder = folder
        self._logs = logs
        self._stopping = threading.Event()
        self._no_more = threading.Event()
        self._running: Job | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._play, name="steps", daemon=True)
        self.begun: list[Step] = []
        self.aborts = ""
        self.broke: BaseException | None = None

    def start(self) -> None:
        """Begin; the first step waits for its moment."""
        self._thread.start()

    def begin_no_more(self) -> None:
        """Let what runs end, and begin nothing after it: the load is over."""
        self._no_more.set()

    def stop(self) -> None:
        """End what runs, begin nothing more, and wait for it."""
        self._stopping.set()
        with self._lock:
            running = self._running
        if running is not None:
            running.end("interrupted")
        if self._thread.ident is not None:
            self._thread.join(30)

    @property
    def alive(self) -> bool:
        """Whether a step runs or is still to come."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait for the last step; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _play(self) -> None:
        try:
            self._play_all()
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the conductor
            self.broke = error

    def _play_all(self) -> None:
        ended_s = 0.0
        failed: StepPlan | None = None  # a step whose failure keeps later ones from being done
        for number, step in enumerate(self._steps, self._first):
            at_once = False
            if failed is not None:
                at_once = failed.on_failure == step.plan.kind == ROLLBACK
                if not at_once:
                    self._record(step.plan, "not done", error=_kept_back(failed))
                    continue
                failed = None
            why_not = self._wait_for(step.plan, ended_s, at_once=at_once)
            if why_not:
                self._record(step.plan, "not done", error=why_not)
                continue
            if not self._do(step, number) and step.plan.on_failure != CONTINUE:
                failed = step.plan
                self.aborts = f"the step {failed.name!r} failed" if failed.on_failure == ABORT else ""
            ended_s = self._clock.now_s()

    def _wait_for(self, plan: StepPlan, ended_s: float, *, at_once: bool) -> str:
        """Sleep until the step's moment. Why it shall not be done, or an empty text."""
        due_s = plan.at_s if plan.at_s is not None else ended_s + (plan.after_s or 0.0)
        while not self._stopping.is_set():
            if self._no_more.is_set():
                return "the load had ended"
            left_s = 0.0 if at_once else due_s - self._clock.now_s()
            if left_s <= 0:
                return ""
            self._stopping.wait(min(left_s, 0.1))
        return "interrupted"

    def _do(self, step: Step, number: int) -> bool:
        plan = step.plan
        self.begun.append(step)
        log = OutputLog(self._logs / f"{number:02d}.log", self._scrub, self._clock.now_s)

        def record(event: str, index: int, statement: str, *, rows: int | None = None, error: str = "") -> None:
            self._record(plan, event, index, statement, rows=rows, error=error)

        job = step.work.job(Bench(plan, self._folder, log.write, self._scrub, record, self._failed))
        self._record(plan, "started")
        try:
            self._hold(job)
            error = self._scrub(job.do())
            if error:
                log.write(error)
        finally:
            log.close()
            self._running = None
        self._record(plan, self._failed() if error else "ended", error=error)
        return not error

    def _failed(self) -> str:
        """What to call a failure: one that our own stop brought about is none of the step's."""
        return "interrupted" if self._stopping.is_set() else "failed"

    def _hold(self, job: Job) -> None:
        with self._lock:
            self._running = job
        if self._stopping.is_set():
            job.end("interrupted")

    def _record(
        self,
        plan: StepPlan,
        event: str,
        index: int = 0,
        statement: str = "",
        *,
        rows: int | None = None,
        error: str = "",
    ) -> None:
        self._mark(Mark(self._clock.now_s(), plan.name, plan.kind, event, index, statement, rows, error))


def _kept_back(failed: StepPlan) -> str:
    if failed.on_failure == ROLLBACK:
        return f"{failed.name!r} failed before it, and is rolled back at once"
    return f"{failed.name!r} failed before it" + (", which ends the arm" if failed.on_failure == ABORT else "")
