"""Real locust processes against a real HTTP server."""

import gzip
import hashlib
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
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from replay.scenario.schedule import Extract, Inject, PlannedRequest

Plan = Callable[..., PlannedRequest]
WHEN0 = "\n        if request.request:\n            return request\n        "


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_visits_are_an_open_loop_and_a_visit_waits_for_its_answers(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/slow/1500", 0.0, visit=1),
            planned(1, "/ok/next", 0.2, visit=1, after=0),
            planned(2, "/ok/beside", 0.3, visit=1),  # overlapped in the capture: waits for nobody
            *(planned(3 + i, f"/ok/{i}", 0.4 + i * 0.1, visit=2 + i, client=f"c{i}") for i in range(5)),
        ]
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    paths = stage.paths()
    assert (paths[0], paths[-1]) == ("/slow/1500", "/ok/next")
    assert set(paths[1:-1]) == {"/ok/beside", *(f"/ok/{i}" for i in range(5))}
    waited = run.row(1)
    assert waited["waited_s"] == pytest.approx(run.row(0)["done_s"] - 0.2)
    assert waited["sent_s"] == pytest.approx(waited["due_s"] + waited["waited_s"], abs=1.0)
    frame = run.observations()
    others = frame[frame.request != 1]
    assert (others.waited_s == 0).all()
    assert ((others.sent_s - others.due_s).between(0, 1.0)).all()
    assert (frame.outcome == "ok").all()
    summary = run.summary()
    assert summary["planned"] == summary["observed"] == 8
    assert summary["complete"]


def test_strict_pacing_does_not_wait_for_an_answer_but_for_a_value(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/slow/1000", 0.0),
            planned(1, "/ok/at-once", 0.1, after=0),
            planned(2, "/token", 0.2, method="POST", after=1, extracts=(Extract("json:/access_token", "old"),)),
            planned(3, "/me", 0.2, headers=(("Authorization", "Bearer old"),), injects=(Inject("bearer", "old", 2),)),
        ],
        pacing="strict",
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert run.row(1)["waited_s"] == 0
    assert run.row(1)["done_s"] < run.row(0)["done_s"]
    assert stage.got()[-1]["headers"]["authorization"] == "Bearer stage-token-1"


def test_values_that_stage_hands_out_are_followed(stage: Any, room: Any, planned: Plan, tmp_path: Path) -> None:
    token = Inject("bearer", "old-token", 0)
    bearer = ("Authorization", "Bearer old-token")
    room.write(
        [
            planned(
                0,
                "/token",
                method="POST",
                headers=(("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "30")),
                body=b"grant=x&client_secret=pseudonym",
                extracts=(Extract("json:/access_token", "old-token"), Extract("cookie:sid", "old-sid")),
                injects=(Inject("form:client_secret", "pseudonym", credential="client_secret"),),
            ),
            planned(
                1,
                "/events",
                0.1,
                method="POST",
                headers=(bearer, ("Cookie", "a=1; sid=old-sid")),
                body=b'{"name":"x"}',
                after=0,
                expected_status=201,
                extracts=(Extract("location", "41"),),
                injects=(token, Inject("cookie:sid", "old-sid", 0)),
            ),
            planned(2, "/v2/events/41", 0.2, after=1, headers=(bearer,), injects=(token, Inject("path", "41", 1))),
        ]
    )
    identities = tmp_path / "clients.csv"
    identities.touch(mode=0o600)
    identities.write_text("client,client_secret\nc1,s&cret/ü\n")
    run = room.play(stage.url, identities=identities)
    assert run.code == 0, run.said
    token_request, create, read = stage.got()
    assert token_request["body"] == "grant=x&client_secret=s%26cret%2F%C3%BC"
    assert create["headers"]["authorization"] == "Bearer stage-token-1"
    assert create["headers"]["cookie"] == "a=1; sid=cookie-1"
    assert read["path"] == "/v2/events/57"
    assert (run.observations().outcome == "ok").all()
    written = "".join(file.read_text() for file in run.arm.glob("*.json*"))
    assert "stage-token" not in written
    assert "hunter2" not in written


def test_a_failed_token_leaves_its_consumers_unsent(stage: Any, room: Any, planned: Plan) -> None:
    token = Extract("json:/access_token", "t")
    room.write(
        [
            planned(0, "/broken", method="POST", extracts=(token,)),
            planned(
                1,
                "/token",
                0.1,
                method="POST",
                after=0,
                headers=(("Authorization", "Bearer t"),),
                injects=(Inject("bearer", "t", 0),),
                extracts=(Extract("json:/access_token", "u"),),
            ),
            planned(2, "/me", 0.2, after=1, headers=(("x-key", "u"),), injects=(Inject("header:x-key", "u", 1),)),
            planned(
                3, "/me/key", 0.3, headers=(("x-key", "k"),), injects=(Inject("header:x-key", "k", None, "x-key"),)
            ),
            planned(4, "/ok", 0.4, after=3),
            planned(5, "/ok", 0.5, extracts=(Extract("json:/absent", "a"),)),
            planned(6, "/v2/a", 0.6, after=5, injects=(Inject("path", "a", 5),)),
        ]
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert stage.paths() == ["/broken", "/ok", "/ok"]
    seen = {number: run.row(number) for number in range(7)}
    assert [seen[number]["outcome"] for number in range(7)] == [
        "server error", "unsent", "unsent", "unsent", "ok", "ok", "unsent",
    ]  # fmt: skip
    assert seen[1]["error"] == "no value from request 0 (it answered 500)"
    assert seen[1]["caused_by"] == 0
    assert seen[2]["error"] == "no value from request 1 (it was not sent)"
    assert seen[2]["caused_by"] == 0
    assert seen[3]["error"] == "no credential 'x-key' for client c1"
    assert seen[3]["caused_by"] is None
    assert seen[6]["error"] == "no value from request 5 (its answer has no json:/absent)"
    assert run.summary()["complete"]


def test_each_answer_has_its_outcome(stage: Any, room: Any, planned: Plan) -> None:
    paths = ["/away", "/empty", "/gzip", "/drop", "/hang", "/eof", "/half", "/nonsense", "/big", "/once", "/ok"]
    room.write([planned(i, path, i * 0.02, client=f"c{i}") for i, path in enumerate(paths)])
    run = room.play(stage.url, timeout_s=2.0)
    assert run.code == 0, run.said
    assert "/landed" not in stage.paths()  # a redirect is an answer, not an order
    rows = dict(zip(paths, run.observations().to_dict("records"), strict=True))
    assert (rows["/away"]["outcome"], rows["/away"]["status"]) == ("ok", 302)
    assert rows["/empty"]["outcome"] == "empty"
    assert rows["/gzip"]["shape"] == "{packed:bool}"
    assert rows["/drop"]["outcome"] == "no connection"
    assert rows["/hang"]["outcome"] == "timeout"
    assert rows["/hang"]["error"] == "no whole answer within 2 s"
    assert rows["/hang"]["done_s"] - rows["/hang"]["sent_s"] == pytest.approx(2.0, abs=1.0)
    assert rows["/eof"]["outcome"] == "ok"
    assert (rows["/half"]["outcome"], rows["/half"]["error"]) == (
        "no connection", "the connection was closed in the middle of the answer",
    )  # fmt: skip
    assert rows["/nonsense"]["outcome"] == "no connection"
    assert (rows["/big"]["shape"], rows["/big"]["size_bytes"]) == ("text/plain", 3_000_000)
    assert rows["/ok"]["outcome"] == "ok"


def test_how_many_items_came_and_what_reads_back_is_recorded(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/once", expected_items=100),
            planned(1, "/empty", 0.1, expected_items=0),
            planned(2, "/ok", 0.2, after=1),
            planned(3, "/once", 0.3, reads_back=0),
            planned(4, "/me", 0.4, injects=(Inject("path", "x", None, "x"),), expected_items=4, reads_back=0),
        ]
    )
    run = room.play(stage.url)
    assert run.code == 0, run.said
    seen = [[run.row(number)[name] for name in ("items", "expected_items", "reads_back")] for number in range(5)]
    assert seen == [[1, 100, None], [0, 0, None], [None, None, None], [1, None, 0], [None, 4, 0]]
    assert run.row(4)["outcome"] == "unsent"


def test_prepare_has_the_last_word_and_its_errors_are_recorded(stage: Any, room: Any, planned: Plan) -> None:
    prepare = "import dataclasses; return dataclasses.replace(request, query=f'by={client}&n={10 // request.visit}')"
    room.write([planned(0, "/ok"), planned(1, "/ok", 0.1, visit=5)], prepare=prepare)
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert [note["query"] for note in stage.got()] == ["by=c1&n=2"]
    assert run.row(0)["outcome"] == "unsent"
    assert run.row(0)["error"].startswith("prepare raised ZeroDivisionError")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("request.path", "prepare raised TypeError: it returned None and not the request to send"),
        ("return 5", "prepare raised TypeError: it returned of type int and not the request to send"),
        ("return self.later()", "prepare raised TypeError: it is an async function, and should be a plain one"),
        (
            "return replace(request, body='x')",
            "prepare raised TypeError: it returned a request whose body is of type str",
        ),
        ("return replace(request, path=None)", "prepare raised TypeError: it returned a request whose path is None"),
        (
            "return replace(request, client=[])",
            "prepare raised TypeError: it returned a request whose client is of type",
        ),
        ("return replace(request, headers=5)", "prepare gave a wrong request: TypeError"),
        ("return replace(request, headers=(('a', 'b\\n'),))", "prepare gave a wrong request: a header or the path"),
        ("raise SystemExit(3)", "prepare raised SystemExit: 3"),
    ],
)
def test_what_prepare_gives_wrong_is_recorded(prepare: str, said: str, stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [planned(0, "/ok"), planned(1, "/ok", 0.1, visit=1)],
        prepare=f"from dataclasses import replace; {WHEN0}{prepare}",
    )
    room.locustfile.write_text(f"{room.locustfile.read_text()}\n    async def later(self) -> None:\n        pass\n")
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert run.row(0)["error"].startswith(said)
    assert run.row(1)["outcome"] == "ok"
    assert "Traceback" not in run.said
    assert "never awaited" not in run.said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def __init__(self, environment):\n        raise KeyError('KEY')", "line 14 could not start: KeyError: 'KEY'"),
        ("def __init__(self, environment):\n        pass", "could not start: AssertionError"),
        ("def on_start(self):\n        raise KeyError('KEY')", "line 14 could not start: KeyError: 'KEY'"),
        (
            "def on_start(self):\n        raise __import__('locust').exception.StopUser",
            "No user of production.py began",
        ),
    ],
)
def test_a_user_that_cannot_start_ends_the_run(source: str, said: str, stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok"), planned(1, "/ok", 0.1)])
    room.locustfile.write_text(f"{room.locustfile.read_text()}\n    {source}\n")
    run = room.play(stage.url)
    assert run.code == 2, run.said
    assert said in run.said
    assert set(run.observations().outcome) == {"unsent"}
    assert stage.got() == []


@pytest.mark.parametrize(
    ("on_failure", "said"),
    [
        ("{5: Retry()}", "on_failure has the key 5."),
        ("{'*': ['retry']}", "on_failure is ['retry'] for '*'."),
        ("7", "on_failure is 7 for '*'."),
    ],
)
def test_an_on_failure_that_is_none_ends_with_a_sentence(
    on_failure: str, said: str, stage: Any, room: Any, planned: Plan
) -> None:
    room.write([planned(0, "/ok")], on_failure=on_failure)
    run = room.play(stage.url)
    assert run.code == 2
    assert f"Error: {said}" in run.said
    assert "Traceback" not in run.said
    assert stage.got() == []


def test_a_key_of_on_failure_that_fits_nothing_is_told(stage: Any, room: Any, planned: Plan) -> None:
    keys = "{'GET /ok': 'retry', 'c1': 'retry', 'GET *': 'retry', 'POST /ok': 'retry', 'kiosk-*': 'retry'}"
    room.write([planned(0, "/ok")], on_failure=keys)
    run = room.play(stage.url)
    assert run.code == 0
    told = [line for line in run.said.splitlines() if line.startswith("Note: on_failure")]
    assert [line.split("'")[1] for line in told] == ["POST /ok", "kiosk-*"]


def test_other_users_are_no_scenario(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok")])
    source = room.locustfile.read_text()
    other = "import locust\nclass Other(locust.User):\n    @locust.task\n    def go(self):\n        print('went')\n"
    for text in (f"{source}\n{other}", f"from replay.scenario.runtime import Replay\n{other}"):
        room.locustfile.write_text(text)
        run = room.play(stage.url)
        assert run.code == 2
        assert "users that are no Replay, whose load nobody would check: Other" in run.said
    second = "\nclass Second(Production):\n    pass\n"
    room.locustfile.write_text(source + second)
    run = room.play(stage.url)
    assert run.code == 2
    assert "One scenario is replayed at a time, not Production, Second." in run.said
    assert "abstract = True" in run.said
    assert stage.got() == []


def test_a_schedule_of_another_scenario_is_refused_by_plain_locust_too(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok")])
    schedule = room.folder / "production.data" / "schedule.parquet"
    kept = schedule.read_bytes()
    room.write([planned(0, "/ok/other")])
    schedule.write_bytes(kept)
    run = room.play(stage.url)
    assert run.code == 2
    assert "is not the schedule that scenario.json beside it was built with" in run.said
    assert stage.got() == []


def test_a_compressed_answer_is_decoded_and_its_size_is_that_of_the_wire(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/gzip", headers=(("Accept-Encoding", "gzip, br"),))])
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert stage.got()[0]["headers"]["accept-encoding"] == "gzip"
    assert run.row(0)["size_bytes"] == len(gzip.compress(b'{"packed": true}'))
    assert run.row(0)["digest"] == hashlib.blake2b(b'{"packed": true}', digest_size=8).hexdigest()


def test_a_whole_server_and_an_empty_path_are_asked_for(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "*", method="OPTIONS"), planned(1, "", 0.1, query="a=b"), planned(2, "", 0.2)])
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert run.observations().sent_s.notna().all()
    assert stage.paths() == ["*", "/", "/"]


def test_connections_are_kept_by_client_and_a_closed_one_is_noticed(stage: Any, room: Any, planned: Plan) -> None:
    room.write(
        [
            planned(0, "/ok", 0.0),
            planned(1, "/ok", 0.3, after=0),
            planned(2, "/ok", 0.3, client="c2"),
            planned(3, "/once", 0.5, after=1),
            planned(4, "/ok", 0.8, after=3, method="POST"),
        ]
    )
    run = room.play(stage.url)
    assert (run.observations().outcome == "ok").all()
    first, second, other, third, fourth = sorted(stage.got(), key=lambda note: note["at"])
    if other["connection"] == first["connection"]:
        second, other = other, second
    assert first["connection"] == second["connection"] == third["connection"]
    assert len({first["connection"], other["connection"], fourth["connection"]}) == 3


def test_the_arm_begins_at_its_common_start(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok", 0.5)])
    start_at = time.time() + 3
    run = room.play(stage.url, start_at=start_at)
    assert run.code == 0, run.said
    sent_s = run.row(0)["sent_s"]
    assert sent_s >= 0.5
    assert stage.got()[0]["at"] == pytest.approx(start_at + sent_s, abs=0.5)
    assert datetime.fromisoformat(run.summary()["started_at"]).timestamp() == pytest.approx(start_at)


@pytest.mark.parametrize(
    ("options", "capture", "sentence"),
    [
        ({"allow": ["stage.example"]}, None, "Load would go to 127.0.0.1, which is not allowed"),
        ({}, {"environment": "production", "hosts": ["127.0.0.1"]}, "is the host of a production capture"),
        ({}, {"environment": "production", "hosts": [""]}, "does not say which hosts it was recorded from"),
        ({"identities": Path("/nowhere.csv")}, None, "The identities file /nowhere.csv cannot be read"),
    ],
)
def test_what_is_refused_ends_with_a_sentence(  # noqa: PLR0917 - pytest calls it
    stage: Any, room: Any, planned: Plan, options: Any, capture: Any, sentence: str
) -> None:
    room.write([planned(0)], capture=capture)
    run = room.play(stage.url, **options)
    assert run.code == 2
    assert sentence in run.said
    assert "Traceback" not in run.said
    assert stage.got() == []


def test_a_missing_schedule_ends_with_a_sentence(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0)])
    (room.folder / "production.data" / "schedule.parquet").unlink()
    run = room.play(stage.url)
    assert run.code == 2
    assert "is not a schedule" in run.said


def test_nobody_at_home(room: Any, planned: Plan) -> None:
    room.write([planned(i, "/ok", i * 0.02, after=i - 1 if i else None) for i in range(20)])
    run = room.play(f"http://127.0.0.1:{free_port()}")
    assert run.code == 0, run.said
    frame = run.observations()
    assert list(frame.outcome) == ["no connection"] * 20
    assert set(frame.error) == {"connection refused"}
    assert run.summary()["observed"] == 20


def test_stage_dies_midway(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(i, "/die" if i == 10 else "/ok", i * 0.05, visit=i) for i in range(20)])
    run = room.play(stage.url)
    assert run.code == 0, run.said
    assert list(run.observations().outcome) == ["ok"] * 10 + ["no connection"] * 10


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interruption_keeps_what_there_is(stage: Any, room: Any, planned: Plan, sent: int, code: int) -> None:
    room.write([planned(0, "/ok"), planned(1, "/hang", 0.1), *(planned(2 + i, "/ok", 60.0 + i) for i in range(3))])
    with room.process(stage.url) as process:
        wait_for(lambda: len(stage.got()) == 2)
        os.kill(process.pid, sent)
        ended = process.wait(20)
    run = room.result(ended)
    assert ended == code, run.said
    assert list(run.observations().outcome) == ["ok", "unsent", "unsent", "unsent", "unsent"]
    assert run.row(1)["error"] == "stopped before its answer came"
    assert run.row(1)["sent_s"] is not None
    assert run.row(2)["error"] == "interrupted"
    summary = run.summary()
    assert summary["planned"] == summary["observed"] == 5
    assert not summary["complete"]


def test_nobody_is_left_to_stop_the_load(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok"), planned(1, "/ok", 60.0)])
    process = room.process(stage.url)
    script = f"""
import sys, time
from pathlib import Path
from replay.scenario.process import LocustProcess
process = LocustProcess({process.command!r}, Path({str(room.folder / "locust.log")!r}))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        parent.stdout.readline()
        wait_for(lambda: len(stage.got()) == 1)
        parent.kill()
    wait_for(lambda: room.result(None).summary()["ended_at"] is not None)
    assert list(room.result(None).observations().outcome) == ["ok", "unsent"]


def test_a_killed_process_leaves_readable_segments(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(i, "/ok", i * 0.01) for i in range(3000)])
    with room.process(stage.url) as process:
        wait_for(lambda: len(list((room.folder / "arm" / "observations").glob("*.parquet"))) >= 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert room.result(None).summary()["reason"] == "running"
    files = list((room.folder / "arm" / "observations").glob("*.parquet"))
    assert sum(pq.read_table(file).num_rows for file in files) > 50


@pytest.mark.slow
def test_workers_share_a_schedule(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(i, f"/ok/{i}", i * 0.02, visit=i % 5, after=i - 5 if i > 4 else None) for i in range(50)])
    extra = ["--processes", "2", "--master-bind-port", (port := str(free_port())), "--master-port", port]
    run = room.play(stage.url, extra=extra, start_at=time.time() + 8)
    assert run.code == 0, run.said
    assert sorted(stage.paths()) == sorted(f"/ok/{i}" for i in range(50))
    frame = run.observations()
    assert list(frame.request) == list(range(50))
    assert set(frame.groupby("worker").size()) == {20, 30}
    assert (frame.groupby("visit").worker.nunique() == 1).all()


def test_it_is_a_plain_locustfile_too(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok"), planned(1, "/broken", 0.1)])
    command = [sys.executable, "-m", "locust", "-f", str(room.locustfile), "--host", stage.url, "--headless"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert stage.paths() == ["/ok", "/broken"]
    said = ended.stderr + ended.stdout
    assert "GET /broken: server error 500" in said
    assert "_Failure" not in said
    assert "--users" not in said


def test_plain_locust_says_what_is_lacking_and_how_many_send(stage: Any, room: Any, planned: Plan) -> None:
    key = Inject("header:x-key", "k", None, "x-key")
    room.write([planned(number, "/me", headers=(("x-key", "k"),), injects=(key,)) for number in range(3)])
    command = [sys.executable, "-m", "locust", "-f", str(room.locustfile), "--host", stage.url, "--headless"]
    ended = subprocess.run([*command, "--users", "3"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("Credentials are lacking for 1 client, as no --identities are given") == 1
    assert str(room.folder / "production.data" / "identities.example.csv") in ended.stderr
    assert ended.stderr.count("--users 3 counts as 1") == 1
    assert "GET /me: unsent: no credential 'x-key'" in ended.stderr + ended.stdout


def test_it_plays_under_the_web_page(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(0, "/ok"), planned(1, "/ok/last", 0.1)])
    port = str(free_port())
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(room.locustfile),
        "--web-host",
        "127.0.0.1",
        "--web-port",
        port,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: can_connect(int(port)))
            form = {"user_count": 1, "spawn_rate": 1, "host": stage.url}
            for played in (2, 4):  # as often as somebody asks for it
                assert ask(f"http://127.0.0.1:{port}/swarm", urllib.parse.urlencode(form))["success"]
                wait_for(lambda played=played: len(stage.got()) == played)
                wait_for(lambda: locust_state(port) == "stopped")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def can_connect(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def locust_state(port: str) -> str:
    return str(ask(f"http://127.0.0.1:{port}/stats/requests")["state"])


def ask(url: str, form: str | None = None) -> dict[str, Any]:
    with urllib.request.urlopen(url, form.encode() if form else None, timeout=10) as answer:  # noqa: S310 - our own
        value: dict[str, Any] = json.load(answer)
        return value


def test_a_request_that_waits_too_long_is_given_up(stage: Any, room: Any, planned: Plan) -> None:
    room.write([planned(i, "/hang", 0.1 * i, after=i - 1 if i else None) for i in range(5)])
    run = room.play(stage.url, timeout_s=1.0)
    assert run.code == 0, run.said
    frame = run.observations()
    assert frame.outcome[0] == "timeout"
    assert frame.outcome[4] == "unsent"
    assert frame.error[4].startswith("the replay ended while it waited for request 3")
    assert frame.caused_by[4] >= 0


def wait_for(true: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")
