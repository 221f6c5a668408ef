"""Where a probe of MySQL connects to, and its connections."""

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CR
from pymysql.cursors import DictCursor

from replay.errors import first_line

PROBE_NAME = "replay probe"
# What a server, a wire or the driver can do to a query. The driver asserts what packets must look like.
TROUBLE = (pymysql.MySQLError, OSError, RuntimeError, ValueError, AssertionError)
_RETRY_S = 1.0
_READ_S = 5.0
_GRACE_S = 2.0  # for the server to give a statement up by itself
_WHO = "SELECT CONNECTION_ID() AS pid, VERSION() AS version, CONCAT(@@hostname, ':', @@port) AS server"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is, and who goes there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str | None
    written: str = field(repr=False)  # the password as the plan has it, percent-encoded

    @property
    def place(self) -> str:
        """Without who goes there: ``127.0.0.1:3306``."""
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``mysql://USER:PASSWORD@HOST:PORT/DATABASE``. Raises ValueError, which does not repeat the text."""
    try:
        parts = urlsplit(text)
    except ValueError:  # it quotes what stands in brackets, and a password may
        raise ValueError("has a [ or ] that is no IPv6 address: write % codes in the password") from None
    written = parts.password or ""
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or not parts.username:
        raise ValueError("is not of the form mysql://USER:PASSWORD@HOST:PORT/DATABASE")
    if parts.query or parts.fragment:
        raise ValueError("has options after the database, of which there are none")
    try:
        port = parts.port or 3306
    except ValueError as error:
        raise ValueError("has a port that is not a number") from error
    return Address(
        parts.hostname, port, unquote(parts.username), unquote(written), unquote(parts.path[1:]) or None, written
    )


@dataclass(frozen=True, slots=True)
class Version:
    """Whose server it is, and which: ``(10, 11, 19)``."""

    maria: bool
    number: tuple[int, int, int]


def parse_version(text: str) -> Version:
    """What ``VERSION()`` says. Raises ValueError."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text.removeprefix("5.5.5-"))
    if found is None:
        raise ValueError(f"the server says that it is of version {text!r}")
    return Version("mariadb" in text.lower(), (int(found[1]), int(found[2]), int(found[3])))


# The sessions of all sources of this process, by what their servers call themselves: not every server tells anybody
# else what a session is called.
_OURS: set[tuple[str, int]] = set()


class Source:
    """A connection that is made again after it broke, at most once a second.

    No answer takes much longer than ``patience_s``. Its session is in ``ours``: it is nobody's of the application.
    """

    def __init__(self, address: Address, name: str, *, patience_s: float = _READ_S) -> None:
        self._address = address
        self._name = f"{PROBE_NAME}: {name}"
        self._patience_s = patience_s
        self._connection: pymysql.Connection[DictCursor] | None = None
        self._session = ("", 0)
        self._again_at = 0.0
        self.version = Version(maria=False, number=(8, 0, 0))

    def connect(self) -> bool | None:
        """Whether a new connection was made; None where it is too early for another attempt. Raises TROUBLE."""
        if self._connection is not None:
            return False
        if time.monotonic() < self._again_at:
            return None
        self._again_at = time.monotonic() + _RETRY_S
        address = self._address
        self._connection = pymysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=address.database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=3,
            read_timeout=self._patience_s + _GRACE_S,
            write_timeout=self._patience_s + _GRACE_S,
            program_name=self._name,
            cursorclass=DictCursor,
        )
        row = self.rows(_WHO)[0]
        self._session = (str(row["server"]), int(row["pid"]))
        _OURS.add(self._session)
        self.version = parse_version(str(row["version"]))
        self.rows("SET SESSION lock_wait_timeout = 1")
        self.limit(None)
        return True

    def limit(self, limit_s: float | None) -> None:
        """Let the server give up each later statement after so long, at the latest after the patience."""
        limit_s = self._patience_s if limit_s is None else min(limit_s, self._patience_s)
        # Zero would be no limit at all.
        limit_ms = max(1, int(limit_s * 1000))
        limit = f"max_statement_time = {limit_ms / 1000}" if self.version.maria else f"max_execution_time = {limit_ms}"
        self.rows(f"SET SESSION {limit}")

    @property
    def ours(self) -> set[int]:
        """The numbers of all sessions on this server that are this process's."""
        return {pid for server, pid in tuple(_OURS) if server == self._session[0]}

    @property
    def server(self) -> str:
        """Whose server it is, and which: ``MariaDB 10.11.19``."""
        return f"{'MariaDB' if self.version.maria else 'MySQL'} {'.'.join(map(str, self.version.number))}"

    @property
    def lost(self) -> bool:
        """Whether there is no connection, or it has broken."""
        return self._connection is None or not self._connection.open

    @property
    def place(self) -> str:
        """Where it leads, without who goes there: ``127.0.0.1:3306``."""
        return self._address.place

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        """The rows of a query, with ``values`` for each %s. Raises TROUBLE."""
        if self._connection is None:
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, "not connected")
        with self._connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall())

    def close(self) -> None:
        """Close the connection. A server that has started anew gives its number to another."""
        _OURS.discard(self._session)
        if self._connection is not None:
            with contextlib.suppress(*TROUBLE):
                self._connection.close()
        self._connection = None


def said(error: BaseException) -> str:
    """The first line of what went wrong, in the server's or the driver's own words."""
    told = isinstance(error, pymysql.MySQLError) and len(error.args) > 1
    return first_line(error, str(error.args[1]) if told else None)


def is_refused(error: BaseException) -> bool:
    """Whether a query failed for want of a privilege."""
    return isinstance(error, pymysql.MySQLError) and bool(error.args) and error.args[0] in _REFUSED


def quoted_user(current: str) -> str:
    """``CURRENT_USER()`` as GRANT wants it: ``'probe'@'%'``."""
    user, _, host = current.rpartition("@")
    return f"'{user}'@'{host}'"


def value_in(row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these columns that a row has; versions differ in how they call them."""
    return next((row[name] for name in names if name in row), None)


_REFUSED = frozenset({1044, 1045, 1142, 1143, 1227})  # no access, no privilege of some kind
