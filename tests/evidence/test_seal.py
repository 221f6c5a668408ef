"""What is changed after an arm has ended is seen."""

from pathlib import Path

import pytest

from replay.evidence.files import ArmFolder
from replay.evidence.seal import SEAL, broken, seal
from replay.evidence.values import LogEvent, Mark, Reading


@pytest.fixture
def arm(tmp_path: Path) -> Path:
    """An arm's folder with a file of each kind."""
    folder = ArmFolder(tmp_path / "arms" / "production-steps")
    folder.create()
    folder.mark(Mark(0.0, "", "arm", "started"))
    folder.readings("database").write([Reading(0.5, "database", "connections", 3.0, {})])
    folder.log("errors").write([LogEvent(1.0, "errors", "gone", 1, "gone")])
    (folder.path / "reset.log").write_text("the judge does not read this")
    return folder.path


def test_nothing_is_broken_where_nothing_was_changed(arm: Path) -> None:
    digest = seal(arm)
    (arm / "reset.log").write_text("and so it may change")
    (arm / "readings" / ".database-000002.parquet.part").write_text("nor what is half written")
    assert list(broken(arm, digest)) == []
    assert seal(arm) == digest


def test_each_change_is_named(arm: Path) -> None:
    digest = seal(arm)
    file = arm / "readings" / "database-000001.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] + b"x" + whole[-4:])
    (arm / "marks.jsonl").unlink()
    (arm / "log" / "errors-000002.parquet").write_bytes(whole)
    assert list(broken(arm, digest)) == [
        "log/errors-000002.parquet was added after the arm had ended",
        "marks.jsonl is gone",
        "readings/database-000001.parquet was changed after the arm had ended",
    ]


def test_a_seal_made_anew_is_not_the_one(arm: Path) -> None:
    digest = seal(arm)
    (arm / "marks.jsonl").write_text("")
    assert seal(arm) != digest
    assert list(broken(arm, digest)) == [f"{SEAL} was changed after the arm had ended"]
    (arm / SEAL).unlink()
    assert list(broken(arm, digest)) == [f"{SEAL} was removed after the arm had ended"]
