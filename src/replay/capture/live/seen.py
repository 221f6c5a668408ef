"""What a proxy or a mirror's sink saw, as it hands it to the writer's process: plain values, not looked at."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from replay.capture.clients import client_of
from replay.capture.encodings import TooLarge, Undecodable, decoded
from replay.capture.pseudonyms import Key
from replay.capture.sources.http_message import as_kept, header_text, percent_encoded
from replay.traffic import Exchange, Headers, Request, Response, first_header

RawHeaders = tuple[tuple[bytes, bytes], ...]

TOO_LARGE = "larger than {} bytes"
UNDECODABLE = "in an encoding that cannot be decoded"
_ORIGINAL_HOST, _ORIGINAL_URI, _ORIGINAL_CONNECTION = "x-original-host", "x-original-uri", "x-original-connection"
# They belong to the way from the mirror to its sink, not to the client's request.
_OF_THE_MIRROR = frozenset(
    {_ORIGINAL_HOST, _ORIGINAL_URI, _ORIGINAL_CONNECTION, "connection", "keep-alive", "transfer-encoding", "expect"}
)
_PLACE_BYTES = 200
_ENVOY = "x-envoy-"
_ENVOY_SUFFIX = "-shadow"


class Seen(NamedTuple):
    """One exchange as bytes. ``at_s`` counts from 1970; ``target`` is the path and query as sent.

    A body is None where it was not kept: ``bodies_not_kept`` says why. ``status`` is None where no response came.
    ``response_bytes`` are as received, encoded.
    """

    at_s: float
    duration_s: float
    address: str
    connection: str
    method: str
    host: str
    target: bytes
    request_headers: RawHeaders
    request_body: bytes | None
    status: int | None = None
    response_headers: RawHeaders = ()
    response_body: bytes | None = None
    response_bytes: int = 0
    error: str = ""
    bodies_not_kept: tuple[str, ...] = ()


def exchange_of(seen: Seen, key: Key, body_limit_bytes: int, body_not_kept: Callable[[str], None]) -> Exchange:
    """The exchange, its bodies decoded and nothing scrubbed. ``body_not_kept`` is told why it lacks a body."""
    for reason in seen.bodies_not_kept:
        body_not_kept(reason)
    path, query = _path_and_query(seen.target)
    headers = _headers(seen.request_headers)
    body = _decoded(seen.request_body or None, headers, body_limit_bytes, body_not_kept)
    request = Request(seen.method, seen.host, path, query, as_kept(headers), body)
    response = None
    if seen.status is not None:
        headers = _headers(seen.response_headers)
        body = _decoded(seen.response_body, headers, body_limit_bytes, body_not_kept)
        response = Response(seen.status, headers, body, seen.response_bytes)
    return Exchange(
        at=datetime.fromtimestamp(seen.at_s, UTC),
        duration_s=seen.duration_s,
        client=client_of(request, seen.address, key),
        connection=seen.connection,
        request=request,
        response=response,
        error=seen.error,
    )


def original_of(exchange: Exchange) -> Exchange:
    """The client's own request, of which a mirror sent ``exchange`` to its sink.

    ``X-Original-Host``, ``X-Original-URI`` and ``X-Original-Connection`` win over what the mirror sent itself. Envoy
    adds ``-shadow`` to the host unless it is told not to (``disable_shadow_host_suffix_append``).
    """
    request = exchange.request
    sent = {name.lower(): value for name, value in reversed(request.headers)}  # the first of each name stays
    host, uri = sent.get(_ORIGINAL_HOST) or request.host, sent.get(_ORIGINAL_URI)
    path, query = _path_and_query(uri.encode("utf-8", "surrogateescape")) if uri else (request.path, request.query)
    name, colon, port = host.partition(":")
    if name.endswith(_ENVOY_SUFFIX) and any(header.startswith(_ENVOY) for header in sent):
        host = name.removesuffix(_ENVOY_SUFFIX) + colon + port
    headers = request.headers if _OF_THE_MIRROR.isdisjoint(sent) else _without(request.headers, _OF_THE_MIRROR)
    original = Request(request.method, host.lower(), path, query, headers, request.body)
    connection = sent.get(_ORIGINAL_CONNECTION, "")
    return Exchange(exchange.at, exchange.duration_s, exchange.client, connection, original, None)


def place_of(method: str, target: bytes) -> str:
    """Where something stood that is not recorded. Without its query, in which one-time tickets are handed in."""
    path = target.partition(b"?")[0]
    if len(path) > _PLACE_BYTES:  # the beginning of a secret would not be known as one
        path = path[:_PLACE_BYTES].rpartition(b"/")[0]
    return f"{method} {path.decode('latin-1')}".strip()


def authority(host: str, scheme: str) -> str:
    """``host`` without the port that is its scheme's own."""
    return host.lower().removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":"))


def _path_and_query(target: bytes) -> tuple[str, str]:
    if not target.startswith(b"/") and b"://" in target:
        try:
            parts = urlsplit(target.decode("latin-1"))
        except ValueError:
            pass
        else:
            target = f"{parts.path or '/'}?{parts.query}".encode("latin-1")
    path, _, query = percent_encoded(target).partition("?")
    return path, query


def _headers(raw: RawHeaders) -> Headers:
    return tuple((name.decode("latin-1"), header_text(value)) for name, value in raw)


def _without(headers: Headers, names: frozenset[str]) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in names)


def _decoded(
    body: bytes | None, headers: Headers, limit_bytes: int, body_not_kept: Callable[[str], None]
) -> bytes | None:
    encoding = first_header(headers, "content-encoding") if body else None
    if not body or not encoding:
        return body
    try:
        return decoded(body, encoding, limit_bytes)
    except TooLarge:
        body_not_kept(TOO_LARGE.format(limit_bytes))
    except Undecodable:
        body_not_kept(UNDECODABLE)
    return None
