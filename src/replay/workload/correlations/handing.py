"""All that responses hand out of what requests send: by whom, to whom, and when each value was first met."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from replay.traffic import Client, Exchange
from replay.workload.correlations.kinds import VALIDATORS, Source, is_key
from replay.workload.correlations.links import Traffic
from replay.workload.correlations.places import handed_values
from replay.workload.correlations.subjects import only_reads
from replay.workload.correlations.values import TOKEN_FIELDS, Value, is_csrf, is_listed, is_opaque, may_be_token

_SLACK_S = 0.005  # between the clock that dates an exchange and the one that measures how long it took
_ONE_TIME = TOKEN_FIELDS | {"code", "state", "ticket"}


@dataclass(slots=True)
class Handed:
    """Who handed a value out, to a client (``sources``) or to anybody (``made``), and when it was first met.

    A validator is that of one path, under which its text stands.
    """

    sources: dict[tuple[Client, str], dict[Source, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    made: dict[str, dict[Source, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    met_s: dict[tuple[str, str], float] = field(default_factory=dict)
    sent_s: dict[str, float] = field(default_factory=dict)
    handed_s: dict[str, float] = field(default_factory=dict)
    holders: dict[tuple[str, str], Client | None] = field(default_factory=dict)

    def meet(self, name: str, text: str, at_s: float) -> None:
        """A value was sent or handed out."""
        for key in ((name, text), ("", text)) if is_opaque(text) else ((name, text),):
            if at_s < self.met_s.get(key, math.inf):
                self.met_s[key] = at_s

    def is_new(self, name: str, text: str, at_s: float) -> bool:
        """Whether nobody had met the value by then: under this name or, where it is opaque, under any."""
        key = ("", text) if is_opaque(text) else (name, text)
        return self.met_s.get(key, at_s) >= at_s

    def was_known(self, text: str) -> bool:
        """Whether somebody sent the value before any response handed it out."""
        return self.sent_s.get(text, 0.0) < self.handed_s.get(text, 0.0)

    def is_shared(self, source: Source, value: Value) -> bool:
        """Whether a short text stands in a field of the pages of several clients: a setting, and nobody's own."""
        return not is_opaque(value.text) and self.holders.get((source.name, value.text), source) is None

    def keep(self, client: Client, text: str, source: Source, number: int, *, anybody: bool, wanted: bool) -> None:
        """Exchange ``number`` handed ``text`` out."""
        holder = (source.name, text)
        self.holders[holder] = client if self.holders.get(holder, client) == client else None
        if anybody:
            self.made[text].setdefault(source, []).append(number)
        if wanted:
            self.sources[client, text].setdefault(source, []).append(number)


def read_responses(traffic: Traffic) -> Handed:
    """Go through what responses hand out, once."""
    wanted = frozenset(value.text for values in traffic.sent for value in values)
    wanted_by = {
        (client, value.text) for client, values in zip(traffic.clients, traffic.sent, strict=True) for value in values
    }
    handed = Handed()
    for number, exchange in enumerate(traffic.exchanges):
        start_s, end_s = traffic.starts_s[number], traffic.ends_s[number]
        own = {value.text for value in traffic.sent[number] if value.place not in VALIDATORS}
        for value in traffic.sent[number]:
            handed.meet(value.name, value.text, start_s)
            handed.sent_s.setdefault(value.text, start_s)
        response = exchange.response
        if response is None or response.status >= 400:
            continue
        client, endpoint = traffic.clients[number], traffic.endpoints[number]
        makes: bool | None = None
        for value in handed_values(response, endpoint.template, wanted):
            handed.meet(value.name, value.text, end_s)
            if end_s < handed.handed_s.get(value.text, math.inf):
                handed.handed_s[value.text] = end_s
            if value.text in own:
                continue
            if makes is None:
                makes = endpoint.method == "POST" and not only_reads(exchange.request)
            listed = is_listed(value.place)
            moved = value.place.startswith("location")
            creates = response.status == 201 or (makes and (moved or (response.status < 300 and not listed)))
            if listed and not creates and not is_key(value):
                continue
            source = Source(traffic.strands[number], endpoint, value.place, value.name, creates)
            one_time = may_be_token(value.text) and (
                value.name in _ONE_TIME or is_csrf(value.name) or value.place.startswith(("location", "html:hidden/"))
            )
            is_wanted = (client, value.text) in wanted_by
            for text in _texts(exchange, value):
                handed.keep(client, text, source, number, anybody=creates or one_time, wanted=is_wanted)
    return handed


def _texts(exchange: Exchange, value: Value) -> Iterator[str]:
    """The text to look a value up by. A validator goes with its path, that of a new thing with its new path too."""
    if value.place not in VALIDATORS.values():
        yield value.text
        return
    yield validator_text(exchange.request.path, value.text)
    if exchange.request.method == "POST" and exchange.response:
        yield validator_text(f"{exchange.request.path.rstrip('/')}/*", value.text)
        if location := exchange.response.header("location"):
            yield validator_text(_path(location), value.text)


def asked_texts(exchange: Exchange, value: Value) -> tuple[str, ...]:
    """The texts to look up a value that is sent, the surest first."""
    if value.place not in VALIDATORS:
        return (value.text,)
    path = exchange.request.path
    return validator_text(path, value.text), validator_text(f"{path.rpartition('/')[0]}/*", value.text)


def validator_text(path: str, text: str) -> str:
    """A validator's text with the path that it stands for."""
    return f"{path}\0{text}"


def latest(traffic: Traffic, producers: Sequence[int], consumer: int) -> int | None:
    """The last of some exchanges that had ended when another started."""
    start_s = traffic.starts_s[consumer] + _SLACK_S
    return next((one for one in reversed(producers) if one < consumer and traffic.ends_s[one] <= start_s), None)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
