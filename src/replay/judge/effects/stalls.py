"""Times in which the whole Stage stood still, as findings: one that is too long, or many that add up."""

import numpy as np

from replay.judge.case import Case
from replay.judge.effects.explain import said
from replay.judge.effects.noise import Stall, near_stall, within
from replay.judge.findings import BLOCKING, NOTE, SUSPECT, WHOLE_STAGE, Finding, seconds
from replay.judge.phases import phase_at
from replay.judge.statistics import more_failures_p

_LONGER_S = 1.0  # than any stall of the reference
_STALLS_P = 0.05  # of so many stalls, where each is one event


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
            evidence={"requests": _due_in(case, later)},
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
            evidence={"requests": _due_in(case, (worst,))},
        )
    ]


def _due_in(case: Case, stalls: tuple[Stall, ...]) -> list[int]:
    """The numbers of the first requests that fell due while nothing succeeded."""
    at_s = case.column("t_start")
    met = np.flatnonzero(within(at_s, at_s, [(stall.from_s, stall.to_s) for stall in stalls]))
    return case.numbers(met[np.argsort(at_s[met], kind="stable")])
