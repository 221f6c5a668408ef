"""The lock queue told as a story: which statement waited, who held it up, who queued behind it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from replay.evidence.run import ArmEvidence

METRIC = "lock_wait_s"


@dataclass(frozen=True, slots=True)
class Holder:
    """A backend that held up a step's statement: what it was running, for how long at most."""

    name: str
    query: str
    state: str
    running_s: float


@dataclass(frozen=True, slots=True)
class Behind:
    """The requests of one endpoint that waited behind a step: backends seen, most at once, the longest wait."""

    name: str
    backends: int
    most: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Episode:
    """One statement of a step and the queue around it. ``waited_s`` is 0 where it only held others up."""

    step: str
    query: str
    relation: str
    lock_mode: str
    from_s: float
    to_s: float
    waited_s: float
    most: int
    holders: list[Holder]
    behind: list[Behind]


@dataclass(slots=True)
class _Gathered:
    """What is collected about one statement while the readings pass."""

    times: list[float] = field(default_factory=list)
    waited_s: float = 0.0
    relation: str = ""
    lock_mode: str = ""
    holders: dict[Any, Holder] = field(default_factory=dict)
    behind: dict[str, dict[Any, float]] = field(default_factory=dict)
    at_once: dict[str, dict[float, int]] = field(default_factory=dict)


def episodes(arm: ArmEvidence) -> list[Episode]:
    """The queues in which a step's statement stood, the one with the longest waits first."""
    gathered: dict[tuple[str, str], _Gathered] = {}
    for at_s, value, detail in _waits(arm):
        waiting, blockers = _object(detail.get("waiting")), _objects(detail.get("blocked_by"))
        chain = [waiting, *blockers]
        of_step = next((backend for backend in chain if backend.get("step")), None)
        if of_step is None:
            continue
        key = (str(of_step["step"]), str(of_step.get("query") or ""))
        found = gathered.setdefault(key, _Gathered())
        found.times.append(at_s)
        if of_step is waiting:
            _add_holders(found, value, waiting, blockers)
        else:
            _add_behind(found, at_s, value, waiting)
    made = [_episode(step, query, found) for (step, query), found in gathered.items()]
    return sorted(made, key=lambda one: (-max(one.waited_s, one.most), one.from_s, one.query))


def queue(arm: ArmEvidence) -> tuple[int, float]:
    """(application sessions that waited for a lock at once, the longest wait); a step's own wait is not one."""
    waits = [(at_s, value) for at_s, value, detail in _waits(arm) if not _object(detail.get("waiting")).get("step")]
    at_once = Counter(at_s for at_s, _ in waits)
    return max(at_once.values(), default=0), max((value for _, value in waits), default=0.0)


def requests_waiting(arm: ArmEvidence) -> int:
    """How many readings show a request that waited for another request, no step in between."""
    return sum(
        not any(backend.get("step") for backend in [_object(d.get("waiting")), *_objects(d.get("blocked_by"))])
        for _, _, d in _waits(arm)
    )


def statement_wait(arm: ArmEvidence, step: str, from_s: float, to_s: float | None) -> float | None:
    """The longest that a probe saw the step wait for a lock between two moments, or None where nothing was probed."""
    if not (arm.readings["metric"] == "waiting_backends").any() and not (arm.readings["metric"] == METRIC).any():
        return None
    end = float("inf") if to_s is None else to_s
    waits = [
        value
        for at_s, value, detail in _waits(arm)
        if from_s <= at_s <= end and _object(detail.get("waiting")).get("step") == step
    ]
    return max(waits, default=0.0)


def _add_holders(found: _Gathered, value: float, waiting: dict[str, Any], blockers: list[dict[str, Any]]) -> None:
    """The step's own statement waits: keep whom it waits for."""
    found.waited_s = max(found.waited_s, value)
    found.relation = str(waiting.get("relation") or found.relation)
    found.lock_mode = str(waiting.get("lock_mode") or found.lock_mode)
    for blocker in blockers:
        pid, running = blocker.get("pid"), float(blocker.get("running_s") or 0.0)
        known = found.holders.get(pid)
        if known is None or known.running_s < running:
            query, state = str(blocker.get("query") or ""), str(blocker.get("state") or "")
            found.holders[pid] = Holder(_name(blocker), query, state, running)


def _add_behind(found: _Gathered, at_s: float, value: float, waiting: dict[str, Any]) -> None:
    """Somebody waits behind the step's statement: keep whom they serve."""
    name, pid = _name(waiting), waiting.get("pid")
    waits = found.behind.setdefault(name, {})
    waits[pid] = max(waits.get(pid, 0.0), value)
    at_once = found.at_once.setdefault(name, {})
    at_once[at_s] = at_once.get(at_s, 0) + 1


def _episode(step: str, query: str, found: _Gathered) -> Episode:
    behind = [
        Behind(name, len(waits), max(found.at_once[name].values()), max(waits.values()))
        for name, waits in found.behind.items()
    ]
    totals: dict[float, int] = {}
    for at_once in found.at_once.values():
        for at_s, count in at_once.items():
            totals[at_s] = totals.get(at_s, 0) + count
    return Episode(
        step=step,
        query=query,
        relation=found.relation,
        lock_mode=found.lock_mode,
        from_s=min(found.times),
        to_s=max(found.times),
        waited_s=found.waited_s,
        most=max(totals.values(), default=0),
        holders=sorted(found.holders.values(), key=lambda holder: (-holder.running_s, holder.name)),
        behind=sorted(behind, key=lambda one: (-one.backends, -one.longest_s, one.name)),
    )


def _waits(arm: ArmEvidence) -> Iterator[tuple[float, float, dict[str, Any]]]:
    found = arm.readings[arm.readings["metric"] == METRIC]
    for at_s, value, detail in zip(found["at_s"], found["value"], found["detail"], strict=True):
        yield float(at_s), float(value), _object(json.loads(detail))


def _name(backend: dict[str, Any]) -> str:
    """Whom a backend serves, as well as is known."""
    return str(backend.get("endpoint") or backend.get("application") or f"backend {backend.get('pid')}")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
