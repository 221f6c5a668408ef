"""What a policy keeps from the target: patterns, what hangs on what they leave out, and what is said of it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.scenario.answers import GivenAnswer
from replay.scenario.policy import KeptBack, Policy, resolve, withhold
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule, read_schedule, write_schedule

ENDPOINTS = (
    "DELETE /v2/payments/{payment_id}",
    "GET /v2/payments/{payment_id}",
    "HEAD /mail/inbox",
    "POST /mail/send",
    "POST /oauth/token",
    "POST /v2/payments",
    "POST /graphql#PayOrder",
    "PURGE /cache",
)


def request(number: int, endpoint: str, after: int | None = None, **more: Any) -> PlannedRequest:
    method, _, path = endpoint.partition(" ")
    due_s = number / 10
    return PlannedRequest(number, 0, "c", endpoint, due_s, after, method, path, "", (), None, 200, None, **more)


def left_out(*patterns: str) -> set[str]:
    return set(resolve(Policy(patterns), ENDPOINTS).left_out)


@pytest.mark.parametrize(
    ("patterns", "fitting"),
    [
        (["POST /v2/payments"], {"POST /v2/payments"}),
        (["post /v2/payments"], {"POST /v2/payments"}),
        (["* /v2/payments*"], {one for one in ENDPOINTS if "/v2/payments" in one}),
        (["* /mail/*"], {"HEAD /mail/inbox", "POST /mail/send"}),
        (["POST *"], {one for one in ENDPOINTS if one.startswith("POST ")}),
        (["WRITES *"], {one for one in ENDPOINTS if not one.startswith(("GET ", "HEAD "))}),
        (["writes /mail/*"], {"POST /mail/send"}),
        (["GET /v2/payments/{payment_id}"], {"GET /v2/payments/{payment_id}"}),
        (["P?ST /mail/????"], {"POST /mail/send"}),
        (["* *#Pay*"], {"POST /graphql#PayOrder"}),
        (["POST *", "!POST /oauth/token"], {"POST /mail/send", "POST /v2/payments", "POST /graphql#PayOrder"}),
        (["!POST /oauth/token", "* /oauth/*"], {"POST /oauth/token"}),
    ],
)
def test_a_pattern_is_a_method_and_a_path(patterns: list[str], fitting: set[str]) -> None:
    assert left_out(*patterns) == fitting


@pytest.mark.parametrize(
    ("pattern", "said", "hint"),
    [
        ("POST /v2/payment", "which fits no endpoint of the capture", "Near it: POST /v2/payments"),
        ("!POST /v2/payment", "which fits no endpoint of the capture", "Near it: POST /v2/payments"),
        ("GET /[v]2/payments/*", "which fits no endpoint", "GET /v2/payments/{payment_id}"),
        ("* /x", "which fits no endpoint", "replay inspect"),
        ("GET /v3/payments/*", "which fits no endpoint", ""),
        ("/v2/payments", "not a method and a path", "POST /v2/payments"),
        ("*", "not a method and a path", ""),
        ("", "not a method and a path", ""),
    ],
)
def test_a_pattern_that_fits_nothing_is_refused(pattern: str, said: str, hint: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        left_out(pattern)
    assert hint in refused.value.hint
    with pytest.raises(InputError, match=r"\[workloads\.x\]: answers has"):
        resolve(Policy(answers=(GivenAnswer("POST /nowhere"),)), ENDPOINTS, "[workloads.x]: ")


def test_what_has_an_answer_is_not_left_out() -> None:
    special, general = GivenAnswer("POST /oauth/token", 201), GivenAnswer("POST *", 202)
    withheld = resolve(Policy(("WRITES *",), (special, general)), ENDPOINTS)
    assert withheld.answers["POST /oauth/token"] == special  # the first that fits
    assert withheld.answers["POST /mail/send"] == general
    assert withheld.left_out == {"DELETE /v2/payments/{payment_id}", "PURGE /cache"}


def sold() -> Schedule:
    """A login, a payment, a look at it, a refund of that, and a list that needs the login alone."""
    token, paid, refund = (Extract("json:/id", name) for name in ("t", "p", "r"))
    bearer = Inject("bearer", "t", 0)
    return Schedule(
        (
            request(
                0,
                "POST /oauth/token",
                extracts=(token,),
                injects=(Inject("form:client_secret", "s", credential="client_secret"),),
            ),
            request(1, "POST /pay", 0, extracts=(paid,), injects=(bearer, Inject("header:x", "k", credential="x"))),
            request(2, "GET /pay", 1, injects=(bearer, Inject("path", "p", 1))),
            request(3, "POST /refund", 2, extracts=(refund,), injects=(bearer, Inject("json:/p", "p", 1))),
            request(4, "GET /refund", 3, injects=(Inject("path", "r", 3),)),
            request(5, "GET /list", 4, injects=(bearer,)),
        ),
        1.0,
    )


def played(policy: Policy) -> tuple[Schedule, KeptBack]:
    schedule = sold()
    return withhold(schedule, resolve(policy, [one.endpoint for one in schedule]))


def test_what_needs_a_left_out_one_is_left_out_too() -> None:
    schedule, kept_back = played(Policy(("POST /pay",)))
    assert [one.endpoint for one in schedule] == ["POST /oauth/token", "GET /list"]
    assert [(one.request, one.after) for one in schedule] == [(0, None), (1, 0)]
    assert schedule.requests[1].injects == (Inject("bearer", "t", 0),)
    assert schedule.requests[1].due_s == 0.5
    assert kept_back.left_out == {"POST /pay": 1}
    assert kept_back.needing == {"GET /pay": 1, "POST /refund": 1, "GET /refund": 1}
    assert kept_back.givers == {"POST /pay": 3}
    assert kept_back.told() == [
        "Left out as was asked: 1 request of 6 (16.7%), all of POST /pay.",
        (
            "Left out too, for want of a value that one of these hands out: 3 requests of 6 (50.0%), the most of "
            "GET /pay. They need POST /pay first of all: give that an answer, or keep it with '!POST /pay'."
        ),
    ]


def test_a_login_that_is_left_out_takes_all_with_it_and_that_is_told() -> None:
    schedule, kept_back = played(Policy(("POST *",)))
    assert not schedule.requests
    assert kept_back.givers == {"POST /oauth/token": 2, "POST /refund": 1}
    assert [one.endpoint for one in played(Policy(("POST *", "!POST /oauth/token")))[0]] == [
        "POST /oauth/token",
        "GET /list",
    ]


def test_what_is_answered_stays_and_needs_no_credential() -> None:
    schedule, kept_back = played(Policy(answers=(GivenAnswer("POST /pay"),)))
    assert len(schedule) == 6
    assert schedule.requests[1].injects == (Inject("bearer", "t", 0),)
    assert schedule.requests[0].injects == sold().requests[0].injects
    assert kept_back.answered == {"POST /pay": 1}
    assert kept_back.places == {"POST /pay": ("json:/id",)}
    assert kept_back.users == {"POST /pay": ("GET /pay", "POST /refund")}
    assert KeptBack.from_json(kept_back.to_json(), 6) == kept_back
    assert kept_back.told() == [
        "Answered without being sent: 1 request of 6 (16.7%), all of POST /pay.",
        "The answer to POST /pay must have json:/id, which later requests send back.",
        (
            "What the answer to POST /pay hands out goes to Stage with GET /pay, POST /refund: unless Stage takes any, "
            "give these an answer too, or leave them out."
        ),
    ]


def test_without_a_policy_nothing_changes() -> None:
    schedule, kept_back = played(Policy())
    assert schedule == sold()
    assert kept_back == KeptBack(6)
    assert kept_back.told() == []


def test_counts_are_written_and_read_back() -> None:
    kept_back = played(Policy(("POST /refund",), (GivenAnswer("POST /pay"),)))[1]
    assert KeptBack.from_json(kept_back.to_json(), 3) == kept_back
    assert KeptBack.from_json(None, 3) == KeptBack(3)
    with pytest.raises(InputError, match="what it keeps back"):
        KeptBack.from_json({"planned": 1}, 3)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    requests = []
    for number in range(draw(st.integers(1, 25))):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        after = draw(st.none() | earlier)
        origins = draw(st.lists(earlier, max_size=2, unique=True)) if number else []
        requests.append(
            request(
                number,
                f"GET /{draw(st.sampled_from('abcdef'))}",
                after,
                extracts=(Extract("json:/id", str(number)),),
                injects=tuple(Inject("path", str(origin), origin) for origin in origins),
            )
        )
    return Schedule(tuple(requests), 10.0)


@given(schedules(), st.sets(st.sampled_from("abcdef"), min_size=1), st.sets(st.sampled_from("abcdef")))
def test_what_is_left_hangs_together(
    tmp_path_factory: pytest.TempPathFactory, schedule: Schedule, gone: set[str], answered: set[str]
) -> None:
    endpoints = {one.endpoint for one in schedule} | {f"GET /{name}" for name in gone | answered}
    policy = Policy(
        tuple(f"GET /{name}" for name in sorted(gone)), tuple(GivenAnswer(f"GET /{name}") for name in sorted(answered))
    )
    left, kept_back = withhold(schedule, resolve(policy, endpoints))
    before = {one.due_s: one for one in schedule}
    sent = {one.due_s for one in left}
    # Those that have no right to be there, worked out the slow way.
    missing: set[int] = set()
    for one in schedule:
        is_gone = one.endpoint[5:] in gone - answered
        if is_gone or any(inject.origin in missing for inject in one.injects):
            missing.add(one.request)
    assert sent == {one.due_s for one in schedule if one.request not in missing}
    assert sum(kept_back.left_out.values()) + sum(kept_back.needing.values()) == len(missing)
    assert sum(kept_back.answered.values()) == sum(one.endpoint[5:] in answered for one in left)
    for one in left:
        old = before[one.due_s]
        after = old.after
        while after is not None and after in missing:
            after = schedule.requests[after].after
        assert (None if one.after is None else left.requests[one.after].due_s) == (
            None if after is None else schedule.requests[after].due_s
        )
        assert [left.requests[inject.origin or 0].due_s for inject in one.injects] == [
            schedule.requests[inject.origin or 0].due_s for inject in old.injects
        ]
        assert dataclasses.replace(one, request=0, after=None, injects=()) == dataclasses.replace(
            old, request=0, after=None, injects=()
        )
    file: Path = tmp_path_factory.mktemp("schedule") / "schedule.parquet"
    write_schedule(left, file)
    assert read_schedule(file) == left


@pytest.mark.parametrize(
    "path",
    ["/mail/send", "//mail/send", "/Mail/send", "/%6dail/send", "/./mail/send", "/x/../mail/send", "/mail;x=1/send"],
)
def test_whatever_a_server_reads_as_a_path_is_it(path: str) -> None:
    withheld = resolve(Policy(leave_out=("* /mail/*",)), [f"POST {path}", "GET /mails"])
    assert withheld.left_out == {f"POST {path}"}


def test_many_stars_are_one() -> None:
    with pytest.raises(InputError, match="fits no endpoint"):
        resolve(Policy(leave_out=(f"* /{'*' * 200}x",)), ["GET /" + "a" * 2000])
