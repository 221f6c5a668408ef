"""What autovacuum worked on: the tables that its workers name, and which of these the steps change."""

import re
from dataclasses import dataclass

from replay.evidence.run import ArmEvidence
from replay.judge.probes.sql_names import changed_names
from replay.judge.probes.waits import detail_of
from replay.report.frames import statement_spans
from replay.report.story import Story, rows

MOST = 12
_METRIC = "autovacuum_workers"
# As a worker tells it: autovacuum: VACUUM ANALYZE public.token (to prevent wraparound)
_WORK = re.compile(r"autovacuum: (VACUUM ANALYZE|VACUUM|ANALYZE|BRIN summarize) (\S.*?)(?: \(to prevent wraparound\))?")


@dataclass(frozen=True, slots=True)
class VacuumRow:
    """Work on one table: when it was first and last seen, how often, and how often in the control (None: not read).

    ``concerned`` says that the steps' SQL changes the table.
    """

    table: str
    work: str
    from_s: float
    to_s: float
    seen: int
    control: int | None
    concerned: bool


@dataclass(frozen=True, slots=True)
class Vacuums:
    """The work of all tables, those that the steps change first. ``sentence`` says it in short; empty: not read."""

    rows: list[VacuumRow]
    left_out: int
    sentence: str


def vacuums(story: Story) -> Vacuums:
    """What autovacuum did in the main workload's arm with the steps."""
    arm, other = story.arm(story.main), story.arm(story.main, steps=False)
    looks = _looks(arm)
    if arm is None or not looks:
        return Vacuums([], 0, "")
    control = _seen(_looks(other)) if _looks(other) else None
    changed = _changed(story, arm)
    made = [
        VacuumRow(
            table,
            work,
            times[0],
            times[-1],
            len(times),
            None if control is None else len(control.get((table, work), [])),
            table.rpartition(".")[2].strip('"').lower() in changed,
        )
        for (table, work), times in _seen(looks).items()
    ]
    made.sort(key=lambda row: (not row.concerned, -row.seen, row.table, row.work))
    return Vacuums(made[:MOST], len(made[MOST:]), _sentence(made, arm))


def _looks(arm: ArmEvidence | None) -> list[tuple[float, list[str]]]:
    if arm is None:
        return []
    found = arm.readings[arm.readings["metric"] == _METRIC]
    made = []
    for at_s, text in zip(found["at_s"], found["detail"], strict=True):
        work = detail_of(text).get("work")
        made.append((float(at_s), [str(one) for one in work] if isinstance(work, list) else []))
    return made


def _seen(looks: list[tuple[float, list[str]]]) -> dict[tuple[str, str], list[float]]:
    """When each table was worked on, and how."""
    seen: dict[tuple[str, str], list[float]] = {}
    for at_s, work in looks:
        for one in work:
            if told := _WORK.fullmatch(one):
                seen.setdefault((told[2], told[1]), []).append(at_s)
    return seen


def _changed(story: Story, arm: ArmEvidence) -> frozenset[str]:
    """The names that the steps' SQL changes, tables among them."""
    texts = [str(one.get("sql") or "") for one in rows(story.rehearsal.get("migrations"))]
    return changed_names([*texts, *(span.statement for span in statement_spans(arm))])


def _sentence(made: list[VacuumRow], arm: ArmEvidence) -> str:
    most = arm.readings.loc[arm.readings["metric"] == _METRIC, "value"].max()
    if not made and not most:
        return "Autovacuum was not seen at work."
    if not made:
        return "Autovacuum was at work; on which tables could not be read: the probe's role needs pg_monitor."
    concerned = list(dict.fromkeys(row.table for row in made if row.concerned))
    if concerned:
        return f"Autovacuum worked on {' and '.join(concerned)}, which the steps change."
    return "Autovacuum was at work, on no table that the SQL of the steps changes."
