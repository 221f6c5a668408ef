"""One replica's distance from its primary."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.rehearsal.probes.lag import LagHistory
from replay.rehearsal.probes.mysql.queries import position_query, replica_query
from replay.rehearsal.probes.mysql.source import TROUBLE, Source, is_refused, quoted_user, said, value_in
from replay.rehearsal.probes.readings import Readings
from replay.rehearsal.secrets import Scrubber

_FILE = re.compile(r"(.*)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the binary log of a server."""

    server: int
    file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Status:
    """One connection of a replica: what it has applied, how many whole seconds it is behind, and why it stands still.

    ``behind_s`` is None where the server knows none.
    """

    applied: Position
    behind_s: float | None
    stopped: str | None


def status_of(row: Mapping[str, Any]) -> Status:
    """A connection from a row of ``SHOW REPLICA STATUS``, or of what it was called before."""
    position = Position(
        int(value_in(row, "Source_Server_Id", "Master_Server_Id") or 0),
        str(value_in(row, "Relay_Source_Log_File", "Relay_Master_Log_File") or ""),
        int(value_in(row, "Exec_Source_Log_Pos", "Exec_Master_Log_Pos") or 0),
    )
    behind = value_in(row, "Seconds_Behind_Source", "Seconds_Behind_Master")
    return Status(position, None if behind is None else float(behind), _stopped(row))


def _stopped(row: Mapping[str, Any]) -> str | None:
    for thread, state, error in (
        ("applies", value_in(row, "Replica_SQL_Running", "Slave_SQL_Running"), row.get("Last_SQL_Error")),
        ("fetches", value_in(row, "Replica_IO_Running", "Slave_IO_Running"), row.get("Last_IO_Error")),
    ):
        if state != "Yes":
            return f"replication does not run: the thread that {thread} says {state}{f', {error}' if error else ''}"
    return None


def chosen(statuses: Sequence[Status], primary: int | None) -> Status:
    """The connection to this primary, or else the one that is furthest behind. There must be one."""
    mine = [one for one in statuses if primary is not None and one.applied.server == primary]
    return max(mine or statuses, key=lambda one: (one.stopped is not None, one.behind_s or 0.0))


def number_of(position: Position) -> tuple[str, int] | None:
    """The name of a log and a number that grows along it, or None where its file has no number."""
    found = _FILE.fullmatch(position.file)
    return (found[1], (int(found[2]) << 40) + position.offset) if found else None


def comparable(primary: Position | None, applied: Position) -> tuple[int, int] | None:
    """Both as numbers, where they are of the same log: that of the primary itself."""
    if primary is None or primary.server != applied.server:
        return None
    there, here = number_of(primary), number_of(applied)
    return (there[1], here[1]) if there and here and there[0] == here[0] else None


class Replica:
    """Reads one replica and its primary."""

    def __init__(self, primary: Source, replica: Source, readings: Readings, scrub: Scrubber) -> None:
        self._name = replica.place
        self._primary = primary
        self._replica = replica
        self._readings = readings
        self._scrub = scrub
        self._history = LagHistory()
        self._said: set[str] = set()  # at the last look, and at this one
        self._saying: set[str] = set()

    def sample(self) -> None:
        """One look. The primary first: the replica may then be ahead of it, which is no lag, never seem behind."""
        self._said, self._saying = self._saying, set()
        try:
            position = self._look_at_primary()
            at_s = self._readings.now_s
            if self._replica.connect() is None:
                return
            rows = self._replica.rows(replica_query(self._replica.version))
        except TROUBLE as error:
            self._trouble(self._replica, error, "SLAVE MONITOR")
            return
        if not rows:
            self._complain("this server is not a replica")
            return
        status = chosen([status_of(row) for row in rows], position.server if position else None)
        if status.stopped:
            self._complain(status.stopped)
        both = comparable(position, status.applied)
        if both is not None:
            _, seconds = self._history.lag(at_s, *both)
            self._readings.add("replica_lag_s", seconds, {"replica": self._name}, at_s)
        elif status.behind_s is not None:
            self._readings.add("replica_lag_s", status.behind_s, {"replica": self._name, "whole_seconds": True}, at_s)

    def end(self) -> None:
        """Close all."""
        self._primary.close()
        self._replica.close()
        self._readings.close()

    def _look_at_primary(self) -> Position | None:
        """Where its log ends, None where it cannot be read: the replica's own count of seconds then serves."""
        try:
            if self._primary.connect() is None:
                return None
            query = position_query(self._primary.version)
            rows = self._primary.rows(query)
            server = int(self._primary.rows("SELECT @@server_id AS id")[0]["id"])
        except TROUBLE as error:
            self._trouble(self._primary, error, "BINLOG MONITOR")
            return None
        return Position(server, str(rows[0]["File"]), int(rows[0]["Position"])) if rows else None

    def _complain(self, error: str) -> None:
        """Say it, unless it was said at the last look."""
        self._saying.add(error)
        if error not in self._said:
            self._readings.failed(self._scrub(error), replica=self._name)

    def _trouble(self, source: Source, error: BaseException, maria: str) -> None:
        """Say what went wrong, with the privilege that is missing where it is that; the connection is then kept."""
        if is_refused(error):
            try:
                user = quoted_user(str(source.rows("SELECT CURRENT_USER() AS user")[0]["user"]))
            except TROUBLE:
                pass  # it did not even get in
            else:
                privilege = maria if source.version.maria else "REPLICATION CLIENT"
                self._complain(f"{user} may not see the replication: GRANT {privilege} ON *.* TO {user}")
                return
        source.close()
        self._complain(said(error))
