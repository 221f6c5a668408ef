"""Running a plan's commands: guarded, with a limit, in an environment that is said, their output kept line by line."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from replay.rehearsal import guard
from replay.rehearsal.table import Command

_LONGEST_OUTPUT = 5_000_000
_LONGEST_LINE = 4_000
_LONGEST_TAIL = 20_000
_LONGEST_SAID = 500  # of its last line, where a person reads why it failed
_AT_ONCE = 1 << 16
_USUAL = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Program(Command):
    """A command with the whole environment that it sees."""

    environment: Mapping[str, str] = field(repr=False)


def usual_environment() -> dict[str, str]:
    """What a command sees of our own environment: where programs are, and in which language they speak."""
    return {name: value for name, value in os.environ.items() if name in _USUAL or name.startswith("LC_")}


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. ``ended`` says why it was ended from outside; empty where it ended by itself."""

    code: int
    ended: str
    last_line: str

    @property
    def error(self) -> str:
        """What went wrong, in words; empty where nothing did."""
        if self.ended:
            return self.ended
        if self.code == 0:
            return ""
        said = "".join(letter if letter.isprintable() else "�" for letter in self.last_line[:_LONGEST_SAID])
        return f"exit code {self.code}" + (f": {said}" if said else "")


class RunningCommand:
    """A started command. ``write`` gets its output, line by line: the first 5 MB, and the last lines.

    ``write`` must not raise.
    """

    def __init__(self, program: Program, folder: Path, write: Callable[[str], None]) -> None:
        self._output = Output(write)
        self._ended = ""
        self._ending = threading.Lock()
        self._process = start_guarded(program, folder, program.environment)
        self._reader = threading.Thread(target=self._read, name="output of a command", daemon=True)
        self._reader.start()

    def wait(self, timeout_s: float) -> CommandResult:
        """Wait for its end; at the limit end it with all that it started."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.end(f"ended at its limit of {timeout_s:g} s")
            self.kill()
        code = self._process.wait()
        self._close()
        # A server that the command left in the background may hold the output open; its words are not waited for.
        self._reader.join(1.0)
        self._output.end()
        return CommandResult(code, self._ended, self._output.last_line)

    def end(self, why: str) -> None:
        """End it with all that it started: asked first, killed five seconds later."""
        if self._process.poll() is None:
            self._ended = self._ended or why
            self._close()

    def kill(self) -> None:
        """End it as ``end`` does and wait until it is gone, at most fifteen seconds."""
        self.end("interrupted")
        try:
            self._process.wait(guard.GRACE_S + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _close(self) -> None:
        with self._ending:
            if self._process.stdin and not self._process.stdin.closed:
                self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        with self._process.stdout as output:
            while chunk := os.read(output.fileno(), _AT_ONCE):
                self._output.add(chunk)


class Output:
    """What a command says, in bounded memory: the lines from its beginning, and those before its end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._left = _LONGEST_OUTPUT
        self._begun = b""  # a line whose end has not come
        self._tail = b""  # what comes after the first 5 MB, as far as it is kept
        self._skipped = 0
        self._ended = False
        self.last_line = ""

    def add(self, chunk: bytes) -> None:
        """The next bytes."""
        with self._lock:
            if self._ended:
                return
            if self._left <= 0:
                joined = self._tail + chunk
                self._tail = joined[-_LONGEST_TAIL:]
                self._skipped += len(joined) - len(self._tail)
                return
            *lines, self._begun = _lines(self._begun + chunk)
            for line in lines:
                self._take(line)
            self._left -= len(chunk)
            if self._left <= 0:
                self._tail, self._begun = self._begun, b""

    def end(self) -> None:
        """Write what is left. Bytes that come later are dropped."""
        with self._lock:
            self._ended = True
            lines = _lines(self._tail or self._begun)
            if self._skipped:
                lines = lines[1:]  # its beginning is gone
                self._write(f"({self._skipped:,} bytes are not kept; the last lines follow)")
            for line in lines:
                if line:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").rstrip()
        self.last_line = text or self.last_line
        self._write(text)


def _lines(output: bytes) -> list[bytes]:
    """Cut into lines, the last without its end. Very long ones are cut too, between words where there are any."""
    lines = []
    for line in output.split(b"\n"):
        rest = line
        while len(rest) > _LONGEST_LINE:
            at = rest.rfind(b" ", _LONGEST_LINE // 2, _LONGEST_LINE)
            cut = at if at > 0 else _LONGEST_LINE
            lines.append(rest[:cut])
            rest = rest[cut:]
        lines.append(rest)
    return lines


class OutputLog:
    """A step's own log: lines with the arm's time before them, without secrets."""

    def __init__(self, file: Path, scrub: Callable[[str], str], now_s: Callable[[], float] | None = None) -> None:
        started = time.monotonic()
        self._now_s = now_s or (lambda: time.monotonic() - started)
        self._scrub = scrub
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Append a line. After the close, and where the disk is full, lines are dropped: nobody judges by them."""
        with self._lock, contextlib.suppress(OSError):
            if not self._file.closed:
                self._file.write(f"[{self._now_s():9.3f}] {self._scrub(line)}\n".encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def start_guarded(command: Command, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command under its guard: it lives as long as its standard input is open. Errors come with the output."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, *resolved(command, folder)],
        cwd=folder,
        env=environment,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def resolved(command: Command, folder: Path) -> tuple[str, ...]:
    """The words of a command that runs in ``folder``."""
    # A program named by a relative path is looked for beside the plan, not where replay was started.
    program = command.words[0]
    found = folder / program
    return (str(found), *command.words[1:]) if "/" in program and found.exists() else command.words
