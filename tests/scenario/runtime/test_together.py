"""Several processes of locust play one schedule: none of it twice, none of it lost, with one start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from replay.scenario.schedule import PlannedRequest

Plan = Callable[..., PlannedRequest]
pytestmark = pytest.mark.slow


def ports() -> list[str]:
    """A free port of their own for a master and its workers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    return ["--master-bind-port", port, "--master-port", port]


def uneven(room: Any, planned: Plan, **more: Any) -> None:
    """One visit that goes on for three seconds, and five that are soon over."""
    rows = [(i * 0.1, 0) for i in range(30)] + [(i * 0.1, 1 + i) for i in range(5)]
    last: dict[int, int] = {}
    requests = []
    for number, (due_s, visit) in enumerate(sorted(rows)):
        requests.append(planned(number, f"/ok/{number}", due_s, visit=visit, after=last.get(visit)))
        last[visit] = number
    room.write(requests, **more)


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


@pytest.mark.parametrize("processes", [2, 3])
def test_who_is_done_first_takes_nothing_from_the_others(stage: Any, room: Any, planned: Plan, processes: int) -> None:
    uneven(room, planned)
    run = room.play(stage.url, extra=["--processes", str(processes), *ports()])
    assert run.code == 0, run.said
    assert sorted(stage.paths()) == sorted(f"/ok/{i}" for i in range(35))
    frame = run.observations()
    assert list(frame.request) == list(range(35))
    assert set(frame.outcome) == {"ok"}
    assert frame.worker.nunique() == processes
    assert (frame.groupby("visit").worker.nunique() == 1).all()
    began = {file.read_text().split('"started_at": "')[1].split('"')[0] for file in run.arm.glob("replay-*.json")}
    assert len(began) == 1  # one start for all of them


def test_plain_locust_counts_them_all(stage: Any, room: Any, planned: Plan) -> None:
    uneven(room, planned)
    command = [sys.executable, "-m", "locust", "-f", str(room.locustfile), "--host", stage.url, "--headless"]
    command += ["--processes", "2", *ports(), "--only-summary"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(stage.got()) == 35
    told = (ended.stdout + ended.stderr).splitlines()
    (line,) = (one for one in told if "Aggregated" in one and "%" in one)
    assert line.split()[1] == "35"


def test_workers_started_by_themselves_get_their_options_from_the_master(stage: Any, room: Any, planned: Plan) -> None:
    uneven(room, planned)
    port = ports()
    worker = [sys.executable, "-m", "locust", "-f", str(room.locustfile), "--worker", *port]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            for _ in range(3)
        ]
        for process in workers:
            stack.callback(process.kill)
        run = room.play(stage.url, speed=2.0, extra=["--master", "--expect-workers", "2", *port])
        assert run.code == 0, run.said
        assert [process.wait(20) for process in workers] == [0, 0, 0]
    frame = run.observations()
    assert list(frame.request) == list(range(35))
    assert frame.worker.nunique() == 2
    assert frame.due_s.max() == pytest.approx(1.45)


def test_the_page_of_a_master_starts_all_of_it_again_and_again(stage: Any, room: Any, planned: Plan) -> None:
    uneven(room, planned)
    port, (_, page, *_) = ports(), ports()
    locust = [sys.executable, "-m", "locust", "-f", str(room.locustfile)]
    master = ["--master", "--expect-workers", "2", "--host", stage.url, "--web-host", "127.0.0.1", "--web-port", page]
    with ExitStack() as stack:
        for more in (["--worker"], ["--worker"], master):
            process = stack.enter_context(
                subprocess.Popen([*locust, *more, *port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.kill)

        def asked(path: str, **form: object) -> bytes:
            body = urllib.parse.urlencode(form).encode() or None
            with urllib.request.urlopen(f"http://127.0.0.1:{page}{path}", body, timeout=10) as answer:
                return bytes(answer.read())

        def there() -> bool:
            try:
                return len(json.loads(asked("/stats/requests"))["workers"]) == 2
            except OSError:
                return False

        wait_for(there)
        for times in (1, 2):
            asked("/swarm", user_count=1, spawn_rate=1)
            wait_for(lambda: len(stage.got()) >= 35 * times)  # noqa: B023 - it is called at once
            wait_for(lambda: json.loads(asked("/stats/requests"))["state"] == "stopped")
            wait_for(lambda: {one["state"] for one in json.loads(asked("/stats/requests"))["workers"]} == {"ready"})
            assert len(stage.got()) == 35 * times
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_worker_that_is_lost_ends_it_with_a_sentence(stage: Any, room: Any, planned: Plan) -> None:
    uneven(room, planned)
    with room.process(stage.url, duration_s=60.0, extra=["--processes", "2", *ports()]) as process:
        wait_for(lambda: len(stage.got()) > 5)
        psutil.Process(process.pid).children()[0].kill()
        code = process.wait(55)
    run = room.result(code)
    assert code == 4, run.said
    assert "was lost, and its part of the schedule was not played to its end" in run.said


def test_a_worker_that_stands_still_for_a_while_is_not_lost(stage: Any, room: Any, planned: Plan) -> None:
    uneven(room, planned)
    with room.process(stage.url, extra=["--processes", "2", *ports()]) as process:
        wait_for(lambda: len(stage.got()) > 5)
        worker = psutil.Process(process.pid).children()[0]
        worker.suspend()
        time.sleep(6)  # locust takes it for missing after 3
        worker.resume()
        code = process.wait(45)
    run = room.result(code)
    assert code == 0, run.said
    assert list(run.observations().request) == list(range(35))


def test_an_interruption_reaches_all_of_them(stage: Any, room: Any, planned: Plan) -> None:
    uneven(room, planned)
    with room.process(stage.url, duration_s=60.0, extra=["--processes", "2", *ports()]) as process:
        wait_for(lambda: len(stage.got()) > 5)
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGINT)
        code = process.wait(30)
        assert code == 130
        psutil.wait_procs(workers, timeout=20)
        assert not any(worker.is_running() for worker in workers)
    frame = room.result(code).observations()
    assert frame.request.is_unique
    assert "unsent" in set(frame.outcome)


@pytest.mark.parametrize(
    ("options", "prepare", "sentence"),
    [
        ({"identities": "/nowhere.csv"}, "return request", "The identities file /nowhere.csv cannot be read"),
        (
            {},
            "return request\n\n    def on_start(self):\n        raise KeyError('KEY')",
            "could not start: KeyError: 'KEY'",
        ),
    ],
)
def test_what_no_worker_can_play_ends_with_a_sentence(  # noqa: PLR0917 - pytest calls it
    stage: Any, room: Any, planned: Plan, options: Any, prepare: str, sentence: str
) -> None:
    uneven(room, planned, prepare=prepare)
    run = room.play(stage.url, extra=["--processes", "2", *ports()], **options)
    assert run.code == 2, run.said
    assert sentence in run.said
    assert stage.got() == []
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(room.locustfile) in (one.info["cmdline"] or [])]
