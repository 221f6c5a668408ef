"""The demonstration's Stage: PostgreSQL with a standby behind a link, data, and the API over it."""

import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from replay.demo.data import DATABASE, seed
from replay.demo.postgres import Postgres
from replay.demo.releases import FIRST, Releases
from replay.demo.reset import reset
from replay.errors import StageError

# The link of a replica in another region: ample for everyday traffic, and for a burst now and then.
LINK_RATE = 3_600_000.0
LINK_BURST = 10_000_000.0
_PATIENCE_S = 30.0


class Stage:
    """A running Stage. A context manager: leaving it stops everything, and so does the end of this process.

    ``directory`` gets the logs. ``size`` scales the number of rows; ``link_rate`` and ``link_burst`` are bytes a second
    and bytes. ``port`` is the API's, 0 for any that is free. ``say`` hears what is being done.

    Raises StageError where something does not start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        size: float = 1.0,
        link_rate: float = LINK_RATE,
        link_burst: float = LINK_BURST,
        port: int = 0,
        say: Callable[[str], None] = lambda _doing: None,
    ) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.error_log = self.directory / "api-error.log"
        self.error_log.write_bytes(b"")
        self._postgres = Postgres(self.directory)
        self._api = Releases(
            self.directory,
            port,
            {**os.environ, "STAGE_DSN": self.dsn, "API_ERROR_LOG": str(self.error_log)},
        )
        try:
            say("starting PostgreSQL")
            self._postgres.start_primary()
            say("filling the database")
            seed(self._postgres.dsn("postgres"), size)
            say("starting the reporting replica")
            self._postgres.start_standby(rate=link_rate, burst=link_burst)
            reset(self.dsn)
            say("starting the API")
            self._api.start()
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self._api.port}"

    @property
    def dsn(self) -> str:
        """The API's database, as its owner."""
        return self._postgres.dsn(DATABASE)

    @property
    def replica_dsn(self) -> str:
        """The same database on the reporting replica."""
        return self._postgres.replica_dsn(DATABASE)

    @property
    def environment(self) -> dict[str, str]:
        """What a plan's ``${NAME}`` and its commands need.

        ``STAGE_RESET`` puts the database back and, where the plan deploys (names ``STAGE_DEPLOYS``), the first release.
        """
        return {
            "STAGE_DSN": self.dsn,
            "STAGE_REPLICA_DSN": self.replica_dsn,
            "STAGE_URL": self.url,
            "STAGE_ERROR_LOG": str(self.error_log),
            "STAGE_DEPLOYS": self._api.desk,
            "STAGE_PYTHON": sys.executable,
            "STAGE_RESET": f"{shlex.quote(sys.executable)} -m replay.demo.reset",
        }

    def put_back(self) -> None:
        """Put the first release and the database back, and wait until the API has replaced the broken connections."""
        self._api.deploy(FIRST)
        reset(self.dsn)
        self._wait_until_healthy()

    def stop(self) -> None:
        """Stop everything. Calling it again does nothing."""
        self._api.stop()
        self._postgres.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_healthy(self) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._healthy():
            if self._api.ended() or time.monotonic() > deadline_s:
                raise StageError(f"The API does not answer: {self._api.last_words()}", f"See {self.directory}.")
            time.sleep(0.05)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310 - our own URL
                return bool(answer.read())
        except OSError:
            return False
