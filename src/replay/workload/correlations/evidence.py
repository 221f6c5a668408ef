"""How sure links are: what a pair of places has in common over a whole capture, against what chance would give it.

For each pair of places (of an endpoint's responses, of another's requests): of the requests that sent something there,
how many sent what had been handed out, how many different values, and how often the same values were sent there by
those to whom nobody had handed them. That last share is what chance does. The evidence is in bits: how surprising the
links would be if chance had made them, for each different value.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from replay.traffic import Endpoint
from replay.workload.correlations.links import Correlation, Traffic
from replay.workload.correlations.values import is_opaque, place_pattern

_OPAQUE_BITS = 32.0
_LEAST_SHARE = 0.5
_LEAST_VALUES = 3
_LEAST_BITS = 6.0

_Pair = tuple[str, Endpoint, str, Endpoint, str]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pair of places that links have in common.

    ``count`` links of ``values`` different values; ``share`` is of the requests of the clients concerned that sent
    anything there; ``evidence`` is in bits.
    """

    kind: str
    producer: Endpoint
    handed: str
    consumer: Endpoint
    sent: str
    count: int
    values: int
    share: float
    evidence: float


def rank(traffic: Traffic, links: Sequence[Correlation]) -> tuple[Pattern, ...]:
    """The patterns of some links, those with the most evidence first."""
    found = [pattern for pattern, _ in _patterns(traffic, links)]
    return tuple(sorted(found, key=lambda one: (-one.evidence, -one.count, one.producer, one.handed, one.sent)))


def borne_out(traffic: Traffic, weak: Sequence[Correlation]) -> Iterator[Correlation]:
    """Of links that might be chance, those whose pair of places is no chance."""
    for pattern, links in _patterns(traffic, weak):
        enough = pattern.values >= _LEAST_VALUES and pattern.share >= _LEAST_SHARE
        if enough and pattern.evidence >= _LEAST_BITS:
            yield from links


def _patterns(traffic: Traffic, links: Sequence[Correlation]) -> Iterator[tuple[Pattern, list[Correlation]]]:
    pairs: dict[_Pair, list[Correlation]] = defaultdict(list)
    for link in links:
        producer, consumer = traffic.endpoints[link.producer], traffic.endpoints[link.consumer]
        pairs[link.kind, producer, place_pattern(link.handed), consumer, place_pattern(link.sent)].append(link)
    places = {(pair[3], pair[4]) for pair in pairs}
    sends: Counter[tuple[Endpoint, str, str]] = Counter()  # with the client
    texts: Counter[tuple[Endpoint, str, str]] = Counter()  # with the value
    for values, endpoint, client in zip(traffic.sent, traffic.endpoints, traffic.clients, strict=True):
        for place, text in {(place_pattern(value.place), value.text) for value in values}:
            if (endpoint, place) in places:
                sends[endpoint, place, client.name] += 1
                texts[endpoint, place, text] += 1
    for (kind, producer, handed, consumer, sent), own in pairs.items():
        clients = {traffic.clients[link.consumer].name for link in own}
        different = {link.value for link in own}
        asked = max(len(own), sum(sends[consumer, sent, client] for client in clients))
        coincidences = max(0, sum(texts[consumer, sent, text] for text in different) - len(own))
        share = len(own) / asked
        bits = max(0.0, math.log2(share * (asked + 1) / (coincidences + 1)))
        if all(map(is_opaque, different)):
            bits = max(bits, _OPAQUE_BITS)
        evidence = round(len(different) * bits, 1)
        yield Pattern(kind, producer, handed, consumer, sent, len(own), len(different), round(share, 4), evidence), own
