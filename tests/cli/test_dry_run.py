"""What a dry run prints, and what it leaves with."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.cli.outlining import _folded
from replay.rehearsal.checks.check import failed, passed
from replay.traffic import Exchange, Request, Response


class Stage(ThreadingHTTPServer):
    """Answers everything with ``status``, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StageHandler)
        self.status = 200
        self.asked: list[str] = []


class StageHandler(BaseHTTPRequestHandler):
    server: Stage

    def answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        body = b'{"id":1}'
        self.send_response(200 if self.path == "/health" else self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = answer  # noqa: N815 - the server's word
    do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def plan(tmp_path: Path, stage: Stage) -> Path:
    """A plan without any database, whose reset leaves a mark."""
    start = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    with CaptureWriter(tmp_path / "capture", environment="qa", hosts=["qa.test"], scrubber=None) as writer:
        for number in range(6):
            request = Request("POST" if number == 1 else "GET", "qa.test", f"/things/{number}")
            response = Response(200, (("content-type", "application/json"),), b'{"id":1}', 8)
            writer.add(Exchange(start + timedelta(seconds=number / 10), 0.01, "c", "c", request, response))
    (tmp_path / "reset").write_text("#!/bin/sh\necho reset >> was-reset\n")
    (tmp_path / "reset").chmod(0o755)
    file = tmp_path / "plan.toml"
    file.write_text(
        f'[target]\nurl = "http://127.0.0.1:{stage.server_address[1]}"\nallow = ["127.0.0.1"]\nready = "GET /health"\n'
        'reset = "./reset"\n[workloads.qa]\ncapture = "capture"\n'
        '[[steps]]\nname = "migrate"\nkind = "migrate"\nat = "0s"\nrun = "true"\n'
    )
    return file


def resets(plan: Path) -> int:
    mark = plan.parent / "was-reset"
    return len(mark.read_text().splitlines()) if mark.exists() else 0


def test_offline_asks_nothing(plan: Path, stage: Stage, capsys) -> None:
    assert run(["rehearse", str(plan), "--dry-run", "--offline"]) == 0
    said = capsys.readouterr()
    assert "nothing was sent" in said.out
    assert "Stage:" not in said.out
    assert not said.err
    assert not stage.asked
    assert not resets(plan)
    assert run(["rehearse", str(plan), "--dry-run", "--offline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checks"] == []


def test_offline_is_for_dry_runs(plan: Path, stage: Stage, capsys) -> None:
    assert run(["rehearse", str(plan), "--out", str(plan.parent / "out"), "--offline"]) == 2
    assert "--offline is for --dry-run" in capsys.readouterr().err
    assert not stage.asked


def test_stage_is_asked(plan: Path, stage: Stage, capsys) -> None:
    assert run(["rehearse", str(plan), "--dry-run", "--out", str(plan.parent / "runs" / "x")]) == 0
    said = capsys.readouterr()
    assert "Dry run: putting Stage back\n" in said.err
    assert "identity c of qa: Accepted: 6 of 6 requests as in the capture." in said.out
    assert "not asked  rights of the step 'migrate': It is a command" in said.out
    assert "Note: 2 questions could not be asked" in said.out, "the database is the other one"
    assert "Note: Nothing warms Stage after it was put back" in said.out
    assert re.search(r"\nAbout \d+ s and \d MB, and up to 2 arms, \d+ s and \d MB more if something must be", said.out)
    assert resets(plan) == 2
    assert [asked for asked in stage.asked if "things" in asked][:2] == ["GET /things/0", "POST /things/1"]
    assert not (plan.parent / "runs").exists()


def test_the_document(plan: Path, stage: Stage, capsys) -> None:
    stage.status = 403
    assert run(["rehearse", str(plan), "--dry-run", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["identity c of qa"]["state"] == "failed"
    assert (checks["identity c of qa"]["fault"], checks["identity c of qa"]["figures"]["status"]) == ("plan", 403)
    assert checks["target"]["state"] == "passed"
    assert checks["duration"]["figures"]["reset_s"] < 30
    assert document["estimate_s"] == pytest.approx(checks["duration"]["figures"]["estimate_s"], abs=0.1)


def test_stage_fails(plan: Path, stage: Stage, capsys) -> None:
    stage.status = 500
    assert run(["rehearse", str(plan), "--dry-run"]) == 4
    said = capsys.readouterr().out
    assert "failed     identity c of qa: None of its 6 requests was answered well" in said
    assert "1 failed" in said
    (plan.parent / "reset").write_text("#!/bin/sh\necho no way\nexit 3\n")
    assert run(["rehearse", str(plan), "--dry-run"]) == 4
    assert "failed     reset: Stage's reset failed: exit code 3: no way." in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_one_that_is_ended(plan: Path, tmp_path: Path, number: signal.Signals) -> None:
    (plan.parent / "reset").write_text("#!/bin/sh\necho $$ > pid\nsleep 300\n")
    room = tmp_path / "room"
    room.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "replay", "rehearse", str(plan), "--dry-run"],
        env={**os.environ, "TMPDIR": str(room)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: (plan.parent / "pid").exists() and (plan.parent / "pid").read_text().strip())
        assert list(room.iterdir())
        process.send_signal(number)
        assert process.wait(60) == 130
    finally:
        process.kill()
    reset = int((plan.parent / "pid").read_text())
    wait_for(lambda: not Path(f"/proc/{reset}").exists())
    assert not list(room.iterdir())


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def test_nobody_is_there(plan: Path, stage: Stage, capsys) -> None:
    stage.shutdown()
    stage.server_close()
    assert run(["rehearse", str(plan), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "1. qa-control" in said
    assert "not asked  target: Nobody answers at http://127.0.0.1:" in said
    assert "could not be asked; what the answers would be is not known." in said
    assert not resets(plan)


def test_many_identities_that_are_well_are_not_all_shown() -> None:
    checks = [passed(f"identity {number} of of {name}", "Accepted.") for name in "ab" for number in range(12)]
    checks.insert(15, failed("identity x of b", "Refused.", fault="plan"))
    checks.append(passed("disk", "Enough."))
    names = [check.name for check in _folded(checks)]
    assert names == [
        *(f"identity {number} of of a" for number in range(10)),
        "2 identities more of a",
        *(f"identity {number} of of b" for number in range(3)),
        "identity x of b",
        *(f"identity {number} of of b" for number in range(3, 12)),
        "disk",
    ]
