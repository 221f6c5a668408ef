"""A scenario's folder: its files belong together, however many build it at once and whenever one of them dies."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from replay.capture.writer import CaptureWriter
from replay.errors import InputError
from replay.scenario.data import SCHEDULE, read_data, whole
from replay.scenario.locustfile import build_scenario, read_scenario
from replay.traffic import Exchange, Request, Response

HOSTS = {"one": "one.test", "two": "two.test"}


@pytest.fixture
def captures(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / "captures" / name for name in HOSTS}
    (tmp_path / "captures").mkdir()
    for name, folder in folders.items():
        with CaptureWriter(folder, environment="production", hosts=[HOSTS[name]], scrubber=None) as writer:
            for number in range(20):
                at = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=number)
                request = Request("GET", HOSTS[name], f"/{name}", "", (), b"")
                writer.add(Exchange(at, 0.1, "c", "", request, Response(200, (), b"")))
    return folders


@pytest.mark.slow
def test_builds_into_one_folder_do_not_mix(captures: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "o.py"
    said = (
        "import sys; from pathlib import Path; from replay.scenario.locustfile import build_scenario\n"
        "for _ in range(30): build_scenario(Path(sys.argv[1]), Path(sys.argv[2]), force=True)"
    )
    building = [subprocess.Popen([sys.executable, "-c", said, str(folder), str(out)]) for folder in captures.values()]
    assert [process.wait(60) for process in building] == [0, 0]
    built = read_scenario(out)
    assert {planned.path for planned in built.schedule} == {f"/{built.meta['capture']['name']}"}
    assert HOSTS[built.meta["capture"]["name"]] in built.meta["capture"]["hosts"]
    assert not list(tmp_path.rglob(".*.part"))


def test_the_schedule_of_another_capture_is_refused(captures: dict[str, Path], tmp_path: Path) -> None:
    built = build_scenario(captures["one"], tmp_path / "o.py")
    other = build_scenario(captures["two"], tmp_path / "other.py")
    (other.data / SCHEDULE).replace(built.data / SCHEDULE)
    with pytest.raises(InputError, match=r"is not the schedule that scenario\.json beside it") as refusal:
        read_scenario(built.path)
    assert "Build the scenario again" in refusal.value.hint


def without_digest(meta: dict[str, Any]) -> None:
    del meta["schedule"]  # as it was written once


def hostless(meta: dict[str, Any]) -> None:
    meta["capture"] = ["one.test"]


def named_by_numbers(meta: dict[str, Any]) -> None:
    meta["capture"]["hosts"] = [1]


@pytest.mark.parametrize("change", [without_digest, hostless, named_by_numbers])
def test_what_says_too_little_is_refused(
    change: Callable[[dict[str, Any]], None], captures: dict[str, Path], tmp_path: Path
) -> None:
    built = build_scenario(captures["one"], tmp_path / "o.py")
    file = built.data / "scenario.json"
    meta = json.loads(file.read_text())
    change(meta)
    file.write_text(json.dumps(meta))
    with pytest.raises(InputError):
        read_data(built.data)


# As on a full disk, writing fails in the middle.
FULL = """
import resource, signal, sys
from pathlib import Path
from replay.errors import InputError
from replay.scenario import locustfile
written = locustfile.write_schedule
def full(*given):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    written(*given)
locustfile.write_schedule = full
try:
    locustfile.build_scenario(Path(sys.argv[1]), Path(sys.argv[2]), force=True)
except InputError as error:
    print(error.message)
"""


def test_what_cannot_be_written_leaves_nothing(captures: dict[str, Path], tmp_path: Path) -> None:
    built = build_scenario(captures["one"], tmp_path / "o.py")
    before = (built.data / SCHEDULE).read_bytes()
    command = [sys.executable, "-c", FULL, str(captures["two"]), str(built.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot be written" in done.stdout, done.stderr
    assert not list(tmp_path.rglob(".*.part"))
    assert (built.data / SCHEDULE).read_bytes() == before
    assert read_scenario(built.path).meta == built.meta


def test_what_a_killed_build_left_is_removed(captures: dict[str, Path], tmp_path: Path) -> None:
    built = build_scenario(captures["one"], tmp_path / "o.py")
    (built.data / ".schedule.parquet.1-aa.part").touch()
    build_scenario(captures["one"], built.path)
    assert not list(tmp_path.rglob(".*.part"))


def test_a_file_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with whole(file) as partial:
        partial.write_text("one")
        assert not file.exists()
    with pytest.raises(FileNotFoundError), whole(file) as partial:
        partial.rename(tmp_path / "nowhere" / "b")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    assert file.read_text() == "one"
