"""The demonstration's API as it is deployed: one listening socket, and behind it the process of one release.

A deploy starts the other release, waits until it has its connections to the database and says ``ready``, and sends the
first one away. When that says ``left`` (it takes no more requests, and ends when it has answered those it has begun),
the new one may ``go``. Who comes in between, some tenths of a second, waits at the socket; nobody is turned away,
and no two requests sent after each other find first the new and then the old one. Each word is an empty file.

Deploys are ordered at a port of loopback: a line with the release's name, and a line back when it is done. So whoever
orders one, a step's command above all, may end without taking the new process along.
"""

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path

from replay.demo.guard import Guarded
from replay.errors import StageError

FIRST = "v1"
KNOWN = ("v1", "v2")
TURNS = (".ready", ".go", ".left")
DONE = "deployed"
_PATIENCE_S = 30.0
_DRAIN_S = 12.0  # longer than the API takes to end by itself
_LOOK_EVERY_S = 0.2
_LONGEST_ORDER = 100


class Releases:
    """The API on ``port`` of loopback (0 for any that is free), from ``start`` to ``stop``. Logs go to ``directory``.

    Raises StageError where the port is taken.
    """

    def __init__(self, directory: Path, port: int, environment: dict[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        try:
            self._socket = socket.create_server(("127.0.0.1", port), backlog=2048)
            self._desk = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            raise StageError(f"The API cannot listen on port {port}: {error}.", "Is another Stage there?") from error
        self._desk.settimeout(_LOOK_EVERY_S)
        self._running: Guarded | None = None
        self._release = ""
        self._left: Path | None = None
        self._started = 0
        self._one_at_a_time = threading.Lock()
        self._closed = False

    @property
    def port(self) -> int:
        """Where the API answers."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def desk(self) -> str:
        """Where deploys are asked for: host and port."""
        host, port = self._desk.getsockname()
        return f"{host}:{port}"

    def start(self) -> None:
        """Deploy the first release, and take orders from then on. Raises StageError where it does not start."""
        self.deploy(FIRST)
        threading.Thread(target=self._take_orders, name="deploys", daemon=True).start()

    def deploy(self, release: str) -> None:
        """Put a release in the running one's place; the one that runs stays as it is.

        Raises StageError where it does not start; the old one then runs on.
        """
        with self._one_at_a_time:
            if release == self._release and self._running is not None and not self._running.ended():
                return
            new, turn = self._begin(release)
            old, self._running, self._release = self._running, new, release
            left, self._left = self._left, turn.with_suffix(".left")
            if old is not None and left is not None:
                old.leave()
                _await(left, old)
            turn.with_suffix(".go").touch()
            if old is not None:
                old.stop()

    def ended(self) -> bool:
        """Whether the API ended by itself."""
        return self._running is None or self._running.ended()

    def last_words(self) -> str:
        """What the API said last."""
        return self._running.last_words() if self._running is not None else ""

    def stop(self) -> None:
        """Stop the API, and take no more orders. Calling it again does nothing."""
        self._close()
        with self._one_at_a_time:
            if self._running is not None:
                self._running.stop()

    def _close(self) -> None:
        self._closed = True
        for listening in (self._desk, self._socket):
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # for all that hold it
            listening.close()

    def _begin(self, release: str) -> tuple[Guarded, Path]:
        if self._closed:
            raise StageError("The API has ended.")
        if release not in KNOWN:
            raise StageError(f"There is no release {release!r} of the API.", f"Known: {', '.join(KNOWN)}.")
        self._started += 1
        turn = self._directory / f"api-{self._started}"
        for word in TURNS:
            turn.with_suffix(word).unlink(missing_ok=True)
        new = Guarded(
            [sys.executable, "-m", "replay.demo.api", "--socket", str(self._socket.fileno()), "--release", release,
             "--turn", str(turn)],
            log=self._directory / "api.log",
            patience_s=_DRAIN_S,
            environment=self._environment,
            files=[self._socket.fileno()],
        )  # fmt: skip
        if not _await(turn.with_suffix(".ready"), new):
            new.stop()
            raise StageError(f"The API does not start: {new.last_words()}", f"See {self._directory}.")
        return new, turn

    def _take_orders(self) -> None:
        while not self._closed:
            try:
                order, _ = self._desk.accept()
            except TimeoutError:
                if self.ended():  # by itself: nobody is to wait at a socket that nobody serves
                    self._close()
            except OSError:
                return
            else:
                with order, contextlib.suppress(OSError):
                    order.settimeout(5)
                    order.sendall(f"{self._serve(order.recv(_LONGEST_ORDER))}\n".encode())

    def _serve(self, order: bytes) -> str:
        release = order.decode(errors="replace").strip()
        try:
            self.deploy(release)
        except StageError as error:
            return " ".join(f"{error.message} {error.hint}".split())
        return f"{DONE} {release}"


def _await(word: Path, by: Guarded) -> bool:
    """Whether a process says a word in time."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not word.exists():
        if by.ended() or time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


def ask(desk: str, release: str) -> str:
    """Ask at ``desk`` for a deploy, and wait until it is done. Returns what was said; raises StageError otherwise."""
    host, _, port = desk.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_PATIENCE_S + _DRAIN_S + 10) as order:
            order.sendall(f"{release}\n".encode())
            said = order.makefile(encoding="utf-8").readline().strip()
    except (OSError, ValueError) as error:
        raise StageError(f"Nobody deploys at {desk}: {error}.", "It is there as long as its Stage is.") from error
    if not said.startswith(DONE):
        raise StageError(said or f"Stage ended while {release} was being deployed.")
    return said
