"""From a workload to the schedule that replays it exactly."""

from collections import defaultdict

from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule
from replay.traffic import Headers
from replay.workload import Workload

SHORTEST_S = 1.0  # a schedule spans at least this long, so that one request can be repeated without a flood

# What belongs to one connection or one transfer, and is made anew when a request is sent.
_TRANSPORT = frozenset(
    "accept-encoding connection content-length expect host http2-settings keep-alive proxy-authorization "
    "proxy-connection te trailer transfer-encoding upgrade".split()
)


def schedule_of(workload: Workload) -> Schedule:
    """The schedule of a workload: every exchange at its own time, counted from the first one's start.

    Requests keep their headers but for those of the connection. The schedule spans the workload, a second at least.
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
        )
        for number, exchange in enumerate(workload.exchanges)
    )
    return Schedule(planned, max(workload.duration_s, SHORTEST_S))


def _kept(headers: Headers) -> Headers:
    named = {word.strip().lower() for name, text in headers if name.lower() == "connection" for word in text.split(",")}
    dropped = _TRANSPORT | named
    return tuple((name, text) for name, text in headers if name.lower() not in dropped and not name.startswith(":"))
