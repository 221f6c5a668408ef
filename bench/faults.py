"""Faults: a process of a rehearsal, or of its Stage, is killed at a random moment, again and again.

    python bench/faults.py [--times N] [--seed N] [--only KIND ...]

Each time a small plan is rehearsed on a Stage of its own, and one process gets SIGKILL: the conductor, locust, the API,
the database, its standby, the backend of a step's SQL, a step's command or the guard above it. Afterwards the exit code
must be a documented one, what was recorded must be judged or called incomplete, nothing that was started may run on,
and no session of ours may hold a lock. Leaves with 1 where anything of that failed.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
from measure import print_table
from victims import STEP, Rehearsal, Stages, read, wait_for

from replay.demo.stage import Stage
from replay.evidence.run import read_run
from replay.workload.scratch import remove_left

_END_S, _GONE_S, _SEEN_S = 150.0, 20.0, 60.0
_FEW = 5  # fewer failures are noise to the judge
_OF_STAGE = ("api", "database", "standby")
# How long after its target was first seen a kill may come. The others may come at any moment of a rehearsal.
_WITHIN_S = {"locust": 12.0, "backend": 2.3, "command": 1.8, "guard": 1.8}
KINDS = ("conductor", *_OF_STAGE, *_WITHIN_S)
_LOCKS = """
SELECT a.application_name, l.mode, count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE a.application_name LIKE 'replay%' GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kill and what came of it. ``at_s`` is since the rehearsal's beginning, None where nothing was killed."""

    kind: str
    at_s: float | None
    where: str
    code: int | None
    state: str
    verdict: str
    judged: int | None
    wrong: tuple[str, ...]

    @property
    def row(self) -> tuple[object, ...]:
        """For a table."""
        at = "-" if self.at_s is None else f"{self.at_s:.1f} s"
        return (
            self.kind,
            at,
            self.where,
            self.code,
            self.state,
            self.verdict,
            self.judged,
            "; ".join(self.wrong) or "ok",
        )


class Marksman:
    """Kills a process of some kind, at a moment that chance gives."""

    def __init__(self, chance: random.Random, length_s: float) -> None:
        self._chance = chance
        self._length_s = length_s

    def kill(self, kind: str, rehearsal: Rehearsal) -> float | None:
        """Kill one; when, or None where there was none to kill at that moment."""
        if kind not in _WITHIN_S:
            moment_s = self._chance.uniform(0.5, self._length_s)
            wait_for(lambda: rehearsal.ended or rehearsal.now_s >= moment_s, _END_S)
        else:
            target = None
            skipped = None
            if kind == "locust" and self._chance.random() < 0.5:  # the steps' one, and not the control's
                skipped = wait_for(lambda: _target(kind, rehearsal), _SEEN_S)
            target = wait_for(lambda: _other(_target(kind, rehearsal), skipped), _SEEN_S)
            if target is not None:
                time.sleep(self._chance.uniform(0.0, _WITHIN_S[kind]))
        victim = None if rehearsal.ended else _target(kind, rehearsal)
        if victim is None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
            return rehearsal.now_s
        return None


def _other(found: psutil.Process | None, skipped: psutil.Process | None) -> psutil.Process | None:
    return None if found == skipped else found


def _target(kind: str, rehearsal: Rehearsal) -> psutil.Process | None:
    """The process of a kind as of now. All are descendants of this one."""
    if kind == "conductor":
        return psutil.Process(rehearsal.process.pid)
    if kind == "backend":
        return _backend(rehearsal.stage)
    if kind in _OF_STAGE:
        return _of_stage(kind, rehearsal.stage)
    for process in rehearsal.processes:
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            guards = any(word.endswith("guard.py") for word in words)
            if kind == "locust" and words[1:3] == ["-m", "locust"]:
                return process
            if words[-1:] == ["warm-up.sh"] and guards == (kind == "guard"):
                parent = process.parent()
                if guards or (parent is not None and any(word.endswith("guard.py") for word in parent.cmdline())):
                    return process
    return None


def _of_stage(kind: str, stage: Stage) -> psutil.Process | None:
    """A server of Stage's: the one child of its guard."""
    words = {"api": "replay.demo.api", "database": "primary", "standby": "standby"}[kind]
    for guard in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            for process in guard.children():
                line = " ".join(process.cmdline())
                if line.endswith(f":{stage.url.rpartition(':')[2]}") or f"/{words} " in line or f" {words} " in line:
                    return process
    return None


def _backend(stage: Stage) -> psutil.Process | None:
    """The server's process that does the step's SQL, where one does."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    with contextlib.suppress(psycopg.Error, psutil.Error):
        with psycopg.connect(stage.dsn, autocommit=True, connect_timeout=5) as connection:
            row = connection.execute(query, (f"replay step: {STEP}",)).fetchone()
        if row is not None:
            process = psutil.Process(row[0])
            return process if process.parent() == _of_stage("database", stage) else None
    return None


def _play(kind: str, marksman: Marksman | None, stage: Stage, folder: Path) -> Fault:
    """Rehearse once, kill, and look at what is left. Without a marksman nothing is killed."""
    # Without its guard a command must not merely come to its end.
    rehearsal = Rehearsal(stage, folder, 60.0 if kind == "guard" else 2.0)
    try:
        at_s = marksman.kill(kind, rehearsal) if marksman else None
        killed_at = time.time()
        where = rehearsal.where() if at_s is not None else "-"
        ended = wait_for(lambda: rehearsal.ended, _END_S)
        wrong = [] if ended else [f"it still ran {_END_S:g} s later"]
        left: list[psutil.Process] = []
        if not wait_for(lambda: not rehearsal.processes, _GONE_S):
            left = rehearsal.processes
            wrong.append("left running: " + ", ".join(_line(process) for process in left))
        wrong += _locks(stage)
        remove_left(rehearsal.private)  # as the next process of ours does
        wrong += [f"left in TMPDIR: {file.name}" for file in rehearsal.private.rglob("*") if file.is_file()]
    finally:
        rehearsal.end()
    code = rehearsal.process.returncode
    state = str(read(rehearsal.out / "rehearsal.json").get("state", "none"))
    verdict = str(read(rehearsal.out / "verdict.json").get("verdict", "-"))
    wrong += _check_end(kind if at_s is not None else "", code, verdict, rehearsal.said)
    judged, faults = _judge(rehearsal.out, state)
    wrong += faults
    if at_s is not None and verdict == "GO" and (met := _met(rehearsal.out, killed_at)) >= _FEW:
        wrong.append(f"it was GO all the same, and {met} requests met it")
    return Fault(kind, at_s, where, code, state, verdict, judged, tuple(wrong))


def _met(run: Path, killed_at: float) -> int:
    """How many requests were under way, or sent, after that moment in the arm that was played then."""
    met = 0
    for arm in read_run(run).arms.values():
        at_s = killed_at - datetime.fromisoformat(arm.info.started_at).timestamp()
        if 0 <= at_s <= arm.info.duration_s:
            met += int((arm.observations["done_s"].fillna(arm.observations["due_s"]) > at_s).sum())
    return met


def _check_end(kind: str, code: int, verdict: str, said: str) -> Iterator[str]:
    documented = {-9} if kind == "conductor" else {0, 1, 3, 4} if kind else {0, 1, 3}
    if code not in documented:
        yield f"exit code {code}"
    if (code == 1) != (verdict == "NO_GO") and kind != "conductor":
        yield f"exit code {code} and {verdict}"
    if "Traceback" in said:
        yield "a traceback"
    if code in {2, 4} and "Error: " not in said:
        yield "no word of what broke"


def _judge(run: Path, state: str) -> tuple[int, list[str]]:
    """Judge a run anew; the exit code, and what is wrong with the verdict."""
    done = subprocess.run(
        [sys.executable, "-m", "replay", "judge", str(run)],
        check=False,
        capture_output=True,
        text=True,
        timeout=_END_S,
    )
    code, said = done.returncode, done.stdout + done.stderr
    wrong = ["a traceback of the judge"] if "Traceback" in said else []
    if code in {2, 4}:
        return code, wrong + ([] if "Error: " in said else ["the judge does not say what is missing"])
    if code not in {0, 1, 3}:
        return code, [*wrong, f"the judge left with {code}"]
    verdict = read(run / "verdict.json")
    checks = {check["name"]: check["passed"] for check in verdict.get("criteria", [])}
    if checks.get("run_complete") != (state == "complete"):
        wrong.append(f"the run is {state}, and run_complete is {checks.get('run_complete')}")
    if state != "complete" and not any("complete" in reason for reason in verdict.get("reasons", [])):
        wrong.append("no reason says that the run is not complete")
    states = [read(file).get("state") for file in run.glob("arms/*/arm.json")]
    if state == "complete" and (len(states) != 2 or not set(states) <= {"complete", "aborted"}):
        wrong.append(f"the run is complete, and its arms are {states}")
    return code, wrong


def _locks(stage: Stage) -> list[str]:
    """The locks of our sessions that do not go; none where the database itself is gone."""
    held: list[tuple[Any, ...]] = []

    def free() -> bool:
        nonlocal held
        try:
            with psycopg.connect(stage.dsn, autocommit=True, connect_timeout=5) as connection:
                held = connection.execute(_LOCKS).fetchall()
        except psycopg.Error:
            held = []  # recovering, or gone; in either case without sessions
        return not held

    return [] if wait_for(free, _GONE_S) else [f"locks: {held}"]


def _line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:60]
    return "?"


def main() -> int:
    """Kill so many times, and say what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS, action="append")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which else are removed")
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    kinds = options.only or list(KINDS)
    faults: list[Fault] = []
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-bench-")))
        stages = Stages(folder.resolve())
        stack.callback(stages.stop)
        stage = stages.take()
        began_s = time.monotonic()
        reference = _play("none", None, stage, folder / "run-0")
        length_s = time.monotonic() - began_s
        print_table(("killed", "at", "where", "exit", "state", "verdict", "judge", "wrong"), [reference.row])
        if reference.wrong:
            return 1
        marksman = Marksman(chance, length_s)
        for number in range(options.times):
            kind = kinds[number % len(kinds)]
            fault = _play(kind, marksman, stages.take(), folder / f"run-{number + 1}")
            faults.append(fault)
            print("| " + " | ".join(map(str, fault.row)) + " |", flush=True)
            stages.repair(harmed=fault.kind in _OF_STAGE and fault.at_s is not None)
    wrong = Counter(fault.kind for fault in faults if fault.wrong)
    killed = sum(fault.at_s is not None for fault in faults)
    print(f"\n{killed} kills in {len(faults)} rehearsals; with something wrong: {dict(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
