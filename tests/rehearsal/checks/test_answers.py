"""What answers say of an identity."""

import pytest

from replay.evidence.values import Outcome, outcome_of
from replay.rehearsal.checks.answers import Answer, judge_visit
from replay.rehearsal.checks.check import FAILED, NOT_ASKED, PASSED, PLAN, STAGE
from replay.scenario.schedule import Inject, PlannedRequest


def planned(number: int, expected: int | None = 200, *, login: bool = False) -> PlannedRequest:
    injects = (Inject("form:client_secret", "x", credential="client_secret"),) if login else ()
    return PlannedRequest(
        number,
        0,
        "a",
        f"GET /{number}",
        0.0,
        None,
        "GET",
        f"/{number}",
        "",
        (),
        None,
        expected,
        "{id:number}",
        (),
        injects,
    )


def answer(status: int) -> Answer:
    return Answer(status, outcome_of(status, "{id:number}"))


UNSENT = Answer(None, Outcome.UNSENT)
GONE = Answer(None, Outcome.NO_CONNECTION)


@pytest.mark.parametrize(
    ("requests", "answers", "state", "fault", "said"),
    [
        (
            [planned(0), planned(1)],
            [answer(200), answer(200)],
            PASSED,
            "",
            "Accepted: 2 of 2 requests as in the capture.",
        ),
        (
            [planned(0), planned(1)],
            [answer(401), UNSENT],
            FAILED,
            PLAN,
            "Refused with 401 at GET /0, where the capture had 200.",
        ),
        ([planned(0), planned(1)], [answer(200), answer(403)], FAILED, PLAN, "Refused with 403 at GET /1"),
        (
            [planned(0, login=True), planned(1)],
            [answer(429), answer(401)],
            FAILED,
            STAGE,
            "Stage limits how often it is asked: 429 at GET /0.",
        ),
        ([planned(0, 429), planned(1)], [answer(429), answer(200)], PASSED, "", "2 of 2"),
        ([planned(0, login=True)], [answer(400)], FAILED, PLAN, "Refused with 400"),
        ([planned(0)], [answer(400)], PASSED, "", "0 of 1 request as"),
        ([planned(0, 401), planned(1)], [answer(401), answer(200)], PASSED, "", "2 of 2"),
        ([planned(0, 401)], [answer(401)], PASSED, "", "1 of 1"),
        ([planned(0, None)], [answer(401)], PASSED, "", "0 of 1"),
        ([planned(0), planned(1)], [answer(503), GONE], FAILED, STAGE, "None of its 2 requests was answered well"),
        ([planned(0), planned(1)], [answer(500), answer(404)], PASSED, "", "0 of 2"),
        ([planned(0)], [UNSENT], NOT_ASKED, "", "None of its requests could be sent."),
        ([planned(0)], [], NOT_ASKED, "", "None of its requests could be sent."),
        ([planned(0), planned(1)], [answer(200), UNSENT], PASSED, "", "1 of 1"),
        ([planned(number) for number in range(5)], [answer(302)] * 5, FAILED, PLAN, "only 0 of 5 requests as"),
        ([planned(0), planned(1, 302)], [answer(304), answer(303)], PASSED, "", "2 of 2"),
        ([planned(0, None)], [answer(302)], PASSED, "", "1 of 1"),
    ],
)
def test_answers(requests, answers, state: str, fault: str, said: str) -> None:
    check = judge_visit("identity a of x", requests, dict(enumerate(answers)))
    assert (check.state, check.fault) == (state, fault), check
    assert said in check.sentence


def test_what_came_otherwise_is_told() -> None:
    check = judge_visit("x", [planned(0), planned(1)], {0: answer(404), 1: answer(500)})
    assert check.hint == "Not as in the capture: GET /0 got 404 (refused) instead of 200, first of 2."


@pytest.mark.parametrize(("alike", "state"), [(4, PASSED), (3, FAILED)])
def test_one_that_is_taken_and_finds_nothing_fails(alike: int, state: str) -> None:
    requests = [planned(number) for number in range(5)]
    check = judge_visit("identity", requests, {number: answer(200 if number < alike else 404) for number in range(5)})
    assert check.state == state
    assert f"{alike} of 5 requests as in the capture" in check.sentence
