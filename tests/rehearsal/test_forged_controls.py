"""Controls of a run that nobody played as it says: refused with a sentence before anything is touched."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from replay.cli.main import run
from replay.errors import InputError
from replay.evidence.files import ArmFolder
from replay.evidence.values import ArmInfo
from replay.rehearsal.outline import Outline, check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.record import Record
from replay.rehearsal.reuse import Reused, find_controls, take_over

CONTROL = "production-control"


@pytest.fixture
def outline(setting) -> Outline:
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


@pytest.fixture
def earlier(setting, outline: Outline) -> Path:
    """What a whole rehearsal of the plan would have left of its controls."""
    folder = setting.folder / "earlier"
    write_controls(folder, outline)
    return folder


def write_controls(folder: Path, outline: Outline) -> None:
    arms = [arm for arm in outline.arms if not arm.steps]
    stage = {
        "database version": "17",
        "fingerprints": {arm.name: "f" * 32 for arm in arms},
        "schemas": {arm.name: "5" * 32 for arm in arms},
        "rows": {arm.name: {"token": 1000} for arm in arms},
        "differences": {},
        "pools": {arm.name: {"token_id": "d" * 32} for arm in arms},
        "databases": {arm.name: [{"user": "probe"}] for arm in arms},
    }
    for arm in arms:
        info = ArmInfo(
            arm.name, arm.workload_name, arm.role, False, "2026-11-22T10:00:00+00:00", arm.duration_s, arm.planned
        )
        made = ArmFolder(folder / "arms" / arm.name)
        made.create()
        made.write_info(dataclasses.replace(info, state="complete"))
    said = Record(folder, outline).values | {"state": "complete", "stage": stage}
    (folder / "rehearsal.json").write_text(json.dumps(said))


def find(outline: Outline, earlier: Path, out: Path) -> Reused:
    return find_controls(earlier, outline, Record(out, outline).values)


def change(earlier: Path, **more: Any) -> None:
    file = earlier / "rehearsal.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def test_whole_controls_are_taken(setting, outline: Outline, earlier: Path) -> None:
    reused = find(outline, earlier, setting.out)
    assert set(reused.arms) == {"qa-control", CONTROL}
    setting.out.mkdir(parents=True)
    take_over(reused, setting.out)
    assert (setting.out / "arms" / CONTROL / "arm.json").is_file()


ODD = [
    {"rows": [1, 2]},
    {"rows": {CONTROL: [1, 2]}},
    {"rows": {CONTROL: {"token": "many"}}},
    {"rows": {CONTROL: {"token": True}}},
    {"fingerprints": {CONTROL: 7}},
    {"fingerprints": {CONTROL: ["f"]}},
    {"fingerprints": [CONTROL]},
    {"schemas": {CONTROL: None}},
    {"schemas": "5"},
    {"differences": {CONTROL: {"a": 1}}},
    {"differences": 3},
    {"pools": {CONTROL: ["token_id"]}},
    {"pools": {CONTROL: {"token_id": 3}}},
    {"databases": {CONTROL: "all"}},
    {"databases": {CONTROL: [3]}},
]


def test_odd_kinds_are_refused(setting, outline: Outline, earlier: Path) -> None:
    stage = json.loads((earlier / "rehearsal.json").read_text())["stage"]
    for odd in ODD:
        change(earlier, stage=stage | odd)
        with pytest.raises(InputError) as refused:
            find(outline, earlier, setting.out)
        (key,) = odd
        said = refused.value.message
        assert f"is damaged: {key} of " in said or "nothing tells whether Stage is the same" in said, odd
    for odd in (3, [], None):
        change(earlier, stage=odd)
        with pytest.raises(InputError, match="nothing tells whether Stage is the same"):
            find(outline, earlier, setting.out)


def test_the_command_says_so(
    setting, earlier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in setting.environment.items():
        monkeypatch.setenv(name, value)
    stage = json.loads((earlier / "rehearsal.json").read_text())["stage"]
    change(earlier, stage=stage | {"rows": {CONTROL: []}})
    words = ["rehearse", str(setting.plan), "--out", str(setting.out), "--controls-of", str(earlier)]
    assert run(words) == 2
    assert "is damaged: rows of production-control" in capsys.readouterr().err
    assert not setting.was_reset
    assert not setting.out.exists()


def to_be_a_link(folder: Path) -> None:
    (folder / "marks.jsonl").symlink_to("/etc/hostname")


def to_be_linked(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def all_linked(folder: Path) -> None:
    folder.parent.rename(folder.parents[1] / "others")
    folder.parent.symlink_to("others")


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "observations" / "w-000001.parquet")


def another_arm(folder: Path) -> None:
    write(folder, arm="qa-control")


def with_steps(folder: Path) -> None:
    write(folder, steps=True)


def of_odd_length(folder: Path) -> None:
    write(folder, duration_s="long")


def without_end(folder: Path) -> None:
    write(folder, planned=10**18)


def write(folder: Path, **more: Any) -> None:
    file = folder / "arm.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


FORGERS = [to_be_a_link, to_be_linked, all_linked, a_pipe, another_arm, with_steps, of_odd_length, without_end]


def test_what_is_not_that_arm_is_refused(setting, outline: Outline) -> None:
    for forge in FORGERS:
        earlier = setting.folder / forge.__name__
        write_controls(earlier, outline)
        forge(earlier / "arms" / CONTROL)
        with pytest.raises(InputError) as refused:
            find(outline, earlier, setting.out)
        assert str(earlier) in refused.value.message, forge.__name__


def test_what_is_no_rehearsal_at_all(setting, outline: Outline, earlier: Path) -> None:
    for text in ("[" * 100_000, '{"plan": ' + '{"a": ' * 5000 + "1" + "}" * 5001, "3", ""):
        (earlier / "rehearsal.json").write_text(text)
        with pytest.raises(InputError, match="There is no rehearsal in"):
            find(outline, earlier, setting.out)


def test_a_plan_nested_without_end(setting, outline: Outline, earlier: Path) -> None:
    plan = json.loads((earlier / "rehearsal.json").read_text())["plan"]
    for depth in (300, 900):
        nested: Any = 1
        for _ in range(depth):
            nested = {"a": nested}
        change(earlier, plan=plan | {"target": nested})
        with pytest.raises(InputError, match="its plan has another"):
            find(outline, earlier, setting.out)
