"""The planned requests of a scenario and when each is due. Never sleeps, never sends; tested without a clock."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.errors import InputError
from replay.parquet import read_parquet
from replay.traffic import Headers

# A *place* says where in a request or response a value stands:
#   path | query:NAME | header:NAME | cookie:NAME | form:NAME | json:/POINTER | xml:/PATH | bearer
#   | basic:username | basic:password
# and in responses alone
#   location | location:PART | link:RELATION/PART | json:/POINTER~PART | html:PLACE | cookie:NAME~decoded
# Header names are in lower case; of an ETag only the quoted text counts. `json:` is a JSON pointer, `xml:` a path as in
# `/orders/order[2]/@id` (`documents.xml`). `path` is the segment of the path that equals the captured value,
# percent-decoded (the last one where several do), or all of it before the ending of a file. `form:` is a field of a
# form, in parts or not. `bearer` is what follows the scheme in Authorization. `cookie:` is the Set-Cookie of a
# response, `~decoded` its text without percent signs. `location` is the last segment of the path in a response's
# Location header. PART is a part of a URL (`path/2`, `query/cursor`; `documents.urls`): of Location, of the Link header
# with a relation, of a URL in JSON. `html:` is a field, a meta element or a link of a page (`documents.html`).


@dataclass(frozen=True, slots=True)
class Extract:
    """A value that this request's response hands out. ``captured``, its value in the capture, is its name too."""

    place: str
    captured: str


@dataclass(frozen=True, slots=True)
class Inject:
    """A value of this request that must be replaced when it is replayed.

    ``captured`` is the value as it stands at ``place``. With ``origin`` set it is the one that request ``origin``
    extracted. With ``clock`` it is a time, ``offset_s`` from now: ``clock`` is its form, for strftime (and ``%3f`` for
    milliseconds, ``+01:00`` at its end for the zone) or ``epoch_s`` or ``epoch_ms``. Else the client's identity has it,
    in the column ``credential``.
    """

    place: str
    captured: str
    origin: int | None = None
    credential: str = ""
    clock: str = ""
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send. ``due_s`` counts from the arm's start; it waits for the answer of request ``after``.

    ``expected_items`` is the length of the captured answer's main list (`replay.shapes`). ``reads_back`` is the number
    of the request that asked for the same before its visit wrote there (`replay.scenario.reading`).
    """

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
    expected_items: int | None = None
    reads_back: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Planned requests in the order they are due (``request`` counts from 0 in that order), and how long they span.

    ``requests`` is a tuple, or `replay.scenario.repeats.Repeats` where they are many rounds of the same.

    ``copies`` are the clients that pacing made, each with the client that it is a copy of.
    """

    requests: Sequence[PlannedRequest]
    duration_s: float
    copies: Mapping[str, str] = field(default_factory=dict)

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
        ("expected_items", pa.int64()),
        ("reads_back", pa.int64()),
    ]
)
_ADDED = frozenset({"expected_items", "reads_back"})  # which schedules that were built before have not


def write_schedule(schedule: Schedule, file: Path) -> None:
    """Write the planned requests as Parquet; the span and the copies stand in the file's metadata."""
    rows = []
    for planned in schedule.requests:
        row: dict[str, Any] = {name: getattr(planned, name) for name in SCHEDULE_SCHEMA.names}
        row["headers"] = json.dumps(planned.headers)
        row["extracts"] = json.dumps([dataclasses.asdict(extract) for extract in planned.extracts])
        row["injects"] = json.dumps([dataclasses.asdict(inject) for inject in planned.injects])
        rows.append(row)
    copies = json.dumps(dict(schedule.copies))
    schema = SCHEDULE_SCHEMA.with_metadata({"duration_s": repr(schedule.duration_s), "copies": copies})
    with file.open("wb") as sink:  # pyarrow takes a path with a colon for an address
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")


def read_schedule(file: Path) -> Schedule:
    """Read what ``write_schedule`` wrote.

    Raises InputError where it cannot be read, where a value is not of its kind, and where requests are not numbered in
    the order they are due, or hang on one that is not before them.
    """
    try:
        table = read_parquet(file)
        metadata = table.schema.metadata or {}
        duration_s = float(metadata[b"duration_s"])
        copies = {_text(copy): _text(own) for copy, own in json.loads(metadata.get(b"copies", b"{}")).items()}
        requests = tuple(map(_planned, _rows(table)))
        _check(requests, duration_s)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{file} is not a schedule: {error}.", "Build the scenario again with `replay build`."
        ) from error
    return Schedule(requests, duration_s, copies)


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    known = pa.schema(
        [field for field in SCHEDULE_SCHEMA if field.name not in _ADDED or field.name in table.schema.names]
    )
    if not table.schema.equals(known, check_metadata=False):
        raise ValueError("its columns are others")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


_MAY_LACK = _ADDED | {"after", "body", "expected_status", "expected_shape"}


def _planned(row: dict[str, Any]) -> PlannedRequest:
    lacking = next((name for name, value in row.items() if value is None and name not in _MAY_LACK), None)
    if lacking:
        raise ValueError(f"a request has no {lacking}")
    row["headers"] = tuple((_text(name), _text(value)) for name, value in json.loads(row["headers"]))
    row["extracts"] = tuple(Extract(**extract) for extract in json.loads(row["extracts"]))
    row["injects"] = tuple(Inject(**inject) for inject in json.loads(row["injects"]))
    return PlannedRequest(**row)


def _check(requests: Sequence[PlannedRequest], duration_s: float) -> None:
    """Raise ValueError or TypeError where these cannot be a schedule's requests."""
    if not 0 <= duration_s < math.inf:
        raise ValueError(f"it spans {duration_s} s")
    due_s = 0.0
    for number, planned in enumerate(requests):
        if planned.request != number:
            raise ValueError(f"request {planned.request} stands where {number} should")
        if not due_s <= planned.due_s < math.inf:
            raise ValueError(f"request {number} is due at {planned.due_s} s, after one at {due_s} s")
        due_s = planned.due_s
        _check_earlier(planned.after, number)
        _check_earlier(planned.reads_back, number)
        for extract in planned.extracts:
            _text(extract.place + extract.captured)
        for inject in planned.injects:
            _text(inject.place + inject.captured + inject.credential + inject.clock)
            _check_earlier(inject.origin, number)
            if not math.isfinite(inject.offset_s):
                raise ValueError(f"request {number} has a time that is {inject.offset_s} s from now")


def _check_earlier(other: object, number: int) -> None:
    if other is not None and not (isinstance(other, int) and 0 <= other < number):
        raise ValueError(f"request {number} hangs on request {other}, which is not before it")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text should")
    return value
