"""The verdict on a soak: one long arm without steps (``replay run --criteria``), held against limits and for drift.

The evidence comes first: a run that is not whole, whose load was late, or that is too short to tell, is INCONCLUSIVE,
except where what was seen of it breaks a limit already. ``verdict.json`` has the keys of a rehearsal's; what a soak has
not (steps, phases, locks) is empty.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from replay.judge.findings import BLOCKING, NOTE, Check, Finding, percent, plain, seconds
from replay.judge.soak.criteria import FEWEST_ANSWERS, OF_AN_ENDPOINT, PERCENTILES, SoakCriteria, parse_soak_criteria
from replay.judge.soak.digest import ALL
from replay.judge.soak.drift import Drift, drift_findings, drifts, seasons, series_of
from replay.judge.soak.evidence import DRIFT_ENDPOINTS, Soak, check_evidence, named
from replay.judge.soak.levels import RESTARTED, START_TIME, Restarts

_PROCESSES = "processes"
_RESTARTS = "restarts"
_MOST_REASONS = 6
_MOST_MOMENTS = 5
_QUANTILES = dict(zip(PERCENTILES, (0.5, 0.95, 0.99), strict=True))


@dataclass(frozen=True, slots=True)
class SoakVerdict:
    """GO, NO_GO or INCONCLUSIVE on a soak; ``facts`` are those tables of ``verdict.json`` that a soak has."""

    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    facts: dict[str, Any]


def judge_soak(soak: Soak) -> SoakVerdict:
    """The verdict on a soak. Pure. Raises InputError where its criteria cannot be read."""
    criteria = parse_soak_criteria(soak.rehearsal.get("criteria") or {})
    endpoints = soak.digest.blocks(soak.layout.blocks)
    found = _drifts(soak, endpoints) if criteria.drift_p_value else []
    evidence = list(check_evidence(soak, criteria, endpoints))
    void = any(check.voids and not check.passed for check in evidence)
    findings = [
        *_failures(soak, criteria),
        *_slow(soak, criteria),
        *_restarted(soak, criteria),
        *_drifting(soak, criteria, found),
    ]
    if void:
        findings = [replace(finding, severity=NOTE, proven=False) for finding in findings]
    findings.sort(key=lambda one: (one.severity != BLOCKING, one.endpoint or "~", one.probe or "", one.metric or ""))
    checks = [*evidence, *_changes(soak, criteria, findings, len(found))]
    well = [_unjudged(soak, criteria)]
    well += [check.sentence for check in evidence if check.passed and check.name == DRIFT_ENDPOINTS]
    well += [finding.explanation for finding in findings if finding.metric == _RESTARTS]
    if found:
        well.append(f"None of {len(found)} series of latencies, failures and readings drifts further than it may.")
    verdict = "GO"
    if any(finding.severity == BLOCKING for finding in findings):
        verdict = "NO_GO"
    elif not all(check.passed for check in evidence):
        verdict = "INCONCLUSIVE"
    return SoakVerdict(
        verdict,
        tuple(_reasons(verdict, soak, findings, evidence, well)),
        tuple(findings),
        tuple(checks),
        _facts(soak, criteria),
    )


def _drifts(soak: Soak, endpoints: dict[str, pd.DataFrame]) -> list[Drift]:
    if not soak.layout.enough:
        return []
    series = series_of(endpoints, soak.levels.series(soak.layout.blocks), soak.layout.blocks)
    return drifts(series, soak.layout, seasons(soak.layout, endpoints))


def _drifting(soak: Soak, criteria: SoakCriteria, found: list[Drift]) -> Iterator[Finding]:
    limits = {"": criteria.drift} | {name: own.drift for name, own in criteria.endpoints}
    yield from drift_findings(found, limits, soak.info.workload, soak.info.role, soak.info.arm)


def _finding(soak: Soak, severity: str = BLOCKING, **what: Any) -> Finding:
    return Finding(
        workload=soak.info.workload,
        role=soak.info.role,
        arm=soak.info.arm,
        phase="all through",
        control=None,
        severity=severity,
        proven=True,
        **what,
    )


def _failures(soak: Soak, criteria: SoakCriteria) -> Iterator[Finding]:
    for name in soak.digest.names:
        sent, limit = soak.digest.sent(name), criteria.of(name).failure_share
        failed = soak.digest.failed[name] if name != ALL else soak.digest.failed.total()
        if failed > max(1, limit * sent):
            what = "all endpoints" if name == ALL else name
            yield _finding(
                soak,
                endpoint=name,
                unit="share",
                observed=failed / sent,
                metric="failure_share",
                requests=sent,
                failures=failed,
                explanation=f"{failed:,} of {sent:,} requests of {what} failed and did not in the capture "
                f"({percent(failed / sent)}, limit {percent(limit)}).",
            )


def _slow(soak: Soak, criteria: SoakCriteria) -> Iterator[Finding]:
    for name in soak.digest.names:
        times = soak.digest.latency(name)
        answers = times.total
        for metric, q in _QUANTILES.items():
            limit, observed = getattr(criteria.of(name), metric), times.quantile(q)
            if answers >= FEWEST_ANSWERS and observed is not None and observed > limit:
                what = "all answers" if name == ALL else name
                yield _finding(
                    soak,
                    endpoint=name,
                    unit="s",
                    observed=observed,
                    metric=f"latency_{metric}",
                    requests=answers,
                    explanation=f"The {metric[:3]} of {what} was {seconds(observed)} (limit {seconds(limit)}).",
                )


def _restarted(soak: Soak, criteria: SoakCriteria) -> Iterator[Finding]:
    for probe, found in soak.levels.restarts.items():
        beyond = found.ended > criteria.restarts
        limit = f" (limit {criteria.restarts:,.0f})" if beyond else ""
        yield _finding(
            soak,
            BLOCKING if beyond else NOTE,
            probe=probe,
            unit="count",
            observed=float(found.ended),
            metric=_RESTARTS,
            first_bad_s=found.at_s[0],
            explanation=f"{_told(probe, found)}{limit}.",
            evidence={"at_s": list(found.at_s), "came": found.came},
        )


def _told(probe: str, found: Restarts) -> str:
    what = "1 process" if found.ended == 1 else f"{found.ended:,} processes"
    moments = [seconds(at_s) for at_s in found.at_s[:_MOST_MOMENTS]]
    more = ", ..." if len(found.at_s) > _MOST_MOMENTS else ""
    came = f"and {found.came:,} came anew" if found.came else "and none came anew"
    return f"{what} of the probe {probe!r} ended (at {', '.join(moments)}{more}), {came}"


def _unjudged(soak: Soak, criteria: SoakCriteria) -> str:
    """A sentence on the endpoints that have a limit on times and too few answers for it; empty where there are none."""
    few = [
        name
        for name in soak.digest.names
        if name != ALL
        and any(getattr(criteria.of(name), metric) < float("inf") for metric in PERCENTILES)
        and soak.digest.latency(name).total < FEWEST_ANSWERS
    ]
    if not few:
        return ""
    what = "1 endpoint" if len(few) == 1 else f"{len(few):,} endpoints"
    be = "is" if len(few) == 1 else "are"
    return f"{what} had fewer than {FEWEST_ANSWERS} answers and {be} not judged for time: {named(few)}."


def _changes(soak: Soak, criteria: SoakCriteria, findings: list[Finding], looked_at: int) -> Iterator[Check]:
    failed, sent = soak.digest.failed.total(), soak.digest.sent()
    drifting = f"None of {looked_at} series drifts further than it may."
    asked = [
        ("failures", criteria.failure_share, failed / max(1, sent), "share", f"{failed:,} of {sent:,} failed."),
        ("latency", criteria.p95_s, soak.digest.latency().quantile(0.95), "s", "No answer took too long."),
    ]
    seen = soak.levels.metrics & {_PROCESSES, RESTARTED, START_TIME}
    watched = "No process that a probe watches ended." if seen else "No probe watches a process: no restart is seen."
    ended = sum(found.ended for found in soak.levels.restarts.values())
    within = f"{ended:,} processes ended, as many as may." if ended else watched
    asked.append((_RESTARTS, criteria.restarts, float(ended), "", within))
    if criteria.drift_p_value:
        asked.append(("drift", criteria.drift_p_value, None, "p", drifting))
    unjudged = _unjudged(soak, criteria)
    for name, limit, observed, unit, well in asked:
        against = [one for one in findings if one.criterion == name and one.severity == BLOCKING]
        more = f" ({len(against) - 1} more)" if len(against) > 1 else ""
        sentence = against[0].explanation + more if against else well
        if name == "latency" and unjudged:
            sentence = f"{sentence} {unjudged}"
        workload = soak.info.workload
        yield Check(name, "change", limit, observed, not against, workload, sentence, unit=unit, limit_unit=unit)


def _reasons(
    verdict: str, soak: Soak, findings: list[Finding], evidence: list[Check], well: list[str]
) -> Iterator[str]:
    told = [finding.explanation for finding in findings if finding.severity == BLOCKING]
    yield from told[:_MOST_REASONS]
    if len(told) > _MOST_REASONS:
        yield f"{len(told) - _MOST_REASONS} more limits are broken; verdict.json has them."
    for check in evidence:
        if not check.passed:
            yield f"{check.sentence} {check.hint}"
    if verdict == "GO":
        failed, sent = soak.digest.failed.total(), soak.digest.sent()
        yield f"{failed:,} of {sent:,} requests failed ({percent(failed / max(1, sent))})."
        yield from filter(None, well)


def _facts(soak: Soak, criteria: SoakCriteria) -> dict[str, Any]:
    info, digest = soak.info, soak.digest
    limits = {name: value for name, value in plain(criteria).items() if name not in {"endpoints", "drift_per_hour"}}
    limits |= {"drift_per_hour": dict(criteria.drift_per_hour)}
    of_endpoints = {name: {key: getattr(own, key) for key in OF_AN_ENDPOINT} for name, own in criteria.endpoints}
    limits |= {"endpoints": of_endpoints}
    outcomes: dict[str, int] = {}
    for (_, outcome), count in sorted(digest.outcomes.items()):
        outcomes[outcome] = outcomes.get(outcome, 0) + count
    latency = {metric[:3]: digest.latency().quantile(q) for metric, q in _QUANTILES.items()}
    return {
        "roles": {info.workload: info.role},
        "limits": limits,
        "arms": [
            {
                "arm": info.arm,
                "workload": info.workload,
                "role": info.role,
                "steps": False,
                "state": info.state,
                "duration_s": info.duration_s,
                "planned": info.planned,
                "observed": digest.observed,
                "outcomes": outcomes,
                "latency_s": latency if digest.answered else None,
                "lateness_p99_s": digest.lateness.quantile(0.99),
                "max_replica_lag_s": None,
                "max_replica_lag_bytes": None,
                "max_lock_wait_s": None,
                "log_lines": 0,
            }
        ],
    }
