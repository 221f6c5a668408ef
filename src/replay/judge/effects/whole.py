"""All endpoints of a workload together: what is too little to see at any of them.

A few failures at each of many rare endpoints, or all requests of one client, are noise wherever one looks. Added up
they need not be. The test is that of one endpoint, see `replay.judge.effects.tallies`.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from replay.judge.arrays import Flags
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.clients import Part
from replay.judge.effects.explain import said
from replay.judge.effects.shares import share_finding, without_steps
from replay.judge.effects.shown import Size, shown_by_both, suspected
from replay.judge.effects.tallies import Tally, failures_in_windows
from replay.judge.effects.windows import windows_of
from replay.judge.findings import SUSPECT, WHOLE_STAGE, Finding, nameless, percent

_SHARE = 0.005  # of a window's requests: less than that is not asked about


def whole_tallies(case: Case) -> dict[str, Tally]:
    """The tally of all new failures in each window, without what met a stall of the whole Stage."""
    counted = case.fair & ~case.masked[1]
    before, later = (_part(case, "t", counted & which) for which in (~case.later, case.later))
    quiet = [_part(one, "c", one.fair & ~one.masked[0]) for one in (case, *case.beside)]
    return failures_in_windows([*quiet, before], later, case.first_step_s, windows_of(case))


def _part(case: Case, arm: str, which: Flags) -> Part:
    """The new failures of one arm, among some of its requests."""
    return Part(case.column(f"{arm}_start")[which], case.flags(f"{arm}_new")[which], case.clients[which])


def _size(limits: Criteria) -> Size:
    return Size(limits.strong_failures, _SHARE)


def failing_together(first: Mapping[str, Tally], second: Mapping[str, Tally], limits: Criteria) -> bool:
    """Whether two pairs of arms together show that more fails."""
    return bool(shown_by_both(first, second, limits, _size(limits)))


def whole_findings(case: Case, told: Mapping[str, Tally]) -> list[Finding]:
    """What one pair suspects of all endpoints together: one finding, or none."""
    limits = case.criteria
    windows = suspected(told, limits, _size(limits))
    if not windows:
        return []
    failing = np.flatnonzero(case.flags("t_new") & case.later)
    phases = case.texts("phase")
    phase = _most(phases[failing])
    rows = np.flatnonzero(phases == phase)
    hit = rows[case.flags("t_new")[rows]]
    n, x, in_control = len(rows), len(hit), int(case.flags("c_new")[rows].sum())
    best = min((told[window] for window in windows), key=lambda one: one.p_value(limits.failure_ratio))
    endpoints = len({nameless(str(name)) for name in case.texts("endpoint")[hit]})
    finding = share_finding(
        case,
        phase,
        rows,
        hit,
        in_control,
        phi=best.phi,
        explanation=f"All endpoints together: {x} of {n} requests ({percent(x / n)}) failed newly {said(phase)}, "
        f"at {endpoints} of them, too few to tell at each; without the steps {without_steps(in_control)}.",
        severity=SUSPECT,
        endpoint=WHOLE_STAGE,
        outcome=_most(case.texts("t_kind")[hit]),
        difference="newly failing",
        p_value=best.p_value(limits.failure_ratio),
        first_bad_s=float(case.column("t_end")[hit].min()),
    )
    return [finding]


def _most(names: "np.ndarray[tuple[int, ...], np.dtype[np.object_]]") -> str:
    counts = Counter(map(str, names))
    return min(counts, key=lambda name: (-counts[name], name))
