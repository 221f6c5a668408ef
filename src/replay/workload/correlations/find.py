"""Values that a response hands out and a later request of the same client sends back.

What must be replaced at replay, and what must not? Stage is a copy of production, so a thing that existed before the
capture has the same id there, and its id is sent as it stands. Only what came into being during the capture differs:

token       a secret, a session, a CSRF token, an authorization code: any value of a secret's place that a response
            handed out
cursor      the place in a list, handed out by the page before
validator   an ETag or a date that makes a request conditional, handed out with the same path
created     the id of a thing that the client made: handed out by the answer to a POST (or a 201) that was not sent the
            value itself, and met nowhere before. The places must name the same thing (``registration_id``), or the
            value must be too long for chance, or the same pair of places must agree by more than chance (``evidence``)
opaque      a long value of no known meaning that nobody sent before it was handed out

Where several responses hand a value out, the latest that had ended counts, of the same strand of work if there is one;
for a created thing, the one that made it, be it for another client (who finds it in a list, say).
"""

import dataclasses
from collections.abc import Iterator

from replay.workload.correlations.credentials import Credential, find_credentials
from replay.workload.correlations.evidence import Pattern, borne_out, rank
from replay.workload.correlations.handing import Handed, asked_texts, latest, read_responses
from replay.workload.correlations.kinds import Source, created_kind, kind_of, plainness
from replay.workload.correlations.links import Correlation, Traffic
from replay.workload.correlations.values import Value

__all__ = ["Correlation", "Credential", "Pattern", "Traffic", "find_correlations", "find_credentials", "rank"]

_Origin = tuple[str, Source, int]


def find_correlations(traffic: Traffic) -> tuple[Correlation, ...]:
    """The correlations of some traffic, in the order of their consumers."""
    handed = read_responses(traffic)
    sure: list[Correlation] = []
    weak: list[Correlation] = []
    for consumer, values in enumerate(traffic.sent):
        for value in values:
            if found := _origin(traffic, handed, consumer, value):
                kind, source, producer = found
                correlation = Correlation(kind, producer, source.place, consumer, value.place, value.text)
                (sure if kind else weak).append(correlation)
    sure += [dataclasses.replace(link, kind="created") for link in borne_out(traffic, weak)]
    return tuple(sorted(set(sure), key=lambda link: (link.consumer, link.sent, link.value, link.producer)))


def _origin(traffic: Traffic, handed: Handed, consumer: int, value: Value) -> _Origin | None:
    """What a value that is sent comes from: its kind (empty where that is still to be borne out), source, producer."""
    found: list[_Origin] = []
    for text in asked_texts(traffic.exchanges[consumer], value):
        found = found or list(_own(traffic, handed, consumer, value, text))
    if not found:
        found = list(_of_others(traffic, handed, consumer, value))
    strand = traffic.strands[consumer]
    return max(
        found,
        key=lambda one: (
            one[0] == "created",
            one[0] != "",
            one[1].strand == strand,
            one[2],
            plainness(one[1].place),
            one[1].place,
        ),
        default=None,
    )


def _own(traffic: Traffic, handed: Handed, consumer: int, value: Value, text: str) -> Iterator[_Origin]:
    for source, producers in handed.sources.get((traffic.clients[consumer], text), {}).items():
        producer = latest(traffic, producers, consumer)
        if producer is None:
            continue
        kind = _sure(traffic, handed, (source, producer), value)
        if kind is not None:
            yield kind, source, producer


def _of_others(traffic: Traffic, handed: Handed, consumer: int, value: Value) -> Iterator[_Origin]:
    for source, producers in handed.made.get(value.text, {}).items():
        producer = latest(traffic, producers, consumer)
        if producer is None:
            continue
        kind = _sure(traffic, handed, (source, producer), value)
        if kind in {"created", "token"} or (kind == "opaque" and source.place.startswith("location")):
            yield kind, source, producer


def _sure(traffic: Traffic, handed: Handed, origin: tuple[Source, int], value: Value) -> str | None:
    """The kind of a link, by what its source makes as well. What everybody knows or is handed alike is none."""
    source, producer = origin
    kind = kind_of(source, value)
    if kind == "opaque" and handed.was_known(value.text):
        kind = None
    if kind is not None and source.place.startswith("html:hidden/") and handed.is_shared(source, value):
        kind = None
    if source.creates and kind in {None, "opaque"}:
        kind = _created(traffic, handed, source, producer, value)
    return kind


def _created(traffic: Traffic, handed: Handed, source: Source, producer: int, value: Value) -> str | None:
    start_s = traffic.starts_s[producer]
    if not handed.is_new(source.name, value.text, start_s) or not handed.is_new(value.name, value.text, start_s):
        return None
    return created_kind(source, value)
