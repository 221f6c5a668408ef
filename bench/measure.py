"""What the benchmarks share: a command timed as a whole process, with the memory of all its processes."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

_POLL_S = 0.02
_LIMIT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: wall-clock time, and the largest resident memory of the process and its children together."""

    wall_s: float
    peak_bytes: int

    @property
    def peak_mib(self) -> float:
        """The memory in MiB."""
        return self.peak_bytes / 2**20


def measure(command: Sequence[str]) -> Measured:
    """Run ``command`` to its end. Raises RuntimeError where it fails or takes more than half an hour."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(process.pid)
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, _resident(watched))
            if time.perf_counter() - started > _LIMIT_S:
                raise RuntimeError(f"{' '.join(command)} took more than {_LIMIT_S:.0f} s")
            time.sleep(_POLL_S)
        wall_s = time.perf_counter() - started
    finally:
        if process.poll() is None:
            process.kill()
        complaint = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {complaint.strip()[-500:]}")
    return Measured(wall_s, peak)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total
