"""From a workload to the schedule that replays it exactly."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from replay.scenario.payloads import Payloads, lacks_body
from replay.scenario.reading import with_reads_back
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule
from replay.traffic import Headers
from replay.workload.model import Workload

SHORTEST_S = 1.0  # a schedule spans at least this long, so that one request can be repeated without a flood

# What belongs to one connection or one transfer, and is made anew when a request is sent.
_TRANSPORT = frozenset(
    "connection content-length expect host http2-settings keep-alive proxy-authorization "
    "proxy-connection te trailer transfer-encoding upgrade".split()
)


def schedule_of(
    workload: Workload, payloads: Payloads | None = None, withheld: Collection[str] = frozenset()
) -> Schedule:
    """The schedule of a workload: every exchange at its own time, counted from the first one's start.

    Requests keep their headers but for those of the connection; Accept-Encoding too, so that Stage compresses where
    production did. Those whose body the capture lacks are planned without one where ``payloads`` has a template for
    their endpoint, else they are ``left_out``; those of the endpoints that are ``withheld`` need none, as they are not
    sent. The schedule spans the workload, a second at least.
    """
    visit_of = {number: visit.number for visit in workload.visits for number in visit.exchanges}
    extracts: dict[int, dict[Extract, None]] = defaultdict(dict)
    injects: dict[int, dict[Inject, None]] = defaultdict(dict)
    for link in workload.correlations:
        extracts[link.producer][Extract(link.handed, link.value)] = None
        injects[link.consumer][Inject(link.sent, link.value, origin=link.producer)] = None
    for credential in workload.credentials:
        inject = Inject(credential.place, credential.value, credential=credential.column)
        injects[credential.exchange][inject] = None
    for moment in workload.moments:
        carried = {(inject.place, inject.captured) for inject in injects[moment.exchange]}
        if (moment.place, moment.value) not in carried:
            inject = Inject(moment.place, moment.value, clock=moment.clock, offset_s=moment.offset_s)
            injects[moment.exchange][inject] = None
    planned = tuple(
        PlannedRequest(
            request=number,
            visit=visit_of[number],
            client=workload.clients[number].name,
            endpoint=str(workload.endpoints[number]),
            due_s=workload.starts_s[number],
            after=workload.after[number],
            method=exchange.request.method,
            path=exchange.request.path,
            query=exchange.request.query,
            headers=_kept(exchange.request.headers),
            body=exchange.request.body,
            expected_status=exchange.response.status if exchange.response else None,
            expected_shape=workload.shapes[number],
            extracts=tuple(extracts[number]),
            injects=tuple(injects[number]),
            expected_items=workload.items[number],
        )
        for number, exchange in enumerate(workload.exchanges)
    )
    bodies = [one.response.body if one.response else None for one in workload.exchanges]

    def was_same(before: int, number: int) -> bool:
        return bodies[before] is not None and bodies[before] == bodies[number]

    sendable = _sendable(with_reads_back(planned, was_same), workload, payloads or {}, withheld)
    return Schedule(sendable, max(workload.duration_s, SHORTEST_S))


def left_out(
    workload: Workload, payloads: Payloads | None = None, withheld: Collection[str] = frozenset()
) -> dict[str, int]:
    """How many requests of each endpoint are left out, as nobody knows the body they had; the most frequent first."""
    unknown = _lacking(workload, payloads or {}, withheld)[1]
    return dict(Counter(str(workload.endpoints[number]) for number in unknown).most_common())


def without(requests: Sequence[PlannedRequest], gone: Collection[int]) -> tuple[PlannedRequest, ...]:
    """The requests but for those that are ``gone``, numbered anew.

    What followed one of these follows the one before it; a value that one of these hands out stays as it was captured.
    """
    if not gone:
        return tuple(requests)
    kept = [one for one in requests if one.request not in gone]
    numbers = {one.request: number for number, one in enumerate(kept)}

    def earlier(number: int | None) -> int | None:
        while number is not None and number not in numbers:
            number = requests[number].after
        return None if number is None else numbers[number]

    return tuple(
        dataclasses.replace(
            one,
            request=numbers[one.request],
            after=earlier(one.after),
            reads_back=None if one.reads_back is None else numbers.get(one.reads_back),
            injects=tuple(
                inject if inject.origin is None else dataclasses.replace(inject, origin=numbers[inject.origin])
                for inject in one.injects
                if inject.origin is None or inject.origin in numbers
            ),
        )
        for one in kept
    )


def _lacking(workload: Workload, payloads: Payloads, withheld: Collection[str]) -> tuple[set[int], set[int]]:
    """The exchanges that get their body from a template, and those that nothing has a body for."""
    filled: set[int] = set()
    unknown: set[int] = set()
    for number, exchange in enumerate(workload.exchanges):
        if str(workload.endpoints[number]) in withheld:
            continue
        has_template = str(workload.endpoints[number]) in payloads
        if lacks_body(exchange, expected=has_template):
            (filled if has_template else unknown).add(number)
    return filled, unknown


def _sendable(
    planned: Sequence[PlannedRequest], workload: Workload, payloads: Payloads, withheld: Collection[str]
) -> tuple[PlannedRequest, ...]:
    """The requests that can be sent. At an endpoint with a template no body is what it fills, an empty one stays so."""
    filled, unknown = _lacking(workload, payloads, withheld)
    if not filled and not unknown:
        return tuple(planned)
    told = [
        dataclasses.replace(one, body=b"")
        if one.body is None and one.endpoint in payloads and one.request not in filled
        else one
        for one in planned
    ]
    return without(told, unknown)


def _kept(headers: Headers) -> Headers:
    named = {word.strip().lower() for name, text in headers if name.lower() == "connection" for word in text.split(",")}
    dropped = _TRANSPORT | named
    return tuple((name, text) for name, text in headers if name.lower() not in dropped and not name.startswith(":"))
