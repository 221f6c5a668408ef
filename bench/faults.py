"""Faults: a process of a rehearsal, or of its Stage, is killed at a random moment, again and again.

    python bench/faults.py [--times N] [--seed N] [--only KIND ...]

Each time a small plan is rehearsed on a Stage of its own, and one process gets SIGKILL: the conductor, locust, the API,
the database, its standby, the backend of a step's SQL, a step's command or the guard above it. Afterwards the exit code
must be a documented one, what was recorded must be judged or called incomplete, nothing that was started may run on,
and no session of ours may hold a lock. Leaves with 1 where anything of that failed.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg
from measure import print_table

from replay.demo.identities import write_identities
from replay.demo.stage import Stage
from replay.errors import StageError

_Found = TypeVar("_Found")
_ROOT = Path(__file__).parents[1]
_MARK = "REPLAY_FAULT"  # in the environment of whatever a rehearsal starts
_STEP = "add scopes"
_ARM_S = 9
_END_S, _GONE_S, _SEEN_S = 150.0, 20.0, 60.0
_OF_STAGE = ("api", "database", "standby")
# How long after its target was first seen a kill may come. The others may come at any moment of a rehearsal.
_WITHIN_S = {"locust": 12.0, "backend": 2.3, "command": 1.8, "guard": 1.8}
KINDS = ("conductor", *_OF_STAGE, *_WITHIN_S)
_PLAN = """
[rehearsal]
name = "faults"
order = "listed"
drain = "10s"
environment = {{ {mark} = "${{{mark}}}" }}

[target]
url = "${{STAGE_URL}}"
allow = ["127.0.0.1"]
ready = "GET /health"
ready_timeout = "10s"
reset = "${{STAGE_RESET}}"

[workloads.light]
capture = {capture}
duration = "{arm_s}s"
identities = "clients.csv"
timeout = "5s"

[criteria]
control_agreement = 0.5

[[steps]]
name = "{step}"
kind = "migrate"
at = "1s"
sql = "migrate.sql"
dsn = "${{STAGE_DSN}}"
timeout = "20s"

[[steps]]
name = "warm up"
kind = "command"
after = "200ms"
run = "sh warm-up.sh"
timeout = "20s"

[[steps]]
name = "roll back"
kind = "rollback"
after = "200ms"
sql = "rollback.sql"
dsn = "${{STAGE_DSN}}"
timeout = "20s"

[probes.database]
kind = "postgres"
dsn = "${{STAGE_DSN}}"
replicas = ["${{STAGE_REPLICA_DSN}}"]

[probes.errors]
kind = "log"
path = "${{STAGE_ERROR_LOG}}"
"""
_MIGRATION = """
BEGIN;
CREATE TABLE scopes (name text PRIMARY KEY);
LOCK TABLE scopes IN ACCESS EXCLUSIVE MODE;
INSERT INTO scopes SELECT 'scope ' || number FROM generate_series(1, 20000) AS number;
SELECT pg_sleep(2.5);
COMMIT;
"""
# One child in its own session: whoever ends the group alone does not find it.
_WARM_UP = """
sleep 60 &
first=$!
setsid sleep 60 &
second=$!
sleep {seconds}
kill $first $second
wait
"""
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


class Rehearsal:
    """A rehearsal as a process, with all that it starts marked."""

    def __init__(self, stage: Stage, folder: Path, command_s: float) -> None:
        self.stage = stage
        self.folder = folder
        self.out = folder / "run"
        self.private = folder / "tmp"
        self.private.mkdir(parents=True)
        self._said = folder / "said"
        self._mark = uuid.uuid4().hex
        _write_plan(folder, command_s)
        environment = {**os.environ, **stage.environment, _MARK: self._mark, "TMPDIR": str(self.private)}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "replay", "rehearse", str(folder / "plan.toml"), "--out", str(self.out)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since its beginning."""
        return time.monotonic() - self._began_s

    @property
    def said(self) -> str:
        """All that it said."""
        return self._said.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the command itself has ended."""
        return self.process.poll() is not None

    @property
    def processes(self) -> list[psutil.Process]:
        """It, and everything that comes from it and still runs, whoever the parent is by now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def end(self) -> None:
        """Kill what is left of it."""
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait(10)

    def where(self) -> str:
        """The arm that is being played, and since when; or what comes before and after."""
        record = _read(self.out / "rehearsal.json")
        if record.get("state") != "running":
            return str(record.get("state", "before"))
        arms = sorted((self.out / "arms").glob("*"), key=lambda arm: arm.stat().st_ctime)
        if not arms:
            return "prepares"
        info = _read(arms[-1] / "arm.json")
        state = str(info.get("state", "boots"))
        if state == "running" and time.time() > datetime.fromisoformat(info["started_at"]).timestamp() + _ARM_S:
            state = "is over"
        return f"{arms[-1].name.removeprefix('light-')} {state}"


class Marksman:
    """Kills a process of some kind, at a moment that chance gives."""

    def __init__(self, chance: random.Random, length_s: float) -> None:
        self._chance = chance
        self._length_s = length_s

    def kill(self, kind: str, rehearsal: Rehearsal) -> float | None:
        """Kill one; when, or None where there was none to kill at that moment."""
        if kind not in _WITHIN_S:
            moment_s = self._chance.uniform(0.5, self._length_s)
            _await(lambda: rehearsal.ended or rehearsal.now_s >= moment_s, _END_S)
        else:
            target = None
            skipped = None
            if kind == "locust" and self._chance.random() < 0.5:  # the steps' one, and not the control's
                skipped = _await(lambda: _target(kind, rehearsal), _SEEN_S)
            target = _await(lambda: _other(_target(kind, rehearsal), skipped), _SEEN_S)
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
            row = connection.execute(query, (f"replay step: {_STEP}",)).fetchone()
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
        where = rehearsal.where() if at_s is not None else "-"
        ended = _await(lambda: rehearsal.ended, _END_S)
        wrong = [] if ended else [f"it still ran {_END_S:g} s later"]
        left: list[psutil.Process] = []
        if not _await(lambda: not rehearsal.processes, _GONE_S):
            left = rehearsal.processes
            wrong.append("left running: " + ", ".join(_line(process) for process in left))
        wrong += _locks(stage)
        wrong += [f"left in TMPDIR: {file.name}" for file in rehearsal.private.rglob("*") if file.is_file()]
    finally:
        rehearsal.end()
    code = rehearsal.process.returncode
    state = str(_read(rehearsal.out / "rehearsal.json").get("state", "none"))
    verdict = str(_read(rehearsal.out / "verdict.json").get("verdict", "-"))
    wrong += _check_end(kind if at_s is not None else "", code, verdict, rehearsal.said)
    judged, faults = _judge(rehearsal.out, state)
    wrong += faults
    if at_s is not None and verdict == "GO" and where not in {"steps is over", "steps complete", "complete"}:
        wrong.append("it was GO all the same")
    return Fault(kind, at_s, where, code, state, verdict, judged, tuple(wrong))


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
    verdict = _read(run / "verdict.json")
    checks = {check["name"]: check["passed"] for check in verdict.get("criteria", [])}
    if checks.get("run_complete") != (state == "complete"):
        wrong.append(f"the run is {state}, and run_complete is {checks.get('run_complete')}")
    if state != "complete" and not any("complete" in reason for reason in verdict.get("reasons", [])):
        wrong.append("no reason says that the run is not complete")
    states = [_read(file).get("state") for file in run.glob("arms/*/arm.json")]
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

    return [] if _await(free, _GONE_S) else [f"locks: {held}"]


def _line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:60]
    return "?"


def _read(file: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        return found if isinstance(found, dict) else {}
    return {}


def _await(look: Callable[[], _Found], seconds: float) -> _Found:
    """What ``look`` gives as soon as it is true, or at the end of the time."""
    until = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _write_plan(folder: Path, command_s: float) -> None:
    capture = json.dumps(str(_ROOT / "captures" / "qa"))
    (folder / "plan.toml").write_text(_PLAN.format(mark=_MARK, capture=capture, step=_STEP, arm_s=_ARM_S))
    (folder / "migrate.sql").write_text(_MIGRATION)
    (folder / "rollback.sql").write_text("DROP TABLE scopes;\n")
    (folder / "warm-up.sh").write_text(_WARM_UP.format(seconds=command_s))
    write_identities(folder / "clients.csv")


class Stages:
    """One Stage at a time, and a fresh one where the last was harmed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._stage: Stage | None = None

    def take(self) -> Stage:
        """The one that runs, or else a fresh one."""
        if self._stage is None:
            self._number += 1
            self._stage = Stage(self._folder / f"stage-{self._number}", size=0.02)
        return self._stage

    def repair(self, *, harmed: bool) -> None:
        """Look whether it can be put back; where not, or where a server of it was killed, let it go."""
        if self._stage is not None and not harmed:
            try:
                self._stage.put_back()
            except StageError:
                harmed = True
        if harmed:
            self.stop()

    def stop(self) -> None:
        """Stop the one that runs."""
        if self._stage is not None:
            self._stage.stop()
            self._stage = None


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
