"""The values that requests send and responses hand out, each with the place where it stands.

The places are those of ``replay.scenario.schedule``.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote

from replay.documents.urls import link_header
from replay.traffic import Headers, Request, Response
from replay.workload.correlations.bodies import handed_in_body, pairs, sent_in_body, url_values
from replay.workload.correlations.values import (
    TOKEN_FIELDS,
    USER_FIELDS,
    Value,
    is_csrf,
    is_opaque,
    is_session_cookie,
    place_pattern,
    secret_column,
)
from replay.workload.endpoints.names import resource_of, snake

__all__ = [
    "TOKEN_FIELDS",
    "USER_FIELDS",
    "Value",
    "handed_values",
    "is_csrf",
    "is_opaque",
    "is_session_cookie",
    "place_pattern",
    "secret_column",
    "sent_values",
]

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
_ETAG = re.compile(r'(?:W/)?("[^"]*")')
_FILE = re.compile(r"([^.]+)\.[A-Za-z][A-Za-z0-9]{1,4}")


def sent_values(request: Request, template: str, parameters: tuple[str, ...]) -> list[Value]:
    """The values that ``request`` sends. ``parameters`` names its path's segments, as ``Endpoints`` does."""
    values: list[Value] = []
    for name, segment in zip(parameters, request.path.removeprefix("/").split("/"), strict=True):
        if name:
            values.append(Value("path", name, unquote(segment)))
            if file := _FILE.fullmatch(segment):
                values.append(Value("path", name, unquote(file[1])))
    values += [Value(f"query:{name}", snake(name), text) for name, text in pairs(request.query)]
    values += _sent_in_headers(request.headers)
    if request.body:
        values += sent_in_body(request.body, request.header("content-type") or "", resource_of(template))
    return values


def handed_values(response: Response, template: str, wanted: frozenset[str] | None = None) -> list[Value]:
    """The values that the ``response`` of an endpoint hands out: in its body, its headers and its cookies.

    With ``wanted``, only those of these texts; what links and URLs in bodies hold is found only then.
    """
    values: list[Value] = []
    for name, text in response.headers:
        lowered = name.lower()
        if lowered == "set-cookie":
            values += _cookie(text)
        elif lowered == "location":
            values += _location(text)
        elif lowered == "link":
            for relation, url in link_header(text):
                values += url_values(url, f"link:{relation}/")
        elif lowered == "etag":
            values += [Value("header:etag", "etag", tag) for tag in _ETAG.findall(text)[:1]]
        elif lowered not in _ANSWER_HEADERS:
            values.append(Value(f"header:{lowered}", snake(lowered.removeprefix("x-")), text))
    if response.body:
        values += handed_in_body(response.body, response.header("content-type") or "", resource_of(template), wanted)
    return [value for value in values if value.text and (wanted is None or value.text in wanted)]


def _cookie(text: str) -> Iterator[Value]:
    cookie, equals, rest = text.partition("=")
    cookie, content = cookie.strip(), rest.partition(";")[0].strip().strip('"')
    if equals and content:
        yield Value(f"cookie:{cookie}", snake(cookie), content)
        if "%" in content:  # scripts read it decoded
            yield Value(f"cookie:{cookie}~decoded", snake(cookie), unquote(content))


def _location(text: str) -> Iterator[Value]:
    for value in url_values(text, "location:"):
        yield Value("location", value.name, value.text) if value.place == "location:path/1" else value


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
        elif lowered in {"if-match", "if-none-match"}:
            yield from (Value(f"header:{lowered}", snake(lowered), tag) for tag in _ETAG.findall(text))
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
