"""Answers that a scenario gives itself: what may stand in them, what a request gets, and how they are kept."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from replay.errors import InputError
from replay.scenario.answers import (
    ANSWERS,
    GivenAnswer,
    read_answer,
    read_answers,
    read_answers_file,
    write_answers,
)

PAY = "POST /v2/payments"


def said(*endpoints: str) -> dict[str, Any]:
    return {"kept_back": {"answered": dict.fromkeys(endpoints, 1)}}


def test_each_request_gets_values_of_its_own_and_the_same_in_every_arm() -> None:
    table = {
        "endpoint": PAY,
        "status": 201,
        "json": {"id": "{uuid}", "no": "{number}", "again": "{uuid}"},
        "headers": {"Location": "/v2/payments/{uuid}"},
        "delay": "0.2s",
    }
    answer = read_answer(table, "x")
    assert (answer.endpoint, answer.status, answer.delay_s) == (PAY, 201, 0.2)
    responses = [answer.response(number) for number in range(500)]
    bodies = [json.loads(response.body or b"") for response in responses]
    assert len({body["id"] for body in bodies}) == len({body["no"] for body in bodies}) == 500
    assert all(uuid.UUID(body["id"]).version == 4 and body["id"] == body["again"] for body in bodies)
    assert all(0 < int(body["no"]) < 2**31 for body in bodies)
    assert responses[7].header("location") == f"/v2/payments/{bodies[7]['id']}"
    assert responses == [answer.response(number) for number in range(500)]


def test_a_body_is_text_and_other_braces_stay() -> None:
    answer = read_answer({"endpoint": PAY, "body": '{"id": {number}, "{x}": "{{uuid}}"}'}, "x")
    body = (answer.response(5).body or b"").decode()
    assert body.startswith('{"id": 1000000005, "{x}": "{')
    assert (answer.status, answer.headers, answer.delay_s) == (200, (), 0.0)
    assert GivenAnswer(PAY).response(0).body == b""


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (3, "must be a table"),
        ({}, "needs an endpoint"),
        ({"endpoint": PAY, "code": 200}, "unknown key 'code'"),
        ({"endpoint": PAY, "status": 99}, "the status 99"),
        ({"endpoint": PAY, "status": True}, "the status True"),
        ({"endpoint": PAY, "status": "200"}, "the status '200'"),
        ({"endpoint": PAY, "body": {"id": 1}}, "no text"),
        ({"endpoint": PAY, "body": "x", "json": {}}, "json and body"),
        ({"endpoint": PAY, "headers": ["x"]}, "no table of texts"),
        ({"endpoint": PAY, "headers": {"x": 1}}, "no table of texts"),
        ({"endpoint": PAY, "delay": 2}, "the delay 2"),
        ({"endpoint": PAY, "delay": "2"}, "the delay '2'"),
        ({"endpoint": PAY, "delay": "-2s"}, "the delay '-2s'"),
        ({"endpoint": PAY, "delay": "2h"}, "the delay '2h'"),
        ({"endpoint": PAY, "body": "${STAGE_TOKEN}"}, "names a variable"),
        ({"endpoint": PAY, "json": {"token": "${STAGE_TOKEN}"}}, "names a variable"),
        ({"endpoint": PAY, "headers": {"Set-Cookie": "sid=${SID}"}}, "names a variable"),
    ],
)
def test_what_is_no_answer_is_refused(table: object, sentence: str) -> None:
    with pytest.raises(InputError, match="here") as refused:
        read_answer(table, "here")
    assert sentence in refused.value.message


def test_a_file_has_a_list_of_them(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(
        '[[answers]]\nendpoint = "POST /a"\n[[answers]]\nendpoint = "POST /b"\njson = { at = 2026-01-05 }\n'
    )
    first, second = read_answers_file(file)
    assert (first.endpoint, second.endpoint, second.body) == ("POST /a", "POST /b", '{"at": "2026-01-05"}')
    for text, sentence in [
        ("", "no list of answers"),
        ("[answers]\n", "no list of answers"),
        ('x = 1\n[[answers]]\nendpoint = "POST /a"\n', "no list of answers"),
        ("[[answers]]\n", r"\[\[answers\]\] number 1 needs an endpoint"),
        ("[[", "cannot be read"),
    ]:
        file.write_text(text)
        with pytest.raises(InputError, match=sentence):
            read_answers_file(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_answers_file(tmp_path / "nowhere.toml")


def test_they_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    answer = GivenAnswer("POST /v2/*", 201, (("Location", "/é"),), '{"id": "{uuid}"}', 0.5)
    write_answers({PAY: answer}, tmp_path)
    assert (tmp_path / ANSWERS).stat().st_mode & 0o777 == 0o600
    (kept,) = read_answers(tmp_path, said(PAY)).values()
    assert kept == GivenAnswer(PAY, 201, answer.headers, answer.body, 0.5)
    write_answers({}, tmp_path)
    assert not (tmp_path / ANSWERS).exists()
    assert read_answers(tmp_path, {}) == read_answers(tmp_path, said()) == {}


@pytest.mark.parametrize(
    ("text", "meta", "sentence"),
    [
        (None, said(PAY), f"whether {PAY} is answered"),
        ("[]", said(PAY), f"whether {PAY} is answered"),
        ('[{"endpoint": "POST /x", "status": 200, "headers": [], "body": "", "delay_s": 0}]', {}, "whether POST /x"),
        ('[{"endpoint": "POST /x"}]', said("POST /x"), "cannot be read"),
        ("[", said(PAY), "cannot be read"),
        ("3", said(PAY), "cannot be read"),
    ],
)
def test_a_scenario_that_has_lost_its_answers_is_refused(
    tmp_path: Path, text: str | None, meta: dict[str, Any], sentence: str
) -> None:
    if text is not None:
        (tmp_path / ANSWERS).write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_answers(tmp_path, meta)
