"""A step that waits: for so long, or until Stage has recovered."""

import threading
import time
from dataclasses import dataclass, replace

import psycopg

from replay.errors import StageError
from replay.rehearsal.plan import TargetPlan
from replay.rehearsal.probes.postgres.source import OURS
from replay.rehearsal.sessions import limited
from replay.rehearsal.stage import wait_until_ready
from replay.rehearsal.steps.job import Bench
from replay.rehearsal.table import Dsn

_POLL_S = 0.2
_ASK_S, _ANSWER_S = 1.0, 5.0
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@dataclass(frozen=True, slots=True)
class WaitWork:
    """Waiting for ``seconds``; where that is None, until the target answers and nobody waits for a lock.

    ``database`` is asked for lock waits; without one they are not looked at.
    """

    seconds: float | None
    target: TargetPlan
    database: Dsn | None

    @property
    def told(self) -> str:
        """What it would do."""
        if self.seconds is not None:
            return f"waits {self.seconds:g} s"
        asked = " ".join(self.target.ready) if self.target.ready else "a connection"
        return f"waits until Stage answers {asked}" + (" and nobody waits for a lock" if self.database else "")

    def job(self, bench: Bench) -> "WaitJob":
        """Begin nothing yet."""
        return WaitJob(self, bench)


class WaitJob:
    """A wait that goes on."""

    def __init__(self, work: WaitWork, bench: Bench) -> None:
        self._work = work
        self._bench = bench
        self._ended = threading.Event()
        self._why = ""

    def do(self) -> str:
        """Wait. Why it failed, or an empty text."""
        if self._work.seconds is not None:
            self._ended.wait(self._work.seconds)
            return self._why
        limit_s = self._bench.plan.timeout_s
        deadline = time.monotonic() + limit_s
        lacking = self._lacking()
        while lacking:
            self._ended.wait(_POLL_S)
            if self._why or time.monotonic() > deadline:
                return self._why or f"Stage had not recovered after {limit_s:g} s: {lacking}"
            lacking = self._lacking()
        return self._why

    def end(self, why: str) -> None:
        """Wait no longer."""
        self._why = self._why or why
        self._ended.set()

    def _lacking(self) -> str:
        """Why Stage has not recovered; an empty text where it has."""
        try:
            wait_until_ready(replace(self._work.target, ready_timeout_s=_ASK_S))
        except StageError as error:
            return error.message.removesuffix(".")
        return "" if self._work.database is None else self._waiting(self._work.database)

    def _waiting(self, database: Dsn) -> str:
        try:
            with limited(database.value, _ANSWER_S, self._bench.plan.session_name) as session:
                waiting = int(session.execute(f"{_WAITING} {OURS}".encode()).fetchall()[0][0])
        except psycopg.Error as error:
            return f"the database says: {str(error).strip() or type(error).__name__}"
        return f"{waiting} sessions wait for a lock" if waiting else ""
