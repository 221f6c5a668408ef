"""Effects on endpoints as findings: one for each phase and kind, with a sentence that an outsider understands."""

from collections import Counter

import numpy as np

from replay.judge.answers.details import detail
from replay.judge.answers.differences import FAILURES, difference_of
from replay.judge.arrays import Rows, Times
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.failures import Effect
from replay.judge.effects.noise import Stall, near_stall
from replay.judge.effects.slowdowns import Slowdown
from replay.judge.findings import BLOCKING, NOTE, STRONG, SUSPECT, Finding, percent, seconds
from replay.judge.phases import phase_at
from replay.judge.statistics import more_failures_p, mover, quantile_interval, rate_difference

_VERBS = {
    "empty": "came back empty",
    "server error": "failed with a server error",
    "refused": "were refused",
    "timeout": "timed out",
    "no connection": "got no connection",
    "unsent": "could not be sent",
    "wrong shape": "came back in another shape",
    "shrunken": "came back with less than half of their items",
    "let in": "were let in, which had been refused",
    "too late": "were answered later than their clients wait",
    "stale": "gave back what had been before the visit's own write",
}
_SHOWN = 5
_A_TWENTIETH = 20  # answers, of which the slowest 5% are one, or none
_LONGER_S = 1.0  # than any stall of the reference
_STALLS_P = 0.05  # of so many stalls, where each is one event
WHOLE_STAGE = "*"


def failure_findings(case: Case, effect: Effect) -> list[Finding]:
    """The findings about one endpoint's failures; none where the effect is none."""
    if not effect.severity:
        return []
    phase, kinds = case.texts("phase")[effect.rows], case.texts("t_kind")[effect.rows]
    new = case.flags("t_new")[effect.rows]
    found = []
    for name in effect.phases:
        counts = Counter(kinds[new & (phase == name)].tolist())
        kept = [kind for kind, count in sorted(counts.items()) if count >= 5]
        found += [
            _failure_finding(case, effect, name, kind, effect.rows[phase == name])
            for kind in kept or [max(sorted(counts), key=lambda kind: counts[kind])]
        ]
    if effect.first_bad_s is not None and effect.recovered_s is None and (effect.gone or effect.severity == BLOCKING):
        found.append(_never_recovered(case, effect))
    limit_s = case.criteria.of(effect.endpoint).recovery_s
    if limit_s is not None and effect.severity != NOTE and effect.took_s is not None and effect.took_s > limit_s:
        found.append(_late_recovery(case, effect, limit_s))
    return found


def _failure_finding(case: Case, effect: Effect, phase: str, kind: str, rows: Rows) -> Finding:
    hit = rows[case.flags("t_new")[rows] & (case.texts("t_kind")[rows] == kind)]
    in_control = rows[case.flags("c_new")[rows] & (case.texts("c_kind")[rows] == kind)]
    n, x, x_control = len(rows), len(hit), len(in_control)
    cause = case.cause_of(case.column("root_start")[hit], case.column("root_end")[hit]) if effect.caused else None
    by = _caused_by(case, effect.endpoint, hit)
    because = f", because {by} had failed before them" if by else ""
    without = f"{x_control} of the same requests did" if x_control else "none of the same requests did"
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase,
        unit="share",
        observed=x / n,
        control=x_control / n,
        explanation=f"{effect.endpoint}: {x} of {n} requests ({percent(x / n)}) {_VERBS.get(kind, kind)}"
        f"{detail(case, kind, hit)} {said(phase)}{because}; without the steps {without}.",
        severity=BLOCKING if cause else effect.alone or NOTE,
        endpoint=effect.endpoint,
        outcome=kind,
        difference=difference_of(kind),
        effect=(x - x_control) / n,
        interval=rate_difference(x, n, x_control, n, effect.test.phi),
        p_value=effect.p_value,
        root=by or cause,
        proven=cause is not None,
        first_bad_s=effect.first_bad_s,
        recovered_s=effect.recovered_s,
        outage_s=effect.outage_s,
        requests=n,
        failures=x,
        evidence={
            "requests": [int(number) for number in case.pairs["request"].to_numpy()[hit[:_SHOWN]]],
            **({STRONG: True} if effect.strong else {}),
            **({"cause": cause} if by and cause else {}),
        },
    )


def _caused_by(case: Case, endpoint: str, hit: Rows) -> str | None:
    """The endpoint whose failures left at least half of these requests without what they needed."""
    others = [str(name) for name in case.texts("root_endpoint")[hit] if name != endpoint]
    if 2 * len(others) < len(hit) or not others:
        return None
    return Counter(sorted(others)).most_common(1)[0][0]


def _never_recovered(case: Case, effect: Effect) -> Finding:
    lasted_s = max(0.0, case.end_s - (effect.first_bad_s or 0.0))
    kinds = set(case.texts("t_kind")[effect.rows[case.flags("t_new")[effect.rows] & case.later[effect.rows]]].tolist())
    told = (
        f"{effect.endpoint} was still failing when the arm ended, {seconds(lasted_s)} after it broke."
        if kinds & FAILURES
        else f"{effect.endpoint} still answered in another way when the arm ended, {seconds(lasted_s)} later."
    )
    return _unavailable(case, effect, "never_recovered", lasted_s, told)


def _late_recovery(case: Case, effect: Effect, limit_s: float) -> Finding:
    took_s = effect.took_s or 0.0
    told = f"{effect.endpoint} came back {seconds(took_s)} after it broke; {seconds(limit_s)} are allowed."
    return _unavailable(case, effect, "recovery_s", took_s, told)


def _unavailable(case: Case, effect: Effect, metric: str, lasted_s: float, told: str) -> Finding:
    failing = effect.rows[case.flags("t_new")[effect.rows] & case.later[effect.rows]]
    cause = (
        case.cause_of(case.column("root_start")[failing], case.column("root_end")[failing]) if effect.caused else None
    )
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase_at(case.spans, case.end_s if effect.recovered_s is None else effect.recovered_s),
        unit="s",
        observed=lasted_s,
        control=0.0,
        explanation=told,
        severity=effect.severity,
        endpoint=effect.endpoint,
        metric=metric,
        effect=lasted_s,
        root=_caused_by(case, effect.endpoint, failing) or cause,
        proven=cause is not None,
        first_bad_s=effect.first_bad_s,
        recovered_s=effect.recovered_s,
        outage_s=effect.outage_s,
    )


def slowdown_findings(case: Case, slow: Slowdown) -> list[Finding]:
    """The findings about one endpoint's latency, one for each phase in which it was slow."""
    if not slow.severity:
        return []
    found = []
    limits = case.criteria.of(slow.endpoint)
    t_latency, c_latency = case.column("t_latency"), case.column("c_latency")
    for phase in slow.phases:
        rows = slow.rows[case.texts("phase")[slow.rows] == phase]
        with_steps = t_latency[rows[case.flags("t_good")[rows]]]
        without = c_latency[rows[case.flags("c_good")[rows]]]
        with_steps, without = with_steps[np.isfinite(with_steps)], without[np.isfinite(without)]
        if not len(with_steps) or not len(without):
            continue
        observed, control = float(np.quantile(with_steps, 0.95)), float(np.quantile(without, 0.95))
        interval = mover(observed, quantile_interval(with_steps, 0.95), control, quantile_interval(without, 0.95))
        told, times = _slowness(slow, phase, with_steps, without, limits)
        found.append(
            Finding(
                workload=case.workload,
                arm=case.steps.info.arm,
                phase=phase,
                unit="s",
                observed=observed,
                control=control,
                explanation=f"{slow.endpoint}: {told}",
                severity=slow.severity,
                endpoint=slow.endpoint,
                metric="latency_p95_s",
                effect=observed - control,
                interval=interval,
                p_value=slow.p_value,
                root=slow.cause,
                proven=slow.cause is not None,
                requests=len(with_steps),
                failures=int((with_steps > slow.limit_s).sum()),
                evidence={"times": times},
            )
        )
    return found


def _slowness(
    slow: Slowdown, phase: str, with_steps: Times, without: Times, limits: Criteria
) -> tuple[str, float | None]:
    """How slow the answers of a phase were, in words, and how many times as long they took; None where that is unknown.

    ``with_steps`` and ``without`` are the latencies of both arms, in seconds, shapes (n,) and (m,).
    """
    observed, control = float(np.quantile(with_steps, 0.95)), float(np.quantile(without, 0.95))
    far, far_control = int((with_steps > slow.limit_s).sum()), int((without > slow.limit_s).sum())
    shift = slow.shift(limits)
    longer = "" if shift is None else f"its answers took {shift.ratio:.1f} times as long {said(phase)} as those to"
    if shift is not None and shift.ratio >= limits.latency_ratio:
        told = (
            f"{longer} the same requests did without the steps; {slowest(len(with_steps))} took {seconds(observed)} or "
            f"more, and {seconds(control)} without."
        )
        return told, shift.ratio
    if observed > slow.limit_s:
        told = (
            f"{slowest(len(with_steps))} took {seconds(observed)} or more {said(phase)}; the same requests took "
            f"{seconds(control)} without the steps."
        )
        return told, observed / control if control > 0 else None
    if shift is not None:
        return f"{longer} the same requests did without the steps.", shift.ratio
    if far <= far_control:  # as the answers came, they took no longer
        told = (
            f"its slowest answers took longer {said(phase)}, beside what all endpoints took then; at most "
            f"{seconds(float(with_steps.max()))}, and {seconds(float(without.max()))} without the steps."
        )
        return told, None
    told = (
        f"{far} of {len(with_steps)} answers took longer than {seconds(slow.limit_s)} {said(phase)}; "
        f"{far_control} of the same requests did without the steps."
    )
    beyond = float(np.median(with_steps[with_steps > slow.limit_s]))
    return told, beyond / slow.reference_p95_s if slow.reference_p95_s > 0 else None


def slowest(answers: int) -> str:
    """The slowest twentieth of so many answers, in words."""
    return f"the slowest 5% of {answers} answers" if answers > _A_TWENTIETH else f"the slowest of {answers} answers"


def stall_findings(case: Case) -> list[Finding]:
    """The times in which the whole Stage gave no success: the longest, and all of them where they add up."""
    return [*_longest_stall(case), *_many_stalls(case)]


def _many_stalls(case: Case) -> list[Finding]:
    """That there are many short ones since the first step, which add up to more than one may last."""
    limits, later, reference = case.criteria, case.later_stalls, case.reference_stalls
    lasted_s, other_s = (sum(stall.length_s for stall in stalls) for stalls in (later, reference))
    since_s = case.end_s - case.first_step_s
    else_s = case.end_s * (1 + len(case.beside)) + case.first_step_s
    usual_s = other_s * since_s / else_s if len(later) > 1 else 0.0
    p_value = more_failures_p(len(later), since_s, len(reference), else_s, 1.0) if len(later) > 1 else 1.0
    longest_s = max((stall.length_s for stall in later), default=0.0)
    if p_value > _STALLS_P or lasted_s - usual_s < limits.stall_s or longest_s >= limits.stall_s:
        return []
    lost = int((case.flags("t_new") & near_stall(case.column("t_start"), later)).sum())
    return [
        Finding(
            workload=case.workload,
            arm=case.steps.info.arm,
            phase=phase_at(case.spans, later[0].from_s),
            unit="s",
            observed=lasted_s,
            control=usual_s,
            explanation=f"The whole Stage gave no good answer {len(later)} times since the first step, for "
            f"{seconds(lasted_s)} in all, and {lost} requests failed newly about then; otherwise "
            + (f"it did so {len(reference)} times, for {seconds(other_s)}." if reference else "it never did so."),
            severity=SUSPECT,
            endpoint=WHOLE_STAGE,
            metric="stalls_s",
            effect=lasted_s - usual_s,
            p_value=p_value,
            first_bad_s=later[0].from_s,
            recovered_s=later[-1].to_s,
            failures=lost,
        )
    ]


def _longest_stall(case: Case) -> list[Finding]:
    """The longest one: of weight where it is too long, else a note.

    Nothing is said where the reference has as long a one, or where nobody failed for it.
    """
    limits = case.criteria
    reference_s = max((stall.length_s for stall in case.reference_stalls), default=0.0)
    worst = max(case.later_stalls, key=lambda stall: stall.length_s, default=Stall(0.0, 0.0))
    if worst.length_s < reference_s + _LONGER_S:
        return []
    if worst.length_s < limits.stall_s and not (case.flags("t_new") & case.later & case.masked[1]).any():
        return []
    at = np.array([worst.from_s]), np.array([worst.to_s])
    proven = case.behind_lock(worst)
    phase = phase_at(case.spans, worst.from_s)
    severity = BLOCKING if proven or worst.length_s >= limits.unavailable_s else SUSPECT
    severity = severity if worst.length_s >= limits.stall_s else NOTE
    compared = (
        f"the longest such time otherwise was {seconds(reference_s)}" if reference_s else "otherwise it never did so"
    )
    return [
        Finding(
            workload=case.workload,
            arm=case.steps.info.arm,
            phase=phase,
            unit="s",
            observed=worst.length_s,
            control=reference_s,
            explanation=f"The whole Stage gave no good answer for {seconds(worst.length_s)} {said(phase)}; {compared}.",
            severity=severity,
            endpoint=WHOLE_STAGE,
            metric="stall_s",
            effect=worst.length_s - reference_s,
            root=case.cause_of(*at) if proven else None,
            proven=proven,
            first_bad_s=worst.from_s,
            recovered_s=worst.to_s,
            outage_s=worst.length_s,
        )
    ]


def said(phase: str) -> str:
    """A phase as part of a sentence: during 'add token scopes'."""
    when, _, step = phase.partition(" ")
    return f"{when} {step!r}" if step else f"{phase} the steps"
