"""Running a plan's commands: in a process group of their own, with a limit, their output kept line by line."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from replay.rehearsal import guard
from replay.rehearsal.table import Command

_LONGEST_OUTPUT = 5_000_000
_LONGEST_LINE = 4_000


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
        return f"exit code {self.code}" + (f": {self.last_line}" if self.last_line else "")


class RunningCommand:
    """A started command. ``write`` gets each line of its output, and must not raise."""

    def __init__(
        self, command: Command, folder: Path, write: Callable[[str], None], environment: Mapping[str, str] | None = None
    ) -> None:
        self._write = write
        self._ended = ""
        self._last_line = ""
        self._ending = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *_resolved(command, folder)],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="output of a command", daemon=True)
        self._reader.start()

    def wait(self, timeout_s: float) -> CommandResult:
        """Wait for its end; at the limit end it with all its children."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.end(f"ended at its limit of {timeout_s:g} s")
            code = self._process.wait()
        self._close()
        # A server that the command left in the background may hold the output open; its words are not waited for.
        self._reader.join(1.0)
        return CommandResult(code, self._ended, self._last_line)

    def end(self, why: str) -> None:
        """End it with all its children: asked first, killed five seconds later."""
        if self._process.poll() is None:
            self._ended = self._ended or why
            self._close()

    def kill(self) -> None:
        """End it as ``end`` does and wait until it is gone, at most ten seconds."""
        self.end("interrupted")
        try:
            self._process.wait(guard.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _close(self) -> None:
        with self._ending:
            if self._process.stdin and not self._process.stdin.closed:
                self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        left = _LONGEST_OUTPUT
        with self._process.stdout as output:
            for raw in iter(lambda: output.readline(_LONGEST_LINE), b""):
                line = raw.decode("utf-8", errors="replace").rstrip()
                self._last_line = line or self._last_line
                if left > 0:
                    self._write(line)
                    left -= len(raw)
                    if left <= 0:
                        self._write(f"(more than {_LONGEST_OUTPUT} bytes: the rest is not kept)")


class OutputLog:
    """A step's own log: lines with the arm's time before them, without secrets."""

    def __init__(self, file: Path, scrub: Callable[[str], str], now_s: Callable[[], float] | None = None) -> None:
        started = time.monotonic()
        self._now_s = now_s or (lambda: time.monotonic() - started)
        self._scrub = scrub
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("a", encoding="utf-8", errors="replace")

    def write(self, line: str) -> None:
        """Append a line. After the close, lines are dropped."""
        with self._lock:
            if not self._file.closed:
                self._file.write(f"[{self._now_s():9.3f}] {self._scrub(line)}\n")
                self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def _resolved(command: Command, folder: Path) -> tuple[str, ...]:
    # A program named by a relative path is looked for beside the plan, not where replay was started.
    program = command.words[0]
    found = folder / program
    return (str(found), *command.words[1:]) if "/" in program and found.exists() else command.words
