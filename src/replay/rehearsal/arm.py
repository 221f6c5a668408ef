"""Playing one arm: Stage put back, probes, load, steps, and all of it ended on every way out."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replay.errors import ReplayError, ToolError
from replay.evidence.files import ArmFolder
from replay.evidence.seal import seal
from replay.evidence.values import ArmInfo, Mark
from replay.rehearsal.abort import reason_to_abort
from replay.rehearsal.arms import ArmOutline
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.databases import ArmDatabases, fingerprint, first_of
from replay.rehearsal.load import TICK_S, Load
from replay.rehearsal.observer import Observer
from replay.rehearsal.outline import Outline
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.record import Record
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.stage import put_back, wait_for_replicas
from replay.rehearsal.steps.plan import ROLLBACK
from replay.rehearsal.steps.runner import Step, StepRunner
from replay.rehearsal.supplies import Supplies, asks_stage, gather
from replay.rehearsal.upkeep import Standing, Upkeep
from replay.rehearsal.watch import Sight, Watch
from replay.rehearsal.workloads import WorkloadOutline

_LEAD_S = 1.0  # for the probes to connect, and the load to hear when it starts
_REST_S = 3.5  # the same, where databases are to be seen without traffic: three looks, a second apart
_QUIET_AFTER_S = 3.0  # without traffic: for replicas to catch up, as far as that is seen


class _Aborted(Exception):
    """A rule of the plan, or a failed step, ended the arm. Its evidence counts as far as it goes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ArmPlayer:
    """Plays one arm of an outline into a run's folder. ``locustfile`` is its load's; None where it has none."""

    def __init__(
        self,
        outline: Outline,
        arm: ArmOutline,
        number: int,
        *,
        run: Path,
        locustfile: Path | None,
        record: Record,
        observer: Observer,
    ) -> None:
        self._plan = outline.plan
        self._arm = arm
        self._number = number
        self._folder = ArmFolder(run / "arms" / arm.name)
        self._locustfile = locustfile
        self._record = record
        self._observer = observer
        self._scrub: Scrubber = self._plan.scrubber()
        self._databases = ArmDatabases(self._plan, outline.steps, quick=arm.workload is not None)
        due = () if arm.workload is None else arm.workload.due
        self._watch = Watch(self._folder, due, self._plan.abort.window_s)
        self._sight: Sight | None = None

    def play(self) -> None:
        """Play it. Raises StageError, ToolError or InputError where it could not be played to its end."""
        self._folder.create()
        workload = self._arm.workload
        if workload is None or self._locustfile is None:
            self._put_back()
            self._play(None)
            return
        asks = asks_stage(self._plan, workload.plan)
        if asks:
            self._put_back()
        with self._gather(workload) as supplies:
            load = Load(
                self._plan,
                workload,
                folder=self._folder.path,
                locustfile=self._locustfile,
                supplies=supplies,
                scrub=self._scrub,
                web=self._observer.web,
            )
            # Else the load boots while Stage is put back, and says when it is ready to start.
            with load:
                if not asks:
                    self._put_back()
                self._doing("waiting until the load is ready")
                load.await_boot()
                supplies.close()  # it has read them
                self._play(load)

    def _gather(self, workload: WorkloadOutline) -> Supplies:
        supplies = gather(
            self._plan,
            workload.plan,
            captured=[pool.captured for pool in workload.pools],
            needed=workload.credentials,
            ranked=workload.ranked,
            folder=self._folder.path / "pools",
        )
        self._scrub = self._plan.scrubber(supplies.secrets)
        self._record.pools(self._arm.name, workload.plan.name, supplies.digests)
        return supplies

    def _play(self, load: Load | None) -> None:
        rests = load is not None and self._databases.named
        clock = ArmClock(time.time() + (_REST_S if rests else _LEAD_S))
        info = ArmInfo(
            arm=self._arm.name,
            workload=self._arm.workload_name,
            role=self._arm.role,
            steps=bool(self._arm.steps),
            started_at=datetime.fromtimestamp(clock.start_at, UTC).isoformat(timespec="milliseconds"),
            duration_s=self._arm.duration_s,
            planned=self._arm.planned,
        )
        self._folder.write_info(info)
        state, reason = "interrupted", "interrupted"
        try:
            self._run(load, clock)
            state, reason = "complete", ""
        except _Aborted as aborted:
            state, reason = "aborted", self._scrub(aborted.reason)
        except ReplayError as error:
            state, reason = "failed", self._scrub(error.message)
            raise
        except Exception as error:
            state, reason = "failed", self._scrub(f"{type(error).__name__}: {error}")
            raise
        finally:
            info = dataclasses.replace(info, state=state, reason=reason)
            self._folder.write_info(info)
            unsealed = self._seal()
            self._tell(lambda: self._observer.ended(self._arm, info))
        if unsealed is not None:
            raise ToolError(
                f"The arm {self._arm.name} could not be sealed, so that it proves nothing: {unsealed}.",
                "See that there is room, and give --resume to play it again.",
            )

    def _seal(self) -> OSError | None:
        """Seal the arm; what went wrong, as where the disk is full."""
        try:
            self._record.seal(self._arm.name, seal(self._folder.path))
        except OSError as error:
            return error
        return None

    def _put_back(self) -> None:
        plan = self._plan
        put_back(plan.target, plan.folder, self._folder.path, self._scrub, self._doing)
        database = first_of(plan)
        if database is not None:
            self._doing("taking the database's fingerprint")
            found = fingerprint(database, self._record.counted)
            self._record.fingerprint(self._arm.name, found)
            self._databases.begin()
        self._doing("waiting until the replicas have all")
        wait_for_replicas(plan.probes, plan.target.ready_timeout_s)
        if plan.settle_s:
            self._doing("letting Stage settle")
            time.sleep(plan.settle_s)

    def _run(self, load: Load | None, clock: ArmClock) -> None:
        with ExitStack() as stack:
            setting = Setting(
                clock,
                readings=self._folder.readings,
                log=self._folder.log,
                scrub=self._scrub,
                steps={step.session_name: step.name for step in self._plan.steps},
                environment=self._plan.command_environment,
            )
            stack.enter_context(self._upkeep(load, clock))
            stack.push(self._end_databases)  # when the load, the steps and the probes are done
            self._databases.start(clock)
            for probe_plan in self._plan.probes:
                probe = probe_plan.open(setting)
                stack.callback(probe.stop)
                probe.start()
            if load is not None:
                load.start(clock)
            while clock.now_s() < 0:
                if load is not None:
                    load.has_ended()
                time.sleep(min(0.05, max(0.0, -clock.now_s())))
            self._mark(Mark(0.0, "", "arm", "started"))
            self._tell(lambda: self._observer.started(self._arm, self._number))
            steps = self._step_runner(self._arm.steps, clock)
            stack.callback(lambda: self._mark(Mark(clock.now_s(), "", "arm", "ended")))
            stack.callback(steps.stop)
            if load is not None:
                stack.callback(load.interrupt)  # on a way out before its end, the load goes first
            steps.start()
            try:
                self._await_end(load, steps, clock)
            except KeyboardInterrupt:
                if load is not None:
                    load.interrupt()
                steps.stop()
                self._offer_rollback(steps.begun, clock)
                raise

    def _end_databases(self, kind: type[BaseException] | None, *_: object) -> None:
        looks = kind is None or issubclass(kind, _Aborted)
        self._record.databases(self._arm.name, self._databases.end(self._scrub, look=looks))

    def _upkeep(self, load: Load | None, clock: ArmClock) -> Upkeep:
        return Upkeep(
            self._folder.path.parents[1],
            self._folder.path,
            self._arm.planned,
            lambda: Standing(clock.now_s(), self._watch.sent, self._watch.failed),
            lambda: None if load is None else load.pid,
        )

    def _await_end(self, load: Load | None, steps: StepRunner, clock: ArmClock) -> None:
        if load is not None:
            load.play(clock, lambda: self._progress(clock, steps.aborts))
            self._see(clock, anew=True)  # its last observations came with its end
            # A step that runs is let end, within its own limit: how long it takes is evidence too.
            steps.begin_no_more()
        while steps.alive:
            self._progress(clock)
            steps.join(TICK_S)
        if steps.broke is not None:
            raise ToolError(f"The steps broke: {type(steps.broke).__name__}: {steps.broke}.") from steps.broke
        if load is None:
            time.sleep(_QUIET_AFTER_S)

    def _offer_rollback(self, begun: Sequence[Step], clock: ArmClock) -> None:
        """Ask whether Stage is to be rolled back, where a step was begun and the plan says how."""
        wanted = next((step for step in self._arm.steps if step.plan.kind == ROLLBACK and step not in begun), None)
        if not begun or wanted is None or not self._observer.wants(self._arm, wanted):
            return
        at_once = dataclasses.replace(wanted, plan=dataclasses.replace(wanted.plan, at_s=0.0, after_s=None))
        rollback = self._step_runner([at_once], clock, 1 + self._arm.steps.index(wanted))
        rollback.start()
        while rollback.alive:  # another Ctrl-C ends all of it at once
            rollback.join(TICK_S)

    def _step_runner(self, steps: Sequence[Step], clock: ArmClock, first: int = 1) -> StepRunner:
        return StepRunner(
            steps,
            clock,
            mark=self._mark,
            scrub=self._scrub,
            folder=self._plan.folder,
            logs=self._folder.path / "steps",
            first=first,
        )

    def _mark(self, mark: Mark) -> None:
        self._folder.mark(mark)
        self._databases.mark(mark)
        self._tell(lambda: self._observer.mark(self._arm, mark))

    def _progress(self, clock: ArmClock, aborts: str = "") -> None:
        """Look, and end the arm where something wants so: ``aborts`` is what does beside the plan's rules."""
        if aborts:
            raise _Aborted(aborts)
        before, self._sight = self._sight, self._see(clock)
        if self._sight is before:
            return  # nothing new to be judged
        if reason := reason_to_abort(self._plan.abort, self._sight, self._watch, self._folder.path):
            raise _Aborted(reason)

    def _see(self, clock: ArmClock, *, anew: bool = False) -> Sight:
        sight = self._watch.look(clock.now_s(), anew=anew)
        self._tell(lambda: self._observer.progress(self._arm, clock.now_s(), sight))
        return sight

    def _doing(self, what: str) -> None:
        self._tell(lambda: self._observer.doing(self._arm, what))

    def _tell(self, tell: Callable[[], Any]) -> None:
        # What shows the rehearsal must not be able to spoil it.
        with contextlib.suppress(Exception):
            tell()
