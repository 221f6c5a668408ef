"""Which statement of a step took the lock that the application waited for: the one that ran need not be it."""

import re
from collections.abc import Sequence
from typing import Any

from replay.judge.phases import Span, Statement

_LONGEST = 500  # a probe's readings have no more of a statement
# What takes no lock on a table by itself, whatever it mentions.
_TAKES_NONE = re.compile(r"(?i)\s*(begin|start|commit|end|rollback|abort|savepoint|release|set|reset|show)\b")

# What by itself takes no lock on a table that is stronger than these.
_DATA = re.compile(r"(?i)\s*(select|insert|update|delete|merge|copy|with|values|table|explain|fetch|declare)\b")
# What locks rows that are there; a query does where it says so.
_ROWS = re.compile(
    r"(?is)\s*(?:(?:update|delete|insert|merge)\b|.*\bfor\s+(?:no\s+key\s+)?(?:update|share)\b|.*\bfor\s+key\s+share\b)"
)
_ADVISORY = r"(?i)advisory_(xact_)?lock"
_WEAK = frozenset({"AccessShareLock", "RowShareLock", "RowExclusiveLock"})


def taking(session: dict[str, Any], waiting: dict[str, Any], spans: Sequence[Span]) -> str | None:
    """The statement that took the lock, as one line, or None where none can be told from the others.

    ``session`` is the step's in a chain, ``waiting`` the one that waits. Where the probe is not certain, it is the only
    statement that ran when the lock was taken, or the only one of them that takes such locks or names the
    table.
    """
    taken = session.get("taken")
    if not isinstance(taken, dict):
        return None
    if taken.get("certain") and taken.get("query"):
        return _line(str(taken["query"]))
    ran = _ran(str(session.get("step")), taken, spans)
    lock, table = str(waiting.get("lock") or ""), str(waiting.get("relation") or "").rpartition(".")[2].strip('"')
    if lock.startswith("relation ") and session.get("holds") not in _WEAK:
        # One that changes data may take such a lock through a function: but what takes it by itself comes first.
        ran = [text for text in ran if not _DATA.match(text)] or ran
    if lock.startswith("row of "):
        ran = [text for text in ran if _ROWS.match(text)] or ran
    name = rf"(?i)(?<!\w){re.escape(table)}(?!\w)" if table else _ADVISORY if lock.startswith("advisory ") else None
    telling = [text for text in ran if name and re.search(name, text)] or ran
    return telling[0] if len(telling) == 1 else None


def _ran(step: str, taken: dict[str, Any], spans: Sequence[Span]) -> list[str]:
    """The statements of a step that ran between the two moments, and may take a lock."""
    after_s, by_s = taken.get("after_s"), taken.get("by_s")
    if not isinstance(by_s, (int, float)):
        return []
    from_s = float(after_s) if isinstance(after_s, (int, float)) else -1.0
    return list(
        dict.fromkeys(
            _line(one.statement)
            for span in spans
            if span.step == step
            for one in span.statements
            if _overlaps(one, from_s, float(by_s)) and not _TAKES_NONE.match(one.statement)
        )
    )


def _overlaps(statement: Statement, from_s: float, to_s: float) -> bool:
    return statement.started_s <= to_s and (statement.ended_s is None or statement.ended_s >= from_s)


def _line(text: str) -> str:
    return " ".join(text.strip()[:_LONGEST].split())
