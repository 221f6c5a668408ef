"""Errors that name what a step changed: which lines of a log prove where a failure comes from."""

import re
from dataclasses import dataclass

PATH = re.compile(r"\S*/\S*")
_WORD = re.compile(r"[a-z_][a-z0-9_]{2,}")
# A word such as status is a name only where it is quoted, in parentheses, behind a point, or said to be one.
_POINTED = re.compile(
    r"(?:[\"'`.(]|\b(?:column|relation|table|view|index|constraint|key|type|function|trigger|sequence|role|schema)\s+)"
    r"([a-z_]\w*)"
)
_SQUASHED = 10  # letters that make a name a name without its underscores too
_STEM = 5  # letters of a table that PostgreSQL's name for a constraint of it begins with
# What a server says only where a definition has changed under a statement.
_BY_NATURE = (
    "cached plan must not change result type",
    "there is no unique or exclusion constraint matching the on conflict specification",
)
# What PostgreSQL says besides the error, and where in its functions that was.
BESIDES = re.compile(r"(?i)\s*(?:(?:context|detail|hint|statement|query|line \d+)\s*:|(?:pl/pgsql|sql) function\b)")


@dataclass(frozen=True, slots=True)
class NamedError:
    """A line of a log that is new since the steps and has ``names`` of what they changed; ``at_s`` is its second."""

    at_s: float
    line: str
    count: int
    names: frozenset[str]

    @property
    def itself(self) -> bool:
        """Whether the line tells the error, and not only what stands around it."""
        return not BESIDES.match(self.line)


def names_in(line: str, changed: frozenset[str]) -> frozenset[str]:
    """Which of the ``changed`` names a line of a log has. A request's path is none, whatever its parts are called."""
    told = PATH.sub(" ", line.lower())
    if by_nature := [phrase for phrase in _BY_NATURE if phrase in told]:
        return frozenset(by_nature)
    words, pointed = set(_WORD.findall(told)), set(_POINTED.findall(told))
    squashed = {word.replace("_", "") for word in words}
    return frozenset(
        name
        for name in changed
        if name in (words if "_" in name else pointed)
        or (len(name) >= _SQUASHED and name.replace("_", "") in squashed)
        or (len(name) >= _STEM and any(word.startswith(f"{name}_") for word in words))
    )
