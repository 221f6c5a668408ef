"""Temporary tables of a process that was killed do not stay for good, and nobody else's are touched."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from replay.workload.engine import Engine
from replay.workload.scratch import remove_left

HOLDS = """
import sys, tempfile
from replay.workload.scratch import Scratch
tempfile.tempdir = sys.argv[1]
one = Scratch()
(one.path / "table").touch()
print(one.path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        left = Path(process.stdout.readline().strip())
        with Engine():
            assert (left / "table").exists()
        process.kill()
    with Engine():
        assert len(list(tmp_path.iterdir())) == 1
        assert not left.exists()
    assert not list(tmp_path.iterdir())


def test_what_lives_under_another_number_stays(tmp_path: Path) -> None:
    """As in another container, where a number that is nobody's here is somebody's."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        held = Path(process.stdout.readline().strip())
        other = held.rename(tmp_path / f"replay-engine-{2**22 + 1}-abc")
        remove_left(tmp_path)
        assert (other / "table").exists()
        process.kill()
    remove_left(tmp_path)
    assert not other.exists()


def test_names_of_others_stay(tmp_path: Path) -> None:
    for name in ("replay-engine-abc", f"replay-engine-{2**22 + 1}", f"other-{2**22 + 1}-abc"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"replay-engine-{2**22 + 1}-abc").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"replay-engine-{os.getpid()}-abc").mkdir()
    remove_left(tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
