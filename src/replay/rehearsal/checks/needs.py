"""What an SQL file needs to be allowed, as far as its statements tell. Asks nobody."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

OWN, CREATE = "own", "create in"
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_NAME = rf"(?:{_WORD}\s*\.\s*)?{_WORD}"
_NAMES = rf"(?P<names>{_NAME}(?:\s*,\s*{_NAME})*)"
_ONE = rf"(?P<names>{_NAME})"
_KINDS = r"(?:FOREIGN\s+TABLE|TABLE|INDEX|MATERIALIZED\s+VIEW|VIEW|SEQUENCE)"
_IF = r"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
_ONLY = r"(?:ONLY\s+)?"


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(" ", r"\s+"), re.IGNORECASE)


_NEEDS = tuple(
    (right, _compiled(text))
    for right, text in (
        (OWN, rf"ALTER {_KINDS} {_IF}{_ONLY}{_ONE}"),
        (OWN, rf"DROP {_KINDS} (?:CONCURRENTLY )?{_IF}{_NAMES}"),
        (OWN, rf"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?{_IF}(?:{_NAME} )?ON {_ONLY}{_ONE}"),
        (OWN, rf"REINDEX (?:\([^)]*\)\s*)?(?:TABLE|INDEX) (?:CONCURRENTLY )?{_ONE}"),
        (OWN, rf"REFRESH MATERIALIZED VIEW (?:CONCURRENTLY )?{_ONE}"),
        (OWN, rf"COMMENT ON {_KINDS} {_ONE}"),
        (
            CREATE,
            rf"CREATE (?:OR REPLACE )?(?:UNLOGGED )?(?:{_KINDS}|FUNCTION|PROCEDURE|TYPE|DOMAIN) {_IF}{_ONE}",
        ),
        ("UPDATE", rf"UPDATE {_ONLY}{_ONE}"),
        ("INSERT", rf"INSERT INTO {_ONE}"),
        ("DELETE", rf"DELETE FROM {_ONLY}{_ONE}"),  # noqa: S608 - a pattern, no query
        ("TRUNCATE", rf"TRUNCATE (?:TABLE )?{_ONLY}{_NAMES}"),
        ("INSERT", rf"COPY {_ONE}\s*(?:\([^)]*\)\s*)?FROM\b"),
    )
)
_ROLE = _compiled(r"SET (?:LOCAL |SESSION )?(?:ROLE|SESSION AUTHORIZATION|AUTHORIZATION) ")
_MAKES = _compiled(r"\s*(?:CREATE|SELECT|WITH|DO|CALL|IMPORT|EXECUTE)\b")
_RENAMES, _IF_EXISTS, _SEARCH_PATH = (_compiled(rf"\b{text}\b") for text in ("RENAME", "IF EXISTS", "SEARCH_PATH"))
_HARMLESS = frozenset(
    "ABORT ANALYZE BEGIN CHECKPOINT COMMIT DEALLOCATE DISCARD END EXPLAIN FETCH LISTEN RELEASE RESET ROLLBACK "
    "SAVEPOINT SELECT SET SHOW START TABLE VALUES".split()
)


@dataclass(frozen=True, slots=True)
class Need:
    """A right, and to what: ``own``, ``UPDATE``... a relation as it is written, or ``create in`` a schema.

    An empty schema is whatever the search path says.
    """

    right: str
    name: str


@dataclass(frozen=True, slots=True)
class Needs:
    """All that is told. ``untold`` counts statements that say nothing of it; ``roles`` says that the role changes."""

    needs: tuple[Need, ...]
    untold: int
    roles: bool


def needs_of(statements: Iterable[str]) -> Needs:
    """What statements need, each need once."""
    found: dict[Need, None] = {}
    untold, roles = 0, False
    for statement in statements:
        text = _COMMENT.sub(" ", statement).strip()
        right, match = next(((right, at) for right, need in _NEEDS if (at := need.match(text))), ("", None))
        if match is not None:
            names = [re.sub(r"\s+", "", name) if '"' not in name else name for name in _listed(match["names"])]
            found |= {Need(right, _schema(name) if right == CREATE else name): None for name in names}
        elif _ROLE.match(text):
            roles = True
        elif re.split(r"\W", text, maxsplit=1)[0].upper() not in _HARMLESS:
            untold += 1
    return Needs(tuple(found), untold, roles)


def made_by_none(names: Iterable[str], statements: Iterable[str]) -> list[str]:
    """Those of the relations that no statement makes, as far as they tell: a step that needs one will fail.

    What a query, a function or a renaming speaks of, it may make; what is named with IF EXISTS need not be there.
    """
    texts = [_COMMENT.sub(" ", statement) for statement in statements]
    if any(_SEARCH_PATH.search(text) for text in texts):
        return []
    makers = [text.lower() for text in texts if _MAKES.match(text) or _RENAMES.search(text) or _IF_EXISTS.search(text)]
    words = {word for text in makers for word in re.findall(r"\w+", text)}
    return [name for name in names if not _is_told(re.findall(_WORD, name)[-1].strip('"').lower(), makers, words)]


def _is_told(name: str, makers: Iterable[str], words: Iterable[str]) -> bool:
    """Whether statements speak of a relation, or of the table that it belongs to: ``event`` has ``event_id_seq``."""
    return any(name in text for text in makers) or any(name.startswith(f"{word}_") for word in words)


def _listed(names: str) -> list[str]:
    return [match[0] for match in re.finditer(_NAME, names)]


def _schema(name: str) -> str:
    parts = re.findall(_WORD, name)
    return parts[0] if len(parts) > 1 else ""
