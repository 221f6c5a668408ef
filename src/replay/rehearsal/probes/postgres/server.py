"""The server's counters, more rarely than its sessions, and what it had at the arm's start and end."""

import psycopg
from psycopg import errors

from replay.errors import first_line
from replay.rehearsal.probes.postgres import counters
from replay.rehearsal.probes.postgres.source import Source
from replay.rehearsal.probes.postgres.statements import Statements
from replay.rehearsal.probes.readings import Readings
from replay.rehearsal.secrets import Scrubber

# What will not be otherwise at the next look.
_FOR_GOOD = (
    errors.InsufficientPrivilege,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.FeatureNotSupported,
    errors.ObjectNotInPrerequisiteState,
)


class Server:
    """Counters, sizes, indexes and statements of one database. Each that cannot be read is said once."""

    def __init__(self, dsn: str, name: str, readings: Readings, scrub: Scrubber) -> None:
        self._source = Source(dsn, name)
        self._readings = readings
        self._scrub = scrub
        self._statements = Statements(self._source, scrub)
        self._said: set[str] = set()
        self._given_up: set[str] = set()
        self._begun = False

    def sample(self) -> None:
        """One look at the counters; at the first, also at what is compared with the end."""
        try:
            if self._source.connect() is None:
                return
            if not self._begun:
                self._begun = True
                self._look_around("start")
            for what, query in counters.COUNTERS:
                self._read(what, query(self._source.version))
        except psycopg.Error as error:
            self._source.close()
            self._readings.failed(self._scrub(first_line(error)))

    def end(self) -> None:
        """Read what the arm left, and close all."""
        try:
            if self._begun and (self._source.open or self._source.connect()):
                self._look_around("end")
        except psycopg.Error as error:
            self._readings.failed(self._scrub(first_line(error)))
        finally:
            self._source.close()
            self._readings.close()

    def _look_around(self, moment: str) -> None:
        try:
            if moment == "start":
                self._statements.begin()
            else:
                for seconds, detail in self._statements.end():
                    self._readings.add("statement_s", seconds, detail)
        except psycopg.Error as error:
            self._cannot("statements", error)
        self._read("sizes", counters.SIZES, moment=moment)
        self._read("indexes", counters.INVALID_INDEXES, moment=moment)

    def _read(self, what: str, query: str, **detail: str) -> None:
        """Add a reading for each row (``metric``, ``value``, ``detail``) of a query."""
        if what in self._given_up:
            return
        try:
            rows = self._source.rows(query)
        except psycopg.Error as error:
            self._cannot(what, error)
            return
        at_s = self._readings.now_s
        for row in rows:
            # What the arm began with is read shortly before its start.
            added_s = max(0.0, at_s) if detail else at_s
            self._readings.add(row["metric"], row["value"], {**(row["detail"] or {}), **detail}, added_s)

    def _cannot(self, what: str, error: psycopg.Error) -> None:
        """Say it the first time. Raises the error where the connection has broken."""
        if not self._source.open:
            raise error
        if isinstance(error, _FOR_GOOD):
            self._given_up.add(what)
        if what not in self._said:
            self._said.add(what)
            self._readings.failed(self._scrub(f"{what}: {first_line(error)}{_hint(what, error)}"))


def _hint(what: str, error: psycopg.Error) -> str:
    if not isinstance(error, errors.InsufficientPrivilege):
        return ""
    if what == "statements":
        return ": GRANT USAGE on its schema, and SELECT on pg_stat_statements, to the probe's role"
    return ": GRANT pg_monitor to the probe's role"
