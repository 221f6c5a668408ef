"""What is known of some traffic, and a link in it: a value that one exchange hands out and a later one sends back."""

from collections.abc import Sequence
from dataclasses import dataclass

from replay.traffic import Client, Endpoint, Exchange
from replay.workload.correlations.values import Value


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
class Traffic:
    """What correlations are found in: exchanges in the order they started, and what is known of each."""

    exchanges: Sequence[Exchange]
    starts_s: Sequence[float]
    ends_s: Sequence[float]
    clients: Sequence[Client]
    strands: Sequence[int]
    endpoints: Sequence[Endpoint]
    sent: Sequence[Sequence[Value]]
