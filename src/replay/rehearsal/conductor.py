"""Plays a checked plan from its first arm to its last, and keeps the run's record true on every way out."""

import contextlib
import dataclasses
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from replay.errors import ExitCode, InputError, Interrupted, ReplayError
from replay.evidence.files import write_json
from replay.rehearsal.arm import ArmPlayer
from replay.rehearsal.arms import balanced, second_pairs
from replay.rehearsal.observer import Observer
from replay.rehearsal.outline import Outline, confirms
from replay.rehearsal.production import check_marker
from replay.rehearsal.record import Record
from replay.rehearsal.resume import alone_in, clear, read_earlier
from replay.rehearsal.reuse import find_controls, take_over
from replay.scenario.locustfile import build_scenario, read_scenario

_LEFT = b"Left at once: Stage is as the steps have left it. --resume goes on with what was seen.\n"

Suspects = Callable[[Path], Mapping[str, str]]


def conduct(
    outline: Outline,
    out: Path,
    observer: Observer | None = None,
    *,
    resume: bool = False,
    controls_of: Path | None = None,
    suspects: Suspects | None = None,
) -> None:
    """Play all arms into the folder ``out``; with ``resume`` those that an interrupted rehearsal there has not whole.

    ``suspects`` is asked once all have been played: it gives the workloads that want a second pair of arms, each with
    the steps arm that it shall repeat. The controls of the run ``controls_of`` are not played again as long as Stage is
    what it was. Raises InputError where there is nothing to go on with, controls cannot serve again, or somebody else
    plays there; StageError where Stage does not answer or cannot be put back, ToolError where the load or this program
    broke, Interrupted after Ctrl-C or SIGTERM. Whatever happened, what was seen until then is kept, nothing that was
    started runs on, and ``rehearsal.json`` says how it ended.
    """
    observer = observer or Observer()
    record = Record(out, outline)
    reused = None if resume or controls_of is None else find_controls(controls_of, outline, record.values)
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out):
        earlier = read_earlier(out, outline, record.values) if resume else None
        if earlier is not None:
            record.go_on(earlier)
            for arm in earlier.confirming:
                clear(out / "arms" / arm)
        else:
            record.begin()
        if reused is not None:
            record.reuse(reused)  # first: what is copied without being known to be another's would be taken for ours
            try:
                take_over(reused, out)
            except (OSError, shutil.Error) as error:
                record.end("failed", f"the controls of {reused.source} could not be copied")
                raise InputError(f"The controls of {reused.source} cannot be copied: {error}.") from error
        there = (*(earlier.whole if earlier else ()), *(reused.arms if reused else ()))
        _conduct(dataclasses.replace(outline, there=frozenset(there)), out, observer, record, suspects=suspects)


def check_earlier(outline: Outline, out: Path, *, resume: bool, controls_of: Path | None) -> Outline:
    """The outline with the arms that an earlier rehearsal has. Touches nothing. Raises InputError as ``conduct``."""
    values = Record(out, outline).values
    if resume:
        return dataclasses.replace(outline, there=frozenset(read_earlier(out, outline, values).whole))
    if controls_of is not None:
        return dataclasses.replace(outline, there=frozenset(find_controls(controls_of, outline, values).arms))
    return outline


@dataclass(frozen=True, slots=True)
class _Stand:
    """What every arm of a rehearsal is played with."""

    out: Path
    observer: Observer
    record: Record
    locustfiles: dict[str, Path]

    def play(self, outline: Outline, names: Collection[str]) -> None:
        """Play those arms of an outline that have these names, in its order."""
        for number, arm in enumerate(outline.arms, 1):
            if arm.name in names:
                clear(self.out / "arms" / arm.name)
                ArmPlayer(
                    outline,
                    arm,
                    number,
                    run=self.out,
                    locustfile=self.locustfiles.get(arm.workload_name),
                    record=self.record,
                    observer=self.observer,
                ).play()


def _conduct(
    outline: Outline,
    out: Path,
    observer: Observer,
    record: Record,
    *,
    suspects: Suspects | None,
) -> None:
    scrub = outline.plan.scrubber()
    try:
        with _interruptions():
            with contextlib.suppress(Exception):
                observer.begins(outline)
            check_marker(outline.plan)
            stand = _Stand(out, observer, record, _prepare(outline, out))
            stand.play(outline, {arm.name for arm in outline.to_play})
            if strangers := record.strangers:
                record.forget(strangers)
                stand.play(outline, strangers)
            asks = suspects is not None and confirms(outline.plan)
            record.end("complete", settled=not asks)
            if suspects is not None and asks:
                _confirm(outline, stand, suspects(out))
    except KeyboardInterrupt:
        record.end("interrupted", "interrupted before its end")
        raise Interrupted(
            "The rehearsal was interrupted.",
            f"What was seen until then is in {out}. Give --resume to play what is missing.",
        ) from None
    except ReplayError as error:
        record.end("failed", scrub(error.message))
        raise
    except Exception as error:
        record.end("failed", scrub(f"{type(error).__name__}: {error}"))
        raise


def _confirm(outline: Outline, stand: _Stand, wanted: Mapping[str, str]) -> None:
    """Play a second pair of arms for the workloads that want one."""
    pairs = second_pairs(outline.arms, wanted)
    if not pairs:
        stand.record.end("complete")
        return
    more = balanced(outline.arms, pairs, wanted)
    stand.record.confirm(pairs, more)
    longer = dataclasses.replace(outline, arms=(*outline.arms, *more))
    with contextlib.suppress(Exception):
        stand.observer.confirms(longer, tuple(wanted))
    stand.play(longer, {arm.name for arm in more})
    stand.record.end("complete")


def _prepare(outline: Outline, out: Path) -> dict[str, Path]:
    """Write the workloads' models, and build the scenarios that the plan does not name. Locustfiles by workload."""
    (out / "workloads").mkdir(exist_ok=True)
    locustfiles = {}
    for workload in outline.workloads:
        name = workload.plan.name
        write_json(out / "workloads" / f"{name}.json", workload.described)
        if workload.plan.locustfile is not None:
            locustfiles[name] = workload.plan.locustfile.absolute()
        elif workload.plan.capture is not None:
            (out / "scenarios").mkdir(exist_ok=True)
            file = out.absolute() / "scenarios" / f"{name}.py"
            locustfiles[name] = file
            if not _is_whole(file):
                asked = workload.plan
                build_scenario(workload.plan.capture, file, payloads=asked.payloads, policy=asked.policy)
    return locustfiles


def _is_whole(locustfile: Path) -> bool:
    """Whether a scenario is there from before."""
    if locustfile.exists():
        try:
            read_scenario(locustfile)
        except InputError:
            shutil.rmtree(locustfile.with_suffix(".data"), ignore_errors=True)
            locustfile.unlink()
        else:
            return True
    return False


@contextlib.contextmanager
def _interruptions() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the rehearsal in good order; another one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
        nonlocal came
        if came:
            # Load, steps and commands see that we are gone and end by themselves.
            shown = b"\x1b[?25h\n" if sys.stderr.isatty() else b""  # the live display had hidden the cursor
            with contextlib.suppress(OSError, ValueError):
                if select.select([], [sys.stderr], [], 0)[1]:  # who does not read must not hold us up
                    os.write(sys.stderr.fileno(), shown + _LEFT)
            os._exit(ExitCode.INTERRUPTED)
        came = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
