"""What a plan puts up with: findings that stay within it are shown, and weigh nothing."""

import dataclasses
from collections.abc import Sequence

from replay.evidence.values import Outcome
from replay.judge.criteria import Criteria
from replay.judge.findings import NOTE, Finding

_FAILED_STEPS = {"step_failed": "failed_steps", "rollback_failed": "failed_rollbacks"}


def tolerate(findings: Sequence[Finding], criteria: Criteria) -> list[Finding]:
    """The findings, as notes where they are within what the criteria put up with.

    An endpoint whose failures all are may also go on failing, unless ``recovery_s`` says for how long.
    """
    failed = {metric: _count_steps(findings, metric) for metric in _FAILED_STEPS}
    beyond = {_place(one) for one in findings if _is_of_requests(one) and not _is_within(one, criteria)}
    weighed = []
    for one in findings:
        within = (
            failed[one.metric] <= _allowed_steps(one.metric, criteria)
            if one.metric in _FAILED_STEPS
            else _is_within(one, criteria)
            if _is_of_requests(one)
            else one.metric == "never_recovered" and _place(one) not in beyond
        )
        weighed.append(dataclasses.replace(one, severity=NOTE) if within else one)
    return weighed


def _place(finding: Finding) -> tuple[str, str | None]:
    return (finding.workload, finding.endpoint)


def _is_of_requests(finding: Finding) -> bool:
    return finding.unit == "share" and finding.outcome is not None


def _is_within(finding: Finding, criteria: Criteria) -> bool:
    limits = criteria.of(finding.endpoint or "")
    return (finding.observed or 0.0) <= _tolerated(str(finding.outcome), limits)


def _tolerated(outcome: str, limits: Criteria) -> float:
    if outcome == Outcome.EMPTY:
        return limits.tolerated_empties
    return limits.tolerated_failures if outcome in set(Outcome) else limits.tolerated_changes


def _allowed_steps(metric: str, criteria: Criteria) -> float:
    allowed: float = getattr(criteria, _FAILED_STEPS[metric])
    return allowed


def _count_steps(findings: Sequence[Finding], metric: str) -> int:
    """How many different steps failed."""
    return len({str(one.evidence.get("step")) for one in findings if one.metric == metric})
