"""The round trip: a capture, built, replayed against a recording server, captured again there, and compared.

    python bench/round_trip.py [CAPTURE ...] [--rounds N] [--first]

Without captures: the demonstration's, and one made up of 20,000 exchanges at 300 a second, with parallel requests in
its visits. A time is measured twice: by the engine (sent - due - waited), and by the server's system, which stamps the
packet of the request. Leaves with 1 where the bar is missed: nothing missing, nothing added, order within visits, the
endpoints' mix, the 99th percentile of lateness within 5 ms on both clocks, the Kolmogorov-Smirnov distance of
inter-arrival times at most 0.01.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import print_table
from scipy import stats

from replay.capture.store import CaptureWriter
from replay.scenario.locustfile import build_scenario
from replay.scenario.process import LocustProcess, locust_command
from replay.scenario.schedule import Schedule
from replay.traffic import Exchange, Request, Response
from replay.workload.model import read_workload

_ROOT = Path(__file__).parents[1]
_SERVER = _ROOT / "tests" / "scenario" / "recording.py"
_LATE_S, _DISTANCE = 0.005, 0.01
_LIMIT_S = 900.0
_MARKED = """
import dataclasses

from built import Built as AsBuilt


class Marked(AsBuilt):
    def prepare(self, request, client):
        request = super().prepare(request, client)
        return dataclasses.replace(request, headers=(*request.headers, ("X-Replay-Request", str(request.request))))


del AsBuilt
"""


@dataclass(frozen=True, slots=True)
class Trip:
    """What one round trip came to. Lateness is in seconds; ``distance`` is that of Kolmogorov and Smirnov."""

    exchanges: int
    rate: float
    missing: int
    added: int
    disordered: int
    mix: float
    engine_s: tuple[float, float]
    server_s: tuple[float, float]
    distance: float
    cpu_share: float
    load: float

    @property
    def holds(self) -> bool:
        """Whether the bar is reached."""
        counts = not (self.missing or self.added or self.disordered or self.mix)
        return counts and max(self.engine_s[1], self.server_s[1]) <= _LATE_S and self.distance <= _DISTANCE


def main() -> None:
    """Make the round trips and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="before other processes, in the system's real-time class")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        captures = options.captures or [_ROOT / "captures" / "production", _made_up(Path(name) / "made-up")]
        trips = [
            (capture.name, travel(capture, Path(name) / f"{number}-{capture.name}", first=options.first))
            for number in range(options.rounds)
            for capture in captures
        ]
    columns = ("capture", "exchanges", "a second", "missing", "added", "out of order", "mix", "engine p50, p99 ms")
    columns += ("server p50, p99 ms", "KS of gaps", "of a core", "load", "bar")
    print_table(columns, [_row(name, trip) for name, trip in trips])
    sys.exit(0 if all(trip.holds for _, trip in trips) else 1)


def _row(name: str, trip: Trip) -> tuple[object, ...]:
    late = (", ".join(f"{1e3 * value:.2f}" for value in both) for both in (trip.engine_s, trip.server_s))
    counts = (f"{trip.exchanges:,}", f"{trip.rate:.0f}", trip.missing, trip.added, trip.disordered, f"{trip.mix:.4f}")
    rest = (f"{trip.distance:.4f}", f"{trip.cpu_share:.2f}", f"{trip.load:.1f}", "held" if trip.holds else "MISSED")
    return (name, *counts, *late, *rest)


def travel(capture: Path, folder: Path, *, first: bool) -> Trip:
    """Build, replay against the recording server, import its log, and compare."""
    folder.mkdir()
    scenario = build_scenario(capture, folder / "built.py")
    (folder / "marked.py").write_text(_MARKED, encoding="utf-8")
    identities = folder / "identities.csv"
    example = scenario.data / "identities.example.csv"
    if example.exists():
        frame = pd.read_csv(example, dtype=str)
        frame.fillna("made-up").to_csv(identities, index=False)
    load = os.getloadavg()[0]
    before = ["chrt", "-f", "10"] if first else []
    with _recording([*before, sys.executable, str(_SERVER), str(capture), str(folder / "access.log")]) as port:
        command = locust_command(
            folder / "marked.py",
            target_url=f"http://127.0.0.1:{port}",
            evidence=folder / "arm",
            start_at=None,
            duration_s=None,
            speed=1.0,
            scale=1.0,
            identities=identities if example.exists() else None,
            allow=["127.0.0.1"],
        )
        process = LocustProcess([*before, *command], folder / "locust.log")
        with process:
            if process.wait(_LIMIT_S) != 0:
                raise RuntimeError(process.last_words())
    again = folder / "again"
    importing = [sys.executable, "-m", "replay", "import", str(folder / "access.log"), "--out", str(again)]
    subprocess.run(
        [*importing, "--environment", "stage", "--scrub", "off", "--format", "nginx-json", "--host", "api.example"],
        check=True,
        capture_output=True,
    )
    return _compared(capture, again, folder, scenario.schedule, load)


def _compared(capture: Path, again: Path, folder: Path, schedule: Schedule, load: float) -> Trip:
    log = pd.read_json(folder / "access.log", lines=True, dtype={"msec": str})
    summary = json.loads(next((folder / "arm").glob("replay-*.json")).read_text(encoding="utf-8"))
    start = datetime.fromisoformat(summary["started_at"]).timestamp()
    observed = pd.read_parquet(folder / "arm" / "observations").set_index("request").sort_index()
    counts = log.replay_request.value_counts()
    came_s = pd.Series(log.msec.astype(float).to_numpy() - start, index=log.replay_request).sort_index()
    came_s = came_s[~came_s.index.duplicated()]
    due_s = np.array([planned.due_s for planned in schedule])
    late_s = (came_s - observed.due_s - observed.waited_s).dropna()
    engine_s = (observed.sent_s - observed.due_s - observed.waited_s).dropna()
    captured, recaptured = read_workload(capture), read_workload(again)
    return Trip(
        exchanges=len(schedule),
        rate=len(schedule) / schedule.duration_s,
        missing=len(set(range(len(schedule))) - set(counts.index)),
        added=int(counts.sum()) - len(counts) + len(set(counts.index) - set(range(len(schedule)))),
        disordered=_disordered(schedule, came_s),
        mix=_mix_distance(captured, recaptured),
        engine_s=_quantiles(engine_s),
        server_s=_quantiles(late_s),
        distance=_distance(due_s, np.sort(came_s.to_numpy())),
        cpu_share=summary["cpu_share"],
        load=load,
    )


def _quantiles(values: "pd.Series[float]") -> tuple[float, float]:
    return float(values.quantile(0.5)), float(values.quantile(0.99))


def _distance(due_s: Any, came_s: Any) -> float:
    return float(stats.ks_2samp(np.diff(due_s), np.diff(came_s)).statistic)


def _disordered(schedule: Schedule, came_s: "pd.Series[float]") -> int:
    """Requests of a visit that came before one that they followed, or whose due time was before theirs by 1 ms."""
    last: dict[int, tuple[float, float]] = {}
    count = 0
    for planned in schedule:
        at_s = float(came_s.get(planned.request, np.nan))
        due_s, latest_s = last.get(planned.visit, (-1.0, -np.inf))
        follows = planned.after is not None and at_s < float(came_s.get(planned.after, np.nan))
        count += follows or (planned.due_s - due_s > 1e-3 and at_s < latest_s)
        last[planned.visit] = (planned.due_s, max(at_s, latest_s))
    return count


def _mix_distance(one: Any, other: Any) -> float:
    """Half the sum of the differences between the shares of endpoints."""
    shares = [{str(share.endpoint): share.count / len(each.exchanges) for share in each.mix()} for each in (one, other)]
    return sum(abs(shares[0].get(name, 0) - shares[1].get(name, 0)) for name in {*shares[0], *shares[1]}) / 2


@contextlib.contextmanager
def _recording(command: list[str]) -> Iterator[int]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline() if process.stdout else "")
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _made_up(folder: Path) -> Path:
    with CaptureWriter(folder, environment="production", hosts=["api.example"], scrubber=None) as writer:
        for exchange in _busy(20_000, 300.0):
            writer.add(exchange)
    return folder


def _busy(count: int, rate: float) -> Iterable[Exchange]:
    """Visits that log in, then open pages: a page's parts are asked for side by side over connections of their own."""
    chance = random.Random(1)  # noqa: S311 - no secret
    length_s = count / rate
    sent: list[_Sent] = []
    visit = 0
    while len(sent) < count:
        visit += 1
        at_s = chance.uniform(-30, length_s)
        token = f"tok_{chance.getrandbits(96):024x}"
        asked = [_Sent(at_s, "POST", "/oauth/token", token, visit, 0)]
        for _ in range(1 + int(chance.expovariate(0.3))):
            at_s += 0.1 + chance.lognormvariate(0.5, 1.0)
            path = f"/v1/events/{int(10 * chance.paretovariate(0.8)) % 5000}"
            parts = ("", "/attendees", "/tickets", "/price")[: chance.randint(1, 4)]
            asked += [
                _Sent(at_s + number * chance.uniform(0, 0.003), "GET", path + part, token, visit, number)
                for number, part in enumerate(parts)
            ]
        if asked[0].at_s >= 0:
            sent += [one for one in asked if one.at_s < length_s]
    return [one.exchange(0.01 + chance.expovariate(80.0)) for one in sorted(sent)[:count]]


@dataclass(frozen=True, slots=True, order=True)
class _Sent:
    """A request of the made-up traffic."""

    at_s: float
    method: str
    path: str
    token: str
    visit: int
    connection: int

    def exchange(self, duration_s: float) -> Exchange:
        """It with its answer."""
        headers = (("Accept", "application/json"), ("User-Agent", "app/4.1"))
        answer: dict[str, object] = {"id": self.path, "seats": [1, 2, 3]}
        form = None
        if self.method == "POST":
            headers += (("Content-Type", "application/x-www-form-urlencoded"),)
            answer = {"access_token": self.token}
            form = f"grant_type=client_credentials&client_id=client-{self.visit}".encode()
        else:
            headers += (("Authorization", f"Bearer {self.token}"),)
        body = json.dumps(answer).encode()
        return Exchange(
            at=datetime(2026, 3, 2, 9, tzinfo=UTC) + timedelta(seconds=self.at_s),
            duration_s=duration_s,
            client=f"client-{self.visit}",
            connection=f"{self.visit}-{self.connection}",
            request=Request(self.method, "api.example", self.path, "", headers, form),
            response=Response(200, (("Content-Type", "application/json"),), body, len(body)),
        )


if __name__ == "__main__":
    main()
