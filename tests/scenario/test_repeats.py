"""A schedule that repeats is the same as one written out, and takes the memory of one round."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.pace import pace
from replay.scenario.repeats import Repeats, changed, coming, earlier_of, ends_of, only, per_second, round_of
from replay.scenario.schedule import Inject, PlannedRequest, Schedule


def planned(
    number: int, due_s: float, visit: int, after: int | None, origin: int | None, *, reads_back: int | None = None
) -> PlannedRequest:
    injects = () if origin is None else (Inject("bearer", "t", origin=origin),)
    name = f"GET /{number}"
    one = PlannedRequest(number, visit, f"c{visit}", name, due_s, after, "GET", "/", "", (), None, 200, None)
    return dataclasses.replace(one, injects=injects, reads_back=reads_back)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[PlannedRequest, ...]:
    """A round whose requests hang on earlier ones, some of them of other visits; it may reach beyond its span."""
    moments = sorted(draw(st.lists(st.integers(0, 40), min_size=1, max_size=12)))
    found = []
    for number, moment in enumerate(moments):
        earlier = st.none() if not number else st.none() | st.integers(0, number - 1)
        visit = draw(st.integers(0, 3))
        found.append(planned(number, moment / 10, visit, draw(earlier), draw(earlier), reads_back=draw(earlier)))
    return tuple(found)


def written_out(once: tuple[PlannedRequest, ...], times: int, span_s: float, before_s: float) -> list[PlannedRequest]:
    """Every round in full, sorted and numbered through."""
    every = sorted(
        ((one.due_s + time * span_s, time, one.request, one) for time in range(times) for one in once),
        key=lambda row: row[:3],
    )
    every = [row for row in every if row[0] < before_s]
    numbers = {(time, index): number for number, (_, time, index, _) in enumerate(every)}
    visits: dict[tuple[int, int], int] = {}
    return [
        dataclasses.replace(
            one,
            request=number,
            visit=visits.setdefault((time, one.visit), len(visits)),
            due_s=due_s,
            after=None if one.after is None else numbers[time, one.after],
            reads_back=None if one.reads_back is None else numbers[time, one.reads_back],
            injects=tuple(
                dataclasses.replace(inject, origin=numbers[time, inject.origin])
                for inject in one.injects
                if inject.origin is not None
            ),
        )
        for number, (due_s, time, _, one) in enumerate(every)
    ]


ARGUMENTS = (rounds(), st.integers(1, 6), st.sampled_from([0.7, 2.0, 4.1]), st.sampled_from([0.5, 3.0, 100.0]))


@given(*ARGUMENTS)
def test_it_is_what_would_be_written_out(
    once: tuple[PlannedRequest, ...], times: int, span_s: float, before_s: float
) -> None:
    repeats, whole = Repeats(once, times, span_s, before_s), written_out(once, times, span_s, before_s)
    assert list(repeats) == whole
    assert len(repeats) == len(whole)
    assert [*per_second(repeats)] == [*per_second(tuple(whole))]
    assert list(repeats)[2:5] == [*repeats[2:5]]
    if whole:
        assert (repeats[0], repeats[-1]) == (whole[0], whole[-1])
    with pytest.raises(IndexError):
        repeats[len(whole)]


@given(*ARGUMENTS)
def test_what_is_asked_of_a_round_is_asked_of_all(
    once: tuple[PlannedRequest, ...], times: int, span_s: float, before_s: float
) -> None:
    repeats = Repeats(once, times, span_s, before_s)

    def wanted(one: PlannedRequest) -> bool:
        return one.visit == 1

    own = {one.endpoint for one in once if wanted(one)}
    kept = only(repeats, wanted)
    assert list(kept) == [one for one in repeats if one.endpoint in own]
    assert len(kept) == len(list(kept))
    assert all(one.method == "PUT" for one in changed(repeats, lambda one: dataclasses.replace(one, method="PUT")))
    assert round_of(Schedule(repeats, before_s)).requests == once


@given(*ARGUMENTS)
def test_nothing_that_is_needed_yet_is_let_go_of(
    once: tuple[PlannedRequest, ...], times: int, span_s: float, before_s: float
) -> None:
    gone: Counter[int] = Counter()
    needs: dict[int, set[int]] = {}  # whatever a request hangs on, be it through others
    seen = []
    for one, ends in coming(Repeats(once, times, span_s, before_s)):
        needs[one.request] = {need for number in earlier_of(one) for need in (number, *needs[number])}
        assert not needs[one.request] & set(gone)
        gone.update(ends)
        seen.append(one.request)
    assert all(count == 1 for count in gone.values())
    if before_s > times * span_s + 5:  # no round was cut off
        assert sorted(gone) == seen


def test_a_chain_is_kept_to_its_end() -> None:
    chain = [planned(0, 0, 0, None, None), planned(1, 1, 0, None, 0), planned(2, 2, 0, None, None)]
    chain.append(planned(3, 3, 0, None, 1))
    assert ends_of(chain) == [(), (), (2,), (0, 1, 3)]


def test_hours_of_it_take_the_memory_of_a_round() -> None:
    once = tuple(planned(number, number / 100, number, None, None) for number in range(1000))
    paced = pace(Schedule(once, 10.0), duration_s=8 * 3600.0)
    assert isinstance(paced.requests, Repeats)
    assert len(paced) == 2_880_000
    assert len(paced.requests.once) == 1000
    assert sum(per_second(paced.requests)) == 2_880_000
