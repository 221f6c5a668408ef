"""Queries that take another time with the steps than without them, as pg_stat_statements counted them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from replay.evidence.run import ArmEvidence
from replay.judge.findings import short
from replay.judge.probes.waits import detail_of
from replay.report.story import Story

MOST = 20
_LONGEST = 400
_FLOOR_S = 0.001  # times below are noise, and so is what differs by less
_FLOOR_ROWS = 1.0
_RATIO = 1.5
_METRIC = "statement_s"
_ITS_OWN = "statements: "


@dataclass(frozen=True, slots=True)
class Cost:
    """What the calls of one query cost in an arm, on average: seconds and rows a call."""

    calls: float
    mean_s: float
    rows: float


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One query with the steps and in the control; under pre-production with the steps, or None.

    ``clear`` says that its time or its rows a call are half as many again, or less than two thirds.
    """

    query: str
    steps: Cost
    control: Cost
    before: Cost | None
    clear: bool


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of both arms, those that changed most first. ``why`` says why there are none; else it is empty.

    ``others`` is how many more of both arms there are, ``alone`` how many only the steps arm has among its fifty.
    """

    rows: list[QueryRow]
    others: int
    alone: int
    why: str

    @property
    def clear(self) -> list[QueryRow]:
        """Those that clearly changed."""
        return [row for row in self.rows if row.clear]


def queries(story: Story) -> Queries:
    """The queries of the main workload's arms. The same query is known by its text: its number changes with a table."""
    arm, other = story.arm(story.main), story.arm(story.main, steps=False)
    steps, control = costs_of(arm), costs_of(other)
    before = costs_of(story.arm(story.before)) if story.before else {}
    if not steps:
        return Queries([], 0, 0, _why(arm, "With the steps"))
    if not control:
        return Queries([], 0, 0, _why(other, "In the control"))
    both = [query for query in steps if query in control]
    both.sort(key=lambda query: (-_change(steps[query], control[query]), query))
    rows = [_row(query, steps[query], control[query], before.get(query)) for query in both]
    return Queries(rows[:MOST], len(rows[MOST:]), len(steps.keys() - control.keys()), "")


def costs_of(arm: ArmEvidence | None) -> Mapping[str, Cost]:
    """What each query cost in an arm, by its normalised text."""
    if arm is None:
        return {}
    rows = arm.readings[arm.readings["metric"] == _METRIC]
    sums: dict[str, tuple[float, float, float]] = {}
    for value, text in zip(rows["value"], rows["detail"], strict=True):
        detail = detail_of(text)
        query = " ".join(str(detail.get("query") or "").split())
        calls, returned = _number(detail.get("calls")), _number(detail.get("rows"))
        if query and calls and math.isfinite(value):
            so_far = sums.get(query, (0.0, 0.0, 0.0))
            sums[query] = so_far[0] + calls, so_far[1] + float(value), so_far[2] + returned
    return {query: Cost(calls, spent / calls, returned / calls) for query, (calls, spent, returned) in sums.items()}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) else 0.0


def _why(arm: ArmEvidence | None, where: str) -> str:
    """Why an arm has no costs of queries."""
    if arm is None:
        return f"{where}: nothing was played."
    failed = arm.readings[arm.readings["metric"] == "probe_failed"]
    for text in failed["detail"]:
        if (error := str(detail_of(text).get("error") or "")).startswith(_ITS_OWN):
            return f"{where}: pg_stat_statements could not be read: {short(error.removeprefix(_ITS_OWN), 200)}."
    around = arm.readings[arm.readings["metric"] == "invalid_indexes"]  # which the same look reads
    moments = {detail_of(text).get("moment") for text in around["detail"]}
    if "end" in moments:
        return f"{where}: pg_stat_statements is not installed in the database, or counted nothing."
    if moments:
        return f"{where}: the probe did not come to read pg_stat_statements at the arm's end."
    return f"{where}: no probe read a PostgreSQL database."


def _change(steps: Cost, control: Cost) -> float:
    """How far apart two costs are, as the logarithm of a ratio; 0 is no change."""
    return max(
        abs(math.log((steps.mean_s + _FLOOR_S) / (control.mean_s + _FLOOR_S))),
        abs(math.log((steps.rows + _FLOOR_ROWS) / (control.rows + _FLOOR_ROWS))),
    )


def _row(query: str, steps: Cost, control: Cost, before: Cost | None) -> QueryRow:
    shown = query if len(query) <= _LONGEST else f"{query[:_LONGEST]} …"
    clear = _change(steps, control) >= math.log(_RATIO)
    return QueryRow(shown, steps, control, before, clear)
