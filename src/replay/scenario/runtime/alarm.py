"""Wakes greenlets at their moments, ten times as exactly as the loop's own timers, which count whole milliseconds."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.hub
import gevent.monkey

from replay.scenario.runtime.warmth import Warmth

_MILLISECOND = 0.0011  # the loop sleeps at least one, and a little
_NAP_S = 0.0002  # who has just begun to wait for bytes may be kept so long from seeing them
_SPIN_S = 0.0001  # what the system's shortest sleep may take, and about what a greenlet does in one go
_WARMING_S = 0.00005  # what it takes to warm up, at most
_LOOK_EVERY_S = 0.001

_select = gevent.monkey.get_original("select", "select")


class Alarm:
    """Greenlets wait here for moments of ``clock``. To be closed when nobody waits any more."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, int, Any, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sooner = gevent.event.Event()
        self._hub = gevent.get_hub()
        self._warmth = Warmth()
        self._ringing = gevent.spawn(self._ring)

    def wait_until(self, moment_s: float, act: Callable[[], None] = lambda: None) -> None:
        """Do ``act`` at that moment, at once where it has passed, and return.

        ``act`` must neither wait nor raise: what is due at the same moment is done one after the other, before anybody
        goes on.
        """
        if self._clock() >= moment_s:
            self._ring_until(moment_s)  # whose moments were before go before
            act()
            return
        waiter = gevent.hub.Waiter(self._hub)
        entry = (moment_s, next(self._order), waiter, act)
        heapq.heappush(self._waiting, entry)
        if self._waiting[0] is entry:
            self._sooner.set()
        waiter.get()

    def await_quiet(self, takes_s: float, latest_s: float) -> None:
        """Return when nothing is due for so long, or at the latest then."""
        while self.left_s() < takes_s and self._clock() < latest_s:
            gevent.sleep(_LOOK_EVERY_S)

    def left_s(self) -> float:
        """How long it is to the next moment that somebody waits for."""
        return self._waiting[0][0] - self._clock() if self._waiting else float("inf")

    def close(self) -> None:
        """Wake nobody any more."""
        self._ringing.kill()
        self._warmth.close()

    def _ring(self) -> None:
        while True:
            if not self._waiting:
                self._sleep(None)
                continue
            left_s = self.left_s()
            if left_s <= 0:
                self._ring_until(self._clock())
            elif left_s > _MILLISECOND:
                self._sleep(left_s - _MILLISECOND)
            elif left_s > _SPIN_S:
                gevent.idle()  # whatever can be done meanwhile
                self._nap(min(_NAP_S, self.left_s() - _SPIN_S))
            elif left_s > _WARMING_S and self._warmth.is_cold(now_s := self._clock()):
                self._warmth.renew(now_s)

    def _ring_until(self, moment_s: float) -> None:
        while self._waiting and self._waiting[0][0] <= moment_s:
            _, _, waiter, act = heapq.heappop(self._waiting)
            act()
            self._warmth.sent(self._clock())
            self._hub.loop.run_callback(waiter.switch, None)

    def _sleep(self, longest_s: float | None) -> None:
        """Sleep until there is a moment that comes sooner."""
        self._sooner.clear()
        self._sooner.wait(longest_s)

    def _nap(self, longest_s: float) -> None:
        """Keep the whole thread waiting, until bytes come."""
        if longest_s > 0:
            _select([self._hub.loop.fileno()], [], [], longest_s)
