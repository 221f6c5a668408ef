"""What is rehearsed while something is killed: a small plan, on a Stage of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

from replay.demo.identities import write_identities
from replay.demo.stage import Stage
from replay.errors import StageError

_Found = TypeVar("_Found")
_ROOT = Path(__file__).parents[1]
_MARK = "REPLAY_FAULT"  # in the environment of whatever a rehearsal starts
STEP = "add scopes"
_ARM_S = 9
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
        record = read(self.out / "rehearsal.json")
        if record.get("state") != "running":
            return str(record.get("state", "before"))
        arms = sorted((self.out / "arms").glob("*"), key=lambda arm: arm.stat().st_ctime)
        if not arms:
            return "prepares"
        info = read(arms[-1] / "arm.json")
        state = str(info.get("state", "boots"))
        if state == "running" and time.time() > datetime.fromisoformat(info["started_at"]).timestamp() + _ARM_S:
            state = "is over"
        return f"{arms[-1].name.removeprefix('light-')} {state}"


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


def _write_plan(folder: Path, command_s: float) -> None:
    capture = json.dumps(str(_ROOT / "captures" / "qa"))
    (folder / "plan.toml").write_text(_PLAN.format(mark=_MARK, capture=capture, step=STEP, arm_s=_ARM_S))
    (folder / "migrate.sql").write_text(_MIGRATION)
    (folder / "rollback.sql").write_text("DROP TABLE scopes;\n")
    (folder / "warm-up.sh").write_text(_WARM_UP.format(seconds=command_s))
    write_identities(folder / "clients.csv")


def read(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none to read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        return found if isinstance(found, dict) else {}
    return {}


def wait_for(look: Callable[[], _Found], seconds: float) -> _Found:
    """What ``look`` gives as soon as it is true, or at the end of the time."""
    until = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.1)
    return found
