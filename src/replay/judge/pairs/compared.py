"""Production beside pre-production: what fails under production's traffic only, and by how much more."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from replay.judge.case import Case
from replay.judge.findings import BLOCKING, CHANGED, NOTE, SUSPECT, WHOLE_STAGE, Finding
from replay.judge.pairs.again import Seen
from replay.judge.pairs.counterpart import Counterpart, interaction

BESIDE = "pre_production"  # in a finding's evidence: why ``only_in_production`` is null, as what pre-production does
SILENT = "never calls it"
TOO_EARLY = "calls it, but not after the steps began"
TOO_SELDOM = "calls it too seldom to tell"
A_LITTLE = "shows a little of it too, too little to tell"
SUSPECTED = "is suspected of it too, which is not confirmed"
_Key = tuple[str, str]
_BROKEN = ("failures", CHANGED, "never_recovered")


def with_only_in_production(
    findings: list[Finding], cases: list[Case], shown: Mapping[str, Seen], untrusted: set[str]
) -> list[Finding]:
    """The findings, those of production workloads with ``only_in_production`` and the interaction.

    True where pre-production, judged alone, passes the same criterion; false where it fails it too; null where it never
    calls the endpoint (from the first step on), or so seldom that it could not show there, nor did the lock behind
    it; where it shows a little of it, or is suspected of it; where there is no pre-production, its arms
    (``untrusted``) prove nothing, or the finding itself is no more than suspected. Their ``evidence`` says what
    pre-production does. An endpoint that fails under pre-production too is not slow, or lost for good, in production
    only: testing would have seen it.
    Nor is what follows from an endpoint that does, or has a cause that shows there too. The whole Stage stands still
    there too where it was seen to, or where all endpoints that fail under production fail there.

    ``shown`` is what each steps arm shows, by its name.
    """
    others = [
        Counterpart(case, shown[case.arm])
        for case in cases
        if case.role == "pre-production" and case.workload not in untrusted
    ]
    production = {case.workload for case in cases if case.role == "production"}
    known = _Known.of(findings, others, production)
    return [_held_against(one, others, known) if one.workload in production else one for one in findings]


@dataclass(frozen=True, slots=True)
class _Known:
    """What pre-production fails too, what it is suspected of, and the causes and endpoints that broke there.

    ``apart`` are the locks that production waited for and pre-production, where a probe looked, did not. ``visible`` is
    what would show there if it were as in production.
    """

    failing: set[_Key]
    doubtful: set[_Key]
    causes: set[str]
    apart: set[str]
    visible: set[_Key]

    @classmethod
    def of(cls, findings: Sequence[Finding], others: Sequence[Counterpart], production: set[str]) -> "_Known":
        """By the findings of these workloads."""
        theirs = [one for one in findings if one.workload in {other.case.workload for other in others}]
        told = [one for one in theirs if one.severity == BLOCKING]
        failing = {finding.key for finding in told}
        doubtful = {finding.key for finding in theirs if finding.severity == SUSPECT}
        doubtful |= {(endpoint, metric) for endpoint, way in doubtful if way in _BROKEN for metric in _BROKEN}
        broken = {str(finding.endpoint) for finding in told if finding.key[1] in _BROKEN}
        failing |= {(endpoint, metric) for endpoint in broken for metric in (*_BROKEN, "recovery_s", "latency_p95_s")}
        causes = {str(one.root) for one in told if one.root and one.proven} | broken
        if broken >= (of_production := _broken(findings, production)) and of_production:
            failing |= {(WHOLE_STAGE, metric) for metric in ("stall_s", "stalls_s", "failures")}
        waits = [one for one in findings if one.workload in production and one.metric == "lock_wait_s"]
        apart = {
            str(one.root)
            for one in waits
            if one.key not in failing | doubtful and any(other.measures(str(one.probe)) for other in others)
        }
        mine = [one for one in findings if one.workload in production and one.severity != NOTE]
        visible = {one.key for one in mine if any(other.could_show(one, _share(one, mine)) for other in others)}
        return cls(failing, doubtful, causes, apart, visible)


def _broken(findings: Sequence[Finding], workloads: set[str]) -> set[str]:
    """The endpoints that fail under these workloads."""
    mine = [one for one in findings if one.workload in workloads and one.severity == BLOCKING]
    return {str(one.endpoint) for one in mine if one.key[1] in _BROKEN}


def _share(finding: Finding, findings: Sequence[Finding]) -> float:
    """The share of an endpoint's requests that have the effect, in whatever way they failed in that phase.

    Lost for good are all of the last ones.
    """
    if finding.unit != "share":
        return 1.0
    place = (finding.arm, finding.phase, finding.key)
    return sum(one.effect or 0.0 for one in findings if one.unit == "share" and (one.arm, one.phase, one.key) == place)


def _held_against(finding: Finding, others: Sequence[Counterpart], known: _Known) -> Finding:
    only, why = _only(finding, others, known)
    apart = interaction(finding, others)
    return dataclasses.replace(
        finding,
        only_in_production=only,
        interaction=None if apart is None else dataclasses.asdict(apart),
        evidence={**finding.evidence, **({BESIDE: why} if why else {})},
    )


def _only(finding: Finding, others: Sequence[Counterpart], known: _Known) -> tuple[bool | None, str]:
    """(``only_in_production``, why it is null where pre-production is why)."""
    if not others:
        return None, ""
    if silent := _silent(finding, others):
        return None, silent
    if finding.key in known.failing or finding.root in known.causes:
        return False, ""
    if finding.severity == SUSPECT:
        return None, ""
    if finding.key in known.doubtful:
        return None, SUSPECTED
    if finding.metric in {"step_failed", "rollback_failed", "data_after_rollback", "migration_s"}:
        step = finding.evidence.get("step")
        ran = any(span.step == step for other in others for span in other.case.all_spans)
        return (True if ran else None), ""
    if finding.probe is not None and finding.metric and not any(one.measures(finding.probe) for one in others):
        return None, ""
    if finding.endpoint not in {None, WHOLE_STAGE}:
        if any(one.shows(finding) for one in others):
            return None, A_LITTLE
        caused = {finding.root, finding.evidence.get("cause")} & known.apart
        if not caused and finding.key not in known.visible:
            return None, TOO_SELDOM
    return True, ""


def _silent(finding: Finding, others: Sequence[Counterpart]) -> str:
    """That no pre-production workload calls the endpoint at all, or once the steps have begun; else nothing."""
    endpoint = finding.endpoint
    if endpoint is None or endpoint == WHOLE_STAGE or any(one.calls(endpoint) for one in others):
        return ""
    return TOO_EARLY if any(one.calls(endpoint, later=False) for one in others) else SILENT
