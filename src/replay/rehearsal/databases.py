"""A plan's PostgreSQL databases while one arm is played: what is in them before and after it, and who uses them.

What cannot be read is said in what comes out, and never breaks an arm.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from replay.errors import first_line
from replay.evidence.values import CHANGE_DATA, WAIT, Mark
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.plan import Plan
from replay.rehearsal.probes.postgres import PostgresProbePlan, place_of
from replay.rehearsal.sessions import Session, limited
from replay.rehearsal.stage import digest, read_schema
from replay.rehearsal.steps.actions import Alembic, Django, Run
from replay.rehearsal.steps.plan import StepPlan
from replay.rehearsal.steps.runner import Step
from replay.rehearsal.tables import TableCount, count_tables
from replay.rehearsal.usage import Usage

_BEFORE_S, _AFTER_S = 5.0, 10.0  # for all databases together
_GRACE_S = 3.0
_MOST_CHANGES = 100
_JOIN_S = 6.0
_WHOLE = ("table", "view")
_NAMES = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)')
# The start of the server and the database's number tell whether two connection strings lead to the same one: nobody is
# kept from reading them, and a copy of the server has another start.
_IDENTITY = """
SELECT current_database()::text, d.oid::bigint, extract(epoch FROM pg_postmaster_start_time())::text
FROM pg_database d WHERE d.datname = current_database()
"""
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"

# Whatever the role's own are: rows are compared as texts. For one transaction: a pooler may stand between.
_SETTINGS = """
SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'; SET LOCAL jit = off; SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1
"""

Schema = frozenset[tuple[str, str, str]]


@dataclass
class _Database:
    """One database: who of the plan goes there, and what was seen of it."""

    dsn: str
    steps: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    replicas: list[str] = field(default_factory=list)
    name: str = ""
    oid: int | None = None
    started: str = ""
    system: str | None = None
    before: Schema | None = None
    after: Schema | None = None
    rows_before: dict[str, TableCount] = field(default_factory=dict)
    rows_after: dict[str, TableCount] = field(default_factory=dict)
    usage: Usage | None = None
    unread: list[str] = field(default_factory=list)

    @property
    def identity(self) -> object:
        """What two connection strings to the same database have in common."""
        return self.dsn if self.oid is None else (self.started, self.oid)


class ArmDatabases:
    """What is to be known of a plan's databases in one arm: ``begin``, ``start``, ``mark`` for each mark, ``end``.

    None of them raises. ``steps`` are all of the plan's, whether the arm plays them or not. Where there is traffic all
    of it is ``quick``: the application writes, so that the contents of large tables would tell nothing.
    """

    def __init__(self, plan: Plan, steps: Sequence[Step], *, quick: bool) -> None:
        self._quick = quick
        self._databases = _named_by(plan)
        self._named = {name for step in steps for statement in step.statements for name in _names_in(statement.text)}
        # A command does not say which tables it touches.
        self._all = not self._named or any(map(_changes_data, plan.steps))
        self._commands = {step.name for step in plan.steps if _is_command(step)}

    @property
    def named(self) -> bool:
        """Whether the plan names any."""
        return bool(self._databases)

    def begin(self) -> None:
        """Look at them before the arm, for 5 s at most."""
        until = time.monotonic() + _BEFORE_S
        for database in self._databases:

            def look(connection: Session, database: _Database = database) -> None:
                _identify(database, connection)
                database.before = frozenset(read_schema(connection))
                database.rows_before = self._count(connection, until)

            _read(database, "before the arm", _BEFORE_S, look)
        self._databases = _together(self._databases)

    def start(self, clock: ArmClock) -> None:
        """Watch from now on who uses them."""
        for database in self._databases:
            if database.oid is not None:
                database.usage = Usage(database.dsn, database.replicas, clock, bool(self._commands))
                database.usage.start()

    def mark(self, mark: Mark) -> None:
        """A step started or ended."""
        if not mark.step or mark.index or mark.kind == WAIT:
            return
        for database in self._databases:
            if database.usage is not None:
                database.usage.step(mark.step, begins=mark.event == "started", command=mark.step in self._commands)

    def end(self, scrub: Callable[[str], str], *, look: bool = True) -> list[dict[str, Any]]:
        """What was seen, as JSON, and another look at them, for 10 s at most, unless the arm was given up.

        ``scrub`` takes secrets out of what servers say.
        """
        for database in self._databases:
            if database.usage is not None:
                database.usage.stop(_JOIN_S)
        until = time.monotonic() + _AFTER_S
        for database in self._databases if look else ():
            if database.before is None:
                continue

            def look_again(connection: Session, database: _Database = database) -> None:
                database.after = frozenset(read_schema(connection))
                database.rows_after = self._count(connection, until)

            _read(database, "after the arm", _AFTER_S, look_again)
        return [_to_json(database, scrub) for database in self._databases]

    def _count(self, connection: Session, until: float) -> dict[str, TableCount]:
        return count_tables(connection, self._named, others=self._all, quick=self._quick, until=until)


def _read(database: _Database, when: str, limit_s: float, look: Callable[[Session], None]) -> None:
    """Look at a database; what goes wrong is noted, and a server that says nothing is left alone."""
    try:
        with (
            limited(database.dsn, limit_s + _GRACE_S, "replay databases", connect_limit_s=3) as session,
            session.transaction(),
        ):
            session.execute(_SETTINGS)
            look(session)
    except (psycopg.Error, OSError, ValueError) as error:
        database.unread.append(f"{when}: {first_line(error)}")


def _named_by(plan: Plan) -> list[_Database]:
    """The databases that the steps and the probes of a plan name, each connection string once."""
    found: dict[str, _Database] = {}
    for step in plan.steps:
        if step.dsn is not None:
            found.setdefault(step.dsn.value, _Database(step.dsn.value)).steps.append(step.name)
    for probe in plan.probes:
        if isinstance(probe, PostgresProbePlan):
            database = found.setdefault(probe.dsn.value, _Database(probe.dsn.value))
            database.probes.append(probe.name)
            database.replicas += [replica.value for replica in probe.replicas]
    return list(found.values())


def _together(databases: Iterable[_Database]) -> list[_Database]:
    """Those that are the same one by another connection string as one."""
    found: dict[object, _Database] = {}
    for database in databases:
        first = found.setdefault(database.identity, database)
        if first is not database:
            first.steps += database.steps
            first.probes += database.probes
            first.replicas += [one for one in database.replicas if one not in first.replicas]
    return list(found.values())


def _identify(database: _Database, connection: Session) -> None:
    name, oid, started = connection.execute(_IDENTITY.encode()).fetchall()[0]
    database.name, database.oid, database.started = str(name), int(oid), str(started)
    with contextlib.suppress(psycopg.Error), connection.transaction():
        database.system = str(connection.execute(_SYSTEM.encode()).fetchall()[0][0])


def _is_command(step: StepPlan) -> bool:
    return isinstance(step.action, (Run, Alembic, Django))


def _changes_data(step: StepPlan) -> bool:
    return _is_command(step) and step.kind in CHANGE_DATA


def _names_in(sql: str) -> Iterable[str]:
    """The names in an SQL text, as the server folds them, and much that is none."""
    for quoted, plain in _NAMES.findall(sql):
        yield quoted.replace('""', '"') if quoted else plain.lower()


def _to_json(database: _Database, scrub: Callable[[str], str]) -> dict[str, Any]:
    before, after = database.before, database.after
    values = conninfo_to_dict(database.dsn)
    changes = [] if before is None or after is None else _changes(before, after)
    usage = database.usage
    names = sorted({*database.rows_before, *database.rows_after})
    return {
        "name": database.name or str(values.get("dbname") or ""),
        "place": place_of(database.dsn),
        "oid": database.oid,
        "system_identifier": database.system,
        "steps": database.steps,
        "probes": database.probes,
        "schema": None if before is None else digest(sorted(before)),
        "schema_after": None if after is None else digest(sorted(after)),
        "changes": changes[:_MOST_CHANGES],
        "seen": None if usage is None else usage.to_json(),
        "tables": [
            _table(name, database.rows_before.get(name), database.rows_after.get(name), looked=after is not None)
            for name in names
        ],
        "unread": [scrub(text) for text in (*database.unread, *(usage.unread if usage else ()))],
    }


def _table(name: str, before: TableCount | None, after: TableCount | None, *, looked: bool) -> dict[str, Any]:
    told = [f"before: {before.uncounted}"] if before is not None and before.uncounted else []
    told += [f"after: {after.uncounted}"] if after is not None and after.uncounted else []
    gone = ["after: it is gone"] if looked and after is None else []
    return {
        "table": name,
        "rows": None if before is None else before.rows,
        "rows_after": None if after is None else after.rows,
        "checksum": None if before is None else before.checksum,
        "checksum_after": None if after is None else after.checksum,
        "uncounted": "; ".join([*told, *gone]),
    }


def _changes(before: Schema, after: Schema) -> list[str]:
    """What came, went or changed, in words; of a table or view that came or went nothing else."""
    had, has = ({(kind, name): text for kind, name, text in schema} for schema in (before, after))
    whole = {name for kind, name in {*had} ^ {*has} if kind in _WHOLE}
    told = []
    for kind, name in sorted({*had, *has}):
        if kind not in _WHOLE and name.rpartition(".")[0] in whole:
            continue
        if (kind, name) not in had:
            told.append(f"{kind} {name} came")
        elif (kind, name) not in has:
            told.append(f"{kind} {name} went")
        elif had[kind, name] != has[kind, name]:
            told.append(f"{kind} {name} changed")
    return told
