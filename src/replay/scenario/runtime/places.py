"""Reading and replacing the values that stand at a place of a request or response (see ``scenario.schedule``). Pure."""

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from replay.documents.html import html_value
from replay.documents.multipart import is_multipart, multipart_fields
from replay.documents.urls import link_header, url_part
from replay.documents.xml import replaced, xml_leaves
from replay.scenario.schedule import Extract, Inject, PlannedRequest
from replay.traffic import Headers, Response

_IN_A_SEGMENT = "!$&'()*+,;=:@"  # what RFC 3986 lets stand in a path segment besides the unreserved
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FILE = re.compile(r"([^.]+)(\.[A-Za-z][A-Za-z0-9]{1,4})")
_PART = re.compile(r"~((?:path|query|fragment)/.*)$", re.DOTALL)
_ETAG = re.compile(r'(?:W/)?("[^"]*")')
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")


class NoPlaceError(Exception):
    """A value could not be put at its place; the message says why, without the value."""


def inject(planned: PlannedRequest, values: Mapping[Inject, str]) -> PlannedRequest:
    """The request with each value put at its injection's place, encoded as that place needs it.

    All values of a path or query are replaced at once, so that one Stage handed out is never taken for another's
    captured one. Raises NoPlaceError.
    """
    by_place: dict[str, dict[str, str]] = {}
    for injection, value in values.items():
        by_place.setdefault(injection.place, {})[injection.captured] = value
    for place, replacements in by_place.items():
        planned = _at(planned, place, replacements)
    return planned


def _at(planned: PlannedRequest, place: str, values: dict[str, str]) -> PlannedRequest:
    kind, _, name = place.partition(":")
    if kind == "path":
        return dataclasses.replace(planned, path=_in_path(planned.path, values))
    if kind == "query":
        return dataclasses.replace(planned, query=_in_pairs(planned.query, place, values))
    if kind == "form":
        return dataclasses.replace(planned, body=_in_form(planned, place, values))
    if kind == "json":
        return dataclasses.replace(planned, body=_in_json(planned.body, name, place, values))
    if kind == "xml":
        return dataclasses.replace(planned, body=_in_xml(planned.body, name, place, values))
    if any(_CONTROL.search(value) for value in values.values()):
        raise NoPlaceError(f"a value for {place} has control characters")
    if kind == "header":
        return _in_headers(planned, name, place, lambda text: _in_text(text, values))
    if kind == "cookie":
        return _in_headers(planned, "cookie", place, lambda text: _in_cookie(text, name, values))
    if kind == "bearer":
        return _in_headers(planned, "authorization", place, lambda text: _in_bearer(text, values))
    if kind == "basic" and name in {"username", "password"}:
        return _in_headers(planned, "authorization", place, lambda text: _in_basic(text, name, values))
    raise NoPlaceError(f"{place} is not a place")


def _in_path(path: str, values: dict[str, str]) -> str:
    segments = path.split("/")
    result = list(segments)
    for captured, value in values.items():
        equal = [index for index, segment in enumerate(segments) if captured in (unquote(segment), segment)]
        files = [index for index, segment in enumerate(segments) if captured == unquote(_stem(segment))]
        if not equal and not files:
            raise NoPlaceError("the path does not hold the value that was to be replaced")
        index = equal[-1] if equal else files[-1]
        ending = "" if equal else segments[index][len(_stem(segments[index])) :]
        result[index] = quote(value, safe=_IN_A_SEGMENT) + ending
    return "/".join(result)


def _in_pairs(text: str, place: str, values: dict[str, str]) -> str:
    """A query or form with the values of one name replaced; all else stays as it was written."""
    name = place.partition(":")[2]
    pairs = text.split("&")
    mine = [index for index, pair in enumerate(pairs) if unquote_plus(pair.partition("=")[0]) == name]
    if not mine:
        raise NoPlaceError(f"the request has no {place}")
    missing = set(values)
    for index in mine:
        key, _, written = pairs[index].partition("=")
        captured = next((text for text in (unquote_plus(written), written) if text in values), None)
        if captured is None and len(mine) == len(values) == 1:
            captured = next(iter(values))
        if captured is not None:
            missing.discard(captured)
            pairs[index] = f"{key}={quote(values[captured], safe='')}"
    if missing:
        raise NoPlaceError(f"{place} does not hold the value that was to be replaced")
    return "&".join(pairs)


def _stem(segment: str) -> str:
    """A segment without the ending of a file."""
    file = _FILE.fullmatch(segment)
    return file[1] if file else segment


def _in_form(planned: PlannedRequest, place: str, values: dict[str, str]) -> bytes:
    body = planned.body or b""
    content_type = next((text for name, text in planned.headers if name.lower() == "content-type"), "")
    if not is_multipart(content_type):
        return _in_pairs(body.decode("latin-1"), place, values).encode("latin-1")
    name = place.partition(":")[2]
    missing = set(values)
    for field, start, end in reversed(list(multipart_fields(content_type, body))):
        captured = body[start:end].decode("utf-8", "replace")
        if field == name and captured in values:
            body = body[:start] + values[captured].encode("utf-8", "surrogatepass") + body[end:]
            missing.discard(captured)
    if missing:
        raise NoPlaceError(f"{place} does not hold the value that was to be replaced")
    return body


def _in_xml(body: bytes | None, path: str, place: str, values: dict[str, str]) -> bytes:
    value = next(iter(values.values()))
    if _CONTROL.search(value):
        raise NoPlaceError(f"a value for {place} has control characters")
    text, charset = _decoded(body or b"")
    changed = replaced(text, {path: value})
    if changed is None:
        raise NoPlaceError(f"the body has no {place}")
    return changed.encode(charset, "xmlcharrefreplace")


def _decoded(body: bytes) -> tuple[str, str]:
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return body.decode("latin-1"), "latin-1"


def _in_json(body: bytes | None, pointer: str, place: str, values: dict[str, str]) -> bytes:
    value = next(iter(values.values()))
    try:
        document = json.loads(body or b"")
        spaced = b'": ' in (body or b"")
        path = _pointer_parts(pointer)
        if not path:
            document = _like(document, value)
        else:
            parent = _walk(document, path[:-1])
            key: Any = int(path[-1]) if isinstance(parent, list) else path[-1]
            parent[key] = _like(parent[key], value)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise NoPlaceError(f"the body has no {place}") from error
    separators = None if spaced else (",", ":")
    return json.dumps(document, ensure_ascii=False, separators=separators).encode("utf-8", "surrogatepass")


def _like(old: Any, new: str) -> Any:
    """``new`` as a number where ``old`` is one: an id keeps its type."""
    is_number = isinstance(old, int) and not isinstance(old, bool)
    return int(new) if is_number and len(new) < 1000 and _INTEGER.fullmatch(new) else new


def _in_headers(planned: PlannedRequest, name: str, place: str, change: Callable[[str], str | None]) -> PlannedRequest:
    headers: list[tuple[str, str]] = []
    found = False
    for key, text in planned.headers:
        changed = change(text) if key.lower() == name else None
        found = found or changed is not None
        headers.append((key, text if changed is None else changed))
    if not found:
        raise NoPlaceError(f"the request has no {place}")
    return dataclasses.replace(planned, headers=tuple(headers))


def _in_text(text: str, values: dict[str, str]) -> str | None:
    if text in values:
        return values[text]
    present = [captured for captured in values if captured and captured in text]  # `Token abc`, `"tag1", "tag2"`
    if not present:
        return None
    one_of = re.compile("|".join(map(re.escape, sorted(present, key=len, reverse=True))))
    return one_of.sub(lambda match: values[match[0]], text)


def _in_cookie(text: str, name: str, values: dict[str, str]) -> str | None:
    parts = text.split(";")
    found = False
    for index, part in enumerate(parts):
        key, equals, written = part.partition("=")
        if equals and key.strip() == name:
            value = values.get(written.strip()) or next(iter(values.values()))
            parts[index] = f"{key}={value}"
            found = True
    return ";".join(parts) if found else None


def _in_bearer(text: str, values: dict[str, str]) -> str | None:
    scheme, space, _ = text.partition(" ")
    return f"{scheme} {next(iter(values.values()))}" if space and scheme.lower() == "bearer" else None


def _in_basic(text: str, part: str, values: dict[str, str]) -> str | None:
    scheme, _, encoded = text.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    value = next(iter(values.values()))
    pair = f"{value}:{password}" if part == "username" else f"{username}:{value}"
    return f"{scheme} {base64.b64encode(pair.encode()).decode()}"


def extract(wanted: Extract, response: Response) -> str | None:
    """The value that stands at the extraction's place of a response, or None where it has none."""
    kind, _, name = wanted.place.partition(":")
    if kind == "json":
        pointer, tilde, part = _with_part(name)
        text = _from_json(response.body, pointer)
        return url_part(text, part) if tilde and text else text
    if kind == "cookie":
        text = _from_cookies(response.headers, name.removesuffix("~decoded"))
        return unquote(text) if text and name.endswith("~decoded") else text
    if kind == "location":
        return url_part(response.header("location") or "", name or "path/1")
    if kind == "link":
        return _from_links(response.headers, name)
    if kind in {"html", "xml"}:
        text, _ = _decoded(response.body or b"")
        return html_value(text, name) if kind == "html" else _from_xml(text, name)
    if wanted.place == "header:etag":
        tag = _ETAG.search(response.header("etag") or "")
        return tag[1] if tag else None
    return (response.header(name) or None) if kind == "header" else None


def _with_part(name: str) -> tuple[str, str, str]:
    """A JSON pointer, and the part of the URL there: a tilde that escapes nothing stands between them."""
    match = _PART.search(name)
    return (name[: match.start()], "~", match[1]) if match else (name, "", "")


def _from_links(headers: Headers, place: str) -> str | None:
    relation, _, part = place.partition("/")
    for key, text in headers:
        if key.lower() == "link":
            for found, url in link_header(text):
                if found == relation and (value := url_part(url, part)):
                    return value
    return None


def _from_xml(text: str, path: str) -> str | None:
    leaves = {leaf.path: leaf.text for leaf in xml_leaves(text)}
    return leaves.get(path) or leaves.get(re.sub(r"\[\d+\]", "", path)) or None


def _from_json(body: bytes | None, pointer: str) -> str | None:
    try:
        value = _walk(json.loads(body or b""), _pointer_parts(pointer))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    if isinstance(value, str):
        return value or None
    return json.dumps(value) if isinstance(value, (bool, int, float)) else None


def _from_cookies(headers: Headers, name: str) -> str | None:
    for key, text in headers:
        if key.lower() == "set-cookie":
            first, _, _ = text.partition(";")
            written, equals, value = first.partition("=")
            if equals and written.strip() == name:
                return _unquoted(value.strip()) or None
    return None


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return next((morsel.value for morsel in SimpleCookie(f"v={value}").values()), value)
    except CookieError:
        return value


def _pointer_parts(pointer: str) -> list[str]:
    """The parts of a JSON pointer (RFC 6901). Raises ValueError where it is none."""
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise ValueError(pointer)
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _walk(document: Any, parts: list[str]) -> Any:
    for part in parts:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
