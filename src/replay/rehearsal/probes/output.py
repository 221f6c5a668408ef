"""What a command that follows a log says, such as ``journalctl -f``; started anew where it ends."""

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from replay.rehearsal import guard
from replay.rehearsal.commands import resolved, start_guarded
from replay.rehearsal.probes.tail import WholeLines
from replay.rehearsal.table import Command

_CHUNK = 1 << 18
_MOST_AT_ONCE = 1 << 23
_PIPE = 1 << 20
_RESTART_S = 5.0
_GATHER_S = 0.02
_LONGEST_WORDS = 300


class Output:
    """The lines of a command's output and errors. It runs under guard, and is started at most every five seconds."""

    def __init__(self, command: Command, folder: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = -_RESTART_S
        self._lines = WholeLines()
        self._last_line = b""

    @property
    def reads(self) -> bool:
        """Whether the command runs: what is logged while it does not is missed."""
        return self._process is not None

    @property
    def missing(self) -> str:
        """Nothing: that a command ended has been said."""
        return ""

    def check(self) -> str:
        """Why the command cannot be started; empty where it can."""
        program = resolved(self._command, self._folder)[0]
        return "" if shutil.which(program) else f"there is no program {program}"

    def skip(self) -> None:
        """Start it, and leave out what it has said."""
        with contextlib.suppress(OSError):
            self.read(lambda _: None)

    def wait(self, timeout_s: float) -> None:
        """Wait until it has said something, at most so long."""
        output = self._process.stdout if self._process else None
        if output is None:
            time.sleep(timeout_s)
        elif select.select([output], [], [], timeout_s)[0]:
            time.sleep(_GATHER_S)

    def read(self, take: Callable[[bytes], None]) -> None:
        """Give all whole lines since the last time. Raises OSError where it cannot be started, or has ended."""
        if self._process is None:
            if time.monotonic() - self._started_s < _RESTART_S:
                return
            self._process = self._start()
        output = self._process.stdout
        assert output is not None  # noqa: S101 - start_guarded asks for it
        left = _MOST_AT_ONCE
        while left > 0:
            ended = self._process.poll() is not None
            try:
                chunk = os.read(output.fileno(), _CHUNK)
            except BlockingIOError:
                if not ended:
                    return
                chunk = b""  # what it has left behind may hold its output open
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.2)  # what has closed its output is about to end by itself
                code = self._end()
                words = self._last_line.decode("utf-8", errors="replace").strip()[:_LONGEST_WORDS]
                raise ChildProcessError(
                    f"the command ended with exit code {code}{f': {words}' if words else ''}; lines may be missing"
                )
            left -= len(chunk)
            if whole := self._lines.cut(chunk):
                self._last_line = whole.rstrip().rpartition(b"\n")[2] or self._last_line
                take(whole)

    def close(self) -> None:
        """End the command, with all its children."""
        self._end()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._started_s = time.monotonic()
        self._last_line = b""
        process = start_guarded(self._command, self._folder, self._environment)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            # So that a flood does not hold up the command between two reads. Not everywhere, and not for everybody.
            with contextlib.suppress(AttributeError, OSError):
                fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)
        return process

    def _end(self) -> int | None:
        """End the command; its exit code, or None where it did not run."""
        process, self._process = self._process, None
        self._lines.forget()
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        try:
            code = process.wait(guard.GRACE_S + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code
