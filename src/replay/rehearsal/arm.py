"""Playing one arm: Stage put back, probes, load, steps, and all of it ended on every way out."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.errors import ExitCode, InputError, ReplayError, ToolError
from replay.evidence.files import ArmFolder
from replay.evidence.values import ArmInfo, Mark
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.commands import RunningCommand
from replay.rehearsal.observer import Observer
from replay.rehearsal.outline import ArmOutline, Outline
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.record import Record
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.stage import fingerprint, reset_stage, wait_until_ready
from replay.rehearsal.steps.runner import Step, StepRunner
from replay.rehearsal.supplies import Supplies, asks_stage, gather
from replay.scenario.process import LocustProcess, locust_command

_TICK_S = 0.2
_LEAD_S = 1.0  # for the probes to connect, and the load to hear when it starts
_BOOT_LIMIT_S = 120.0


class ArmPlayer:
    """Plays one arm of an outline into a run's folder."""

    def __init__(
        self,
        outline: Outline,
        arm: ArmOutline,
        number: int,
        *,
        run: Path,
        locustfile: Path,
        record: Record,
        observer: Observer,
    ) -> None:
        self._plan = outline.plan
        self._steps: Sequence[Step] = outline.steps if arm.steps else ()
        self._arm = arm
        self._number = number
        self._folder = ArmFolder(run / "arms" / arm.name)
        self._locustfile = locustfile
        self._record = record
        self._observer = observer
        self._scrub: Scrubber = self._plan.scrubber()
        self._observed = _Observed(self._folder.path / "observations")

    def play(self) -> None:
        """Play it. Raises StageError, ToolError or InputError where it could not be played to its end."""
        self._folder.create()
        asks = asks_stage(self._plan, self._arm.workload.plan)
        with tempfile.TemporaryDirectory(prefix="replay-") as private:
            if asks:
                self._put_back()
            command = self._command(self._gather(Path(private)))
            # Else the load boots while Stage is put back, and says when it is ready to start.
            with LocustProcess(command, self._folder.path / "locust.log") as locust:
                if not asks:
                    self._put_back()
                self._await_boot(locust)
                self._play(locust)

    def _gather(self, private: Path) -> Supplies:
        workload = self._arm.workload
        supplies = gather(
            self._plan,
            workload.plan,
            captured=[pool.captured for pool in workload.pools],
            needed=workload.credentials,
            ranked=workload.ranked,
            folder=self._folder.path / "pools",
            private=private,
        )
        self._scrub = self._plan.scrubber(supplies.secrets)
        self._record.pools(self._arm.name, workload.plan.name, supplies.digests)
        return supplies

    def _play(self, locust: LocustProcess) -> None:
        clock = ArmClock(time.time() + _LEAD_S)
        info = ArmInfo(
            arm=self._arm.name,
            workload=self._arm.workload.plan.name,
            role=self._arm.workload.plan.role,
            steps=self._arm.steps,
            started_at=datetime.fromtimestamp(clock.start_at, UTC).isoformat(timespec="milliseconds"),
            duration_s=self._arm.duration_s,
            planned=self._arm.workload.planned,
        )
        self._folder.write_info(info)
        state, reason = "interrupted", "interrupted"
        try:
            self._run(locust, clock)
            state, reason = "complete", ""
        except ReplayError as error:
            state, reason = "failed", self._scrub(error.message)
            raise
        except Exception as error:
            state, reason = "failed", self._scrub(f"{type(error).__name__}: {error}")
            raise
        finally:
            info = dataclasses.replace(info, state=state, reason=reason)
            self._folder.write_info(info)
            self._tell(lambda: self._observer.ended(self._arm, info))

    def _put_back(self) -> None:
        plan = self._plan
        with ExitStack() as stack:
            if plan.target.reset is not None:
                self._doing("putting Stage back")

                def hold(running: RunningCommand) -> None:
                    stack.callback(running.kill)

                reset_stage(plan.target, plan.folder, self._folder.path / "reset.log", self._scrub, hold)
        self._doing("waiting until Stage answers")
        wait_until_ready(plan.target)
        if plan.dsns:
            self._doing("taking the database's fingerprint")
            found = fingerprint(plan.dsns[0][1].value, self._record.counted)
            self._record.fingerprint(self._arm.name, found)
        if plan.settle_s:
            self._doing("letting Stage settle")
            time.sleep(plan.settle_s)

    def _run(self, locust: LocustProcess, clock: ArmClock) -> None:
        with ExitStack() as stack:
            setting = Setting(
                clock,
                readings=self._folder.readings,
                log=self._folder.log,
                scrub=self._scrub,
                steps={step.session_name: step.name for step in self._plan.steps},
            )
            for probe_plan in self._plan.probes:
                probe = probe_plan.open(setting)
                stack.callback(probe.stop)
                probe.start()
            partial = self._start_file.with_name("start.part")
            partial.write_text(repr(clock.start_at), encoding="utf-8")
            partial.replace(self._start_file)
            while clock.now_s() < 0:
                self._check_load(locust)
                time.sleep(min(0.05, max(0.0, -clock.now_s())))
            self._mark(Mark(0.0, "", "arm", "started"))
            self._tell(lambda: self._observer.started(self._arm, self._number))
            steps = StepRunner(
                self._steps,
                clock,
                mark=self._mark,
                scrub=self._scrub,
                folder=self._plan.folder,
                logs=self._folder.path / "steps",
            )
            stack.callback(lambda: self._mark(Mark(clock.now_s(), "", "arm", "ended")))
            stack.callback(steps.stop)
            stack.callback(locust.interrupt)  # on a way out before its end, the load goes first
            steps.start()
            self._await_load(locust, clock)
            for file in (self._start_file, self._start_file.with_name("start.ready")):
                file.unlink(missing_ok=True)
            # A step that runs is let end, within its own limit: how long it takes is evidence too.
            steps.begin_no_more()
            while steps.alive:
                self._progress(clock)
                steps.join(_TICK_S)
            if steps.broke is not None:
                raise ToolError(f"The steps broke: {type(steps.broke).__name__}: {steps.broke}.") from steps.broke

    def _command(self, supplies: Supplies) -> list[str]:
        workload = self._arm.workload.plan
        command = locust_command(
            self._locustfile,
            target_url=self._plan.target.target.url,
            evidence=self._folder.path.absolute(),
            start_at=None,
            duration_s=workload.duration_s,
            speed=workload.speed,
            scale=workload.scale,
            identities=supplies.identities,
            allow=self._plan.target.allow,
            timeout_s=workload.timeout_s,
            pools=supplies.pools,
        )
        return [*command, "--start-file", str(self._start_file.absolute())]

    @property
    def _start_file(self) -> Path:
        return self._folder.path / "start"

    def _await_boot(self, locust: LocustProcess) -> None:
        self._doing("waiting until the load is ready")
        until = time.monotonic() + _BOOT_LIMIT_S
        while not self._start_file.with_name("start.ready").exists():
            if self._check_load(locust):
                raise ToolError(f"The load of {self._arm.name} ended before it began.")
            if time.monotonic() > until:
                raise ToolError(f"The load of {self._arm.name} was not ready after {_BOOT_LIMIT_S:g} s.")
            time.sleep(0.02)

    def _await_load(self, locust: LocustProcess, clock: ArmClock) -> None:
        limit_s = self._arm.duration_s + self._plan.drain_s
        while not self._check_load(locust):
            self._progress(clock)
            if clock.now_s() > limit_s:
                raise ToolError(
                    f"The load of {self._arm.name} ran on {self._plan.drain_s:g} s after its last request was due.",
                    "Answers may take longer than that: see the observations, or set drain in [rehearsal].",
                )
            locust.wait(_TICK_S)
        self._progress(clock)

    def _check_load(self, locust: LocustProcess) -> bool:
        """Whether the load has ended, as it should. Raises where it broke."""
        code = locust.poll()
        if not code:
            return code is not None
        words = self._scrub(locust.last_words(3)).removeprefix("Error: ") or "it said nothing"
        sentence = f"The load of {self._arm.name} ended with exit code {code}: {words}"
        hint = f"All it said is in {self._folder.path / 'locust.log'}."
        raise InputError(sentence, hint) if code == ExitCode.INPUT else ToolError(sentence, hint)

    def _mark(self, mark: Mark) -> None:
        self._folder.mark(mark)
        self._tell(lambda: self._observer.mark(self._arm, mark))

    def _progress(self, clock: ArmClock) -> None:
        observed = self._observed.count()
        self._tell(lambda: self._observer.progress(self._arm, clock.now_s(), observed))

    def _doing(self, what: str) -> None:
        self._tell(lambda: self._observer.doing(self._arm, what))

    def _tell(self, tell: Callable[[], Any]) -> None:
        # What shows the rehearsal must not be able to spoil it.
        with contextlib.suppress(Exception):
            tell()


class _Observed:
    """Counts an arm's observations while their segments appear."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._count = 0

    def count(self) -> int:
        """How many there are so far."""
        for file in self._folder.glob("*.parquet"):
            if file.name not in self._seen:
                self._seen.add(file.name)
                with contextlib.suppress(OSError, pa.ArrowException):
                    self._count += pq.read_metadata(file).num_rows
        return self._count
