"""Sending a statement whose rows nobody wants: they are passed over as they come, and never lie in memory."""

import select

import psycopg
from psycopg import capabilities
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_AT_ONCE = 1000
_STREAMS = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)


def send(connection: psycopg.Connection, text: str) -> int | None:
    """Send one statement by the simple protocol; how many rows it gave or touched, where it says so.

    Raises psycopg.Error.
    """
    raw = connection.pgconn
    raw.send_query(text.encode())
    if capabilities.has_stream_chunked():
        raw.set_chunked_rows_mode(_AT_ONCE)
    else:
        raw.set_single_row_mode()
    rows: int | None = None
    failed: PGresult | None = None
    while (result := _next(raw)) is not None:
        if result.status in _STREAMS:
            connection.close()
            raise psycopg.ProgrammingError("a COPY that nobody expected here")
        if result.status == ExecStatus.FATAL_ERROR:
            failed = result
        if result.command_tuples is not None:  # an empty piece may follow the last one
            rows = result.command_tuples
    if failed is not None:
        raise error_from_result(failed, encoding=connection.info.encoding)
    return rows


def _next(raw: PGconn) -> PGresult | None:
    """The next piece of the answer, None at its end."""
    writes = select.POLLOUT if raw.flush() else 0
    while writes or raw.is_busy():
        waiting = select.poll()
        waiting.register(raw.socket, select.POLLIN | writes)
        if any(event & ~select.POLLOUT for _, event in waiting.poll()):
            raw.consume_input()
        writes = select.POLLOUT if raw.flush() else 0
    return raw.get_result()
