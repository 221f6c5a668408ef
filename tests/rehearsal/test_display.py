"""What is said of a rehearsal where there is no terminal: what is there already, arms without traffic, whole lines."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from replay.cli.display import Display
from replay.cli.outlining import dry
from replay.evidence.values import ArmInfo
from replay.rehearsal.outline import Outline, check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.watch import Sight


@pytest.fixture
def outline(setting) -> Outline:
    setting.values["rehearsal"] = {"quiet": True, "order": "listed", "confirm": False}
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


@pytest.fixture
def continued(outline: Outline) -> Outline:
    """The same where the controls need not be played."""
    return dataclasses.replace(outline, there=frozenset({"qa-control", "production-control"}))


def test_what_is_there_already_takes_no_time(outline: Outline, continued: Outline) -> None:
    played_s = sum(arm.duration_s + outline.overhead_s for arm in outline.arms if arm.steps)
    assert continued.estimate_s == pytest.approx(played_s)
    assert outline.estimate_bytes > continued.estimate_bytes > 0
    assert [arm.name for arm in continued.to_play] == ["qa-steps", "production-steps", "quiet-steps"]
    said = io.StringIO()
    display = Display(Console(file=said, width=40))
    display.begins(continued)
    first = said.getvalue().splitlines()[0]
    assert ": 5 arms on http://127.0.0.1" in first
    assert f" (2 there already), about {played_s:.0f} s and " in first, "and a line stays one line"
    display.doing(continued.arms[0], "waiting")
    assert display.live.left_s == pytest.approx(continued.arms[0].duration_s + played_s)


def test_a_dry_run_says_what_is_there_already(continued: Outline, setting, capsys) -> None:
    assert dry(continued, setting.out, offline=True, as_json=False) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()[:2] in {"1.", "2."}]
    assert listed[0][1] == "qa-control"
    assert listed[0][-2:] == ["there", "already"]
    assert listed[1][1] == "qa-steps"
    assert "already" not in listed[1]
    assert dry(continued, setting.out, offline=True, as_json=True) == 0
    arms = json.loads(capsys.readouterr().out)["arms"]
    assert [arm["arm"] for arm in arms if arm["there"]] == ["qa-control", "production-control"]


def test_an_arm_without_traffic_has_no_requests_to_count(outline: Outline, setting, capsys) -> None:
    assert dry(outline, setting.out, offline=True, as_json=False) == 0
    assert "quiet, with the steps: no requests, for as long as the steps take\n" in capsys.readouterr().out
    said = io.StringIO()
    display = Display(Console(file=said, width=40))
    display.begins(outline)
    quiet = outline.arms[-1]
    display.doing(quiet, "waiting")
    display.started(quiet, 5)
    display.progress(quiet, 7.0, Sight(7.0))
    lines = said.getvalue().splitlines()[2:]
    assert lines == [
        "[5/5] quiet-steps: playing no requests, for as long as the steps take",
        "[5/5] quiet-steps: 7 s without traffic, 0 s left in all",
    ]
    wide = Console(file=io.StringIO(), width=100)
    wide.print(display._render())
    assert wide.file.getvalue().splitlines()[1].split("  ") == ["7 s without traffic", "0 s left in all"]


def test_an_interruption_is_said_once(outline: Outline) -> None:
    said = io.StringIO()
    display = Display(Console(file=said, width=40))
    display.begins(outline)
    arm = outline.arms[0]
    info = ArmInfo(arm.name, arm.workload_name, arm.role, False, "", 20.0, 21, "interrupted", "interrupted")
    display.ended(arm, info)
    assert said.getvalue().splitlines()[-1] == "qa-control: interrupted (0 of 21 requests)"
