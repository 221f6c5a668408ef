"""Whether ``rehearsal.json`` says all that one of its format says: what is missing from it cannot have been checked."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from replay.evidence.run import Evidence, second_pairs
from replay.evidence.values import QUIET
from replay.judge.findings import UNPROVEN, Check, evidence_check
from replay.judge.trust.databases import LOOKED_AT

_KEYS: dict[str, type] = {
    "criteria": dict,
    "migrations": list,
    "order": list,
    "plan": dict,
    "reset": bool,
    "confirming": dict,
    "seals": dict,
    "stage": dict,
}
_OF_THE_PLAN: dict[str, type] = {"steps": list, "probes": dict, "workloads": dict}
_OFF_S = 3600.0  # clocks are put right now and then


def check_noted(evidence: Evidence) -> Check:
    """Whether the run's own file is whole, and fits the arms beside it."""
    wrong = list(_wrong(evidence))
    return evidence_check(
        "run_noted",
        passed=not wrong,
        workload=None,
        limit=0.0,
        observed=float(len(wrong)),
        well="rehearsal.json says all that the judge asks of it.",
        wrong=f"rehearsal.json does not say what a rehearsal notes: {'; '.join(wrong[:6])}.",
        hint="It was changed, or is of an older version of replay: rehearse again.",
        voids=UNPROVEN,
    )


def _wrong(evidence: Evidence) -> Iterator[str]:
    said = evidence.rehearsal
    if "format" not in said:
        yield "it has no format"
    for key, kind in _KEYS.items():
        if not isinstance(said.get(key), kind):
            yield f"it has no {key}"
    plan = _table(said.get("plan"))
    for key, kind in _OF_THE_PLAN.items():
        if not isinstance(plan.get(key), kind):
            yield f"its plan has no {key}"
    yield from _arms(evidence, plan)
    yield from _steps(evidence, plan)
    yield from _stage(evidence, plan)
    yield from _moments(evidence)


def _arms(evidence: Evidence, plan: dict[str, Any]) -> Iterator[str]:
    order = [str(name) for name in _list(evidence.rehearsal.get("order"))]
    strangers = [name for name in evidence.arms if name not in order]
    if strangers:
        yield f"its order lacks {', '.join(strangers)}"
    played = {arm.info.workload for arm in evidence.arms.values()}
    planned = _table(plan.get("workloads"))
    yield from (f"the workload {name} of its plan has no arm" for name in planned if name not in played)
    yield from _workloads(evidence, planned)
    pairs = second_pairs(evidence.rehearsal)
    odd = sorted({*_table(evidence.rehearsal.get("confirming"))} - {*pairs})
    yield from (f"the second pair of {workload} is none" for workload in odd)
    for workload, pair in pairs.items():
        firsts = [n for n, name in enumerate(order) if name not in pair and _of(evidence, name) == workload]
        for name in pair:
            if name not in order or order.index(name) < max(firsts, default=-1):
                yield f"{name} cannot have been played to confirm what others had shown: it did not come after them"


def _workloads(evidence: Evidence, planned: dict[str, Any]) -> Iterator[str]:
    """Arms that are of another plan, or stand for another traffic than it has them stand for."""
    roles = {name: str(_table(own).get("role", "production")) for name, own in planned.items()}
    for name, arm in evidence.arms.items():
        workload, role = arm.info.workload, arm.info.role
        if role == QUIET:
            continue
        if workload not in roles:
            yield f"its plan lacks the workload {workload!r} of {name}"
        elif roles[workload] != role:
            yield f"its plan has {workload!r} as {roles[workload]}, and {name} as {role}"


def _of(evidence: Evidence, arm: str) -> str:
    return evidence.arms[arm].info.workload if arm in evidence.arms else ""


def _steps(evidence: Evidence, plan: dict[str, Any]) -> Iterator[str]:
    names = [str(step.get("name") or "") if isinstance(step, dict) else "" for step in _list(plan.get("steps"))]
    if not all(names):
        yield "a step of its plan has no name"
    twice = sorted({name for name in names if name and names.count(name) > 1})
    yield from (f"its plan has the step {name!r} more than once" for name in twice)
    ran = {mark.step for arm in evidence.arms.values() for mark in arm.marks if mark.step}
    yield from (f"its plan lacks the step {name!r}, which ran" for name in sorted(ran - {*names}))
    read = {str(probe) for arm in evidence.arms.values() for probe in arm.readings["probe"].unique()}
    lacking = sorted(read - {*_table(plan.get("probes"))})
    yield from (f"its plan lacks the probe {name!r}, which was read" for name in lacking)


def _stage(evidence: Evidence, plan: dict[str, Any]) -> Iterator[str]:
    """What is noted of Stage's database before each arm that was played, where the plan names one."""
    steps, probes = _list(plan.get("steps")), _table(plan.get("probes")).values()
    names_one = any(isinstance(step, dict) and step.get("dsn") for step in steps)
    names_one |= any(isinstance(probe, dict) and probe.get("kind") in LOOKED_AT for probe in probes)
    if not names_one:
        return
    stage = _table(evidence.rehearsal.get("stage"))
    for key in ("fingerprints", "databases"):
        noted = _table(stage.get(key))
        lacking = [name for name, arm in evidence.arms.items() if arm.info.state == "complete" and not noted.get(name)]
        if lacking:
            yield f"its stage has no {key} of {', '.join(lacking)}"


def _moments(evidence: Evidence) -> Iterator[str]:
    """Arms that were not played while the rehearsal was."""
    began, ended = (_moment(evidence.rehearsal.get(key)) for key in ("started_at", "ended_at"))
    reused = _table(evidence.rehearsal.get("reused"))
    for name, arm in evidence.arms.items():
        at = _moment(arm.info.started_at)
        if name in reused or at is None:
            continue
        if (began is not None and at < began - _OFF_S) or (ended is not None and at > ended + _OFF_S):
            yield f"{name} was not played between its start and its end"


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
