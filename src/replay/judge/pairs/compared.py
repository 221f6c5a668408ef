"""Production beside pre-production: what fails under production's traffic only, and by how much more."""

import dataclasses

from replay.judge.case import Case
from replay.judge.findings import BLOCKING, CHANGED, SUSPECT, WHOLE_STAGE, Finding
from replay.judge.statistics import mover, rate_difference

SILENT = "never calls it"
_FEW = 20
_Key = tuple[str, str]
_BROKEN = ("failures", CHANGED, "never_recovered")


def with_only_in_production(findings: list[Finding], cases: list[Case], untrusted: set[str]) -> list[Finding]:
    """The findings, those of production workloads with ``only_in_production`` and the interaction.

    True where pre-production, judged alone, passes the same criterion; false where it fails it too; null where it never
    calls the endpoint, where there is no pre-production, where its arms (``untrusted``) prove nothing, or where the
    finding itself, or the same under pre-production, is no more than suspected. An endpoint
    that fails under pre-production too is not slow, or lost for good, in production only: testing would have seen it.
    Nor is what follows from an endpoint that does, or has a cause that shows there too. The whole Stage stands still
    there too where it was seen to, or where all endpoints that fail under production fail there.
    """
    others = [case for case in cases if case.role == "pre-production" and case.workload not in untrusted]
    production = {case.workload for case in cases if case.role == "production"}
    theirs = [one for one in findings if one.workload in {case.workload for case in others}]
    told = [one for one in theirs if one.severity == BLOCKING]
    failing = {finding.key for finding in told}
    doubtful = {finding.key for finding in theirs if finding.severity == SUSPECT}
    doubtful |= {(endpoint, metric) for endpoint, way in doubtful if way in _BROKEN for metric in _BROKEN}
    broken = {str(finding.endpoint) for finding in told if finding.key[1] in _BROKEN}
    failing |= {(endpoint, metric) for endpoint in broken for metric in (*_BROKEN, "recovery_s", "latency_p95_s")}
    causes = {str(one.root) for one in told if one.root and one.proven} | broken
    if broken >= (mine := _broken(findings, production)) and mine:
        failing |= {(WHOLE_STAGE, metric) for metric in ("stall_s", "stalls_s", "failures")}
    return [
        dataclasses.replace(
            finding,
            only_in_production=_only(finding, others, failing, doubtful, causes),
            interaction=_interaction(finding, others),
            evidence={**finding.evidence, **({"pre_production": SILENT} if _is_silent(finding, others) else {})},
        )
        if finding.workload in production
        else finding
        for finding in findings
    ]


def _broken(findings: list[Finding], workloads: set[str]) -> set[str]:
    """The endpoints that fail under these workloads."""
    mine = [one for one in findings if one.workload in workloads and one.severity == BLOCKING]
    return {str(one.endpoint) for one in mine if one.key[1] in _BROKEN}


def _only(
    finding: Finding, others: list[Case], failing: set[_Key], doubtful: set[_Key], causes: set[str]
) -> bool | None:
    if not others or _is_silent(finding, others):
        return None
    if finding.key in failing or finding.root in causes:
        return False
    if finding.severity == SUSPECT or finding.key in doubtful:
        return None
    if finding.metric in {"step_failed", "rollback_failed", "data_after_rollback", "migration_s"}:
        ran = any(span.step == finding.evidence.get("step") for case in others for span in case.all_spans)
        return True if ran else None
    if finding.probe is not None and finding.metric and not any(_measured(case, finding) for case in others):
        return None
    return True


def _is_silent(finding: Finding, others: list[Case]) -> bool:
    """Whether there is a pre-production workload, and none calls the endpoint once the steps have begun."""
    if not others or finding.endpoint in {None, WHOLE_STAGE}:
        return False
    return not any(_calls(case, str(finding.endpoint)) for case in others)


def _calls(case: Case, endpoint: str) -> bool:
    """Whether a workload calls an endpoint from the first step's start on."""
    return bool(case.later[case.rows_of(endpoint)].any())


def _measured(case: Case, finding: Finding) -> bool:
    """Whether the probe of a finding was read in another workload's steps arm."""
    readings, log = case.steps.readings, case.steps.log
    return bool((readings["probe"] == finding.probe).any() or (log["probe"] == finding.probe).any())


def _interaction(finding: Finding, others: list[Case]) -> dict[str, object] | None:
    """How much larger a share of failures is than pre-production's, with a 95% interval.

    Beside the same phase, or all the time since the first step where pre-production has few requests in that phase.
    """
    if finding.unit != "share" or finding.metric or finding.effect is None or finding.interval is None:
        return None
    low, high = finding.interval
    for case in others:
        rows = case.rows_of(str(finding.endpoint))
        called = rows[case.later[rows]]
        here = called[case.texts("phase")[called] == finding.phase]
        here = here if len(here) >= _FEW else called
        n = len(here)
        if not n or low is None or high is None:
            continue
        x, x0 = (
            int((case.flags(f"{arm}_new")[here] & (case.texts(f"{arm}_kind")[here] == finding.outcome)).sum())
            for arm in ("t", "c")
        )
        other = (x - x0) / n
        interval = mover(finding.effect, (low, high), other, rate_difference(x, n, x0, n, 1.0))
        return {"effect": finding.effect - other, "interval": interval, "pre_production": other}
    return None
