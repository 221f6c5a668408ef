"""Which client sent a request, as far as that one request shows it."""

import base64
import binascii
from collections.abc import Iterable

from replay.capture.fields import is_opaque, is_secret, is_secret_name
from replay.capture.pseudonyms import Key
from replay.traffic import Request

_SESSION_WORDS = ("sess", "sid", "auth", "token", "login")
_GUARDS_NOT_CLIENTS = ("csrf", "xsrf")


def client_of(request: Request, address: str, key: Key, *, user: str = "") -> str:
    """A name such as ``token-3f9a2c01d4``: what the client is known by, and keyed digits that hide the thing itself.

    Known by, the first that is there: a bearer's token, Basic's user, an API key in a header or the query, a session's
    cookie, ``user`` (as a log names who was authenticated), else ``address`` (of the client as it was forwarded, where
    a balancer stands before) with its user agent.
    ``request`` is as received, not scrubbed.
    """
    kind, identity = _identity(request, address, user)
    return client_name(kind, identity, key)


def client_name(kind: str, identity: str, key: Key) -> str:
    """The name of a client by what it is known by; ``address`` with a space and the user agent is one text."""
    return client_names(kind, [identity], key)[0]


def client_names(kind: str, identities: Iterable[str], key: Key) -> list[str]:
    """``client_name`` of each."""
    return [f"{kind}-{digits}" for digits in key.hex_digests(f"client {kind}", identities, 5)]


def _identity(request: Request, address: str, user: str) -> tuple[str, str]:
    authorization = request.header("authorization")
    if authorization:
        return _authorized(authorization)
    for name, value in request.headers:
        if name.lower() not in {"cookie", "proxy-authorization"} and _names_client(name, value):
            return "key", value
    for pair in request.query.split("&"):
        name, _, value = pair.partition("=")
        if value and _names_client(name, value):
            return "key", value
    for piece in (request.header("cookie") or "").split(";"):
        name, _, value = piece.strip().partition("=")
        if is_opaque(value) and any(word in name.lower() for word in _SESSION_WORDS):
            return "cookie", value
    if user:
        return "user", user
    forwarded = (request.header("x-forwarded-for") or "").partition(",")[0].strip()
    return "address", f"{forwarded or address} {request.header('user-agent') or ''}"


def _authorized(authorization: str) -> tuple[str, str]:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return "user", base64.b64decode(rest, validate=True).decode("utf-8").partition(":")[0]
        except (binascii.Error, ValueError):
            return "user", rest
    return "token", rest.strip() or scheme


def _names_client(name: str, value: str) -> bool:
    lower = name.lower()
    if any(guard in lower for guard in _GUARDS_NOT_CLIENTS):
        return False
    return is_secret_name(name) or (lower == "key" and is_secret(name, value))
