"""The start that is told once everything is loaded."""

import threading
from pathlib import Path

import pytest

from replay.errors import ToolError
from replay.scenario.runtime.start import await_start


def test_it_says_that_it_is_ready_and_waits(tmp_path: Path) -> None:
    file, heard = tmp_path / "start", []
    waiting = threading.Thread(target=lambda: heard.append(await_start(file)))
    waiting.start()
    for _ in range(500):
        if (tmp_path / "start.ready").exists():
            break
        waiting.join(0.02)
    assert (tmp_path / "start.ready").exists()
    assert not heard
    partial = tmp_path / "start.part"
    partial.write_text("1234.5")
    partial.replace(file)
    waiting.join(10)
    assert heard == [1234.5]


def test_what_is_no_moment(tmp_path: Path) -> None:
    (tmp_path / "start").write_text("soon")
    with pytest.raises(ToolError, match="does not hold a moment"):
        await_start(tmp_path / "start")
