import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from replay.scenario.process import LocustProcess, locust_command
from replay.scenario.schedule import PlannedRequest, Schedule, write_schedule

LOCUSTFILE = """
from replay.scenario.runtime import PlannedRequest, Replay, Retry


class Production(Replay):
    scenario = "production.data"
    pacing = "{pacing}"
    on_failure = {on_failure}

    def prepare(self, request: PlannedRequest, client: str) -> PlannedRequest:
        {prepare}
"""


def planned(request: int, path: str = "/ok", due_s: float = 0.0, **more: Any) -> PlannedRequest:
    """A planned request with what a test does not care about filled in."""
    method = more.get("method", "GET")
    values: dict[str, Any] = {
        "visit": 0,
        "client": "c1",
        "endpoint": f"{method} {path}",
        "after": None,
        "method": method,
        "query": "",
        "headers": (),
        "body": None,
        "expected_status": 200,
        "expected_shape": None,
    }
    return PlannedRequest(request=request, path=path, due_s=due_s, **{**values, **more})


@pytest.fixture(name="planned", scope="session")
def planned_fixture() -> Callable[..., PlannedRequest]:
    return planned


@dataclass
class Stage:
    process: subprocess.Popen[str]
    port: int
    notes: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def got(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    def paths(self) -> list[str]:
        return [note["path"] for note in self.got()]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    notes = tmp_path / "stage.jsonl"
    notes.touch()
    command = [sys.executable, str(Path(__file__).with_name("stage.py")), str(notes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield Stage(process, int(process.stdout.readline()), notes)
        process.kill()


@dataclass
class Rehearsed:
    code: int | None
    said: str
    arm: Path

    def observations(self) -> pd.DataFrame:
        files = sorted((self.arm / "observations").glob("*.parquet"))
        frame = pd.concat([pq.read_table(file).to_pandas() for file in files])
        return frame.sort_values("request", ignore_index=True)

    def retries(self) -> list[dict[str, Any]]:
        files = sorted((self.arm / "retries").glob("*.parquet"))
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        return sorted(rows, key=lambda row: (row["sent_s"], row["attempt"]))

    def row(self, request: int) -> dict[str, Any]:
        frame = self.observations()
        rows = frame[frame.request == request]
        assert len(rows) == 1
        values: dict[str, Any] = rows.iloc[0].to_dict()
        return {name: None if pd.isna(value) else value for name, value in values.items()}

    def summary(self) -> dict[str, Any]:
        (file,) = self.arm.glob("replay-*.json")
        value: dict[str, Any] = json.loads(file.read_text())
        return value

    def samples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.arm / "samples.jsonl").read_text().splitlines()]


@dataclass
class Room:
    """A folder with a scenario in it, which can be played against a target."""

    folder: Path

    @property
    def locustfile(self) -> Path:
        return self.folder / "production.py"

    def write(
        self,
        requests: Sequence[PlannedRequest],
        *,
        pacing: str = "visits",
        prepare: str = "return request",
        on_failure: str = '"give_up"',
        capture: dict[str, Any] | None = None,
    ) -> None:
        data = self.folder / "production.data"
        data.mkdir(exist_ok=True)
        self.locustfile.write_text(LOCUSTFILE.format(pacing=pacing, prepare=prepare, on_failure=on_failure))
        schedule = data / "schedule.parquet"
        write_schedule(Schedule(tuple(requests), max(r.due_s for r in requests)), schedule)
        digest = hashlib.blake2b(schedule.read_bytes(), digest_size=16).hexdigest()
        source = capture or {"environment": "production", "hosts": ["api.production.example"]}
        (data / "scenario.json").write_text(json.dumps({"format": 1, "capture": source, "schedule": digest}))

    def process(self, url: str, **options: Any) -> LocustProcess:
        settings: dict[str, Any] = {
            "evidence": self.folder / "arm",
            "start_at": None,
            "duration_s": None,
            "speed": 1.0,
            "scale": 1.0,
            "identities": None,
            "allow": ["127.0.0.1"],
        }
        extra = options.pop("extra", [])
        command = locust_command(self.locustfile, target_url=url, **{**settings, **options})
        return LocustProcess([*command, *extra], self.folder / "locust.log")

    def play(self, url: str, **options: Any) -> Rehearsed:
        with self.process(url, **options) as process:
            code = process.wait(60)
        return self.result(code)

    def result(self, code: int | None) -> Rehearsed:
        return Rehearsed(code, (self.folder / "locust.log").read_text(), self.folder / "arm")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    folder = tmp_path / "scenario"
    folder.mkdir()
    return Room(folder)
