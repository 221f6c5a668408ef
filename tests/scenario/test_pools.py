"""Stage's own values for production's: which gets which, where they stand, how they are read."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.pools import (
    Binding,
    Pool,
    bindings_of,
    count_values,
    fields_of,
    match_ranks,
    parse_pools,
    path_parameters,
    read_values,
    write_values,
)
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


def planned(request: int, method: str, template: str, path: str, **more: Any) -> PlannedRequest:
    values: dict[str, Any] = {"query": "", "headers": (), "body": None, "client": "c", "visit": 0, "after": None}
    values |= {"due_s": request / 10, "expected_status": 200, "expected_shape": None}
    return PlannedRequest(request=request, endpoint=f"{method} {template}", method=method, path=path, **values | more)


COUNTS = st.lists(st.integers(1, 50), max_size=40).map(
    lambda counts: {f"c{n}": count for n, count in enumerate(counts)}
)
VALUES = st.integers(1, 60).map(lambda size: [f"s{n}" for n in range(size)])


@given(COUNTS, VALUES)
def test_rank_for_rank(counts: dict[str, int], values: list[str]) -> None:
    matched = match_ranks(counts, values)
    assert set(matched) == set(counts)
    ranked = sorted(counts, key=lambda text: -counts[text])  # stable: ties as they come
    own = ranked[: len(values)]
    assert [matched[text] for text in own] == values[: len(own)]
    if len(values) >= len(counts):
        assert len(set(matched.values())) == len(counts)


@given(COUNTS, VALUES)
def test_what_has_to_share_makes_nothing_hotter_than_it_must(counts: dict[str, int], values: list[str]) -> None:
    matched = match_ranks(counts, values)
    loads: Counter[str] = Counter()
    for captured, value in matched.items():
        loads[value] += counts[captured]
    assert sum(loads.values()) == sum(counts.values())
    # A value that got another's has no more than the hottest, or than an even spread and one more would give.
    fair = sum(counts.values()) / len(values) + max(counts.values(), default=0)
    assert max(loads.values(), default=0) <= max(fair, max(counts.values(), default=0))
    if len(values) < len(counts):
        assert set(loads) == set(values)


@given(st.permutations(range(30)))
def test_ties_go_by_their_first_occurrence(order: list[int]) -> None:
    counts = {str(number): 3 for number in order}
    assert list(match_ranks(counts, [f"s{n}" for n in range(30)]).values()) == [f"s{n}" for n in range(30)]
    assert list(match_ranks(counts, ["s"])) == list(counts)


def test_a_parameter_is_found_wherever_it_is_sent() -> None:
    request = planned(
        0,
        "POST",
        "/v1/events/{event_id}/seats",
        "/v1/events/e%201/seats",
        query="eventId=7&page=7",
        headers=(("X-Event-Id", "8"), ("Content-Type", "application/json")),
        body=b'{"event_id": 9, "items": [{"event": {"id": 10}}], "note": "7"}',
    )
    found = {(field.place, field.text) for field in fields_of(request, ["event_id"])}
    assert found == {
        ("path", "e 1"),
        ("query:eventId", "7"),
        ("header:x-event-id", "8"),
        ("json:/event_id", "9"),
        ("json:/items/0/event/id", "10"),
    }
    form = planned(1, "POST", "/tickets", "/tickets", headers=FORM, body=b"event_id=4&x=1")
    assert [(field.place, field.text) for field in fields_of(form, ["event_id"])] == [("form:event_id", "4")]


def test_a_template_s_literal_parts_are_no_values() -> None:
    request = planned(0, "GET", "/files/report-{year}.{kind}", "/files/report-2024.pdf")
    assert path_parameters(request) == {"year": "2024", "kind": "pdf"}
    assert path_parameters(replace(request, path="/files/other")) == {}
    assert path_parameters(replace(request, path="/files/report-1.a/b")) == {}
    assert path_parameters(replace(request, endpoint="POST /g/{id}#Op", path="/g/5")) == {"id": "5"}


def test_what_is_carried_is_not_counted() -> None:
    template = "/orgs/{org_id}/users/{user_id}"
    carried = Inject("path", "5", origin=0)
    request = planned(1, "GET", template, "/orgs/5/users/5", query="user_id=6", injects=(carried,))
    in_query = Inject("query:user_id", "6", origin=0)
    schedule = Schedule((request, replace(request, request=2, injects=(carried, in_query))), 1.0)
    assert count_values(schedule, [["org_id"], ["user_id"]]) == [{"5": 2}, {"6": 1}]


def test_parameters_that_share_a_pool_share_its_values() -> None:
    requests = [planned(n, "GET", "/users/{user_id}", f"/users/{n % 3}", query="owner_id=1") for n in range(6)]
    (binding,) = bindings_of(Schedule(tuple(requests), 1.0), [Pool("users", ("user_id", "owner_id"), ("a", "b", "c"))])
    assert binding.counts == {"0": 2, "1": 8, "2": 2}
    assert binding.matched == {"1": "a", "0": "b", "2": "c"}
    assert "3 captured values of user_id, owner_id (sent 12 times) get Stage's 3" in binding.told
    short = Binding(Pool("users", ("user_id",), ("a", "b")), binding.counts)
    assert short.shared == 1
    assert "the 1 coldest share" in short.told
    assert "nothing is bound" in Binding(short.pool, {}).told


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("event_id,name\n7,x\n8,y\n7,z\n", ("7", "8")),
        ("name,id\nx,7\n\nshort\ny,8\n", ("7", "8")),
        ("eventId\n7\n", ("7",)),
        ("7\n8\n", ("7", "8")),
        ("value\nvalue\n8\n", ("value", "8")),
        ('\ufeffid\n"a,b"\n', ("a,b",)),
    ],
)
def test_a_pool_s_file(text: str, values: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text(text, encoding="utf-8")
    assert read_values(file, "event_id", ["event_id"]) == values


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")).filter(lambda t: t.strip() == t != ""))
)
def test_values_come_back_as_they_were_written(values: list[str]) -> None:
    import tempfile  # noqa: PLC0415 - Hypothesis runs many examples in one tmp_path

    different = tuple(dict.fromkeys(values))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pools" / "x.csv"
        write_values(different, file)
        if different:
            assert read_values(file, "x", ["x"]) == different


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", "", "empty"),
        ("event_id\n", "", "empty"),
        ("a,b\n1,2\n", "", "several columns"),
        ("a,b\n1,2\n", "c", "no column c"),
        ('"a\n', "", "cannot be read"),
    ],
)
def test_a_file_that_is_no_pool(text: str, column: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_values(file, "event_id", ["event_id"], column)


def test_pools_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "a=b.csv"
    file.write_text("1\n")
    assert parse_pools([f"userId,owner_id={file}"]) == (Pool("user_id", ("user_id", "owner_id"), ("1",)),)
    for texts, said in (
        (["event_id"], "does not name a pool"),
        ([f"={file}"], "does not name a pool"),
        (["x=nowhere.csv"], "cannot be read"),
        ([f"a={file}", f"b,a={file}"], "Two pools are for a: a and b"),
    ):
        with pytest.raises(InputError, match=said):
            parse_pools(texts)
