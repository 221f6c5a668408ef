"""The writer of a live capture, a process of its own: it decodes, scrubs and writes what a ``Feed`` hands it.

What it cannot write since the disk is full it counts, and goes on writing when there is room again.
"""

import contextlib
import errno
import json
import marshal
import os
import pickle
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from replay.capture.live.feed import Order
from replay.capture.live.recording import Mirror
from replay.capture.live.seen import Seen, exchange_of, original_of
from replay.capture.sampling import is_sampled
from replay.capture.scrub import Scrubber
from replay.capture.writer import CaptureWriter
from replay.errors import InputError, ReplayError
from replay.traffic import Skipped

FULL = "the disk was full"
BROKEN = "the disk could not be written"
_AGAIN_AFTER_S = 1.0
_IDLE_S = 0.25
_PIPE_BYTES = 1 << 20


class Desk:
    """Writes what comes in. ``lacking`` counts what it could not, ``trouble`` says why it cannot right now."""

    def __init__(self, writer: CaptureWriter, order: Order) -> None:
        self._writer = writer
        self._recording = order.recording
        self._source = order.source
        self._is_mirror = isinstance(order.recording.front, Mirror)
        self._tried_at_s = 0.0
        self._given_up = 0
        self.lacking: Counter[str] = Counter()
        self.trouble = ""
        self.taken = 0

    def take(self, data: bytes) -> None:
        """Write a frame."""
        seen, skipped, lacking_before = marshal.loads(data)  # noqa: S302 - from the process that started this one
        for one in seen:
            self._keep(Seen._make(one))
        for where, reason in skipped:
            self._skip(Skipped(self._source, where, reason))
        self.taken += len(seen)
        self._writer.set_lacking(Counter(lacking_before) + self.lacking)

    @property
    def state(self) -> dict[str, Any]:
        """What the front is told. ``settled`` of the exchanges taken will be found in the capture, or lack for good."""
        return {
            "taken": self.taken,
            "settled": self.taken - self._writer.waiting + self._given_up,
            "trouble": self.trouble,
            "lacking": dict(self.lacking),
        }

    def give_up(self, error: OSError) -> None:
        """Count as lacking what waits in memory, which ``error`` keeps from the disk for good."""
        self._given_up = self._writer.waiting
        self.lacking[_trouble(error)] += self._given_up

    def rest(self) -> None:
        """What is to be done now and then, whether something comes in or not."""
        if not self.trouble:
            self._try(self._writer.flush_if_due)
        elif time.monotonic() - self._tried_at_s >= _AGAIN_AFTER_S:
            self._tried_at_s = time.monotonic()
            self.trouble = ""
            self._try(self._writer.flush)

    def _keep(self, seen: Seen) -> None:
        if self._lacks():
            return
        recording = self._recording
        exchange = exchange_of(seen, recording.key, recording.body_limit_bytes, self._writer.body_not_kept)
        if self._is_mirror:
            exchange = original_of(exchange)
        if not is_sampled(exchange.client, recording.client_share):
            self._writer.leave_out(self._source, "--client-share")
            return
        self._try(lambda: self._writer.add(exchange, self._source))

    def _skip(self, skipped: Skipped) -> None:
        if not self._lacks():
            self._try(lambda: self._writer.skip(skipped))

    def _lacks(self) -> bool:
        if self.trouble:
            self.rest()
        if self.trouble:
            self.lacking[self.trouble] += 1
        return bool(self.trouble)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:  # what was added stays in the writer's memory, and is written with the next flush
            self.trouble = _trouble(error)


def _trouble(error: OSError) -> str:
    return FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else BROKEN


class _BrokenOffError(Exception):
    """The front ended without a word."""


def frames(descriptor: int) -> Iterator[bytes | None]:
    """The frames that come through a pipe, and None when there is none for a moment; ends with the empty one.

    Raises _BrokenOffError where the pipe ends before that.
    """
    held = bytearray()
    while True:
        while len(held) >= 4 and len(held) >= (end := 4 + int.from_bytes(held[:4], "big")):
            data = bytes(held[4:end])
            del held[:end]
            if not data:
                return
            yield data
        if not select.select([descriptor], [], [], _IDLE_S)[0]:
            yield None
            continue
        piece = os.read(descriptor, _PIPE_BYTES)
        if not piece:
            raise _BrokenOffError
        held += piece


def main() -> int:
    """Write the capture that standard input orders. Tells on standard output how it goes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the front says when to end
    incoming = frames(sys.stdin.fileno())
    try:
        order = pickle.loads(next(one for one in incoming if one))  # noqa: S301 - from the process that started this
        _write(order, incoming)
    except _BrokenOffError:
        return 0
    except ReplayError as error:
        _tell(error=error.message, hint=error.hint, kind="input" if isinstance(error, InputError) else "tool")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        _tell(error=f"The capture could not be completed: {reason}.", kind="tool")
    return 0


def _write(order: Order, incoming: Iterator[bytes | None]) -> None:
    recording = order.recording
    scrubber = Scrubber(recording.key, recording.rules) if recording.scrub else None
    writer = CaptureWriter(
        recording.out,
        environment=recording.environment,
        name=recording.name,
        hosts=order.hosts,
        scrubber=scrubber,
        live=True,
    )
    desk = Desk(writer, order)
    try:
        with writer:
            _tell(ready=True)
            told = None
            for data in incoming:
                if data is not None:
                    desk.take(data)
                desk.rest()
                state = desk.state
                if state != told:
                    told = state
                    _tell(**state)
    except OSError as error:
        desk.give_up(error)
        _tell(**desk.state)
        raise


def _tell(**what: object) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, which the pipe of frames says too
        os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
