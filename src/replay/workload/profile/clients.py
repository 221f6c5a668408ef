"""Who sent what: exchanges of one identity are joined, across the tokens that it was given one after another.

A client is known by what it presents: a bearer token, an API key, a session cookie, a user name. A request that logs
in (it carries a secret, or Basic credentials) and the tokens that its response hands out belong together, and so does a
refresh token with what it is exchanged for, an authorization code with who was redirected with it. A request that
presents nothing belongs to whoever the capture says.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from replay.traffic import Client, Exchange
from replay.workload.correlations.places import (
    TOKEN_FIELDS,
    USER_FIELDS,
    Value,
    handed_values,
    is_csrf,
    is_opaque,
    is_session_cookie,
    place_pattern,
    secret_column,
)

_Key = tuple[str, str]  # kind, value

_ON_BEHALF = frozenset("authorization_code refresh_token password".split())
_RENEWALS = ("refresh", "renew", "exchange")


def find_clients(exchanges: Sequence[Exchange], sent: Sequence[Sequence[Value]]) -> tuple[Client, ...]:
    """The client of each exchange. ``sent`` has the values that each request sends."""
    groups = _Groups()
    keys: list[_Key] = []
    titles: list[tuple[int, str]] = []  # how much a public name is worth (0: user name, 1: client_id), and the name
    for exchange, values in zip(exchanges, sent, strict=True):
        own, title = _presented(values)
        if _logs_in(exchange, values, own):
            own += _given(exchange)
        if not own:
            own = [("address", exchange.client)]
        for other in own[1:]:
            groups.join(own[0], other)
        keys.append(own[0])
        titles.append(title)
    return _named(keys, titles, groups)


def find_strands(
    exchanges: Sequence[Exchange], sent: Sequence[Sequence[Value]], clients: Sequence[Client]
) -> tuple[int, ...]:
    """For each exchange the strand of its client's work that it belongs to, numbered from 0.

    A client may do several things at once that know nothing of each other: the seats of an integration, each with a
    token and a connection of its own. What shares either is one strand; a browser's connections share their cookie.
    """
    groups = _Groups()
    keys: list[_Key] = []
    for exchange, values, client in zip(exchanges, sent, clients, strict=True):
        own = [(f"{kind} of {client.name}", text) for kind, text in _presented(values)[0] if kind != "user"]
        if exchange.connection:
            own.append((f"connection of {client.name}", exchange.connection))
        own = own or [("client", client.name)]
        for other in own[1:]:
            groups.join(own[0], other)
        keys.append(own[0])
    numbers: dict[_Key, int] = {}
    return tuple(numbers.setdefault(groups.root(key), len(numbers)) for key in keys)


def _presented(values: Sequence[Value]) -> tuple[list[_Key], tuple[int, str]]:
    """What a request is known by, and the public name that it gives."""
    keys: list[_Key] = []
    fields: dict[str, str] = {}
    has_secret = False
    for value in values:
        kind, _, name = value.place.partition(":")
        if kind == "bearer" or value.place == "header:authorization":
            keys.append(("token", value.text))
        elif value.place == "basic:username":
            keys.append(("user", value.text))
        elif kind == "header" and secret_column(value):
            keys.append(("key", value.text))
        elif kind == "cookie" and _tells(name, value):
            keys.append(("cookie", f"{name}={value.text}"))
        elif kind == "query" and secret_column(value):
            keys.append(("key" if value.name.endswith("key") else "token", value.text))
        elif kind in {"form", "json"}:
            fields.setdefault(value.name, value.text)
            has_secret = has_secret or bool(secret_column(value))
    # An API key may be that of an app with many users: it is the client's only where nothing else is.
    # So may the name in Basic where an app asks for a token on somebody's behalf.
    app = {"key", "user"} if fields.get("grant_type") in _ON_BEHALF else {"key"}
    app_keys = [key for key in keys if key[0] in app]
    keys = [key for key in keys if key[0] not in app]
    title = (0, next((text for kind, text in keys if kind == "user"), ""))
    if fields.get("grant_type") == "authorization_code" and fields.get("code"):
        return [("code", fields["code"])], title if title[1] else (1, fields.get("client_id", ""))
    if not has_secret or any(kind != "user" for kind, _ in keys):
        # Without a secret the body is about somebody, not from somebody; beside a token it does not say who sends.
        return keys or app_keys, title
    user = next((fields[name] for name in USER_FIELDS if fields.get(name)), "")
    client_id = fields.get("client_id", "")
    if fields.get("refresh_token"):
        keys.append(("token", fields["refresh_token"]))
    elif user:
        keys.append(("user", user))
    elif client_id and fields.get("grant_type") in {None, "client_credentials"}:
        keys.append(("user", client_id))
    # One client_id may stand for an app with many users: it names a client, but does not join two.
    return keys or app_keys, (0, user) if user else (title if title[1] else (1, client_id))


def _tells(cookie: str, value: Value) -> bool:
    """Whether a cookie tells one browser from another: a session, or a guard of forms that is random."""
    return is_session_cookie(cookie) or (is_csrf(cookie) and is_opaque(value.text))


def _logs_in(exchange: Exchange, values: Sequence[Value], presented: Sequence[_Key]) -> bool:
    kinds = {kind for kind, _ in presented}
    if "token" in kinds:
        path = exchange.request.path.lower()
        refreshes = any(value.name == "refresh_token" for value in values)
        return refreshes or any(word in path for word in _RENEWALS)
    return exchange.request.method != "GET" or not kinds or "cookie" in kinds


def _given(exchange: Exchange) -> list[_Key]:
    """The tokens and session cookies that a response hands out."""
    response = exchange.response
    if response is None or response.status >= 400:
        return []
    keys: list[_Key] = []
    for value in handed_values(response, exchange.request.path):
        kind, _, name = value.place.partition(":")
        if kind == "cookie" and _tells(name, value):
            keys.append(("cookie", f"{name}={value.text}"))
        elif value.place in {"location:query/code", "location:fragment/code"}:
            keys.append(("code", value.text))
        elif kind == "json" and value.name in TOKEN_FIELDS and "*" not in place_pattern(value.place):
            keys.append(("token", value.text))
    return keys


class _Groups:
    """Union-find over what clients are known by."""

    def __init__(self) -> None:
        self._parents: dict[_Key, _Key] = {}

    def root(self, key: _Key) -> _Key:
        while (parent := self._parents.get(key, key)) != key:
            self._parents[key] = self._parents.get(parent, parent)
            key = parent
        return key

    def join(self, one: _Key, other: _Key) -> None:
        one, other = self.root(one), self.root(other)
        if one != other:
            self._parents[other] = one


def _named(keys: Sequence[_Key], titles: Sequence[tuple[int, str]], groups: _Groups) -> tuple[Client, ...]:
    roots = [groups.root(key) for key in keys]
    first: dict[_Key, _Key] = {}
    public: dict[_Key, list[tuple[int, str]]] = defaultdict(list)
    for key, root, title in zip(keys, roots, titles, strict=True):
        first.setdefault(root, key)
        if title[1]:
            public[root].append(title)
    clients: dict[_Key, Client] = {}
    taken: set[str] = set()
    for root, (kind, value) in first.items():
        digest = hashlib.blake2b(f"{kind}:{value}".encode(), digest_size=4).hexdigest()
        if public[root]:
            name, known_by = min(public[root], key=lambda title: title[0])[1], "user"
        elif kind == "address":
            name, known_by = value or f"address-{digest}", kind
        else:
            name, known_by = f"{kind}-{digest}", kind
        if name in taken:
            name = f"{name}-{digest}"
        taken.add(name)
        clients[root] = Client(name, known_by)
    return tuple(clients[root] for root in roots)
