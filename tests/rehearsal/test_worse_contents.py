"""A change after which lists lack items and reads are out of date, from the capture to the verdict, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from replay.capture.store import CaptureWriter
from replay.evidence.run import read_run
from replay.judge.verdict import judge_run
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.traffic import Exchange, Request, Response

JSON = (("content-type", "application/json"),)
SECONDS, VISITS = 9.0, 180


class Notes(ThreadingHTTPServer):
    """Notes that can be read and written, and lists; where the file ``changed`` is, reads and lists are the worse."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.notes: dict[tuple[str, str], str] = {}

    def answered(self, method: str, path: str, body: bytes) -> bytes:
        resets, changed = self.folder / "resets", (self.folder / "changed").exists()
        kind, _, number = path.strip("/").partition("/")
        if kind == "lists":
            return json.dumps({"items": list(range(3 if changed else 30))}).encode()
        key = (resets.read_text() if resets.exists() else "", number)
        if method == "PUT" and not changed:  # or else it does not come to where reads are from
            self.notes[key] = body.decode()
        return json.dumps({"id": number, "text": self.notes.get(key, "nothing yet")}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Notes

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        answer = self.server.answered(self.command, self.path, body)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Notes]:
    with Notes(tmp_path) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


def capture(folder: Path) -> None:
    """Visits that read a note, write it, read it again, and look at a list."""
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    with CaptureWriter(folder, environment="production", hosts=["a.test"], scrubber=None) as writer:

        def write(at_s: float, client: str, asked: str, answer: Any, body: bytes = b"") -> None:
            method, path = asked.split()
            request = Request(method, "a.test", path, headers=(("user-agent", client), *JSON), body=body)
            data = json.dumps(answer).encode()
            exchange = Exchange(
                start + timedelta(seconds=at_s), 0.01, client, client, request, Response(200, JSON, data)
            )
            writer.add(exchange)

        for number in range(VISITS):
            at_s, path, client = number * (SECONDS - 1) / VISITS, f"/notes/{number + 1}", f"client-{number}"
            write(at_s, client, f"GET {path}", {"id": number, "text": "old"})
            write(at_s + 0.1, client, f"PUT {path}", {"id": number, "text": "new"}, b"new")
            write(at_s + 0.2, client, f"GET {path}", {"id": number, "text": "new"})
            write(at_s + 0.3, client, f"GET /lists/{number + 1}", {"items": list(range(25))})


@pytest.mark.slow
def test_lists_that_lack_items_and_reads_that_are_out_of_date_are_found(stage: Notes, tmp_path: Path) -> None:
    capture(tmp_path / "production")
    commands = {"reset": "echo reset >> resets; rm -f changed", "change": "touch changed"}
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""
[rehearsal]
name = "notes"
[target]
url = "http://127.0.0.1:{stage.server_address[1]}"
allow = ["127.0.0.1"]
ready = "GET /lists/1"
reset = "./reset"
[workloads.production]
capture = "production"
role = "production"
duration = "{SECONDS}s"
[[steps]]
name = "change"
kind = "migrate"
at = "3s"
run = "./change"
"""
    )
    out = tmp_path / "runs" / "notes"
    conduct(check_plan(read_plan(plan, {}), out), out)
    for name, arm in read_run(out).arms.items():
        rows = arm.observations
        assert (rows["outcome"] == "ok").all()
        assert rows["reads_back"].notna().sum() >= VISITS
        assert set(rows["expected_items"].dropna()) == {25}
        assert set(rows["items"].dropna()) == ({3, 30} if name.endswith("-steps") else {30})
    weighty = [finding for finding in judge_run(out).findings if finding.severity != "note" and finding.outcome]
    assert {(str(finding.endpoint).split("/")[1], finding.outcome) for finding in weighty} == {
        ("lists", "shrunken"),
        ("notes", "stale"),
    }
