import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule, read_schedule, write_schedule

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
DUE = st.floats(0, 1e6)


@st.composite
def request_lists(draw: st.DrawFn) -> list[PlannedRequest]:
    """Requests as a schedule has them: numbered in the order they are due, and hanging on earlier ones only."""
    found = draw(st.lists(REQUESTS, max_size=5))
    due = sorted(draw(st.lists(DUE, min_size=len(found), max_size=len(found))))

    def earlier(number: int) -> int | None:
        return draw(st.none() | st.integers(0, number - 1)) if number else None

    return [
        replace(
            one,
            request=number,
            due_s=due_s,
            after=earlier(number),
            reads_back=earlier(number),
            injects=tuple(replace(inject, origin=earlier(number)) for inject in one.injects),
        )
        for number, (one, due_s) in enumerate(zip(found, due, strict=True))
    ]


REQUESTS = st.builds(
    PlannedRequest,
    request=st.just(0),
    visit=st.integers(0, 2**40),
    client=TEXT,
    endpoint=TEXT,
    due_s=st.just(0.0),
    after=st.none(),
    method=TEXT,
    path=TEXT,
    query=TEXT,
    headers=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    body=st.none() | st.binary(max_size=8),
    expected_status=st.none() | st.integers(100, 599),
    expected_shape=st.none() | TEXT,
    extracts=st.lists(st.builds(Extract, place=TEXT, captured=TEXT), max_size=2).map(tuple),
    injects=st.lists(
        st.builds(Inject, place=TEXT, captured=TEXT, origin=st.none(), credential=TEXT, clock=TEXT), max_size=2
    ).map(tuple),
    expected_items=st.none() | st.integers(0, 2**40),
    reads_back=st.none(),
)


@given(
    request_lists(),
    st.floats(0, 1e6),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_a_schedule_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, requests: list[PlannedRequest], duration_s: float, copies: dict[str, str]
) -> None:
    file = tmp_path_factory.mktemp("schedule") / "schedule.parquet"
    schedule = Schedule(tuple(requests), duration_s, copies)
    write_schedule(schedule, file)
    assert read_schedule(file) == schedule


@pytest.mark.parametrize("lacking", [["expected_items", "reads_back"], ["reads_back"]])
def test_a_schedule_of_an_older_kind_is_read(tmp_path: Path, lacking: list[str]) -> None:
    file = tmp_path / "schedule.parquet"
    write_schedule(Schedule((replace(ONE, expected_items=3), replace(ONE, request=1, reads_back=0)), 3.0), file)
    pq.write_table(pq.read_table(file).drop_columns(lacking), file)
    one, other = read_schedule(file)
    assert (one.expected_items, other.reads_back) == (None if "expected_items" in lacking else 3, None)


def test_what_is_no_schedule_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "schedule.parquet"
    file.write_bytes(b"PAR1 no more PAR1")
    for broken in (file, tmp_path / "missing.parquet"):
        with pytest.raises(InputError, match="is not a schedule"):
            read_schedule(broken)


def tampered(file: Path, number: int, **changes: Any) -> None:
    """Change one row of a schedule's file, with columns of other kinds where the values are."""
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[number] |= changes
    columns = {name: [row[name] for row in rows] for name in table.schema.names}
    fields = [
        pa.array(values).type if name in changes else table.schema.field(name).type for name, values in columns.items()
    ]
    schema = pa.schema(list(zip(columns, fields, strict=True)), metadata=table.schema.metadata)
    pq.write_table(pa.Table.from_pydict(columns, schema=schema), file)


ONE = PlannedRequest(0, 0, "c", "GET /", 0.0, None, "GET", "/", "", (), None, 200, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"after": 2}, "request 1 hangs on request 2"),
        ({"after": 1}, "request 1 hangs on request 1"),
        ({"after": 99}, "hangs on request 99"),
        ({"after": -1}, "hangs on request -1"),
        ({"reads_back": 1}, "hangs on request 1"),
        ({"request": 0}, "request 0 stands where 1 should"),
        ({"request": 7}, "request 7 stands where 1 should"),
        ({"due_s": math.nan}, "is due at nan"),
        ({"due_s": math.inf}, "is due at inf"),
        ({"due_s": -1.0}, "is due at -1.0"),
        ({"due_s": 3.0}, "request 2 is due at 2.0 s, after one at 3.0 s"),
        ({"due_s": None}, "no due_s"),
        ({"path": None}, "no path"),
        ({"headers": json.dumps([["x", 1]])}, "1 stands where a text should"),
        ({"headers": "[" * 100_000}, "recursion"),
        ({"injects": json.dumps([{"place": "bearer", "captured": "t", "origin": 1}])}, "hangs on request 1"),
        ({"injects": json.dumps([{"place": 1, "captured": 2}])}, "is not a schedule"),
        ({"injects": json.dumps([{"place": "path", "captured": "t", "offset_s": math.nan}])}, "nan s from now"),
        ({"extracts": json.dumps([{"place": "path"}])}, "captured"),
    ],
)
def test_a_value_that_no_schedule_has_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = tmp_path / "schedule.parquet"
    requests = tuple(replace(ONE, request=number, due_s=float(number)) for number in range(3))
    write_schedule(Schedule(requests, 3.0), file)
    tampered(file, 1, **changes)
    with pytest.raises(InputError, match="is not a schedule") as refusal:
        read_schedule(file)
    assert said in refusal.value.message


@pytest.mark.parametrize("name", ["due_s", "request", "after", "body", "headers"])
def test_a_column_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "schedule.parquet"
    write_schedule(Schedule((ONE,), 3.0), file)
    table = pq.read_table(file)
    other = pa.array([1], pa.int8()) if name == "headers" else pa.array(["1"])
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, other), file)
    with pytest.raises(InputError, match="its columns are others"):
        read_schedule(file)
    pq.write_table(table.drop_columns([name]), file)
    with pytest.raises(InputError, match="its columns are others"):
        read_schedule(file)


@pytest.mark.parametrize("duration", ["nan", "inf", "-1", "long"])
def test_a_span_that_is_none_is_refused(tmp_path: Path, duration: str) -> None:
    file = tmp_path / "schedule.parquet"
    write_schedule(Schedule((ONE,), 3.0), file)
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({"duration_s": duration, "copies": "{}"}), file)
    with pytest.raises(InputError, match="is not a schedule"):
        read_schedule(file)
