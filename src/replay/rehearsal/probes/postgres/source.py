"""A connection to a server, kept up."""

import contextlib
import time
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from replay.rehearsal.sessions import ENCODING

_PROBE_NAME = "replay probe"
_RETRY_S = 1.0
# Stands in every query of ours that is asked during an arm. pg_stat_statements keeps it with the text, so that what
# watching costs is not shown as what the application's queries do.
OURS = "/* replay watches */"


def place_of(dsn: str) -> str:
    """Where a connection string leads, without who goes there: ``127.0.0.1:5432``."""
    values = conninfo_to_dict(dsn)
    return f"{values.get('host') or values.get('hostaddr') or 'local socket'}:{values.get('port') or 5432}"


class Source:
    """A connection that is made again after it broke, at most once a second."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn = dsn
        self._name = f"{_PROBE_NAME}: {name}"
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._again_at = 0.0

    def connect(self) -> bool | None:
        """Whether a new connection was made; None where it is too early for another attempt. Raises psycopg.Error."""
        if self._connection is not None:
            return False
        if time.monotonic() < self._again_at:
            return None
        self._again_at = time.monotonic() + _RETRY_S
        self._connection = psycopg.connect(
            self._dsn,
            autocommit=True,
            application_name=self._name,
            connect_timeout=3,
            client_encoding=ENCODING,
            row_factory=dict_row,
        )
        self._connection.execute(
            f"SET statement_timeout = '5s' {OURS}; SET lock_timeout = '1s' {OURS}; SET jit = off {OURS}".encode()
        )
        return True

    @property
    def version(self) -> int:
        """The server's version, such as 180001."""
        return self._connection.info.server_version if self._connection else 0

    @property
    def open(self) -> bool:
        """Whether there is a connection that has not broken."""
        return self._connection is not None and not self._connection.closed

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """The rows of a query. Raises psycopg.Error."""
        if self._connection is None:
            raise psycopg.OperationalError("not connected")
        return self._connection.execute(f"{query.rstrip()} {OURS}".encode(), values or None).fetchall()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
