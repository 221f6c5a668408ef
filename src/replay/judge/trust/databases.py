"""What a rehearsal noted of its databases, and whether the steps met the one that the application uses.

``stage.databases`` of ``rehearsal.json`` has it, by arm; its keys are described in docs/files.md.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.values import CHANGE_DATA, QUIET, WAIT
from replay.judge.criteria import Criteria
from replay.judge.effects.noise import merge
from replay.judge.findings import UNPROVEN, Check, evidence_check
from replay.judge.phases import Span, step_spans
from replay.judge.trust.bystanders import Look, follows_traffic

LOOKED_AT = ("postgres", "mysql")
"""The kinds of probes whose databases are looked at."""
_COMMANDS = ("run", "alembic", "django")
FEWEST_LOOKS = 2
_MOMENT_S = 0.5  # a shorter time outside the steps may only be a look that came late
_EARLY_S, _LATE_S = 0.3, 2.0  # around a step; a session's counts reach the server's somewhat late
_HINT = "See that the step goes to the database that Stage's application is configured with, then rehearse again."
_UNSEEN_HINT = (
    "Give the plan a probe of kind postgres or mysql with the dsn of the application's database, or an SQL step that "
    "dsn, then rehearse again; let a MySQL or MariaDB count who uses its tables (performance_schema, userstat). Where "
    "the application keeps its data in something else (SQLite), make sure where the steps go, and set unseen_steps = "
    "true in [criteria]."
)
_ACCEPTED = "; unseen_steps = true accepts that"
_NO_DATABASE = "the plan names no database that is looked at, neither as a step's dsn nor as a probe's"


@dataclass(frozen=True, slots=True)
class Table:
    """A table before and after an arm: rows, and a checksum over them; None where it was not read."""

    name: str
    rows: int | None
    rows_after: int | None
    checksum: str | None
    checksum_after: str | None
    uncounted: str


@dataclass(frozen=True, slots=True)
class Database:
    """One database in one arm: which steps and probes go there, what it was before and after, and who used it.

    ``changes`` are what differs in its schema, in words. ``touched``, ``written`` and ``sessions`` are when its tables
    were read or written, were written, and when sessions that are not ours were at work; ``looks`` how much moved in
    each of the times between two looks. ``commands`` are, for each
    step with a command, how many sessions came up while it ran and whether the schema is the "same" or has "changed"
    (None: not seen).
    """

    name: str
    place: str
    steps: tuple[str, ...]
    probes: tuple[str, ...]
    schema: str | None
    schema_after: str | None
    changes: tuple[str, ...]
    samples: int
    counts: bool
    touched: tuple[tuple[float, float], ...]
    written: tuple[tuple[float, float], ...]
    sessions: tuple[tuple[float, float], ...]
    looks: tuple[Look, ...]
    commands: dict[str, tuple[int | None, str | None]]
    tables: tuple[Table, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.place})"


def databases_of(evidence: Evidence, arm: str) -> tuple[Database, ...]:
    """The databases of an arm, as far as they were noted, and as they should be."""
    return noted_databases(evidence, arm)[0]


def noted_databases(evidence: Evidence, arm: str) -> tuple[tuple[Database, ...], bool]:
    """The databases of an arm, and whether what is noted of them is damaged."""
    stage = evidence.rehearsal.get("stage")
    noted = stage.get("databases") if isinstance(stage, dict) else None
    listed = noted.get(arm) if isinstance(noted, dict) else noted
    if listed is None:
        return (), False
    try:
        return tuple(_database(one) for one in listed), False
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return (), True


def _database(noted: dict[str, Any]) -> Database:
    seen = noted["seen"] or {}
    return Database(
        name=str(noted["name"]),
        place=str(noted["place"]),
        steps=tuple(map(str, noted["steps"])),
        probes=tuple(map(str, noted["probes"])),
        schema=_text(noted["schema"]),
        schema_after=_text(noted["schema_after"]),
        changes=tuple(map(str, noted["changes"])),
        samples=int(seen.get("samples", 0)),
        counts=bool(seen.get("counts")),
        touched=_spells(seen.get("touched", ())),
        written=_spells(seen.get("written", ())),
        sessions=_spells(seen.get("sessions", ())),
        looks=tuple(_look(one, counts=bool(seen.get("counts"))) for one in seen.get("looks", ())),
        commands={
            str(step): (_whole(told["sessions"]), _text(told["schema"]))
            for step, told in seen.get("commands", {}).items()
        },
        tables=tuple(
            Table(
                str(table["table"]),
                _whole(table["rows"]),
                _whole(table["rows_after"]),
                _text(table["checksum"]),
                _text(table["checksum_after"]),
                str(table["uncounted"]),
            )
            for table in noted["tables"]
        ),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _look(noted: Any, *, counts: bool) -> Look:
    """A look: what the server counts, or where it does not, the sessions at work."""
    from_s, to_s, moved, sessions = map(float, noted)
    if not all(map(math.isfinite, (from_s, to_s, moved, sessions))):
        raise ValueError("a look is no number")
    return from_s, to_s, moved if counts else sessions


def _spells(pairs: Iterable[Any]) -> tuple[tuple[float, float], ...]:
    spells = tuple((float(from_s), float(to_s)) for from_s, to_s in pairs)
    if not all(math.isfinite(moment) for spell in spells for moment in spell):
        raise ValueError("a moment is no number")
    return spells


def around(spans: Iterable[Span], end_s: float) -> list[tuple[float, float]]:
    """The times at which what moves in a database may be the doing of these steps."""
    return merge([(span.started_s - _EARLY_S, span.end_s(end_s) + _LATE_S) for span in spans])


def outside(spells: Iterable[tuple[float, float]], windows: list[tuple[float, float]]) -> bool:
    """Whether spells reach out of the windows, by more than a moment in all."""
    total_s = 0.0
    for from_s, to_s in spells:
        within_s = sum(max(0.0, min(to_s, end) - max(from_s, start)) for start, end in windows)
        total_s += max(0.0, to_s - from_s) - within_s
    return total_s >= _MOMENT_S


def check_steps_seen(evidence: Evidence, arm: ArmEvidence, criteria: Criteria) -> Check:
    """Whether each step of an arm ran in the database that the application used meanwhile."""
    asked = _Asked(evidence, arm)
    unknown, wrong, seen = [], [], 0
    for span in asked.spans:
        if span.failed or span.ended_s is None:
            continue  # other criteria are about these
        told = asked.tell(span)
        seen += told == ""
        if told is None:
            unknown.append(span.step)
        elif told:
            wrong.append(told)
    name = arm.info.arm
    if asked.damaged:
        wrong = [f"What rehearsal.json notes of the databases of {name} cannot be read."]
    accepted = bool(criteria.unseen_steps)
    if wrong:
        sentence = " ".join(wrong)
    elif unknown:
        sentence = f"In {name} it could not be seen whether {', '.join(map(repr, unknown))} met the application's "
        sentence += f"database ({asked.why}){_ACCEPTED if accepted else ''}."
    elif seen:
        places = ", ".join(sorted({str(one) for one in asked.databases if one.steps or one.probes}))
        sentence = f"The steps of {name} ran in the database that the application used meanwhile: {places}."
    else:
        sentence = f"No step of {name} changes data, as far as the plan says."
    return evidence_check(
        "steps_seen",
        passed=not wrong and (accepted or not unknown),
        workload=arm.info.workload,
        limit=float(len(asked.spans)),
        observed=float(seen),
        well=sentence,
        wrong=sentence,
        hint=_HINT if wrong else _UNSEEN_HINT,
        voids=UNPROVEN,
    )


def unseen_accepted(checks: Iterable[Check]) -> list[str]:
    """What a GO has to say of steps that nobody saw: the sentences of checks that passed by ``unseen_steps`` alone."""
    seen = [check for check in checks if check.name == "steps_seen" and check.passed]
    return [check.sentence for check in seen if _ACCEPTED in check.sentence]


class _Asked:
    """An arm, asked of one step after the other. ``why`` says, in words, what kept a step from being seen."""

    def __init__(self, evidence: Evidence, arm: ArmEvidence) -> None:
        self.databases, self.damaged = noted_databases(evidence, arm.info.arm)
        self.spans = tuple(span for span in step_spans(arm.marks) if span.kind != WAIT)
        self._evidence = evidence
        self._arm = arm.info.arm
        self._end_s = _end_s(arm)
        self._sql, self._commands = steps_with(evidence, ("sql",)), steps_with(evidence, _COMMANDS)
        self.why = "" if self.databases else _NO_DATABASE

    def tell(self, span: Span) -> str | None:
        """What is wrong with a step; empty where nothing is or it changes no data, None where it was not seen."""
        changes = span.kind in CHANGE_DATA
        if span.step in self._sql:
            mine = [one for one in self.databases if span.step in one.steps]
            told = self._tell_used(span, mine)
            return "" if told is None and not changes else told
        return self._tell_command(span) if span.step in self._commands and changes else ""

    def _tell_command(self, span: Span) -> str | None:
        theirs = [one for one in self.databases if one.probes and span.step in one.commands]
        met = []
        for one in theirs:
            sessions, schema = one.commands[span.step]
            if schema == "changed" or (sessions or 0) > 0:
                met.append(one)
            elif sessions is None or schema is None:
                self._note(f"what a command did in {one} was not noted")
                return None
        if not theirs:
            self._note("no probe looks at a database, and a command does not say where it goes")
            return None
        if not met:
            return (
                f"The command of step {span.step!r} left the schema of {theirs[0]} as it was, and no session of it was "
                f"seen there in {self._arm}: it may have gone to another database."
            )
        return self._tell_used(span, met)

    def _tell_used(self, span: Span, databases: list[Database]) -> str | None:
        used = [self._used(one) for one in databases]
        if True in used:
            return ""
        if False in used:
            return self._elsewhere(span, databases[used.index(False)])
        self._note("nothing was noted of who used it")
        return None

    def _note(self, why: str) -> None:
        self.why = self.why or why

    def _elsewhere(self, span: Span, database: Database) -> str:
        return (
            f"The step {span.step!r} ran in the database {database}, which the application did not use in {self._arm}: "
            "none of its tables was read or written but by the steps."
        )

    def _used(self, database: Database) -> bool | None:
        """Whether the application used a database during the arm; None where that could not be seen."""
        used = self._touched(database)
        if used is not True:
            return used
        follows = follows_traffic(_looks(self._evidence, database))
        if follows is None:
            self._note(f"how much {database} was used before the traffic was not noted")
        elif not follows:
            self._note(
                f"{database} was used, but no more while the traffic was played than before: by somebody else perhaps, "
                "a monitoring say"
            )
        return follows or None

    def _touched(self, database: Database) -> bool | None:
        """Whether anybody used a database during the arm but for the steps."""
        if database.samples < FEWEST_LOOKS:
            return None
        windows = around(self.spans, self._end_s)
        if database.counts and outside([(0.0, self._end_s)], windows):
            return outside(database.touched, windows)
        # Steps with SQL are known by their sessions' names, commands are not.
        commands = around([span for span in self.spans if span.step in self._commands], self._end_s)
        if outside(database.sessions, commands):
            return True
        return False if not database.counts and outside([(0.0, self._end_s)], commands) else None


def steps_with(evidence: Evidence, keys: Iterable[str]) -> set[str]:
    """The plan's steps that do one of these things."""
    plan = evidence.rehearsal.get("plan")
    listed = plan.get("steps") if isinstance(plan, dict) else None
    steps = [step for step in listed if isinstance(step, dict)] if isinstance(listed, list) else []
    return {str(step.get("name")) for step in steps if any(step.get(key) for key in keys)}


def _end_s(arm: ArmEvidence) -> float:
    return max([arm.info.duration_s, *(mark.at_s for mark in arm.marks)])


def _looks(evidence: Evidence, database: Database) -> Iterator[Look]:
    """The looks at a database in all arms with traffic, but for those that the steps may have moved."""
    for name, arm in evidence.arms.items():
        windows = around([span for span in step_spans(arm.marks) if span.kind != WAIT], _end_s(arm))
        same = [one for one in databases_of(evidence, name) if (one.name, one.place) == (database.name, database.place)]
        if arm.info.role != QUIET:
            yield from (look for one in same for look in one.looks if not _within(look, windows))


def _within(look: Look, windows: list[tuple[float, float]]) -> bool:
    return any(look[0] < to_s and look[1] > from_s for from_s, to_s in windows)
