"""Which columns of a table say what, and what to tell a person where they do not say enough."""

from collections.abc import Sequence

from replay.capture.sources.aliases import ALIASES
from replay.capture.sources.lines import FieldNames
from replay.capture.sources.roles import Reading
from replay.capture.sources.source import ReadOptions
from replay.errors import InputError

# Each is one that a row has to have, by the roles that say it.
_NEEDED = (
    ({"at", "ended", "logged"}, "when the request was sent", "--map at=COLUMN"),
    ({"path", "request"}, "what was asked for", "--map path=COLUMN"),
    ({"method", "request"}, "the method", "--map method=COLUMN, or --map 'method=\"GET\"' where all have the same"),
)


def reading_for(options: ReadOptions) -> Reading:
    """The well-known names with those that the user maps. Raises InputError where one is mapped to no role."""
    return Reading(ALIASES, options.columns)


def check(names: Sequence[str], reading: Reading, file_name: str) -> None:
    """Raise InputError where the columns ``names`` do not say enough, or where one is mapped that is not there."""
    known = FieldNames()
    known.see(names)
    missing = [name for name in reading.told if name not in set(names)]
    if missing:
        raise InputError(f"{file_name} has no column {missing[0]!r}.", f"Its columns are {known}.")
    roles = {role.name for name in names for role in reading.roles(name)} | reading.constants
    for some, what, hint in _NEEDED:
        if not roles & some:
            raise InputError(f"No column of {file_name} says {what}.", f"Its columns are {known}. Name it: {hint}.")


def likeness(names: Sequence[str]) -> tuple[bool, int]:
    """Whether columns so called say when a request was sent and what it asked for; and how many say anything."""
    reading = Reading(ALIASES, {})
    found = [{role.name for role in reading.roles(name)} for name in names]
    roles = set().union(*found)
    return bool(roles & _NEEDED[0][0] and roles & _NEEDED[1][0]), sum(map(bool, found))
