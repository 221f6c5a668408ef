"""`replay capture` beside bare `mitmdump`, and one that records: reverse proxies before the same nginx, in turns.

    python bench/proxy.py [--rounds N] [--seconds S] [--no-pin]

All three stream bodies. nginx answers with 300 bytes of JSON, wrk is 16 clients. Pinned, the proxy has one core for
itself; nginx, wrk and the capture's writer share the other. The capture loads fewer of mitmproxy's addons than mitmdump
does. Takes nginx, wrk and taskset.
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
from measure import print_table
from wrk import Load, cpu_s, free_port, load, move, serving

from replay.capture.manifest import Manifest
from replay.capture.store import read_manifest

_CLIENTS = 16
_BODY = (
    '{"id": 4711, "name": "Open day in the garden", "starts_at": "2026-03-14T18:30:00Z", "price": 12.50, "seats": '
    '[{"row": 1, "number": 11, "free": true}, {"row": 1, "number": 12, "free": false}], "venue": {"id": 17, '
    '"street": "Am Markt 3"}, "tags": ["music", "open air", "family"], "page": 1, "of": 20, "next": "/events?page=2"}'
)
_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        location / {{ default_type application/json; return 200 '{body}'; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class _Run:
    sent: Load
    proxy_s: float
    writer_s: float


_BARE, _RECORDING, _OURS = "mitmdump", "mitmdump -w FILE", "replay capture"


def main() -> None:
    """Measure all in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--pin", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    cores = (0, 1) if options.pin else (None, None)
    runs: dict[str, list[_Run]] = {_BARE: [], _RECORDING: [], _OURS: []}
    manifests = []
    with tempfile.TemporaryDirectory() as name:
        folder, upstream = Path(name), free_port()
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=upstream, body=_BODY))
        with serving(["nginx", "-c", str(folder / "nginx.conf")], upstream, core=cores[1]):
            for number in range(options.rounds):
                for program, measured in runs.items():
                    out = folder / f"{number}-{program.split()[0]}"
                    measured.append(_measure(program, upstream, out, options.seconds, cores))
                manifests.append(read_manifest(folder / f"{number}-replay"))
    _print(runs, manifests)


def _measure(program: str, upstream: int, out: Path, seconds: float, cores: tuple[int | None, int | None]) -> _Run:
    port = free_port()
    command = _ours(upstream, port, out) if program == _OURS else _mitmdump(upstream, port)
    if program == _RECORDING:
        command += ["-w", str(out.with_suffix(".flows")), "--set", "store_streamed_bodies=true"]
    with serving(command, port, core=cores[0]) as process:
        proxy = psutil.Process(process.pid)
        writers = proxy.children()
        if cores[1] is not None:
            for writer in writers:
                move(writer.pid, cores[1])
        url = f"http://127.0.0.1:{port}/v2/events/4711?page=1"
        load(url, clients=_CLIENTS, seconds=1, core=cores[1])  # a start that is not measured
        before = cpu_s(proxy), sum(map(cpu_s, writers))
        sent = load(url, clients=_CLIENTS, seconds=seconds, core=cores[1])
        return _Run(sent, cpu_s(proxy) - before[0], sum(map(cpu_s, writers)) - before[1])


def _ours(upstream: int, port: int, out: Path) -> list[str]:
    where = ["--upstream", f"http://127.0.0.1:{upstream}", "--listen", f"127.0.0.1:{port}", "--out", str(out)]
    return [sys.executable, "-m", "replay", "capture", *where]


def _mitmdump(upstream: int, port: int) -> list[str]:
    program = str(Path(sys.executable).with_name("mitmdump"))
    where = ["--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1", "-p", str(port)]
    # What `replay capture` sets as well.
    alike = ("stream_large_bodies=1", "connection_strategy=lazy", "websocket=false")
    return [program, "-q", *where, *(part for option in alike for part in ("--set", option))]


def _print(runs: dict[str, list[_Run]], manifests: list[Manifest]) -> None:
    rows = []
    for program, measured in runs.items():
        ratios = [one.sent.rate / bare.sent.rate for one, bare in zip(measured, runs[_BARE], strict=True)]
        requests = sum(one.sent.requests for one in measured)
        rows.append(
            (
                program,
                f"{statistics.median(one.sent.rate for one in measured):,.0f}",
                f"{statistics.median(one.sent.p50_ms for one in measured):.1f}",
                f"{statistics.median(one.sent.p99_ms for one in measured):.1f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{1e3 * sum(one.proxy_s for one in measured) / requests:.2f}",
                f"{1e3 * sum(one.writer_s for one in measured) / requests:.2f}",
                sum(one.sent.failed for one in measured),
            )
        )
    columns = ("program", "requests/s", "p50 ms", "p99 ms", "of mitmdump's rate, in pairs")
    print_table((*columns, "CPU ms a request", "writer's", "failed"), rows)
    exchanges = sum(manifest.exchanges for manifest in manifests)
    lacking = sum(sum(manifest.lacking.values()) for manifest in manifests)
    print(f"\nIn the captures: {exchanges:,} exchanges, {lacking} lacking.")


if __name__ == "__main__":
    main()
