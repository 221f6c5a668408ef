"""The values that requests send and responses hand out, each with the place where it stands.

The places are those of ``replay.scenario.schedule``.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from replay.capture.fields import is_secret_name
from replay.traffic import Headers, Request, Response
from replay.workload.endpoints import is_identifier, resource_of, singular, snake

_LONGEST = 8192
_MOST_LEAVES = 20_000
_DEEPEST = 40

# Fields in which a request that logs in says who it is, the surest first.
USER_FIELDS = ("username", "user_name", "login", "email", "user")
# Fields in which a response hands out a token.
TOKEN_FIELDS = frozenset("access_token refresh_token id_token token auth_token session_token jwt".split())
_SESSION_COOKIE = re.compile(r"sess|sid\b|_sid|^sid|auth|token|jwt|login|remember", re.IGNORECASE)
_CSRF = re.compile(r"[cx]srf", re.IGNORECASE)

# Headers of a request in which no value of ours can stand.
_PLAIN_HEADERS = frozenset(
    "accept accept-charset accept-encoding accept-language authorization cache-control connection content-encoding "
    "content-length content-type cookie date dnt expect forwarded host keep-alive origin pragma priority "
    "proxy-authorization proxy-connection range referer te trailer transfer-encoding upgrade "
    "upgrade-insecure-requests user-agent via x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
)
# Headers of a response that hand nothing out.
_ANSWER_HEADERS = frozenset(
    "accept-ranges age allow cache-control connection content-encoding content-language content-length content-type "
    "date keep-alive location server set-cookie strict-transport-security transfer-encoding vary via".split()
)
# Objects that only wrap the thing that a response is about.
_WRAPPERS = frozenset(
    "attributes content data entity entries item items list object objects payload record records response result "
    "results rows value values".split()
)


@dataclass(frozen=True, slots=True)
class Value:
    """A value, its place, and its name in snake case: an ``id`` is named with what it identifies (``event_id``)."""

    place: str
    name: str
    text: str


def sent_values(request: Request, template: str, parameters: tuple[str, ...]) -> list[Value]:
    """The values that ``request`` sends. ``parameters`` names its path's segments, as ``Endpoints`` does."""
    values = [
        Value("path", name, unquote(segment))
        for name, segment in zip(parameters, request.path.removeprefix("/").split("/"), strict=True)
        if name
    ]
    values += [Value(f"query:{name}", snake(name), text) for name, text in _pairs(request.query)]
    values += _sent_in_headers(request.headers)
    values += _sent_in_body(request, resource_of(template))
    return values


def handed_values(response: Response, template: str, wanted: frozenset[str] | None = None) -> list[Value]:
    """The values that the ``response`` of an endpoint hands out, in its JSON, its headers and its cookies.

    With ``wanted``, only those of these texts.
    """
    values = []
    for name, text in response.headers:
        lowered = name.lower()
        if lowered == "set-cookie":
            cookie, equals, rest = text.partition("=")
            content = rest.partition(";")[0].strip().strip('"')
            if equals and content:
                values.append(Value(f"cookie:{cookie.strip()}", snake(cookie), content))
        elif lowered == "location":
            values += _location(text)
        elif lowered not in _ANSWER_HEADERS:
            values.append(Value(f"header:{lowered}", snake(lowered.removeprefix("x-")), text))
    values += _leaves(response.body, resource_of(template), wanted) if response.body else ()
    return [value for value in values if value.text and (wanted is None or value.text in wanted)]


def secret_column(value: Value) -> str:
    """The column of the identities file that holds such a value of a client's, or an empty string for no secret."""
    kind, _, name = value.place.partition(":")
    if kind in {"bearer", "basic"}:
        return {"": "bearer", "password": "password"}.get(name, "")
    if value.place == "header:authorization":
        return "authorization"
    if kind == "cookie":
        return name if is_session_cookie(name) else ""
    if kind == "path" or is_csrf(value.name) or not is_secret_name(value.name):
        return ""
    return name.rpartition("/")[2] if kind == "json" else name


def is_csrf(name: str) -> bool:
    """Whether a field of this name guards a form: a token that every page hands out anew, and nobody's identity."""
    return bool(_CSRF.search(name))


def is_session_cookie(name: str) -> bool:
    """Whether a cookie of this name carries an identity, rather than a preference or a CSRF token."""
    return bool(_SESSION_COOKIE.search(name)) and not is_csrf(name)


def is_opaque(text: str) -> bool:
    """Whether ``text`` is too particular to be met twice by chance: long, of letters and digits, without blanks."""
    return (
        len(text) >= 16
        and not any(character.isspace() for character in text)
        and any(character.isdigit() for character in text)
        and any(character.isalpha() for character in text)
    )


def place_pattern(place: str) -> str:
    """The place with the indexes of lists left out: ``json:/items/3/id`` is ``json:/items/*/id``."""
    return re.sub(r"/\d+(?=/|$)", "/*", place) if place.startswith("json:") else place


def _sent_in_headers(headers: Headers) -> Iterator[Value]:
    for name, text in headers:
        lowered = name.lower()
        if lowered == "authorization":
            yield from _authorization(text)
        elif lowered == "cookie":
            for pair in text.split(";"):
                cookie, _, content = pair.strip().partition("=")
                if content:
                    yield Value(f"cookie:{cookie}", snake(cookie), content.strip('"'))
        elif lowered not in _PLAIN_HEADERS and not lowered.startswith(":"):
            yield Value(f"header:{lowered}", snake(lowered.removeprefix("x-")), text)


def _authorization(text: str) -> Iterator[Value]:
    scheme, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "basic":
        username, colon, password = _basic(rest)
        if colon:
            yield Value("basic:username", "username", username)
            yield Value("basic:password", "password", password)
            return
    if rest and scheme.lower() == "bearer":
        yield Value("bearer", "bearer", rest)
    elif scheme and (not rest or scheme.lower() in {"basic", "token", "jwt"}):
        yield Value("header:authorization", "authorization", rest or scheme)
    # Anything else is a signature over the request (Digest, AWS4-HMAC-SHA256): only prepare() can make it anew.


def _basic(encoded: str) -> tuple[str, str, str]:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", "", ""


def _sent_in_body(request: Request, resource: str) -> list[Value]:
    content_type = (request.header("content-type") or "").lower()
    if request.body and "x-www-form-urlencoded" in content_type:
        text = request.body.decode("utf-8", "replace")
        return [Value(f"form:{name}", snake(name), value) for name, value in _pairs(text)]
    return list(_leaves(request.body, resource)) if request.body else []


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    try:
        return parse_qsl(text, max_num_fields=1000)
    except ValueError:  # more fields than anybody fills in by hand: nothing to follow
        return ()


def _location(text: str) -> Iterator[Value]:
    try:
        path = urlsplit(text).path.rstrip("/")
    except ValueError:
        return
    parent, _, last = path.rpartition("/")
    if last and parent:
        yield Value("location", f"{resource_of(parent)}_id", unquote(last))


@lru_cache(maxsize=256)  # what is polled comes again and again
def _leaves(body: bytes, resource: str, wanted: frozenset[str] | None = None) -> tuple[Value, ...]:
    """The strings and whole numbers of a JSON body, with their pointers."""
    return tuple(_walk(body, resource, wanted))


def _walk(body: bytes, resource: str, wanted: frozenset[str] | None) -> Iterator[Value]:
    if body.lstrip()[:1] not in {b"{", b"["}:
        return
    try:
        root = json.loads(body)
    except (ValueError, RecursionError):
        return
    left = _MOST_LEAVES
    waiting: list[tuple[Any, str, str, str, int]] = [(root, "", "", resource, 0)]
    while waiting and left:
        value, pointer, key, owner, depth = waiting.pop()
        if isinstance(value, dict) and depth < _DEEPEST:
            inner = owner if not key or snake(key) in _WRAPPERS else singular(snake(key))
            for name in reversed(value):
                escaped = name.replace("~", "~0").replace("/", "~1")
                waiting.append((value[name], f"{pointer}/{escaped}", name, inner, depth + 1))
        elif isinstance(value, list) and depth < _DEEPEST:
            last = len(value) - 1
            waiting += [
                (item, f"{pointer}/{last - index}", key, owner, depth + 1) for index, item in enumerate(reversed(value))
            ]
        elif isinstance(value, (str, int)) and not isinstance(value, bool):
            left -= 1
            text = str(value)
            if 0 < len(text) <= _LONGEST and (wanted is None or text in wanted):
                yield Value(f"json:{pointer}", _leaf_name(key, owner, pointer), text)


def _leaf_name(key: str, owner: str, pointer: str) -> str:
    name = snake(key)
    if is_identifier(name):
        return f"{owner}_id" if owner else "id"
    listed = pointer.rpartition("/")[2].isdigit()
    return singular(name) if listed else name
