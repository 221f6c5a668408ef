"""The model of a capture: who sent what, when, after which answer, and which values hang together."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from replay.capture.store import open_capture
from replay.shapes import Form, form_of, is_empty
from replay.traffic import Client, Endpoint, Exchange, Response
from replay.workload.correlations.evidence import Pattern, rank
from replay.workload.correlations.find import Correlation, Credential, Traffic, find_correlations, find_credentials
from replay.workload.correlations.moments import Moment, find_moments
from replay.workload.correlations.places import sent_values
from replay.workload.endpoints.operations import operation_of
from replay.workload.endpoints.templates import learn_endpoints
from replay.workload.profile.clients import find_clients, find_strands
from replay.workload.profile.visits import Visit, find_visits


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the traffic goes to one endpoint, and what came of it.

    ``share`` is of all exchanges; ``empty_share`` of this endpoint's, those with an empty body where one was due.
    """

    endpoint: Endpoint
    count: int
    share: float
    statuses: dict[str, int]
    empty_share: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A capture, modelled. Everything that is a sequence by exchange is in the order the exchanges started.

    ``starts_s`` counts from ``start``, the first exchange's start (None where there is none); ``duration_s`` runs from
    there to the last answer. ``items`` are the lengths of the answers' main lists (`replay.shapes`). ``after`` is the
    number of the exchange that each followed within its visit.
    """

    name: str
    environment: str
    start: datetime | None
    duration_s: float
    exchanges: tuple[Exchange, ...]
    starts_s: tuple[float, ...]
    clients: tuple[Client, ...]
    endpoints: tuple[Endpoint, ...]
    shapes: tuple[str | None, ...]
    items: tuple[int | None, ...]
    after: tuple[int | None, ...]
    visits: tuple[Visit, ...]
    correlations: tuple[Correlation, ...]
    credentials: tuple[Credential, ...]
    moments: tuple[Moment, ...]
    patterns: tuple[Pattern, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that the requests went to, as far as the capture knows them."""
        return tuple(sorted({exchange.request.host for exchange in self.exchanges} - {""}))

    def mix(self) -> tuple[Share, ...]:
        """The endpoints, the most frequent first."""
        numbers: dict[Endpoint, list[int]] = defaultdict(list)
        for number, endpoint in enumerate(self.endpoints):
            numbers[endpoint].append(number)
        shares = [self._share(endpoint, own) for endpoint, own in numbers.items()]
        return tuple(sorted(shares, key=lambda share: (-share.count, share.endpoint)))

    def columns(self) -> dict[str, tuple[str, ...]]:
        """The columns of the identities file that each client needs, for the clients that need any."""
        needed: dict[str, set[str]] = defaultdict(set)
        for credential in self.credentials:
            needed[self.clients[credential.exchange].name].add(credential.column)
        return {client: tuple(sorted(needed[client])) for client in sorted(needed)}

    def to_json(self, *, name: str = "", role: str = "") -> dict[str, Any]:
        """The model as plain JSON values, without bodies or secrets. ``name`` and ``role`` are those of a plan."""
        return {
            "name": name or self.name,
            "role": role,
            "environment": self.environment,
            "start": self.start.isoformat() if self.start else None,
            "exchanges": len(self.exchanges),
            "duration_s": self.duration_s,
            "clients": len(set(self.clients)),
            "visits": len(self.visits),
            "hosts": list(self.hosts),
            "endpoints": [
                {
                    "endpoint": str(share.endpoint),
                    "count": share.count,
                    "share": share.share,
                    "statuses": share.statuses,
                    "empty_share": share.empty_share,
                }
                for share in self.mix()
            ],
            "correlations": [_as_json(pattern) for pattern in self.patterns],
            "credentials": [{"client": name, "columns": list(own)} for name, own in self.columns().items()],
        }

    def _share(self, endpoint: Endpoint, numbers: Sequence[int]) -> Share:
        answers = [(self.exchanges[number].response, self.shapes[number]) for number in numbers]
        statuses = Counter(str(answer.status) if answer else "none" for answer, _ in answers)
        empty = sum(_came_empty(answer, shape) for answer, shape in answers)
        return Share(
            endpoint,
            len(numbers),
            round(len(numbers) / len(self.exchanges), 6),
            dict(sorted(statuses.items())),
            round(empty / len(numbers), 6),
        )


def read_workload(capture: Path) -> Workload:
    """Model the capture in a folder. Raises InputError where it is missing, broken or not complete."""
    opened = open_capture(capture)
    manifest = opened.manifest
    return model_workload(opened.exchanges(), name=manifest.name, environment=manifest.environment)


def model_workload(exchanges: Iterable[Exchange], *, name: str = "workload", environment: str = "") -> Workload:
    """Model some exchanges, in whatever order they come.

    A clock that ran backwards shows as a negative duration, which counts as none.
    """
    ordered = tuple(sorted(exchanges, key=lambda exchange: exchange.at))
    start = ordered[0].at if ordered else None
    starts_s = tuple((exchange.at - ordered[0].at) / timedelta(seconds=1) for exchange in ordered)
    ends_s = tuple(start_s + max(0.0, exchange.duration_s) for start_s, exchange in zip(starts_s, ordered, strict=True))
    learned = learn_endpoints(ordered)
    endpoints = tuple(
        learned.endpoint(exchange.request.method, exchange.request.path, operation_of(exchange.request))
        for exchange in ordered
    )
    sent = [
        sent_values(exchange.request, endpoint.template, learned.parameters(exchange.request.path))
        for exchange, endpoint in zip(ordered, endpoints, strict=True)
    ]
    clients = find_clients(ordered, sent)
    strands = find_strands(ordered, sent, clients)
    visits, after = find_visits(starts_s, ends_s, clients, strands)
    traffic = Traffic(ordered, starts_s, ends_s, clients, strands, endpoints, sent)
    correlations = find_correlations(traffic)
    forms = [_form(exchange.response) for exchange in ordered]
    return Workload(
        name=name,
        environment=environment,
        start=start.astimezone(UTC) if start else None,
        duration_s=max(ends_s, default=0.0),
        exchanges=ordered,
        starts_s=starts_s,
        clients=clients,
        endpoints=endpoints,
        shapes=tuple(form.shape if form else None for form in forms),
        items=tuple(form.items if form else None for form in forms),
        after=after,
        visits=visits,
        correlations=correlations,
        credentials=find_credentials(traffic, correlations),
        moments=find_moments(traffic),
        patterns=rank(traffic, correlations),
    )


def _as_json(pattern: Pattern) -> dict[str, Any]:
    return {
        "kind": pattern.kind,
        "from": str(pattern.producer),
        "handed": pattern.handed,
        "to": str(pattern.consumer),
        "sent": pattern.sent,
        "count": pattern.count,
        "values": pattern.values,
        "share": round(pattern.share, 6),
        "evidence": round(pattern.evidence, 1),
    }


def _form(response: Response | None) -> Form | None:
    if response is None or response.body is None:
        return None
    return form_of(response.header("content-type"), response.body)


def _came_empty(response: Response | None, shape: str | None) -> bool:
    """Whether a successful answer held nothing, where its status promised something."""
    if response is None or shape is None:
        return False
    return 200 <= response.status < 300 and response.status not in {204, 205} and is_empty(shape)
