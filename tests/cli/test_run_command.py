"""`replay run` as a process of its own, against a real server and through a real locust."""

import hashlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from replay.cli import playing
from replay.cli.main import run as run_here
from replay.cli.summing import summarise
from replay.evidence.run import read_run
from replay.scenario.schedule import Inject, PlannedRequest, Schedule, read_schedule, write_schedule
from replay.target import NOT_PRODUCTION

LOCUSTFILE = """
from replay.scenario.runtime import Replay


class Production(Replay):
    scenario = "production.data"
"""


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    asked: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        body = b'{"id": 1}'
        self.asked[self.path] = self.asked.get(self.path, 0) + 1
        status = 500 if self.path == "/broken" else 200
        if self.path.startswith("/flaky/") and self.asked[self.path] == 1:
            status = 503
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    Api.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def save(data: Path, requests: Sequence[PlannedRequest], hosts: Sequence[str] = ("api.production.example",)) -> None:
    schedule = data / "schedule.parquet"
    write_schedule(Schedule(tuple(requests), 1.0), schedule)
    digest = hashlib.blake2b(schedule.read_bytes(), digest_size=16).hexdigest()
    capture = {"environment": "production", "hosts": list(hosts)}
    (data / "scenario.json").write_text(json.dumps({"format": 1, "capture": capture, "schedule": digest}))


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
    save(data, requests)
    file = tmp_path / "production.py"
    file.write_text(LOCUSTFILE)
    return file


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "replay", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_pool_is_bound_and_told(api: str, locustfile: Path, tmp_path: Path) -> None:
    schedule = tmp_path / "production.data" / "schedule.parquet"
    read = read_schedule(schedule)
    changed = tuple(replace(one, endpoint="GET /{word}") for one in read if one.path == "/ok")
    numbered = tuple(replace(one, request=number) for number, one in enumerate(changed))
    save(schedule.parent, numbered)
    ids = tmp_path / "ids.csv"
    ids.write_text("broken\n")
    asked = (locustfile, "--target", api, "--allow", "127.0.0.1", "--json", "--out")
    ended = run(*asked, tmp_path / "one", "--pool", f"word={ids}")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert [row["outcomes"] for row in summary["endpoints"]] == [{"server error": 10}]
    assert "1 captured values of word (sent 10 times) get Stage's 1" in summary["notes"][0]
    assert summary["notes"][0] in ended.stderr
    for pool, said in (("word", "does not name a pool"), ("word=nowhere.csv", "no file nowhere.csv for the pool word")):
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


@pytest.mark.slow
def test_what_is_wrong_ends_with_one_sentence(api: str, locustfile: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    cases = [
        (2, "Give --allow 127.0.0.1", [locustfile, "--target", api, "--allow", "stage.example"]),
        (2, "There is no locustfile", [tmp_path / "none.py", "--target", api, "--allow", "127.0.0.1"]),
        (2, "seconds (90, 90s)", [locustfile, "--target", api, "--allow", "127.0.0.1", "--duration", "30d"]),
        (4, "does not answer", [locustfile, "--target", dead, "--allow", "127.0.0.1"]),
    ]
    for code, sentence, arguments in cases:
        ended = run(*arguments, "--out", tmp_path / "run")
        assert ended.returncode == code, ended.stderr
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (tmp_path / "run").exists()


def test_a_target_with_a_name_of_production(
    locustfile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", str(locustfile), "--target", "http://shop-prod.invalid", "--allow", "shop-prod.invalid"]
    asked += ["--out", str(tmp_path / "run"), "--duration", "1s"]
    assert run_here(asked) == 2
    said = capsys.readouterr().err
    assert "The target's host shop-prod.invalid, which looks like production" in said
    assert f'--not-production "{NOT_PRODUCTION}"' in said
    assert run_here([*asked, "--not-production", "yes"]) == 2
    assert NOT_PRODUCTION in capsys.readouterr().err
    assert run_here([*asked, "--not-production", NOT_PRODUCTION]) == 4  # there is none such
    assert "does not answer" in capsys.readouterr().err


def test_a_locustfile_that_is_broken_is_no_verdict(api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_text(LOCUSTFILE + "\nraise RuntimeError('edited by hand')\n")
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    assert ended.returncode == 2
    assert f"{locustfile}, line 8, cannot be run: RuntimeError: edited by hand." in ended.stderr
    assert read_run(tmp_path / "run").rehearsal["state"] == "failed"


def test_a_capture_that_names_no_host_is_refused(api: str, locustfile: Path, tmp_path: Path) -> None:
    data = tmp_path / "production.data"
    for hosts in ([], [""]):  # as scenarios had it where a log named no host
        save(data, read_schedule(data / "schedule.parquet").requests, hosts)
        ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
        assert ended.returncode == 2
        assert "does not say which hosts" in ended.stderr
        assert "--host" in ended.stderr
    assert not Api.asked


@pytest.mark.slow
def test_what_is_not_sent_is_not_called_unanswered(api: str, locustfile: Path, tmp_path: Path) -> None:
    schedule = tmp_path / "production.data" / "schedule.parquet"
    key = Inject("header:x-key", "k", None, "x-key")
    keyed = [replace(one, headers=(("x-key", "k"),), injects=(key,)) for one in read_schedule(schedule)]
    save(schedule.parent, keyed)
    asked = (locustfile, "--target", api, "--allow", "127.0.0.1", "--json", "--out")
    ended = run(*asked, tmp_path / "none")
    assert ended.returncode == 2, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["unsent"] == [{"reason": "no credential 'x-key' for client c0", "requests": 20}]
    assert "Nothing was sent: 20 unsent requests" in ended.stderr
    assert "no credential 'x-key'" in ended.stderr
    assert "Nothing answered" not in ended.stderr
    assert "Note: Credentials are lacking for 3 clients, as no --identities are given" in ended.stderr
    assert "identities.example.csv and give it with --identities" in ended.stderr
    table = tmp_path / "few.csv"
    table.touch(mode=0o600)
    table.write_text("client,x-key\nc0,\nc1,secret\n")
    ended = run(*asked, tmp_path / "few", "--identities", table)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["unsent"] == [{"reason": "no credential 'x-key' for client c0", "requests": 13}]


@pytest.mark.parametrize(("does", "why"), [('raise KeyError("KEY")', "KeyError: 'KEY'"), ("pass", "returned None")])
def test_a_prepare_that_fails_is_told(does: str, why: str, api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_text(f"{LOCUSTFILE}\n    def prepare(self, request, client):\n        {does}\n")
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    assert ended.returncode == 2
    error = ended.stderr[ended.stderr.index("Error: ") :]
    assert "Nothing was sent: 20 unsent requests, for this reason: prepare raised" in error
    assert why in error
    assert f"Mend prepare() in {locustfile}" in error
    assert not Api.asked


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found\n" + LOCUSTFILE, "line 1, cannot be run: ModuleNotFoundError: No module named"),
        (LOCUSTFILE + "    on_failure = Retry(times=-1)\n", "line 7, cannot be run: ValueError: times is -1;"),
        (LOCUSTFILE + "    on_failure = {5: 'retry'}\n", "on_failure has the key 5."),
        (LOCUSTFILE + "    abstract = True\n", "has no class of Replay to play."),
        ("from replay.scenario.runtime import Replay\n", "has no class of Replay to play."),
        (
            LOCUSTFILE + "    def __init__(self, environment):\n        raise KeyError('KEY')\n",
            "line 8 could not start:",
        ),
        ("import sys\nsys.exit(0)\n" + LOCUSTFILE, "Nothing was replayed: locust left while it read"),
        ("import sys\nsys.exit(3)\n" + LOCUSTFILE, "cannot be run: "),
        (LOCUSTFILE + "class Second(Production):\n    pass\n", "One scenario is replayed at a time, not"),
        (LOCUSTFILE + "    x = (\n", "cannot be read: line 7: '(' was never closed."),
    ],
)
def test_a_wrong_locustfile_is_bad_input(source: str, said: str, api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_text(source.replace("import Replay\n\n", "import Replay, Retry\n\n"))
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    assert ended.returncode == 2, ended.stderr
    error = ended.stderr[ended.stderr.index("Error: ") :]
    assert said in error
    assert "Traceback" not in ended.stderr
    assert len(error.splitlines()) == 2
    assert not Api.asked


def test_a_locustfile_may_begin_with_a_byte_order_mark(api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_bytes(b"\xef\xbb\xbf" + locustfile.read_bytes())
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    assert ended.returncode == 0, ended.stderr


def test_a_key_of_on_failure_that_fits_nothing_is_told(api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_text(f'{LOCUSTFILE}    on_failure = {{"POST /nowhere": "retry", "GET /ok": "retry"}}\n')
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run", "--json")
    assert ended.returncode == 0, ended.stderr
    note = "on_failure has 'POST /nowhere', which is no endpoint and no client of the scenario."
    assert json.loads(ended.stdout)["notes"] == [note]
    assert f"Note: {note}" in ended.stderr


@pytest.mark.slow
def test_a_target_that_takes_connections_and_never_answers(locustfile: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asked = (locustfile, "--target", url, "--allow", "127.0.0.1", "--timeout", "1s")
        ended = run(*asked, "--out", tmp_path / "run")
    assert ended.returncode == 4, ended.stderr
    assert f"Nothing answered at {url}." in ended.stderr


def test_a_table_of_others_is_refused_before_anything_is_sent(api: str, locustfile: Path, tmp_path: Path) -> None:
    schedule = tmp_path / "production.data" / "schedule.parquet"
    key = Inject("header:x-key", "k", None, "x-key")
    save(schedule.parent, [replace(one, headers=(("x-key", "k"),), injects=(key,)) for one in read_schedule(schedule)])
    table = tmp_path / "clients.csv"
    table.touch(mode=0o600)
    table.write_text("client;x-key\nc0;secret\n")
    asked = (locustfile, "--target", api, "--allow", "127.0.0.1", "--identities", table)
    ended = run(*asked, "--out", tmp_path / "run")
    assert ended.returncode == 2
    assert "not separated by commas but by ';'" in ended.stderr
    assert not (tmp_path / "run").exists()
    assert not Api.asked


def test_more_requests_than_memory_holds_are_refused(api: str, locustfile: Path, tmp_path: Path) -> None:
    asked = (locustfile, "--target", api, "--allow", "127.0.0.1", "--scale", "1e6", "--out", tmp_path / "run")
    ended = run(*asked)
    assert ended.returncode == 2
    assert "That makes more than 5,000,000 requests." in ended.stderr


def test_what_a_locustfile_did_not_import_is_told(api: str, locustfile: Path, tmp_path: Path) -> None:
    locustfile.write_text(f"{LOCUSTFILE}    on_failure = Retry(times=1)\n")
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    assert ended.returncode == 2
    assert "from replay.scenario.runtime import Retry" in ended.stderr


def test_retries_are_counted(api: str, locustfile: Path, tmp_path: Path) -> None:
    schedule = tmp_path / "production.data" / "schedule.parquet"
    read = read_schedule(schedule)
    paths = ["/flaky/1", "/flaky/2", "/broken", "/ok"]
    some = [replace(one, path=path, endpoint=f"GET {path}") for one, path in zip(read, paths, strict=False)]
    save(schedule.parent, some)
    retry = "on_failure = Retry(times=2, first_s=0.01, on=(500, 503))"
    locustfile.write_text(f"{LOCUSTFILE.replace('import Replay', 'import Replay, Retry')}    {retry}\n")
    out = tmp_path / "run"
    ended = run(locustfile, "--target", api, "--allow", "127.0.0.1", "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert "3 requests were sent again (4 attempts): 2 of them then worked." in ended.stdout
    assert summarise(out, "production-control")["retries"] == {"requests": 3, "attempts": 4, "worked": 2, "logins": 0}


@pytest.mark.slow
def test_progress_elsewhere_than_on_a_terminal(
    api: str, locustfile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(playing, "_LINE_EVERY_S", 0.0)
    asked = ["run", str(locustfile), "--target", api, "--allow", "127.0.0.1", "--duration", "4s", "--json"]
    assert run_here([*asked, "--out", str(tmp_path / "run")]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["planned"] == 80
    first, *lines = told.err.splitlines()
    assert first == "Starting locust"
    assert lines
    found = [re.fullmatch(r"(\d+) of 4 s, (\d+) of 80 sent, (\d+) failed(, waiting for .*)?", line) for line in lines]
    assert all(found), told.err
    numbers = [tuple(map(int, one.groups()[:3])) for one in found if one]
    assert numbers == sorted(numbers)
    assert all(failed <= sent for _, sent, failed in numbers)
    assert numbers[-1][2] > 0


@pytest.mark.slow
def test_progress_on_a_terminal(api: str, locustfile: Path, tmp_path: Path) -> None:
    mine, its = pty.openpty()
    command = [sys.executable, "-m", "replay", "run", locustfile, "--target", api, "--allow", "127.0.0.1"]
    terminal = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [*command, "--duration", "3s", "--out", tmp_path / "run"], stdout=subprocess.DEVNULL, stderr=its, env=terminal
    ) as process:
        os.close(its)
        shown = b""
        try:
            while piece := os.read(mine, 4096):
                shown += piece
        except OSError:
            pass  # how a terminal ends
        assert process.wait(30) == 0
    os.close(mine)
    assert re.search(rb"\d of 3 s, \d+ of 60 sent, \d+ failed", shown), shown
