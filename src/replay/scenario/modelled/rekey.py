"""A recorded request for another key: the values in its path are replaced, and where it repeats them. Pure."""

import dataclasses
import json
from collections.abc import Mapping
from urllib.parse import quote, unquote_plus

from replay.scenario.pools import Field, fields_of, path_parameters
from replay.scenario.schedule import PlannedRequest

_IN_A_SEGMENT = "!$&'()*+,;=:@"  # what RFC 3986 lets stand in a path segment besides the unreserved


def rekey(planned: PlannedRequest, values: tuple[str, ...]) -> PlannedRequest:
    """The request with ``values`` for its path's parameters, in order. What an injection replaces anyway stays.

    Where the query or the body has a parameter of the same name with the same value, that follows.
    """
    parameters = path_parameters(planned)
    if len(parameters) != len(values):
        return planned
    new = {name: value for (name, old), value in zip(parameters.items(), values, strict=True) if old != value}
    found = [field for field in fields_of(planned, new) if field.text == parameters[field.name]] if new else []
    if not any(field.place == "path" for field in found):
        return planned
    return dataclasses.replace(
        planned,
        path=_in_path(planned.path, found, new),
        query=_in_pairs(planned.query, found, new, "query:"),
        body=_in_body(planned.body, found, new),
    )


def _in_path(path: str, found: list[Field], new: Mapping[str, str]) -> str:
    segments = path.split("/")
    for field in sorted(found, key=lambda field: field.span, reverse=True):
        if field.place == "path":
            begin, end = field.span
            text = segments[field.segment]
            segments[field.segment] = text[:begin] + quote(new[field.name], safe=_IN_A_SEGMENT) + text[end:]
    return "/".join(segments)


def _in_pairs(text: str, found: list[Field], new: Mapping[str, str], kind: str) -> str:
    values = {field.place.removeprefix(kind): field for field in found if field.place.startswith(kind)}
    if not values:
        return text
    pairs = [pair.partition("=") for pair in text.split("&")]
    return "&".join(
        f"{name}={quote(new[field.name], safe='')}"
        if (field := values.get(unquote_plus(name))) and unquote_plus(written) == field.text
        else f"{name}{equals}{written}"
        for name, equals, written in pairs
    )


def _in_body(body: bytes | None, found: list[Field], new: Mapping[str, str]) -> bytes | None:
    if body is None:
        return None
    body = _in_pairs(body.decode("latin-1"), found, new, "form:").encode("latin-1")
    pointers = [field for field in found if field.place.startswith("json:/")]
    if not pointers:
        return body
    document = json.loads(body)
    for field in pointers:
        *steps, last = [
            part.replace("~1", "/").replace("~0", "~") for part in field.place.removeprefix("json:/").split("/")
        ]
        parent = document
        for step in steps:
            parent = parent[int(step) if isinstance(parent, list) else step]
        key = int(last) if isinstance(parent, list) else last
        value = new[field.name]
        parent[key] = int(value) if isinstance(parent[key], int) and value.isascii() and value.isdigit() else value
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
