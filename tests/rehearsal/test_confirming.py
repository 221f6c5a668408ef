"""A second pair of arms is played where the first one left something open, and only there."""

import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from replay.cli.display import Display
from replay.errors import InputError, StageError
from replay.evidence.run import read_run
from replay.judge.verdict import judge
from replay.rehearsal.arms import balanced, second_pairs
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan

WANTED = {"production": "production-steps"}


def outline(setting, *, resume: bool = False):
    return check_plan(read_plan(setting.write(), setting.environment), setting.out, resume=resume)


@pytest.fixture
def short(playable):
    for name in ("workloads.qa", "workloads.production"):
        playable.values[name]["duration"] = "3s"
    playable.values["steps"][0]["at"] = "1s"
    return playable


def test_a_second_pair_repeats_the_arm_that_is_named(playable) -> None:
    playable.values["rehearsal"]["controls"] = 2
    playable.values["steps"][0]["at"] = ["1s", "2s"]
    arms = outline(playable).arms
    ((control, steps),) = second_pairs(arms, {"production": "production-steps-2"})
    assert (control.name, steps.name) == ("production-control-3", "production-steps-3")
    assert (control.steps, steps.steps[0].plan.at_s) == ((), 2.0)
    assert second_pairs(arms, {"production": "production-control"}) == ()
    assert second_pairs(arms, {}) == ()


def test_a_second_pair_is_played_the_other_way_round(playable) -> None:
    arms = outline(playable).arms
    wanted = {"production": "production-steps", "qa": "qa-steps"}
    names = [arm.name for arm in arms]
    again = [arm.name for arm in balanced(arms, second_pairs(arms, wanted), wanted)]
    for workload in wanted:
        first = names.index(f"{workload}-control") < names.index(f"{workload}-steps")
        assert (again.index(f"{workload}-control-2") < again.index(f"{workload}-steps-2")) != first


@pytest.mark.slow
def test_what_is_suspected_is_played_once_more(short, tmp_path) -> None:
    asked: list[str] = []

    def suspects(run: Path) -> dict[str, str]:
        asked.append(json.loads((run / "rehearsal.json").read_text())["state"])
        return WANTED

    with (tmp_path / "said").open("w") as said:
        conduct(outline(short), short.out, Display(Console(file=said, width=200)), suspects=suspects)
    evidence = read_run(short.out)
    assert asked == ["complete"]
    assert (evidence.rehearsal["state"], evidence.rehearsal["ended_at"] != "") == ("complete", True)
    assert evidence.rehearsal["confirming"] == {
        "production": {"control": "production-control-2", "steps": "production-steps-2"}
    }
    assert list(evidence.arms) == evidence.rehearsal["order"]
    assert {arm.info.state for arm in evidence.arms.values()} == {"complete"}
    assert len(evidence.rehearsal["stage"]["fingerprints"]) == 6 == short.was_reset
    first, second = (evidence.arms[f"production-steps{number}"] for number in ("", "-2"))
    assert list(first.observations["due_s"]) == list(second.observations["due_s"])
    said_lines = (tmp_path / "said").read_text()
    assert "Something is suspected under production" in said_lines
    assert "[6/6]" in said_lines


@pytest.mark.slow
@pytest.mark.parametrize("key", ["confirm", "reset"])
def test_none_is_played_where_the_plan_does_not_let_it(short, key) -> None:
    if key == "confirm":
        short.values["rehearsal"]["confirm"] = False
    else:
        del short.values["target"]["reset"]
    conduct(outline(short), short.out, suspects=lambda _: WANTED)
    assert len(read_run(short.out).arms) == 4


@pytest.mark.slow
def test_who_is_killed_before_the_second_pair_gets_it_by_going_on(short) -> None:
    def killed(_: Path) -> dict[str, str]:
        raise SystemExit

    with pytest.raises(SystemExit):
        conduct(outline(short), short.out, suspects=killed)
    rehearsal = read_run(short.out).rehearsal
    assert (rehearsal["state"], rehearsal["settled"]) == ("complete", False)
    conduct(outline(short, resume=True), short.out, resume=True, suspects=lambda _: WANTED)
    after = read_run(short.out)
    assert (after.rehearsal["state"], after.rehearsal["settled"], len(after.arms)) == ("complete", True, 6)
    assert short.was_reset == 6
    with pytest.raises(InputError, match="is complete"):
        conduct(outline(short, resume=True), short.out, resume=True, suspects=lambda _: WANTED)


@pytest.mark.slow
def test_a_second_pair_that_was_cut_short_is_played_anew(short) -> None:
    put_back = f"exec {sys.executable} put_back.py"
    short.program("reset", f'echo reset >> was-reset; [ "$(wc -l < was-reset)" -ne 6 ] && {put_back}')
    with pytest.raises(StageError):
        conduct(outline(short), short.out, suspects=lambda _: WANTED)
    broken = read_run(short.out)
    assert broken.rehearsal["state"] == "failed"
    assert len(broken.arms) == 5
    # What was seen until then is judged: a pair that is not whole confirms nothing, and leaves nothing open.
    assert judge(broken).verdict == "INCONCLUSIVE"
    conduct(outline(short, resume=True), short.out, resume=True, suspects=lambda _: WANTED)
    whole = read_run(short.out)
    assert whole.rehearsal["state"] == "complete"
    assert {arm.info.state for arm in whole.arms.values()} == {"complete"}
    assert len(whole.arms) == 6
    assert short.was_reset == 8
