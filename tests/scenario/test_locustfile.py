"""A capture goes in, a locustfile with its data comes out. ``REPLAY_UPDATE_GOLDEN=1`` writes the golden file anew."""

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.errors import InputError
from replay.scenario.locustfile import build_scenario, read_scenario
from replay.scenario.modelled.schedule import Ask
from replay.scenario.schedule import Extract, Inject
from replay.traffic import Exchange, Request, Response

GOLDEN = Path(__file__).parent / "golden" / "production.py.txt"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
JSON = (("Content-Type", "application/json"),)


def exchange(at_s: float, method: str, path: str, answer: Any = None, status: int = 200, **request: Any) -> Exchange:
    body = b"" if answer is None else json.dumps(answer).encode()
    return Exchange(
        START + timedelta(seconds=at_s),
        0.05,
        "address-1",
        "1",
        Request(method, "api.test", path, **request),
        Response(status, JSON, body, len(body)),
    )


def traffic() -> Iterator[Exchange]:
    """A client logs in, lists, makes something and looks at it."""
    form = urlencode({"client_id": "crm", "client_secret": "hidden-1"}).encode()
    headers = (("Content-Type", "application/x-www-form-urlencoded"), ("Host", "api.test"), ("Content-Length", "9"))
    yield exchange(0, "POST", "/oauth/token", {"access_token": "captured-1"}, headers=headers, body=form)
    bearer = (
        ("Authorization", "Bearer captured-1"),
        ("User-Agent", "crm/2"),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
    )
    yield exchange(0.2, "GET", "/v1/events", {"items": [{"id": 55}]}, headers=bearer, query="limit=5")
    yield exchange(
        0.4, "POST", "/v1/events/55/registrations", {"id": 991}, 201, headers=(*bearer, *JSON), body=b'{"name":"Ada"}'
    )
    for number in range(3):
        yield exchange(0.6 + number / 5, "GET", "/v1/registrations/991", {"id": 991}, headers=bearer)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return written(tmp_path / "captures" / "production", traffic())


def written(folder: Path, exchanges: Iterator[Exchange], environment: str = "production") -> Path:
    folder.parent.mkdir(exist_ok=True)
    with CaptureWriter(folder, environment=environment, hosts=["api.test:443"], scrubber=None) as writer:
        for one in exchanges:
            writer.add(one)
    return folder


def test_the_locustfile_is_as_approved(capture: Path, tmp_path: Path) -> None:
    text = build_scenario(capture, tmp_path / "production.py").path.read_text()
    if os.environ.get("REPLAY_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_what_is_written_is_read_back(capture: Path, tmp_path: Path) -> None:
    built = build_scenario(capture, tmp_path / "locustfiles" / "production.py")
    assert read_scenario(built.path) == built
    meta = built.meta
    assert meta["capture"]["name"] == meta["capture"]["environment"] == "production"
    assert meta["capture"]["hosts"] == ["api.test", "api.test:443"]
    assert len(meta["capture"]["digest"]) == 32
    assert (meta["requests"], meta["visits"], meta["clients"]) == (6, 1, 1)
    assert meta["credentials"] == [{"client": "crm", "columns": ["client_secret"]}]
    assert sum(one["count"] for one in meta["endpoints"]) == 6


def test_a_host_that_nobody_knows_is_none(tmp_path: Path) -> None:
    one = exchange(0, "GET", "/v1/events")
    hostless = dataclasses.replace(one, request=dataclasses.replace(one.request, host=""))
    folder = tmp_path / "captures" / "log"
    folder.parent.mkdir()
    with CaptureWriter(folder, environment="production", hosts=[], scrubber=None) as writer:
        writer.add(hostless)
    meta = build_scenario(folder, tmp_path / "log.py").meta
    assert meta["capture"]["hosts"] == []


def test_the_schedule_follows_values_and_leaves_the_connection_out(capture: Path, tmp_path: Path) -> None:
    login, listed, made, looked, *_ = build_scenario(capture, tmp_path / "production.py").schedule
    assert login.injects == (Inject("form:client_secret", "hidden-1", credential="client_secret"),)
    assert login.extracts == (Extract("json:/access_token", "captured-1"),)
    assert login.headers == (("Content-Type", "application/x-www-form-urlencoded"),)
    assert listed.injects == (Inject("bearer", "captured-1", origin=0),)
    assert listed.headers == (("Authorization", "Bearer captured-1"), ("User-Agent", "crm/2"))
    assert (listed.query, listed.after, listed.client) == ("limit=5", 0, "crm")
    assert made.extracts == (Extract("json:/id", "991"),)
    assert set(looked.injects) == {Inject("bearer", "captured-1", origin=0), Inject("path", "991", origin=2)}
    assert (looked.endpoint, looked.expected_status) == ("GET /v1/registrations/{registration_id}", 200)
    assert looked.expected_shape == "{id:number}"
    assert looked.due_s == pytest.approx(0.6)


def test_the_schedule_knows_how_much_was_answered_and_what_reads_back(tmp_path: Path) -> None:
    def answered() -> Iterator[Exchange]:
        first, second = {"items": [1, 2, 3]}, {"items": [1, 2, 3, 4]}
        yield exchange(0, "GET", "/v1/events/7/guests", first)
        yield exchange(0.2, "GET", "/v1/events/7", {"id": 7})
        yield exchange(0.4, "POST", "/v1/events/7/guests", {"id": 4}, 201)
        yield exchange(0.6, "GET", "/v1/events/7/guests", second)
        yield exchange(0.8, "GET", "/v1/events/7", {"id": 7})  # which does not show what was written

    schedule = build_scenario(written(tmp_path / "captures" / "one", answered()), tmp_path / "one.py").schedule
    assert read_scenario(tmp_path / "one.py").schedule == schedule
    assert [one.expected_items for one in schedule] == [3, None, None, 4, None]
    assert [one.reads_back for one in schedule] == [None, None, None, 0, None]
    ask = Ask(duration_s=30.0, scale=5.0)
    modelled = build_scenario(tmp_path / "captures" / "one", tmp_path / "model.py", model=ask).schedule
    assert {one.expected_items for one in modelled if one.path.endswith("/guests") and one.method == "GET"} == {3, 4}
    for one in modelled:
        if one.reads_back is not None:
            before = modelled.requests[one.reads_back]
            assert (before.path, before.visit) == (one.path, one.visit)


def test_clients_accept_what_they_accepted(tmp_path: Path) -> None:
    headers = (("Accept-Encoding", "gzip, br"), ("TE", "trailers"))
    one = exchange(0, "GET", "/v1/events", headers=headers)
    (planned,) = build_scenario(written(tmp_path / "captures" / "one", iter([one])), tmp_path / "one.py").schedule
    assert planned.headers == (("Accept-Encoding", "gzip, br"),)


def test_the_credentials_to_fill_in(capture: Path, tmp_path: Path) -> None:
    built = build_scenario(capture, tmp_path / "production.py")
    with (built.data / "identities.example.csv").open(newline="") as lines:
        assert list(csv.DictReader(lines)) == [{"client": "crm", "client_secret": ""}]
    without = written(tmp_path / "captures" / "open", iter([exchange(0, "GET", "/v1/events")]))
    built = build_scenario(without, tmp_path / "production.py")
    assert not (built.data / "identities.example.csv").exists()


def test_a_locustfile_that_was_edited_is_kept(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "production.py"
    build_scenario(capture, out)
    build_scenario(capture, out)
    edited = out.read_text().replace('pacing = "visits"', 'pacing = "strict"')
    out.write_text(edited)
    with pytest.raises(InputError, match="edited") as refusal:
        build_scenario(capture, out)
    assert "--force" in refusal.value.hint
    assert out.read_text() == edited
    assert len(read_scenario(out).schedule) == 6
    build_scenario(capture, out, force=True)
    assert out.read_text() != edited


def test_the_data_is_where_the_class_says(capture: Path, tmp_path: Path) -> None:
    built = build_scenario(capture, tmp_path / "production.py")
    moved = tmp_path / "mine.py"
    moved.write_text(built.path.read_text())
    assert read_scenario(moved).data == built.data


HOSTILE = ['a"""b', "a\\b", "{x}", "a'b", "new\nline", "é" * 200, "class", "2026-peak"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_capture_can_write_into_the_locustfile(name: str, tmp_path: Path) -> None:
    odd = exchange(0, "GET", f"/v1/{name}/{{y}}%22%22%22\\")
    capture = written(tmp_path / "captures" / name[:60], iter([odd]), environment=name)
    out = tmp_path / f"{name[:60]}.py"
    built = build_scenario(capture, out)
    compile(out.read_text(), "locustfile", "exec")
    assert read_scenario(out) == built
    assert len(out.read_text().splitlines()) < 35


@pytest.mark.parametrize("name", ["production", "qa_2", "replay"])
def test_the_locustfile_pleases_the_linter(name: str, capture: Path, tmp_path: Path) -> None:
    out = build_scenario(capture, tmp_path / f"{name}.py").path
    config = ["--no-cache", "--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    # prepare() is there to be filled in, so that its argument waits for its use
    for check in (["check", "--ignore", "ARG002"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, *config, str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_missing_things_are_named(capture: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no capture"):
        build_scenario(tmp_path / "nowhere", tmp_path / "production.py")
    with pytest.raises(InputError, match=r"not a name"):
        build_scenario(capture, tmp_path / "production.txt")
    with pytest.raises(InputError, match="no exchanges"):
        build_scenario(written(tmp_path / "captures" / "nothing", iter([])), tmp_path / "production.py")
    with pytest.raises(InputError, match="no locustfile"):
        read_scenario(tmp_path / "production.py")
    built = build_scenario(capture, tmp_path / "production.py")
    (built.data / "schedule.parquet").unlink()
    with pytest.raises(InputError, match="schedule"):
        read_scenario(built.path)
    (built.data / "scenario.json").unlink()
    with pytest.raises(InputError, match="lacks its data"):
        read_scenario(built.path)
    built.path.write_text("x = 1\nclass :")
    with pytest.raises(InputError, match=r"production\.py cannot be read: line 2: invalid syntax"):
        read_scenario(built.path)


def test_it_says_what_is_being_done(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    build_scenario(capture, tmp_path / "one.py", say=said.append)
    assert said[0].startswith("reading 6 exchanges")
    assert said[-1] == "writing 6 requests"
    assert run(["build", str(capture), "--out", str(tmp_path / "two.py")]) == 0
    assert capsys.readouterr().err == f"Building {tmp_path / 'two.py'} from {capture} ...\n"


def test_the_command(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "production.py"
    assert run(["build", str(capture), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "6 requests, 1 visit, 1 client, 4 endpoints" in told
    assert "crm: client_secret" in told
    assert run(["build", str(capture), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["requests"] == 6
    assert (document["locustfile"], document["data"]) == (str(out), str(out.with_suffix(".data")))
    out.write_text("# mine\n")
    assert run(["build", str(capture), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "edited" in error
    assert "--force" in error
    assert run(["build", str(capture), "--out", str(out), "--force"]) == 0


@pytest.fixture
def stage() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A server that hands out a token and an id of its own, and notes what it is asked."""
    asked: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            asked.append((f"{self.command} {self.path}", self.headers.get("Authorization", ""), body))
            status, value = self.value()
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def value(self) -> tuple[int, dict[str, Any]]:
            if self.path == "/oauth/token":
                return 200, {"access_token": "token-of-stage"}
            if self.command == "POST":
                return 201, {"id": 4}
            return 200, {"items": [{"id": 55}]} if self.path.startswith("/v1/events") else {"id": 4}

        do_GET: Callable[..., None] = answer  # noqa: N815 - the server's word
        do_POST: Callable[..., None] = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_plain_locust_runs_it(capture: Path, tmp_path: Path, stage: tuple[str, list[tuple[str, str, str]]]) -> None:
    url, asked = stage
    out = build_scenario(capture, tmp_path / "production.py").path
    identities = tmp_path / "clients.csv"
    identities.touch(mode=0o600)
    identities.write_text("client,client_secret\ncrm,secret of stage\n")
    options = ["--headless", "--users", "1", "--host", url, "--identities", str(identities)]
    command = [sys.executable, "-m", "locust", "-f", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    token = "Bearer token-of-stage"
    assert asked == [
        ("POST /oauth/token", "", "client_id=crm&client_secret=secret%20of%20stage"),
        ("GET /v1/events?limit=5", token, ""),
        ("POST /v1/events/55/registrations", token, '{"name":"Ada"}'),
        *[("GET /v1/registrations/4", token, "")] * 3,
    ]


SCENARIOS = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
EXAMPLES = {
    docstring: text
    for text in re.findall(r"^```python\n(.*?)^```$", SCENARIOS, re.MULTILINE | re.DOTALL)
    for docstring in re.findall(r'^class .*\(Replay\):\n    """(.*)"""', text, re.MULTILINE)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_of_the_docs_plays_in_a_built_file(
    name: str, capture: Path, tmp_path: Path, stage: tuple[str, list[tuple[str, str, str]]]
) -> None:
    url, asked = stage
    example = EXAMPLES[name]
    out = build_scenario(capture, tmp_path / "production.py").path
    # The body of a class goes where the built one has its own, with what the example has above its class.
    above, body = re.split(r"^class .*\n", example, flags=re.MULTILINE)
    head, own = re.split(r"^class .*\n", out.read_text(), flags=re.MULTILINE)
    line = re.search(r"^class .*\n", out.read_text(), re.MULTILINE)
    assert line
    out.write_text(f"{head}{above}{line[0]}{own}\n{body}")
    identities = tmp_path / "clients.csv"
    identities.touch(mode=0o600)
    identities.write_text("client,client_secret\ncrm,secret of stage\n")
    command = [sys.executable, "-m", "locust", "-f", str(out), "--headless", "--host", url]
    command += ["--identities", str(identities)]
    made_up = dict.fromkeys(re.findall(r'os\.environ\["(\w+)"\]', example), "made-up")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **made_up}
    )
    assert done.returncode == 0, done.stderr
    assert asked[0][0] == "POST /oauth/token", done.stderr
