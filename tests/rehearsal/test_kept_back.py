"""What a plan keeps from Stage: read, told beforehand, and not sent, up to a whole rehearsal over a real database."""

import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.errors import InputError, PlanError
from replay.evidence.run import read_run
from replay.judge.verdict import judge_run
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.report.write import write_reports
from replay.scenario.answers import GivenAnswer
from replay.scenario.locustfile import build_scenario
from replay.scenario.policy import Policy
from replay.traffic import Exchange, Request, Response

KEY = "stage-key-0a1b2c3d4e5f"
JSON = (("content-type", "application/json"),)
ANSWER = {"endpoint": "post /v2/payments", "status": 201, "body": '{"id": "paid-{uuid}"}', "delay": "50ms"}


def read(setting):
    return read_plan(setting.write(), setting.environment)


def check(setting):
    return check_plan(read(setting), setting.out)


def answer(setting, **values: object) -> None:
    setting.values["[workloads.production.answers]"] = values  # written with two brackets


@pytest.fixture
def selling(setting):
    """A plan over traffic that pays with a key, reads on with the payment's id, and sends mails."""
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    with CaptureWriter(setting.folder / "shop", environment="production", hosts=["a.test"], scrubber=None) as writer:

        def write(at_s: float, method: str, path: str, answer: bytes, status: int, **more: object) -> None:
            request = Request(method, "a.test", path, **more)
            response = Response(status, JSON, answer, len(answer))
            writer.add(Exchange(start + timedelta(seconds=at_s), 0.01, "till", "till", request, response))

        for number in range(20):
            at_s, paid = number / 5, f"paid-{number:04}a7f3c9d1e5"
            key = ("x-api-key", "captured-0123456789abcdef")
            made = f'{{"id":"{paid}"}}'.encode()
            write(at_s, "POST", "/v2/payments", made, 201, headers=(key, *JSON), body=b'{"amount":5}')
            token = b'{"id":1,"scope":"read"}'
            write(at_s + 0.05, "GET", f"/tokens/{number + 1}", token, 200, headers=(("x-payment", paid),))
            write(at_s + 0.1, "POST", "/mail/send", b"{}", 202, headers=JSON, body=b'{"to":"x"}')
            write(at_s + 0.15, "GET", f"/tokens/{number + 21}", token, 200)
    setting.values["workloads.production"] |= {"capture": "shop"}
    del setting.values["workloads.qa"]
    return setting


def test_a_plan_with_a_policy(selling) -> None:
    selling.values["workloads.production"]["leave_out"] = ["* /mail/*"]
    answer(selling, **ANSWER)
    plan = read(selling)
    given = GivenAnswer("post /v2/payments", 201, (), '{"id": "paid-{uuid}"}', 0.05)
    assert plan.workloads[0].policy == Policy(("* /mail/*",), (given,))
    resolved = plan.resolved["workloads"]["production"]
    assert (resolved["leave_out"], resolved["answers"]) == (["* /mail/*"], [given.to_json()])
    assert "answers" in tomllib.loads(selling.plan.read_text())["workloads"]["production"]


@pytest.mark.parametrize(
    ("more", "answers", "sentence"),
    [
        (
            {"leave_out": ["POST /v2/payment"]},
            {},
            "[workloads.production]: leave_out has 'POST /v2/payment', which fits no",
        ),
        ({"leave_out": ["/mail/*"]}, {}, "which is not a method and a path"),
        ({"leave_out": "* /mail/*"}, {}, '"leave_out" in [workloads.production] must be a list of texts'),
        ({"leave_out": ["* *"]}, {}, "has no request to send"),
        ({}, {"endpoint": "POST /v1/payments"}, "answers has 'POST /v1/payments', which fits no endpoint"),
        ({}, {"endpoint": "* *"}, "has no request to send"),
        ({}, {"status": 200}, "[[workloads.production.answers]] number 1 needs an endpoint"),
        ({}, {"endpoint": "POST *", "body": "${STAGE_DSN}"}, "number 1 names a variable"),
        ({"answers": 3}, {}, "answers of [workloads.production] must be a list of tables"),
    ],
)
def test_a_policy_that_is_none_is_refused(selling, more: dict, answers: dict, sentence: str) -> None:
    selling.values["workloads.production"] |= more
    if answers:
        answer(selling, **answers)
    with pytest.raises((InputError, PlanError)) as refused:
        check(selling)
    assert sentence in refused.value.message
    assert "hush-hush-42" not in refused.value.message


@pytest.mark.parametrize(("more", "answers"), [({"leave_out": ["POST *"]}, {}), ({}, ANSWER)])
def test_a_locustfile_brings_its_own_policy(selling, more: dict, answers: dict) -> None:
    policy = Policy(("* /mail/*",), (GivenAnswer("POST /v2/payments", 201, (), '{"id": "x{number}"}'),))
    build_scenario(selling.folder / "shop", selling.folder / "shop.py", policy=policy)
    selling.values["workloads.production"] = {"locustfile": "shop.py", "role": "production", "duration": "4s"}
    outline = check(selling)
    assert outline.workloads[0].planned == 40
    assert outline.workloads[0].kept_back.answered == {"POST /v2/payments": 20}
    selling.values["workloads.production"] |= more
    if answers:
        answer(selling, **answers)
    with pytest.raises(PlanError, match="is for a capture") as refused:
        check(selling)
    assert "replay build --" in refused.value.hint


@pytest.mark.parametrize(
    ("kept", "named", "sentence"),
    [
        ({"leave_out": ["POST /mail/send"]}, "POST /mail/send", "Left out as was asked: 20 requests"),
        ({"leave_out": ["POST /v2/*"]}, "GET /tokens/{token_id}", None),  # half of them are sent
        ({"leave_out": ["POST /v2/*"]}, "POST /v2/payments", "Left out as was asked: 20 requests"),
        (ANSWER, "POST /v2/payments", "Answered without being sent: 20 requests"),
    ],
)
def test_criteria_for_what_is_never_sent_are_refused(selling, kept: dict, named: str, sentence: str | None) -> None:
    if kept is ANSWER:
        answer(selling, **kept)
    else:
        selling.values["workloads.production"] |= kept
    selling.values[f'criteria.endpoints."{named}"'] = {"outage_s": 1.0}
    if sentence is None:
        assert check(selling).arms
        return
    with pytest.raises(PlanError, match="is for an endpoint to which nothing is sent") as refused:
        check(selling)
    assert sentence in refused.value.hint
    selling.values["workloads.qa"] = {"capture": "shop", "role": "pre-production"}  # which sends it
    assert check(selling).arms
    build_scenario(selling.folder / "shop", selling.folder / "shop.py", policy=Policy(tuple(kept.get("leave_out", ()))))
    selling.values["workloads.production"] = {"locustfile": "shop.py", "role": "production"}
    del selling.values["workloads.qa"]
    if kept is not ANSWER:
        with pytest.raises(PlanError, match="is for an endpoint to which nothing is sent"):
            check(selling)


def test_what_is_kept_back_is_told_beforehand(
    selling, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    selling.values["workloads.production"]["leave_out"] = ["WRITES *"]
    outline = check(selling)
    workload = outline.workloads[0]
    assert workload.kept_back.needing == {"GET /tokens/{token_id}": 20}
    assert workload.planned == sum(workload.due) == 20
    assert workload.left_out == {}
    assert workload.credentials == ()

    answer(selling, **ANSWER)
    workload = check(selling).workloads[0]
    assert (workload.planned, sum(workload.due)) == (40, 40)
    assert workload.credentials == ()  # only what is answered would need the key
    of_all = "20 requests of 80 (25.0%) of its whole capture"
    told = (
        f"Workload production: Left out as was asked: {of_all}, all of POST /mail/send.",
        f"Workload production: Answered without being sent: {of_all}, all of POST /v2/payments.",
        "Workload production: The answer to POST /v2/payments must have json:/id, which later requests send back.",
        (
            "Workload production: What the answer to POST /v2/payments hands out goes to Stage with GET "
            "/tokens/{token_id}: unless Stage takes any, give these an answer too, or leave them out."
        ),
    )
    assert workload.notes == told
    for name, value in selling.environment.items():
        monkeypatch.setenv(name, value)
    assert run(["rehearse", str(selling.plan), "--dry-run", "--offline", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kept_back"]["production"]["answered"] == {"POST /v2/payments": 20}
    assert all(f"Note: {sentence}" in said.err for sentence in told)


@pytest.mark.slow
@pytest.mark.usefixtures("selling")
def test_nothing_that_is_kept_back_reaches_stage(playable, api, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: Counter[str] = Counter()
    payments: list[str] = []
    answers_get = api.RequestHandlerClass.do_GET

    def post(handler: BaseHTTPRequestHandler) -> None:
        posted[handler.path] += 1
        handler.send_error(500)

    def get(handler: BaseHTTPRequestHandler) -> None:
        payments.extend(handler.headers.get_all("x-payment") or [])
        answers_get(handler)

    monkeypatch.setattr(api.RequestHandlerClass, "do_POST", post, raising=False)
    monkeypatch.setattr(api.RequestHandlerClass, "do_GET", get)
    identities = playable.folder / "clients.csv"
    identities.touch(mode=0o600)
    identities.write_text(f"x-api-key\n{KEY}\n")
    playable.values["workloads.production"] |= {"identities": "clients.csv", "leave_out": ["* /mail/*"]}
    answer(playable, **ANSWER)
    conduct(check(playable), playable.out)
    judge_run(playable.out)
    report = write_reports(playable.out).read_text()

    assert not posted
    assert len(payments) == len(set(payments)) * 2 == 40  # each once in the control and once with the steps
    assert not any("a7f3c9d1e5" in one for one in payments)  # Stage never saw production's
    evidence = read_run(playable.out)
    assert evidence.rehearsal["state"] == "complete"
    kept_back = evidence.rehearsal["kept_back"]["production"]
    assert (kept_back["left_out"], kept_back["answered"]) == ({"POST /mail/send": 20}, {"POST /v2/payments": 20})
    assert len(evidence.rehearsal["warnings"]) == 4
    assert "Answered without being sent: 20 requests of 80 (25.0%) of its whole capture" in report
    for arm in evidence.arms.values():
        assert set(arm.observations["endpoint"]) == {"GET /tokens/{token_id}"}
        assert len(arm.observations) == arm.info.planned == 40
    verdict = json.loads((playable.out / "verdict.json").read_text())
    whole = [one["passed"] for one in verdict["criteria"] if one["name"] == "arm_complete"]
    assert whole == [True, True]
    answers = playable.out / "scenarios" / "production.data" / "answers.json"
    assert answers.stat().st_mode & 0o777 == 0o600
    everything = b"".join(file.read_bytes() for file in playable.out.rglob("*") if file.is_file())
    assert KEY.encode() not in everything
    assert b"hush-hush-42" not in everything


def test_identities_that_others_could_read_are_made_private(selling) -> None:
    identities = selling.folder / "clients.csv"
    identities.write_text(f"x-api-key\n{KEY}\n")
    identities.chmod(0o644)
    selling.values["workloads.production"]["identities"] = "clients.csv"
    told = subprocess.run(
        [sys.executable, "-m", "replay", "rehearse", selling.write(), "--dry-run", "--offline"],
        env={**os.environ, **selling.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(mode 644): it has mode 600 now." in told.stderr
    assert identities.stat().st_mode & 0o777 == 0o600
    assert KEY not in told.stderr + told.stdout
    scenario = build_scenario(selling.folder / "shop", selling.folder / "shop.py")
    assert (scenario.data / "identities.example.csv").stat().st_mode & 0o777 == 0o600
