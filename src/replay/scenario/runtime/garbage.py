"""Garbage is collected when nothing is due: Python by itself does so at any moment, and took up to 26 ms."""

import gc
import time
from collections.abc import Callable

import gevent

from replay.scenario.runtime.alarm import Alarm

_EVERY_S = 0.2
_WHOLE_EVERY = 150  # times of the young, so every half a minute
_LONGEST_S, _LONGEST_WHOLE_S = 0.1, 10.0  # so long a collection may wait for its moment
_YOUNG, _WHOLE = 1, 2


class Collector:
    """Collects in place of Python until it is closed."""

    def __init__(self, alarm: Alarm, clock: Callable[[], float]) -> None:
        self._alarm = alarm
        self._clock = clock
        self._takes_s = {_YOUNG: 0.001, _WHOLE: 0.02}
        # What is there already stays for the whole replay: no collection need walk through it.
        gc.freeze()
        gc.disable()
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        """Leave it to Python again."""
        self._greenlet.kill()
        gc.enable()

    def _run(self) -> None:
        while True:
            for _ in range(_WHOLE_EVERY):
                gevent.sleep(_EVERY_S)
                self._collect(_YOUNG, _LONGEST_S)
            self._collect(_WHOLE, _LONGEST_WHOLE_S)

    def _collect(self, generation: int, longest_s: float) -> None:
        self._alarm.await_quiet(self._takes_s[generation], self._clock() + longest_s)
        begun = time.monotonic()
        gc.collect(generation)
        self._takes_s[generation] = 1.5 * (time.monotonic() - begun)
