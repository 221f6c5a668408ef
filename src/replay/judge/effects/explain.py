"""Effects on endpoints as findings: one for each phase and kind, with a sentence that an outsider understands."""

from collections import Counter

import numpy as np

from replay.judge.answers.details import detail
from replay.judge.answers.differences import FAILURES, difference_of
from replay.judge.arrays import Rows, Times
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.failures import Effect
from replay.judge.effects.shares import share_finding, without_steps
from replay.judge.effects.slowdowns import Slowdown
from replay.judge.findings import BLOCKING, NOTE, STRONG, Finding, percent, seconds
from replay.judge.phases import phase_at
from replay.judge.statistics import quantile_difference

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
_A_TWENTIETH = 20  # answers, of which the slowest 5% are one, or none


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
    n, x = len(rows), len(hit)
    cause = case.cause_of(case.column("root_start")[hit], case.column("root_end")[hit]) if effect.caused else None
    by = _caused_by(case, effect.endpoint, hit)
    because = f", because {by} had failed before them" if by else ""
    return share_finding(
        case,
        phase,
        rows,
        hit,
        len(in_control),
        phi=effect.test.phi,
        explanation=f"{effect.endpoint}: {x} of {n} requests ({percent(x / n)}) {_VERBS.get(kind, kind)}"
        f"{detail(case, kind, hit)} {said(phase)}{because}; without the steps {without_steps(len(in_control))}.",
        severity=BLOCKING if cause else effect.alone or NOTE,
        endpoint=effect.endpoint,
        outcome=kind,
        difference=difference_of(kind),
        p_value=effect.p_value,
        root=by or cause,
        proven=cause is not None,
        first_bad_s=effect.first_bad_s,
        recovered_s=effect.recovered_s,
        outage_s=effect.outage_s,
        evidence={
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
    return _unavailable(case, effect, "never_recovered", lasted_s, told, last=True)


def _late_recovery(case: Case, effect: Effect, limit_s: float) -> Finding:
    took_s = effect.took_s or 0.0
    told = f"{effect.endpoint} came back {seconds(took_s)} after it broke; {seconds(limit_s)} are allowed."
    return _unavailable(case, effect, "recovery_s", took_s, told)


def _unavailable(case: Case, effect: Effect, metric: str, lasted_s: float, told: str, *, last: bool = False) -> Finding:
    """A finding about an endpoint's time out of order; its evidence has the first requests that failed, or the last."""
    failing = effect.rows[case.flags("t_new")[effect.rows] & case.later[effect.rows]]
    shown = failing[np.argsort(case.column("t_end")[failing], kind="stable")]
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
        evidence={"requests": case.numbers(shown[::-1] if last else shown)},
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
        answered = rows[case.flags("t_good")[rows] & np.isfinite(t_latency[rows])]
        with_steps = t_latency[answered]
        without = c_latency[rows[case.flags("c_good")[rows]]]
        without = without[np.isfinite(without)]
        if not len(with_steps) or not len(without):
            continue
        observed, control = float(np.quantile(with_steps, 0.95)), float(np.quantile(without, 0.95))
        effect, interval = quantile_difference(with_steps, without, 0.95)
        told, times = _slowness(slow, phase, with_steps, without, limits)
        slowest_first = answered[np.argsort(-with_steps, kind="stable")]
        beyond = answered[with_steps > min(slow.limit_s, observed)]
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
                effect=effect,
                interval=interval,
                p_value=slow.p_value,
                root=slow.cause,
                proven=slow.cause is not None,
                requests=len(with_steps),
                failures=int((with_steps > slow.limit_s).sum()),
                first_bad_s=float(case.column("t_end")[beyond if len(beyond) else slowest_first[:1]].min()),
                evidence={"requests": case.numbers(slowest_first), "times": times},
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
    if (tail := slow.tail(limits)) is not None:
        told = (
            f"{slowest(len(with_steps))} took {tail.ratio:.1f} times as long {said(phase)} as the slowest 5% did "
            f"without the steps, when what slowed all endpoints down at the time is taken off."
        )
        return told, tail.ratio
    if far <= far_control:  # as the answers came, they took no longer
        told = (
            f"its slowest answers took longer {said(phase)} than without the steps, when what slowed all endpoints "
            f"down at the time is taken off; as they came, {seconds(float(with_steps.max()))} at most, and "
            f"{seconds(float(without.max()))} without the steps."
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


def said(phase: str) -> str:
    """A phase as part of a sentence: during 'add token scopes'."""
    when, _, step = phase.partition(" ")
    return f"{when} {step!r}" if step else f"{phase} the steps"
