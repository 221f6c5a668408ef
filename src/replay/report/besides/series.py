"""The series of an arm's readings, and what is said of each part of an arm."""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import WAIT
from replay.judge.probes.waits import detail_of
from replay.report.besides.measures import ELSEWHERE, Measure, measure_of
from replay.report.frames import step_spans

_Values = npt.NDArray[np.float64]
PARTS = ("before", "during", "after")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """Which series: the probe, its metric, and what tells it from others of that metric (empty: there are none)."""

    probe: str
    metric: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was read of a series in one part of an arm.

    Of a level ``usual`` is the median and ``most`` the maximum (the minimum of what is scarce). Of a counter they are
    the amount that came and how much that is a second; of what happens both are how often.
    """

    usual: float
    most: float


Figures = tuple[Figure | None, Figure | None, Figure | None]  # as PARTS


@dataclass(frozen=True, slots=True)
class Cut:
    """Where an arm is cut: ``during`` is from the first step's start to the last one's end, in arm seconds."""

    from_s: float
    to_s: float

    @classmethod
    def of(cls, arm: ArmEvidence) -> "Cut":
        """By an arm's steps, those that only wait apart. Without any, all of it comes before."""
        spans = [span for span in step_spans(arm) if span.kind != WAIT]
        from_s = min((span.started_s for span in spans), default=np.inf)
        ends = [np.inf if span.ended_s is None else span.ended_s for span in spans]
        return cls(from_s, max(ends, default=np.inf))


def figures_of(arm: ArmEvidence | None, cut: Cut, labelled: Collection[str] = ()) -> dict[Name, Figures]:
    """The figures of every series of an arm. All details of the probes ``labelled`` tell series apart."""
    found: dict[Name, Figures] = {}
    for name, at_s, value in _series(arm, labelled) if arm is not None else ():
        measure = measure_of(name.metric)
        if measure.happens:
            found[name] = _happened(at_s, cut)
        else:
            found[name] = _counted(at_s, value, cut) if measure.counts else _levels(at_s, value, cut, measure)
    return found


def _series(arm: ArmEvidence, labelled: Collection[str]) -> Iterator[tuple[Name, _Values, _Values]]:
    rows = arm.readings
    rows = rows[~rows["metric"].isin(ELSEWHERE) & np.isfinite(rows["value"])]
    if rows.empty:
        return
    label = pd.Series("", index=rows.index, dtype=object)
    for metric in rows["metric"].unique():
        if field := measure_of(str(metric)).named_by:
            mine = rows["metric"] == metric
            label[mine] = _told_once(rows.loc[mine, "detail"], partial(_short, field))
    mine = rows["probe"].isin(list(labelled))
    label[mine] = _told_once(rows.loc[mine, "detail"], _labels)
    keys = pd.DataFrame({"probe": rows["probe"].astype(str), "metric": rows["metric"].astype(str), "label": label})
    at_s, value = rows["at_s"].to_numpy(np.float64), rows["value"].to_numpy(np.float64)
    for key, places in keys.groupby(["probe", "metric", "label"], sort=True).indices.items():
        yield Name(*map(str, cast("tuple[str, str, str]", key))), at_s[places], value[places]


def _told_once(details: "pd.Series[str]", told: Callable[[str], str]) -> "pd.Series[str]":
    """What is told of each detail, of which there are few different ones."""
    return details.map({text: told(text) for text in details.unique()})


def _short(field: str, text: str) -> str:
    return str(detail_of(text).get(field) or "")[:200]


def _labels(text: str) -> str:
    """Labels as Prometheus writes them: ``{code="500"}``."""
    told = ",".join(f"{name}={json.dumps(str(value), ensure_ascii=False)}" for name, value in detail_of(text).items())
    return f"{{{told}}}"[:200] if told else ""


def _levels(at_s: _Values, value: _Values, cut: Cut, measure: Measure) -> Figures:
    inside = at_s < cut.from_s, (at_s >= cut.from_s) & (at_s <= cut.to_s), at_s > cut.to_s
    before, during, after = (_level(value[mine], measure) for mine in inside)
    return before, during, after


def _level(value: _Values, measure: Measure) -> Figure | None:
    if not len(value):
        return None
    return Figure(float(np.median(value)), float(value.min() if measure.scarce else value.max()))


def _happened(at_s: _Values, cut: Cut) -> Figures:
    counts = (at_s < cut.from_s).sum(), ((at_s >= cut.from_s) & (at_s <= cut.to_s)).sum(), (at_s > cut.to_s).sum()
    before, during, after = (Figure(float(count), float(count)) for count in counts)
    return before, during, after


def _counted(at_s: _Values, value: _Values, cut: Cut) -> Figures:
    """What came between the last reading before the steps, the first one after them, and the ends of the arm.

    So what came is told whole, and what belongs to the steps is never told of the time before or after them.
    """
    if len(value) < 2:
        return None, None, None
    first = int(np.searchsorted(at_s, cut.from_s, side="right")) - 1  # of the steps' own
    last = int(np.searchsorted(at_s, cut.to_s, side="left"))
    first, last = max(first, 0), min(last, len(value) - 1)
    return _came(at_s, value, 0, first), _came(at_s, value, first, last), _came(at_s, value, last, len(value) - 1)


def _came(at_s: _Values, value: _Values, first: int, last: int) -> Figure | None:
    if last <= first or at_s[last] <= at_s[first]:
        return None
    steps = np.diff(value[first : last + 1])
    # Where it falls, it began anew from 0.
    amount = float(np.where(steps >= 0, steps, value[first + 1 : last + 1]).sum())
    return Figure(amount, amount / float(at_s[last] - at_s[first]))
