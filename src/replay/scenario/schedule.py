"""The planned requests of a scenario and when each is due. Never sleeps, never sends; tested without a clock."""

import dataclasses
import json
from collections.abc import Iterator
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
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial, compression="zstd")
    partial.replace(file)


def read_schedule(file: Path) -> Schedule:
    """Read what ``write_schedule`` wrote. Raises InputError where it cannot be read."""
    try:
        table = pq.read_table(file)
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
    original; below 1 it keeps that share of visits. Requests are numbered anew in the order they are due, and
    ``after`` and ``origin`` follow.

    Raises InputError where speed or scale is not positive.
    """
    if speed <= 0 or scale <= 0:
        raise InputError("speed and scale must be above 0.")
    if speed == 1.0 and scale == 1.0 and duration_s in (None, schedule.duration_s):
        return schedule
    raise NotImplementedError
