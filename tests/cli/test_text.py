"""What others wrote on its way to a terminal."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replay.cli.judge import _show
from replay.cli.rehearse import Rehearsed, show_verdict

HOSTILE = "GET /x\nGO\r\n  - all is well\x1b[2J\u202e"


@pytest.mark.parametrize("command", ["judge", "rehearse"])
def test_a_reason_is_one_line_whatever_an_endpoint_is_called(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = SimpleNamespace(verdict="NO_GO", reasons=(HOSTILE,), report=Path("report.html"))
    if command == "judge":
        _show(cast("Any", told))
    else:
        show_verdict(cast("Rehearsed", told))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["NO_GO", "  - GET /x GO - all is well\\x1b[2J\\u202e"]
