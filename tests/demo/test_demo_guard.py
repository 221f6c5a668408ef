import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from replay.demo.guard import Guarded

SLEEPER = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(120)"]


def test_a_program_and_its_folder_go_when_it_is_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    program = Guarded(SLEEPER, log=tmp_path / "log", remove=[folder])
    pid = first_number(tmp_path / "log")
    assert not program.ended()
    program.stop()
    program.stop()
    assert is_gone(pid)
    assert not folder.exists()


def test_a_program_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import time; from pathlib import Path; from replay.demo.guard import Guarded\n"
    code += f"program = Guarded({SLEEPER!r}, log=Path({str(log)!r})); time.sleep(120)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        pid = first_number(log)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert is_gone(pid)


def test_a_program_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(120)"
    program = Guarded([sys.executable, "-c", deaf], log=tmp_path / "log", patience_s=0.3)
    pid = first_number(tmp_path / "log")
    program.stop()
    assert is_gone(pid)


def test_the_last_words_of_a_program_that_ended(tmp_path: Path) -> None:
    program = Guarded([sys.executable, "-c", "print('one'); raise SystemExit('two')"], log=tmp_path / "log")
    assert within(10, program.ended)
    assert program.last_words(1) == "two"


def first_number(log: Path) -> int:
    assert within(20, lambda: log.is_file() and log.read_text().endswith("\n"))
    return int(log.read_text())


def is_gone(pid: int) -> bool:
    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return within(10, gone)


def within(seconds: float, holds: object) -> bool:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
