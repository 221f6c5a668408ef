import dataclasses
import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.pace import pace
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule


def planned(
    number: int,
    due_s: float,
    visit: int = 0,
    after: int | None = None,
    origin: int | None = None,
    *,
    reads_back: int | None = None,
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
        reads_back=reads_back,
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
        requests.append(
            planned(number, due / 100, visit, after, origin, reads_back=draw(st.sampled_from([None, *own])))
        )
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
        assert clients.setdefault(one.visit, one.client) == one.client
        assert paced.copies.get(one.client, one.client) == original.client
        assert (one.after is None) == (original.after is None)
        if one.after is not None:
            before = paced.requests[one.after]
            assert before.request < one.request
            assert before.visit == one.visit
            assert dict(before.headers)["X-Original"] == str(original.after)
        assert (one.reads_back is None) == (original.reads_back is None)
        if one.reads_back is not None:
            before = paced.requests[one.reads_back]
            assert (before.visit, dict(before.headers)["X-Original"]) == (one.visit, str(original.reads_back))
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


@given(schedules(), st.sampled_from([1.5, 2.0, 3.3]), st.integers(0, 5))
def test_copies_are_whole_keep_their_think_times_and_are_drawn_by_the_seed(
    schedule: Schedule, scale: float, seed: int
) -> None:
    paced = pace(schedule, scale=scale, seed=seed)
    assert paced == pace(schedule, scale=scale, seed=seed)
    originals = {one.request: one for one in schedule}
    lags: dict[tuple[str, int], set[float]] = {}
    plays: dict[tuple[str, int], list[int]] = {}
    for one in paced:
        original = originals[int(dict(one.headers)["X-Original"])]
        copy = one.client.removeprefix(original.client)
        assert copy in {"", "~2", "~3", "~4"}
        assert paced.copies.get(one.client) == (original.client if copy else None)
        plays.setdefault((copy, original.visit), []).append(original.request)
        lags.setdefault((copy, original.visit), set()).add(round(one.due_s - original.due_s, 6))
    for (copy, visit), numbers in plays.items():
        assert numbers == [one.request for one in schedule if one.visit == visit]
        (lag_s,) = lags[copy, visit]
        assert -5 <= lag_s <= 5 if copy else lag_s == 0
    assert len([visit for copy, visit in plays if not copy]) == len({one.visit for one in schedule})


@given(schedules(), SPEEDS)
def test_speed_compresses_the_lags_of_copies_too(schedule: Schedule, speed: float) -> None:
    slow, fast = pace(schedule, scale=2), pace(schedule, scale=2, speed=speed)
    assert [one.due_s / speed for one in slow] == pytest.approx([one.due_s for one in fast])


def test_a_copy_starts_between_the_visits_around_its_original() -> None:
    starts = [0.0, 10.0, 10.5, 11.0, 100.0]
    schedule = Schedule(tuple(planned(n, start, visit=n) for n, start in enumerate(starts)), 200.0)
    bounds = {0: (0.0, 5.0), 1: (5.0, 10.5), 2: (10.0, 11.0), 3: (10.5, 16.0), 4: (95.0, 105.0)}
    seen: dict[int, list[float]] = {number: [] for number in bounds}
    for seed in range(200):
        for one in pace(schedule, scale=2, seed=seed):
            if "~" in one.client:
                seen[int(dict(one.headers)["X-Original"])].append(one.due_s)
    for number, (low, high) in bounds.items():
        assert low <= min(seen[number]) <= low + (high - low) / 10
        assert high - (high - low) / 10 <= max(seen[number]) <= high


def test_where_visits_come_at_once_copies_keep_a_little_distance() -> None:
    schedule = Schedule(tuple(planned(n, 50 + n / 1000, visit=n) for n in range(100)), 100.0)
    copies = [one for one in pace(schedule, scale=2) if "~" in one.client]
    lags = [one.due_s - 50 - int(dict(one.headers)["X-Original"]) / 1000 for one in copies]
    lags = sorted(lags)[1:-1]  # at the ends nobody is near on the one side
    assert -0.25 <= lags[0] < -0.2
    assert 0.2 < lags[-1] <= 0.25


def test_copies_are_visits_and_clients_of_their_own() -> None:
    schedule = Schedule((planned(0, 0.0), planned(1, 1.0, after=0, origin=0)), 2.0)
    paced = pace(schedule, scale=2)
    by_client = {name: [one for one in paced if one.client == name] for name in ("client-0", "client-0~2")}
    for own in by_client.values():
        first, second = own
        assert first.visit == second.visit
        assert second.after == first.request
        assert second.injects[0].origin == first.request
    assert len({one.visit for one in paced}) == 2
    assert paced.copies == {"client-0~2": "client-0"}


def test_a_copy_in_the_schedule_stays_one_and_its_own_copies_are_the_originals() -> None:
    schedule = Schedule((planned(0, 0.0), planned(1, 1.0, visit=1)), 2.0, {"client-1": "client-0"})
    assert pace(schedule, speed=2.0).copies == {"client-1": "client-0"}
    copies = pace(schedule, scale=2.0).copies
    assert copies.pop("client-1") == "client-0"
    assert set(copies.values()) == {"client-0"}
    assert len(copies) == 2


def test_no_copy_is_called_like_a_client_of_the_capture() -> None:
    names = ("a", "a~2")
    requests = [dataclasses.replace(planned(n, float(n), visit=n), client=name) for n, name in enumerate(names)]
    assert pace(Schedule(tuple(requests), 9.0), scale=2).copies == {"a~~2": "a", "a~2~~2": "a~2"}


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
