"""What the benchmarks of live captures share: servers as processes on a core of their own, and load from wrk."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_START_LIMIT_S = 30.0
_END_LIMIT_S = 120.0
_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured. ``failed`` are answers that were none or no success."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def on_core(core: int | None, command: Sequence[str]) -> list[str]:
    """The command as it stays on one core; anywhere where ``core`` is None."""
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


def move(process: int, core: int) -> None:
    """Move all threads of a process to a core."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def cpu_s(process: psutil.Process) -> float:
    """How much time of a processor a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def serving(command: Sequence[str], port: int, *, core: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """A server as long as the context lasts. Raises RuntimeError where it does not listen."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(on_core(core, command), stdout=subprocess.DEVNULL, stderr=said) as process,
    ):
        try:
            if not _listens(port, process):
                said.seek(0)
                raise RuntimeError(f"{' '.join(command)} does not listen: {said.read()[-500:].decode()}")
            yield process
        finally:
            process.send_signal(signal.SIGINT)  # what has children ends them too
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_LIMIT_S)
            process.kill()


def load(
    url: str,
    *,
    clients: int,
    seconds: float,
    core: int | None,
    script: Path | None = None,
    arguments: Sequence[str] = (),
) -> Load:
    """Send to ``url`` from one thread, each client a request at a time over a connection of its own."""
    options = ["-t1", f"-c{clients}", f"-d{seconds:.0f}", "--latency", *(["-s", str(script)] if script else [])]
    command = on_core(core, ["wrk", *options, url, *(["--", *arguments] if arguments else [])])
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    failed = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    if errors := re.search(r"Socket errors: (.*)", said):
        failed += sum(int(count) for count in re.findall(r"\d+", errors[1]))
    return Load(
        requests=int(_found(r"(\d+) requests in", said)),
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        p50_ms=_moment_ms(_found(r"(?m)^\s+50%\s+(\S+)", said)),
        p99_ms=_moment_ms(_found(r"(?m)^\s+99%\s+(\S+)", said)),
        failed=failed,
    )


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"wrk said something else: {text}")
    return found[1]


def _moment_ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_MS[unit]


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < _START_LIMIT_S:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False
