"""The way from a proxy or a sink to the writer's process: never waited for, bounded, and honest about what is lost.

A frame is four bytes of length and that many bytes of data. The first holds the ``Order``, the others what was seen;
an empty one ends the recording. The writer answers with lines of JSON.
"""

import asyncio
import json
import marshal
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from dataclasses import dataclass
from typing import Any

from replay.capture.live.recording import Recording
from replay.capture.live.seen import Seen
from replay.errors import InputError, ReplayError, ToolError

BEHIND = "the writer was behind"
ENDED = "the writer had ended"
_FRAME_AFTER_S = 0.05
_FRAME_BYTES = 256_000
_ABOUT_BYTES = 1_000  # what an exchange takes beside its bodies
_LINE_LIMIT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """What the writer has to know. ``source`` is the name under which the exchanges stand in the manifest."""

    recording: Recording
    source: str
    hosts: tuple[str, ...] = ()


def frame(data: bytes) -> bytes:
    """``data`` as it goes through the pipe."""
    return len(data).to_bytes(4, "big") + data


class Feed:
    """The front's half. What it is given is on its way to the writer, or lacks and is counted; it never waits."""

    def __init__(self, process: Process, recording: Recording) -> None:
        self._process = process
        self._out = recording.out
        self._limit_bytes = recording.backlog_limit_bytes
        self._loop = asyncio.get_running_loop()
        self._seen: list[tuple[Any, ...]] = []
        self._skipped: list[tuple[str, str]] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._lacking: Counter[str] = Counter()
        self._given = 0
        self._state: dict[str, Any] = {}
        self._listener: asyncio.Task[None] | None = None
        self._error: dict[str, str] | None = None
        self._gone = False
        self._closed = False
        self.exchanges = 0

    @classmethod
    async def open(cls, order: Order) -> "Feed":
        """Start the writer. Raises what it raises where it cannot make the capture."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "replay.capture.live.writing"),
            stdin=PIPE,
            stdout=PIPE,
            limit=_LINE_LIMIT_BYTES,
            process_group=0,  # Ctrl-C is for the front, which then ends the writer in order
        )
        feed = cls(process, order.recording)
        feed._send(pickle.dumps(order))
        answer = await feed._answer()
        if "ready" not in answer:
            await process.wait()
            feed._error = feed._error or answer
            raise feed._failure()
        feed._listener = asyncio.create_task(feed._listen())
        return feed

    @property
    def lacking(self) -> Counter[str]:
        """How many exchanges were not written, by the reason."""
        lacking = self._lacking + Counter(self._state.get("lacking", {}))
        if self._gone and not self._closed:
            lacking[ENDED] += self._given - int(self._state.get("settled", 0))
        return +lacking

    @property
    def waiting(self) -> int:
        """How many exchanges the writer has not taken yet."""
        return 0 if self._gone else self._given - int(self._state.get("taken", 0))

    @property
    def trouble(self) -> str:
        """What the writer suffers from right now."""
        return ENDED if self._gone and not self._closed else str(self._state.get("trouble", ""))

    def put(self, seen: Seen) -> None:
        """Hand an exchange over."""
        self.exchanges += 1
        if not self._has_room():
            self.lack(ENDED if self._gone else BEHIND, counted=True)
            return
        self._given += 1
        self._seen.append(tuple(seen))
        self._grow(_ABOUT_BYTES + len(seen.request_body or b"") + len(seen.response_body or b""))

    def skip(self, where: str, reason: str) -> None:
        """Hand over what could not become an exchange."""
        if not self._has_room():
            self.lack(ENDED if self._gone else BEHIND)
            return
        self._skipped.append((where, reason))
        self._grow(_ABOUT_BYTES)

    def lack(self, reason: str, *, counted: bool = False) -> None:
        """Count an exchange that is not written. ``counted`` where it was counted as an exchange already."""
        self.exchanges += not counted
        self._lacking[reason] += 1
        self._schedule()

    async def close(self) -> None:
        """Wait until all is written and the capture is complete.

        Raises ToolError where it could not be written.
        """
        if self._timer:
            self._timer.cancel()
        self._flush()
        if not self._gone:
            self._send(b"")
        if self._listener:
            await self._listener
        await self._process.wait()
        self._closed = not self._error and not self._process.returncode
        if not self._closed:
            raise self._failure()

    def _has_room(self) -> bool:
        if self._gone:
            return False
        assert self._process.stdin  # noqa: S101 - it was opened with a pipe
        return self._bytes + self._process.stdin.transport.get_write_buffer_size() < self._limit_bytes

    def _grow(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        if self._bytes >= _FRAME_BYTES:
            self._flush()
        else:
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_FRAME_AFTER_S, self._flush)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._gone:
            return
        self._send(marshal.dumps((self._seen, self._skipped, dict(self._lacking))))
        self._seen, self._skipped, self._bytes = [], [], 0

    def _send(self, data: bytes) -> None:
        assert self._process.stdin  # noqa: S101 - it was opened with a pipe
        self._process.stdin.write(frame(data))

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101 - it was opened with a pipe
        line = await self._process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    async def _listen(self) -> None:
        while answer := await self._answer():
            if "error" in answer:
                self._error = answer
            else:
                self._state = answer
        self._gone = True

    def _failure(self) -> ReplayError:
        error = self._error or {}
        message = error.get("error") or f"The writer of the capture ended with {self._process.returncode}."
        if lacking := self.lacking.total():
            message += f" {lacking} exchanges lack."
        kind = InputError if error.get("kind") == "input" else ToolError
        return kind(message, error.get("hint") or f"`replay inspect {self._out}` shows what can be saved of it.")
