"""Tables and indexes that were larger or smaller at the arm's end than at its start, and indexes left invalid."""

from collections.abc import Mapping
from dataclasses import dataclass

from replay.evidence.run import ArmEvidence
from replay.judge.probes.indexes import left_invalid, told_left
from replay.judge.probes.waits import detail_of
from replay.report.story import Story

MOST = 20
_TENTH = 0.1
_LEAST = 100_000.0  # bytes
_METRICS = {"table_bytes": "table", "index_bytes": "its indexes"}
_Sizes = Mapping[tuple[str, str, str], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class SizeRow:
    """A table, or all of its indexes, in bytes at the start and the end; None where it was not there or not read."""

    table: str
    what: str
    before: float | None
    after: float
    control_before: float | None
    control_after: float | None

    @property
    def change(self) -> float:
        """How much larger it was at the end, in bytes."""
        return self.after - (self.before or 0.0)

    @property
    def control_change(self) -> float | None:
        """The same in the control."""
        if self.control_before is None or self.control_after is None:
            return None
        return self.control_after - self.control_before


@dataclass(frozen=True, slots=True)
class Sizes:
    """Those that changed by more than a tenth, those first that changed most beyond the control. ``read``: by whom."""

    rows: list[SizeRow]
    left_out: int
    read: bool


def sizes(story: Story) -> Sizes:
    """The sizes that changed in the main workload's arm with the steps."""
    steps, control = _read(story.arm(story.main)), _read(story.arm(story.main, steps=False))
    rows = []
    for place, mine in steps.items():
        other = control.get(place, {})
        if "end" in mine:
            probe_table, what = place[1], _METRICS[place[2]]
            rows.append(
                SizeRow(probe_table, what, mine.get("start"), mine["end"], other.get("start"), other.get("end"))
            )
    rows = [row for row in rows if abs(row.change) >= max(_LEAST, _TENTH * (row.before or 0.0))]
    rows.sort(key=lambda row: (-abs(row.change - (row.control_change or 0.0)), row.table, row.what))
    read = any({"start", "end"} <= moments.keys() for moments in steps.values())
    return Sizes(rows[:MOST], len(rows[MOST:]), read)


def _read(arm: ArmEvidence | None) -> _Sizes:
    """Bytes by probe, table and metric, and by moment."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    rows = arm.readings[arm.readings["metric"].isin(list(_METRICS))] if arm is not None else None
    if rows is None:
        return found
    for probe, metric, value, text in zip(rows["probe"], rows["metric"], rows["value"], rows["detail"], strict=True):
        detail = detail_of(text)
        place = str(probe), str(detail.get("table") or ""), str(metric)
        found.setdefault(place, {})[str(detail.get("moment") or "")] = float(value)
    return found


def indexes_sentence(story: Story) -> str:
    """Whether the steps left invalid indexes behind; empty where no probe read a PostgreSQL database."""
    arm = story.arm(story.main)
    if arm is None or not (arm.readings["metric"] == "invalid_indexes").any():
        return ""
    controls = [one for one in story.arms if one.info.workload == story.main and not one.info.steps]
    left = left_invalid(arm, controls)
    if left is None:
        return "Whether an invalid index was left behind is not known: the probe did not read them at the arm's end."
    names = [name for found in left.values() for name in found]
    if not names:
        return "The steps left no invalid index behind."
    return f"{told_left(names)} An invalid index costs every write and serves no query: drop it, or build it anew."
