from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.runtime import pacing
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

Plan = Callable[..., PlannedRequest]


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[int, float, int | None, list[int]]]:
    """Visit, due time, predecessor and origins of each request."""
    rows: list[tuple[int, float, int | None, list[int]]] = []
    due_s = 0.0
    for number in range(draw(st.integers(1, 30))):
        due_s += draw(st.floats(0, 5))
        earlier = st.integers(0, number - 1) if number else st.nothing()
        after = draw(st.none() | earlier) if number else None
        rows.append((draw(st.integers(0, 8)), due_s, after, draw(st.lists(earlier, max_size=2)) if number else []))
    return rows


def made(planned: Plan, rows: list[tuple[int, float, int | None, list[int]]]) -> Schedule:
    requests = [
        planned(
            n, due_s=due, visit=visit, after=after, injects=tuple(Inject("path", "x", origin) for origin in origins)
        )
        for n, (visit, due, after, origins) in enumerate(rows)
    ]
    return Schedule(tuple(requests), rows[-1][1])


@given(st.floats(0, 1e6), st.lists(st.floats(0, 1e6)))
def test_a_moment_is_the_latest_of_due_and_answers(due_s: float, answers: list[float]) -> None:
    result = pacing.moment(due_s, answers)
    assert result.at_s == max([due_s, *answers])
    assert result.waited_s == result.at_s - due_s >= 0


@given(schedules(), st.integers(1, 5))
def test_every_request_belongs_to_one_worker_and_values_stay_with_theirs(
    planned: Plan, rows: list[tuple[int, float, int | None, list[int]]], count: int
) -> None:
    schedule = made(planned, rows)
    pacing.check(schedule, "visits")
    parts = [pacing.part(schedule, index, count) for index in range(count)]
    assert sorted(r.request for part in parts for r in part) == list(range(len(rows)))
    for part in parts:
        mine = {r.request for r in part}
        assert [r.request for r in part] == sorted(mine)
        assert all(number in mine for r in part for number in pacing.predecessors(r, "visits"))


def test_independent_visits_are_spread(planned: Plan) -> None:
    schedule = made(planned, [(visit, 0.0, None, []) for visit in range(12)])
    assert [len(pacing.part(schedule, index, 3)) for index in range(3)] == [4, 4, 4]


@given(schedules())
def test_strict_waits_for_values_alone(planned: Plan, rows: list[tuple[int, float, int | None, list[int]]]) -> None:
    for request, (_, _, after, origins) in zip(made(planned, rows), rows, strict=True):
        assert set(pacing.predecessors(request, "strict")) == set(origins)
        assert set(pacing.predecessors(request, "visits")) == {*origins, *([] if after is None else [after])}


@pytest.mark.parametrize("after", [1, 2])
def test_a_request_never_waits_for_a_later_one(planned: Plan, after: int) -> None:
    with pytest.raises(InputError, match="waits for request"):
        pacing.check(made(planned, [(0, 0.0, None, []), (0, 1.0, after, []), (0, 2.0, None, [])]), "visits")


def test_pacing_has_two_names(planned: Plan) -> None:
    with pytest.raises(InputError, match="pacing is 'fast'"):
        pacing.check(made(planned, [(0, 0.0, None, [])]), "fast")
