"""The values in the bodies of requests and responses: JSON, XML, HTML and forms."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from replay.documents.html import html_fields, is_html
from replay.documents.multipart import is_multipart, multipart_fields
from replay.documents.urls import looks_like_url, path_before, url_parts
from replay.documents.xml import is_xml, xml_leaves
from replay.workload.correlations.subjects import operation_of, subject_of
from replay.workload.correlations.values import Value
from replay.workload.endpoints.names import is_identifier, resource_of, singular, snake

_LONGEST = 8192
_MOST_LEAVES = 20_000
_DEEPEST = 40
_MOST_FIELDS = 1000

# Objects that only wrap the thing that a request or response is about.
_WRAPPERS = frozenset(
    "attributes body content data edges entity entries envelope input item items list node nodes object objects params "
    "payload record records response result results rows value values variables".split()
)


def sent_in_body(body: bytes, content_type: str, resource: str) -> list[Value]:
    """The values in a request's body. ``resource`` is what it is about, where nothing in it says so."""
    lowered = content_type.lower()
    if "x-www-form-urlencoded" in lowered:
        text = body.decode("utf-8", "replace")
        return [Value(f"form:{name}", snake(name), value) for name, value in pairs(text)]
    if is_multipart(lowered):
        fields = ((name, body[start:end]) for name, start, end in multipart_fields(content_type, body))
        return [
            Value(f"form:{name}", snake(name), content.decode("utf-8", "replace"))
            for name, content in fields
            if 0 < len(content) <= _LONGEST
        ]
    if is_xml(body, content_type):
        return list(_xml_values(body, subject_of(operation_of(body, content_type)) or resource, None))
    return list(_leaves(body, subject_of(operation_of(body, content_type)) or resource))


def handed_in_body(body: bytes, content_type: str, resource: str, wanted: frozenset[str] | None) -> Iterable[Value]:
    """The values in a response's body. With ``wanted``, only those of these texts."""
    if body.lstrip()[:1] in {b"{", b"["}:
        return _leaves(body, resource, wanted)
    if is_html(body, content_type):
        return _html_values(body, wanted)
    if is_xml(body, content_type):
        return _xml_values(body, resource, wanted)
    return ()


def pairs(text: str) -> Iterable[tuple[str, str]]:
    """The fields of a query or a form; none where there are more than anybody fills in by hand."""
    try:
        return parse_qsl(text, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return ()


def url_values(url: str, prefix: str) -> Iterator[Value]:
    """The values in a URL that a response hands out; their places begin with ``prefix``."""
    for part, text in url_parts(url):
        kind, _, name = part.partition("/")
        if kind == "path":
            owner = resource_of(path_before(url, part))
            if owner or part != "path/1":
                yield Value(f"{prefix}{part}", f"{owner}_id" if owner else "id", text)
        else:
            yield Value(f"{prefix}{part}", snake(name), text)


@lru_cache(maxsize=256)  # what is polled comes again and again
def _leaves(body: bytes, resource: str, wanted: frozenset[str] | None = None) -> tuple[Value, ...]:
    """The strings and whole numbers of a JSON body, with their pointers; of a response, what its URLs hold as well."""
    return tuple(_walk(body, resource, wanted))


_URL_BEGINS = frozenset("h/?")
_Steps = tuple["_Steps | None", str | int]  # what leads to a value: the steps to what it is in, and the last one


def _walk(body: bytes, resource: str, wanted: frozenset[str] | None) -> Iterator[Value]:
    if body.lstrip()[:1] not in {b"{", b"["}:
        return
    try:
        root = json.loads(body)
    except (ValueError, RecursionError):
        return
    left = _MOST_LEAVES
    waiting: list[tuple[Any, _Steps | None, str, str, int]] = [(root, None, "", resource, 0)]
    while waiting and left > 0:
        value, steps, key, owner, depth = waiting.pop()
        if isinstance(value, dict):
            inner = owner if not key or snake(key) in _WRAPPERS else subject_of(singular(snake(key)))
            entries: Iterable[tuple[str | int, Any]] = value.items()
        else:
            inner, entries = owner, enumerate(value)
        for name, one in entries:
            own = name if isinstance(name, str) else key
            if isinstance(one, (dict, list)):
                if depth < _DEEPEST:
                    waiting.append((one, (steps, name), own, inner, depth + 1))
                continue
            if not isinstance(one, (str, int)) or isinstance(one, bool):
                continue
            left -= 1
            text = one if isinstance(one, str) else str(one)
            if (wanted is None or text in wanted) and 0 < len(text) <= _LONGEST:
                yield Value(f"json:{_pointer((steps, name))}", _leaf_name(own, inner, name), text)
            if wanted is not None and text[:1] in _URL_BEGINS:
                yield from _in_url(text, (steps, name), wanted)


def _in_url(text: str, steps: _Steps, wanted: frozenset[str]) -> Iterator[Value]:
    if looks_like_url(text[:_LONGEST]):
        for part in url_values(text, ""):
            if part.text in wanted:
                yield Value(f"json:{_pointer(steps)}~{part.place}", part.name, part.text)


def _pointer(steps: _Steps | None) -> str:
    parts: list[str] = []
    while steps is not None:
        steps, step = steps
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(reversed(parts))


def _leaf_name(key: str, owner: str, step: str | int) -> str:
    name = snake(key)
    if is_identifier(name):
        return f"{owner}_id" if owner else "id"
    return singular(name) if isinstance(step, int) else name


@lru_cache(maxsize=64)
def _html_values(body: bytes, wanted: frozenset[str] | None) -> tuple[Value, ...]:
    values: list[Value] = []
    for field in html_fields(_text(body)):
        if 0 < len(field.text) <= _LONGEST and (wanted is None or field.text in wanted):
            place = f"html:{field.place}"
            name = snake(field.name) if field.name else f"{_owner(field.place)}_id"
            values.append(Value(place, name, field.text))
    return tuple(values)


def _owner(place: str) -> str:
    """What a segment of a link identifies: the word before it in the link's pattern."""
    part, _, pattern = place.removeprefix("href/path/").partition("@")
    return resource_of(path_before(pattern.partition("#")[0], f"path/{part}"))


@lru_cache(maxsize=64)
def _xml_values(body: bytes, resource: str, wanted: frozenset[str] | None) -> tuple[Value, ...]:
    values: list[Value] = []
    for leaf in xml_leaves(_text(body)):
        if not 0 < len(leaf.text) <= _LONGEST:
            continue
        if wanted is None or leaf.text in wanted:
            name, owner = snake(leaf.name), subject_of(snake(leaf.owner))
            if is_identifier(name):
                owner = owner if owner and owner not in _WRAPPERS else resource
                name = f"{owner}_id" if owner else "id"
            values.append(Value(f"xml:{leaf.path}", name, leaf.text))
    return tuple(values)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")
