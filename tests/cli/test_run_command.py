"""`replay run` as a process of its own, against a real server and through a real locust."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from replay.evidence.run import read_run
from replay.scenario.schedule import PlannedRequest, Schedule, read_schedule, write_schedule

LOCUSTFILE = """
from replay.scenario.runtime import Replay


class Production(Replay):
    scenario = "production.data"
"""


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"id": 1}'
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def locustfile(tmp_path: Path) -> Path:
    data = tmp_path / "production.data"
    data.mkdir()
    requests = tuple(
        PlannedRequest(
            request=number,
            visit=number,
            client=f"c{number % 3}",
            endpoint=f"GET {path}",
            due_s=number * 0.05,
            after=None,
            method="GET",
            path=path,
            query="",
            headers=(),
            body=None,
            expected_status=200,
            expected_shape=None,
        )
        for number, path in enumerate(["/ok", "/broken"] * 10)
    )
    write_schedule(Schedule(requests, 1.0), data / "schedule.parquet")
    capture = {"environment": "production", "hosts": ["api.production.example"]}
    (data / "scenario.json").write_text(json.dumps({"format": 1, "capture": capture}))
    file = tmp_path / "production.py"
    file.write_text(LOCUSTFILE)
    return file


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "replay", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_run_is_summarised_and_its_evidence_kept(api: str, locustfile: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "first"
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", out, "--duration", "2s", "--json")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["planned"] == summary["observed"] == summary["sent"] == 40
    assert [(row["endpoint"], row["outcomes"]) for row in summary["endpoints"]] == [
        ("GET /broken", {"server error": 20}),
        ("GET /ok", {"ok": 20}),
    ]
    evidence = read_run(out)
    assert evidence.rehearsal["state"] == "complete"
    arm = evidence.arms["production-control"]
    assert (arm.info.state, arm.info.planned, arm.damaged) == ("complete", 40, ())
    assert [mark.event for mark in arm.marks] == ["started", "ended"]
    assert run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", out).returncode == 2


def test_a_pool_is_bound_and_told(api: str, locustfile: Path, tmp_path: Path) -> None:
    schedule = tmp_path / "production.data" / "schedule.parquet"
    read = read_schedule(schedule)
    changed = tuple(replace(one, endpoint="GET /{word}") for one in read if one.path == "/ok")
    numbered = tuple(replace(one, request=number) for number, one in enumerate(changed))
    write_schedule(Schedule(numbered, 1.0), schedule)
    ids = tmp_path / "ids.csv"
    ids.write_text("broken\n")
    asked = (locustfile, "--target", api, "--allow", "127.0.0.1", "--json", "--out")
    ended = run(*asked, tmp_path / "one", "--pool", f"word={ids}")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert [row["outcomes"] for row in summary["endpoints"]] == [{"server error": 10}]
    assert "1 captured values of word (sent 10 times) get Stage's 1" in summary["notes"][0]
    assert summary["notes"][0] in ended.stderr
    for pool, said in (("word", "does not name a pool"), ("word=nowhere.csv", "cannot be read")):
        ended = run(*asked, tmp_path / "two", "--pool", pool)
        assert ended.returncode == 2
        assert said in ended.stderr
        assert not (tmp_path / "two").exists()


def test_a_run_that_is_interrupted_keeps_its_evidence(api: str, locustfile: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "replay", "run", locustfile, "--target", api, "--allow", "127.0.0.1"]
    with subprocess.Popen([*command, "--out", out, "--duration", "60s"], stderr=subprocess.PIPE, text=True) as process:
        for _ in range(400):
            if list(out.glob("arms/*/observations/*.parquet")):
                break
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    arm = read_run(out).arms["production-control"]
    assert arm.info.state == "interrupted"
    assert len(arm.observations) == arm.info.planned == 1200
    assert "unsent" in set(arm.observations.outcome)


def test_what_is_wrong_ends_with_one_sentence(api: str, locustfile: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    cases = [
        (2, "does not allow", [locustfile, "--target", api, "--allow", "stage.example"]),
        (2, "There is no locustfile", [tmp_path / "none.py", "--target", api, "--allow", "127.0.0.1"]),
        (2, "is not a length of time", [locustfile, "--target", api, "--allow", "127.0.0.1", "--duration", "long"]),
        (4, "does not answer", [locustfile, "--target", dead, "--allow", "127.0.0.1"]),
    ]
    for code, sentence, arguments in cases:
        ended = run(*arguments, "--out", tmp_path / "run")
        assert ended.returncode == code, ended.stderr
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (tmp_path / "run").exists()


def test_a_locustfile_that_is_broken_is_no_verdict(api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_text(LOCUSTFILE + "\nraise RuntimeError('edited by hand')\n")
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    assert ended.returncode == 4
    assert "edited by hand" in ended.stderr
    assert read_run(tmp_path / "run").rehearsal["state"] == "failed"
