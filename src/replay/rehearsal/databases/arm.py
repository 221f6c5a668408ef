"""A plan's databases while one arm is played: what is in them before and after it, and who uses them.

What cannot be read is said in what comes out, and never breaks an arm.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.evidence.values import CHANGE_DATA, WAIT, Mark
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.databases.database import TROUBLE, Database, Identity, Part, Reading, said
from replay.rehearsal.databases.fingerprint import digest
from replay.rehearsal.databases.named import databases_of
from replay.rehearsal.databases.tables import TableCount, count_tables
from replay.rehearsal.databases.usage import Usage
from replay.rehearsal.plan import Plan
from replay.rehearsal.steps.actions import Alembic, Django, Run
from replay.rehearsal.steps.plan import StepPlan
from replay.rehearsal.steps.runner import Step

_BEFORE_S, _AFTER_S = 5.0, 10.0  # for all databases together
_MOST_CHANGES = 100
_JOIN_S = 6.0
_WHOLE = ("table", "view")
_NAMES = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)')

Schema = frozenset[Part]


@dataclass
class _Database:
    """One database: who of the plan goes there, and what was seen of it."""

    database: Database
    steps: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    replicas: list[Database] = field(default_factory=list)
    identity: Identity | None = None
    before: Schema | None = None
    after: Schema | None = None
    rows_before: dict[str, TableCount] = field(default_factory=dict)
    rows_after: dict[str, TableCount] = field(default_factory=dict)
    usage: Usage | None = None
    unread: list[str] = field(default_factory=list)

    @property
    def key(self) -> object:
        """What two ways to the same database have in common."""
        return self.database if self.identity is None else self.identity.key


class ArmDatabases:
    """What is to be known of a plan's databases in one arm: ``begin``, ``start``, ``mark`` for each mark, ``end``.

    None of them raises. ``steps`` are all of the plan's, whether the arm plays them or not. Where there is traffic all
    of it is ``quick``: the application writes, so that the contents of large tables would tell nothing.
    """

    def __init__(self, plan: Plan, steps: Sequence[Step], *, quick: bool) -> None:
        self._quick = quick
        self._databases = [
            _Database(one.database, list(one.steps), list(one.probes), list(one.replicas)) for one in databases_of(plan)
        ]
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

            def look(reading: Reading, database: _Database = database) -> None:
                database.identity = reading.identity()
                database.before = frozenset(reading.schema())
                database.rows_before = self._count(reading, until)

            _read(database, "before the arm", _BEFORE_S, look)
        self._databases = _together(self._databases)

    def start(self, clock: ArmClock) -> None:
        """Watch from now on who uses them."""
        for database in self._databases:
            if database.identity is not None:
                database.usage = Usage(database.database, database.replicas, clock, bool(self._commands))
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

            def look_again(reading: Reading, database: _Database = database) -> None:
                database.after = frozenset(reading.schema())
                database.rows_after = self._count(reading, until)

            _read(database, "after the arm", _AFTER_S, look_again)
        return [_to_json(database, scrub) for database in self._databases]

    def _count(self, reading: Reading, until: float) -> dict[str, TableCount]:
        return count_tables(reading, self._named, others=self._all, quick=self._quick, until=until)


def _read(database: _Database, when: str, limit_s: float, look: Callable[[Reading], None]) -> None:
    """Look at a database; what goes wrong is noted, and a server that says nothing is left alone."""
    try:
        with database.database.read(limit_s) as reading:
            look(reading)
    except TROUBLE as error:
        database.unread.append(f"{when}: {said(error)}")


def _together(databases: Iterable[_Database]) -> list[_Database]:
    """Those that are the same one by another way as one."""
    found: dict[object, _Database] = {}
    for database in databases:
        first = found.setdefault(database.key, database)
        if first is not database:
            first.steps += database.steps
            first.probes += database.probes
            first.replicas += [one for one in database.replicas if one not in first.replicas]
    return list(found.values())


def _is_command(step: StepPlan) -> bool:
    return isinstance(step.action, (Run, Alembic, Django))


def _changes_data(step: StepPlan) -> bool:
    return _is_command(step) and step.kind in CHANGE_DATA


def _names_in(sql: str) -> Iterable[str]:
    """The names in an SQL text, as the server folds them, and much that is none."""
    for quoted, plain in _NAMES.findall(sql):
        yield quoted.replace('""', '"') if quoted else plain.lower()


def _to_json(database: _Database, scrub: Callable[[str], str]) -> dict[str, Any]:
    before, after, identity = database.before, database.after, database.identity
    changes = [] if before is None or after is None else _changes(before, after)
    usage = database.usage
    names = sorted({*database.rows_before, *database.rows_after})
    return {
        "name": database.database.name if identity is None else identity.name,
        "place": database.database.place,
        "oid": None if identity is None else identity.oid,
        "system_identifier": None if identity is None else identity.system,
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
