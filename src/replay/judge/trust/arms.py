"""Whether one arm is what it says that it is, and no other arm once more."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from replay.evidence.files import LOG_SCHEMA, OBSERVATION_SCHEMA, READING_SCHEMA
from replay.evidence.run import AFTER_S, LARGEST, ArmEvidence
from replay.evidence.values import Outcome
from replay.judge.answers.differences import OUTCOMES
from replay.judge.answers.texts import texts_of
from replay.judge.arrays import Flags, numbers
from replay.judge.findings import REQUESTS, WHOLE_STAGE, Check, evidence_check, percent

_EVENTS = frozenset({"started", "ended", "failed", "interrupted", "not done"})
_FEWEST = 20
_LATE_S = 1.0  # rounding, by far
_WELL = 0.05


def as_can_be(arm: ArmEvidence) -> ArmEvidence:
    """The arm without the rows that no reader of a run's files lets by, which are told as damage.

    Nothing that follows could count them: moments that are no number or beyond all measure, requests of no endpoint.
    """
    most_s, damaged = arm.info.duration_s + AFTER_S, list(arm.damaged)

    def kept(name: str, frame: pd.DataFrame, schema: pa.Schema) -> pd.DataFrame:
        well = _can_be(frame, schema, most_s)
        if well.all():
            return frame
        damaged.append(f"{int((~well).sum())} rows of its {name} cannot be")
        return frame[well].reset_index(drop=True)

    return dataclasses.replace(
        arm,
        observations=kept("observations", arm.observations, OBSERVATION_SCHEMA),
        readings=kept("readings", arm.readings, READING_SCHEMA),
        log=kept("log", arm.log, LOG_SCHEMA),
        damaged=tuple(damaged),
    )


def _can_be(frame: pd.DataFrame, schema: pa.Schema, most_s: float) -> Flags:
    """Which rows have all that they must have, and no number beyond all measure."""
    well = np.ones(len(frame), dtype=np.bool_)
    for field in schema:
        if field.name not in frame:
            continue
        if not field.nullable:
            well &= frame[field.name].notna().to_numpy()
        if field.name == "endpoint":
            well &= ~frame[field.name].isin(["", WHOLE_STAGE]).to_numpy()
        if pa.types.is_floating(field.type):
            well &= ~(np.abs(numbers(frame, field.name)) > (most_s if field.name.endswith("_s") else LARGEST))
    return well


def contradictions(arm: ArmEvidence) -> Iterator[str]:
    """What an arm says that cannot be, in words."""
    info, rows = arm.info, arm.observations
    done = [mark.step for mark in arm.marks if mark.step and mark.event != "not done"]
    if not info.steps and done:
        yield f"it is said to be without the steps, and has {done[0]!r}"
    unknown = sorted({mark.event for mark in arm.marks} - _EVENTS)
    if unknown:
        yield f"its marks have the event {unknown[0]!r:.60}"
    yield from _ends(arm)
    last_s = float(rows["due_s"].max()) if len(rows) else 0.0
    if last_s > info.duration_s + _LATE_S:
        yield f"it is said to last {info.duration_s:g} s, and has requests at {last_s:.0f} s"
    mistaken = _mistaken(arm)
    if mistaken:
        yield f"{mistaken} answers are not what their status says"


def _ends(arm: ArmEvidence) -> Iterator[str]:
    """What the marks say of ends that cannot be: of the arm, or of steps that never began."""
    if arm.info.state == "complete" and not any(not mark.step and mark.event == "ended" for mark in arm.marks):
        yield "no mark says that it ended"
    of_steps = [mark for mark in arm.marks if mark.step and not mark.index]
    began = {mark.step for mark in of_steps if mark.event == "started"}
    headless = sorted({mark.step for mark in of_steps if mark.event in {"ended", "failed"}} - began)
    if headless:
        yield f"its step {headless[0]!r} ended and never began"


def _mistaken(arm: ArmEvidence) -> int:
    """How many answers have an outcome that their status contradicts."""
    status, came = numbers(arm.observations, "status"), texts_of(arm.observations["outcome"]).as_in(OUTCOMES)
    ok, empty, refused, error = map(OUTCOMES.index, (Outcome.OK, Outcome.EMPTY, Outcome.REFUSED, Outcome.SERVER_ERROR))
    well = (came == ok) | (came == empty)
    wrong = (well & (status >= 400)) | ((came == refused) & ((status < 400) | (status >= 500)))
    wrong |= (came == error) & (status < 500)
    wrong |= (well | (came == refused) | (came == error)) & np.isnan(status)
    return int((wrong | (well & np.isnan(numbers(arm.observations, "done_s")))).sum())


def check_copies(arms: Sequence[ArmEvidence]) -> list[Check]:
    """Arms of one workload that have the very same moments: one was never played. None where there are no such."""
    found = []
    for at, arm in enumerate(arms):
        twin = next((other for other in arms[:at] if _same(arm, other)), None)
        if twin is not None:
            found.append(
                evidence_check(
                    "arms_differ",
                    passed=False,
                    workload=arm.info.workload,
                    limit=0.0,
                    observed=1.0,
                    well="",
                    wrong=f"{arm.info.arm} has all the moments of {twin.info.arm}: it is a copy, and was never played.",
                    hint="Rehearse again.",
                    voids=REQUESTS,
                )
            )
    return found


def _same(one: ArmEvidence, other: ArmEvidence) -> bool:
    if len(one.observations) != len(other.observations):
        return False
    sent, done = (numbers(one.observations, name) for name in ("sent_s", "done_s"))
    return int((~np.isnan(done)).sum()) >= _FEWEST and all(
        np.array_equal(mine, numbers(other.observations, name), equal_nan=True)
        for name, mine in (("sent_s", sent), ("done_s", done))
    )


def check_answered(control: ArmEvidence) -> list[Check]:
    """Whether Stage answered a control's requests at all, but for refusing them; none where it has no requests."""
    rows = control.observations
    if not len(rows):
        return []
    share = float(rows["outcome"].isin([str(Outcome.OK), str(Outcome.EMPTY)]).mean())
    return [
        evidence_check(
            "answered_well",
            passed=share >= _WELL,
            workload=control.info.workload,
            limit=_WELL,
            observed=share,
            well=f"Without the steps, {percent(share)} of {control.info.arm}'s requests were answered well.",
            wrong=f"Without the steps, only {percent(share)} of {control.info.arm}'s requests were answered well, "
            "so that nothing can be seen failing, even where the capture has it so.",
            hint="See that the capture is of a service that worked, and that Stage lets its clients in, then rehearse "
            "again.",
            voids=REQUESTS,
        )
    ]
