"""Sessions with a database that are waited for no longer than a limit, whatever the server does meanwhile."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg

# Of a database without one (SQL_ASCII) texts would come as bytes.
ENCODING = "utf8"
Session = psycopg.Connection[tuple[Any, ...]]


@contextlib.contextmanager
def limited(dsn: str, limit_s: float, name: str, *, connect_limit_s: int = 5) -> Iterator[Session]:
    """A session in autocommit that is cut after ``limit_s`` seconds. ``name`` is how the server shows it.

    Limits of the server's own (``statement_timeout``) are for whoever asks: a server that was frozen keeps none.
    Raises psycopg.Error.
    """
    cut = threading.Event()
    with psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=connect_limit_s,
        application_name=name,
        prepare_threshold=None,
        client_encoding=ENCODING,
    ) as session:
        descriptor = session.fileno()

        def end() -> None:
            cut.set()
            sever(descriptor)

        limit = threading.Timer(limit_s, end)
        limit.daemon = True
        limit.start()
        try:
            yield session
        except psycopg.Error as error:
            if cut.is_set():
                raise psycopg.OperationalError(f"no answer within {limit_s:g} s") from error
            raise
        finally:
            limit.cancel()


def sever(descriptor: int) -> None:
    """Cut the connection of a socket that another thread may be waiting for."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as own:
        own.shutdown(socket.SHUT_RDWR)
