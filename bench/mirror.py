"""`replay capture --mirror`, scrubbing: how many requests a second it takes on one core, and how many it then lacks.

    python bench/mirror.py [--seconds S] [--rate N]

wrk, on the other core, sends what 5,000 clients of an API send (mirror.lua): at the rate asked for, with the writer on
the sink's own core and on wrk's; then as fast as the sink answers. Takes wrk, taskset and two cores.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from measure import print_table
from wrk import Load, cpu_s, free_port, load, move, serving

from replay.capture.folder import MANIFEST
from replay.capture.manifest import Manifest, load_manifest
from replay.capture.store import open_capture, read_manifest

_SCRIPT = Path(__file__).with_name("mirror.lua")
_SINK_CORE, _WRK_CORE = 0, 1
_BEHIND_LIMIT_S = 120.0
_PAUSE_MS = 50  # of each client between two requests


@dataclass(frozen=True, slots=True)
class _Run:
    sent: Load
    manifest: Manifest
    sink_s: float
    writer_s: float
    behind_s: float


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=6_000)
    options = parser.parse_args()
    # A client takes its pause and about a millisecond more for each request.
    paced = options.rate * (_PAUSE_MS + 1) // 1000
    rows = []
    for where, core, clients, pause_ms, seconds in (
        ("on the sink's", _SINK_CORE, paced, _PAUSE_MS, options.seconds),
        ("on wrk's", _WRK_CORE, paced, _PAUSE_MS, options.seconds),
        ("on wrk's", _WRK_CORE, 32, 0, 5.0),
    ):
        run = _measure(core, clients, pause_ms, seconds)
        rows.append(
            (
                where,
                f"{clients}, {pause_ms} ms apart" if pause_ms else f"{clients}, at once",
                f"{seconds:.0f} s",
                f"{run.sent.rate:,.0f}",
                f"{run.sent.p50_ms:.1f}",
                f"{run.sent.requests:,}",
                f"{run.manifest.exchanges:,}",
                f"{sum(run.manifest.lacking.values()):,}",
                f"{run.behind_s:.1f} s",
                f"{1e6 * run.sink_s / (run.manifest.exchanges + sum(run.manifest.lacking.values())):.0f}",
                f"{1e6 * run.writer_s / run.manifest.exchanges:.0f}",
                f"{run.manifest.exchanges / (run.sink_s + run.writer_s):,.0f}",
            )
        )
    columns = ("writer's core", "clients", "for", "requests/s", "p50 ms", "answered", "in the capture", "lacking")
    print_table((*columns, "all on disk after", "sink's CPU us", "writer's CPU us", "requests per CPU second"), rows)


def _measure(core: int, clients: int, pause_ms: int, seconds: float) -> _Run:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "capture"
        command = [sys.executable, "-m", "replay", "capture", "--mirror", "--listen", f"127.0.0.1:{port}"]
        with serving([*command, "--out", str(out)], port, core=_SINK_CORE) as process:
            sink = psutil.Process(process.pid)
            (writer,) = sink.children()
            move(writer.pid, core)
            before = cpu_s(sink), cpu_s(writer)
            sent = load(
                f"http://127.0.0.1:{port}",
                clients=clients,
                seconds=seconds,
                core=_WRK_CORE,
                script=_SCRIPT,
                arguments=[str(pause_ms)],
            )
            behind_s = _until_written(out, sent.requests)
            after = cpu_s(sink), cpu_s(writer)
        manifest = read_manifest(out)
        _check(out, manifest, sent)
    return _Run(sent, manifest, after[0] - before[0], after[1] - before[1], behind_s)


def _until_written(out: Path, requests: int) -> float:
    """How long it takes until all that was sent is on disk, or lacks. In seconds."""
    started = time.monotonic()
    while time.monotonic() - started < _BEHIND_LIMIT_S:
        manifest = load_manifest(out / MANIFEST)  # read_manifest takes a complete one only
        if manifest.exchanges + sum(manifest.lacking.values()) >= requests:
            return time.monotonic() - started
        time.sleep(0.2)
    raise RuntimeError(f"not all of {requests} requests were written after {_BEHIND_LIMIT_S:.0f} s")


def _check(out: Path, manifest: Manifest, sent: Load) -> None:
    """Raises RuntimeError where the manifest does not say what is there, or an answered request is neither."""
    ids = {exchange.request.header("x-request-id") for exchange in open_capture(out).exchanges()}
    if len(ids) != manifest.exchanges:
        raise RuntimeError(f"{len(ids)} requests are in a capture of {manifest.exchanges}")
    if manifest.exchanges + sum(manifest.lacking.values()) < sent.requests or sent.failed:
        raise RuntimeError(f"{sent} were sent, and the capture knows {manifest}")


if __name__ == "__main__":
    main()
