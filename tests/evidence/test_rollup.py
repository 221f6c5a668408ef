"""Segments are merged while a run goes on: nothing is lost and nothing twice, whoever is killed when."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.evidence import rollup
from replay.evidence.files import OBSERVATION_SCHEMA, READING_SCHEMA, ArmFolder, write_json
from replay.evidence.rollup import MERGED, read_segments, roll_up, segment_files, steadily, tidy
from replay.evidence.run import read_run
from replay.evidence.values import ArmInfo, Observation, Reading


def observation(number: int, worker: str = "w") -> Observation:
    return Observation(
        request=number, visit=number // 3, client=f"c{number % 7}", endpoint="GET /x", due_s=number / 10, waited_s=0.0,
        sent_s=number / 10, first_byte_s=None if number % 5 else number / 10 + 0.01, done_s=number / 10 + 0.02,
        status=200, size_bytes=number, digest=f"{number:016x}", shape="{id:number}", expected_status=200,
        expected_shape="{id:number}", outcome="ok", error=None, caused_by=None, worker=worker,
    )  # fmt: skip


def written(folder: ArmFolder, counts: list[int], worker: str = "w") -> list[int]:
    """Segments of so many observations each; their numbers."""
    folder.create()
    writer, number = folder.observations(worker), 0
    for count in counts:
        writer.write([observation(number + one, worker) for one in range(count)])
        number += count
    return list(range(number))


def old(folder: Path) -> None:
    """Let the segments be an hour old."""
    hour_ago = time.time() - 3600
    for number, file in enumerate(sorted(folder.glob("*.parquet"))):
        os.utime(file, (hour_ago + number / 1000, hour_ago + number / 1000))


def numbers(folder: Path) -> list[int]:
    def read() -> list[int]:
        found: list[int] = []
        for _, table in read_segments(folder, OBSERVATION_SCHEMA, ["request"]):
            assert not isinstance(table, Exception)
            found += table.column("request").to_pylist()
        return found

    return sorted(steadily(read))


@pytest.mark.slow
@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 30))
def test_what_is_merged_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], rows: int
) -> None:
    folder = ArmFolder(tmp_path_factory.mktemp("arm"))
    wrote = written(folder, counts)
    observations = folder.path / "observations"
    before = rows_of(folder)
    old(observations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup, "_MOST_ROWS", rows)
        roll_up(observations, OBSERVATION_SCHEMA)
    assert numbers(observations) == wrote
    assert rows_of(folder) == before
    if len(counts) > 1 and rows > sum(counts):
        assert len(segment_files(observations)) == 1


def rows_of(folder: ArmFolder) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for _, table in read_segments(folder.path / "observations", OBSERVATION_SCHEMA):
        assert not isinstance(table, Exception)
        found += table.to_pylist()
    return sorted(found, key=lambda row: str(row["digest"]))


def test_fresh_segments_stay_and_old_ones_are_merged(tmp_path: Path) -> None:
    folder = ArmFolder(tmp_path)
    wrote = written(folder, [3, 3, 3])
    observations = tmp_path / "observations"
    assert roll_up(observations, OBSERVATION_SCHEMA) == 0  # no ten minutes, and few rows
    assert roll_up(observations, OBSERVATION_SCHEMA, whole=True) == 0  # a short run stays as it is
    old(observations)
    assert roll_up(observations, OBSERVATION_SCHEMA) == 3
    ArmFolder(tmp_path).observations("late").write([observation(9)])
    assert roll_up(observations, OBSERVATION_SCHEMA, whole=True) == 0  # one alone needs no merging
    ArmFolder(tmp_path).observations("later").write([observation(10)])
    assert roll_up(observations, OBSERVATION_SCHEMA, whole=True) == 2
    assert [file.name for file in segment_files(observations)] == [f"{MERGED}00000{n}.parquet" for n in (1, 2)]
    assert numbers(observations) == [*wrote, 9, 10]


def test_readings_are_merged_in_the_order_of_time(tmp_path: Path) -> None:
    folder = ArmFolder(tmp_path)
    folder.create()
    for number in (3, 1, 2):
        folder.readings(f"p{number}").write([Reading(float(number), "p", "x", 1.0, {"of": "ä"})])
    old(tmp_path / "readings")
    assert tidy(tmp_path) == 3
    ((_, table),) = read_segments(tmp_path / "readings", READING_SCHEMA)
    assert table.column("at_s").to_pylist() == [1.0, 2.0, 3.0]


def test_a_merged_file_counts_and_its_parts_do_not(tmp_path: Path) -> None:
    """As a kill leaves it between the rename and the last part's end."""
    folder, observations = ArmFolder(tmp_path), tmp_path / "observations"
    wrote = written(folder, [4, 4, 4])
    kept = {file: file.read_bytes() for file in sorted(observations.glob("*.parquet"))[1:]}
    old(observations)
    assert roll_up(observations, OBSERVATION_SCHEMA) == 3
    for file, content in kept.items():
        file.write_bytes(content)
    assert numbers(observations) == wrote
    roll_up(observations, OBSERVATION_SCHEMA)
    assert not any(file.exists() for file in kept)
    assert numbers(observations) == wrote


def test_a_merged_file_that_says_it_replaces_itself_counts_all_the_same(tmp_path: Path) -> None:
    folder, observations = ArmFolder(tmp_path), tmp_path / "observations"
    wrote = written(folder, [4, 4])
    old(observations)
    assert roll_up(observations, OBSERVATION_SCHEMA) == 2
    (merged,) = observations.glob("*.parquet")
    replaces = {b"replaces": json.dumps([merged.name, f"{MERGED}000002.parquet"]).encode()}
    pq.write_table(pq.read_table(merged).replace_schema_metadata(replaces), merged)
    shutil.copy(merged, observations / f"{MERGED}000002.parquet")
    assert numbers(observations) == sorted([*wrote, *wrote])
    roll_up(observations, OBSERVATION_SCHEMA, whole=True)
    assert merged.exists()


def test_other_programs_find_the_merged_files_too(tmp_path: Path) -> None:
    """Readers of folders pass over names that begin with a dot or an underscore."""
    written(ArmFolder(tmp_path), [2, 3])
    old(tmp_path / "observations")
    assert tidy(tmp_path) == 2
    assert len(pd.read_parquet(tmp_path / "observations")) == 5


def test_a_damaged_segment_stays_for_the_judge_to_name(tmp_path: Path) -> None:
    arm = tmp_path / "arms" / "a-control"
    folder = ArmFolder(arm)
    written(folder, [2, 2, 2])
    folder.write_info(ArmInfo("a-control", "a", "production", False, "2026-11-22T10:00:00+00:00", 1.0, 6))
    write_json(tmp_path / "rehearsal.json", {})
    (arm / "observations" / "w-000002.parquet").write_bytes(b"PAR1 broken PAR1")
    old(arm / "observations")
    assert roll_up(arm / "observations", OBSERVATION_SCHEMA) == 2
    evidence = read_run(tmp_path).arms["a-control"]
    assert [*evidence.observations["request"]] == [0, 1, 4, 5]
    (damaged,) = evidence.damaged
    assert damaged.startswith("observations/w-000002.parquet")


def test_who_reads_while_segments_are_merged_reads_all_once(tmp_path: Path) -> None:
    folder, observations = ArmFolder(tmp_path), tmp_path / "observations"
    wrote = written(folder, [2] * 20)
    old(observations)
    begun = 0

    def read() -> list[int]:
        nonlocal begun
        begun += 1
        found: list[int] = []
        for number, (_, table) in enumerate(read_segments(observations, OBSERVATION_SCHEMA)):
            assert not isinstance(table, Exception)
            found += table.column("request").to_pylist()
            if begun == 1 and number == 3:
                assert roll_up(observations, OBSERVATION_SCHEMA) == 20
        return found

    assert sorted(steadily(read)) == wrote
    assert begun == 2


_MERGER = """
import sys
from pathlib import Path
from replay.evidence import rollup
from replay.evidence.files import OBSERVATION_SCHEMA
rollup._MOST_ROWS = 40
print("ready", flush=True)
sys.stdin.readline()
while True:
    rollup.roll_up(Path(sys.argv[1]), OBSERVATION_SCHEMA)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    for time_ in range(15):
        folder = ArmFolder(tmp_path / str(time_))
        observations = folder.path / "observations"
        wrote = written(folder, [5] * 120)
        old(observations)
        command = [sys.executable, "-c", _MERGER, str(observations)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as merging:
            assert merging.stdout is not None
            assert merging.stdin is not None
            merging.stdout.readline()
            merging.stdin.write(b"\n")
            merging.stdin.flush()
            time.sleep(chance.uniform(0.0, 0.25))
            merging.send_signal(signal.SIGKILL)
        assert numbers(observations) == wrote
        roll_up(observations, OBSERVATION_SCHEMA, whole=True)
        assert numbers(observations) == wrote
