"""Which answers hold too little or what is out of date: from arrays alone, and in whole rehearsals, simulated."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import of

from replay.judge.answers.contents import Answers, Asked, shrunken, stale
from replay.judge.verdict import Verdict, judge, judge_run

NAN = float("nan")
LIST, THING, WRITE, OTHER, BATCH = range(5)
NAMES = ("GET /a", "GET /a/{a_id}", "PUT /a/{a_id}", "POST /b/{b_id}/x", "POST /a/batch#Save")


def asked(endpoints: list[int], *, before: int = 0, **given: Any) -> Asked:
    """Requests of one visit; the first ``before`` of them are over before the first step."""
    n = len(endpoints)
    values: dict[str, Any] = {
        "request": np.arange(n),
        "visit": np.zeros(n, dtype=np.int64),
        "before": np.arange(n) < before,
        "items": np.full(n, NAN),
        "reads_back": np.full(n, -1),
    }
    values |= {name: np.array(value) for name, value in given.items()}
    return Asked(endpoint=np.array(endpoints, dtype=np.int64), names=NAMES, **values)


def answers(n: int, **given: Any) -> Answers:
    """Good answers, each done before the next request is sent."""
    values: dict[str, Any] = {
        "ok": np.ones(n, dtype=bool),
        "well": np.ones(n, dtype=bool),
        "items": np.full(n, NAN),
        "digest": np.arange(n),
        "sent_s": np.arange(n, dtype=float),
        "done_s": np.arange(n) + 0.5,
    }
    return Answers(**(values | {name: np.array(value) for name, value in given.items()}))


def lists(
    steps: list[float], control: list[float], captured: list[float] | None = None, before: int = 0
) -> tuple[list[int], list[int]]:
    """The places of what is shrunken in either arm."""
    n = len(steps)
    arms = (answers(n, items=np.array(steps, dtype=float)), answers(n, items=np.array(control, dtype=float)))
    known = {} if captured is None else {"items": np.array(captured, dtype=float)}
    t, c = shrunken(asked([LIST] * n, before=before, **known), *arms)
    return np.flatnonzero(t).tolist(), np.flatnonzero(c).tolist()


def test_fewer_than_half_of_the_items_is_shrunken() -> None:
    assert lists([3, 49, 50, 100, 0], [100, 100, 100, 3, 4]) == ([0, 1, 4], [3])


def test_the_control_has_not_shrunken_where_the_steps_made_lists_longer() -> None:
    assert lists([50.0] * 9, [20.0] * 9) == ([], [])
    assert lists([50.0] * 9, [20.0] * 9, captured=[18.0] * 9, before=0) == ([], [])
    steady = [20.0] * 20
    assert lists([*steady, 50, 50], [*steady, 20, 9]) == ([], [21])
    assert lists([*steady, 50, 50], [*steady, 20, 9], captured=[100.0] * 22, before=20) == ([], [21])


def test_small_lists_and_lists_that_are_none_say_nothing() -> None:
    assert lists([1, 0, NAN, 1, NAN], [3, 3, 100, NAN, NAN]) == ([], [])


def test_what_failed_in_either_arm_is_not_shrunken() -> None:
    plan, few, many = asked([LIST] * 2), answers(2, items=[3.0, 3.0]), answers(2, items=[100.0, 100.0])
    well = np.array([False, True])
    assert shrunken(plan, dataclasses.replace(few, ok=well), many)[0].tolist() == [False, True]
    assert shrunken(plan, few, dataclasses.replace(many, ok=well))[0].tolist() == [False, True]


def test_the_capture_must_have_had_a_list_worth_the_name_too() -> None:
    steady = [100.0] * 20
    assert lists([*steady, 3, 3, 3], [100.0] * 23, captured=[*steady, 3, 8, NAN], before=20) == ([21, 22], [])
    assert lists([*steady, 3, 3], [100.0] * 22, captured=[4.0] * 20 + [3, 4], before=20) == ([21], [])


def test_lists_that_differ_before_the_first_step_are_no_measure() -> None:
    steady = [10.0] * 38
    assert lists([*steady, 3, 3, 1], [*steady, 10, 10, 10], before=40)[0] == [38, 39, 40]  # 2 of 40 are a twentieth
    assert lists([3, 10, 10, 3], [10, 10, 10, 10], before=3)[0] == [0, 3]  # once is chance
    assert lists([3, *steady, 3, 3, 1], [10, *steady, 10, 10, 10], before=41) == ([], [])
    assert lists([3, *steady, 10, 10, 1], [10, *steady, 3, 3, 10], before=41) == ([], [])


def test_the_capture_tells_only_where_the_time_before_cannot() -> None:
    small, large = [10.0] * 30, [100.0] * 30
    t = [*small[:29], 3.0]
    assert lists(t, small, captured=large, before=20)[0] == [29]
    assert lists(t, small, captured=large, before=19) == ([], [])
    assert lists(t, small, captured=small, before=0)[0] == [29]
    assert lists(t, small, captured=[4.0] * 30, before=0) == ([], [])
    assert lists(t, small, captured=[5.0] * 30, before=0)[0] == [29]


COUNTS = st.sampled_from([NAN, 0.0, 1.0, 3.0, 4.0, 7.0, 8.0, 100.0])


@given(st.data())
def test_what_is_shrunken_is_so_beside_the_other_arm_whatever_the_labels(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 30))
    endpoints, before = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), data.draw(st.integers(0, 30))
    draw = st.lists(COUNTS, min_size=n, max_size=n).map(lambda values: np.array(values, dtype=float))
    one, other = (answers(n, items=data.draw(draw)) for _ in range(2))
    plan = asked(endpoints, before=before)
    t, c = shrunken(plan, one, other)
    assert not (t & c).any()
    relabelled = shrunken(dataclasses.replace(plan, endpoint=4 - plan.endpoint), one, other)
    assert (t.tolist(), c.tolist()) == (relabelled[0].tolist(), relabelled[1].tolist())
    for found, mine, theirs in ((t, one.items, other.items), (c, other.items, one.items)):
        assert (mine[found] < theirs[found] / 2).all()
        assert (theirs[found] >= 4).all()


VISIT = [THING, WRITE, THING]
OLD = {"digest": [7, 0, 7]}
NEW = {"digest": [7, 0, 8]}


def read_back(
    steps: dict[str, Any],
    control: dict[str, Any],
    endpoints: list[int] | None = None,
    **plan: Any,
) -> tuple[list[int], list[int]]:
    """The places of what is stale in either arm."""
    endpoints = endpoints or VISIT
    n = len(endpoints)
    plan = {"reads_back": [-1] * (n - 1) + [0]} | plan
    t, c = stale(asked(endpoints, **plan), answers(n, **steps), answers(n, **control))
    return np.flatnonzero(t).tolist(), np.flatnonzero(c).tolist()


def test_what_stays_as_before_the_write_in_one_arm_alone_is_stale() -> None:
    assert read_back(OLD, NEW) == ([2], [])
    assert read_back(NEW, OLD) == ([], [2])
    assert read_back(OLD, OLD) == ([], [])
    assert read_back(NEW, NEW) == ([], [])


def test_a_body_that_is_another_each_time_says_nothing() -> None:
    assert read_back({"digest": [1, 0, 2]}, NEW) == ([], [])


@pytest.mark.parametrize(
    "broken",
    [
        {"ok": [False, True, True]},
        {"ok": [True, False, True], "well": [True, False, True]},
        {"ok": [True, False, True]},  # as in the capture, but it wrote nothing
        {"ok": [True, True, False]},
        {"digest": [-1, 0, -1]},
        {"sent_s": [0.0, 0.4, 2.0]},  # the write left before the read was done
        {"done_s": [0.5, 2.5, 3.0]},  # the write was not done when the read left
        {"done_s": [0.5, NAN, 3.0]},
    ],
)
@pytest.mark.parametrize("in_steps", [True, False])
def test_all_must_have_been_well_and_in_turn(broken: dict[str, Any], in_steps: bool) -> None:
    steps, control = (OLD | broken, NEW) if in_steps else (OLD, NEW | broken)
    assert read_back(steps, control) == ([], [])


def test_a_write_elsewhere_may_fail() -> None:
    failed = {"ok": [True, True, False, True], "well": [True, True, False, True]}
    old, new = {"digest": [7, 0, 0, 7]}, {"digest": [7, 0, 0, 8]}
    assert read_back(old | failed, new, [THING, WRITE, OTHER, THING]) == ([3], [])
    assert read_back(old | failed, new, [THING, WRITE, WRITE, THING]) == ([], [])
    assert read_back(old | failed, new, [THING, WRITE, BATCH, THING]) == ([], [])


@pytest.mark.parametrize(
    "plan",
    [
        {"reads_back": [-1, -1, 2]},
        {"reads_back": [-1, -1, 99]},
        {"reads_back": [-1, -1, -7]},
        {"reads_back": [-1, -1, -1]},
        {"visit": [1, 1, 0]},
        {"visit": [0, 0, 1]},
        {"visit": [0, 1, 0]},
        {"reads_back": [-1, -1, 1], "request": [0, 2, 4]},
    ],
)
def test_what_reads_nothing_back_is_not_stale(plan: dict[str, Any]) -> None:
    assert read_back(OLD, NEW, **plan) == ([], [])


def test_numbers_and_visits_may_be_any() -> None:
    assert read_back(OLD, NEW, request=[5, 70, 2**40], reads_back=[-1, -1, 5], visit=[2**62] * 3) == ([2], [])


def many(times: int, before: int, stale_in: set[int]) -> tuple[list[int], list[int]]:
    """So many visits that write and read back; which of them are stale with the steps."""
    n = 3 * times
    visit, back = np.repeat(np.arange(times), 3), np.full(n, -1)
    back[2::3] = np.arange(0, n, 3)
    steps, control = np.arange(n), np.arange(n)
    for one in stale_in:
        steps[3 * one + 2] = steps[3 * one]
    plan = asked(VISIT * times, before=3 * before, visit=visit, reads_back=back)
    t, c = stale(plan, answers(n, digest=steps), answers(n, digest=control))
    return (np.flatnonzero(t) // 3).tolist(), (np.flatnonzero(c) // 3).tolist()


def test_an_endpoint_that_is_out_of_date_anyway_is_not_held_to_it() -> None:
    assert many(30, 20, {25, 26}) == ([25, 26], [])
    assert many(30, 20, {1, 25, 26}) == ([1, 25, 26], [])
    assert many(30, 20, {1, 2, 25, 26}) == ([], [])


@given(st.data())
def test_stale_is_as_it_is_said(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 12))

    def some(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=n, max_size=n))

    endpoints, visit = some(st.sampled_from([THING, THING, WRITE, OTHER])), some(st.integers(0, 1))
    back = [data.draw(st.integers(-1, number)) if endpoints[number] == THING else -1 for number in range(n)]
    arms = [
        answers(
            n,
            ok=some(st.sampled_from([True, True, True, False])),
            digest=some(st.sampled_from([-1, 1, 1, 2, 2])),
            done_s=np.arange(n) + np.array(some(st.sampled_from([0.5, 0.5, 1.5]))),
        )
        for _ in range(2)
    ]
    arms = [dataclasses.replace(arm, well=arm.ok) for arm in arms]
    expected: tuple[list[int], list[int]] = ([], [])
    for number in range(n):
        first = back[number]
        if not 0 <= first < number or visit[first] != visit[number]:
            continue
        writes = [at for at in range(first, number) if endpoints[at] == WRITE and visit[at] == visit[number]]
        chain = [first, *writes, number]
        fine = bool(writes) and all(
            arm.ok[chain].all()
            and arm.digest[first] >= 0 <= arm.digest[number]
            and arm.done_s[first] <= arm.sent_s[writes].min()
            and arm.done_s[writes].max() <= arm.sent_s[number]
            for arm in arms
        )
        same = [arm.digest[first] == arm.digest[number] for arm in arms]
        for own, mine, other in ((expected[0], *same), (expected[1], *same[::-1])):
            if fine and mine and not other:
                own.append(number)
    t, c = stale(asked(endpoints, visit=visit, reads_back=back), *arms)
    assert (np.flatnonzero(t).tolist(), np.flatnonzero(c).tolist()) == expected


EVENTS, NOTE, SAVE = "GET /v1/events", "GET /v1/notes/{note_id}", "PUT /v1/notes/{note_id}"
MIX = {simulate.TOKEN: (200, 0.0), EVENTS: (600, 0.01), NOTE: (600, 0.0), SAVE: (300, 0.0)}


def planted(seed: int = 1, items: int = 20, captured: int | None = None) -> simulate.Planted:
    """Two arms whose lists and whose notes are well."""
    arms = simulate.workload(seed, regime=simulate.M, mix=MIX)
    arms.step(20, 25)
    arms.lists(EVENTS, items, captured)
    arms.read_back(NOTE, SAVE)
    return arms


def judged(*arms: simulate.Planted) -> Verdict:
    return judge(simulate.evidence(*arms))


def test_lists_that_lose_most_of_their_items_are_found() -> None:
    arms = planted()
    hit = arms.shrink(EVENTS, 22, 60, items=3)
    verdict = judged(arms)
    assert verdict.verdict != "GO"
    (finding,) = of(verdict, endpoint=EVENTS, phase=f"after {simulate.STEP}", outcome="shrunken")
    assert finding["difference"] == "shrunken"
    assert "came back with less than half of their items" in finding["explanation"]
    assert set(finding["evidence"]["requests"]) <= set(hit.tolist())
    assert {one["endpoint"] for one in of(verdict) if one["severity"] != "note"} == {EVENTS}


def test_what_the_visit_wrote_and_cannot_read_back_is_found() -> None:
    arms = planted()
    hit = arms.outdate(NOTE, 22, 60)
    verdict = judged(arms)
    (finding,) = of(verdict, endpoint=NOTE, phase=f"after {simulate.STEP}", outcome="stale")
    assert finding["difference"] == "stale"
    assert "gave back what had been before the visit's own write" in finding["explanation"]
    assert set(finding["evidence"]["requests"]) <= set(hit.tolist())
    assert {one["endpoint"] for one in of(verdict) if one["severity"] != "note"} == {NOTE}


def test_what_is_so_in_both_arms_is_no_difference() -> None:
    arms = planted()
    for arm in ("steps", "control"):
        arms.shrink(EVENTS, 22, 60, items=3, arm=arm)
        arms.outdate(NOTE, 22, 60, arm=arm)
    assert judged(arms).verdict == "GO"


def test_lists_that_grow_fail_nothing() -> None:
    arms = planted()
    arms.shrink(EVENTS, 22, 60, items=50)
    assert judged(arms).verdict == "GO"


def test_a_stage_that_is_smaller_than_production_is_held_to_its_own_lists() -> None:
    arms = planted(items=10, captured=100)
    assert judged(arms).verdict == "GO"
    arms.shrink(EVENTS, 22, 60, items=3)
    assert of(judged(arms), endpoint=EVENTS, outcome="shrunken")


@pytest.mark.parametrize("seed", range(10))
def test_lists_and_bodies_that_are_other_each_time_are_go(seed: int) -> None:
    arms = planted(seed)
    dice = np.random.default_rng(seed)
    for frame in (arms.control, arms.steps):
        frame["items"] = np.where(frame["endpoint"] == EVENTS, dice.integers(0, 40, len(frame)), np.nan)
        again = frame["reads_back"].notna() & (dice.random(len(frame)) < 0.3)
        frame.loc[again, "digest"] = frame.set_index("request")["digest"].loc[frame.loc[again, "reads_back"]].to_numpy()
    assert judged(arms).verdict == "GO"


def test_it_is_found_in_files_too_and_older_evidence_says_nothing(tmp_path: Path) -> None:
    arms = planted()
    arms.shrink(EVENTS, 22, 60, items=3)
    arms.outdate(NOTE, 22, 60)
    run = simulate.write(simulate.evidence(arms), tmp_path / "run")
    assert {"shrunken", "stale"} <= {one.outcome for one in judge_run(run).findings}
    for file in sorted(run.glob("arms/*/observations/*.parquet")):
        table = pq.read_table(file)
        pq.write_table(table.drop_columns(["items", "expected_items", "reads_back"]), file)
    simulate.reseal(run)
    assert judge_run(run).verdict == "GO"
