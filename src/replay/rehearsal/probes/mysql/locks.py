"""Who waits for whom, from the server's lists of sessions and locks. Reads nothing; tested without a database.

Not every server tells what a session waits for: the mode is then taken from the statement, and where it does not tell
either who holds a metadata lock, the longest transaction is taken for the holder (``guesses``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.rehearsal.probes.locks import Session, waits

_STAGE = re.compile(r"(?i)waiting for (?:table )?(\w+).*\block\b|waiting for table (flush)|(user) lock")
_COMMENT = re.compile(r"/\*(?:[^*]|\*(?!/))*\*/|--[ \t][^\n]*|#[^\n]*")
_STEP = re.compile(r"/\*\s*(replay step: (?:[^*]|\*(?!/))*?)\s*\*/")
_TABLE = re.compile(
    r"(?i)\b(?:from|into|update(?:\s+ignore)?|join|tables?(?:\s+if\s+(?:not\s+)?exists)?|truncate(?!\s+table)|on)\s+"
    r"((?:`[^`]+`|[\w$]+)(?:\s*\.\s*(?:`[^`]+`|[\w$]+))?)"
)
_WORD = re.compile(r"[\w$]+")
_DEFINES = re.compile(r"(?i)\s*(alter|drop|rename|truncate|create|optimize|repair)\b")
_WRITES = re.compile(r"(?i)\s*(insert|update|delete|replace|load|with\b.*\b(update|delete))\b|.*\bfor\s+update\b")
_LOCKS = re.compile(r"(?i)\s*lock\s+tables?\b.*\bwrite\b")
TABLE = "TABLE"
# Which modes of a table's lock cannot be held beside which, weakest first (MySQL's and MariaDB's MDL_lock).
_APART = {
    "SHARED": "EXCLUSIVE",
    "SHARED_HIGH_PRIO": "EXCLUSIVE",
    "SHARED_READ": "SHARED_NO_READ_WRITE EXCLUSIVE",
    "SHARED_WRITE": "SHARED_READ_ONLY SHARED_NO_WRITE SHARED_NO_READ_WRITE EXCLUSIVE",
    "SHARED_WRITE_LOW_PRIO": "SHARED_READ_ONLY SHARED_NO_WRITE SHARED_NO_READ_WRITE EXCLUSIVE",
    "SHARED_UPGRADABLE": "SHARED_UPGRADABLE SHARED_NO_WRITE SHARED_NO_READ_WRITE EXCLUSIVE",
    "SHARED_READ_ONLY": "SHARED_WRITE SHARED_WRITE_LOW_PRIO SHARED_NO_READ_WRITE EXCLUSIVE",
    "SHARED_NO_WRITE": "SHARED_WRITE SHARED_WRITE_LOW_PRIO SHARED_UPGRADABLE SHARED_NO_WRITE SHARED_NO_READ_WRITE "
    "EXCLUSIVE",
    "SHARED_NO_READ_WRITE": "SHARED_READ SHARED_WRITE SHARED_WRITE_LOW_PRIO SHARED_UPGRADABLE SHARED_READ_ONLY "
    "SHARED_NO_WRITE SHARED_NO_READ_WRITE EXCLUSIVE",
}
_RANKS = {mode: rank for rank, mode in enumerate([*_APART, "EXCLUSIVE"])}
# Who waits for one of these stands before those that come for what it keeps out.
_AHEAD = frozenset({"SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as the server lists it. ``transaction_s`` is how old its transaction is, None without one."""

    pid: int
    application: str
    state: str
    stage: str
    query: str
    base: str
    elapsed_s: float
    transaction_s: float | None
    waited_s: float = 0.0

    @property
    def awaits(self) -> str | None:
        """What kind of lock other than a row's it waits for: ``TABLE``, ``BACKUP``, ``GLOBAL``..."""
        found = _STAGE.search(self.stage) if self.state == "active" else None
        if found is None:
            return None
        word = next(part for part in found.groups() if part).upper()
        return TABLE if word in ("METADATA", "FLUSH") else word


@dataclass(frozen=True, slots=True)
class Lock:
    """A metadata lock that a session holds or waits for. ``target`` is a table such as ``shop.token``."""

    pid: int
    kind: str
    target: str
    mode: str
    granted: bool


@dataclass(frozen=True, slots=True)
class RowWait:
    """A session waits for another's lock on rows of a table."""

    pid: int
    blocker: int
    relation: str
    mode: str


@dataclass(frozen=True, slots=True)
class Chains:
    """The sessions with their blockers, whose blockers are guesses, and who holds what."""

    sessions: tuple[Session, ...]
    guesses: frozenset[int] = frozenset()
    locks: tuple[Lock, ...] = ()

    def waits(self, steps: Mapping[str, str]) -> Iterator[tuple[float, dict[str, Any]]]:
        """For every session that waits: how long it has, and the detail of its reading."""
        by_pid = {session.pid: session for session in self.sessions}
        for waited_s, detail in waits(self.sessions, steps):
            chain = detail["blocked_by"]
            above = [detail["waiting"], *chain]
            for link in chain:
                sessions = (by_pid.get(one["pid"]) for one in above)
                held_up = next(one for one in sessions if one is not None and link["pid"] in one.blockers)
                link["holds"] = self._keeps_out(link["pid"], held_up)
            if self.guesses & {detail["waiting"]["pid"], *(link["pid"] for link in chain)}:
                detail["guess"] = "the server does not tell who holds the lock: it is a likely holder that is named"
            yield waited_s, detail

    def _keeps_out(self, pid: int, held_up: Session) -> str | None:
        """The strongest mode that a session holds and that keeps another from what it waits for."""
        wish = Lock(held_up.pid, TABLE, held_up.relation or "", held_up.lock_mode or "", granted=False)
        modes = [lock.mode for lock in self.locks if lock.pid == pid and lock.granted and _place(lock) == _place(wish)]
        apart = [mode for mode in modes if _apart(wish, Lock(pid, TABLE, wish.target, mode, granted=True))]
        return max(apart, key=lambda mode: _RANKS.get(mode, -1), default=None)


def lock_of(row: Mapping[str, Any]) -> Lock:
    """A lock from a row of the server's list; MariaDB's plugin writes kinds and modes at greater length."""
    kind = str(row["kind"]).split()[0].upper()
    target = ".".join(str(part) for part in (row["base"], row["name"]) if part)
    return Lock(int(row["pid"]), kind, target, str(row["mode"]).removeprefix("MDL_"), bool(row["granted"]))


def step_in(query: str) -> str | None:
    """The session name of a step that a statement says it is of: ``/* replay step: NAME */``."""
    found = _STEP.search(query)
    return found[1] if found else None


def chains(
    seen: Sequence[Seen], rows: Sequence[RowWait], locks: Sequence[Lock] | None, *, with_wishes: bool = False
) -> Chains:
    """Who waits for whom. ``locks`` is None where the server does not tell who holds metadata locks.

    ``with_wishes`` says that ``locks`` has those that are waited for too. They are read after the sessions: who is not
    among them has stopped waiting meanwhile.
    """
    known = tuple(locks or ())
    asking = {lock.pid for lock in known if not lock.granted}
    wishes = {one.pid: _wish(one, known) for one in seen if one.awaits and (not with_wishes or one.pid in asking)}
    sessions: list[Session] = []
    guesses: set[int] = set()
    for one in seen:
        mine = [row for row in rows if row.pid == one.pid]
        if mine:
            blockers = tuple(dict.fromkeys(row.blocker for row in mine))
            sessions.append(_session(one, blockers, mine[0].mode, mine[0].relation, f"row of {mine[0].relation}"))
        elif one.pid in wishes:
            wish = wishes[one.pid]
            blockers = _blockers(wish, known, wishes)
            if locks is None and wish.kind == TABLE:
                blockers = _likely(one, wish, seen, wishes)
                guesses.update({one.pid} if blockers else ())
            table = wish.target if wish.kind == TABLE else ""
            words = f"metadata lock on {table}" if table else f"{wish.kind.lower()} lock"
            sessions.append(_session(one, blockers, wish.mode, table or None, words))
        else:
            sessions.append(_session(one))
    return Chains(tuple(sessions), frozenset(guesses), known)


def _session(
    one: Seen,
    blockers: tuple[int, ...] = (),
    mode: str | None = None,
    relation: str | None = None,
    words: str | None = None,
) -> Session:
    running_s = one.elapsed_s if one.transaction_s is None else one.transaction_s
    return Session(
        pid=one.pid,
        application=one.application,
        state=one.state,
        query=one.query,
        running_s=max(0.0, running_s),
        blockers=blockers,
        lock_mode=mode,
        relation=relation,
        waited_s=max(0.0, one.waited_s),
        lock=words,
    )


def _blockers(wish: Lock, locks: Sequence[Lock], wishes: Mapping[int, Lock]) -> tuple[int, ...]:
    """Those who hold what keeps it out, or who wait before it for what would."""
    same = [one for one in locks if one.granted and one.pid != wish.pid and _place(one) == _place(wish)]
    holders = [one.pid for one in same if _apart(wish, one)]
    ahead = [
        one.pid
        for one in wishes.values()
        if one.pid != wish.pid
        and _place(one) == _place(wish)
        and one.mode in _AHEAD
        and _RANKS.get(wish.mode, 0) < _RANKS[one.mode]
        and _apart(wish, one)
        and wish.mode != "SHARED_HIGH_PRIO"
    ]
    return tuple(dict.fromkeys([*holders, *ahead]))


def _place(lock: Lock) -> tuple[str, str]:
    return lock.kind, lock.target.lower()


def _apart(wish: Lock, other: Lock) -> bool:
    if wish.kind == TABLE:
        if "EXCLUSIVE" in (wish.mode, other.mode):
            return True
        return other.mode in _APART.get(wish.mode, "").split()
    if wish.kind == "BACKUP":  # MariaDB's: whoever stops writes holds one of these
        return other.mode.startswith(("BACKUP_FTWRL", "BACKUP_WAIT", "BACKUP_BLOCK"))
    return {wish.mode, other.mode} not in ({"INTENTION_EXCLUSIVE"}, {"SHARED"})


def _wish(one: Seen, locks: Sequence[Lock]) -> Lock:
    """What it waits for: as the server says it, or else as its statement does."""
    kind = one.awaits or TABLE
    asked = [lock for lock in locks if lock.pid == one.pid and not lock.granted]
    if asked:
        return asked[0]
    query = _COMMENT.sub(" ", one.query)
    if kind != TABLE:
        return Lock(one.pid, kind, "", "SHARED", granted=False)
    return Lock(one.pid, kind, _target(one, query, locks), _mode(query), granted=False)


def _mode(query: str) -> str:
    if _DEFINES.match(query):
        return "EXCLUSIVE"
    if _LOCKS.match(query):
        return "SHARED_NO_READ_WRITE"
    return "SHARED_WRITE" if _WRITES.match(query.replace("\n", " ")) else "SHARED_READ"


def _target(one: Seen, query: str, locks: Sequence[Lock]) -> str:
    """The table: the one of those its statement names that another holds, or else the first."""
    named = [_full(name, one.base) for name in _TABLE.findall(query)]
    others = {lock.target.lower(): lock.target for lock in locks if lock.kind == TABLE and lock.pid != one.pid}
    of_others = [others[name.lower()] for name in named if name.lower() in others]
    words = set(_WORD.findall(query.lower()))
    mentioned = [target for target in others.values() if target.lower().rpartition(".")[2] in words]
    return next(iter([*of_others, *mentioned, *named]), "")


def _full(name: str, base: str) -> str:
    parts = [part.strip().strip("`") for part in name.split(".")]
    return ".".join(parts if len(parts) > 1 or not base else [base, *parts])


def _likely(one: Seen, wish: Lock, seen: Sequence[Seen], wishes: Mapping[int, Lock]) -> tuple[int, ...]:
    """The likely holder: a change of the same table that is older, else the longest transaction, else a statement."""
    others = [other for other in seen if other.pid != one.pid]
    older = [other for other in others if other.state == "active" and other.elapsed_s >= one.waited_s]
    of_table = [
        other
        for other in older
        if _target(other, query := _COMMENT.sub(" ", other.query), ()).lower() == wish.target.lower()
        and _apart(wish, Lock(other.pid, TABLE, wish.target, _mode(query), granted=True))
        and (other.pid not in wishes or other.elapsed_s > one.elapsed_s)
    ]
    changes = [other for other in of_table if _DEFINES.match(_COMMENT.sub(" ", other.query))]
    open_ones = [
        other
        for other in others
        if other.pid not in wishes and other.transaction_s is not None and other.transaction_s >= one.waited_s
    ]
    if changes:
        return (max(changes, key=_elapsed_s).pid,)
    if open_ones:
        return (max(open_ones, key=lambda other: other.transaction_s or 0.0).pid,)
    return (max(of_table, key=_elapsed_s).pid,) if of_table else ()


def _elapsed_s(one: Seen) -> float:
    return one.elapsed_s
