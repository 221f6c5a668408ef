"""Several processes of locust that play one schedule: the master hands out its parts and one start, and hears the ends.

Locust itself would not do: it lets users begin one after the other, gives another worker the user of one that has left,
and goes on where a worker is lost.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import gevent
import psutil
from gevent.event import AsyncResult
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from replay.errors import ExitCode, ToolError

READY, START, DONE = "replay ready", "replay start", "replay done"
_LOOK_EVERY_S = 0.5
_PATIENCE_S = 600.0  # the slowest of the workers may have much to load
_SILENCE_S = 20.0
_LEAD_S = 1.0  # for the start to be heard
_PARTED_IN_A_S = 200_000  # requests


def end_workers() -> None:
    """End the workers that this process forked, where it is to leave: they would wait for it for minutes."""
    for worker in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            worker.terminate()


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a schedule a worker plays, of how many, and its first second, in seconds since the epoch."""

    index: int
    count: int
    start_at: float


class Follower:
    """A worker's side of it."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._share: AsyncResult = AsyncResult()
        runner.register_message(START, lambda msg, **_: self._share.set(msg.data))

    def begin(self, requests: int) -> Share:
        """Say that all is loaded, and wait for what is to be played when. Raises ToolError where nobody says that."""
        self._share = AsyncResult()
        self._runner.send_message(READY, {"requests": requests})
        told: Mapping[str, Any] | None = self._share.wait(_PATIENCE_S)
        if told is None:
            raise ToolError("The master did not say when to start.", "It waits for as many workers as it expects.")
        return Share(int(told["index"]), int(told["count"]), float(told["start_at"]))

    def end(self, code: int) -> None:
        """Say that this part was played, or why not, by an exit code. The process stays until the master ends it."""
        self._runner.send_message(DONE, {"code": int(code)})


class Leader:
    """The master's side of it: ``count`` workers play, and ``over`` is called with an exit code when all have.

    What a worker cannot do ends all of them; ``fail`` is called before with a sentence, where the worker cannot say it.
    """

    def __init__(
        self,
        runner: MasterRunner,
        count: int,
        start_at: float | None,
        *,
        over: Callable[[int], None],
        fail: Callable[[str], None],
    ) -> None:
        self._runner = runner
        self._count = count
        self._start_at = start_at
        self._over = over
        self._fail = fail
        self._requests: dict[str, int] = {}  # by worker, in the order in which they were ready
        self._codes: dict[str, int] = {}
        self._is_playing = False
        self._is_over = False
        start, any_runner = runner.start, cast("Any", runner)

        def start_all(user_count: int, spawn_rate: float, **more: Any) -> None:  # noqa: ARG001 - whatever was asked for
            start(count, count, **more)

        any_runner.start = start_all  # locust's page lets people ask for fewer users than there are workers
        runner.register_message(READY, self._ready)
        runner.register_message(DONE, self._done)

    def _ready(self, msg: Any, **_: Any) -> None:
        if not self._is_playing:
            self._requests, self._codes = {}, {}
            self._is_playing, self._is_over = True, False
            gevent.spawn(self._watch)
        self._requests[msg.node_id] = int(msg.data["requests"])
        if len(self._requests) == self._count:
            lead_s = _LEAD_S + max(self._requests.values()) / _PARTED_IN_A_S
            start_at = self._start_at or time.time() + lead_s
            for index, worker in enumerate(self._requests):
                told = {"index": index, "count": self._count, "start_at": start_at}
                self._runner.send_message(START, told, worker)

    def _done(self, msg: Any, **_: Any) -> None:
        code = self._codes[msg.node_id] = int(msg.data["code"])
        if code and not self._is_over:
            self._is_playing = True  # it may have failed before any was ready
        if code or len(self._codes) == self._count:
            self._end(code)

    def stop(self) -> bool:
        """End it: what is ready after that is another replay's. Whether it was being played."""
        was_playing, self._is_playing, self._is_over = self._is_playing, False, True
        return was_playing

    def _end(self, code: int) -> None:
        if self.stop():
            self._over(code)

    def _watch(self) -> None:
        """End it where a worker is lost: nobody else could take its part."""
        until = time.monotonic() + _PATIENCE_S
        heard = dict[str, float]()  # when a worker was heard of last; one that is busy is late with that now and then
        while self._is_playing:
            now = time.monotonic()
            there = {worker.id: worker.state != STATE_MISSING for worker in self._runner.clients.all}
            heard |= {worker: now for worker, is_heard in there.items() if is_heard}
            due = [worker for worker in self._requests if worker not in self._codes]
            lost = [one for one in due if one not in there or now - heard.setdefault(one, now) > _SILENCE_S]
            if lost:
                self._fail(f"The worker {lost[0]} was lost, and its part of the schedule was not played to its end.")
            elif len(self._requests) < self._count and now > until:
                self._fail(f"Only {len(self._requests)} of {self._count} workers were ready after {_PATIENCE_S:g} s.")
            else:
                gevent.sleep(_LOOK_EVERY_S)
                continue
            self._end(ExitCode.BROKEN)
