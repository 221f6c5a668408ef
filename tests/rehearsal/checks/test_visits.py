"""Which requests are played: first visits, cut, with what they need of others, in an order that can be played."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from replay.rehearsal.checks.visits import first_visits, most_of_each, share_out
from replay.scenario.runtime.pacing import VISITS, check
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule, read_schedule, write_schedule


def request(
    number: int, client: str, visit: int, *, method: str = "GET", origins: Sequence[int] = (), after: int | None = None
) -> PlannedRequest:
    injects = tuple(Inject("bearer", f"v{origin}", origin=origin) for origin in origins)
    extracts = (Extract("json:/token", f"v{number}"),)
    endpoint = f"{method} /{number}"
    return PlannedRequest(
        number,
        visit,
        client,
        endpoint,
        float(number),
        after,
        method,
        f"/{number}",
        "",
        (),
        None,
        200,
        None,
        extracts,
        injects,
    )


def schedule(*requests: PlannedRequest) -> Schedule:
    return Schedule(tuple(requests), 100.0)


def paths(found: Sequence[PlannedRequest]) -> list[str]:
    return [planned.path for planned in found]


def test_the_first_visit_of_each_client_and_one_after_the_other() -> None:
    whole = schedule(
        request(0, "a", 0), request(1, "b", 1), request(2, "a", 0, after=0), request(3, "a", 2), request(4, "b", 1)
    )
    visits, idle = first_visits(whole, ["b", "a"], reads_only=False)
    assert paths(visits.of("b")) == ["/1", "/4"]
    assert paths(visits.of("a")) == ["/0", "/2"]
    assert [planned.after for planned in visits.schedule] == [None, 0, 1, 2]
    assert [planned.visit for planned in visits.schedule] == [0, 0, 1, 1]
    assert idle == ()


def test_what_another_visit_handed_out_is_asked_for_first() -> None:
    whole = schedule(
        request(0, "a", 0, method="POST"), request(1, "c", 1, origins=[0]), request(2, "b", 2, origins=[1])
    )
    visits, _ = first_visits(whole, ["b"], reads_only=False)
    assert paths(visits.of("b")) == ["/0", "/1", "/2"]
    assert [[inject.origin for inject in planned.injects] for planned in visits.schedule] == [[], [0], [1]]


def test_what_reads_back_a_write_names_the_read_before_it_where_that_is_played_too(tmp_path: Path) -> None:
    again = dataclasses.replace(request(4, "b", 1), reads_back=1)
    elsewhere = dataclasses.replace(request(5, "b", 1), reads_back=0)  # the first of these was no visit of this client
    whole = schedule(
        request(0, "a", 0), request(1, "b", 1), request(2, "a", 0), request(3, "b", 1, method="POST"), again, elsewhere
    )
    visits, _ = first_visits(whole, ["b"], reads_only=False)
    assert [planned.reads_back for planned in visits.schedule] == [None, None, 0, None]
    write_schedule(visits.schedule, tmp_path / "schedule.parquet")  # refused where they are wrong
    assert read_schedule(tmp_path / "schedule.parquet") == visits.schedule


def test_where_only_reading_is_allowed() -> None:
    whole = schedule(
        request(0, "a", 0, method="POST"),
        request(1, "a", 0, origins=[0]),
        request(2, "a", 0),
        request(3, "b", 1, method="DELETE"),
    )
    visits, idle = first_visits(whole, ["a", "b"], reads_only=True)
    assert paths(visits.of("a")) == ["/2"]
    assert idle == ("b",)


def test_many_visits_are_cut_shorter_so_that_all_have_their_turn() -> None:
    assert [most_of_each(clients) for clients in (0, 1, 80, 200)] == [50, 50, 50, 20]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    requests = []
    for number in range(draw(st.integers(1, 40))):
        origins = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        client = draw(st.sampled_from("abcd"))
        method = draw(st.sampled_from(["GET", "POST"]))
        visit = draw(st.integers(0, 1)) * 4 + "abcd".index(client)
        requests.append(request(number, client, visit, method=method, origins=sorted(origins)))
    return schedule(*requests)


@given(whole=schedules(), most=st.integers(1, 10), reads_only=st.booleans())
def test_it_can_always_be_played(whole: Schedule, most: int, *, reads_only: bool) -> None:
    visits, idle = first_visits(whole, "abcde", reads_only=reads_only, most=most)
    check(visits.schedule, VISITS)
    assert {*visits.clients, *idle} == set("abcde")
    for client in visits.clients:
        own = visits.of(client)
        assert 0 < len(own) <= most
        for planned in own:
            assert planned.method == "GET" or not reads_only
            for inject in planned.injects:
                assert inject.origin is not None
                assert whole.requests[int(inject.captured[1:])].path == visits.schedule.requests[inject.origin].path


@given(
    ranked=st.dictionaries(st.sampled_from("xyz"), st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=3),
    most=st.integers(0, 12),
)
def test_every_workload_has_its_busiest_first(ranked: dict[str, list[str]], most: int) -> None:
    chosen = share_out(ranked, most)
    assert set(chosen) == set(ranked)
    counts = [len(clients) for clients in chosen.values()]
    assert sum(counts) == min(most, sum(map(len, ranked.values())))
    for workload, clients in chosen.items():
        assert list(clients) == ranked[workload][: len(clients)]
        if len(clients) < len(ranked[workload]):
            assert len(clients) >= max(counts) - 1
