"""What a client does about a failure, without a client."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.runtime.retries import (
    GIVE_UP,
    Policies,
    Retry,
    asked_s,
    failure_of,
    find_login,
    logins,
)
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule

Plan = Callable[..., PlannedRequest]

RETRIES = st.builds(
    Retry,
    times=st.integers(0, 20),
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    first_s=st.floats(0, 10),
    most_s=st.floats(10, 100),
    jitter=st.booleans(),
)


@given(RETRIES, st.floats(0, 1), st.floats(0, 200))
def test_retries_are_counted_and_their_waits_bounded(retry: Retry, chance: float, asked: float) -> None:
    waits = [retry.wait_s(number, 503, chance, asked) for number in range(1, 25)]
    given_up = [wait for wait in waits if wait is None]
    assert len(given_up) == (24 - retry.times if asked <= retry.most_s else 24)
    assert all(asked <= wait <= max(asked, retry.most_s) for wait in waits if wait is not None)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [("constant", [0.5] * 4), ("linear", [0.5, 1.0, 1.5, 2.0]), ("exponential", [0.5, 1.0, 2.0, 3.0])],
)
def test_waits_grow_by_their_backoff(backoff: str, waits: list[float]) -> None:
    retry = Retry(times=4, backoff=backoff, first_s=0.5, most_s=3.0, jitter=False)
    assert [retry.wait_s(number, "timeout", 0.3) for number in range(1, 5)] == waits
    assert retry.wait_s(5, "timeout", 0.3) is None
    jittered = dataclasses.replace(retry, jitter=True)
    assert [jittered.wait_s(number, "timeout", 0.5) for number in range(1, 5)] == [wait / 2 for wait in waits]


def test_only_what_is_named_is_tried_again() -> None:
    retry = Retry(on=(503, "timeout"))
    assert retry.wait_s(1, 500, 0.5) is None
    assert retry.reacts_to(503)
    assert not any(map(retry.reacts_to, (None, 401, 500, "no connection")))
    assert Retry(times=0, reauth=True).reacts_to(401)
    assert not any(map(GIVE_UP.reacts_to, (None, 401, 503, "timeout")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": -1},
        {"times": 1000},
        {"backoff": "random"},
        {"first_s": -1.0},
        {"first_s": 40.0},
        {"most_s": float("inf")},
        {"on": ("refused",)},
        {"on": (200,)},
    ],
)
def test_a_retry_that_makes_no_sense_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"may be|may have|seconds"):
        Retry(**wrong)


def test_the_nearest_policy_counts(planned: Plan) -> None:
    policies = Policies(
        {
            "GET *": Retry(times=1),
            "*": Retry(times=2),
            "kiosk-7": Retry(times=3),
            "POST /orders": "give_up",
            "kiosk-*": Retry(times=4),
        },
        {"kiosk-7~2": "kiosk-7"},
    )

    def times(endpoint: str, client: str) -> int:
        return policies.of(planned(0, endpoint=endpoint, client=client)).times

    assert times("GET /events", "door") == 1
    assert times("PUT /events", "door") == times("PUT /events", "kiosk-1") == 2
    assert times("GET /events", "kiosk-7") == times("GET /events", "kiosk-7~2") == 3
    assert times("POST /orders", "kiosk-7") == 0
    assert Policies("retry").of(planned(0)) == Retry()
    assert Policies({"kiosk-*": "retry"}).of(planned(0)) == GIVE_UP


def test_a_word_that_is_none_ends_with_a_sentence() -> None:
    with pytest.raises(InputError, match="on_failure is 'always' for 'GET /events'"):
        Policies({"GET /events": "always"})


@pytest.mark.parametrize("wrong", [{5: "retry"}, {("GET /x",): "retry"}, {"*": ["retry"]}, {"*": None}, None, 7])
def test_keys_and_values_of_other_kinds_end_with_a_sentence(wrong: Any) -> None:
    with pytest.raises(InputError, match="on_failure"):
        Policies(wrong)


def test_keys_that_fit_nothing_are_found(planned: Plan) -> None:
    schedule = Schedule((planned(0, endpoint="GET /a", client="door~2"),), 1.0, {"door~2": "door"})
    keys = ("GET /a", "door", "door~2", "*", "d?or", "GET *", "get /a", "POST *", "window", "do")
    policies = Policies(dict.fromkeys(keys, "retry"), schedule.copies)
    assert policies.unmatched(schedule) == ["get /a", "POST *", "window", "do"]


@pytest.mark.parametrize(
    ("status", "timed_out", "failure"),
    [
        (None, True, "timeout"),
        (None, False, "no connection"),
        (503, False, 503),
        (404, False, 404),
        (304, False, None),
        (200, False, None),
    ],
)
def test_failures_have_names(status: int | None, timed_out: bool, failure: int | str | None) -> None:
    assert failure_of(status, timed_out=timed_out) == failure


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3), ("0", 0), (None, 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-1", 0), ("9" * 99, 0)]
)
def test_a_retry_after_is_a_number_of_seconds(text: str | None, seconds: float) -> None:
    assert asked_s(text) == seconds


def test_the_login_is_what_handed_out_the_token(planned: Plan) -> None:
    shown = (Inject("path", "7", 1), Inject("cookie:sid", "s", 2), Inject("bearer", "t", 3), Inject("query:q", "x"))
    assert find_login(planned(9, injects=shown)) == 3
    assert find_login(planned(9, injects=shown[:2])) == 2
    assert find_login(planned(9, injects=shown[:1])) is None
    assert find_login(planned(9, injects=(Inject("bearer", "t", None, "bearer"),))) is None


def test_ways_to_log_in_anew(planned: Plan) -> None:
    page = planned(0, "/login", endpoint="GET /login")
    first = planned(1, "/login", endpoint="POST /login", injects=(Inject("form:csrf", "c", 0),))
    second, third = (
        planned(n, "/login", endpoint="POST /login", injects=(Inject("form:refresh", f"r{n - 1}", n - 1),))
        for n in (2, 3)
    )
    other = planned(4, "/token", endpoint="POST /token", extracts=(Extract("json:/t", "t"),))
    by_number = {one.request: one for one in (page, first, second, third, other)}
    assert logins(3, by_number) == ((third,), (page, first))
    assert logins(1, by_number) == ((page, first),)
    assert logins(4, by_number) == ((other,),)
    assert logins(99, by_number) == ()
