"""A PostgreSQL probe run beside a test, and what it read."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg

from replay.evidence.files import ArmFolder
from replay.evidence.run import ArmEvidence, read_run
from replay.evidence.values import Mark
from replay.judge.phases import step_spans
from replay.judge.probes.locks import Queue, lock_queues
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.probes.postgres import PostgresProbePlan
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Dsn

SECRET = "hush-42"
STEP, STEP_SESSION = "add scopes", "replay step: add scopes"
ARM = (
    '{"arm": "a", "workload": "w", "role": "production", "steps": true, "started_at": "2026-11-22T10:00:00+00:00", '
    '"duration_s": 1, "planned": 0, "state": "complete", "reason": ""}'
)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def waiting(server: Any) -> int:
    with server.connect() as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return int(row[0])


class Probed:
    """A probe with an arm's folder of its own. ``replicas``: the server's own unless others are named."""

    def __init__(self, folder: Path, server: Any, replicas: list[str] | None = None, interval_s: float = 0.1) -> None:
        self.folder = folder
        self.arm = ArmFolder(folder / "arms" / "production-steps")
        self.arm.create()
        self.clock = ArmClock.started_now()
        self.scrub = Scrubber({}, [SECRET])
        plan = PostgresProbePlan(
            "database",
            Dsn(server.primary, ""),
            tuple(Dsn(dsn, "") for dsn in ([server.replica] if replicas is None else replicas)),
            interval_s,
        )
        self.probe = plan.open(
            Setting(
                self.clock,
                readings=self.arm.readings,
                log=self.arm.log,
                scrub=self.scrub,
                steps={STEP_SESSION: STEP},
            )
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.probe.start()
        try:
            yield
        finally:
            self.probe.stop()

    def readings(self, metric: str | None = None) -> pd.DataFrame:
        files = sorted((self.arm.path / "readings").glob("*.parquet"))
        frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
        frame["detail"] = frame["detail"].map(json.loads)
        return frame if metric is None else frame[frame["metric"] == metric]

    def waits_of(self, application: str) -> list[dict[str, Any]]:
        """The details of what sessions of an application waited for, as far as their segments are closed."""
        if not any((self.arm.path / "readings").glob("*.parquet")):
            return []
        details: list[dict[str, Any]] = self.readings("lock_wait_s")["detail"].tolist()
        return [detail for detail in details if detail["waiting"]["application"] == application]

    def evidence(self) -> ArmEvidence:
        """What a judge gets."""
        (self.folder / "rehearsal.json").write_text("{}")
        (self.arm.path / "arm.json").write_text(ARM)
        return read_run(self.folder).arms["a"]

    def queues(self, *, marks: bool = True) -> tuple[Queue, ...]:
        """The queues that a judge finds."""
        evidence = self.evidence()
        return lock_queues(evidence.readings, step_spans(evidence.marks) if marks else ())


class Scene:
    """A step and an application that meet on a server, with a probe that looks on."""

    def __init__(self, folder: Path, server: Any) -> None:
        self.probed = Probed(folder, server, replicas=[])
        self.server = server
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        with self.probed.running():
            try:
                yield
            finally:
                for thread in self._threads:
                    thread.join(60)

    def step(self, *statements: str) -> None:
        """Begin the step, with the marks that a rehearsal makes."""

        def mark(event: str, index: int = 0, statement: str = "") -> None:
            at_s = self.probed.clock.now_s()
            self.probed.arm.mark(Mark(at_s, STEP, "migrate", event, index, statement, None, ""))

        def play() -> None:
            mark("started")
            with self.server.connect(STEP_SESSION) as connection:
                for index, statement in enumerate(statements, 1):
                    mark("started", index, statement)
                    connection.execute(statement.encode())
                    mark("ended", index, statement)
            mark("ended")

        self._start(play)

    def asks(self, route: str, sql: str, application: str = "the api") -> None:
        """A request of the application, in a thread: it may wait for a lock, or end in a deadlock."""

        def send() -> None:
            with self.server.connect(application) as connection, contextlib.suppress(psycopg.errors.DeadlockDetected):
                connection.execute(f"{sql} /*route='{route.replace(' ', '%20').replace('/', '%2F')}'*/".encode())

        self._start(send)

    def longest_chain(self, application: str) -> dict[str, Any]:
        """The last detail of its waits that has most in its chain: when locks are let go, chains fall apart."""
        details = self.probed.waits_of(application)
        return max(reversed(details), key=lambda detail: len(detail["blocked_by"]))

    def saw(self, *applications: str) -> None:
        """Wait until the probe has written down that each of these waited."""
        for application in applications:
            wait_for(lambda application=application: self.probed.waits_of(application))

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        self._threads.append(thread)
