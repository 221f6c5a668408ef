"""Going on with a rehearsal that was interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import replay.rehearsal.arm
from replay.errors import InputError, StageError, ToolError
from replay.evidence.files import ArmFolder
from replay.evidence.run import read_run
from replay.evidence.seal import seal
from replay.evidence.values import ArmInfo, Mark
from replay.judge.verdict import judge_run
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.resume import _is_whole, alone_in


def outline(setting, *, resume: bool = False):
    return check_plan(read_plan(setting.write(), setting.environment), setting.out, resume=resume)


def interrupted(playable, *, arms: int, number: int) -> None:
    """Rehearse, and send the signal ``number`` in the second second of the arm after so many whole ones."""
    for name in ("workloads.qa", "workloads.production"):
        playable.values[name]["duration"] = "3s"
    names = [arm.name for arm in outline(playable).arms]
    process = subprocess.Popen(
        [sys.executable, "-m", "replay", "rehearse", playable.write(), "--out", playable.out],
        env={**os.environ, **playable.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = playable.out / "arms" / names[arms] / "observations"
    until = time.monotonic() + 120
    while not list(folder.glob("*.parquet")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(60)


_TWICE = """
import os, signal
from replay.rehearsal.conductor import _interruptions
with _interruptions():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""


def test_a_second_interruption_leaves_at_once_and_says_how_to_go_on() -> None:
    done = subprocess.run([sys.executable, "-c", _TWICE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "Left at once: Stage is as the steps have left it. --resume goes on with what was seen.\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_arms_that_are_missing_are_played(playable, api, number) -> None:
    interrupted(playable, arms=2, number=number)
    before = read_run(playable.out)
    whole = [name for name, arm in before.arms.items() if arm.info.state == "complete"]
    assert len(whole) == 2
    asked = api.asked["tokens"]
    conduct(outline(playable, resume=True), playable.out, resume=True)
    after = read_run(playable.out)
    assert (after.rehearsal["state"], after.rehearsal["started_at"]) == ("complete", before.rehearsal["started_at"])
    assert list(after.arms) == after.rehearsal["order"]
    assert all(
        arm.info.state == "complete" and len(arm.observations) == arm.info.planned for arm in after.arms.values()
    )
    missing = sum(arm.info.planned for name, arm in after.arms.items() if name not in whole)
    # The load of a rehearsal that was killed sends a little more before it learns of that.
    assert missing <= api.asked["tokens"] - asked <= missing + 30 * (number == signal.SIGKILL)
    for name in whole:
        assert after.arms[name].observations.equals(before.arms[name].observations)
    assert set(after.rehearsal["stage"]["fingerprints"]) == set(after.arms)
    assert len(set(after.rehearsal["stage"]["fingerprints"].values())) == 1
    (said,) = [warning for warning in after.rehearsal["warnings"] if "was interrupted after" in warning]
    assert said.startswith(f"The rehearsal was interrupted after {', '.join(whole)}, and went on at ")
    passed = {check.name: check.passed for check in judge_run(playable.out).checks}
    assert passed["run_complete"]
    assert passed["stage_the_same"]


@pytest.mark.parametrize("state", ["complete", "aborted", "running"])
@pytest.mark.parametrize(("sealed", "edited"), [(True, False), (True, True), (False, False)])
def test_only_an_arm_that_is_as_it_was_sealed_is_whole(tmp_path, state, sealed, edited) -> None:
    arm = tmp_path / "qa-control"
    folder = ArmFolder(arm)
    folder.create()
    folder.write_info(ArmInfo("qa-control", "qa", "qa", False, "2026-01-01T00:00:00Z", 1.0, 1, state))
    seals = {"qa-control": seal(arm)} if sealed else {}
    if edited:
        folder.mark(Mark(1.0, "", "arm", "ended"))
    assert _is_whole(arm, seals) is (state != "running" and sealed and not edited)
    assert not _is_whole(arm, None)


def test_what_is_complete_and_not_settled_goes_on(halted) -> None:
    file = halted.out / "rehearsal.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": "complete", "settled": False}))
    with pytest.raises(StageError, match="nobody knows whether it is production"):
        conduct(outline(halted, resume=True), halted.out, resume=True)


@pytest.mark.slow
def test_an_arm_that_cannot_be_sealed_is_not_passed_over(playable, monkeypatch) -> None:
    def full(_: object) -> str:
        raise OSError(28, "No space left on device")

    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "2s"
    playable.values["steps"][0]["at"] = "1s"
    monkeypatch.setattr(replay.rehearsal.arm, "seal", full)
    with pytest.raises(ToolError, match=r"production-control could not be sealed.*No space left"):
        conduct(outline(playable), playable.out)
    assert read_run(playable.out).rehearsal["state"] == "failed"


@pytest.fixture
def halted(setting):
    """The folder of a rehearsal that was interrupted before its first arm was whole."""
    setting.values["target"]["ready_timeout"] = "200ms"
    with pytest.raises(StageError, match="nobody knows whether it is production"):
        conduct(outline(setting), setting.out)
    return setting


def refused(setting, said: str) -> None:
    before = (setting.out / "rehearsal.json").read_bytes()
    with pytest.raises(InputError, match=said):
        conduct(outline(setting, resume=True), setting.out, resume=True)
    assert (setting.out / "rehearsal.json").read_bytes() == before


def test_another_plan_does_not_go_on(halted) -> None:
    halted.values["rehearsal"]["seed"] = 7
    refused(halted, "its plan is another")


def test_another_migration_does_not_go_on(halted) -> None:
    (halted.folder / "up.sql").write_text("SELECT 1;")
    refused(halted, "its SQL files are others")


def test_another_capture_does_not_go_on(halted) -> None:
    shutil.rmtree(halted.folder / "qa")
    shutil.copytree(halted.folder / "production", halted.folder / "qa")
    refused(halted, "its captures are others")


def test_what_is_complete_does_not_go_on(halted) -> None:
    file = halted.out / "rehearsal.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": "complete", "settled": True}))
    refused(halted, "is complete")


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_there_is_nothing_to_go_on_with(halted, text) -> None:
    (halted.out / "rehearsal.json").write_text(text)
    refused(halted, "no rehearsal in")


def test_two_do_not_play_into_one_folder(halted) -> None:
    with alone_in(halted.out):
        refused(halted, "right now")


def test_without_the_word_a_run_is_not_gone_on_with(halted) -> None:
    with pytest.raises(InputError, match="is there already") as raised:
        outline(halted)
    assert "--resume" in (raised.value.hint or "")
