"""What a step can do beside SQL and commands: a request, a wait, and what follows a failure."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from replay.rehearsal.steps.actions import Call, Wait

from .stepping import Stage, events, wait_for


class Admin(ThreadingHTTPServer):
    """A target that remembers what it was asked, and answers what the path says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), AdminHandler)
        self.asked: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.health = 200
        self.let_go = threading.Event()


class AdminHandler(BaseHTTPRequestHandler):
    server: Admin

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/health":
            self.server.asked.append((self.command, self.path, body, dict(self.headers)))
        status = self.server.health if self.path == "/health" else int(self.path.split("/")[2][:3])
        said = b"first line\nhush-hush-42\n"
        self.send_response(status)
        self.send_header("content-length", str(len(said) + (self.path.endswith("/stuck"))))
        self.send_header("location", "/status/200")
        self.end_headers()
        self.wfile.write(said)
        self.wfile.flush()
        if self.path.endswith("/stuck"):
            self.server.let_go.wait(30)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names of the library

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def admin() -> Iterator[Admin]:
    with Admin() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.let_go.set()
        running.shutdown()
        thread.join(10)


@pytest.fixture
def stage(tmp_path, server, table, admin) -> Stage:
    assert table
    return Stage(tmp_path, server.primary, f"http://127.0.0.1:{admin.server_address[1]}/")


def call(method: str, path: str, *expect: str, body: str = "", headers: tuple = ()) -> Call:
    return Call(method, path, headers, body, expect or ("2xx",))


def test_a_request_goes_to_the_target(stage, admin) -> None:
    stage.step(action=call("POST", "/status/202?a=b", body='{"a": "ü"}', headers=(("X-Admin", "yes"),)))
    assert events(stage.play()) == [("step 1", 0, "started"), ("step 1", 0, "ended")]
    ((method, path, body, headers),) = admin.asked
    assert (method, path, body.decode()) == ("POST", "/status/202?a=b", '{"a": "ü"}')
    assert headers["X-Admin"] == "yes"
    assert headers["Host"] == f"127.0.0.1:{admin.server_address[1]}"
    assert stage.said() == ["> POST /status/202?a=b", "< 202 Accepted", "first line", "***"]


@pytest.mark.parametrize(
    ("status", "expect", "error"),
    [
        (204, ("2xx",), ""),
        (503, ("2xx",), "status 503: first line"),
        (409, ("200", "409"), ""),
        (404, ("4xx",), ""),
        (200, ("409",), "status 200: first line"),
        (302, ("2xx",), "status 302: first line"),
        (302, ("3xx",), ""),
    ],
)
def test_only_the_expected_status_is_a_success(stage, admin, status: int, expect: tuple[str, ...], error: str) -> None:
    stage.step(action=call("GET", f"/status/{status}", *expect))
    assert stage.play()[-1].error == error
    assert len(admin.asked) == 1, "a redirect is not followed"


def test_an_answer_that_does_not_end_is_cut_at_the_limit(stage) -> None:
    stage.step(action=call("GET", "/status/200/stuck"), timeout_s=0.5)
    assert stage.play()[-1].error == "no whole answer within its limit of 0.5 s"


def test_a_target_that_does_not_answer(stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stage = Stage(stage.folder, stage.dsn, f"http://127.0.0.1:{silent.getsockname()[1]}")
        stage.step(action=call("GET", "/status/200"), timeout_s=0.5)
        assert "limit of 0.5 s" in stage.play()[-1].error
    stage = Stage(stage.folder, stage.dsn)
    stage.step(action=call("GET", "/status/200"))
    assert "refused" in stage.play()[-1].error


def test_a_request_is_ended_from_outside(stage, admin) -> None:
    stage.step(action=call("GET", "/status/200/stuck"))
    runner = stage.runner()
    runner.start()
    wait_for(lambda: admin.asked)
    runner.stop()
    assert not runner.alive
    assert (stage.marks[-1].event, stage.marks[-1].error) == ("interrupted", "interrupted")


def test_a_wait_of_so_long(stage) -> None:
    stage.step(action=Wait(0.5))
    started, ended = stage.play()
    assert ended.event == "ended"
    assert ended.at_s - started.at_s >= 0.5


def test_a_wait_until_stage_answers(stage, admin) -> None:
    admin.health = 503
    stage.step(action=Wait(None))
    runner = stage.runner()
    runner.start()
    time.sleep(1.0)
    assert runner.alive
    admin.health = 200
    assert runner.join(15)
    assert stage.marks[-1].event == "ended"


def test_a_wait_until_nobody_waits_for_a_lock(stage, server) -> None:
    with server.connect("the application") as holder, server.connect("another") as waiting:
        holder.execute("BEGIN; LOCK TABLE token")
        thread = threading.Thread(target=waiting.execute, args=("SELECT count(*) FROM token",))
        thread.start()
        wait_for(lambda: server_waits(server))
        stage.step(action=Wait(None))
        runner = stage.runner()
        runner.start()
        assert not runner.join(1.0)
        holder.execute("COMMIT")
        thread.join(10)
        assert runner.join(15)
    assert stage.marks[-1].event == "ended"


def server_waits(server) -> bool:
    with server.connect() as connection:
        query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(connection.execute(query).rowcount)


def test_a_stage_that_does_not_recover(stage, admin) -> None:
    admin.health = 503
    stage.step(action=Wait(None), timeout_s=0.5)
    error = stage.play()[-1].error
    assert error.startswith("Stage had not recovered after 0.5 s: ")
    assert error.endswith("status 503")


def test_a_wait_is_ended_from_outside(stage) -> None:
    stage.step(action=Wait(60.0))
    runner = stage.runner()
    runner.start()
    wait_for(lambda: stage.marks)
    runner.stop()
    assert (stage.marks[-1].event, stage.marks[-1].error) == ("interrupted", "interrupted")


def test_a_failure_is_rolled_back_at_once(stage) -> None:
    stage.step("SELECT 1/0", on_failure="rollback")
    stage.step("SELECT 1", kind="deploy", at_s=None, after_s=0.0)
    stage.step("SELECT 2", kind="rollback", at_s=25.0)
    stage.step("SELECT 3", kind="revert", at_s=None, after_s=0.1)
    stage.step("SELECT 4", kind="rollback", at_s=None, after_s=0.0)
    marks = [mark for mark in stage.play() if not mark.index]
    assert events(marks) == [
        ("step 1", 0, "started"),
        ("step 1", 0, "failed"),
        ("step 2", 0, "not done"),
        *[(f"step {number}", 0, event) for number in (3, 4, 5) for event in ("started", "ended")],
    ]
    assert marks[2].error == "'step 1' failed before it, and is rolled back at once"
    assert marks[3].at_s < 10


def test_a_step_that_went_well_is_not_rolled_back_at_once(stage) -> None:
    stage.step("SELECT 1", on_failure="rollback")
    stage.step("SELECT 1", kind="deploy", at_s=None, after_s=0.0)
    stage.step("SELECT 2", kind="rollback", at_s=None, after_s=0.3)
    assert [mark.event for mark in stage.play() if not mark.index] == ["started", "ended"] * 3


def test_a_rollback_can_fail_too(stage) -> None:
    stage.step("SELECT 1/0", on_failure="rollback")
    stage.step("SELECT 1/0", kind="rollback", on_failure="end", at_s=None, after_s=20.0)
    stage.step("SELECT 1", kind="rollback", at_s=None, after_s=0.0)
    marks = [mark for mark in stage.play() if not mark.index]
    assert [mark.event for mark in marks] == ["started", "failed", "started", "failed", "not done"]
    assert marks[-1].error == "'step 2' failed before it"
