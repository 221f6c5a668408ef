"""`replay build --model`: what it says, what it writes, and what it refuses."""

import ast
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from replay.capture.store import CaptureWriter
from replay.cli.build import command
from replay.errors import InputError
from replay.scenario.identities import needed_credentials
from replay.scenario.locustfile import read_scenario
from replay.traffic import Exchange, Request, Response

FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
JSON = (("Content-Type", "application/json"),)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return recorded(tmp_path / "captures" / "production", clients=5)


def recorded(folder: Path, *, clients: int) -> Path:
    """Each client logs in, and then asks for one thing after the other."""
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    with CaptureWriter(folder, environment="production", hosts=["api.test"], scrubber=None) as writer:
        for number in range(60):
            client, turn = number % clients, number // clients
            token = f"tok{client}Aa9Bb8Cc7Dd6Ee5"
            body = f"client_id=client-{client}&client_secret=hidden{client}Zz9Yy8".encode()
            request = Request("GET", "api.test", f"/events/{turn}", "", (("Authorization", f"Bearer {token}"),))
            if turn == 0:
                request = Request("POST", "api.test", "/token", "", FORM, body)
            answer = json.dumps({"access_token": token} if turn == 0 else {"id": turn}).encode()
            at = start + timedelta(seconds=number * 0.5)
            writer.add(Exchange(at, 0.05, "", "", request, Response(200, JSON, answer, len(answer))))
    return folder


def build(capture: Path, *options: str) -> Result:
    out = capture.parents[1] / "day.py"
    return CliRunner().invoke(command, [str(capture), "--out", str(out), *options])


def built(capture: Path, *options: str) -> dict[str, Any]:
    done = build(capture, "--json", *options)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_scenario_says_that_it_is_modelled(capture: Path) -> None:
    document = built(capture, "--model", "--duration", "5m", "--scale", "2", "--seed", "7")
    model = document["model"]
    assert (model["duration_s"], model["scale"], model["seed"]) == (300.0, 2.0, 7)
    assert document["capture"]["name"] == "production"
    scenario = read_scenario(Path(document["locustfile"]))
    assert scenario.meta["model"] == model
    assert model["events"] + sum(model["put_in"].values()) - sum(model["left_out"].values()) == document["requests"]
    assert document["requests"] == len(scenario.schedule) > 240
    assert document["clients"] == len({planned.client for planned in scenario.schedule})
    assert document["duration_s"] == 300.0
    said = ast.get_docstring(ast.parse(scenario.path.read_text())) or ""
    assert "Drawn from a model" in said
    assert "seed 7" in said


def test_its_endpoints_are_the_schedules_own(capture: Path) -> None:
    document = built(capture, "--model", "--duration", "5m", "--seed", "7")
    schedule = read_scenario(Path(document["locustfile"])).schedule
    counts = Counter(planned.endpoint for planned in schedule)
    assert {own["endpoint"]: own["count"] for own in document["endpoints"]} == counts
    assert sum(own["share"] for own in document["endpoints"]) == pytest.approx(1, abs=1e-5)
    assert [own["count"] for own in document["endpoints"]] == sorted(counts.values(), reverse=True)
    assert all(own["statuses"] == {"200": own["count"]} for own in document["endpoints"])


def test_credentials_are_asked_for_those_who_need_them(capture: Path) -> None:
    document = built(capture, "--model", "--duration", "20s", "--scale", "0.2", "--seed", "3")
    scenario = read_scenario(Path(document["locustfile"]))
    needing = {scenario.schedule.copies.get(name, name) for name, _ in needed_credentials(scenario.schedule)}
    assert 0 < len(needing) < 5  # the capture has five that log in
    example = (Path(document["data"]) / "identities.example.csv").read_text().splitlines()
    assert {line.partition(",")[0] for line in example[1:]} == needing
    assert {own["client"] for own in document["credentials"]} == needing


def test_what_it_says(tmp_path: Path) -> None:
    said = build(recorded(tmp_path / "captures" / "one", clients=1), "--model", "--scale", "4", "--seed", "2").stdout
    assert "Drawn from a model of one (scale 4, seed 2)." in said
    assert "put in, for tokens that nothing before hands out (POST /token)." in said
    assert "needed for 1 client:" in said


def test_the_same_seed_writes_the_same(capture: Path) -> None:
    files = []
    for _ in range(2):
        document = built(capture, "--model", "--seed", "5")
        files.append((Path(document["data"]) / "schedule.parquet").read_bytes())
    assert files[0] == files[1]
    document = built(capture, "--model", "--seed", "6")
    assert (Path(document["data"]) / "schedule.parquet").read_bytes() != files[0]


def test_without_it_nothing_is_modelled(capture: Path) -> None:
    document = built(capture)
    assert "model" not in document
    assert document["requests"] == 60


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--duration", "5m"], "--duration is for a modelled schedule"),
        (["--scale", "2"], "--scale is for"),
        (["--seed", "0"], "--seed is for"),
        (["--model", "--duration", "soon"], "'soon' is not a duration"),
        (["--model", "--duration", "30d"], "'30d' is not a duration"),
        (["--model", "--duration", "0"], "is not a duration"),
        (["--model", "--scale", "0"], "scale must be a number above 0"),
        (["--model", "--scale", "nan"], "scale must be a number above 0"),
        (["--model", "--seed", "-1"], "seed must be 0 or more"),
        (["--model", "--duration", "744h", "--scale", "10000"], "more than 5,000,000 requests"),
        (["--model", "--duration", "100000h", "--scale", "0.0001"], "may last 31 days (744h) at most"),
    ],
)
def test_what_cannot_be_is_refused(capture: Path, options: list[str], why: str) -> None:
    done = build(capture, *options)
    assert isinstance(done.exception, InputError)
    assert why in done.exception.message
    assert not (capture.parents[1] / "day.py").exists()
