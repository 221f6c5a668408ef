"""The application's sessions that wait for each other since the steps: rows that all of them now write, say.

No step holds such a lock: what a step left behind (a trigger, a table of totals) makes one request wait for the next.
It is the cause where the endpoints that wait fail or are slow, and harms nobody where they are well.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.judge.case import Case
from replay.judge.findings import BLOCKING, NOTE, Finding, nameless, seconds
from replay.judge.phases import BEFORE, phase_at
from replay.judge.probes.waits import Wait, beyond, endpoint_of, waits_of

METRIC = "lock_contention"
_MANY = 1.0  # sessions that wait at any moment, on average
_MORE = 4.0  # times as many as without the steps


@dataclass(slots=True)
class Contention:
    """Waits of the application's sessions for each other at one table (or one kind of lock, where none is known).

    ``sessions`` is how many waited at any moment, on average since the first step, ``usually`` the same without the
    steps. ``endpoints`` and ``holders`` count the waits by who waited, and who was waited for.
    """

    place: str
    lock: str
    probe: str
    sessions: float = 0.0
    usually: float = 0.0
    longest_s: float = 0.0
    first_s: float = np.inf
    endpoints: Counter[str] = field(default_factory=Counter)
    holders: Counter[str] = field(default_factory=Counter)


def contentions(case: Case) -> list[Contention]:
    """Where the application's sessions wait for each other since the steps and not without them, the worst first."""
    found = _waits(case.steps, case.first_step_s, np.inf)
    quiet = [_waits(arm, -np.inf, np.inf) for arm in case.controls] + [_waits(case.steps, -np.inf, case.first_step_s)]
    for place, one in found.items():
        one.usually = max((other[place].sessions for other in quiet if place in other), default=0.0)
    new = [one for one in found.values() if one.sessions >= max(_MANY, _MORE * one.usually)]
    return sorted(new, key=lambda one: (-one.sessions, one.place))


def with_contentions(findings: Sequence[Finding], cases: Iterable[Case]) -> list[Finding]:
    """The findings, with those about contention: causes of what is found at the endpoints that wait, else notes."""
    told = list(findings)
    for case in cases:
        for one in contentions(case):
            cause = _finding(case, one)
            waiting = {nameless(name) for name in one.endpoints}
            told = [_rooted(other, cause, case, waiting) for other in told]
            harm = any(other.root == cause.root and other.severity == BLOCKING for other in told)
            told.append(dataclasses.replace(cause, severity=BLOCKING if harm else NOTE))
    return told


def _rooted(finding: Finding, cause: Finding, case: Case, waiting: set[str]) -> Finding:
    here = (finding.workload, finding.arm) == (case.workload, case.arm) and finding.phase != BEFORE
    if not here or finding.root is not None or nameless(finding.endpoint or "") not in waiting:
        return finding
    return dataclasses.replace(finding, root=cause.root)


def _waits(arm: ArmEvidence, from_s: float, to_s: float) -> dict[str, Contention]:
    """The waits for each other between two moments, by place."""
    readings = arm.readings
    readings = readings[(readings["at_s"] >= from_s) & (readings["at_s"] < to_s)]
    samples = _samples(readings)
    found: dict[str, Contention] = {}
    counts: dict[str, int] = defaultdict(int)
    for wait in waits_of(readings):
        waiting = wait.waiting
        if not waiting or _is_of_a_step(wait):
            continue
        place = str(waiting.get("relation") or waiting.get("lock") or "")
        one = found.setdefault(place, Contention(place, str(waiting.get("lock") or place), wait.probe))
        counts[place] += 1
        one.longest_s, one.first_s = max(one.longest_s, wait.lasted_s), min(one.first_s, wait.at_s)
        one.endpoints[endpoint_of(waiting)] += 1
        one.holders.update(endpoint_of(other) for other in beyond(wait.chain)[:1])
    for place, one in found.items():
        one.sessions = counts[place] / max(1, samples.get(one.probe, 0))
        one.endpoints.pop("", None)
        one.holders.pop("", None)
    return found


def _samples(readings: pd.DataFrame) -> dict[str, int]:
    """How often each probe looked who waits."""
    looked = readings[readings["metric"] == "waiting_backends"]
    return {str(probe): len(at_s) for probe, at_s in looked.groupby("probe")["at_s"]}


def _is_of_a_step(wait: Wait) -> bool:
    own = str(wait.waiting.get("application") or "").startswith("replay")
    return own or wait.of_step is not None


def _finding(case: Case, one: Contention) -> Finding:
    after = next((span for span in reversed(case.spans) if span.started_s <= one.first_s), None)
    step = "" if after is None else after.step
    named = one.place.rpartition(".")[2].strip('"') in case.changed
    waiting, holding = (next(iter(most.most_common(1)), ("", 0))[0] for most in (one.endpoints, one.holders))
    who = f" ({waiting}{f' behind {holding}' if holding and holding != waiting else ''})" if waiting else ""
    root = f"sessions that wait for each other at {one.lock}, since step {step!r}"
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase_at(case.spans, one.first_s),
        unit="sessions",
        observed=one.sessions,
        control=one.usually,
        explanation=f"Since {step!r} {one.sessions:.1f} sessions of the application wait for each other at any moment, "
        f"at {one.lock}{who}, for up to {seconds(one.longest_s)}; without the steps {one.usually:.1f} did.",
        severity=NOTE,
        role=case.role,
        probe=one.probe,
        metric=METRIC,
        effect=one.sessions - one.usually,
        root=root,
        proven=named,
        first_bad_s=one.first_s,
        evidence={
            "step": step,
            "table": one.place,
            "waiting_endpoints": dict(sorted(one.endpoints.items())),
            "held_by": dict(sorted(one.holders.items())),
        },
    )
