"""In what a variant of a request differs from those that were seen: names of its query, fields of its body."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from replay.workload.profile.variants import OTHERS

_TOKEN = re.compile(r"[{}\[\],|:]|[^{}\[\],|:]+")
_MOST_NAMED = 4
_BODY = "body"


@dataclass(frozen=True, slots=True)
class Difference:
    """What a request leaves out, has besides, and has of another type (the field, and the type)."""

    without: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    otherwise: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        parts = [f"without `{name}`" for name in self.without] + [f"with `{name}`" for name in self.added]
        parts += [f"with `{name}` as {type_}" for name, type_ in self.otherwise]
        more = len(parts) - _MOST_NAMED
        return ", ".join(parts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def find_difference(variant: str, seen: Iterable[str]) -> Difference | None:
    """What parts ``variant`` from the nearest of those ``seen``. None where that cannot be said by fields."""
    own = fields_of(variant)
    if own is None:
        return None
    near: Difference | None = None
    for other in seen:
        fields = fields_of(other)
        if fields is None:
            continue
        found = _difference(own, fields)
        if near is None or _size(found) < _size(near):
            near = found
    return near if near is not None and _size(near) else None


def fields_of(variant: str) -> dict[str, str] | None:
    """The fields of a variant, with their types: ``?limit`` of a query, ``items[].id`` of JSON, ``name`` of a form.

    A body without names is one field, ``body``. None where a body was cut, or is one of many that are not told apart.
    """
    query, body = "", variant
    if variant.startswith("?"):
        query, _, body = variant[1:].partition(" ")
    fields = {f"?{name}": "" for name in query.split("&") if name}
    if body.startswith("form "):
        return fields | {name: "" for name in body.removeprefix("form ").split("&") if name}
    if body.startswith(("{", "[")):
        try:
            tokens = _TOKEN.findall(body)
            if _read(tokens, 0, "", fields) != len(tokens):
                return None
        except (IndexError, ValueError, RecursionError):
            return None
        return fields
    if body == OTHERS:
        return None
    return fields | {_BODY: body} if body else fields


def _read(tokens: list[str], at: int, path: str, fields: dict[str, str]) -> int:
    """Read the value that begins at a token into ``fields``; where what follows it begins."""
    opening = tokens[at]
    if opening == "{":
        kind, at = "object", at + 1
        while tokens[at] != "}":
            end = tokens.index(":", at)
            name = f"{path}.{''.join(tokens[at:end])}" if path else "".join(tokens[at:end])
            at = _read(tokens, end + 1, name, fields)
            at += tokens[at] == ","
    elif opening == "[":
        kind, at = "list", at + 1
        while tokens[at] != "]":
            at = _read(tokens, at, f"{path}[]", fields)
            at += tokens[at] == "|"
    else:
        kind = opening
    known = fields.setdefault(path or _BODY, kind)
    if known != kind:
        fields[path or _BODY] = f"{known} or {kind}" if kind not in known.split(" or ") else known
    return at + 1


def _difference(own: Mapping[str, str], other: Mapping[str, str]) -> Difference:
    return Difference(
        without=tuple(sorted(_outermost(other.keys() - own.keys()))),
        added=tuple(sorted(_outermost(own.keys() - other.keys()))),
        otherwise=tuple(sorted((name, own[name]) for name in own.keys() & other.keys() if own[name] != other[name])),
    )


def _outermost(names: set[str]) -> set[str]:
    """The names but for those of fields within others of them."""
    return {name for name in names if not any(_is_within(name, other) for other in names)}


def _is_within(name: str, other: str) -> bool:
    return name != other and name.startswith(other) and name[len(other)] in ".["


def _size(difference: Difference) -> int:
    return len(difference.without) + len(difference.added) + len(difference.otherwise)
