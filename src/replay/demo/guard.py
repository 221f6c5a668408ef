"""A program that stops when its parent does, however the parent ends.

The parent holds the writing end of a pipe. When it closes the pipe, or dies, even by SIGKILL, the guard at the other
end stops the program and removes the folders that it was told to. Run as a script, with Python's own library alone.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

_LOOK_EVERY_S = 0.2


class Guarded:
    """A running program with its guard.

    ``log`` gets its standard output and error. ``user`` is the account to run as (only root can change it),
    ``stop_signal`` what ends it in an orderly way within ``patience_s``, ``remove`` the folders that go with it. It
    inherits the file descriptors ``files``, under their numbers.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        user: str | None = None,
        stop_signal: int = signal.SIGTERM,
        patience_s: float = 5.0,
        remove: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        files: Sequence[int] = (),
    ) -> None:
        order = {
            "command": list(command),
            "log": str(log),
            "user": user,
            "stop_signal": int(stop_signal),
            "patience_s": patience_s,
            "remove": [str(folder) for folder in remove],
            "files": list(files),
        }
        self.log = log
        self._patience_s = patience_s
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, **(environment or {})},
            pass_fds=files,
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
        )

    @property
    def pid(self) -> int:
        """The guard's process; the program is its child."""
        return self._guard.pid

    def ended(self) -> bool:
        """Whether the program ended by itself."""
        return self._guard.poll() is not None

    def leave(self) -> None:
        """Ask the program to stop, and do not wait for it."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()

    def stop(self) -> None:
        """Stop the program and wait until it is gone. Calling it again does nothing."""
        self.leave()
        try:
            self._guard.wait(self._patience_s + 10)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def last_words(self, lines: int = 5) -> str:
        """The last lines of the program's log, for an error's message."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""


def _main(order: dict[str, Any]) -> int:
    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    user: str | None = order["user"]
    with Path(order["log"]).open("ab") as log:
        program = subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=order["files"],
            start_new_session=True,  # so that what it starts can be stopped with it
            user=user,
            group=None if user is None else main_group(user),
            extra_groups=None if user is None else [],
        )
    try:
        while program.poll() is None:
            readable, _, _ = select.select([sys.stdin], [], [], _LOOK_EVERY_S)
            if readable and not os.read(sys.stdin.fileno(), 1):
                break
    finally:
        code = _stop(program, order["stop_signal"], order["patience_s"])
        for folder in order["remove"]:
            shutil.rmtree(folder, ignore_errors=True)
    return code


def _stop(program: subprocess.Popen[bytes], stop_signal: int, patience_s: float) -> int:
    program.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(patience_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    return program.wait()


def main_group(user: str) -> int:
    """The number of ``user``'s own group."""
    import pwd  # noqa: PLC0415 - not everywhere

    return pwd.getpwnam(user).pw_gid


if __name__ == "__main__":
    sys.exit(_main(json.loads(sys.argv[1])))
