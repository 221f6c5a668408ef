import dataclasses
import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.schedule import (
    Extract,
    Inject,
    PlannedRequest,
    Schedule,
    pace,
    read_schedule,
    write_schedule,
)


def planned(
    number: int, due_s: float, visit: int = 0, after: int | None = None, origin: int | None = None
) -> PlannedRequest:
    return PlannedRequest(
        request=number,
        visit=visit,
        client=f"client-{visit % 3}",
        endpoint="GET /v1/events/{event_id}",
        due_s=due_s,
        after=after,
        method="GET",
        path=f"/v1/events/{number}",
        query="q=%C3%A9",
        headers=(("X-Original", str(number)), ("X-Origin", "" if origin is None else str(origin))),
        body=b"\x00\xff" if number % 2 else None,
        expected_status=200,
        expected_shape="{id:number}",
        extracts=(Extract("json:/id", str(number)),),
        injects=()
        if origin is None
        else (Inject("path", str(origin), origin=origin), Inject("bearer", "t", credential="bearer")),
    )


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Visits side by side; what follows something is of its visit, values may come from another visit before."""
    dues = sorted(draw(st.lists(st.integers(0, 1000), min_size=1, max_size=25)))
    visits: dict[int, list[int]] = {}
    requests = []
    for number, due in enumerate(dues):
        visit = draw(st.integers(0, 5))
        own = visits.setdefault(visit, [])
        after = draw(st.sampled_from([None, *own]))
        values = [one for other in range(visit % 2, visit + 1, 2) for one in visits.get(other, ())]
        origin = draw(st.sampled_from([None, *values]))
        requests.append(planned(number, due / 100, visit, after, origin))
        own.append(number)
    return Schedule(tuple(requests), dues[-1] / 100 + draw(st.integers(1, 100)) / 100)


SPEEDS = st.sampled_from([0.5, 1.0, 2.0, 3.0])
SCALES = st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0, 3.3])
DURATIONS = st.one_of(st.none(), st.integers(1, 3000).map(lambda number: number / 100))


@given(schedules(), SPEEDS, SCALES, DURATIONS)
def test_what_holds_however_it_is_paced(
    schedule: Schedule, speed: float, scale: float, duration_s: float | None
) -> None:
    paced = pace(schedule, speed=speed, scale=scale, duration_s=duration_s)
    assert [one.request for one in paced] == list(range(len(paced)))
    assert all(one.due_s <= two.due_s for one, two in itertools.pairwise(paced))
    assert all(0 <= one.due_s <= paced.duration_s for one in paced)
    if duration_s is not None:
        assert paced.duration_s == duration_s
    clients: dict[int, str] = {}
    for one in paced:
        original = schedule.requests[int(dict(one.headers)["X-Original"])]
        assert clients.setdefault(one.visit, one.client) == one.client == original.client
        assert (one.after is None) == (original.after is None)
        if one.after is not None:
            before = paced.requests[one.after]
            assert before.request < one.request
            assert before.visit == one.visit
            assert dict(before.headers)["X-Original"] == str(original.after)
        assert [dataclasses.replace(inject, origin=None) for inject in one.injects] == [
            dataclasses.replace(inject, origin=None) for inject in original.injects
        ]
        for inject in one.injects:
            if inject.origin is not None:
                origin = paced.requests[inject.origin]
                assert origin.request < one.request
                assert dict(origin.headers)["X-Original"] == dict(one.headers)["X-Origin"]


@given(schedules(), SPEEDS)
def test_speed_keeps_all_and_divides_time(schedule: Schedule, speed: float) -> None:
    paced = pace(schedule, speed=speed)
    assert paced.duration_s == pytest.approx(schedule.duration_s / speed)
    assert [one.due_s for one in paced] == pytest.approx([one.due_s / speed for one in schedule])
    assert [one.path for one in paced] == [one.path for one in schedule]


@given(schedules(), st.integers(1, 4))
def test_whole_scales_multiply_every_request(schedule: Schedule, scale: int) -> None:
    paced = pace(schedule, scale=scale)
    assert Counter(one.path for one in paced) == Counter(
        {path: count * scale for path, count in Counter(one.path for one in schedule).items()}
    )


@given(schedules(), st.integers(1, 60))
def test_repetition_is_periodic(schedule: Schedule, tenths: int) -> None:
    duration_s = schedule.duration_s * tenths / 10
    paced = pace(schedule, duration_s=duration_s)
    expected = sorted(
        one.due_s + time * schedule.duration_s for time in range(math.ceil(tenths / 10) + 1) for one in schedule
    )
    kept = [due_s for due_s in expected if due_s < duration_s]
    assert [one.due_s for one in paced] == pytest.approx(kept)


def test_a_part_of_the_visits_is_spread_evenly() -> None:
    schedule = Schedule(tuple(planned(number, float(number), visit=number) for number in range(100)), 100.0)
    fewer = pace(schedule, scale=0.25)
    assert len(fewer) == 25
    assert {two.due_s - one.due_s for one, two in itertools.pairwise(fewer)} == {4.0}
    assert len(pace(schedule, scale=0.29)) == 29
    assert len(pace(schedule, scale=2.5)) == 250
    assert len(pace(schedule, scale=0.001)) == 1


def test_copies_start_later_and_do_not_share_a_visit() -> None:
    schedule = Schedule((planned(0, 0.0), planned(1, 1.0, after=0, origin=0)), 2.0)
    paced = pace(schedule, scale=2)
    assert [(one.visit, one.after) for one in paced] == [(0, None), (1, None), (0, 0), (1, 1)]
    assert [one.due_s for one in paced] == [0.0, 0.25, 1.0, 1.25]
    assert [inject.origin for one in paced for inject in one.injects] == [0, None, 1, None]


def test_nothing_stays_nothing() -> None:
    nothing = Schedule((), 1.0)
    assert len(pace(nothing, speed=2, scale=3, duration_s=10)) == 0
    assert pace(nothing) is nothing


@pytest.mark.parametrize(
    "wrong", [{"speed": 0}, {"scale": -1}, {"duration_s": 0}, {"speed": math.nan}, {"scale": math.inf}]
)
def test_what_is_not_above_0_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="above 0"):
        pace(Schedule((planned(0, 0.0),), 1.0), **wrong)


@pytest.mark.parametrize("wrong", [{"scale": 1e30}, {"speed": 1e300, "duration_s": 1e300}, {"duration_s": 1e12}])
def test_what_no_memory_holds_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="more than"):
        pace(Schedule((planned(0, 0.0),), 1.0), **wrong)


def test_a_schedule_without_a_span_is_not_repeated() -> None:
    with pytest.raises(InputError, match="spans no time"):
        pace(Schedule((planned(0, 0.0),), 0.0), duration_s=10)


@given(schedule=schedules())
def test_a_schedule_is_read_as_it_was_written(schedule: Schedule, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("schedule") / "schedule.parquet"
    write_schedule(schedule, file)
    assert read_schedule(file) == schedule


def test_what_is_no_schedule_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "schedule.parquet"
    file.write_bytes(b"PAR1 no more PAR1")
    for broken in (file, tmp_path / "missing.parquet"):
        with pytest.raises(InputError, match="is not a schedule"):
            read_schedule(broken)
