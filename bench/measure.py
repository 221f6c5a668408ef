"""What the benchmarks share: a command timed as a whole process, with its memory as the system counts it."""

import os
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_LIMIT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: wall-clock time, and the largest resident memory of its largest process."""

    wall_s: float
    peak_bytes: int

    @property
    def peak_mib(self) -> float:
        """The memory in MiB."""
        return self.peak_bytes / 2**20


def measure(command: Sequence[str], fine: Collection[int] = (0,)) -> Measured:
    """Run ``command`` to its end; ``fine`` are the exit codes that it may leave with.

    Raises RuntimeError where it leaves with another one or takes more than half an hour.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = threading.Timer(_LIMIT_S, process.kill)
    limit.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        limit.cancel()
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in fine:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(wall_s, usage.ru_maxrss * 1024)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
