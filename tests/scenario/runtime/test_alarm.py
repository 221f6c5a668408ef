"""Moments and the work between them: in their order, never early. How exactly is for bench/round_trip.py."""

import time

import gevent
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.runtime.alarm import Alarm
from replay.scenario.runtime.backlog import Backlog


@given(st.lists(st.floats(-0.01, 0.02), max_size=20))
def test_everybody_is_woken_in_order_and_nobody_early(waits: list[float]) -> None:
    alarm = Alarm(time.monotonic)
    start = time.monotonic()
    acted: list[float] = []
    woken: list[tuple[float, float]] = []

    def wait(wait_s: float) -> None:
        alarm.wait_until(start + wait_s, lambda: acted.append(wait_s))
        assert wait_s in acted
        woken.append((wait_s, time.monotonic()))

    gevent.joinall([gevent.spawn(wait, wait_s) for wait_s in waits], raise_error=True, timeout=30)
    alarm.close()
    assert sorted(acted) == sorted(waits)
    assert all(at >= start + wait_s for wait_s, at in woken)
    # The others may have been due before they asked; and what differs by less than the clock can tell is one moment.
    later = [start + wait_s for wait_s in acted if wait_s > 0.01]
    assert later == sorted(later)
    assert alarm.left_s() == float("inf")


def test_after_something_held_the_process_up_the_order_is_still_that_of_the_moments() -> None:
    alarm = Alarm(time.monotonic)
    acted: list[int] = []
    start = time.monotonic()
    moments = {number: start + 0.02 + number / 1000 for number in range(5)}
    waiting = [
        gevent.spawn(alarm.wait_until, moments[number], lambda number=number: acted.append(number))
        for number in (3, 0, 1)
    ]
    gevent.sleep(0)
    while time.monotonic() < start + 0.05:
        pass
    for number in (2, 4):  # who comes too late lets those before him go first
        alarm.wait_until(moments[number], lambda number=number: acted.append(number))
    gevent.joinall(waiting, raise_error=True, timeout=30)
    alarm.close()
    assert acted == [0, 1, 2, 3, 4]


def test_who_is_killed_while_it_waits_disturbs_nobody() -> None:
    alarm = Alarm(time.monotonic)
    now = time.monotonic()
    dead, alive = (gevent.spawn(alarm.wait_until, now + wait_s) for wait_s in (0.02, 0.04))
    gevent.sleep(0)
    dead.kill()
    alive.get(timeout=30)
    alarm.close()


def test_work_is_done_in_order_in_spite_of_what_is_due() -> None:
    alarm = Alarm(time.monotonic)
    errors: list[Exception] = []
    backlog = Backlog(alarm, time.monotonic, errors.append)
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        if number == 3:
            raise ValueError(number)

    busy = [gevent.spawn(alarm.wait_until, time.monotonic() + n / 1000) for n in range(50)]
    for number in range(20):
        backlog.put(lambda number=number: work(number), 0.0005)
    gevent.joinall(busy, timeout=30)
    while len(done) < 20 and not gevent.sleep(0.01):
        pass
    assert done == list(range(20))
    assert [str(error) for error in errors] == ["3"]
    backlog.put(lambda: done.append(99), 1e9)  # there is never so much time
    backlog.finish()
    assert done[-1] == 99
    alarm.close()
