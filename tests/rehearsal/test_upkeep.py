"""What goes on beside an arm: signs of life, and segments that become few."""

import os
import time
from pathlib import Path

import pytest

from replay.evidence.files import ArmFolder
from replay.evidence.heartbeat import last_sign
from replay.evidence.rollup import MERGED
from replay.evidence.values import Reading
from replay.rehearsal.upkeep import Standing, Upkeep, size_of


def wait_for_sign(run: Path, sent: int) -> dict[str, object]:
    until = time.monotonic() + 30
    while (sign := last_sign(run)) is None or sign["sent"] < sent:
        assert time.monotonic() < until
        time.sleep(0.02)
    return sign


def test_it_beats_and_rolls_up_until_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.rehearsal.upkeep._BEAT_EVERY_S", 0.05)
    monkeypatch.setattr("replay.rehearsal.upkeep._TIDY_EVERY_S", 0.05)
    monkeypatch.setattr("replay.evidence.rollup._EVERY_S", 0.0)
    monkeypatch.setattr("replay.evidence.rollup._AGE_S", -1.0)
    folder = ArmFolder(tmp_path / "arms" / "p-control")
    folder.create()
    readings = folder.readings("api")
    sent = 0
    with Upkeep(tmp_path, folder.path, 10, lambda: Standing(1.5, sent, 1), os.getpid):
        for sent in range(1, 4):
            readings.write([Reading(float(sent), "api", "x", 1.0, {})])
            wait_for_sign(tmp_path, sent)
        until = time.monotonic() + 30
        while not any((folder.path / "readings").glob(f"{MERGED}*")):
            assert time.monotonic() < until
            time.sleep(0.02)
    sign = last_sign(tmp_path)
    assert sign is not None
    assert (sign["arm"], sign["elapsed_s"], sign["planned"], sign["sent"], sign["failed"]) == (
        "p-control",
        1.5,
        10,
        3,
        1,
    )
    assert sign["evidence_bytes"] == size_of(folder.path) > 0
    assert sign["generator_memory_bytes"] > 1_000_000
    assert sign["conductor_memory_bytes"] > 1_000_000
    time.sleep(0.3)
    assert last_sign(tmp_path) == sign


def test_before_the_load_has_a_process_its_memory_is_unknown(tmp_path: Path) -> None:
    arm = tmp_path / "arms" / "p-control"
    arm.mkdir(parents=True)
    with Upkeep(tmp_path, arm, 0, lambda: Standing(None, 0, 0)):
        wait_for_sign(tmp_path, 0)
    sign = last_sign(tmp_path)
    assert sign is not None
    assert (sign["elapsed_s"], sign["generator_memory_bytes"]) == (0.0, None)
