"""Who waited for whom: the queues of the application's sessions behind a step, from the probe's lock waits."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from replay.judge.effects.noise import merge
from replay.judge.findings import short
from replay.judge.phases import Span
from replay.judge.probes.taken import taking
from replay.judge.probes.waits import beyond, endpoint_of, level_of, waits_itself, waits_of

# Waits too short to make a request fail; and how long a backlog takes to drain at most, once the lock is gone.
_SHORTEST_S = 0.25
_DRAIN_S = 2.0
# Marks and probes keep the same statement with different literals, and a program may add comments.
_VARYING = re.compile(r"(?s)'[^']*'|/\*.*?\*/|[\s;]+")
_TELLING = 200  # letters that tell one statement from another: what is far longer was cut


@dataclass(slots=True)
class Queue:
    """The application's sessions that waited behind one statement of a step, and what held that statement up.

    ``statement`` is the one that waited itself, or that took the lock; ``unclear`` says that it only ran while the lock
    was held, since which one took it cannot be told. ``running`` are those that ran while the application waited, and
    ``awaiting`` says of each such moment whether the step itself waited then. ``deadlock`` says that the step waited
    for one that waited for it.
    """

    step: str
    statement: str
    longest_s: float = 0.0
    longest_at_s: float = 0.0
    own_wait_s: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)  # the waits, with the time a backlog takes
    endpoints: dict[str, float] = field(default_factory=dict)
    queries: Counter[str] = field(default_factory=Counter)
    queued_at: Counter[float] = field(default_factory=Counter)
    holders: Counter[tuple[str, str]] = field(default_factory=Counter)
    running: Counter[str] = field(default_factory=Counter)
    awaiting: dict[float, bool] = field(default_factory=dict)
    deadlock: bool = False
    unclear: bool = False
    probe: str = ""

    @property
    def queued(self) -> int:
        """How many sessions waited at the same time, at most."""
        return max(self.queued_at.values(), default=0)

    @property
    def held_up_by(self) -> tuple[str, str]:
        """(endpoint or session, query) of what the step waited for; empty where it held the lock itself.

        It may have done both: what counts is most of the longest wait.
        """
        from_s = self.longest_at_s - self.longest_s
        moments = [waited for at_s, waited in self.awaiting.items() if from_s <= at_s <= self.longest_at_s + 0.01]
        held = 2 * sum(moments) < len(moments) and not self.deadlock
        if held or not self.holders:
            return ("", "")
        return max(sorted(self.holders), key=lambda holder: self.holders[holder])

    @property
    def meanwhile(self) -> str:
        """The statement that ran most of the time while the application waited; empty where it is ``statement``."""
        most = max(sorted(self.running), key=lambda text: self.running[text], default=self.statement)
        return "" if is_same(most, self.statement) else most

    @property
    def root(self) -> str:
        """The cause in words, as part of a sentence."""
        return f"lock queue behind {self.told}{self.clause('waited for')}"

    @property
    def told(self) -> str:
        """The statement and its step in words; the step alone where the database did not say the statement."""
        statement = f"{short(self.statement, 90)!r} of " if self.statement else ""
        return f"{statement}step {self.step!r}"

    def clause(self, waited: str, held: str = "") -> str:
        """What the step did while the application waited, as the end of a sentence that names ``statement``.

        ``waited`` is the verb for a statement that waited itself, ``held`` the clause where it held the lock.
        """
        holder, query = self.held_up_by
        other = self.meanwhile
        subject = f"while {short(other, 60)!r}" if other else "which"
        if holder or query:
            verb = "was in a deadlock with" if self.deadlock else "waited for" if other else waited
            return f", {subject} {verb} {holder or query}"
        return f", {subject} ran" if other else held


def lock_queues(readings: pd.DataFrame, spans: Iterable[Span] = ()) -> tuple[Queue, ...]:
    """The queues behind steps in one arm, the longest wait first. ``readings`` has the columns of Reading.

    ``spans`` are the arm's steps: with them, the statement that took a lock is found where the probe saw it too late.
    """
    spans = tuple(spans)
    queues: dict[tuple[str, str], Queue] = {}
    for wait in waits_of(readings):
        waiting, chain, at_s, value = wait.waiting, wait.chain, wait.at_s, wait.lasted_s
        if waiting.get("step"):
            queue = _queue(queues, waiting, _text(waiting), wait.probe)
            queue.own_wait_s = max(queue.own_wait_s, value)
            queue.deadlock = queue.deadlock or wait.ring
            for one in _roots(chain):
                queue.holders[_holder(one)] += 1000  # the step's own wait says it best
            continue
        ahead = wait.of_step
        if ahead is None or str(waiting.get("application") or "").startswith("replay"):
            continue
        took, runs = taking(ahead, waiting, spans), _text(ahead)
        queue = _queue(queues, ahead, took if took and not is_same(took, runs) else runs, wait.probe)
        queue.unclear = queue.unclear or (took is None and isinstance(ahead.get("taken"), dict))
        queue.running[runs] += 1
        if value > queue.longest_s:
            queue.longest_s, queue.longest_at_s = value, at_s
        if value >= _SHORTEST_S:
            queue.waits.append((at_s - value, at_s))
            queue.windows.append((at_s - value, at_s + min(_DRAIN_S, value)))
        queue.queued_at[round(at_s, 2)] += 1
        queue.queries[short(str(waiting.get("query") or ""))] += 1
        if name := endpoint_of(waiting):
            queue.endpoints[name] = max(queue.endpoints.get(name, 0.0), value)
        ring = wait.ring and waits_itself(ahead)
        queue.deadlock = queue.deadlock or ring
        roots = _roots(chain, ahead) or [waiting] * ring
        moment = round(at_s, 2)
        queue.awaiting[moment] = queue.awaiting.get(moment, False) or bool(roots)
        for one in roots:
            queue.holders[_holder(one)] += 1
    for queue in queues.values():
        queue.waits, queue.windows = merge(queue.waits), merge(queue.windows)
    return tuple(sorted(queues.values(), key=lambda queue: (-queue.longest_s, queue.step, queue.statement)))


def _queue(queues: dict[tuple[str, str], Queue], session: dict[str, Any], statement: str, probe: str) -> Queue:
    step = str(session["step"])
    return queues.setdefault((step, statement), Queue(step, statement, probe=probe))


def _text(session: dict[str, Any]) -> str:
    return " ".join(str(session.get("query") or "").split())


def is_same(one: str, other: str) -> bool:
    """Whether two texts are of the same statement, but for literals, comments and an end that may be cut off."""
    first, second = (_VARYING.sub(" ", text).strip()[:_TELLING] for text in (one, other))
    return first == second


def _roots(chain: list[dict[str, Any]], step: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Who of those beyond a step holds all up: those who wait for nobody, or else those who come first.

    In evidence that does not tell who waits himself, those who come first.
    """
    further = beyond(chain, step)
    ends = [one for one in further if not one.get("awaits", True)]
    next_level = 1 if step is None else level_of(step) + 1
    return ends or [one for one in further if level_of(one) == next_level]


def _holder(session: dict[str, Any]) -> tuple[str, str]:
    query = short(str(session.get("query") or ""))
    if endpoint := endpoint_of(session):
        return (endpoint, query)
    if query:
        return ("", query)
    return (str(session.get("application") or f"session {session.get('pid', '?')}"), "")
