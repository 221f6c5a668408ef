"""Who waits for whom, from one look at the sessions. Reads nothing; tested without a database."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_ROUTE = re.compile(r"""/\*(?:[^*]|\*(?!/))*?\broute='((?:[^'\\]|\\.)*)'""")
_LONGEST_QUERY = 500
_LONGEST_CHAIN = 12


@dataclass(frozen=True, slots=True)
class Session:
    """One backend at one moment. ``blockers`` are the process ids that it waits for; 0 is a prepared transaction."""

    pid: int
    application: str
    state: str
    query: str
    running_s: float
    blockers: tuple[int, ...] = ()
    lock_mode: str | None = None
    relation: str | None = None
    waited_s: float = 0.0


def endpoint_of(query: str) -> str | None:
    """The endpoint that a query was sent for, from a sqlcommenter comment: ``/*route='GET%20%2Fevents'*/``."""
    found = _ROUTE.search(query)
    return unquote(found[1]) if found else None


def waits(sessions: Sequence[Session], steps: Mapping[str, str]) -> Iterator[tuple[float, dict[str, Any]]]:
    """For every session that waits: how long it has, and the detail of its reading.

    ``steps`` maps an application_name to the step that it is a session of. The chain of blockers goes level by level,
    direct ones first; each session stands in it once, and beyond twelve they are only counted (``more``).
    """
    by_pid = {session.pid: session for session in sessions}
    for waiting in sessions:
        if not waiting.blockers:
            continue
        chain = _chain(waiting, by_pid, steps)
        detail: dict[str, Any] = {
            "waiting": {
                **_named(waiting, steps),
                "lock_mode": waiting.lock_mode,
                "relation": waiting.relation,
            },
            "blocked_by": chain[:_LONGEST_CHAIN],
        }
        if len(chain) > _LONGEST_CHAIN:
            detail["more"] = len(chain) - _LONGEST_CHAIN
        yield waiting.waited_s, detail


def _chain(waiting: Session, by_pid: Mapping[int, Session], steps: Mapping[str, str]) -> list[dict[str, Any]]:
    seen = {waiting.pid}
    chain: list[dict[str, Any]] = []
    level, pids = 1, list(waiting.blockers)
    while pids:
        following: list[int] = []
        for pid in pids:
            if pid in seen:
                continue
            seen.add(pid)
            blocker = by_pid.get(pid) or _unseen(pid)
            chain.append(
                {
                    **_named(blocker, steps),
                    "state": blocker.state,
                    "running_s": round(blocker.running_s, 3),
                    "level": level,
                }
            )
            following += blocker.blockers
        level, pids = level + 1, following
    return chain


def _unseen(pid: int) -> Session:
    if pid == 0:
        return Session(0, "prepared transaction", "prepared", "", 0.0)
    return Session(pid, "", "gone", "", 0.0)


def _named(session: Session, steps: Mapping[str, str]) -> dict[str, Any]:
    return {
        "pid": session.pid,
        "application": session.application,
        "query": session.query.strip()[:_LONGEST_QUERY],
        "endpoint": endpoint_of(session.query),
        "step": steps.get(session.application),
    }
