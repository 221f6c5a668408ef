"""Who waits for whom, from one look at the sessions. Reads nothing; tested without a database."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from replay.rehearsal.probes.taken import Holdings, Taken, keep_out
from replay.traffic import Endpoint

_ROUTE = re.compile(r"""/\*(?:[^*]|\*(?!/))*?\broute='((?:[^'\\]|\\.)*)'""")
_LONGEST_QUERY = 500
_LONGEST_CHAIN = 12


@dataclass(frozen=True, slots=True)
class Session:
    """One backend at one moment. ``blockers`` are the process ids that it waits for; 0 is a prepared transaction.

    ``target`` names what it waits for, as PostgreSQL tells locks apart, and ``lock`` says it in words; ``table`` is the
    target of the table where it waits for one of its rows. ``holds`` has the modes that it holds, by target.
    """

    pid: int
    application: str
    state: str
    query: str
    running_s: float
    blockers: tuple[int, ...] = ()
    lock_mode: str | None = None
    relation: str | None = None
    waited_s: float = 0.0
    lock: str | None = None
    target: str | None = None
    table: str | None = None
    holds: Mapping[str, frozenset[str]] = field(default_factory=dict)


def endpoint_of(query: str, application: str = "") -> str | None:
    """The endpoint that a query was sent for, from a sqlcommenter comment: ``/*route='GET%20%2Fevents'*/``.

    Where no comment tells, the session's application_name does, if it is an endpoint: ``GET /events``.
    """
    if found := _ROUTE.search(query):
        return unquote(found[1])
    return application if Endpoint.is_named_by(application) else None


def waits(
    sessions: Sequence[Session], steps: Mapping[str, str], holdings: Holdings | None = None
) -> Iterator[tuple[float, dict[str, Any]]]:
    """For every session that waits: how long it has, and the detail of its reading.

    ``steps`` maps an application_name to the step that it is a session of; ``holdings`` knows which statements of them
    took their locks. The chain of blockers goes level by level, direct ones first; each session stands in it once, and
    beyond twelve they are only counted (``more``). ``ring`` says that somebody in the chain waits for the first: a
    deadlock, until PostgreSQL ends it.
    """
    by_pid = {session.pid: session for session in sessions}
    for waiting in sessions:
        if not waiting.blockers:
            continue
        chain, ring = _chain(waiting, by_pid, steps, holdings or Holdings())
        detail: dict[str, Any] = {
            "waiting": {
                **_named(waiting, steps),
                "lock_mode": waiting.lock_mode,
                "relation": waiting.relation,
                "lock": waiting.lock,
            },
            "blocked_by": chain[:_LONGEST_CHAIN],
        }
        if ring:
            detail["ring"] = True
        if len(chain) > _LONGEST_CHAIN:
            detail["more"] = len(chain) - _LONGEST_CHAIN
        yield waiting.waited_s, detail


def _chain(
    waiting: Session, by_pid: Mapping[int, Session], steps: Mapping[str, str], holdings: Holdings
) -> tuple[list[dict[str, Any]], bool]:
    seen = {waiting.pid}
    chain: list[dict[str, Any]] = []
    ring = False
    level, links = 1, [(pid, waiting) for pid in waiting.blockers]
    while links:
        following: list[tuple[int, Session]] = []
        for pid, held_up in links:
            ring = ring or pid == waiting.pid
            if pid in seen:
                continue
            seen.add(pid)
            blocker = by_pid.get(pid) or _unseen(pid)
            chain.append(_link(blocker, held_up, level, steps, holdings))
            following += [(one, blocker) for one in blocker.blockers]
        level, links = level + 1, following
    return chain, ring


def _link(
    blocker: Session, held_up: Session, level: int, steps: Mapping[str, str], holdings: Holdings
) -> dict[str, Any]:
    modes = keep_out(blocker.holds.get(held_up.target or "", ()), held_up.lock_mode)
    link: dict[str, Any] = {
        **_named(blocker, steps),
        "state": blocker.state,
        "running_s": round(blocker.running_s, 3),
        "level": level,
        "holds": modes[0] if modes else None,  # None: it stands before the other in the queue
        "awaits": blocker.lock_mode,
    }
    if modes and link["step"]:
        taken = (
            holdings.taken_row(blocker.pid, held_up.table)
            if held_up.target and held_up.target.startswith("transactionid:")
            else holdings.taken(blocker.pid, held_up.target, modes)
        )
        if taken is not None:
            link["taken"] = _taken(taken)
    return link


def _taken(taken: Taken) -> dict[str, Any]:
    return {
        "query": _shortened(taken.query),
        "after_s": None if taken.after_s is None else round(taken.after_s, 3),
        "by_s": round(taken.by_s, 3),
        "certain": taken.certain,
    }


def _unseen(pid: int) -> Session:
    if pid == 0:
        return Session(0, "prepared transaction", "prepared", "", 0.0)
    return Session(pid, "", "gone", "", 0.0)


def _named(session: Session, steps: Mapping[str, str]) -> dict[str, Any]:
    return {
        "pid": session.pid,
        "application": session.application,
        "query": _shortened(session.query),
        "endpoint": endpoint_of(session.query, session.application),
        "step": steps.get(session.application),
    }


def _shortened(query: str) -> str:
    return query.strip()[:_LONGEST_QUERY]
