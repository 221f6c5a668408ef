"""Work that can wait until nothing is due: what is made of an answer must not keep the next request."""

from collections import deque
from collections.abc import Callable

import gevent
import gevent.event

from replay.scenario.runtime.alarm import Alarm

_LONGEST_S = 0.5  # so long work may wait at most, however much is due

Work = Callable[[], None]


class Backlog:
    """Does work, in order, when ``alarm`` has time for it. ``broken`` is told what a piece of work raises."""

    def __init__(self, alarm: Alarm, clock: Callable[[], float], broken: Callable[[Exception], None]) -> None:
        self._alarm = alarm
        self._clock = clock
        self._broken = broken
        self._work: deque[tuple[float, float, Work]] = deque()
        self._some = gevent.event.Event()
        self._greenlet = gevent.spawn(self._run)

    def put(self, work: Work, takes_s: float) -> None:
        """Do ``work`` soon; it may take so long."""
        self._work.append((self._clock() + _LONGEST_S, takes_s, work))
        self._some.set()

    def finish(self) -> None:
        """Do now what is left, and nothing after that."""
        self._greenlet.kill()
        while self._work:
            self._do()

    def _run(self) -> None:
        while True:
            if not self._work:
                self._some.clear()
                self._some.wait()
            latest_s, takes_s, _ = self._work[0]
            self._alarm.await_quiet(takes_s, latest_s)
            self._do()
            gevent.idle()  # whoever can go on goes first

    def _do(self) -> None:
        _, _, work = self._work.popleft()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a defect here must end the run and not only this greenlet
            self._broken(error)
