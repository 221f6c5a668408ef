"""`replay run --criteria` as a process of its own: its verdict, its probes, its heartbeat."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from replay.cli.main import run as run_here
from replay.cli.soaking import DRIFTING
from replay.evidence.heartbeat import last_sign
from replay.evidence.run import read_run
from replay.judge.soak.levels import NO_SERIES
from replay.scenario.schedule import PlannedRequest, Schedule, write_schedule

LOCUSTFILE = """
from replay.scenario.runtime import Replay


class Night(Replay):
    scenario = "night.data"
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


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def locustfile(tmp_path: Path) -> Path:
    """A second's traffic: ten requests that go well, one in eleven to /broken where the test asks for it."""
    data = tmp_path / "night.data"
    data.mkdir()
    paths = ["/ok"] * 10 + ["/broken"]
    requests = tuple(
        PlannedRequest(n, n, f"c{n}", f"GET {path}", n / 11, None, "GET", path, "", (), None, 200, None)
        for n, path in enumerate(paths)
    )
    file = data / "schedule.parquet"
    write_schedule(Schedule(requests, 1.0), file)
    digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    capture = {"environment": "test", "hosts": []}
    (data / "scenario.json").write_text(json.dumps({"format": 1, "capture": capture, "schedule": digest}))
    (tmp_path / "night.py").write_text(LOCUSTFILE)
    return tmp_path / "night.py"


def command(locustfile: Path, api: str, *more: object) -> list[str]:
    words = [sys.executable, "-m", "replay", "run", str(locustfile), "--target", api, "--allow", "127.0.0.1"]
    return [*words, *map(str, more)]


def criteria(folder: Path, text: str) -> Path:
    file = folder / "soak.toml"
    file.write_text(text)
    return file


UNHURRIED = "[criteria]\nlateness_s = 5\nmin_requests = 20\ndrift_p_value = 0\n"


_OF_BROKEN = '\n[criteria.endpoints."GET /broken"]\nfailure_share = 1\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ("failure_share = 0.2" + _OF_BROKEN, "GO"),
        ("failure_share = 0.2", "NO_GO"),  # of /broken all fail
        ("failure_share = 0.05" + _OF_BROKEN, "NO_GO"),  # of all requests one in eleven
        ("p95_s = 0.000001\nfailure_share = 0.2" + _OF_BROKEN, "NO_GO"),
    ],
)
def test_the_verdict_is_the_exit_code(api: str, locustfile: Path, tmp_path: Path, limits: str, verdict: str) -> None:
    file, out = criteria(tmp_path, UNHURRIED + limits), tmp_path / "run"
    code = {"GO": 0, "NO_GO": 1}[verdict]
    ended = subprocess.run(
        command(locustfile, api, "--criteria", file, "--duration", "4s", "--out", out, "--json"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    document = json.loads(ended.stdout)
    assert (document["verdict"], ended.returncode) == (verdict, code), document["reasons"]
    assert document["planned"] == document["sent"] == 44
    assert json.loads((out / "verdict.json").read_text())["verdict"] == verdict
    assert verdict in (out / "summary.md").read_text()
    assert run_here(["judge", str(out)]) == code
    assert run_here(["report", str(out)]) == 0


@pytest.mark.slow
def test_a_soak_too_short_to_tell_is_inconclusive(api: str, locustfile: Path, tmp_path: Path) -> None:
    file = criteria(tmp_path, "[criteria]\nlateness_s = 5\nfailure_share = 1\n" + _OF_BROKEN)
    asked = command(locustfile, api, "--criteria", file, "--duration", "2s", "--out", tmp_path / "run")
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3, ended.stderr
    assert "INCONCLUSIVE" in ended.stdout
    assert "too short to see drift" in ended.stdout
    assert "Only 22 requests were sent" in ended.stdout


def test_what_will_make_it_inconclusive_is_said_before(
    locustfile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = "http://127.0.0.1:9"
    endpoint = '[criteria.endpoints."GET /broken"]\np95_s = 1\n'
    probes = "".join(
        f'[probes.{name}]\nkind = "process"\n{what}\n'
        for name, what in (
            ("here", f'pids = ["{os.getpid()}"]'),
            ("gone", 'match = "no such program at all"'),
            ("host", ""),
        )
    )
    file = criteria(tmp_path, "[criteria]\n" + endpoint + probes)
    assert (
        run_here(command(locustfile, closed, "--criteria", file, "--duration", "2s", "--out", tmp_path / "run")[3:])
        == 4
    )
    said = capsys.readouterr().err
    for one in (
        "2 s are too short to see drift, which needs 200 s",
        "only 22 requests are planned, of 100",
        "GET /broken is asked 2 times, of 20",
        "the probe 'gone' finds nothing yet, there is no process whose command line has",
    ):
        assert f"The soak will be INCONCLUSIVE as it stands: {one}" in said
    assert "'here'" not in said
    assert "'host'" not in said
    file.write_text("[criteria]\nmin_requests = 20\n" + endpoint)
    assert (
        run_here(command(locustfile, closed, "--criteria", file, "--duration", "240s", "--out", tmp_path / "run")[3:])
        == 4
    )
    assert "INCONCLUSIVE" not in capsys.readouterr().err


def test_the_metrics_that_can_drift_are_those_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    table = text.split("### Readings")[1].split("A lock wait's")[0]
    documented = {
        name for first in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in first.split("`")[1::2]
    }
    documented -= {"at_s", "probe", "metric", "value", "detail", "table_bytes", "index_bytes"}  # the last at the ends
    assert {metric for kind in DRIFTING.values() for metric in kind} == documented - NO_SERIES


@pytest.mark.slow
def test_its_probes_read_by_the_clock_of_the_load(api: str, locustfile: Path, tmp_path: Path) -> None:
    probes = f'\n[probes.me]\nkind = "process"\npids = ["{os.getpid()}"]\ninterval = "200ms"\n'
    file = criteria(tmp_path, UNHURRIED + "failure_share = 1" + _OF_BROKEN + probes)
    out = tmp_path / "run"
    asked = command(locustfile, api, "--criteria", file, "--duration", "4s", "--out", out)
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    arm = read_run(out).arms["night-control"]
    memory = arm.readings[arm.readings.metric == "process_memory_bytes"]
    assert len(memory) > 10
    assert memory.at_s.between(0, 12).all()
    assert not (out / "arms" / "night-control" / "start").exists()
    sign = last_sign(out)
    assert sign is not None
    assert (sign["planned"], sign["sent"], sign["failed"], sign["arm"]) == (44, 44, 4, "night-control")
    assert sign["evidence_bytes"] > 1000


@pytest.mark.slow
def test_a_service_that_restarts_does_not_pass(api: str, locustfile: Path, tmp_path: Path) -> None:
    word = f"service-{uuid.uuid4().hex}"
    service = [sys.executable, "-c", "import time; time.sleep(120)", word]
    probe = f'\n[probes.service]\nkind = "process"\nmatch = "{word}"\ninterval = "200ms"\n'
    file = criteria(tmp_path, UNHURRIED + "failure_share = 1" + _OF_BROKEN + probe)
    out = tmp_path / "run"
    first = subprocess.Popen(service)
    second = None
    try:
        asked = command(locustfile, api, "--criteria", file, "--duration", "6s", "--out", out)
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
            wait_for(lambda: list((out / "arms" / "night-control" / "readings").glob("*.parquet")))
            first.kill()
            first.wait()
            second = subprocess.Popen(service)
            said, _ = running.communicate(timeout=60)
        assert running.returncode == 1, said
        assert "1 process of the probe 'service' ended (at" in said
        assert "and 1 came anew (limit 0)" in said
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[criteria]\np95 = 1", "unknown key"),
        ("[criterion]\n", "Unknown table [criterion]"),
        ("criteria = ", "cannot be read as TOML"),
        ('[probes.db]\nkind = "postgres"\ndsn = "host=db.elsewhere.test"\n', "db.elsewhere.test"),
        ('[probes.db]\nkind = "postgres"\ndsn = "host=db.elsewhere.test"\n', "--allow db.elsewhere.test"),
        ('[probes.db]\nkind = "postgres"\ndsn = "host=127.0.0.1 dbname=shop_prod"\n', "the database shop_prod, which"),
        ('[probes.db]\nkind = "mysql"\ndsn = "mysql://me:x@127.0.0.1/live"\n', "the database live, which looks like"),
        ('[probes.x]\nkind = "proces"\n', "proces"),
        ('[criteria.endpoints."GET /brokn"]\nfailure_share = 1', 'Did you mean "GET /broken"'),
        ("[criteria]\ndrift_per_hour = { connections = 1 }", "none of its probes reads"),
        ('[probes."a/b"]\nkind = "process"\n', "has a name that cannot be a folder's"),
        ('[probes."../a"]\nkind = "process"\n', "has a name that cannot be a folder's"),
        ("probes = 3\n", "probes must hold named tables"),
        ('[probes.x]\nkind = "process"\ninterval = "1000000000s"\n', "must be 1h or shorter"),
        ('[probes.x]\nkind = "process"\ninterval = "3s"\n', "looks every 3 s, and the run lasts only 2 s"),
        (
            '[criteria]\ndrift_per_hour = { proces_threads = 1 }\n[probes.x]\nkind = "process"\n',
            "Did you mean process_threads",
        ),
    ],
)
def test_wrong_files_are_refused_before_anything_is_sent(
    locustfile: Path, tmp_path: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api = "http://127.0.0.1:9"
    file = criteria(tmp_path, text)
    out = tmp_path / "run"
    asked = command(locustfile, api, "--criteria", file, "--duration", "2s", "--out", out)[3:]
    assert run_here(asked) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def wait_for(what: Callable[[], object], seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


@pytest.mark.slow
def test_the_heartbeat_of_a_killed_run_stands_still(api: str, locustfile: Path, tmp_path: Path) -> None:
    file = criteria(tmp_path, UNHURRIED + "failure_share = 1" + _OF_BROKEN)
    out = tmp_path / "run"
    asked = command(locustfile, api, "--criteria", file, "--duration", "300s", "--out", out)
    with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            wait_for(lambda: (last_sign(out) or {}).get("sent", 0) > 0)
            first = last_sign(out)
            wait_for(lambda: last_sign(out) != first)  # it beats
        finally:
            running.send_signal(signal.SIGKILL)
    last = last_sign(out)
    assert last is not None
    arm = out / "arms" / "night-control"

    def load_is_gone() -> bool:  # it sees by itself that nobody watches it any more
        (own,) = arm.glob("replay-*.json")
        return json.loads(own.read_text())["ended_at"] is not None

    wait_for(load_is_gone)
    time.sleep(6)
    assert last_sign(out) == last
    assert run_here(["judge", str(out)]) == 3
    reasons = json.loads((out / "verdict.json").read_text())["reasons"]
    assert any(f"its last sign of life is of {last['time']}" in reason for reason in reasons)


def test_a_full_disk_stops_it_with_what_there_is(
    api: str, locustfile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("replay.cli.run._check_disk", lambda *_: "")
    monkeypatch.setattr("replay.cli.run._LEAST_FREE", 10**18)
    out = tmp_path / "run"
    assert run_here(command(locustfile, api, "--duration", "60s", "--out", out)[3:]) == 4
    said = capsys.readouterr().err
    assert "The replay was stopped: the disk has" in said
    rehearsal = json.loads((out / "rehearsal.json").read_text())
    assert rehearsal["state"] == "aborted"
    assert "the disk has" in rehearsal["reason"]


def test_what_the_disk_cannot_take_is_said_beforehand(
    api: str, locustfile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("replay.cli.run._LEAST_FREE", 10**18)
    out = tmp_path / "run"
    assert run_here(command(locustfile, api, "--duration", "60s", "--out", out)[3:]) == 2
    assert "The run needs about" in capsys.readouterr().err
    assert not out.exists()
