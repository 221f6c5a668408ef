"""Visits, predecessors and neighbours, against the same rules in plain Python."""

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.workload.engine import Engine
from replay.workload.profile.events import with_concurrency, with_idle, with_predecessors, with_visits

ORIGIN = 1_772_442_000_000_000


@dataclass(frozen=True, slots=True)
class Event:
    t: int
    te: int
    client: int = 0
    strand: int = 0
    endpoint: int = 0
    key: int | None = None


def table(events: list[Event], engine: Engine) -> Any:
    """The events, numbered, their moments as from 1970 on."""
    frame = pd.DataFrame(
        {
            "number": range(len(events)),
            "t": [ORIGIN + event.t for event in events],
            "te": [ORIGIN + event.te for event in events],
            "client": [event.client for event in events],
            "strand": [event.strand for event in events],
            "endpoint": [event.endpoint for event in events],
            "key": [event.key for event in events],
        }
    )
    frame = frame.astype({name: "Int64" if name == "key" else "int64" for name in frame.columns})
    return engine.given(frame)


# The rules, in plain Python


def overlap(one: Event, earlier: Event) -> bool:
    """Whether ``earlier`` was under way when ``one`` started."""
    return earlier.t <= one.t and (earlier.te > one.t or earlier.t == earlier.te == one.t)


def idle(events: list[Event]) -> list[int | None]:
    found: list[int | None] = [None] * len(events)
    for client in {event.client for event in events}:
        until: int | None = None
        own = [number for number, event in enumerate(events) if event.client == client]
        for number in sorted(own, key=lambda number: (events[number].t, events[number].te)):
            found[number] = None if until is None else max(0, events[number].t - until)
            until = max(until or 0, events[number].te)
    return found


def visits(events: list[Event], gap_us: int) -> list[tuple[int, int]]:
    """The visit of each event and when that began."""
    pauses = idle(events)
    begins: dict[int, list[int]] = defaultdict(list)
    for client in {event.client for event in events}:
        own = [(event.t, pause) for event, pause in zip(events, pauses, strict=True) if event.client == client]
        known = [pause for _, pause in own if pause is not None]
        bound = max(gap_us, 3 * statistics.median(known)) if len(known) >= 5 else gap_us
        begins[client] = sorted(t for t, pause in own if pause is None or pause > bound)
    found = []
    for event in events:
        before = [t for t in begins[event.client] if t <= event.t]
        found.append((len(before), before[-1]))
    return found


def alike(one: Event, other: Event, line: tuple[str, ...]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in line)


def predecessor(
    events: list[Event], number: int, visit_t: int, coarse: int, line: tuple[str, ...]
) -> tuple[int, int] | None:
    """The end and the number of what was over last."""
    one = events[number]
    over = [
        (other.te // 2**coarse, place)
        for place, other in enumerate(events)
        if alike(one, other, line) and other.te <= one.t and not (other.t == other.te == one.t) and other.t >= visit_t
    ]
    if not over:
        return None
    end, place = max(over)
    return end * 2**coarse, place


MOMENTS = st.integers(0, 12) | st.integers(0, 400) | st.integers(0, 4000)
EVENTS = st.lists(
    st.builds(
        lambda t, took, *rest: Event(t, t + took, *rest),
        MOMENTS,
        st.sampled_from([0, 0, 1, 2, 3, 30, 700]),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 1),
        st.none() | st.integers(-1, 2),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=100)
@given(EVENTS, st.sampled_from([0, 10, 100, 1500]))
def test_visits_end_where_a_client_is_idle(duckdb: Engine, events: list[Event], gap_us: int) -> None:
    rows = duckdb.frame(with_visits(table(events, duckdb), gap_us).order_by("number"))
    found = [(int(visit), int(begun) - ORIGIN) for visit, begun in zip(rows["visit"], rows["visit_t"], strict=True)]
    assert found == visits(events, gap_us)


@settings(max_examples=50)
@given(EVENTS)
def test_idleness_counts_from_the_last_end(duckdb: Engine, events: list[Event]) -> None:
    rows = duckdb.frame(with_idle(table(events, duckdb)).select("client", "t", "te", "idle_us"))

    def counted(ones: list[tuple[int, int, int, int | None]]) -> list[str]:
        return sorted(map(str, ones))  # of what ties in all, any may be the first

    found = [
        (int(client), int(t) - ORIGIN, int(te) - ORIGIN, None if pd.isna(pause) else int(pause))
        for client, t, te, pause in rows.itertuples(index=False, name=None)
    ]
    assert counted(found) == counted(
        [(event.client, event.t, event.te, pause) for event, pause in zip(events, idle(events), strict=True)]
    )


@pytest.mark.slow
@settings(max_examples=100)
@given(
    EVENTS, st.sampled_from([10, 100, 1500]), st.integers(0, 3), st.sampled_from([("client",), ("client", "strand")])
)
def test_predecessors_are_what_was_over_last(
    duckdb: Engine, events: list[Event], gap_us: int, coarse: int, line: tuple[str, ...]
) -> None:
    found = with_predecessors(with_visits(table(events, duckdb), gap_us), "number", 6, ORIGIN, coarse, line=line)
    rows = duckdb.frame(found.order_by("number"))
    assert rows["number"].tolist() == list(range(len(events)))
    for number, (row, (_, visit_t)) in enumerate(zip(rows.to_dict("records"), visits(events, gap_us), strict=True)):
        over = None if pd.isna(row["after"]) else (int(row["after_te"]) - ORIGIN, int(row["after"]))
        assert over == predecessor(events, number, visit_t, coarse, line)
        one = events[number]
        beside = [
            other
            for place, other in enumerate(events)
            if place != number and alike(one, other, line) and overlap(one, other)
        ]
        assert row["beside"] == len(beside)


@pytest.mark.slow
@settings(max_examples=100)
@given(EVENTS)
def test_concurrency_counts_what_runs_at_once(duckdb: Engine, events: list[Event]) -> None:
    given_events = table(events, duckdb).drop("client", "strand")
    rows = duckdb.frame(with_concurrency(given_events).order_by("number"))
    assert list(rows.columns) == [*given_events.columns, "same_key", "running"]
    assert rows["number"].tolist() == list(range(len(events)))
    for number, one in enumerate(events):
        at_once = [
            other
            for place, other in enumerate(events)
            if place != number and other.endpoint == one.endpoint and overlap(one, other)
        ]
        assert rows["running"][number] == 1 + len(at_once)
        same_key = one.key is not None and any(other.key == one.key for other in at_once)
        assert bool(rows["same_key"][number]) == same_key


def test_what_runs_throughout_is_counted_to_its_end(duckdb: Engine) -> None:
    events = [Event(0, 10_000), Event(1, 10_000), *(Event(10 * number, 10 * number + 9) for number in range(1, 1000))]
    rows = duckdb.frame(with_concurrency(table(events, duckdb)).order_by("number"))
    assert rows["running"].tolist() == [1, 2, *[3] * 999]


def test_what_ties_is_of_one_visit_whatever_the_order(duckdb: Engine) -> None:
    # Without a duration, as in a log of whole seconds, most of what a client does at once ties in all.
    second = 1_000_000
    events = [
        Event(at * second, at * second, client) for at in (0, 5000, 5001) for client in (0, 1) for _ in range(500)
    ]
    rows = duckdb.frame(with_visits(table(events, duckdb), 1800 * second).order_by("number"))
    assert rows["visit"].tolist() == [1] * 1000 + [2] * 2000


def test_a_long_visit_is_told_apart_as_far_as_bits_go(duckdb: Engine) -> None:
    # Two years, and numbers of 18 bits: whole microseconds do not fit any more.
    year = 365 * 86_400_000_000
    events = [Event(0, 10), Event(2 * year, 2 * year + 10), Event(2 * year + 100, 2 * year + 200)]
    found = with_visits(table(events, duckdb), 3 * year)
    coarse = 18 + (2 * year + 200).bit_length() - 62
    rows = duckdb.frame(with_predecessors(found, "number", 18, ORIGIN, coarse).order_by("number"))
    assert rows["after"].tolist()[1:] == [0, 1]


def test_nothing_gives_nothing(duckdb: Engine) -> None:
    none = table([], duckdb)
    assert duckdb.frame(with_predecessors(with_visits(none, 10), "number", 6, ORIGIN)).empty
    assert duckdb.frame(with_concurrency(none)).empty
