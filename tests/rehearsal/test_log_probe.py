"""The log probe beside a file that is written, moved away, cut and flooded, and beside commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from replay.errors import InputError, PlanError
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.log import NOT_READ, OTHER, LogProbe, LogProbePlan
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Surroundings, Table

LIMIT_S = 20.0
FOLLOW = """
import os, sys, time
from pathlib import Path
from replay.rehearsal.probes.output import Output
from replay.rehearsal.table import Command

output = Output(Command(("./follow",), "./follow"), Path(sys.argv[1]), os.environ)
output.skip()
time.sleep(600)
"""


class Followed:
    """A log probe, what it reads, and what it has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "error.log"
        self.arm = ArmFolder(folder / "arm")
        self.arm.create()
        self.probe = self.open(path="error.log")

    def open(self, start_at: float | None = None, **values: object) -> LogProbe:
        surroundings = Surroundings(self.folder / "plan.toml", {"WORD": "two words"})
        plan = read_probe("errors", Table("[probes.errors]", {"kind": "log", **values}, surroundings))
        plan.check()
        scrub = Scrubber({}, ["hush-hush-42"])
        clock = ArmClock(start_at or time.time())
        setting = Setting(clock, readings=self.arm.readings, log=self.arm.log, scrub=scrub)
        self.probe = plan.open(setting)
        return self.probe

    def program(self, text: str) -> str:
        (self.folder / "follow").write_text(f"#!{sys.executable}\nimport sys, time\n{text}\n")
        (self.folder / "follow").chmod(0o755)
        return "./follow"

    def append(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)

    def events(self) -> dict[str, int]:
        frame = self._frame("log")
        return {} if frame.empty else frame.groupby("template")["count"].sum().to_dict()

    def example(self) -> str:
        return " ".join(self._frame("log")["example"])

    def lines(self) -> pd.DataFrame:
        frame = self._frame("readings")
        return frame[frame["metric"] == "log_lines"]

    def failures(self) -> list[str]:
        frame = self._frame("readings")
        return [] if frame.empty else frame[frame["metric"] == "probe_failed"]["detail"].tolist()

    def until(self, holds: Callable[[], object]) -> None:
        by = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < by, "it did not come to that"
            time.sleep(0.05)

    def _frame(self, kind: str) -> pd.DataFrame:
        frames = [pd.read_parquet(file) for file in sorted((self.arm.path / kind).glob("*.parquet"))]
        return pd.concat(frames) if frames else pd.DataFrame()


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    made = Followed(tmp_path)
    yield made
    made.probe.stop()


def test_from_its_end_on_a_second_at_a_time(followed: Followed) -> None:
    followed.append("old line\n")
    followed.probe.start()
    followed.append("ERROR pool timeout after 1.50 s (client 17)\nERROR pool timeout after 0.20 s (client 4)\nhalf")
    followed.until(lambda: len(followed.lines()) if any(followed.arm.path.glob("readings/*.parquet")) else 0)
    followed.append(" a line hush-hush-42 password=abcdef\n")
    followed.probe.stop()
    events = followed.events()
    assert events["ERROR pool timeout after <n> s (client <n>)"] == 2
    assert sum(events.values()) == 3
    assert "half a line *** password=***" in followed.example()
    assert "half a line *** password=***" in events
    assert followed.lines()["value"].tolist()[0] == 2
    assert followed.lines()["value"].sum() == 3
    assert followed.lines()["at_s"].tolist() == list(range(len(followed.lines())))


def test_rotation_and_truncation(followed: Followed) -> None:
    followed.append("old\n")
    followed.probe.start()
    followed.append("before\n")
    followed.file.rename(followed.file.with_suffix(".1"))
    with followed.file.with_suffix(".1").open("a") as moved:
        moved.write("to the moved one\n")
    time.sleep(0.3)
    followed.append("after\n")
    time.sleep(0.3)
    followed.file.write_text("")
    time.sleep(0.3)
    followed.append("cut\n")
    followed.probe.stop()
    assert followed.events() == {"before": 1, "to the moved one": 1, "after": 1, "cut": 1}


def test_a_file_that_appears_later(followed: Followed) -> None:
    followed.probe.start()
    time.sleep(0.2)
    followed.append("first\n")
    followed.probe.stop()
    assert followed.events() == {"first": 1}
    assert followed.failures() == []


def test_a_file_that_never_appears_is_said(followed: Followed) -> None:
    followed.probe.start()
    followed.probe.stop()
    assert followed.lines()["value"].tolist() == [0]
    assert "there was no file" in followed.failures()[0]


def test_every_line_of_a_flood_is_counted_by_its_kind(followed: Followed) -> None:
    followed.append("")
    followed.probe.start()
    followed.append("".join(f"ERROR relation {n} of {n:032x}\n" for n in range(100_000)))
    followed.append("".join(f"WARNING 'text {n}' is odd\n  at {n}\n" for n in range(10_000)))
    followed.probe.stop()
    assert followed.events() == {"ERROR relation <n> of <word>": 100_000, "WARNING <text> is odd": 10_000}
    assert followed.lines()["value"].sum() == 120_000


def test_what_is_beyond_its_share_of_the_processor_is_counted_and_said(followed: Followed) -> None:
    followed.append("")
    followed.probe.start()
    line = " ".join(f"{n} '{n}' 10.0.0.{n}" for n in range(50)) + "\n"
    for _ in range(200):
        followed.append(line * 1000)
    followed.probe.stop()
    events = followed.events()
    assert followed.lines()["value"].sum() == 200_000 == sum(events.values())
    assert events[NOT_READ] > 0
    assert len(events) == 2


def test_new_kinds_of_lines_are_bounded(followed: Followed) -> None:
    followed.append("")
    followed.probe.start()
    followed.append("".join(f"{chr(97 + n % 26) * (n // 26 + 1)} failed\n" for n in range(3_000)))
    followed.append("ERROR pool timeout\n" * 3_000)
    followed.probe.stop()
    events = followed.events()
    assert sum(events.values()) == 6_000 == followed.lines()["value"].sum()
    assert len(events) <= 203
    assert events[OTHER] + events[NOT_READ] > 2_500


def test_what_comes_often_is_kept_after_many_that_came_once(followed: Followed) -> None:
    followed.append("")
    followed.probe.start()
    followed.append("".join(f"{chr(97 + n % 26)}{chr(97 + n // 26)} failed\n" for n in range(400)))
    time.sleep(0.3)
    followed.append("ERROR pool timeout\n" * 50 + "ERROR seldom\n")
    followed.probe.stop()
    events = followed.events()
    assert events["ERROR pool timeout"] == 50
    assert events[OTHER] == 201
    assert len(events) == 202


def test_levels_and_json_in_one_log(followed: Followed) -> None:
    probe = followed.open(path="error.log", levels=["error", "fatal"])
    followed.append("")
    probe.start()
    followed.append(
        '{"level": "info", "msg": "hello"}\n{"level": "error", "msg": "no row 7", "token": "hush-hush-42"}\n'
    )
    followed.append("10:00 FATAL out of memory\n  at 7\n10:01 WARNING nearly\n  at 8\n")
    probe.stop()
    assert followed.events() == {"ERROR no row <n>": 1, "<n>:<n> FATAL out of memory": 1}
    assert followed.lines()["value"].sum() == 3
    assert "hush" not in followed.example()


def test_what_a_command_says_with_its_errors_since_the_start(followed: Followed) -> None:
    start_at = time.time() + 2
    program = followed.program(
        "print('old', flush=True)\n"
        "open('pid', 'w').write(str(__import__('os').getpid()))\n"
        f"time.sleep(max(0, {start_at} + 0.5 - time.time()))\n"
        "print('ERROR', sys.argv[1:], flush=True)\n"
        "print('ERROR 17', file=sys.stderr, flush=True)\n"
        "time.sleep(600)"
    )
    probe = followed.open(start_at, command=f"{program} -f ${{WORD}}")
    probe.start()
    followed.until(lambda: followed.events().get("ERROR <n>"))
    probe.stop()
    assert followed.events() == {"ERROR [<text>, <text>]": 1, "ERROR <n>": 1}
    assert "two words" in followed.example()
    assert followed.failures() == []
    assert not psutil.pid_exists(int((followed.folder / "pid").read_text()))


@pytest.mark.slow
def test_a_command_that_ends_is_said_and_started_again(followed: Followed) -> None:
    program = followed.program(
        "print('ERROR 1', flush=True)\nprint('password=abcdef is wrong', file=sys.stderr, flush=True)\nsys.exit(3)"
    )
    probe = followed.open(command=program)
    probe.start()
    followed.until(lambda: len(followed.failures()) > 1)
    probe.stop()
    assert "ended with exit code 3: password=*** is wrong" in followed.failures()[0]
    # It was down for most of the time: that is not the same as a log without lines.
    assert len(followed.lines()) < 5
    assert followed.events()["ERROR <n>"] >= 1


def test_a_command_that_leaves_another_behind_has_ended(followed: Followed) -> None:
    (followed.folder / "follow").write_text("#!/bin/sh\nsleep 600 & echo $! > pid; echo ERROR 1; exit 4\n")
    (followed.folder / "follow").chmod(0o755)
    probe = followed.open(command="./follow")
    probe.start()
    pid = followed.folder / "pid"
    followed.until(lambda: pid.exists() and pid.read_text())
    followed.until(followed.failures)
    probe.stop()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert "ended with exit code 4: ERROR 1" in followed.failures()[0]


def test_a_flood_of_a_command_is_counted(followed: Followed) -> None:
    program = followed.program("for n in range(300_000): print('ERROR number', n)\nsys.stdout.flush(); time.sleep(600)")
    probe = followed.open(command=program)
    probe.start()
    followed.until(lambda: sum(followed.events().values()) == 300_000)
    probe.stop()
    assert followed.lines()["value"].sum() == 300_000


def test_a_command_dies_with_us(followed: Followed) -> None:
    followed.program("open('pid', 'w').write(str(__import__('os').getpid()))\ntime.sleep(600)")
    ours = subprocess.Popen([sys.executable, "-c", FOLLOW, str(followed.folder)])
    pid = followed.folder / "pid"
    try:
        followed.until(lambda: pid.exists() and pid.read_text())
    finally:
        os.kill(ours.pid, signal.SIGKILL)
        ours.wait()
    followed.until(lambda: not psutil.pid_exists(int(pid.read_text())))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "is missing"),
        ({"path": "error.log", "command": "tail"}, "cannot stand beside path"),
        ({"path": "error.log", "format": "xml"}, "must be one of text, json"),
        ({"path": "error.log", "levels": ["errors"]}, "must be of trace, debug"),
    ],
)
def test_plans_that_are_refused(followed: Followed, values: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        followed.open(**values)


def test_a_program_that_is_not_there_is_found_before_stage_is_touched(followed: Followed) -> None:
    with pytest.raises(InputError, match="there is no program no-such-program"):
        followed.open(command="no-such-program -f")
    with pytest.raises(InputError, match="its folder is not there"):
        LogProbePlan("errors", followed.folder / "no" / "error.log").check()
