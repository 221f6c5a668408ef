"""Starting locust as a process of its own. Never imports locust: doing so would patch the process that does."""

import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from replay.errors import InputError, ToolError

# Tells the runtime whose child it is: when that process is gone, nobody could stop the load any more.
PARENT_VARIABLE = "REPLAY_PARENT_PID"
_MOST_LINES = 100_000
NOTE = "Note: "  # what a line of its output begins with that its user should see
_LOOPBACK = "127.0.0.1"
_NOT_OURS = frozenset({errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN})  # another's address, or nobody's


@dataclass(frozen=True, slots=True)
class Web:
    """Where locust serves its web page while it replays. ``live`` tells the page what only the conductor knows."""

    host: str
    port: int
    live: Path | None = None

    @property
    def told(self) -> str:
        """Where to look, and who else can."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        others = "" if _is_loopback(self.host) else ", by whoever reaches that address"
        return f"To be watched at http://{host}:{self.port}/?tab=replay{others}"

    def answers(self) -> bool:
        """Whether somebody takes connections there."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1):
                return True
        except OSError:
            return False

    def is_free(self) -> bool:
        """Whether the address can be listened on now."""
        try:
            _free_port(self.host, self.port)
        except OSError:
            return False
        return True


def parse_web(text: str) -> Web:
    """``HOST:PORT``, or a port on this machine alone; port 0 takes a free one.

    Raises InputError where it is none, ToolError where nobody can listen there.
    """
    try:
        parts = urlsplit(f"//{_LOOPBACK}:{text}" if text.isdecimal() else f"//{text}")
        host, port = parts.hostname or _LOOPBACK, parts.port
    except ValueError:
        host, port = "", None
    if port is None or parts.path or parts.query or parts.username:
        raise InputError(f"{text!r} is not an address for a web page.", "Give HOST:PORT, such as 127.0.0.1:8089.")
    try:
        return Web(host, _free_port(host, port))
    except OSError as error:
        told, reason, hint = f"No web page can be served at {text}", error.strerror or error, "Choose another port."
        if error.errno in _NOT_OURS:
            reason = f"{host} is no address of this machine"
            hint = f"Give one that it has, such as {_LOOPBACK}:{port}; 0.0.0.0 stands for all of them."
        raise ToolError(f"{told}: {reason}.", hint) from error


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        return int(server.getsockname()[1])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    web: Web | None = None,
) -> list[str]:
    """The command line that replays a locustfile once, and ends when the last visit has ended.

    ``start_at`` is the arm's common start in seconds since the epoch; without it the replay starts as soon as locust
    has. The process exits with 0 whatever Stage answered, 2 where it refused or its input was wrong, 130 where it was
    interrupted.
    """
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--users", "1"]
    if web is None:
        command += ["--headless"]
    else:
        command += ["--autostart", "--web-host", web.host, "--web-port", str(web.port)]
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
        ("--live", None if web is None else web.live),
    ):
        if value is not None:
            command += [option, str(value)]
    for host in allow:
        command += ["--allow", host]
    for pool in pools:
        command += ["--pool", pool]
    return command


class LocustProcess:
    """A locust process whose output goes to a file. Leaving the ``with`` block stops it.

    ``handed`` are descriptors of ours that it gets under the same numbers.
    """

    def __init__(self, command: Sequence[str], output: Path, handed: Sequence[int] = ()) -> None:
        self.command = tuple(command)
        self._handed = tuple(handed)
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
                    pass_fds=self._handed,
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
