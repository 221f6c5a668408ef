"""A step that sends SQL: statement by statement through one session, each with its marks."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus

from replay.rehearsal.commands import Output
from replay.rehearsal.sessions import ENCODING, sever
from replay.rehearsal.steps.job import Bench
from replay.rehearsal.steps.passing import send
from replay.rehearsal.steps.psql import Script
from replay.rehearsal.steps.sql import Statement
from replay.rehearsal.table import Dsn

_LONGEST_STATEMENT = 4_000  # of a mark; the whole file stands in rehearsal.json
_CANCEL_GRACE_S = 5.0
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class SqlWork:
    """A script to be sent to a database."""

    dsn: Dsn
    script: Script

    @property
    def told(self) -> str:
        """What it would do."""
        count, files = len(self.script.statements), len(self.script.files)
        return f"{count} statement{'s' * (count != 1)}" + (f" of {files} files" if files > 1 else "")

    def job(self, bench: Bench) -> "SqlJob":
        """Begin nothing yet."""
        return SqlJob(self, bench)


class SqlJob:
    """A script being sent. The first statement that fails ends it."""

    def __init__(self, work: SqlWork, bench: Bench) -> None:
        self._work = work
        self._bench = bench
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._why = ""

    def do(self) -> str:
        """Send it. Why it failed, or an empty text."""
        plan = self._bench.plan
        try:
            session = _Session(self._work.dsn.value, plan.session_name, plan.timeout_s, self._bench.write)
        except psycopg.Error as error:
            return f"no connection: {_words(error)}"
        with session:
            with self._lock:
                self._session = session
            if self._why:
                session.end(self._why)
            session.begin()
            return self._send(session)

    def end(self, why: str) -> None:
        """Cancel the statement that runs, and send no other."""
        with self._lock:
            self._why = self._why or why
            session = self._session
        if session is not None:
            session.end(why)

    def _send(self, session: "_Session") -> str:
        bench, script = self._bench, self._work.script
        said = list(script.said)
        for index, statement in enumerate(script.statements, 1):
            while said and said[0][0] < index:
                bench.write(said.pop(0)[1])
            text = bench.scrub(_shown(statement))
            bench.record("started", index, text)
            bench.write(f"{index}: {text}")
            try:
                rows = session.execute(statement)
            except (psycopg.Error, OSError) as error:
                words = bench.scrub(session.ended or _words(error))
                bench.record(bench.failed(), index, text, error=words)
                bench.write(words)
                return f"statement {index} ({statement.place}) failed: {words}"
            bench.record("ended", index, text, rows=rows)
        for _, words in said:
            bench.write(words)
        return "the file ends inside a transaction, which was rolled back" if session.open_transaction else ""


class _Session:
    """One connection, in autocommit: a file's own BEGIN and COMMIT are what makes transactions."""

    def __init__(self, dsn: str, name: str, timeout_s: float, write: Callable[[str], None]) -> None:
        self.ended = ""
        self._connection = psycopg.connect(
            dsn, autocommit=True, application_name=name, connect_timeout=10, client_encoding=ENCODING
        )
        self._said = Output(write)
        self._connection.add_notice_handler(
            lambda notice: self._said.add(f"{notice.severity}: {notice.message_primary}\n".encode())
        )
        limit = f"cancelled at the step's limit of {timeout_s:g} s"
        self._limit = threading.Timer(timeout_s, self.end, (limit,))
        self._limit.daemon = True
        self._limit.start()

    def begin(self) -> None:
        """Ask the server to look after us: should this process be killed, it notices in seconds, not at the end."""
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("SET client_connection_check_interval = '2s'")

    def execute(self, statement: Statement) -> int | None:
        """Send one statement by the simple protocol; how many rows it touched, where it says so.

        The rows that a COPY hands out go where notices go.
        """
        if self.ended:
            raise psycopg.errors.QueryCanceled(self.ended)
        if statement.data is None and not statement.hands_out:
            return send(self._connection, statement.text)
        cursor = self._connection.cursor()
        if statement.hands_out:
            with cursor.copy(statement.text.encode()) as copy:
                for rows in copy:
                    self._said.add(bytes(rows))
        elif statement.data is not None:
            with cursor.copy(statement.text.encode()) as copy:
                for chunk in _chunks(statement.data):
                    copy.write(chunk)
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
        with contextlib.suppress(psycopg.Error):
            if self._connection.info.transaction_status == TransactionStatus.ACTIVE:
                sever(self._connection.fileno())

    def __enter__(self) -> "_Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        with contextlib.suppress(psycopg.Error):
            if self.open_transaction:
                self._connection.execute("ROLLBACK")
        with contextlib.suppress(psycopg.Error):
            self._connection.close()
        self._said.end()


def _chunks(data: str | Path) -> Iterator[bytes]:
    """The rows of a COPY. Raises OSError where their file cannot be read."""
    if isinstance(data, str):
        for at in range(0, len(data), _AT_ONCE):
            yield data[at : at + _AT_ONCE].encode()
        return
    with data.open("rb") as file:
        while chunk := file.read(_AT_ONCE):
            yield chunk


def _words(error: Exception) -> str:
    """The server's own words: message, detail and hint, without the position in the text."""
    if not isinstance(error, psycopg.Error):
        return str(error)
    diagnostic = error.diag
    parts = [diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint]
    return " ".join(part for part in parts if part) or str(error).strip() or type(error).__name__


def _shown(statement: Statement) -> str:
    text = statement.text
    if len(text) > _LONGEST_STATEMENT:
        text = f"{text[:_LONGEST_STATEMENT]} ... ({len(text)} characters)"
    return f"{text} /* {statement.place} */" if statement.file else text
