"""Starting locust as a process of its own. Never imports locust: doing so would patch the process that does."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from replay.errors import ToolError

# Tells the runtime whose child it is: when that process is gone, nobody could stop the load any more.
PARENT_VARIABLE = "REPLAY_PARENT_PID"
_MOST_LINES = 100_000
NOTE = "Note: "  # what a line of its output begins with that its user should see


def locust_command(
    locustfile: Path,
    *,
    target_url: str,
    evidence: Path | None,
    start_at: float | None,
    duration_s: float | None,
    speed: float,
    scale: float,
    identities: Path | None,
    allow: Sequence[str],
    timeout_s: float | None = None,
    pools: Sequence[str] = (),
) -> list[str]:
    """The command line that replays a locustfile once, without a web page, and ends when the last visit has ended.

    ``start_at`` is the arm's common start in seconds since the epoch; without it the replay starts as soon as locust
    has. The process exits with 0 whatever Stage answered, 2 where it refused or its input was wrong, 130 where it was
    interrupted.
    """
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--users", "1"]
    command += [
        "--host",
        target_url,
        "--skip-log-setup",
        "--only-summary",
        "--speed",
        repr(speed),
        "--scale",
        repr(scale),
    ]
    for option, value in (
        ("--evidence", evidence),
        ("--start-at", start_at),
        ("--duration", duration_s),
        ("--identities", identities),
        ("--timeout", timeout_s),
    ):
        if value is not None:
            command += [option, str(value)]
    for host in allow:
        command += ["--allow", host]
    for pool in pools:
        command += ["--pool", pool]
    return command


class LocustProcess:
    """A locust process whose output goes to a file. Leaving the ``with`` block stops it."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        self.command = tuple(command)
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a process group of its own: a Ctrl-C reaches it through ``interrupt`` alone.

        Raises ToolError where it cannot be started.
        """
        # Locust takes its options from LOCUST_* variables too; what runs is what the command line says.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        environment[PARENT_VARIABLE] = str(os.getpid())
        try:
            with self._output.open("ab") as output:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise ToolError(f"locust could not be started: {error}.") from error

    @property
    def pid(self) -> int | None:
        """The process id, or None before the start."""
        return self._process.pid if self._process else None

    def poll(self) -> int | None:
        """The exit code, or None while it runs (or was never started). Negative: the signal that ended it."""
        return self._process.poll() if self._process else None

    def wait(self, timeout_s: float) -> int | None:
        """Wait at most so long for its end; the exit code, or None where it still runs."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def interrupt(self) -> None:
        """Ask it to stop: it then writes the evidence that it has and exits with 130."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def stop(self, grace_s: float = 15.0) -> int | None:
        """Interrupt it, and kill it where it has not ended after ``grace_s``. The exit code."""
        self.interrupt()
        code = self.wait(grace_s)
        if code is None and self._process is not None:
            self._process.kill()
            code = self._process.wait()
        return code

    def last_words(self, lines: int = 5) -> str:
        """The last lines of its output, for an error message. Empty where it said nothing."""
        try:
            text = self._output.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

    def notes(self) -> list[str]:
        """What its user should see of its output."""
        lines = self.last_words(_MOST_LINES).splitlines()
        return list(dict.fromkeys(line.removeprefix(NOTE) for line in lines if line.startswith(NOTE)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
