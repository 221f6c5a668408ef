"""Garbage is collected in place of Python, and by Python again afterwards."""

import gc
import time
import weakref

import gevent

from replay.scenario.runtime.alarm import Alarm
from replay.scenario.runtime.garbage import Collector


class Knot:
    """Refers to itself, so that only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_nobody_refers_to_is_collected_while_python_does_not() -> None:
    alarm = Alarm(time.monotonic)
    collector = Collector(alarm, time.monotonic)
    try:
        assert not gc.isenabled()
        gone = weakref.ref(Knot())
        assert gone() is not None
        for _ in range(200):
            gevent.sleep(0.05)
            if gone() is None:
                break
        assert gone() is None
    finally:
        collector.close()
        alarm.close()
        gc.unfreeze()
    assert gc.isenabled()
