"""What goes on beside an arm in the process that watches it: the heartbeat, and the roll-up of its evidence."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pyarrow as pa

from replay.evidence.heartbeat import Heartbeat, beat
from replay.evidence.rollup import tidy

_BEAT_EVERY_S = 5.0
_TIDY_EVERY_S = 30.0
_NICE = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an arm is: seconds since its start (None before it), and requests."""

    elapsed_s: float | None
    sent: int
    failed: int


class Upkeep:
    """A context manager: a thread of low priority, so that neither load nor probes have to wait for it.

    ``standing`` and ``generator`` (the load's process id) are asked from that thread.
    """

    def __init__(
        self,
        run: Path,
        arm: Path,
        planned: int,
        standing: Callable[[], Standing],
        generator: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._run = run
        self._arm = arm
        self._planned = planned
        self._standing = standing
        self._generator = generator
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name="upkeep", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._tidy(whole=True)
        self._beat()

    def _play(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # on Linux, of this thread alone
        tidied = time.monotonic()
        while True:
            self._beat()
            if time.monotonic() - tidied >= _TIDY_EVERY_S:
                self._tidy()
                tidied = time.monotonic()
            if self._stopping.wait(_BEAT_EVERY_S):
                return

    def _tidy(self, *, whole: bool = False) -> None:
        # Where the disk is full, the parts stay as they are.
        with contextlib.suppress(OSError, pa.ArrowException):
            tidy(self._arm, whole=whole)

    def _beat(self) -> None:
        with contextlib.suppress(OSError):
            standing = self._standing()
            heartbeat = Heartbeat(
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                arm=self._arm.name,
                elapsed_s=round(standing.elapsed_s or 0.0, 1),
                planned=self._planned,
                sent=standing.sent,
                failed=standing.failed,
                evidence_bytes=size_of(self._arm),
                disk_free_bytes=shutil.disk_usage(self._arm).free,
                conductor_memory_bytes=_memory(os.getpid()),
                generator_memory_bytes=_memory(self._generator()),
            )
            beat(self._run, heartbeat)


def size_of(folder: Path) -> int:
    """What the files of a folder weigh, in bytes."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.lstat().st_size if file.is_file() else 0
    return total


def _memory(pid: int | None) -> int | None:
    try:
        return None if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
