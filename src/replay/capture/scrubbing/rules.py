"""What a user adds to the scrubber's own knowledge, in a TOML file.

::

    [names]                                   # of fields: headers, cookies, query, form, JSON, XML, GraphQL
    secret = ["badge", "x-tenant-*"]          # replaced whatever they hold
    plain = ["state", "device_token"]         # by their name no secrets; what shows itself as one is still replaced

    [[values]]                                # regular expressions, as Python's `re` has them
    pattern = 'EMP-\\d{6}'                     # whatever it matches is replaced, in every text
    kind = "employee"                         # what it is counted as; "rule" where nothing is said

    [endpoints]                               # a method and a path; * is one segment, ** any number, also as the method
    drop = ["POST /v2/uploads/**"]            # their bodies are not kept
    keep = ["GET /v2/catalogue/**"]           # their bodies stay as they are

    [json]                                    # pointers into JSON bodies; * is one name or index, ** any number
    drop = ["/user/photo", "/**/notes"]       # null takes the place of every value there and below
    keep = ["/items/*/code"]                  # values there and below stay as they are

Names are compared without regard to case, hyphens, underscores and dots (``x-tenant`` is ``xTenant``); ``*`` in them
stands for anything.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from replay.errors import InputError

_TABLES: dict[str, tuple[str, ...]] = {
    "names": ("secret", "plain"),
    "endpoints": ("drop", "keep"),
    "json": ("drop", "keep"),
}
_ENDPOINT = re.compile(r"(\*\*?|[A-Za-z]+)\s+(/\S*)")
_LONGEST_PATTERN = 2000


@dataclass(frozen=True, slots=True)
class Rules:
    """What a user says about names, values, endpoints and places in JSON. ``source`` names the file they are from."""

    secret_names: re.Pattern[str] | None = None
    plain_names: re.Pattern[str] | None = None
    values: tuple[tuple[re.Pattern[str], str], ...] = ()
    drop_endpoints: re.Pattern[str] | None = None
    keep_endpoints: re.Pattern[str] | None = None
    drop_json: re.Pattern[str] | None = None
    keep_json: re.Pattern[str] | None = None
    source: str = ""

    def makes_secret(self, name: str) -> bool:
        """Whether a field of that name is a secret by these rules."""
        return bool(self.secret_names and self.secret_names.fullmatch(plain_name(name)))

    def makes_plain(self, name: str) -> bool:
        """Whether a field of that name is no secret by its name, by these rules."""
        return bool(self.plain_names and self.plain_names.fullmatch(plain_name(name)))


NO_RULES = Rules()


def load_rules(path: Path) -> Rules:
    """The rules in the file at ``path``. Raises InputError, with the place, where it cannot be read or understood."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"The rules {path} cannot be read: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The rules {path} are not TOML: {error}.") from error
    unknown = sorted(document.keys() - _TABLES.keys() - {"values"})
    if unknown:
        raise _wrong(path, unknown[0], "there is no such table", "Tables: names, values, endpoints, json.")
    names, endpoints, places = (_lists(document, table, path) for table in _TABLES)
    return Rules(
        secret_names=_either(map(_name_pattern, names["secret"])),
        plain_names=_either(map(_name_pattern, names["plain"])),
        values=_values(document.get("values", []), path),
        drop_endpoints=_endpoints(endpoints["drop"], path, "endpoints.drop"),
        keep_endpoints=_endpoints(endpoints["keep"], path, "endpoints.keep"),
        drop_json=_pointers(places["drop"], path, "json.drop"),
        keep_json=_pointers(places["keep"], path, "json.keep"),
        source=str(path),
    )


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A name without case, hyphens, underscores, dots and blanks."""
    return re.sub(r"[-_.\s]+", "", name).lower()


def _lists(document: dict[str, Any], table: str, path: Path) -> dict[str, list[str]]:
    keys = _TABLES[table]
    found = document.get(table, {})
    if not isinstance(found, dict):
        raise _wrong(path, table, "it is no table", f"Write [{table}] with {' and '.join(keys)}.")
    for key, value in found.items():
        if key not in keys:
            raise _wrong(path, f"{table}.{key}", "there is no such key", f"Keys: {', '.join(keys)}.")
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise _wrong(path, f"{table}.{key}", "it is no list of texts")
    return {key: found.get(key, []) for key in keys}


def _values(found: Any, path: Path) -> tuple[tuple[re.Pattern[str], str], ...]:
    if not isinstance(found, list):
        raise _wrong(path, "values", "it is no list", "Write [[values]] with pattern and kind.")
    values = []
    for number, rule in enumerate(found, 1):
        place = f"values, number {number}"
        if not isinstance(rule, dict) or rule.keys() - {"pattern", "kind"} or not isinstance(rule.get("pattern"), str):
            raise _wrong(path, place, "it needs a pattern, and may have a kind")
        kind = rule.get("kind", "rule")
        if not isinstance(kind, str) or not re.fullmatch(r"[a-z][a-z0-9 _-]{0,30}", kind):
            raise _wrong(path, place, "its kind is no short word in small letters")
        try:
            pattern = re.compile(rule["pattern"][:_LONGEST_PATTERN])
        except (re.error, RecursionError, OverflowError) as error:
            raise _wrong(path, place, f"its pattern is no regular expression ({error})") from error
        if pattern.match(""):
            raise _wrong(path, place, "its pattern matches an empty text")
        values.append((pattern, kind))
    return tuple(values)


def _endpoints(patterns: list[str], path: Path, place: str) -> re.Pattern[str] | None:
    translated = []
    for pattern in patterns:
        match = _ENDPOINT.fullmatch(pattern)
        if not match:
            raise _wrong(path, place, f"{pattern!r} is no endpoint", "Write it as `POST /v2/uploads/**`.")
        method = "[^ ]+" if match[1].startswith("*") else match[1].upper()
        translated.append(f"{method} {_place_pattern(match[2])}/?")
    return _either(translated)


def _pointers(patterns: list[str], path: Path, place: str) -> re.Pattern[str] | None:
    for pattern in patterns:
        if not pattern.startswith("/"):
            raise _wrong(path, place, f"{pattern!r} is no pointer", "Write it as `/user/photo`.")
    return _either(f"{_place_pattern(pattern)}(?:/.*)?" for pattern in patterns)


def _name_pattern(name: str) -> str:
    return ".*".join(re.escape(plain_name(piece)) for piece in re.split(r"\*+", name))


def _place_pattern(place: str) -> str:
    pieces = {"**": "(?:/[^/]*)*", "*": "/[^/]*"}
    return "".join(pieces.get(part, "/" + re.escape(part)) for part in place.split("/")[1:])


def _either(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    return re.compile(joined, re.DOTALL) if joined else None


def _wrong(path: Path, place: str, reason: str, hint: str = "") -> InputError:
    return InputError(f"The rules {path} cannot be used at {place}: {reason}.", hint)
