"""What a plan puts up with: findings that stay within it are shown, and weigh nothing."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from replay.evidence.values import Outcome
from replay.judge.answers.differences import FAILURES
from replay.judge.criteria import Criteria
from replay.judge.findings import NOTE, TOLERATED, Finding

_FAILED_STEPS = {"step_failed": "failed_steps", "rollback_failed": "failed_rollbacks"}
_SHARES = ("tolerated_failures", "tolerated_empties", "tolerated_changes")
_Place = tuple[str, str, str, str | None]


def tolerate(findings: Sequence[Finding], criteria: Criteria) -> list[Finding]:
    """The findings, as notes where they are within what the criteria put up with.

    What fails in one phase in several ways is added up: it must be within the limit of each way, and all of it within
    the largest of them. An endpoint whose failures all are may also go on failing, unless ``recovery_s`` says for how
    long.
    """
    failed = {metric: _count_steps(findings, metric) for metric in _FAILED_STEPS}
    shares = _shares(findings)
    beyond = {
        (one.workload, one.endpoint) for one in findings if _is_of_requests(one) and not _within(one, shares, criteria)
    }
    weighed = []
    for one in findings:
        within = (
            failed[one.metric] <= _limit(_FAILED_STEPS[one.metric], criteria)
            if one.metric in _FAILED_STEPS
            else _within(one, shares, criteria)
            if _is_of_requests(one)
            else one.metric == "never_recovered" and (one.workload, one.endpoint) not in beyond
        )
        weighed.append(_tolerated(one) if within and one.severity != NOTE else one)
    return weighed


def _tolerated(finding: Finding) -> Finding:
    return dataclasses.replace(finding, severity=NOTE, evidence={**finding.evidence, TOLERATED: True})


def _is_of_requests(finding: Finding) -> bool:
    return finding.unit == "share" and finding.outcome is not None


def _shares(findings: Sequence[Finding]) -> dict[tuple[_Place, str], float]:
    """The share of an endpoint's requests in a phase that each limit is about."""
    shares: dict[tuple[_Place, str], float] = defaultdict(float)
    for one in filter(_is_of_requests, findings):
        shares[_place(one), _limit_of(one)] += one.observed or 0.0
    return shares


def _within(finding: Finding, shares: dict[tuple[_Place, str], float], criteria: Criteria) -> bool:
    limits, place, own = criteria.of(finding.endpoint or ""), _place(finding), _limit_of(finding)
    allowed = {name: _limit(name, limits) for name in _SHARES}
    together = sum(shares.get((place, name), 0.0) for name in _SHARES)
    return shares[place, own] <= allowed[own] and together <= max(allowed.values())


def _place(finding: Finding) -> _Place:
    return (finding.workload, finding.arm, finding.phase, finding.endpoint)


def _limit_of(finding: Finding) -> str:
    if finding.outcome == Outcome.EMPTY:
        return "tolerated_empties"
    return "tolerated_failures" if finding.outcome in FAILURES else "tolerated_changes"


def _limit(name: str, criteria: Criteria) -> float:
    allowed: float = getattr(criteria, name)
    return allowed


def _count_steps(findings: Sequence[Finding], metric: str) -> int:
    """How many different steps failed."""
    return len({str(one.evidence.get("step")) for one in findings if one.metric == metric})
