"""Real locust processes whose clients do not give up, against a real server that fails for a while."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from replay.scenario.schedule import Extract, Inject, PlannedRequest

Plan = Callable[..., PlannedRequest]

SOON = "Retry(times={times}, first_s=0.05, jitter=False, on=({on}))"
TOKEN = Extract("json:/access_token", "old")


def bearer(number: int) -> dict[str, Any]:
    return {"headers": (("Authorization", "Bearer old"),), "injects": (Inject("bearer", "old", number),)}


@pytest.mark.parametrize("failure", ["503", "drop"])
def test_a_request_is_sent_again_until_it_succeeds(stage: Any, room: Any, planned: Plan, failure: str) -> None:
    room.write(
        [
            planned(0, f"/flaky/2/{failure}", extracts=(Extract("json:/id", "captured"),)),
            planned(1, "/v2/events/captured", 0.01, after=0, injects=(Inject("path", "captured", 0),)),
        ],
        on_failure=SOON.format(times=3, on='503, "no connection"'),
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert stage.paths() == [*[f"/flaky/2/{failure}"] * 3, "/v2/events/after%202"]
    first = run.row(0)
    assert first["outcome"] == ("server error" if failure == "503" else "no connection")  # the first attempt's
    again, last = run.retries()
    assert [row["attempt"] for row in (again, last)] == [2, 3]
    why = "503" if failure == "503" else "no connection"
    assert (again["why"], again["outcome"], last["why"], last["outcome"]) == (why, first["outcome"], why, "ok")
    assert again["sent_s"] >= first["done_s"] + 0.05
    assert last["sent_s"] >= again["done_s"] + 0.1  # it doubles
    waited = run.row(1)
    assert waited["waited_s"] == pytest.approx(last["done_s"] - 0.01)
    assert waited["outcome"] == "ok"
    summary = run.summary()
    assert (summary["planned"], summary["observed"], summary["retries"]) == (2, 2, 2)


def test_the_last_failure_counts_for_those_that_follow(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/flaky/9/503", extracts=(Extract("json:/id", "captured"),)),
            planned(1, "/v2/events/captured", 0.01, after=0, injects=(Inject("path", "captured", 0),)),
        ],
        on_failure=SOON.format(times=2, on="503,"),
    )
    run = room.play(stage.url)
    assert stage.paths() == ["/flaky/9/503"] * 3
    assert run.row(1)["error"] == "no value from request 0 (it answered 503)"
    assert run.row(1)["caused_by"] == 0


def test_each_has_its_own_way_and_what_failed_in_the_capture_is_left_to_the_schedule(
    stage: Any, room: Any, planned: Plan
) -> None:
    soon = SOON.format(times=1, on='500, 503, "no connection"')
    room.write(
        [
            planned(0, "/flaky/5/503", client="c1"),
            planned(1, "/flaky/6/503", 0.01, client="c2"),
            planned(2, "/flaky/7/503", 0.02, client="c1", method="POST"),
            planned(3, "/flaky/8/503", 0.03, client="c1", expected_status=503),
            planned(4, "/flaky/9/500", 0.04, client="c1", expected_status=None),
            planned(5, "/flaky/9/404", 0.05, client="c1"),
        ],
        on_failure=f'{{"*": "give_up", "c1": {soon}, "POST /flaky/7/503": "give_up"}}',
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert [row["request"] for row in run.retries()] == [0]
    assert len(stage.got()) == 7


def test_prepare_is_called_for_every_attempt(stage: Any, room: Any, planned: Plan) -> None:
    prepare = (
        "import dataclasses; self.n = getattr(self, 'n', 0) + 1; "
        "return dataclasses.replace(request, query=f'{request.request}-{self.n}')"
    )
    room.write([planned(0, "/flaky/1/502")], prepare=prepare, on_failure=SOON.format(times=1, on="502,"))
    room.play(stage.url)
    assert [note["query"] for note in stage.got()] == ["0-1", "0-2"]


def test_nothing_is_sent_again_after_the_end(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [planned(0, "/flaky/9/503")], on_failure="Retry(times=20, first_s=0.6, backoff='constant', jitter=False)"
    )
    run = room.play(stage.url, timeout_s=1.0)
    assert run.code == 0, run.said
    assert 1 <= len(run.retries()) <= 2
    assert all(row["sent_s"] <= 1.5 for row in run.retries())


def test_a_refused_token_is_renewed_once_for_all(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/token", method="POST", extracts=(TOKEN,)),
            planned(1, "/revoke", 0.2, client="c2"),
            *(planned(number, "/guarded", 0.5, after=0, **bearer(0)) for number in (2, 3, 4)),
            planned(5, "/guarded", 1.5, after=0, **bearer(0)),
        ],
        on_failure='"reauth"',
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert stage.paths().count("/token") == 2
    rows = run.retries()
    assert sorted((row["request"], row["why"], row["outcome"]) for row in rows) == [
        (0, "login", "ok"),
        *((number, "401", "ok") for number in (2, 3, 4)),
    ]
    assert {row["caused_by"] for row in rows if row["why"] == "login"} <= {2, 3, 4}
    assert [run.row(number)["outcome"] for number in (2, 3, 4, 5)] == ["refused", "refused", "refused", "ok"]


def test_a_renewal_that_counts_once_is_replaced_by_the_first_login(stage: Any, room: Any, planned: Plan) -> None:
    renewal = Extract("json:/renewal", "1")
    room.write(
        [
            planned(
                0, "/renew", method="POST", body=b"password", extracts=(Extract("json:/access_token", "older"), renewal)
            ),
            planned(
                1,
                "/renew",
                0.1,
                method="POST",
                after=0,
                headers=(("Content-Type", "application/x-www-form-urlencoded"),),
                body=b"renewal=1",
                injects=(Inject("form:renewal", "1", 0),),
                extracts=(TOKEN,),
            ),
            planned(2, "/revoke", 0.4, client="c2"),
            planned(3, "/guarded", 0.6, after=1, **bearer(1)),
            planned(4, "/guarded", 0.9, after=3, **bearer(1)),
        ],
        on_failure='{"GET *": "reauth"}',
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert [(row["request"], row["attempt"], row["why"], row["status"]) for row in run.retries()] == [
        (1, 2, "login", 400),
        (0, 2, "login", 200),
        (3, 2, "401", 200),
    ]
    assert run.row(4)["outcome"] == "ok"


def test_who_is_refused_for_good_gives_up(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/broken", method="POST", expected_status=500, extracts=(TOKEN,)),
            planned(1, "/guarded", 0.1, after=0, **bearer(0)),
            planned(2, "/guarded", 0.2, headers=(("Authorization", "Bearer x-0"),)),
        ],
        on_failure='"reauth"',
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert [row["why"] for row in run.retries()] == ["login"]
    assert run.row(1)["outcome"] == run.row(2)["outcome"] == "refused"


def test_an_interruption_ends_retries_too(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [planned(0, "/flaky/99/503"), planned(1, "/ok", 60.0)],
        on_failure='Retry(times=20, first_s=0.05, backoff="constant", most_s=0.05)',
    )
    with room.process(stage.url) as process:
        deadline = time.monotonic() + 30
        while len(stage.got()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        ended = process.wait(20)
    run = room.result(ended)
    assert ended == 130, run.said
    assert run.row(0)["outcome"] == "server error"
    assert len(run.retries()) >= 1
    assert run.summary()["observed"] == 2


def test_a_word_that_is_no_policy_ends_with_a_sentence(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0)], on_failure='"always"')
    run = room.play(stage.url)
    assert run.code == 2
    assert "on_failure is 'always' for '*'." in run.said
    assert stage.got() == []
