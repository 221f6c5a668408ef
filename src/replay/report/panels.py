"""Which charts a run's report has, each with its heading and its specification."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from altair.utils.schemapi import debug_mode

from replay.evidence.run import ArmEvidence
from replay.report import charts, formats, frames
from replay.report.frames import AS_EXPECTED
from replay.report.story import PRODUCTION, EndpointRow, Story, rows

MOST_STRIPS = 24
# Metric, heading, unit in a tooltip, divisor that turns the metric into that unit.
SIGNALS: tuple[tuple[str, str, str, float], ...] = (
    ("waiting_backends", "Lock queue: database sessions waiting", "sessions waiting", 1),
    ("replica_lag_s", "Replica behind, in seconds", "seconds behind", 1),
    ("replica_lag_bytes", "Replica behind, in megabytes", "MB behind", 1e6),
    ("log_lines", "Error log: lines a second", "lines", 1),
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: its id in the page, its heading, a line about it, and its specification (None: nothing to draw)."""

    id: str
    title: str
    note: str
    spec: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Panels:
    """All charts of a report. ``outcomes`` are those that occur, for the legend."""

    timelines: list[Panel]
    signals: list[Panel]
    strips: Panel | None
    strips_left_out: int
    outcomes: list[str]


def panels(story: Story) -> Panels:
    """The charts of a run."""
    # Altair's check of every single call costs seconds, and what is called does not depend on the run.
    with debug_mode(False):
        return _panels(story)


def _panels(story: Story) -> Panels:
    width_s = frames.bar_width(story.length_s)
    bars = {arm.info.arm: frames.timeline(arm, width_s) for arm in story.arms}
    seen = {outcome for frame in bars.values() for outcome in frame["outcome"]}
    strip, left_out = _strips(story)
    return Panels(
        timelines=[_timeline(story, arm, bars) for arm in story.arms],
        signals=[_signal(story, signal, width_s) for signal in SIGNALS],
        strips=strip,
        strips_left_out=left_out,
        outcomes=[outcome for outcome in frames.OUTCOMES if outcome in seen],
    )


def _timeline(story: Story, arm: ArmEvidence, bars: dict[str, pd.DataFrame]) -> Panel:
    info = arm.info
    same = [bars[other.info.arm] for other in story.arms if other.info.workload == info.workload]
    most = max((float(frame["high"].max()) for frame in same if len(frame)), default=1.0)
    title = f"{_role(info.role, info.workload)}, {'with the steps' if info.steps else 'without them (control)'}"
    number = info.arm.rpartition("-")[2]
    title += f", arm {number}" if number.isdecimal() else ""
    mine = bars[info.arm]
    note = f"{mine['requests'].sum():,} of {info.planned:,} planned requests"
    if info.state != "complete":
        note += f"; this arm is {info.state}" + (f": {info.reason}" if info.reason else "")
    if mine.empty:
        return Panel(f"timeline-{story.arms.index(arm)}", title, f"{note}. Nothing was observed.", None)
    bad = int(mine.loc[mine["outcome"] != AS_EXPECTED, "requests"].sum())
    note += f"; {bad:,} not answered as expected" if bad else "; all answered as expected"
    failed = _failed(story, info.arm) if info.steps else 0
    if failed > bad:
        note += f"; {failed:,} failed, what came too late or was changed among them"
    spec = charts.timeline_chart(
        mine,
        frames.step_spans(arm),
        story.length_s,
        most,
        f"Requests per second in the arm {info.arm}. {note}.",
    )
    return Panel(f"timeline-{story.arms.index(arm)}", title, note, spec)


def _failed(story: Story, arm: str) -> int:
    """How many requests of an arm with the steps failed newly as the judge has it: beside the same ones without."""
    told = [row.get("steps") for row in rows(story.verdict.get("endpoints")) if row.get("arm") == arm]
    return sum(int(one.get("failed") or 0) for one in told if isinstance(one, dict))


def _signal(story: Story, signal: tuple[str, str, str, float], width_s: float) -> Panel:
    metric, title, unit, divisor = signal
    names = [name for name in (story.main, story.before) if name is not None]
    lines, notes = [], []
    for name in names:
        arm = story.arm(name)
        line = frames.signal(arm, metric, width_s) if arm else None
        role = _role(story.workloads[name], name)
        if line is None or line.empty:
            notes.append(f"{role.lower()} not measured")
            continue
        lines.append(line.assign(workload=role, value=line["value"] / divisor))
        notes.append(f"{role.lower()} at most {_peak(line['value'].max(), metric)}")
    note = "; ".join(notes)
    if not lines:
        return Panel(f"signal-{metric}", title, "Not measured: no probe read it in this run.", None)
    spec = charts.signal_chart(
        pd.concat(lines), story.step_spans(story.main), story.length_s, unit, f"{title}. {note}."
    )
    return Panel(f"signal-{metric}", title, note, spec)


def _peak(value: float, metric: str) -> str:
    if metric.endswith("_s"):
        return formats.seconds(value)
    return formats.size(value) if metric.endswith("_bytes") else formats.number(value)


def _strips(story: Story) -> tuple[Panel | None, int]:
    arm = story.arm(story.main)
    endpoints = story.endpoint_rows(story.main)
    if arm is None or not endpoints:
        return None, 0
    shown = endpoints[:MOST_STRIPS]
    cells = frames.strips(arm, [row.endpoint for row in shown], frames.bar_width(story.length_s) * 2)
    if cells.empty:
        return None, 0
    labels = [
        (
            row.endpoint,
            f"{place}. {row.endpoint}: {_became(row)}" if row.broke or row.slow or row.faltered else row.endpoint,
        )
        for place, row in enumerate(shown, 1)
    ]
    note = "Each strip is one endpoint over the arm; the darker a cell, the more of its requests failed."
    spec = charts.strip_chart(cells, labels, story.length_s, f"Outcomes of each endpoint over time. {note}")
    return Panel("strips", "Every endpoint over time", note, spec), len(endpoints) - len(shown)


def _became(row: EndpointRow) -> str:
    slow = f"{formats.times(row.slow.times)} as long" if row.slow and row.slow.times else "slow"
    return slow if row.slow and not row.failed else f"{formats.share(row.share)} failed"


def _role(role: str, workload: str) -> str:
    """``Production``, with the workload's own name where that says more."""
    word = role.capitalize() if role else workload
    return word if workload in {role, PRODUCTION} or not role else f"{word} ({workload})"
