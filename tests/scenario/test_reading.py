"""Which requests read back what their visit wrote."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.planning import without
from replay.scenario.reading import WRITES, with_reads_back
from replay.scenario.schedule import PlannedRequest


def requests(*lines: str) -> list[PlannedRequest]:
    """``METHOD PATH[?QUERY] [STATUS] [vVISIT]``, in their order."""
    made = []
    for number, line in enumerate(lines):
        method, url, *more = line.split()
        path, _, query = url.partition("?")
        status = next((int(word) for word in more if word.isdecimal()), 200)
        visit = next((int(word[1:]) for word in more if word.startswith("v")), 0)
        made.append(
            PlannedRequest(
                number, visit, "c", f"{method} {path}", number, None, method, path, query, (), None, status, None
            )
        )
    return made


def found(*lines: str) -> list[int | None]:
    return [one.reads_back for one in with_reads_back(requests(*lines))]


@pytest.mark.parametrize("write", ["PUT /a/1", "PATCH /a/1", "DELETE /a/1 204", "POST /a 201", "POST /a/1/done 302"])
def test_a_read_after_a_write_reads_back(write: str) -> None:
    assert found("GET /a/1", write, "GET /a/1") == [None, None, 0]


@pytest.mark.parametrize(
    "write",
    ["PUT /a/1 404", "POST /a 500", "PUT /a/12", "POST /b", "HEAD /a/1", "GET /a", "PUT /a/1 v1", "OPTIONS /a"],
)
def test_what_did_not_write_there_is_no_write(write: str) -> None:
    assert found("GET /a/1", write, "GET /a/1") == [None, None, None]


def test_it_reads_back_to_the_latest_read_before_the_latest_write() -> None:
    assert found("GET /a", "GET /a", "POST /a", "GET /a", "GET /a", "POST /a", "GET /a") == [
        *[None, None, None],
        *[1, 1, None, 4],
    ]
    assert found("GET /a", "POST /a", "DELETE /a", "GET /a") == [None, None, None, 0]


def test_another_query_is_another_read() -> None:
    assert found("GET /a?p=1", "POST /a", "GET /a?p=2", "GET /a?p=1") == [None, None, None, 0]


def test_what_the_capture_answered_alike_reads_nothing_back() -> None:
    asked = []

    def was_same(before: int, number: int) -> bool:
        asked.append((before, number))
        return number == 2

    planned = with_reads_back(requests("GET /a", "POST /a", "GET /a", "GET /a"), was_same)
    assert [one.reads_back for one in planned] == [None, None, None, 0]
    assert asked == [(0, 2), (0, 3)]


def test_it_follows_where_requests_are_left_out() -> None:
    planned = with_reads_back(requests("GET /b", "GET /a", "POST /a", "GET /a", "GET /b", "POST /b", "GET /b"))
    assert [one.reads_back for one in without(planned, {0})] == [None, None, 0, None, None, 3]


PATHS = st.sampled_from(["/", "/a", "/a/", "/a/1", "/a/1/x", "/a/12", "/b"])
LINES = st.lists(
    st.builds(
        "{} {} {} v{}".format,
        st.sampled_from(["GET", "GET", "POST", "PUT", "DELETE", "HEAD"]),
        PATHS | st.just("/a?p=1"),
        st.sampled_from([200, 201, 304, 404]),
        st.integers(0, 1),
    ),
    max_size=12,
)


def touches(one: str, other: str) -> bool:
    """By text: whether one path begins with the other, up to the end of a segment."""
    first, second = (f"{path.strip('/')}/".lstrip("/") for path in (one, other))
    return first.startswith(second) or second.startswith(first)


@given(LINES)
def test_it_is_as_it_is_said(lines: list[str]) -> None:
    every = requests(*lines)

    def before(one: PlannedRequest) -> int | None:
        if one.method != "GET":
            return None
        return max(
            (
                early.request
                for early in every[: one.request]
                if (early.method, early.visit, early.path, early.query) == ("GET", one.visit, one.path, one.query)
                and any(
                    write.method in WRITES
                    and write.visit == one.visit
                    and 200 <= (write.expected_status or 0) < 400
                    and touches(write.path, one.path)
                    for write in every[early.request : one.request]
                )
            ),
            default=None,
        )

    marked = with_reads_back(every)
    assert [one.reads_back for one in marked] == [before(one) for one in every]
    assert [dataclasses.replace(one, reads_back=None) for one in marked] == every


def test_a_long_visit_costs_what_it_is_long() -> None:
    lines = [f"GET /a/{number}" for number in range(20_000)]
    lines += [f"PUT /a/{number}/x" for number in range(40_000)]
    lines += [f"GET /a/{number}" for number in range(20_000)]
    assert found(*lines)[-1] == 19_999
