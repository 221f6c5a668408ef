"""The lock queue told as a story: which statement waited, who held it up, who queued behind it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from replay.evidence.run import ArmEvidence
from replay.judge.phases import Span, step_spans
from replay.judge.probes.locks import is_same
from replay.judge.probes.taken import taking
from replay.judge.probes.waits import Session, beyond, waits_itself, waits_of
from replay.report import formats

SEEN, INFERRED, UNKNOWN = "seen", "inferred", "unknown"  # how a statement is known to have taken a lock


@dataclass(frozen=True, slots=True)
class Holder:
    """A backend that held up a step's statement: what it was running, for how long at most.

    ``holds`` is the mode that keeps the next one out, ``awaits`` the one that it waits for itself.
    """

    name: str
    query: str
    state: str
    running_s: float
    holds: str = ""
    awaits: str = ""


@dataclass(frozen=True, slots=True)
class Behind:
    """The requests of one endpoint that waited behind a step: backends seen, most at once, the longest wait."""

    name: str
    backends: int
    most: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Episode:
    """One statement of a step and the queue around it. ``waited_s`` is 0 where it only held others up.

    ``query`` took the lock, ``taken`` says how that is known (empty: the evidence does not tell); ``meanwhile`` ran
    while others waited, where it is another. ``lock`` is what the statement waited for and ``wanted`` what the others
    did, in words (``row of token``); ``held`` has the modes in which the step kept them out, each with what it was of.
    ``guess`` says why a holder is only likely.
    """

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
    lock: str = ""
    wanted: tuple[str, ...] = ()
    held: tuple[tuple[str, str], ...] = ()
    taken: str = ""
    meanwhile: str = ""
    deadlock: bool = False
    guess: str = ""


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
    lock: str = ""
    wanted: Counter[str] = field(default_factory=Counter)
    held: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    running: Counter[str] = field(default_factory=Counter)
    deadlock: bool = False
    guess: str = ""


def episodes(arm: ArmEvidence) -> list[Episode]:
    """The queues in which a step's statement stood, the one with the longest waits first."""
    gathered: dict[tuple[str, str], _Gathered] = {}
    spans = step_spans(arm.marks)
    for wait in waits_of(arm.readings):
        of_step = wait.of_step
        if of_step is None:
            continue
        statement, how = _taker(of_step, wait.waiting, spans)
        found = gathered.setdefault((str(of_step["step"]), statement), _Gathered())
        found.times.append(wait.at_s)
        found.guess = wait.guess or found.guess
        found.deadlock |= wait.ring and (of_step is wait.waiting or waits_itself(of_step))
        if of_step is wait.waiting:
            _add_own_wait(found, wait.lasted_s, wait.waiting)
            _add_holders(found, wait.chain)
        else:
            _add_behind(found, wait.at_s, wait.lasted_s, wait.waiting)
            _add_held(found, of_step, wait.waiting, how)
            if of_step.get("awaits"):
                _add_holders(found, beyond(wait.chain, of_step))
    made = [_episode(step, query, found) for (step, query), found in gathered.items()]
    return sorted(made, key=lambda one: (-max(one.waited_s, one.most), one.from_s, one.query))


def told(found: list[Episode]) -> str:
    """The first of the queues as part of a sentence: what the step waited, and who waited for it."""
    if not found:
        return "nobody was seen waiting"
    one = found[0]
    longest_s = max((behind.longest_s for behind in one.behind), default=0.0)
    sessions = f"{one.most:,} session{'s' * (one.most != 1)} waited behind it, up to {formats.seconds(longest_s)}"
    if not one.waited_s:
        return f"step “{one.step}” had its locks at once; {sessions}"
    alone = "nobody was seen waiting behind it"
    return f"step “{one.step}” waited {formats.seconds(one.waited_s)} for a lock; {sessions if one.behind else alone}"


def queue(arm: ArmEvidence) -> tuple[int, float]:
    """(application sessions that waited for a lock at once, the longest wait); a step's own wait is not one."""
    waits = [wait for wait in waits_of(arm.readings) if not wait.waiting.get("step")]
    at_once = Counter(wait.at_s for wait in waits)
    return max(at_once.values(), default=0), max((wait.lasted_s for wait in waits), default=0.0)


def requests_waiting(arm: ArmEvidence) -> int:
    """How many readings show a request that waited for another request, no step in between."""
    return sum(wait.of_step is None for wait in waits_of(arm.readings))


def _taker(of_step: Session, waiting: Session, spans: tuple[Span, ...]) -> tuple[str, str]:
    """(statement that took the lock, how that is known). What runs, where nothing tells it."""
    running, taken = str(of_step.get("query") or ""), of_step.get("taken")
    if not isinstance(taken, dict):
        return running, ""
    took = taking(of_step, waiting, spans)
    if took is None:
        return running, UNKNOWN
    return running if is_same(took, running) else took, SEEN if taken.get("certain") else INFERRED


def _add_own_wait(found: _Gathered, value: float, waiting: Session) -> None:
    """The step's own statement waits: keep what for."""
    found.waited_s = max(found.waited_s, value)
    found.relation = str(waiting.get("relation") or found.relation)
    found.lock_mode = str(waiting.get("lock_mode") or found.lock_mode)
    found.lock = str(waiting.get("lock") or found.lock)


def _add_holders(found: _Gathered, blockers: list[Session]) -> None:
    """Keep whom the step waits for."""
    for blocker in blockers:
        pid, running = blocker.get("pid"), float(blocker.get("running_s") or 0.0)
        known = found.holders.get(pid)
        if known is None or known.running_s < running:
            query, state = str(blocker.get("query") or ""), str(blocker.get("state") or "")
            holds, awaits = str(blocker.get("holds") or ""), str(blocker.get("awaits") or "")
            found.holders[pid] = Holder(_name(blocker), query, state, running, holds, awaits)


def _add_behind(found: _Gathered, at_s: float, value: float, waiting: Session) -> None:
    """Somebody waits behind the step's statement: keep whom they serve."""
    name, pid = _name(waiting), waiting.get("pid")
    waits = found.behind.setdefault(name, {})
    waits[pid] = max(waits.get(pid, 0.0), value)
    at_once = found.at_once.setdefault(name, {})
    at_once[at_s] = at_once.get(at_s, 0) + 1
    if waiting.get("lock"):
        found.wanted[str(waiting["lock"])] += 1


def _add_held(found: _Gathered, of_step: Session, waiting: Session, how: str) -> None:
    """Keep how the step kept them out: the mode is of what the first of them waits for, whom it holds up directly."""
    found.running[str(of_step.get("query") or "")] += 1
    if how:
        found.taken[how] += 1
    if of_step.get("holds") and of_step.get("level") == 1:
        found.held[str(of_step["holds"]), str(waiting.get("lock") or "")] += 1


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
        lock=found.lock,
        wanted=tuple(lock for lock, _ in found.wanted.most_common()),
        held=tuple(mode for mode, _ in found.held.most_common()),
        taken=next((how for how, _ in found.taken.most_common(1)), ""),
        meanwhile=next((text for text, _ in found.running.most_common(1) if not is_same(text, query)), ""),
        deadlock=found.deadlock,
        guess=found.guess,
    )


def _name(backend: Session) -> str:
    """Whom a backend serves, as well as is known."""
    return str(backend.get("endpoint") or backend.get("application") or f"backend {backend.get('pid')}")
