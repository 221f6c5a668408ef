"""Doing the plan's steps to Stage at their moments, with a mark for each step and each statement."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus

from replay.errors import InputError
from replay.evidence.values import Mark
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.commands import OutputLog, RunningCommand
from replay.rehearsal.steps.plan import StepPlan
from replay.rehearsal.steps.sql import Statement, split_statements

_LONGEST_STATEMENT = 4_000  # of a mark; the whole file stands in rehearsal.json
_CANCEL_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """A step ready to be done: its SQL read and cut before anything runs."""

    plan: StepPlan
    statements: tuple[Statement, ...]


def prepare_steps(plans: Sequence[StepPlan]) -> tuple[Step, ...]:
    """Read the steps' SQL files. Raises InputError where one cannot be read, holds nothing, or needs psql."""
    return tuple(Step(plan, _statements(plan.sql) if plan.sql else ()) for plan in plans)


def read_sql(file: Path) -> str:
    """An SQL file's text. Raises InputError where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"There is no SQL file {file}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as SQL: {error}.") from error


def _statements(file: Path) -> tuple[Statement, ...]:
    statements = split_statements(read_sql(file), str(file))
    if not statements:
        raise InputError(f"{file} holds no statement.")
    return statements


class StepRunner:
    """Does the steps of one arm in a thread, one after the other.

    ``mark`` gets every mark and ``scrub`` takes secrets out of what servers and programs say. A step whose moment comes
    while the one before still runs begins when that has ended.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        clock: ArmClock,
        *,
        mark: Callable[[Mark], None],
        scrub: Callable[[str], str],
        folder: Path,
        logs: Path,
    ) -> None:
        self._steps = steps
        self._clock = clock
        self._mark = mark
        self._scrub = scrub
        self._folder = folder
        self._logs = logs
        self._stopping = threading.Event()
        self._no_more = threading.Event()
        self._running: _SqlSession | RunningCommand | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._play, name="steps", daemon=True)
        self.broke: BaseException | None = None

    def start(self) -> None:
        """Begin; the first step waits for its moment."""
        self._thread.start()

    def begin_no_more(self) -> None:
        """Let what runs end, and begin nothing after it: the load is over."""
        self._no_more.set()

    def stop(self) -> None:
        """End what runs, begin nothing more, and wait for it."""
        self._stopping.set()
        with self._lock:
            running = self._running
        if running is not None:
            running.end("interrupted")
        if self._thread.ident is not None:
            self._thread.join(30)

    @property
    def alive(self) -> bool:
        """Whether a step runs or is still to come."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait for the last step; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _play(self) -> None:
        try:
            ended_s, failed = 0.0, ""
            for number, step in enumerate(self._steps, 1):
                why_not = failed or self._wait_for(step.plan, ended_s)
                if why_not:
                    self._record(step.plan, "not done", error=why_not)
                    continue
                if not self._do(step, number) and step.plan.ends_on_failure:
                    failed = f"{step.plan.name!r} failed before it"
                ended_s = self._clock.now_s()
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the conductor
            self.broke = error

    def _wait_for(self, plan: StepPlan, ended_s: float) -> str:
        """Sleep until the step's moment. Why it shall not be done, or an empty text."""
        due_s = plan.at_s if plan.at_s is not None else ended_s + (plan.after_s or 0.0)
        while not self._stopping.is_set():
            if self._no_more.is_set():
                return "the load had ended"
            left_s = due_s - self._clock.now_s()
            if left_s <= 0:
                return ""
            self._stopping.wait(min(left_s, 0.1))
        return "interrupted"

    def _do(self, step: Step, number: int) -> bool:
        plan = step.plan
        log = OutputLog(self._logs / f"{number:02d}.log", self._scrub, self._clock.now_s)
        self._record(plan, "started")
        try:
            error = self._run(step, log) if plan.run else self._execute(step, log)
        finally:
            log.close()
            self._running = None
        error = self._scrub(error)
        self._record(plan, self._failed if error else "ended", error=error)
        return not error

    @property
    def _failed(self) -> str:
        """What to call a failure: one that our own stop brought about is none of the step's."""
        return "interrupted" if self._stopping.is_set() else "failed"

    def _run(self, step: Step, log: OutputLog) -> str:
        assert step.plan.run is not None  # noqa: S101 - the caller's condition
        log.write(f"$ {step.plan.run.written}")
        environment = {"PGAPPNAME": step.plan.session_name}
        running = RunningCommand(step.plan.run, self._folder, log.write, environment)
        self._hold(running)
        return running.wait(step.plan.timeout_s).error

    def _execute(self, step: Step, log: OutputLog) -> str:
        plan = step.plan
        assert plan.dsn is not None  # noqa: S101 - the plan's own check
        try:
            session = _SqlSession(plan.dsn.value, plan.session_name, plan.timeout_s, log.write)
        except psycopg.Error as error:
            return f"no connection: {_words(error)}"
        with session:
            self._hold(session)
            for index, statement in enumerate(step.statements, 1):
                text = self._scrub(_shortened(statement.text))
                self._record(plan, "started", index, text)
                log.write(f"{index}: {text}")
                try:
                    rows = session.execute(statement.text)
                except psycopg.Error as error:
                    words = self._scrub(session.ended or _words(error))
                    self._record(plan, self._failed, index, text, error=words)
                    log.write(words)
                    return f"statement {index} (line {statement.line}) failed: {words}"
                self._record(plan, "ended", index, text, rows=rows)
            if session.open_transaction:
                return "the file ends inside a transaction, which was rolled back"
        return ""

    def _hold(self, running: "_SqlSession | RunningCommand") -> None:
        with self._lock:
            self._running = running
        if self._stopping.is_set():
            running.end("interrupted")

    def _record(
        self,
        plan: StepPlan,
        event: str,
        index: int = 0,
        statement: str = "",
        *,
        rows: int | None = None,
        error: str = "",
    ) -> None:
        self._mark(Mark(self._clock.now_s(), plan.name, plan.kind, event, index, statement, rows, error))


class _SqlSession:
    """One connection, in autocommit: a file's own BEGIN and COMMIT are what makes transactions."""

    def __init__(self, dsn: str, name: str, timeout_s: float, write: Callable[[str], None]) -> None:
        self.ended = ""
        self._connection = psycopg.connect(dsn, autocommit=True, application_name=name, connect_timeout=10)
        self._connection.add_notice_handler(lambda notice: write(f"{notice.severity}: {notice.message_primary}"))
        # Should this process be killed, the server notices within seconds instead of at the statement's end.
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("SET client_connection_check_interval = '2s'")
        limit = f"cancelled at the step's limit of {timeout_s:g} s"
        self._limit = threading.Timer(timeout_s, self.end, (limit,))
        self._limit.daemon = True
        self._limit.start()

    def execute(self, statement: str) -> int | None:
        """Send one statement by the simple protocol; how many rows it touched, where it says so."""
        if self.ended:
            raise psycopg.errors.QueryCanceled(self.ended)
        cursor = self._connection.execute(statement.encode())
        return cursor.rowcount if cursor.rowcount >= 0 else None

    @property
    def open_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}

    def end(self, why: str) -> None:
        """Cancel the statement; where the server does not follow, cut the connection."""
        self.ended = self.ended or why
        with contextlib.suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_CANCEL_GRACE_S)
        cut = threading.Timer(_CANCEL_GRACE_S, self._cut)
        cut.daemon = True
        cut.start()

    def _cut(self) -> None:
        if self._connection.closed or self._connection.info.transaction_status != TransactionStatus.ACTIVE:
            return
        with (
            contextlib.suppress(psycopg.Error, OSError),
            socket.socket(fileno=os.dup(self._connection.fileno())) as own,
        ):
            own.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "_SqlSession":
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        with contextlib.suppress(psycopg.Error):
            if self.open_transaction:
                self._connection.execute("ROLLBACK")
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


def _words(error: psycopg.Error) -> str:
    """The server's own words: message, detail and hint, without the position in the text."""
    diagnostic = error.diag
    parts = [diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint]
    return " ".join(part for part in parts if part) or str(error).strip() or type(error).__name__


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_STATEMENT else f"{text[:_LONGEST_STATEMENT]} ... ({len(text)} characters)"
