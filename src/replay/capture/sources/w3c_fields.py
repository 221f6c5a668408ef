"""Logs whose ``#Fields`` line says what stands in the lines after it: https://www.w3.org/TR/WD-logfile.html."""

import re
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.logs.clients import one
from replay.capture.logs.cutting import amend
from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import Patterns

# What each field is read as. Of those that say the same, the first in the table that a log has is taken.
Roles = Mapping[str, str]
Decoder = Callable[[str], str]

_HEADER = re.compile(r"(cs|sc)\(([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100})\)")
_KINDS = {"cs": "request_header", "sc": "response_header"}
_MOST_FIELDS = 100
_TIMES = (("date", "time", "utc"), ("date-local", "time-local", "any"))
_NEEDED = ({"target", "path"}, {"at", "ended"})


def field_patterns(fields: list[str], roles: Roles, day: str = "") -> Patterns:
    """How lines with these fields are written; none where they have no time or nothing that is asked for.

    ``day`` is that of times that have none, as in a log with a ``time`` and no ``date``.
    """
    if len(fields) > _MOST_FIELDS:
        return ()
    variables = _headers(fields, roles) | _variables([field.lower() for field in fields], roles)
    found = {text[1:-1].partition(":")[0] for text in variables.values()}
    if not all(needed & found for needed in _NEEDED):
        return ()
    if any(date in variables for date, _, _ in _TIMES):
        day = ""
    # Microsoft counts milliseconds, all others seconds with decimals.
    units = ("{milliseconds}", "{duration:s}") if "{duration}" in variables.values() else ("",)
    return tuple(
        LinePattern(
            between.join(variables.get(field.lower(), "{-}").replace("{duration}", unit) for field in fields),
            escaped=False,
            words=True,
            day=day,
        )
        for unit in units
        for between in (" ", "\t")
    )


def _variables(fields: list[str], roles: Roles) -> dict[str, str]:
    """What each field that stands once, in lower case, is read as."""
    variables: dict[str, str] = {}
    date, time, zone = next((each for each in _TIMES if each[1] in fields), _TIMES[0])
    if time in fields:
        variables = {field: f"{{ended:{zone}}}" for field in (date, time) if field in fields}
    for field, text in roles.items():
        if field in fields and text not in variables.values():
            variables[field] = text
    return {field: text for field, text in variables.items() if fields.count(field) == 1}


def _headers(fields: list[str], roles: Roles) -> dict[str, str]:
    """The header that each other field is, by the field in lower case."""
    matches = {field.lower(): _HEADER.fullmatch(field) for field in fields}
    return {
        field: f"{{{_KINDS[match[1]]}:{match[2]}}}" for field, match in matches.items() if match and field not in roles
    }


def decoded(table: pa.Table, sign: str, decoders: Mapping[str, Decoder]) -> pa.Table:
    """The table with the values decoded that ``sign`` stands in.

    ``decoders`` go by the columns' names in lower case; that of "header" is for all other headers.
    """
    for index, name in enumerate(table.column_names):
        other = decoders["header"] if "_header:" in name else None
        if decode := decoders.get(name.lower(), other):
            column = one(table[name])
            table = table.set_column(index, name, amend(column, pc.match_substring(column, sign), decode))
    return table
