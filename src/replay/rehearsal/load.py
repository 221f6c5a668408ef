"""The load of one arm: locust, booted while Stage is put back, and started at the arm's common start."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from replay.errors import ExitCode, InputError, ToolError
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.plan import Plan
from replay.rehearsal.supplies import Supplies
from replay.rehearsal.workloads import WorkloadOutline
from replay.scenario.process import LocustProcess, Web, locust_command

TICK_S = 0.2
_BOOT_LIMIT_S = 120.0


class Load:
    """A context manager: locust runs within it, and ends with it."""

    def __init__(
        self,
        plan: Plan,
        workload: WorkloadOutline,
        *,
        folder: Path,
        locustfile: Path,
        supplies: Supplies,
        scrub: Callable[[str], str],
        web: Web | None = None,
    ) -> None:
        """``folder`` is the arm's, which gets the evidence, locust's log, and the file that says when to start.

        ``web`` is where a page is served; without one where that cannot be, as no rehearsal shall fail of it.
        """
        self._drain_s = plan.drain_s
        self._workload = workload
        self._arm = folder.name
        self._scrub = scrub
        self._log = folder / "locust.log"
        self._start_file = folder / "start"
        command = locust_command(
            locustfile,
            target_url=plan.target.target.url,
            evidence=folder.absolute(),
            start_at=None,
            duration_s=workload.plan.duration_s,
            speed=workload.plan.speed,
            scale=workload.plan.scale,
            identities=supplies.identities,
            allow=plan.target.allow,
            timeout_s=workload.plan.timeout_s,
            pools=supplies.pools,
            web=web if web is not None and web.is_free() else None,
        )
        self._locust = LocustProcess(
            [*command, "--start-file", str(self._start_file.absolute())], self._log, supplies.handed
        )

    def await_boot(self) -> None:
        """Wait until it can start. Raises ToolError or InputError where it cannot."""
        until = time.monotonic() + _BOOT_LIMIT_S
        while not self._ready_file.exists():
            if self.has_ended():
                raise ToolError(f"The load of {self._arm} ended before it began.")
            if time.monotonic() > until:
                raise ToolError(f"The load of {self._arm} was not ready after {_BOOT_LIMIT_S:g} s.")
            time.sleep(0.02)

    def start(self, clock: ArmClock) -> None:
        """Say when its first second is."""
        partial = self._start_file.with_name("start.part")
        partial.write_text(repr(clock.start_at), encoding="utf-8")
        partial.replace(self._start_file)

    def play(self, clock: ArmClock, tick: Callable[[], None]) -> None:
        """Wait for its end; ``tick`` is called all the while. Raises ToolError where it runs on, or broke."""
        limit_s = self._workload.duration_s + self._drain_s
        while not self.has_ended():
            tick()
            if clock.now_s() > limit_s:
                raise ToolError(
                    f"The load of {self._arm} ran on {self._drain_s:g} s after its last request was due.",
                    "Answers may take longer than that: see the observations, or set drain in [rehearsal].",
                )
            self._locust.wait(TICK_S)
        tick()
        for file in (self._start_file, self._ready_file):
            file.unlink(missing_ok=True)

    def has_ended(self) -> bool:
        """Whether it has ended, as it should. Raises ToolError or InputError where it broke."""
        code = self._locust.poll()
        if not code:
            return code is not None
        words = self._scrub(self._locust.last_words(3)).removeprefix("Error: ") or "it said nothing"
        how = f"exit code {code}" if code > 0 else f"signal {-code} ({signal.strsignal(-code)})"
        sentence = f"The load of {self._arm} ended with {how}: {words}"
        hint = f"All it said is in {self._log}."
        raise InputError(sentence, hint) if code == ExitCode.INPUT else ToolError(sentence, hint)

    @property
    def pid(self) -> int | None:
        """The process id of locust."""
        return self._locust.pid

    def interrupt(self) -> None:
        """End it before its end, in good order."""
        self._locust.interrupt()

    @property
    def _ready_file(self) -> Path:
        return self._start_file.with_name("start.ready")

    def __enter__(self) -> Self:
        self._locust.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._locust.__exit__(kind, error, trace)
