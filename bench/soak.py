"""What a soak costs: memory of the generator and of the conductor, and bytes of evidence, minute by minute.

    python bench/soak.py [--minutes 20] [--rate 1000] [--cycle 60] [--keep FOLDER]

A small server answers in a process of its own; `replay run --criteria` plays a schedule of `--cycle` seconds over and
over. The table is from heartbeats. Below it stands the slope of each column by Theil and Sen, an hour, without the
first quarter, which is the start's. Leaves with 1 where the run itself failed.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from measure import print_table
from scipy import stats

from replay.evidence.heartbeat import last_sign
from replay.scenario.schedule import PlannedRequest, Schedule, write_schedule

_ENDPOINTS, _CLIENTS = 30, 500
_LOCUSTFILE = """
from replay.scenario.runtime import Replay


class Soak(Replay):
    scenario = "soak.data"
"""
_CRITERIA = """
[criteria]
drift_p_value = {p_value}

[probes.api]
kind = "process"
pids = ["{pid}"]
"""


class _Api(asyncio.Protocol):
    """Answers every request with a JSON object whose size and values differ."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._held = b""
        self._random = random.Random(1)  # noqa: S311 - no secret

    def data_received(self, data: bytes) -> None:
        *requests, self._held = (self._held + data).split(b"\r\n\r\n")
        for _ in requests:
            items = [{"id": self._random.getrandbits(40), "name": "x" * self._random.randrange(20)} for _ in range(4)]
            body = json.dumps({"items": items}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


def _serve(told: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Api, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def _api() -> Iterator[tuple[int, int]]:
    """The server's port and process id."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield int(here.recv()), process.pid or 0
    finally:
        process.kill()
        process.join()


def _scenario(folder: Path, rate: float, cycle_s: float) -> Path:
    """Visits of three requests each, evenly spread."""
    data = folder / "soak.data"
    data.mkdir()
    requests: list[PlannedRequest] = []
    chance = random.Random(1)  # noqa: S311 - no secret
    for number in range(int(rate * cycle_s)):
        visit, position = divmod(number, 3)
        requests.append(
            PlannedRequest(
                request=number,
                visit=visit,
                client=f"client-{visit % _CLIENTS}",
                endpoint=f"GET /v1/things-{(which := chance.randrange(_ENDPOINTS))}/{{id}}",
                due_s=number / rate,
                after=number - 1 if position else None,
                method="GET",
                path=f"/v1/things-{which}/{chance.randrange(10_000)}",
                query="",
                headers=(("accept", "application/json"), ("user-agent", "soak")),
                body=None,
                expected_status=200,
                expected_shape=None,
            )
        )
    file = data / "schedule.parquet"
    write_schedule(Schedule(tuple(requests), cycle_s), file)
    digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    meta = {"format": 1, "capture": {"environment": "test", "hosts": []}, "schedule": digest}
    (data / "scenario.json").write_text(json.dumps(meta))
    (folder / "soak.py").write_text(_LOCUSTFILE)
    return folder / "soak.py"


def _play(folder: Path, minutes: float, rate: float, cycle_s: float) -> tuple[list[dict[str, Any]], int]:
    """The heartbeats of a run, and its exit code."""
    locustfile, run = _scenario(folder, rate, cycle_s), folder / "run"
    beats: dict[str, dict[str, Any]] = {}
    with _api() as (port, pid):
        criteria = folder / "criteria.toml"
        criteria.write_text(_CRITERIA.format(p_value=0.01 if minutes * 60 >= 200 else 0, pid=pid))
        command = [sys.executable, "-m", "replay", "run", str(locustfile), "--target", f"http://127.0.0.1:{port}"]
        command += ["--allow", "127.0.0.1", "--duration", f"{minutes * 60:g}s", "--out", str(run)]
        process = subprocess.Popen([*command, "--criteria", str(criteria)])
        try:
            while process.poll() is None:
                if sign := last_sign(run):
                    beats[sign["time"]] = sign
                time.sleep(1.0)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return [one for one in beats.values() if one["elapsed_s"] > 0 and one["generator_memory_bytes"]], process.returncode


def _rows(beats: list[dict[str, Any]]) -> list[list[str]]:
    rows, minute = [], 0
    for one in beats:
        if one["elapsed_s"] >= minute * 60:
            minute = int(one["elapsed_s"] // 60) + 1
            rows.append(
                [
                    f"{one['elapsed_s']:.0f} s",
                    f"{one['sent']:,}",
                    f"{one['failed']:,}",
                    *(f"{one[name] / 1e6:,.1f} MB" for name in _COLUMNS),
                ]
            )
    return rows


_COLUMNS = ("generator_memory_bytes", "conductor_memory_bytes", "evidence_bytes")


def _slopes(beats: list[dict[str, Any]]) -> None:
    from_s = max(60.0, beats[-1]["elapsed_s"] / 4) if beats else 0.0  # by then the first segments were rolled up
    later = [one for one in beats if one["elapsed_s"] >= from_s]
    if len(later) < 3:
        print("Too short for a slope.")
        return
    at_h = np.array([one["elapsed_s"] for one in later]) / 3600
    for name in _COLUMNS:
        slope, _, low, high = stats.theilslopes(np.array([one[name] for one in later]) / 1e6, at_h)
        print(f"{name:24} {slope:+9.1f} MB an hour (95%: {low:+.1f} to {high:+.1f})")
    last = later[-1]
    print(f"{last['evidence_bytes'] / max(1, last['sent']):.1f} bytes of evidence a request")


def main() -> int:
    """Play, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--cycle", type=float, default=60)
    parser.add_argument("--keep", type=Path, help="an empty folder for the run")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        beats, code = _play(folder, given.minutes, given.rate, given.cycle)
        print_table(["At", "Sent", "Failed", "Generator", "Conductor", "Evidence"], _rows(beats))
        _slopes(beats)
        print(f"replay run left with {code}")
        return 0 if code in {0, 1, 3} else 1


if __name__ == "__main__":
    raise SystemExit(main())
