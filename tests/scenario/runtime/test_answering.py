"""Requests that the scenario answers itself, in a real locust: none is sent, and what hangs on them goes on."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from replay.scenario.answers import ANSWERS, GivenAnswer, write_answers
from replay.scenario.runtime.answering import notes_on
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule

Plan = Callable[..., PlannedRequest]
ID = Extract("json:/id", "old")
PAY = GivenAnswer("POST /pay", 201, (), '{"id": "{uuid}"}')


def give(room: Any, *answers: GivenAnswer) -> None:
    """Give a scenario that was written these answers."""
    data = room.folder / "production.data"
    write_answers({answer.endpoint: answer for answer in answers}, data)
    meta = json.loads((data / "scenario.json").read_text())
    meta["kept_back"] = {"answered": dict.fromkeys((answer.endpoint for answer in answers), 1)}
    (data / "scenario.json").write_text(json.dumps(meta))


def paying(planned: Plan) -> list[PlannedRequest]:
    pay = {"method": "POST", "body": b"{}", "extracts": (ID,), "expected_status": 201}
    return [
        planned(0, "/ok/before"),
        planned(1, "/pay", 0.1, after=0, **pay),
        planned(2, "/ok/old", 0.2, after=1, injects=(Inject("path", "old", 1),)),
        planned(3, "/pay", 0.3, client="c2", visit=1, **pay),
        planned(4, "/ok/old", 0.4, client="c2", visit=1, after=3, injects=(Inject("path", "old", 3),)),
    ]


def test_later_requests_have_what_the_answer_hands_out(stage: Any, room: Any, planned: Plan) -> None:
    room.write(paying(planned))
    give(room, GivenAnswer("POST /pay", 201, (), '{"id": "{uuid}"}', 0.6))
    run = room.play(stage.url)
    assert run.code == 0, run.said
    before, *after = stage.paths()
    assert before == "/ok/before"
    assert after == [f"/ok/{json.loads(PAY.response(number).body or b'')['id']}" for number in (1, 3)]
    frame = run.observations()
    assert frame.request.tolist() == [0, 2, 4]  # what was not Stage's is no evidence
    assert (frame.outcome == "ok").all()
    assert run.row(2)["waited_s"] >= 0.5 - 0.05  # until the answer was due: 0.1 and its delay of 0.6, against 0.2
    summary = run.summary()
    assert (summary["planned"], summary["observed"], summary["answered"]) == (3, 3, 2)
    assert summary["complete"]
    assert "2 requests to POST /pay answered by the scenario, not sent." in run.said


def test_copies_and_rounds_have_values_of_their_own(stage: Any, room: Any, planned: Plan) -> None:
    room.write(paying(planned))
    give(room, PAY)
    run = room.play(stage.url, duration_s=1.2, scale=2.0)  # three rounds of 0.4 s
    assert run.code == 0, run.said
    summary, paths = run.summary(), stage.paths()
    assert summary["planned"] == summary["observed"] == len(paths)
    looks = [path for path in paths if path != "/ok/before"]
    assert 5 < len(looks) == len(set(looks)) <= summary["answered"]  # of some payments the end cuts the look
    assert "/pay" not in paths


def test_what_an_answer_lacks_is_told_and_leaves_its_consumers_unsent(stage: Any, room: Any, planned: Plan) -> None:
    room.write(paying(planned))
    give(room, GivenAnswer("POST /pay", 201, (), '{"number": 1}'))
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert stage.paths() == ["/ok/before"]
    assert run.row(2)["error"] == "no value from request 1 (its answer has no json:/id)"
    assert run.said.count("The answer to POST /pay has no json:/id, which later requests send back") == 1


def test_a_chain_that_stage_broke_stays_broken(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/broken", method="POST", extracts=(Extract("json:/order", "o"),)),
            planned(1, "/pay", 0.1, method="POST", after=0, extracts=(ID,), injects=(Inject("path", "o", 0),)),
            planned(2, "/ok/old", 0.2, after=1, injects=(Inject("path", "old", 1),)),
        ]
    )
    give(room, PAY)
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert stage.paths() == ["/broken"]
    assert run.row(2)["caused_by"] == 0
    assert run.summary()["answered"] == 0


def test_no_login_that_is_answered_is_ever_sent(stage: Any, room: Any, planned: Plan) -> None:
    token = Extract("json:/access_token", "old")
    bearer = {"headers": (("Authorization", "Bearer old"),), "injects": (Inject("bearer", "old", 0),)}
    room.write(
        [
            planned(0, "/token", method="POST", extracts=(token,)),
            planned(1, "/guarded", 0.1, after=0, **bearer),
            planned(2, "/revoke", 0.2, after=1),
            planned(3, "/guarded", 0.3, after=2, **bearer),
        ],
        on_failure='{"*": Retry(times=2, first_s=0.05, on=(401, 500), reauth=True)}',
    )
    give(room, GivenAnswer("POST /token", 200, (), '{"access_token": "made-0"}'))
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert "/token" not in stage.paths()
    assert run.row(3)["status"] == 401
    assert "made-0" not in (run.arm / "samples.jsonl").read_text()


def test_without_its_answers_nothing_is_played(stage: Any, room: Any, planned: Plan) -> None:
    room.write(paying(planned))
    give(room, PAY)
    (room.folder / "production.data" / ANSWERS).unlink()
    run = room.play(stage.url)
    assert run.code == 2
    assert "do not agree on whether POST /pay is answered" in run.said
    assert stage.paths() == []


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [(PAY, False), (GivenAnswer("POST /pay", 201, (("Location", "/pay/1"),)), True), (GivenAnswer("POST /pay"), True)],
)
def test_notes(planned: Plan, answer: GivenAnswer, lacks: bool) -> None:
    schedule = Schedule(tuple(paying(planned)), 1.0)
    first, *more = notes_on({"POST /pay": answer}, schedule)
    assert first == "2 requests to POST /pay answered by the scenario, not sent."
    assert bool(more) == lacks
    assert notes_on({}, schedule) == []
