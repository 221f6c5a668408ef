"""Values that a response hands out and a later request of the same client sends back.

What must be replaced at replay, and what must not? Stage is a copy of production, so a thing that existed before the
capture has the same id there, and its id is sent as it stands. Only what came into being during the capture differs:

token       a secret, a session, a CSRF token: any value of a secret's place that a response handed out
cursor      the place in a list, handed out by the page before
validator   an ETag or a date that makes a request conditional
created     the id of a thing that the client made: handed out by the answer to a POST (or a 201) that was not sent the
            value itself, and met nowhere before. The places must name the same thing (``registration_id``), or the
            value must be too long for chance, or the same pair of places must agree in most of its requests
opaque      a long value of no known meaning, handed out once to this client, sent back in a query, form or body

Where several responses hand a value out, the latest that had ended counts, of the same strand of work if there is one;
for a created thing, the one that made it, be it for another client (who finds it in a list, say).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from replay.traffic import Client, Endpoint, Exchange
from replay.workload.places import (
    TOKEN_FIELDS,
    USER_FIELDS,
    Value,
    handed_values,
    is_csrf,
    is_opaque,
    place_pattern,
    secret_column,
)

_SLACK_S = 0.005  # between the clock that dates an exchange and the one that measures how long it took
_SHORTEST_TOKEN = 8
_WEAK_SHARE = 0.5
_WEAK_VALUES = 3
_CURSORS = frozenset(
    "after continuation continuation_token cursor end_cursor next next_cursor next_page_token next_token page_token "
    "scroll_id search_after start_cursor starting_after sync_token".split()
)
_VALIDATORS = {"header:etag": {"header:if-match", "header:if-none-match"}}
_VALIDATORS["header:last-modified"] = {"header:if-modified-since", "header:if-unmodified-since"}


@dataclass(frozen=True, slots=True)
class Correlation:
    """Exchange ``producer`` hands ``value`` out at ``handed``; exchange ``consumer`` sends it at ``sent``."""

    kind: str
    producer: int
    handed: str
    consumer: int
    sent: str
    value: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that exchange ``exchange`` sends at ``place`` and that no response of the capture handed out.

    At replay, column ``column`` of the client's identity has it.
    """

    exchange: int
    place: str
    value: str
    column: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What correlations are found in: exchanges in the order they started, and what is known of each."""

    exchanges: Sequence[Exchange]
    starts_s: Sequence[float]
    ends_s: Sequence[float]
    clients: Sequence[Client]
    strands: Sequence[int]
    endpoints: Sequence[Endpoint]
    sent: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class _Source:
    """A place of an endpoint's responses that hands values out, as one strand of a client's work meets it."""

    strand: int
    endpoint: Endpoint
    place: str
    name: str
    creates: bool


@dataclass(slots=True)
class _Handed:
    """All that responses hand out of what requests send: who handed a value out, and when it was first met."""

    sources: dict[tuple[Client, str], dict[_Source, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    made: dict[str, dict[_Source, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    met_s: dict[tuple[str, str], float] = field(default_factory=dict)

    def met(self, name: str, text: str, at_s: float) -> None:
        for key in ((name, text), ("", text)) if is_opaque(text) else ((name, text),):
            self.met_s[key] = min(at_s, self.met_s.get(key, at_s))

    def is_new(self, name: str, text: str, at_s: float) -> bool:
        """Whether nobody had met the value by then: under this name or, where it is opaque, under any."""
        key = ("", text) if is_opaque(text) else (name, text)
        return self.met_s.get(key, at_s) >= at_s


def find_correlations(traffic: Traffic) -> tuple[Correlation, ...]:
    """The correlations of some traffic, in the order of their consumers."""
    handed = _read_responses(traffic)
    sure: list[Correlation] = []
    weak: list[tuple[tuple[object, ...], Correlation]] = []
    for consumer, values in enumerate(traffic.sent):
        for value in values:
            found = _origin(traffic, handed, consumer, value)
            if found is None:
                continue
            kind, source, producer = found
            correlation = Correlation(kind or "created", producer, source.place, consumer, value.place, value.text)
            if kind:
                sure.append(correlation)
            else:
                pattern = (source.endpoint, place_pattern(source.place))
                weak.append(((*pattern, traffic.endpoints[consumer], value.place, value.name), correlation))
    sure += _borne_out(traffic, weak)
    return tuple(sorted(set(sure), key=lambda link: (link.consumer, link.sent, link.value, link.producer)))


def find_credentials(traffic: Traffic, correlations: Sequence[Correlation]) -> tuple[Credential, ...]:
    """The secrets that no response handed out.

    A secret that was refused (401) every time it was sent stays as it is: it is refused at replay just so. So does one
    that a client that is logged in sends in a body, a new user's password say: it is made there, not checked.
    """
    known = {(link.consumer, link.sent, link.value) for link in correlations}
    accepted = {
        (value.place, value.text)
        for exchange, values in zip(traffic.exchanges, traffic.sent, strict=True)
        for value in values
        if secret_column(value) and (exchange.response is None or exchange.response.status != 401)
    }
    credentials: list[Credential] = []
    for number, values in enumerate(traffic.sent):
        secrets = [value for value in dict.fromkeys(values) if secret_column(value)]
        if any(value.place.partition(":")[0] in {"bearer", "cookie"} for value in secrets):
            secrets = [value for value in secrets if not _in_body(value) or value.name in TOKEN_FIELDS]
        own = [
            Credential(number, value.place, value.text, secret_column(value))
            for value in secrets
            if (value.place, value.text) in accepted and (number, value.place, value.text) not in known
        ]
        credentials += own
        if any(credential.column == "password" for credential in own):
            credentials += _addresses(number, values)
    return tuple(credentials)


def _in_body(value: Value) -> bool:
    return value.place.startswith(("form:", "json:"))


def _addresses(number: int, values: Sequence[Value]) -> Iterator[Credential]:
    """The e-mail addresses that stand beside a password as user names: a capture has only stand-ins for them."""
    for value in values:
        kind, _, name = value.place.partition(":")
        if "@" in value.text and value.name in USER_FIELDS and kind in {"basic", "form", "json"}:
            yield Credential(number, value.place, value.text, name.rpartition("/")[2])


def _read_responses(traffic: Traffic) -> _Handed:
    wanted = frozenset(value.text for values in traffic.sent for value in values)
    wanted_by = {
        (client, value.text) for client, values in zip(traffic.clients, traffic.sent, strict=True) for value in values
    }
    handed = _Handed()
    for number, exchange in enumerate(traffic.exchanges):
        own = {value.text for value in traffic.sent[number]}
        for value in traffic.sent[number]:
            handed.met(value.name, value.text, traffic.starts_s[number])
        response = exchange.response
        if response is None or response.status >= 400:
            continue
        client, endpoint = traffic.clients[number], traffic.endpoints[number]
        for value in handed_values(response, endpoint.template, wanted):
            handed.met(value.name, value.text, traffic.ends_s[number])
            listed = "*" in place_pattern(value.place)
            creates = response.status == 201 or (endpoint.method == "POST" and response.status < 300 and not listed)
            creates = creates or (endpoint.method == "POST" and value.place == "location")
            if value.text in own or (listed and not creates):
                continue
            source = _Source(traffic.strands[number], endpoint, value.place, value.name, creates)
            if creates:
                handed.made[value.text].setdefault(source, []).append(number)
            if (client, value.text) in wanted_by:
                handed.sources[client, value.text].setdefault(source, []).append(number)
    return handed


def _origin(traffic: Traffic, handed: _Handed, consumer: int, value: Value) -> tuple[str, _Source, int] | None:
    """What a value that is sent comes from: its kind (empty where that is still to be borne out), source, producer."""
    found: list[tuple[str, _Source, int]] = []
    for source, producers in handed.sources.get((traffic.clients[consumer], value.text), {}).items():
        producer = _latest(traffic, producers, consumer)
        if producer is None:
            continue
        kind = _kind(source, value)
        if source.creates and kind in {None, "opaque"}:
            kind = _created(traffic, handed, source, producer, value)
        if kind is not None:
            found.append((kind, source, producer))
    if not found:
        found = list(_made_by_others(traffic, handed, consumer, value))
    strand = traffic.strands[consumer]
    return max(
        found,
        key=lambda one: (one[0] == "created", one[0] != "", one[1].strand == strand, one[2], one[1].place),
        default=None,
    )


def _made_by_others(
    traffic: Traffic, handed: _Handed, consumer: int, value: Value
) -> Iterator[tuple[str, _Source, int]]:
    for source, producers in handed.made.get(value.text, {}).items():
        producer = _latest(traffic, producers, consumer)
        if producer is not None and _created(traffic, handed, source, producer, value) == "created":
            yield "created", source, producer


def _latest(traffic: Traffic, producers: Sequence[int], consumer: int) -> int | None:
    start_s = traffic.starts_s[consumer] + _SLACK_S
    return next((one for one in reversed(producers) if one < consumer and traffic.ends_s[one] <= start_s), None)


def _kind(source: _Source, value: Value) -> str | None:
    """The kind of link between a source and a value of a request that do not hang on what was created."""
    where = value.place.partition(":")[0]
    if source.place.startswith("cookie:") and where == "cookie":
        return "token" if source.place == value.place else None
    if value.place in _VALIDATORS.get(source.place, ()):
        return "validator"
    if len(value.text) >= _SHORTEST_TOKEN and (secret_column(value) or where == "cookie"):
        return "token"
    if where == "header":
        same = source.place == value.place
        return "token" if len(value.text) >= _SHORTEST_TOKEN and (same or is_opaque(value.text)) else None
    if where not in {"query", "form", "json"}:
        return None
    if value.name in _CURSORS and (source.name in _CURSORS or is_opaque(value.text)):
        return "cursor"
    if is_csrf(value.name):
        return "token"
    return "opaque" if is_opaque(value.text) and not value.name.endswith("_id") else None


def _created(traffic: Traffic, handed: _Handed, source: _Source, producer: int, value: Value) -> str | None:
    if value.place.partition(":")[0] not in {"path", "query", "form", "json"}:
        return None
    start_s = traffic.starts_s[producer]
    if not handed.is_new(source.name, value.text, start_s) or not handed.is_new(value.name, value.text, start_s):
        return None
    return "created" if source.name == value.name or is_opaque(value.text) else ""


def _borne_out(traffic: Traffic, weak: Sequence[tuple[tuple[object, ...], Correlation]]) -> Iterator[Correlation]:
    """The links whose pair of places agrees in most of the requests of the clients concerned, and on several values."""
    pairs: dict[tuple[object, ...], list[Correlation]] = defaultdict(list)
    for pair, correlation in weak:
        pairs[pair].append(correlation)
    for pair, links in pairs.items():
        if len({link.value for link in links}) < _WEAK_VALUES:
            continue
        clients = {traffic.clients[link.consumer] for link in links}
        sent = sum(
            (traffic.endpoints[number], value.place, value.name) == pair[2:]
            for number, values in enumerate(traffic.sent)
            if traffic.clients[number] in clients
            for value in values
        )
        if len(links) >= _WEAK_SHARE * sent:
            yield from links
