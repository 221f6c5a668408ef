"""``replay build`` with what must not reach the target."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.scenario.locustfile import read_scenario
from replay.traffic import Exchange, Request, Response

JSON = (("content-type", "application/json"),)
ANSWERS = """
[[answers]]
endpoint = "POST /v2/payments"
status = 201
json = { id = "{uuid}" }
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A client pays, looks at each payment, and sends mails; recorded by something that keeps no bodies of mails."""
    folder, start = tmp_path / "shop", datetime(2026, 1, 5, 9, tzinfo=UTC)
    with CaptureWriter(folder, environment="stage", hosts=["a.test"], scrubber=None) as writer:
        for number in range(10):
            paid = f"paid-{number:04}a7f3c9d1e5"
            made = f'{{"id":"{paid}"}}'.encode()
            pay = Request("POST", "a.test", "/v2/payments", headers=JSON, body=b'{"amount":5}')
            look = Request("GET", "a.test", f"/v2/payments/{paid}")
            mail = Request("POST", "a.test", "/mail/send", headers=(*JSON, ("content-length", "9")))
            for at_s, request, status, body in [(0, pay, 201, made), (0.2, look, 200, made), (0.4, mail, 202, b"{}")]:
                at = start + timedelta(seconds=number + at_s)
                writer.add(Exchange(at, 0.01, "till", "till", request, Response(status, JSON, body, len(body))))
    return folder


def test_the_two_kinds_of_left_out_are_kept_apart(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop.py"
    assert run(["build", str(capture), "--out", str(out)]) == 0
    assert "Left out, as the capture lacks their bodies: 10 requests (33.3%)." in capsys.readouterr().out
    assert run(["build", str(capture), "--out", str(out), "--leave-out", "* /mail/*"]) == 0
    told = capsys.readouterr().out
    assert "lacks their bodies" not in told
    assert "Left out as was asked: 10 requests of 30 (33.3%), all of POST /mail/send." in told
    scenario = read_scenario(out)
    assert (scenario.meta["left_out"], scenario.meta["kept_back"]["left_out"]) == ({}, {"POST /mail/send": 10})
    assert "Left out as was asked: 10 requests" in out.read_text()
    assert run(["build", str(capture), "--out", str(out), "--leave-out", "POST /v2/*"]) == 2
    assert "nothing is left to be sent" in capsys.readouterr().err  # a look at a payment needs its id


def test_answers_are_written_beside_the_scenario(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, answers = tmp_path / "shop.py", tmp_path / "answers.toml"
    answers.write_text(ANSWERS + '[[answers]]\nendpoint = "POST /mail/*"\nstatus = 202\n')
    asked = ["build", str(capture), "--out", str(out), "--answers", str(answers), "--json"]
    assert run([*asked, "--leave-out", "WRITES *"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["requests"] == 30  # without its body a request can be answered, not sent
    assert document["left_out"] == document["kept_back"]["left_out"] == {}
    assert document["kept_back"]["answered"] == {"POST /mail/send": 10, "POST /v2/payments": 10}
    assert document["kept_back"]["places"] == {"POST /v2/payments": ["json:/id"]}
    scenario = read_scenario(out)
    assert sorted(scenario.answers) == ["POST /mail/send", "POST /v2/payments"]
    assert (scenario.data / "answers.json").stat().st_mode & 0o777 == 0o600
    assert run(["build", str(capture), "--out", str(out)]) == 0
    assert read_scenario(out).answers == {}
    assert not (scenario.data / "answers.json").exists()


def test_a_modelled_schedule_keeps_back_too(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, answers = tmp_path / "shop.py", tmp_path / "answers.toml"
    answers.write_text(ANSWERS)
    asked = ["build", str(capture), "--out", str(out), "--model", "--duration", "60s"]
    assert run([*asked, "--answers", str(answers)]) == 0
    assert "Answered without being sent: " in capsys.readouterr().out
    scenario = read_scenario(out)
    counts = scenario.meta["kept_back"]["answered"]
    assert counts == {"POST /v2/payments": sum(one.method == "POST" for one in scenario.schedule)}
    assert run([*asked, "--leave-out", "* /v2/payments"]) == 2
    assert "nothing is left to be sent" in capsys.readouterr().err


def test_what_is_wrong_is_said(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["build", str(capture), "--out", str(tmp_path / "shop.py")]
    assert run([*asked, "--leave-out", "POST /v2/paiments"]) == 2
    assert "Near it: POST /v2/payments" in capsys.readouterr().err
    assert run([*asked, "--answers", str(tmp_path / "nowhere.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "shop.py").exists()
