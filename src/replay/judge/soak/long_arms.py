"""Drift in the arms of a rehearsal that last ten minutes or more."""

import dataclasses
from collections.abc import Iterator

import pandas as pd

from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.values import QUIET
from replay.judge.criteria import Criteria
from replay.judge.findings import Finding
from replay.judge.phases import step_spans
from replay.judge.soak.criteria import DriftLimits
from replay.judge.soak.digest import COLUMNS, Digest
from replay.judge.soak.drift import Layout, Series, drift_findings, drifts, layout, seasons, series_of
from replay.judge.soak.levels import Levels

LONG_S = 600.0
_AT_ONCE = 500_000  # observations, which bounds the memory that counting them takes


def long_arm_findings(evidence: Evidence, criteria: Criteria) -> list[Finding]:
    """The drift of every long arm: of a control as it is, of one with steps from their end on, beside its control."""
    return [
        finding
        for arm in evidence.arms.values()
        if arm.info.role != QUIET
        for finding in _drifting(arm, _control_of(evidence, arm), criteria)
    ]


def is_long(arm: ArmEvidence) -> bool:
    """Whether an arm lasts long enough, from the last step's end on, to be looked at for drift."""
    return arm.info.duration_s - _from_s(arm) >= LONG_S


def limits_drift(criteria: Criteria) -> bool:
    """Whether a limit of drift is set, so that more than a note comes of it."""
    limits = (criteria.drift_latency_share, criteria.drift_failure_share, criteria.drift_level_share)
    return any(limit is not None for limit in limits)


def _from_s(arm: ArmEvidence) -> float:
    return max((span.end_s(arm.info.duration_s) for span in step_spans(arm.marks)), default=0.0)


def _control_of(evidence: Evidence, arm: ArmEvidence) -> ArmEvidence | None:
    if not arm.info.steps:
        return None
    mine = [one for one in evidence.arms.values() if one.info.workload == arm.info.workload and not one.info.steps]
    return next((one for one in mine if one.info.duration_s == arm.info.duration_s), None)


def _drifting(arm: ArmEvidence, control: ArmEvidence | None, criteria: Criteria) -> Iterator[Finding]:
    from_s = _from_s(arm)
    if not is_long(arm):
        return
    lay = layout(arm.info.duration_s - from_s)
    series, counted = _series(arm, from_s, lay)
    reference = None if control is None else _series(control, from_s, lay)[0]
    limits = {"": _limits(criteria)} | {name: _limits(own) for name, own in criteria.endpoints}
    found = drifts(series, lay, seasons(lay, counted), reference)
    for finding in drift_findings(found, limits, arm.info.workload, arm.info.role, arm.info.arm):
        yield dataclasses.replace(finding, phase="after the last step" if from_s else finding.phase)


def _series(arm: ArmEvidence, from_s: float, lay: Layout) -> tuple[list[Series], dict[str, pd.DataFrame]]:
    digest, levels = Digest(arm.info.planned, lay.block_s), Levels(lay.block_s)
    for start in range(0, len(arm.observations), _AT_ONCE):
        rows = arm.observations.iloc[start : start + _AT_ONCE][list(COLUMNS)]
        moved = {name: rows[name] - from_s for name in ("due_s", "sent_s", "done_s")}
        digest.add(rows.assign(**moved)[rows["due_s"] >= from_s])
    readings = arm.readings[arm.readings["at_s"] >= from_s]
    levels.add(readings.assign(at_s=readings["at_s"] - from_s))
    counted = digest.blocks(lay.blocks)
    return series_of(counted, levels.series(lay.blocks), lay.blocks), counted


def _limits(criteria: Criteria) -> DriftLimits:
    return DriftLimits(
        latency_share=criteria.drift_latency_share,
        failure_share=criteria.drift_failure_share,
        level_share=criteria.drift_level_share,
    )
