"""Commands that hang, hide, shout or ask: each is ended at its limit, with its evidence, and nothing is left of it."""

import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from replay.rehearsal.commands import CommandResult, OutputLog, Program, RunningCommand, usual_environment

from .stepping import running, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="what still runs is looked for in /proc")


class Room:
    """A folder to run commands in, and a mark that all of their processes carry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.log = OutputLog(folder / "log", lambda text: text.replace("hush-hush-42", "***"))

    def start(self, *words: str) -> RunningCommand:
        program = Program(words, " ".join(words), {**usual_environment(), "MARK": self.mark})
        return RunningCommand(program, self.folder, self.log.write)

    def run(self, *words: str, limit_s: float = 30.0) -> CommandResult:
        return self.start(*words).wait(limit_s)

    def lines(self) -> list[str]:
        return [line.partition("] ")[2] for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def room(tmp_path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.log.close()
    for pid in running(made.mark):
        os.kill(pid, signal.SIGKILL)


HIDING = {
    "it hangs": "sleep 60",
    "it is deaf to being asked": "trap '' TERM INT HUP; echo deaf; while :; do sleep 1; done",
    "it has children": "(sleep 60 & sleep 60) & sleep 60",
    "its children have a group of their own": "set -m; sleep 60 & sleep 60",
    "its children have a session of their own": "setsid sleep 60 & setsid -f sh -c 'sleep 60; :'; sleep 60",
    "its children lost their parents": "(setsid sh -c 'trap : TERM; sleep 60 & while :; do wait; done' &); sleep 60",
    "it is stopped": "sleep 60 & kill -STOP $!; kill -STOP $$",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HIDING)
def test_nothing_is_left_at_the_limit(room, kind: str) -> None:
    result = room.run("sh", "-c", f"echo before; {HIDING[kind]}", limit_s=1.0)
    assert result.error == "ended at its limit of 1 s"
    assert room.lines()[0] == "before"
    assert running(room.mark) == []


def test_nothing_is_left_of_one_that_goes_on_starting_others(room) -> None:
    # Each process starts its successor in a session of its own and is gone: whoever looks for it comes late.
    script = room.folder / "fleeing.py"
    script.write_text(
        "import os, time\n"
        "until = time.monotonic() + 20\n"
        "while time.monotonic() < until:\n"
        "    open('alive', 'a').write('x')\n"
        "    time.sleep(0.002)\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        "    os.setsid()\n"
    )
    python = f"'{sys.executable}' -S fleeing.py"
    assert room.run("sh", "-c", f"{python} & {python} & sleep 60", limit_s=1.0).ended
    alive = (room.folder / "alive").stat().st_size
    time.sleep(0.5)
    assert (room.folder / "alive").stat().st_size == alive > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", HIDING)
def test_nothing_is_left_when_replay_is_killed(tmp_path, kind: str) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    code = (
        "import sys, pathlib\n"
        "from replay.rehearsal.commands import *\n"
        f"program = Program(('sh', '-c', sys.argv[1]), 'x', {{**usual_environment(), 'MARK': '{mark}'}})\n"
        "RunningCommand(program, pathlib.Path(), lambda line: print(line, flush=True)).wait(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, f"echo before; {HIDING[kind]}"], cwd=tmp_path, stdout=subprocess.PIPE
    ) as replay:
        assert replay.stdout is not None
        assert replay.stdout.readline() == b"before\n"
        assert running(mark)
        replay.send_signal(signal.SIGKILL)
    wait_for(lambda: not running(mark))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["outer", "inner"])
@pytest.mark.parametrize("kind", ["it hangs", "it is deaf to being asked", "its children have a session of their own"])
def test_nothing_is_left_when_a_guard_is_killed(room, kind: str, which: str) -> None:
    command = room.start("sh", "-c", f"echo before; {HIDING[kind]}")
    wait_for(lambda: room.lines()[-1:] != [] and len(running(room.mark)) > 1)
    outer = next(one for one in psutil.Process().children() if one.environ().get("MARK") == room.mark)
    (inner,) = outer.children()
    (outer if which == "outer" else inner).send_signal(signal.SIGKILL)
    wait_for(lambda: not running(room.mark))
    assert command.wait(10).error


def test_nothing_is_left_of_one_that_is_killed(room) -> None:
    result = room.run("sh", "-c", "setsid sleep 60 & sleep 60 & kill -KILL $$")
    assert (result.code, result.ended) == (128 + signal.SIGKILL, "")
    assert running(room.mark) == []


def test_what_it_leaves_behind_when_it_ended_by_itself_stays(room) -> None:
    assert room.run("sh", "-c", "setsid sleep 60 > /dev/null 2>&1 & echo started").error == ""
    assert len(running(room.mark)) == 1


def test_orphans_are_buried_while_it_runs(room) -> None:
    command = "for n in $(seq 200); do (sleep 0 & ) ; done; sleep 0.5; ps -o stat= --ppid $PPID | grep -c Z; :"
    assert room.run("sh", "-c", command).error == ""
    assert int(room.lines()[-1]) == 0


def test_a_gigabyte_is_read_as_fast_as_it_comes(room) -> None:
    code = (
        "import os\n"
        "rows = b''.join(b'row %d was brought to its new form\\n' % n for n in range(20_000))\n"
        "left = 1_000_000_000\n"
        "while left > 0:\n"
        "    left -= os.write(1, rows)\n"
        "print('the last word')\n"
        "raise SystemExit(3)\n"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = room.run(sys.executable, "-c", code, limit_s=120)
    assert result.error == "exit code 3: the last word"
    lines = room.lines()
    assert lines[0] == "row 0 was brought to its new form"
    assert lines[-1] == "the last word"
    said = next(
        number for number, line in enumerate(lines) if line.endswith("bytes are not kept; the last lines follow)")
    )
    assert len(lines) - said > 100
    assert 5_000_000 < (room.folder / "log").stat().st_size < 8_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_gigabyte_without_an_end_is_ended_at_the_limit(room) -> None:
    result = room.run("sh", "-c", "tr '\\0' x < /dev/zero", limit_s=1.5)
    assert result.ended == "ended at its limit of 1.5 s"
    lines = room.lines()
    assert max(map(len, lines)) <= 4_000
    assert "bytes are not kept" in " ".join(lines[-20:])
    assert (room.folder / "log").stat().st_size < 8_000_000
    assert running(room.mark) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sh", "-c", "read answer < /dev/tty"), "/dev/tty"),
        ((sys.executable, "-c", "import getpass; getpass.getpass()"), "EOF"),
        ((sys.executable, "-c", "input('Go on? ')"), "EOF"),
    ],
)
def test_one_that_needs_a_terminal_ends_by_its_own_error(room, command: tuple[str, ...], said: str) -> None:
    result = room.run(*command)
    assert result.error.startswith("exit code ")
    assert said in result.error


def test_one_that_goes_on_without_its_terminal_ends_at_its_limit(room) -> None:
    result = room.run("sh", "-c", "while ! read answer < /dev/tty; do sleep 0.1; done", limit_s=1.0)
    assert result.error == "ended at its limit of 1 s"
    assert "/dev/tty" in room.lines()[0]
    assert running(room.mark) == []


def test_secrets_are_not_torn_apart_by_the_length_of_a_line(room) -> None:
    words = " ".join(["password", "is", "hush-hush-42"] * 2_000)
    (room.folder / "words").write_text(words)
    room.run("cat", "words")
    assert "".join(room.lines()).replace(" ", "") == words.replace(" ", "").replace("hush-hush-42", "***")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="takes a disk that is always full")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_command_goes_on_where_its_log_finds_no_room(room) -> None:
    room.log = OutputLog(Path("/dev/full"), str)
    assert room.run("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' '\\n'; exit 3") == CommandResult(3, "", "")
    room.log.close()


def test_what_is_said_of_a_failure_can_be_read(room) -> None:
    error = room.run("sh", "-c", "printf 'gone\\001\\377 '; head -c 3000 /dev/zero | tr '\\0' x; exit 3").error
    assert error.startswith("exit code 3: gone�� xxx")
    assert len(error) < 600


def test_a_command_sees_only_what_it_is_given(room, monkeypatch) -> None:
    monkeypatch.setenv("OTHER_SECRET", "hush")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    room.run("env")
    names = {line.partition("=")[0] for line in room.lines()}
    assert names >= {"PATH", "LC_ALL", "MARK"}
    assert names <= {"PATH", "HOME", "LANG", "TMPDIR", "MARK", "PWD", "LC_ALL", "LC_CTYPE"}


def test_a_program_that_cannot_be_started(room) -> None:
    assert room.run("no-such-program").error == "exit code 127: no-such-program: No such file or directory"
