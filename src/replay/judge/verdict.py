"""Evidence in, verdict out, and ``verdict.json`` beside the evidence.

``verdict.json`` (times are seconds of the arm; shares between 0 and 1; floats have six significant digits; nothing in
it depends on when or where it was made)::

    format 1, name (the run's), verdict GO | NO_GO | INCONCLUSIVE, reasons [sentence...]
    rests_on: what NO_GO rests on, "proof" | "two pairs of arms" | "one pair of arms" | "one arm" (its drift) | null
    grounds [sentence...]: the same in words, which are among the reasons; where findings rest on several things, a
        sentence for each, which names its findings and tells a direct measurement from a proven cause
    workload_verdicts {workload: GO | NO_GO | INCONCLUSIVE}, each judged alone
    roles {workload: role}

    findings [...] in the order in which things broke:
      workload, role, arm, phase ("during STEP", "after STEP"), severity, proven
          severity: blocking (NO_GO), suspect (seen once, not confirmed: INCONCLUSIVE), note (shown, changes nothing)
          proven: a lock behind the step, an error naming what the step changed, or a direct measurement proves it
      confirmed true | false | null: a second pair of arms showed it again, did not, or was not played
      endpoint ("*" is the whole Stage) or probe ("steps" for a step that failed); the other is null
      outcome (refused, server error, empty, timeout, no connection, unsent, wrong shape, shrunken, stale, let in, too
          late) and difference (emptied, newly failing, or the same last five); or metric (latency_p95_s, stall_s,
          never_recovered, recovery_s, lock_wait_s, lock_contention, replica_lag_s, replica_lag_bytes, log_lines,
          new_error_lines, step_failed, rollback_failed, data_after_rollback, migration_s, invalid_indexes (always a
          note)); both where only the other arm's answers tell it (changed_answers, of wrong shape or shrunken)
      unit (share, s, bytes, lines/s, count), control, observed, effect (observed - control), interval [low, high]|null,
          p_value | null, requests and failures (the counts behind a share)
      only_in_production true | false | null (why, where pre-production is: evidence.pre_production); interaction
          {effect, interval, pre_production} | null: how much larger an effect on an endpoint's failures, answers or
          latency is than under the pre-production workload
      root (a sentence part, or the endpoint that caused it) | null; explanation (one sentence)
      first_bad_s, recovered_s (null: never), outage_s of the endpoint
      evidence {"requests": [numbers: the first five; the slowest, the last of what never came back], ...}; of a
          blocking or suspect endpoint: at_the_same_time [{what, probe, overlap_s}] (what else was seen just then, which
          proves nothing); of a slow endpoint: {times (so many times as long as without the steps)};
          of a lock: {step, statement (that waited itself, or took the lock),
          held_up_by, held_up_by_query (whom the step waited for; null: it held the lock itself), running [what the step
          ran while the application waited, most often seen first], deadlock (the step waited for one that waited for
          it), queued, own_wait_s, waiting_endpoints {endpoint: longest wait}, waiting_queries [...], from_s, to_s}; of
          a replica: {replica, at_s, caught_up_s, growing, slope, bytes}; of a log: {at_s, seconds, templates
          [{template, count, new}]}; of a step: {step, kind, statement, error}

    criteria [{name, about (change | evidence), limit, observed, passed, workload | null, sentence, hint, unit (of what
          was observed), limit_unit, evidence {arm, requests} (of a control_agreement that failed)}]: each blocking
          finding belongs to a failed one about the change; where nothing is concluded from a workload's requests and
          probes, its only one about the change is steps_succeed
    limits {name: number}: the criteria as they were set
    arms [{arm, workload, role, steps, state, duration_s, planned, observed, outcomes {outcome: n}, latency_s {p50, p95,
          p99} | null, lateness_p99_s, max_replica_lag_s, max_replica_lag_bytes, max_lock_wait_s, log_lines}]
    steps [{arm, workload, step, kind, started_s, ended_s, duration_s, failed, error, lock_wait_s (the application's
          longest behind it), own_wait_s, queued, statements [{index, statement, started_s, ended_s, duration_s, failed,
          error, rows, own_wait_s (the longest it was seen to wait for a lock; null: nobody looked)}]}]
    endpoints [{workload, arm, endpoint, control {requests, failed, empty, p50_s, p95_s}, steps {the same}, phases
          {phase: {requests, failed, empty, control_failed, p95_s}}, first_bad_s, recovered_s, never_recovered,
          outage_s, outages [{last_good_s | null, first_bad_s, last_bad_s, first_good_s | null (not seen to come back),
          broke and came_back | null (phases), requests, failures (of those)}] of endpoints with a finding that is no
          note, see `replay.judge.effects.outages`, smallest_effect {failures, share} | null}]
          failed counts new failures, see `replay.judge.answers.differences`
    broke_first [{workload, endpoint, first_bad_s, recovered_s, share, root}]: the endpoints that broke by themselves
    timeline [{at_s, workload, arm, kind (step, endpoint, recovery, outage, back, lock, replica, log), subject, what}]
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.errors import ToolError
from replay.evidence.files import write_json
from replay.evidence.run import ArmEvidence, Evidence, read_rehearsal, read_run
from replay.evidence.values import QUIET
from replay.judge.afterwards import afterwards_checks, afterwards_findings, check_compared
from replay.judge.answers.differences import COLUMNS
from replay.judge.case import Case, as_far_as_played, empty_like
from replay.judge.checks import as_far_as_trusted, change_checks, with_all_findings
from replay.judge.criteria import Criteria, parse_criteria
from replay.judge.effects.changes import change_findings
from replay.judge.effects.explain import failure_findings, slowdown_findings
from replay.judge.effects.failures import Effect
from replay.judge.effects.outages import outages
from replay.judge.effects.stalls import stall_findings
from replay.judge.effects.tolerances import tolerate
from replay.judge.effects.whole import whole_findings
from replay.judge.findings import (
    BLOCKING,
    GROUNDS,
    NOTE,
    RANK,
    REQUESTS,
    STEP_METRICS,
    SUSPECT,
    UNPROVEN,
    Check,
    Finding,
    plain,
)
from replay.judge.pairs.again import Seen, seen, shown_again, shown_again_among
from replay.judge.pairs.compared import with_only_in_production
from replay.judge.pairs.confirmation import confirm, unconfirmed
from replay.judge.pairs.repetitions import gather, trials_of
from replay.judge.probes.beside import with_what_was_beside
from replay.judge.probes.contention import with_contentions
from replay.judge.probes.direct import lock_findings, log_findings, replica_findings, step_findings
from replay.judge.probes.indexes import index_findings
from replay.judge.reasons import grounds, reasons
from replay.judge.soak.criteria import SOAK
from replay.judge.soak.evidence import read_soak
from replay.judge.soak.long_arms import long_arm_findings
from replay.judge.soak.verdict import judge_soak
from replay.judge.tables import arm_row, broke_first, endpoint_row, step_rows, timeline
from replay.judge.trust.arms import as_can_be
from replay.judge.trust.coverage import check_coverage
from replay.judge.trust.limits import check_limits
from replay.judge.trust.soundness import check_quiet, check_run, check_workload

GO = "GO"
NO_GO = "NO_GO"
INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Verdict:
    """GO, NO_GO or INCONCLUSIVE, with its reasons, findings and checks. ``facts`` are ``verdict.json``'s tables."""

    name: str
    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    workload_verdicts: dict[str, str]
    facts: dict[str, Any]

    @property
    def rests_on(self) -> str | None:
        """What NO_GO rests on: the strongest of its blocking findings. None for another verdict."""
        found = {finding.rests_on for finding in self.findings if finding.severity == BLOCKING}
        return next((ground for ground in GROUNDS if ground in found), None)

    @property
    def unconfirmed(self) -> dict[str, str]:
        """The workloads that want a second pair of arms, each with the steps arm that it repeats."""
        return unconfirmed(self.findings, self.checks)

    def to_json(self) -> dict[str, Any]:
        """The content of ``verdict.json``."""
        document: dict[str, Any] = plain(
            {
                "format": 1,
                "name": self.name,
                "verdict": self.verdict,
                "rests_on": self.rests_on,
                "grounds": grounds([one for one in self.findings if one.severity == BLOCKING]),
                "reasons": self.reasons,
                "findings": self.findings,
                "criteria": self.checks,
                "workload_verdicts": self.workload_verdicts,
                **self.facts,
            }
        )
        for check in document["criteria"]:
            del check["voids"]
        return document


def judge_run(path: Path) -> Verdict:
    """Judge the run in folder ``path``, write its ``verdict.json``, and return the verdict.

    Raises InputError where ``path`` is not a run or its criteria cannot be read, Unwritten where ``verdict.json``
    cannot be written.
    """
    verdict = _judge_soak(path) if read_rehearsal(path).get("kind") == SOAK else judge(read_run(path, COLUMNS))
    file = path / "verdict.json"
    try:
        write_json(file, verdict.to_json())
    except OSError as error:
        raise Unwritten(verdict, file, error.strerror or str(error)) from error
    return verdict


class Unwritten(ToolError):
    """The ``verdict`` is there, and its file is not."""

    def __init__(self, verdict: Verdict, file: Path, why: str) -> None:
        old = " The one that is there is an older verdict." if file.exists() else ""
        super().__init__(
            f"The verdict is {verdict.verdict}, but {file} could not be written: {why}.{old}",
            f"Make room, or get the right to write there, then: replay judge {file.parent}",
        )
        self.verdict = verdict


def _judge_soak(path: Path) -> Verdict:
    """The verdict on a soak: what a rehearsal's has and a soak has not is empty."""
    soak = read_soak(path)
    judged = judge_soak(soak)
    return Verdict(
        name=str(soak.rehearsal.get("name", "")),
        verdict=judged.verdict,
        reasons=judged.reasons,
        findings=judged.findings,
        checks=judged.checks,
        workload_verdicts={soak.info.workload: judged.verdict},
        facts=judge(Evidence(path, {}, {}, {})).facts | judged.facts,
    )


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the evidence. Pure: the same evidence gives the same verdict, to the byte.

    Raises InputError where the plan's criteria cannot be read.
    """
    criteria = parse_criteria(evidence.rehearsal.get("criteria") or {})
    evidence = dataclasses.replace(evidence, arms={name: as_can_be(arm) for name, arm in evidence.arms.items()})
    checks = check_run(evidence, criteria)
    cases: list[Case] = []
    effects: dict[str, list[Effect]] = {}
    all_shown: dict[str, Seen] = {}
    findings: list[Finding] = []
    voided: dict[str, set[str]] = {}
    for trial in trials_of(evidence):
        checks += check_workload(evidence, trial, criteria)
        voids = voided[trial.workload] = {check.voids for check in checks if check.workload in {None, trial.workload}}
        own = [_case(trial.controls_for(number), steps, evidence, criteria) for number, steps in enumerate(trial.steps)]
        second = [_case(trial.second[:1], trial.second[1], evidence, criteria)] if trial.second else []
        shown = {case.arm: seen(case) for case in (*own, *second)}
        effects |= {arm: list(one.effects) for arm, one in shown.items()}
        all_shown |= shown
        if REQUESTS not in voids:  # else nothing is seen, whatever it is asked for
            seen_by = [case for case in own[:1] if case.role == "production" and case.spans]
            checks += [check_coverage(case, effects[case.arm]) for case in seen_by]
        sound = not voids & {REQUESTS, UNPROVEN}
        found = [_weighed(one, voids) for case in own for one in _findings(case, shown[case.arm])]
        repeated = shown_again_among([shown[one.arm] for one in own], criteria)
        found = gather(found, len(own), repeated, sound=sound)
        for case in second:
            others = [_weighed(one, voids) for one in _findings(case, shown[case.arm])]
            again = shown_again([shown[one.arm] for one in own], shown[case.arm], criteria)
            found = confirm(found, others, again, sound=sound)
        findings += found
        findings += [_weighed(one, voids) for case in (*own, *second) for one in afterwards_findings(case, evidence)]
        cases += [*own, *second]
    findings = with_contentions(findings, cases)
    checks += check_quiet(evidence)
    checks += check_limits(evidence, cases)
    checks += [
        check for case in [*cases, *_quiet_cases(evidence, criteria)] for check in check_compared(case, evidence)
    ]
    untrusted = {workload for workload, voids in voided.items() if REQUESTS in voids}
    findings = with_only_in_production(findings, cases, all_shown, untrusted)
    findings = with_what_was_beside(findings, cases)
    drifting = [_weighed(one, voided.get(one.workload, set())) for one in long_arm_findings(evidence, criteria)]
    quiet = _quiet_cases(evidence, criteria)
    left = index_findings([*cases, *quiet])
    findings = _in_order(tolerate([*findings, *_quiet_findings(quiet, evidence), *drifting, *left], criteria))
    about_change = change_checks([*cases, *quiet], findings, effects)
    about_change += afterwards_checks([*cases, *quiet], evidence, findings)
    checks += with_all_findings(as_far_as_trusted(about_change, untrusted), findings)
    alone = {
        workload: _decide(
            [finding for finding in findings if finding.workload == workload],
            [check for check in checks if check.workload in {None, workload} and check.name != "production_rehearsed"],
        )
        for workload in voided
    }
    verdict = _decide(findings, checks)
    return Verdict(
        name=str(evidence.rehearsal.get("name", "")),
        verdict=verdict,
        reasons=tuple(reasons(verdict, findings, checks, cases)),
        findings=tuple(findings),
        checks=tuple(checks),
        workload_verdicts=alone,
        facts=_facts(evidence, criteria, cases, effects, findings),
    )


def _case(controls: Sequence[ArmEvidence], steps: ArmEvidence, evidence: Evidence, criteria: Criteria) -> Case:
    control, *more = map(as_far_as_played, controls or (empty_like(steps),))
    played, info = as_far_as_played(steps), steps.info
    sql, givers = _sql(evidence), _givers(evidence)
    return Case(info.workload, info.role, control, played, criteria, sql, tuple(more), givers)


def _givers(evidence: Evidence) -> frozenset[str]:
    """The endpoints that hand out what later requests authenticate with."""
    roles = evidence.rehearsal.get("endpoint_roles")
    told = roles.items() if isinstance(roles, dict) else ()
    return frozenset(endpoint for endpoint, role in told if role == "authentication")


def _sql(evidence: Evidence) -> tuple[str, ...]:
    migrations = evidence.rehearsal.get("migrations")
    listed = migrations if isinstance(migrations, list) else []
    return tuple(str(one.get("sql") or "") for one in listed if isinstance(one, dict))


def _findings(case: Case, shown: Seen) -> list[Finding]:
    found = [*step_findings(case), *lock_findings(case), *replica_findings(case), *log_findings(case)]
    if case.later.any():
        found += stall_findings(case)
        for effect in shown.effects:
            found += failure_findings(case, effect)
        for slow in shown.slowdowns:
            found += slowdown_findings(case, slow)
        told = {(one.endpoint, one.outcome) for one in found if one.severity != NOTE}
        for change in shown.changes:
            if (change.endpoint, change.kind) not in told:
                found += change_findings(case, change)
        if all(one.severity == NOTE for one in found):
            found += whole_findings(case, shown.whole)
    return [dataclasses.replace(finding, role=case.role) for finding in found]


def _quiet_cases(evidence: Evidence, criteria: Criteria) -> list[Case]:
    quiet = [arm for arm in evidence.arms.values() if arm.info.role == QUIET]
    return [Case(QUIET, QUIET, empty_like(arm), arm, criteria) for arm in quiet]


def _quiet_findings(cases: list[Case], evidence: Evidence) -> list[Finding]:
    """What failed without any traffic, took too long, or was left behind. Nothing else is asked of such an arm."""
    return [
        dataclasses.replace(finding, role=QUIET)
        for case in cases
        for finding in (*step_findings(case), *afterwards_findings(case, evidence))
    ]


def _weighed(finding: Finding, voids: set[str]) -> Finding:
    """The finding as far as the evidence carries it: less than blocking where it is worth less."""
    if finding.metric in STEP_METRICS or finding.severity == NOTE:
        return finding
    if REQUESTS in voids:
        return dataclasses.replace(finding, severity=NOTE, proven=False)
    if UNPROVEN in voids and not finding.proven:
        return dataclasses.replace(finding, severity=SUSPECT)
    return finding


def _decide(findings: list[Finding], checks: list[Check]) -> str:
    """A proven NO_GO outranks INCONCLUSIVE; no evidence is never GO."""
    if any(finding.severity == BLOCKING for finding in findings):
        return NO_GO
    sound = all(check.passed for check in checks if check.about == "evidence")
    if not checks or not sound or any(finding.severity == SUSPECT for finding in findings):
        return INCONCLUSIVE
    return GO


def _in_order(findings: list[Finding]) -> list[Finding]:
    """In the order in which things broke; within one second the larger share first."""
    return sorted(
        findings,
        key=lambda finding: (
            RANK[finding.severity],
            math.inf if finding.first_bad_s is None else math.floor(finding.first_bad_s),
            -(finding.observed or 0.0) if finding.unit == "share" else 0.0,
            finding.workload,
            math.inf if finding.first_bad_s is None else finding.first_bad_s,
            finding.endpoint or "",
            finding.probe or "",
            finding.metric or "",
            finding.phase,
            finding.outcome or "",
            finding.explanation,
        ),
    )


def _facts(
    evidence: Evidence,
    criteria: Criteria,
    cases: list[Case],
    effects: dict[str, list[Effect]],
    findings: list[Finding],
) -> dict[str, Any]:
    arms = [evidence.arms[name] for name in sorted(evidence.arms)]
    broken = [outages(case, effects[case.arm], findings) for case in cases]
    limits = {name: value for name, value in plain(criteria).items() if name != "endpoints"}
    return {
        "roles": {arm.info.workload: arm.info.role for arm in arms},
        "limits": limits | {"endpoints": {name: plain(own) for name, own in criteria.endpoints}},
        "arms": [arm_row(arm) for arm in arms],
        "steps": [row for arm in arms for row in step_rows(arm)],
        "endpoints": [
            endpoint_row(case, effect, found.get(effect.endpoint, []))
            for case, found in zip(cases, broken, strict=True)
            for effect in effects[case.arm]
        ],
        "broke_first": broke_first([finding for finding in findings if finding.severity != NOTE]),
        "timeline": timeline(cases, findings, broken),
    }
