"""The planned requests of a scenario and when each is due. Never sleeps, never sends; tested without a clock."""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.errors import InputError
from replay.traffic import Headers

# A *place* says where in a request or response a value stands:
#   path | query:NAME | header:NAME | cookie:NAME | form:NAME | json:/POINTER | bearer | basic:username | basic:password
# and in responses alone
#   location
# Header names are in lower case; `json:` is a JSON pointer. `path` is the segment of the
# path that equals the captured value, percent-decoded (the last one where several do). `bearer` is what follows the
# scheme in Authorization. `cookie:` is the Set-Cookie of a response. `location` is the last segment of the path in a
# response's Location header.


@dataclass(frozen=True, slots=True)
class Extract:
    """A value that this request's response hands out. ``captured``, its value in the capture, is its name too."""

    place: str
    captured: str


@dataclass(frozen=True, slots=True)
class Inject:
    """A value of this request that must be replaced when it is replayed.

    ``captured`` is the value as it stands at ``place``. With ``origin`` set it is the one that request ``origin``
    extracted; else the client's identity has it, in the column ``credential``.
    """

    place: str
    captured: str
    origin: int | None = None
    credential: str = ""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send. ``due_s`` counts from the arm's start; it waits for the answer of request ``after``."""

    request: int
    visit: int
    client: str
    endpoint: str
    due_s: float
    after: int | None
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes | None
    expected_status: int | None
    expected_shape: str | None
    extracts: tuple[Extract, ...] = ()
    injects: tuple[Inject, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """Planned requests in the order they are due (``request`` counts from 0 in that order), and how long they span."""

    requests: tuple[PlannedRequest, ...]
    duration_s: float

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[PlannedRequest]:
        return iter(self.requests)


SCHEDULE_SCHEMA = pa.schema(
    [
        ("request", pa.int64()),
        ("visit", pa.int64()),
        ("client", pa.string()),
        ("endpoint", pa.string()),
        ("due_s", pa.float64()),
        ("after", pa.int64()),
        ("method", pa.string()),
        ("path", pa.string()),
        ("query", pa.string()),
        ("headers", pa.string()),
        ("body", pa.binary()),
        ("expected_status", pa.int32()),
        ("expected_shape", pa.string()),
        ("extracts", pa.string()),
        ("injects", pa.string()),
    ]
)


def write_schedule(schedule: Schedule, file: Path) -> None:
    """Write the planned requests as Parquet; the span stands in the file's metadata."""
    rows = []
    for planned in schedule.requests:
        row: dict[str, Any] = {name: getattr(planned, name) for name in SCHEDULE_SCHEMA.names}
        row["headers"] = json.dumps(planned.headers)
        row["extracts"] = json.dumps([dataclasses.asdict(extract) for extract in planned.extracts])
        row["injects"] = json.dumps([dataclasses.asdict(inject) for inject in planned.injects])
        rows.append(row)
    schema = SCHEDULE_SCHEMA.with_metadata({"duration_s": repr(schedule.duration_s)})
    partial = file.with_name(f".{file.name}.part")
    with partial.open("wb") as sink:  # pyarrow takes a path with a colon for an address
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    partial.replace(file)


def read_schedule(file: Path) -> Schedule:
    """Read what ``write_schedule`` wrote. Raises InputError where it cannot be read."""
    try:
        with file.open("rb") as source:
            table = pq.read_table(source)
        duration_s = float((table.schema.metadata or {})[b"duration_s"])
        requests = tuple(_planned(row) for row in table.to_pylist())
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{file} is not a schedule: {error}.", "Build the scenario again with `replay build`."
        ) from error
    return Schedule(requests, duration_s)


def _planned(row: dict[str, Any]) -> PlannedRequest:
    row["headers"] = tuple((name, value) for name, value in json.loads(row["headers"]))
    row["extracts"] = tuple(Extract(**extract) for extract in json.loads(row["extracts"]))
    row["injects"] = tuple(Inject(**inject) for inject in json.loads(row["injects"]))
    return PlannedRequest(**row)


def pace(schedule: Schedule, *, speed: float = 1.0, scale: float = 1.0, duration_s: float | None = None) -> Schedule:
    """The schedule as an arm plays it.

    ``speed`` divides every due time. ``duration_s`` (after that) cuts the schedule, or repeats it until it is that
    long. ``scale`` multiplies visits: whole copies of visits, chosen evenly, each starting a little later than its
    original; below 1 it keeps that share of visits. Visits that hand values to each other are copied or left out
    together. Copies keep their client's name, and its credentials with it, but are visits of their own. Requests are
    numbered anew in the order they are due, and ``after`` and ``origin`` follow.

    Raises InputError where speed, scale or duration is not a positive number, or where a schedule without a span would
    have to be repeated.
    """
    for name, value in (("speed", speed), ("scale", scale), ("duration", duration_s)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise InputError(f"The {name} must be a number above 0.")
    if speed == 1.0 and scale == 1.0 and duration_s in (None, schedule.duration_s):
        return schedule
    span_s = schedule.duration_s / speed
    length_s = span_s if duration_s is None else duration_s
    repeated = length_s / span_s if span_s else 1.0
    if not span_s and schedule.requests and duration_s is not None:
        raise InputError("The schedule spans no time, so it cannot be repeated.", "Leave out the duration.")
    if repeated * max(scale, 1.0) * len(schedule) > _MOST_REQUESTS:
        raise InputError(
            f"That makes more than {_MOST_REQUESTS:,} requests.", "Give a shorter duration, or a lower speed or scale."
        )
    times = math.ceil(repeated)
    copies = _copies(schedule, scale)
    played = [
        _Played(planned.due_s / speed + copy * _COPY_LAG_S + time * span_s, time, copy, planned)
        for time in range(times)
        for planned in schedule.requests
        for copy in range(copies[planned.visit])
    ]
    if duration_s is not None:
        played = [one for one in played if one.due_s < duration_s]
    played.sort(key=lambda one: one.due_s)  # stable: what is due together keeps its order
    return Schedule(_renumbered(played), max([length_s, *(one.due_s for one in played[-1:])]))


_MOST_REQUESTS = 20_000_000  # a schedule lies in memory
_COPY_LAG_S = 0.25  # how much later each copy of a visit starts: enough that copies do not move in step
_ROUNDING = 1e-9  # 100 * 0.29 is 28.999999999999996


@dataclass(frozen=True, slots=True)
class _Played:
    """A request as one repetition (``time``) and one copy of its visit plays it."""

    due_s: float
    time: int
    copy: int
    planned: PlannedRequest


def _copies(schedule: Schedule, scale: float) -> dict[int, int]:
    """How often each visit is played. The part of ``scale`` behind the point is spread evenly over the visits."""
    group_of: dict[int, int] = {}  # a visit's group: the first of the visits that its values come from
    visit_of = {planned.request: planned.visit for planned in schedule.requests}

    def group(visit: int) -> int:
        while (first := group_of.setdefault(visit, visit)) != visit:
            visit = first
        return visit

    for planned in schedule.requests:
        group(planned.visit)
        for origin in _earlier(planned):
            one, other = sorted((group(planned.visit), group(visit_of[origin])))
            group_of[other] = one
    groups = list(dict.fromkeys(group(planned.visit) for planned in schedule.requests))
    played = [math.floor(index * scale + _ROUNDING) for index in range(len(groups) + 1)]
    copies = {one: more - so_far for one, so_far, more in zip(groups, played, played[1:], strict=False)}
    if groups and not played[-1]:
        copies[groups[0]] = 1  # a share so small that it would leave nothing to replay
    return {visit: copies[group(visit)] for visit in list(group_of)}


def _earlier(planned: PlannedRequest) -> Iterator[int]:
    """The requests that one hangs on."""
    if planned.after is not None:
        yield planned.after
    for inject in planned.injects:
        if inject.origin is not None:
            yield inject.origin


def _renumbered(played: Sequence[_Played]) -> tuple[PlannedRequest, ...]:
    numbers = {(one.time, one.copy, one.planned.request): number for number, one in enumerate(played)}
    visits: dict[tuple[int, int, int], int] = {}
    result = []
    for number, one in enumerate(played):
        planned = one.planned
        moved = {earlier: numbers[one.time, one.copy, earlier] for earlier in _earlier(planned)}
        result.append(
            dataclasses.replace(
                planned,
                request=number,
                visit=visits.setdefault((one.time, one.copy, planned.visit), len(visits)),
                due_s=one.due_s,
                after=None if planned.after is None else moved[planned.after],
                injects=tuple(
                    inject if inject.origin is None else dataclasses.replace(inject, origin=moved[inject.origin])
                    for inject in planned.injects
                ),
            )
        )
    return tuple(result)
