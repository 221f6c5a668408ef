"""Captures without bodies: what is left out, and what a template gives a body."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.cli.main import run
from replay.errors import InputError
from replay.scenario.locustfile import build_scenario, read_scenario
from replay.scenario.payloads import Payload, check_pools, lacks_body, needed_pools, read_payloads
from replay.traffic import Exchange, Request, Response

NOW = datetime(2026, 3, 2, 9, 30, 15, tzinfo=UTC)
LOG = """\
10.0.0.1 - - [02/Mar/2026:09:00:00 +0000] "GET /v1/events/41 HTTP/1.1" 200 512 "-" "curl/8"
10.0.0.1 - - [02/Mar/2026:09:00:01 +0000] "POST /v1/events HTTP/1.1" 201 64 "-" "curl/8"
10.0.0.1 - - [02/Mar/2026:09:00:02 +0000] "HEAD /v1/events/41 HTTP/1.1" 200 0 "-" "curl/8"
10.0.0.1 - - [02/Mar/2026:09:00:03 +0000] "PUT /v1/events/41 HTTP/1.1" 200 64 "-" "curl/8"
10.0.0.1 - - [02/Mar/2026:09:00:04 +0000] "DELETE /v1/events/41 HTTP/1.1" 204 0 "-" "curl/8"
10.0.0.1 - - [02/Mar/2026:09:00:05 +0000] "GET /v1/events/42 HTTP/1.1" 200 512 "-" "curl/8"
10.0.0.1 - - [02/Mar/2026:09:00:06 +0000] "PUT /v1/events/42 HTTP/1.1" 200 64 "-" "curl/8"
"""
PAYLOADS = """
["PUT /v1/events/{event_id}"]
json = { id = "{event_id:number}", venue = "{venue_id}", at = "{now}" }
"""


def payload(kind: str, value: Any) -> Payload:
    return Payload(kind, value, "x/y")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    log = tmp_path / "access.log"
    log.write_text(LOG)
    out = tmp_path / "captures" / "log"
    assert run(["import", str(log), "--out", str(out), "--host", "api.test", "--environment", "stage"]) == 0
    return out


def test_writes_without_a_known_body_are_left_out_and_counted(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "log.py"
    assert run(["build", str(capture), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "Left out, as the capture lacks their bodies: 3 requests (42.9%)." in told
    assert "2 PUT /v1/events/{event_id}" in told
    scenario = read_scenario(out)
    assert scenario.meta["left_out"] == {"PUT /v1/events/{event_id}": 2, "POST /v1/events": 1}
    assert [one.method for one in scenario.schedule] == ["GET", "HEAD", "DELETE", "GET"]
    assert [one.request for one in scenario.schedule] == [0, 1, 2, 3]
    assert [one.after for one in scenario.schedule] == [None, 0, 1, 2]
    assert {one.expected_shape for one in scenario.schedule} == {None}
    assert "3 requests, the most of PUT" in out.read_text()
    assert run(["build", str(capture), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"]["POST /v1/events"] == 1


def test_a_template_brings_them_back(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    templates, out = tmp_path / "payloads.toml", tmp_path / "log.py"
    templates.write_text(PAYLOADS)
    assert run(["build", str(capture), "--out", str(out), "--payloads", str(templates)]) == 0
    assert "Pools are needed for the payloads: venue_id" in capsys.readouterr().out
    scenario = read_scenario(out)
    assert [one.method for one in scenario.schedule] == ["GET", "HEAD", "PUT", "DELETE", "GET", "PUT"]
    assert scenario.meta["left_out"] == {"POST /v1/events": 1}
    assert scenario.meta["pools"] == ["venue_id"]
    assert "--pool venue_id=venue_id.csv" in out.read_text()
    assert (scenario.data / "payloads.toml").read_text() == PAYLOADS
    build_scenario(capture, out)
    assert not (scenario.data / "payloads.toml").exists()


def test_nothing_to_send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "access.log"
    log.write_text(LOG.splitlines()[1] + "\n")
    assert run(["import", str(log), "--out", str(tmp_path / "c"), "--host", "api.test", "--environment", "qa"]) == 0
    assert run(["build", str(tmp_path / "c"), "--out", str(tmp_path / "x.py")]) == 2
    assert "no request that can be sent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "headers", "body", "answer", "lacks"),
    [
        ("POST", {}, None, None, True),
        ("POST", {"user-agent": "x", "referer": "y"}, None, None, True),
        ("POST", {"content-length": "0", "content-type": "text/plain"}, None, None, False),
        ("POST", {"content-length": "12"}, None, b"", True),
        ("POST", {"content-type": "text/plain"}, None, b"{}", True),
        ("POST", {}, None, b"", False),
        ("POST", {"Accept": "*/*"}, None, None, False),
        ("POST", {}, b"x", None, False),
        ("DELETE", {}, None, None, False),
        ("DELETE", {"content-length": "3"}, None, None, True),
        ("GET", {"content-type": "application/json"}, None, None, False),
    ],
)
def test_no_body_and_no_body_kept(
    method: str, headers: dict[str, str], body: bytes | None, answer: bytes | None, lacks: bool
) -> None:
    request = Request(method, "api.test", "/x", headers=tuple(headers.items()), body=body)
    exchange = Exchange(NOW, 0.1, "c", "", request, Response(200, (), answer))
    assert lacks_body(exchange) == lacks


def test_a_template_for_a_method_that_has_no_body_as_a_rule() -> None:
    exchange = Exchange(NOW, 0.1, "c", "", Request("DELETE", "api.test", "/x"), Response(200))
    assert lacks_body(exchange, expected=True)


def test_placeholders() -> None:
    value = {"{a}": ["{a:number}", "x{a}", "{{a}}", 1, True], "id": "{uuid}", "r": "{random:12}", "d": "{digits:5}"}
    body = json.loads(payload("json", value).fill(lambda name: {"a": "17"}[name], NOW))
    assert body["17"] == [17, "x17", "{a}", 1, True]
    assert len(body["id"]) == 36
    assert body["r"].isalnum()
    assert len(body["r"]) == 12
    assert body["d"].isdigit()
    text = payload("text", "<a>{now} {now:%d}</a>").fill(str, NOW)
    assert text == b"<a>2026-03-02T09:30:15Z 02</a>"
    assert payload("form", {"a b": "{x}", "n": 1}).fill(lambda _: "1&2", NOW) == b"a+b=1%262&n=1"


@given(st.text())
def test_whatever_a_pool_gives_the_json_holds(value: str) -> None:
    body = payload("json", {"a": "{x}", "b": ["-{x}-"]}).fill(lambda _: value, NOW)
    assert json.loads(body.decode("utf-8", "surrogatepass")) == {"a": value, "b": [f"-{value}-"]}


def test_the_pools_that_templates_need(tmp_path: Path) -> None:
    file = tmp_path / "payloads.toml"
    file.write_text(PAYLOADS)
    templates = read_payloads(file)
    assert needed_pools(templates) == {"venue_id": "PUT /v1/events/{event_id}"}
    check_pools(templates, ["venue_id"])
    with pytest.raises(InputError, match="needs a pool for venue_id"):
        check_pools(templates, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "cannot be read"),
        ('"POST /x" = 1', "must be a table"),
        ('["POST /x"]\n', "needs one of"),
        ('["POST /x"]\njson = {}\ntext = ""\n', "needs one of"),
        ('["POST /x"]\njsn = {}\n', "unknown key 'jsn'"),
        ('["POST /x"]\nform = "a=b"\n', "no form template"),
        ('["POST /x"]\ntext = "{random}"\n', "without a length"),
        ('["PUT /v1/event"]\njson = {}\n', "fits no endpoint"),
    ],
)
def test_templates_that_are_none(capture: Path, text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "payloads.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        build_scenario(capture, tmp_path / "x.py", payloads=file)
