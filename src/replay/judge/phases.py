"""When each step ran, by its marks, and which phase of the arm a request or a moment belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from replay.evidence.values import CHANGE_DATA, Mark
from replay.judge.arrays import Times

BEFORE = "before"
UNDO = frozenset({"rollback", "revert"})  # those that are to bring back what was before


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a step. ``ended_s`` is None where it did not end."""

    index: int
    statement: str
    started_s: float
    ended_s: float | None = None
    failed: bool = False
    error: str = ""
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """One step of an arm from its start to its end. ``ended_s`` is None where no end was seen."""

    step: str
    kind: str
    started_s: float
    ended_s: float | None = None
    failed: bool = False
    error: str = ""
    statements: tuple[Statement, ...] = ()

    @property
    def during(self) -> str:
        """The phase while it ran."""
        return f"during {self.step}"

    @property
    def after(self) -> str:
        """The phase after it, until the next."""
        return f"after {self.step}"

    def end_s(self, otherwise: float) -> float:
        """When it ended, or ``otherwise``."""
        return otherwise if self.ended_s is None else self.ended_s


def step_spans(marks: Iterable[Mark]) -> tuple[Span, ...]:
    """The steps of an arm in the order they started. An end without a start is a step of no length.

    A step that was not done has not started, and one that the end of the rehearsal interrupted has not ended.
    """
    spans: list[Span] = []
    for mark in sorted(marks, key=lambda mark: mark.at_s):
        if not mark.step or mark.event in {"interrupted", "not done"}:
            continue
        at = next((n for n in reversed(range(len(spans))) if spans[n].step == mark.step), None)
        if mark.index:
            if at is not None:
                spans[at] = replace(spans[at], statements=_with(spans[at].statements, mark))
        elif mark.event == "started" or at is None or spans[at].ended_s is not None:
            span = Span(mark.step, mark.kind, mark.at_s)
            spans.append(span if mark.event == "started" else _ended(span, mark))
        else:
            spans[at] = _ended(spans[at], mark)
    return tuple(spans)


def undoing(kinds: Iterable[str]) -> int | None:
    """The place of the step, among steps of these kinds in their order, that undoes the others and is not undone again.

    That is the last one that changes data, where it is a rollback or a revert; None where it is not, or none does.
    """
    changing = [(place, kind) for place, kind in enumerate(kinds) if kind in CHANGE_DATA]
    return changing[-1][0] if changing and changing[-1][1] in UNDO else None


def _ended(span: Span, mark: Mark) -> Span:
    return replace(span, ended_s=mark.at_s, failed=mark.event == "failed", error=mark.error)


def _with(statements: tuple[Statement, ...], mark: Mark) -> tuple[Statement, ...]:
    if mark.event == "started" or not statements or statements[-1].index != mark.index:
        return (*statements, Statement(mark.index, mark.statement, mark.at_s))
    ended = replace(
        statements[-1],
        ended_s=mark.at_s,
        failed=mark.event == "failed",
        error=mark.error,
        rows=mark.rows,
    )
    return (*statements[:-1], ended)


def phases_of(spans: tuple[Span, ...], from_s: Times, to_s: Times) -> npt.NDArray[np.int16]:
    """The phase of each interval: "during" the first step that it overlaps, else "after" the last one before it.

    ``from_s`` and ``to_s`` (arm seconds) are (n,); the phases are (n,), places in ``phase_order``.
    """
    place = {name: number for number, name in enumerate(phase_order(spans))}
    phases = np.full(len(from_s), place[BEFORE], dtype=np.int16)
    for span in spans:
        phases[from_s >= span.started_s] = place[span.after]
    for span in reversed(spans):
        overlaps = (to_s >= span.started_s) & (from_s <= span.end_s(np.inf))
        phases[overlaps] = place[span.during]
    return phases


def phase_at(spans: tuple[Span, ...], at_s: float) -> str:
    """The phase of one moment."""
    moment = np.array([at_s], dtype=np.float64)
    return phase_order(spans)[int(phases_of(spans, moment, moment)[0])]


def phase_order(spans: tuple[Span, ...]) -> list[str]:
    """Every phase of an arm, in the order of time."""
    order = [BEFORE]
    for span in spans:
        order += [name for name in (span.during, span.after) if name not in order]
    return order
