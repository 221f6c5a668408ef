"""What the steps left behind: the data after a rollback; and how long the migration took.

A rollback, or a revert, is to bring back what was before; it is held to that where no later step migrates. Deploys,
restarts and commands that follow it do not count.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from replay.evidence.run import Evidence
from replay.evidence.values import QUIET
from replay.judge.case import Case
from replay.judge.findings import BLOCKING, NOTE, Check, Finding, evidence_check, listed, percent, worst_of
from replay.judge.migration_time import TIME, under, window_checks, window_findings
from replay.judge.phases import Span, undoing
from replay.judge.trust.databases import (
    FEWEST_LOOKS,
    Database,
    Table,
    around,
    databases_of,
    noted_databases,
    outside,
    steps_with,
)

DATA = "data_after_rollback"
# Why a table is not counted that needs no check of its own: the schema differs, or so many others were.
_SAID = ("it is gone", "others were counted")
_FEWEST_ROWS = 5
# What may put back a release and leave its data alone; what sends SQL or calls a migration's tool does not.
_OF_CODE = ("run", "http")
_READS = ("GET ", "HEAD ", "OPTIONS ")
# Where a migration tool notes what it has done: it makes the table with its first migration, and leaves it there. One
# that has come and is empty says that nothing is done.
_LEDGERS = ("alembic_version", "django_migrations", "schema_migrations")
_MOST_TOLD = 3
_UNCOMPARED = "was not compared with what was before"


@dataclass(frozen=True, slots=True)
class _Difference:
    """What is not as it was before the steps, in words and as evidence."""

    words: str
    evidence: dict[str, Any]


def afterwards_findings(case: Case, evidence: Evidence) -> list[Finding]:
    """Findings about the data after a rollback, and about the migration's time where the plan limits it."""
    return [*_rollback_findings(case, evidence), *window_findings(case)]


def afterwards_checks(cases: Iterable[Case], evidence: Evidence, findings: list[Finding]) -> list[Check]:
    """The same as criteria, those that passed too; none where there is no rollback, no migration or no limit.

    Of the repetitions of a workload the worst one speaks.
    """
    return worst_of(check for case in cases for check in _checks(case, evidence, findings))


def _checks(case: Case, evidence: Evidence, findings: list[Finding]) -> Iterator[Check]:
    mine = {finding.metric: finding for finding in findings if finding.arm == case.arm and finding.severity != NOTE}
    if (span := _rolled_back(case)) is not None:
        against = mine.get(DATA)
        observed = 0.0 if against is None else against.observed
        sentence = _told_well(case, span, evidence) if against is None else against.explanation
        limit = case.criteria.rollback_rows_share
        passed, unit, of_rows = against is None, "differences", "share of the rows"
        yield Check(DATA, "change", limit, observed, passed, case.workload, sentence, unit=unit, limit_unit=of_rows)
    yield from window_checks(case, mine.get(TIME))


def _undone(case: Case) -> Span | None:
    """The rollback or revert that no step undid again, whatever became of it."""
    place = undoing(span.kind for span in case.spans)
    return None if place is None else case.spans[place]


def _rolled_back(case: Case) -> Span | None:
    """The same, where it succeeded."""
    last = _undone(case)
    return None if last is None or last.failed or last.ended_s is None else last


def _after(case: Case, span: Span) -> tuple[Span, ...]:
    return case.spans[case.spans.index(span) + 1 :]


def _why_not(case: Case, span: Span, evidence: Evidence) -> str:
    """Why what a rollback left may rightly be something else than what was before, in words; empty where it may not."""
    own, later = _its_own(databases_of(evidence, case.arm), span), _after(case, span)
    moved = [one.step for one in later if any(_schema_of(database, one) == "changed" for database in own)]
    if moved:
        return f"the step {moved[0]!r} changed the schema after it"
    before = [one.kind for one in case.spans[: case.spans.index(span)]]
    between = "deploy" in before and any(one.kind == "deploy" for one in later)
    if not between or span.step not in steps_with(evidence, _OF_CODE):
        return ""
    if any(_schema_of(database, span) == "changed" for database in own):
        return ""
    return "it stands between two deploys and was seen to change no schema, so it is taken for one of the code alone"


def _schema_of(database: Database, span: Span) -> str | None:
    """Whether the schema changed while a command ran; None for what is no command, or was not looked at."""
    return database.commands.get(span.step, (None, None))[1]


def _compared(case: Case, span: Span, evidence: Evidence) -> list[Database]:
    """The databases that a rollback is held against: its own, or for a command those that probes watch."""
    if _why_not(case, span, evidence):
        return []
    mine = _its_own(databases_of(evidence, case.arm), span)
    return [one for one in mine if None not in (one.schema, one.schema_after)]


def _its_own(databases: Sequence[Database], span: Span) -> list[Database]:
    own = [one for one in databases if span.step in one.steps]
    return own or [one for one in databases if one.probes] or list(databases)


def is_compared(case: Case, evidence: Evidence) -> bool:
    """Whether there was a rollback that nothing migrated after, and what it left was compared.

    One that failed says so itself.
    """
    last = _undone(case)
    if last is None:
        return False
    return last.failed or bool(_compared(case, last, evidence))


def check_compared(case: Case, evidence: Evidence) -> list[Check]:
    """Whether what a rollback left in a database was looked at; none where no database was noted."""
    span = _rolled_back(case)
    noted, damaged = noted_databases(evidence, case.arm)
    mine = [] if span is None else _its_own(noted, span)
    if span is None or not (mine or damaged) or _why_not(case, span, evidence):
        return []
    wrong = ["what rehearsal.json notes of it cannot be read"] if damaged else []
    for database in mine:
        if database.schema is None or database.schema_after is None:
            wrong.append(f"{database} was not looked at {'before' if database.schema is None else 'after'} the arm")
            continue
        uncounted = [table for table in database.tables if table.uncounted and None in (table.rows, table.rows_after)]
        there = [f"{table.name} ({table.uncounted})" for table in uncounted if not table.uncounted.endswith(_SAID)]
        if there:
            wrong.append(f"in {database} these tables were not counted: {listed(there, _MOST_TOLD)}")
    return [
        evidence_check(
            "data_compared",
            passed=not wrong,
            workload=case.workload,
            limit=0.0,
            observed=float(len(wrong)),
            well=f"What the {span.kind} {span.step!r} left {under(case)} was compared with what was before.",
            wrong=f"What the {span.kind} {span.step!r} left {under(case)} could not be compared with what was before: "
            f"{'; '.join(wrong)}.",
            hint="See that the dsn's user may read the tables, and that they can be counted in time; rehearse again.",
            voids="",
        )
    ]


def _told_well(case: Case, span: Span, evidence: Evidence) -> str:
    left = f"What the {span.kind} {span.step!r} left {under(case)}"
    if why_not := _why_not(case, span, evidence):
        return f"{left} {_UNCOMPARED}: {why_not}."
    compared = _compared(case, span, evidence)
    if not compared and not _its_own(noted_databases(evidence, case.arm)[0], span):
        return f"{left} {_UNCOMPARED}: none of its databases was noted."
    if not compared:
        return f"{left} could not be compared with what was before."
    counted = [table for one in compared for table in one.tables if table.rows_after is not None]
    unread = [table.name for one in compared for table in one.tables if table.rows_after is None]
    missing = f" Not counted: {', '.join(unread[:_MOST_TOLD])}." if unread else ""
    kept = [name for one in compared for name in _ledgers(one)]
    but = f" but for {listed(kept, _MOST_TOLD)}, where nothing is noted any more" if kept else ""
    return (
        f"{_told_after(case, span)} {under(case)} the schema is as before{but}, and no rows are lost in "
        f"{len(counted)} table{'s' * (len(counted) != 1)}.{missing}"
    )


def _told_after(case: Case, span: Span) -> str:
    """After which steps it was looked, in words: what stands for nothing may have been their doing all the same."""
    names = [repr(one.step) for one in _after(case, span)]
    behind = f" (and {listed(names, _MOST_TOLD)})" if names else ""
    return f"After the {span.kind} {span.step!r}{behind}"


def not_compared(checks: Iterable[Check]) -> list[str]:
    """What a GO has to say of a rollback that passed without having been compared with what was before."""
    return [check.sentence for check in checks if check.name == DATA and check.passed and _UNCOMPARED in check.sentence]


def _rollback_findings(case: Case, evidence: Evidence) -> list[Finding]:
    span = _rolled_back(case)
    if span is None:
        return []
    found = []
    for database in _compared(case, span, evidence):
        differences = _differences(case, database, evidence)
        if not differences:
            continue
        told = "; ".join(one.words for one in differences[:_MOST_TOLD])
        more = f"; and {len(differences) - _MOST_TOLD} more" if len(differences) > _MOST_TOLD else ""
        found.append(
            Finding(
                workload=case.workload,
                arm=case.arm,
                phase=span.after,
                role=case.role,
                unit="count",
                observed=float(len(differences)),
                control=0.0,
                explanation=f"{_told_after(case, span)} {under(case)} {database.name} is not what it was before: "
                f"{told}{more}.",
                severity=BLOCKING,
                probe="steps",
                metric=DATA,
                effect=float(len(differences)),
                root=f"step {span.step!r}",
                proven=True,
                first_bad_s=span.ended_s,
                evidence={
                    "step": span.step,
                    "database": str(database),
                    "differences": [one.evidence for one in differences],
                },
            )
        )
    return found


def _differences(case: Case, database: Database, evidence: Evidence) -> list[_Difference]:
    control = None if case.role == QUIET else _same_in(evidence, case.control.info.arm, database)
    usual = set(control.changes) if control is not None else set()  # what the application changes by itself
    changes = [change for change in database.changes if change not in usual]
    ledgers = _ledgers(database)
    told = [change for change in changes if not _is_of(change, ledgers)]
    found = [_Difference(f"in the schema, {change}", {"schema": change}) for change in told]
    if not changes and database.schema != database.schema_after and not usual:
        found.append(_Difference("the schema is another", {"schema": "another"}))
    quiet = case.role == QUIET and not outside(database.written, around(case.spans, case.end_s))
    unwritten = 0 if case.role == QUIET else _unwritten(case)
    ended = {table.name: table.rows_after for table in control.tables} if control is not None else {}
    still = set() if case.role == QUIET else _still(case, database, evidence)
    for table in database.tables:
        lost = _lost(table, ended.get(table.name), unwritten, case.criteria.rollback_rows_share)
        difference = _not_equal(table) if quiet else lost
        if difference is None and table.name in still:
            difference = _not_equal(table, ", as the control's do")
        if difference is not None:
            found.append(difference)
    return found


def _ledgers(database: Database) -> list[str]:
    """The tables that a migration tool has made for itself meanwhile, and that are empty again."""
    return [
        table.name
        for table in database.tables
        if table.name.rpartition(".")[2] in _LEDGERS
        and table.rows_after == 0
        and f"table {table.name} came" in database.changes
    ]


def _is_of(change: str, ledgers: Iterable[str]) -> bool:
    """Whether a change of the schema, ``table django_migrations came``, is one of these tables or its sequence."""
    return any(change in {f"table {name} came", f"sequence {name}_id_seq came"} for name in ledgers)


def _still(case: Case, database: Database, evidence: Evidence) -> set[str]:
    """The tables that the same traffic leaves alone: nothing is written to them but by the steps.

    No control has changed them, and outside the steps the server counted no write to this database.
    """
    seen = database.counts and database.samples >= FEWEST_LOOKS
    if not seen or outside(database.written, around(case.spans, case.end_s)):
        return set()
    beside = [_same_in(evidence, control.info.arm, database) for control in case.controls]
    alike = [{table.name for table in one.tables if _is_same(table)} if one is not None else set() for one in beside]
    return set.intersection(*alike) if alike else set()


def _is_same(table: Table) -> bool:
    told = None not in (table.rows, table.checksum)
    return told and (table.rows, table.checksum) == (table.rows_after, table.checksum_after)


def _same_in(evidence: Evidence, arm: str, database: Database) -> Database | None:
    """The same database in another arm."""
    others = databases_of(evidence, arm)
    return next((one for one in others if (one.steps, one.probes) == (database.steps, database.probes)), None)


def _unwritten(case: Case) -> int:
    """How many more requests that write failed than in the control: what they would have written is not lost."""
    if not len(case.pairs):
        return 0
    writes = [not str(endpoint).startswith(_READS) for endpoint in case.texts("endpoint")]
    return max(0, int((case.flags("t_new") & writes).sum()) - int((case.flags("c_new") & writes).sum()))


def _not_equal(table: Table, as_said: str = "") -> _Difference | None:
    """Of a table that nobody but the steps has written. ``as_said`` is what tells so, in words."""
    if table.rows is None or table.rows_after is None:
        return None
    if table.rows != table.rows_after:
        words = f"{table.name} has {table.rows_after:,} rows, and had {table.rows:,}"
        return _Difference(words, _figures(table, None))
    if None not in (table.checksum, table.checksum_after) and table.checksum != table.checksum_after:
        words = f"{table.name} has its {table.rows:,} rows, but not all hold what they held{as_said}"
        return _Difference(words, _figures(table, None))
    return None


def _lost(table: Table, control: int | None, unwritten: int, share: float) -> _Difference | None:
    """Of a table that the application writes too: what it lacks beside the control, or else beside what it had."""
    reference = table.rows if control is None else control
    if reference is None or table.rows_after is None:
        return None
    lacking = reference - table.rows_after
    lost = lacking - (0 if control is None else unwritten)
    if lost < _FEWEST_ROWS or lost <= share * reference:
        return None
    before = "" if table.rows is None else f" (and {table.rows:,} before)"
    beside = f"{control:,} in the control{before}" if control is not None else f"{reference:,} before"
    words = f"{table.name} has {table.rows_after:,} rows, beside {beside}: {percent(lacking / reference)} are missing"
    if control is not None and unwritten:
        words += f", and no more than {unwritten:,} of them for requests that failed"
    return _Difference(words, _figures(table, control))


def _figures(table: Table, control: int | None) -> dict[str, Any]:
    return {"table": table.name, "rows": table.rows, "rows_after": table.rows_after, "rows_control": control}
