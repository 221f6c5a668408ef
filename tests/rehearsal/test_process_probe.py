"""The process probe beside real processes that work, fork, end and come again, and on this machine."""

import contextlib
import itertools
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from replay.errors import InputError, PlanError
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Surroundings, Table

LIMIT_S = 20.0
SLEEPS = "import time; time.sleep(600)"
# A parent and three children that share 64 MiB, touched by all, and hold a file open; one of them works.
FORKS = """
import mmap, os, sys, time
shared = mmap.mmap(-1, 64 << 20)
held = open(sys.argv[1])
number = 0
for number in (1, 2, 3):
    if not os.fork():
        break
else:
    number = 0
for place in range(0, 64 << 20, 4096):
    shared[place] = 1
if number == 1:
    while True:
        sum(range(1000))
time.sleep(600)
"""
# After a while, a child that works.
BEGETS = """
import os, time
time.sleep(1)
if not os.fork():
    while True:
        sum(range(1000))
time.sleep(600)
"""
MATCHES_ITSELF = """
import sys
from pathlib import Path
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Surroundings, Table

folder = Path(sys.argv[1])
arm = ArmFolder(folder / "arm")
table = Table("[probes.api]", {"kind": "process", "match": sys.argv[2]}, Surroundings(folder / "plan.toml", {}))
probe = read_probe("api", table).open(Setting(ArmClock.started_now(), arm.readings, arm.log, Scrubber()))
probe.start()
probe.stop()
"""


class Watched:
    """A probe, and what it read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arm = ArmFolder(folder / "arm")
        self.arm.create()
        self.started: list[int] = []

    def watch(self, **values: object) -> None:
        surroundings = Surroundings(self.folder / "plan.toml", {"API_PID": str(self.started[0] if self.started else 0)})
        table = Table("[probes.api]", {"kind": "process", "interval": "100ms", **values}, surroundings)
        plan = read_probe("api", table)
        plan.check()
        self.probe = plan.open(Setting(ArmClock.started_now(), self.arm.readings, self.arm.log, Scrubber()))
        self.probe.start()

    def start(self, *words: str, detached: bool = True) -> int:
        """Start a process: as a child, or as nobody's."""
        command = [sys.executable, "-c", *words]
        if detached:
            shell = ["/bin/sh", "-c", '"$@" >/dev/null 2>&1 & echo $!', "sh", *command]
            pid = int(subprocess.run(shell, check=True, capture_output=True, timeout=LIMIT_S).stdout)
        else:
            pid = subprocess.Popen(command).pid
        self.started.append(pid)
        return pid

    def end(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGKILL)
            psutil.wait_procs(family, timeout=LIMIT_S)

    def readings(self, metric: str) -> pd.DataFrame:
        frames = [pd.read_parquet(file) for file in sorted(self.arm.path.glob("readings/*.parquet"))]
        frame = pd.concat(frames) if frames else pd.DataFrame({"metric": [], "value": [], "detail": []})
        return frame[frame["metric"] == metric]

    def until(self, holds: Callable[[], object]) -> None:
        by = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < by, "it did not come to that"
            time.sleep(0.05)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    if hasattr(made, "probe"):
        made.probe.stop()
    for pid in made.started:
        made.end(pid)


def test_a_process_and_its_children_are_counted_together(watched: Watched) -> None:
    (watched.folder / "held").touch()
    pid = watched.start(FORKS, str(watched.folder / "held"))
    watched.until(lambda: len(psutil.Process(pid).children()) == 3)
    watched.watch(pids=["${API_PID}"])
    watched.until(lambda: watched.readings("process_memory_bytes")["value"].max() > 64 << 20)
    watched.until(lambda: len(watched.readings("process_cpu_cores")) > 10)
    watched.probe.stop()
    assert watched.readings("processes")["value"].tolist()[-1] == 4
    assert watched.readings("process_threads")["value"].tolist()[-1] == 4
    assert watched.readings("process_open_files")["value"].min() >= 4 * 4
    assert 0 < watched.readings("process_cpu_cores")["value"].median() <= 4
    # The shared 64 MiB once, and four small interpreters.
    assert watched.readings("process_memory_bytes")["value"].max() < 2 * (64 << 20)
    assert "python" in watched.readings("processes")["detail"].iloc[-1]
    assert watched.readings("process_restarted").empty
    assert watched.readings("probe_failed").empty


def test_all_processes_are_walked_once_a_second_only(watched: Watched, monkeypatch) -> None:
    walked: list[float] = []
    every = psutil.process_iter

    def counted(attributes):
        walked.append(time.monotonic())
        return every(attributes)

    monkeypatch.setattr(psutil, "process_iter", counted)
    watched.start(SLEEPS)
    watched.watch(pids=["${API_PID}"])
    watched.until(lambda: len(watched.readings("processes")) > 25)
    watched.probe.stop()
    assert len(walked) < len(watched.readings("processes")) / 4
    assert min(after - before for before, after in itertools.pairwise(walked)) >= 0.9


def test_a_child_that_begins_later_is_found_and_its_work_is_no_leap(watched: Watched) -> None:
    watched.start(BEGETS)
    watched.watch(pids=["${API_PID}"])
    watched.until(lambda: 2 in watched.readings("processes")["value"].tolist())
    watched.until(lambda: (watched.readings("process_cpu_cores")["value"] > 0.2).sum() > 5)
    watched.probe.stop()
    cores = watched.readings("process_cpu_cores")["value"]
    assert cores.max() < 1.7, "one child works, on one processor"
    assert watched.readings("process_restarted").empty


def test_a_restart_is_said(watched: Watched) -> None:
    first, second = watched.start(SLEEPS), watched.start(SLEEPS)
    file = watched.folder / "api.pid"
    file.write_text(f"{first}\n")
    watched.watch(pid_file="api.pid")
    watched.until(lambda: len(watched.readings("processes")))
    watched.end(first)
    watched.until(lambda: 0 in watched.readings("processes")["value"].tolist())
    file.write_text(f"{second}\n")
    watched.until(lambda: watched.readings("processes")["value"].tolist()[-1] == 1)
    watched.probe.stop()
    assert watched.readings("process_restarted")["detail"].tolist() == [
        f'{{"come": [], "gone": [{first}]}}',
        f'{{"come": [{second}], "gone": []}}',
    ]
    assert watched.readings("process_restarted")["value"].tolist() == [1, 1]
    assert watched.readings("probe_failed").empty


def test_those_that_match_but_never_ours(watched: Watched) -> None:
    word = uuid.uuid4().hex
    pids = [watched.start(SLEEPS, word), watched.start(SLEEPS, word)]
    ours = watched.start(SLEEPS, word, detached=False)
    watched.watch(match=word)
    watched.until(lambda: len(watched.readings("processes")) > 3)
    watched.end(pids[0])
    pids.append(watched.start(SLEEPS, word))
    watched.until(lambda: len(watched.readings("process_restarted")))
    watched.until(lambda: watched.readings("processes")["value"].tolist()[-1] == 2)
    watched.probe.stop()
    assert watched.readings("processes")["value"].max() <= 3
    assert str(pids[0]) in watched.readings("process_restarted")["detail"].iloc[0]
    assert str(ours) not in " ".join(watched.readings("process_restarted")["detail"])


def test_our_own_command_line_is_no_match(watched: Watched) -> None:
    word = f"word-{uuid.uuid4().hex}"
    command = [sys.executable, "-c", MATCHES_ITSELF, str(watched.folder), word]
    subprocess.run(command, check=True, timeout=LIMIT_S)
    assert watched.readings("processes").empty
    assert f"there is no process whose command line has {word!r}" in watched.readings("probe_failed")["detail"].iloc[0]


def test_one_that_was_never_there_gives_nothing_but_a_failure(watched: Watched) -> None:
    watched.watch(pid_file="api.pid")
    watched.probe.stop()
    assert len(watched.readings("probe_failed")) == 1
    assert watched.readings("processes").empty


def test_the_machine(watched: Watched) -> None:
    watched.watch(path=".")
    watched.until(lambda: len(watched.readings("host_cpu_share")) > 2)
    watched.probe.stop()
    last = {
        metric: watched.readings(f"host_{metric}")["value"].iloc[-1]
        for metric in ("cpu_share", "memory_available_bytes", "swap_used_bytes", "disk_free_bytes", "load_1m")
    }
    assert 0 <= last["cpu_share"] <= 1
    assert 0 < last["memory_available_bytes"] <= psutil.virtual_memory().total
    assert 0 < last["disk_free_bytes"] <= psutil.disk_usage(str(watched.folder)).total
    assert last["load_1m"] >= 0
    assert last["swap_used_bytes"] >= 0
    assert watched.readings("probe_failed").empty


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pids": ["x"]}, "is no process id"),
        ({"pids": ["0"]}, "is no process id"),
        ({"pids": ["1"], "match": "api"}, "cannot stand beside pids"),
        ({"match": "api", "path": "."}, "is for the whole machine"),
        ({"interval": "10ms"}, "must be 100ms or longer"),
    ],
)
def test_plans_that_are_refused(watched: Watched, values: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        watched.watch(**values)
    with pytest.raises(InputError, match="is not there"):
        watched.watch(path="no-such-folder")
