"""How far two clocks are apart: arithmetic, and a real server that tells another time."""

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.rehearsal.checks.check import FAILED, NOT_ASKED, PASSED, STAGE
from replay.rehearsal.checks.clocks import (
    DATABASE_LIMIT_S,
    DATE_LIMIT_S,
    Look,
    check_target_clock,
    judge_clock,
    look_at,
)
from replay.rehearsal.plan import TargetPlan
from replay.target import parse_target

NOW_S = 1_790_000_000.0
SECONDS = st.floats(-100, 100)
TRIP = st.tuples(st.floats(0, 20), st.floats(0, 20))


def look(apart_s: float, there_s: float, back_s: float) -> Look:
    return Look(NOW_S, NOW_S + there_s + apart_s, NOW_S + there_s + back_s)


@given(apart_s=SECONDS, trip=TRIP)
def test_the_truth_is_within_what_is_uncertain(apart_s: float, trip: tuple[float, float]) -> None:
    seen = look(apart_s, *trip)
    assert abs(seen.apart_s - apart_s) <= seen.uncertain_s + 1e-6
    assert seen.uncertain_s == pytest.approx(sum(trip) / 2, abs=1e-6)


@given(apart_s=SECONDS, trips=st.lists(TRIP, min_size=1, max_size=4))
def test_a_clock_fails_only_where_it_is_surely_apart(apart_s: float, trips: list[tuple[float, float]]) -> None:
    check = judge_clock("x", [look(apart_s, *trip) for trip in trips], DATABASE_LIMIT_S)
    if check.state == FAILED:
        assert abs(apart_s) > DATABASE_LIMIT_S - 1e-6
        assert check.fault == STAGE
    elif min(map(sum, trips)) < 0.1:
        assert abs(apart_s) < DATABASE_LIMIT_S + 0.2


@given(apart_s=st.floats(-5, 5), at_s=st.floats(0, 1))
def test_a_date_knows_whole_seconds(apart_s: float, at_s: float) -> None:
    ours_s = NOW_S + at_s
    seen = Look(ours_s, float((ours_s + apart_s) // 1), ours_s, 1.0)
    assert abs(seen.apart_s - apart_s) <= 0.5 + 1e-6
    failed = judge_clock("x", [seen], DATE_LIMIT_S).state == FAILED
    assert failed or abs(apart_s) < DATE_LIMIT_S + 0.5 + 1e-6
    assert not failed or abs(apart_s) > DATE_LIMIT_S - 0.5 - 1e-6


def test_the_words() -> None:
    check = judge_clock("clock of x", [look(-3, 0.1, 0.1), look(-3, 1, 1)], DATABASE_LIMIT_S)
    assert check.sentence == "It is 3.00 s behind this machine's (give or take 0.10 s); 1 s is the most."
    assert check.figures == {"apart_s": -3.0, "uncertain_s": 0.1, "limit_s": 1.0}
    assert judge_clock("x", [look(0.2, 0, 0)], 1.0).sentence.startswith("It is 0.20 s ahead of this machine's")


def test_what_asking_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        look_at(lambda: 1 / 0)


class Late(ThreadingHTTPServer):
    """A server whose clock is wrong; without ``apart_s`` it tells no time."""

    daemon_threads = True
    apart_s: float | None = 0.0


class LateHandler(BaseHTTPRequestHandler):
    server: Late

    def do_HEAD(self) -> None:
        self.send_response_only(200)
        if self.server.apart_s is not None:
            self.send_header("date", formatdate(time.time() + self.server.apart_s))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def late() -> Iterator[Late]:
    with Late(("127.0.0.1", 0), LateHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def plan(port: int) -> TargetPlan:
    target = parse_target(f"http://127.0.0.1:{port}")
    return TargetPlan(target, ("127.0.0.1",), None, 5.0, None, 5.0, None, (), not_production=False)


@pytest.mark.parametrize(("apart_s", "state"), [(0.0, PASSED), (-60.0, FAILED), (3600.0, FAILED), (None, NOT_ASKED)])
def test_the_target_s_own_clock(late: Late, apart_s: float | None, state: str) -> None:
    late.apart_s = apart_s
    check = check_target_clock(plan(late.server_address[1]))
    assert check.state == state
    if apart_s:
        assert check.figures["apart_s"] == pytest.approx(apart_s, abs=1.0)


def test_a_target_that_is_gone_has_no_clock(late: Late) -> None:
    port = late.server_address[1]
    late.server_close()
    assert check_target_clock(plan(port)).state == NOT_ASKED
