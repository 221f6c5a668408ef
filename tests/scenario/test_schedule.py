from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule, read_schedule, write_schedule

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.none() | st.integers(0, 2**40)
REQUESTS = st.builds(
    PlannedRequest,
    request=st.integers(0, 2**40),
    visit=st.integers(0, 2**40),
    client=TEXT,
    endpoint=TEXT,
    due_s=st.floats(0, 1e6),
    after=NUMBERS,
    method=TEXT,
    path=TEXT,
    query=TEXT,
    headers=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    body=st.none() | st.binary(max_size=8),
    expected_status=st.none() | st.integers(100, 599),
    expected_shape=st.none() | TEXT,
    extracts=st.lists(st.builds(Extract, place=TEXT, captured=TEXT), max_size=2).map(tuple),
    injects=st.lists(
        st.builds(Inject, place=TEXT, captured=TEXT, origin=NUMBERS, credential=TEXT, clock=TEXT), max_size=2
    ).map(tuple),
)


@given(
    st.lists(REQUESTS, max_size=5),
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


def test_what_is_no_schedule_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "schedule.parquet"
    file.write_bytes(b"PAR1 no more PAR1")
    for broken in (file, tmp_path / "missing.parquet"):
        with pytest.raises(InputError, match="is not a schedule"):
            read_schedule(broken)
