"""Capture, build, replay, capture again: what a real nginx in front of the answers logged is what was to be sent.

How exactly in time is for bench/round_trip.py to say: a test does not know what else its machine does.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from replay.capture.store import CaptureWriter, open_capture
from replay.scenario.locustfile import build_scenario
from replay.scenario.pace import pace
from replay.scenario.process import LocustProcess, locust_command
from replay.scenario.schedule import Schedule
from replay.traffic import Exchange, Request, Response

PRODUCTION = Path(__file__).parents[2] / "captures" / "production"
CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    log_format replayed escape=json '{{"msec":"$msec","remote_addr":"$remote_addr","connection":"$connection",'
        '"request_method":"$request_method","request_uri":"$request_uri","status":"$status",'
        '"request_time":"$request_time","replay_request":"$http_x_replay_request"}}';
    access_log {folder}/access.log replayed;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream answers {{ server 127.0.0.1:{answers}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://answers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass_request_headers on;
        }}
    }}
}}
"""
MARKED = """
import dataclasses

from built import Built as AsBuilt


class Marked(AsBuilt):
    def prepare(self, request, client):
        request = super().prepare(request, client)
        return dataclasses.replace(request, headers=(*request.headers, ("X-Replay-Request", str(request.request))))


del AsBuilt
"""


@dataclass(frozen=True)
class Replayed:
    """What was to be sent, and what nginx logged, in the order in which it had answered."""

    schedule: Schedule
    log: list[dict[str, Any]]
    log_file: Path

    def numbers(self) -> list[int]:
        return [int(row["replay_request"]) for row in self.log]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def nginx(folder: Path, answers: int) -> Iterator[int]:
    port = free_port()
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, answers=answers, port=port))
    with subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def answering(capture: Path, folder: Path) -> Iterator[int]:
    command = [sys.executable, str(Path(__file__).with_name("recording.py")), str(capture), str(folder / "came.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(20)


def played(capture: Path, folder: Path, **options: Any) -> Replayed:
    scenario = build_scenario(capture, folder / "built.py")
    (folder / "marked.py").write_text(MARKED)
    identities = folder / "identities.csv"
    if (scenario.data / "identities.example.csv").exists():
        lines = (scenario.data / "identities.example.csv").read_text().splitlines()
        identities.touch(mode=0o600)
        identities.write_text("\n".join([lines[0], *(f"{line.rstrip(',')},made-up" for line in lines[1:])]) + "\n")
    settings: dict[str, Any] = {"speed": 1.0, "scale": 1.0, "duration_s": None, **options}
    with answering(capture, folder) as answers, nginx(folder, answers) as port:
        command = locust_command(
            folder / "marked.py",
            target_url=f"http://127.0.0.1:{port}",
            evidence=folder / "arm",
            start_at=None,
            identities=identities if identities.exists() else None,
            allow=["127.0.0.1"],
            **settings,
        )
        with LocustProcess(command, folder / "locust.log") as process:
            code = process.wait(120)
    assert code == 0, (folder / "locust.log").read_text()
    rows = [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]
    rows = [row for row in rows if row["replay_request"]]
    return Replayed(pace(scenario.schedule, **settings), rows, folder / "access.log")


def made_up(folder: Path) -> Path:
    """Visits whose pages ask for their parts side by side, with every kind of answer and path that is a little odd."""
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    with CaptureWriter(folder, environment="qa", hosts=["api.test"], scrubber=None) as writer:
        exchanges = []
        for visit in range(40):
            token, begin = f"tok-{visit:04}-9f8e7d6c5b4a", visit * 0.05
            shown = (("Authorization", f"Bearer {token}"),)
            login = Request("POST", "api.test", "/oauth/token", "", form, f"client_id=c{visit}".encode())
            asked = [(0.0, login, 200, json.dumps({"access_token": token}))]
            for number, (method, path, status, answer) in enumerate(
                [
                    ("GET", f"/v1/events/{visit}", 200, '{"id": 1}'),
                    ("GET", "/v1/files/a%2Fb%20c/", 200, "[]"),
                    ("HEAD", "/v1/events", 200, ""),
                    ("DELETE", f"/v1/events/{visit}", 204, ""),
                    ("GET", "/v1/absent", 404, '{"error": "absent"}'),
                    ("GET", "/v1/search", 503, '{"error": "busy"}'),
                ]
            ):
                query = "q=%C3%A9+x&q=2" if path.endswith("search") else ""
                page = 0.3 + number // 3 * 0.4 + number % 3 * 0.002
                asked.append((page, Request(method, "api.test", path, query, shown), status, answer))
            for part, (after_s, request, status, answer) in enumerate(asked):
                response = Response(status, (("Content-Type", "application/json"),), answer.encode(), len(answer))
                at = start + timedelta(seconds=begin + after_s)
                exchanges.append(Exchange(at, 0.05, f"c{visit}", f"{visit}-{part % 3}", request, response))
        for number, exchange in enumerate(sorted(exchanges, key=lambda one: one.at)):
            headers = (*exchange.request.headers, ("X-Captured", str(number)))
            writer.add(replace(exchange, request=replace(exchange.request, headers=headers)))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx")
@pytest.mark.parametrize("kind", ["production", "made up", "made up, three times the visits at twice the speed"])
def test_what_is_sent_is_what_was_captured(kind: str, tmp_path: Path) -> None:
    if kind == "production":
        replayed = played(PRODUCTION, tmp_path, duration_s=8.0)
    else:
        more = {"scale": 3.0, "speed": 2.0} if "three" in kind else {}
        replayed = played(made_up(tmp_path / "capture"), tmp_path, **more)
    schedule = replayed.schedule
    planned = {one.request: one for one in schedule}
    assert sorted(replayed.numbers()) == list(planned), "missing, or added"
    done = {number: place for place, number in enumerate(replayed.numbers())}
    follows = [one for one in schedule if one.after is not None]
    assert follows
    assert all(done[one.after] < done[one.request] for one in follows if one.after is not None)
    assert all(int(row["status"]) == planned[int(row["replay_request"])].expected_status for row in replayed.log)

    again = tmp_path / "again"
    importing = [sys.executable, "-m", "replay", "import", str(replayed.log_file), "--out", str(again)]
    subprocess.run([*importing, "--host", "api.test", "--scrub", "off"], check=True, capture_output=True, timeout=120)
    requests = [exchange.request for exchange in open_capture(again).exchanges()]
    wanted = Counter((one.method, one.path, one.query) for one in schedule)
    assert Counter((one.method, one.path, one.query) for one in requests) == wanted
