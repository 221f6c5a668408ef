"""Answers that are well by themselves and others than without the steps; and what is let in that had been refused."""

import numpy as np
import pandas as pd
import pytest
import simulate
from incident import EVENTS, PRODUCTION, failed_criteria, of
from simulate import SHAPE, Planted

from replay.judge.answers.changes import Statuses, fewer_items, let_in, other_shapes
from replay.judge.answers.contents import Answers
from replay.judge.answers.texts import texts_of
from replay.judge.verdict import Verdict, judge

FULL, NULL = "{email:string,id:number}", "{email:null,id:number}"
PAIR = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
DECLINED = "{error:string}"


def arms(repetition: int = 1, seed: int = 1) -> Planted:
    """The workload's arms, or those of its second pair."""
    first = simulate.workload(seed, mix=PRODUCTION)
    planted = first if repetition == 1 else simulate.again(first, seed, repetition, PRODUCTION)
    planted.step(20, 25)
    return planted


def judged(plant, **rehearsal) -> tuple[Verdict, Verdict]:
    """By the first pair, and by both; ``plant`` changes either."""
    pairs = [arms(repetition) for repetition in (1, 2)]
    for one in pairs:
        plant(one)
    return (
        judge(simulate.evidence(pairs[0], **rehearsal)),
        judge(simulate.evidence(*pairs, confirming=PAIR, **rehearsal)),
    )


def now_and_then(planted: Planted, every: int, status: int, shape: str) -> None:
    """Let the capture and both arms have such answers to one in so many requests of an endpoint, FULL ones else."""
    for frame in (planted.control, planted.steps):
        mine = frame["endpoint"] == EVENTS
        frame.loc[mine, ["shape", "expected_shape"]] = FULL
        mine &= frame["request"] % every == 0
        frame.loc[mine, ["status", "expected_status"]] = status
        frame.loc[mine, ["shape", "expected_shape"]] = shape


def answer(planted: Planted, status: int, shape: str) -> None:
    """Answer so with the steps from 22 s on."""
    hit = (planted.steps["endpoint"] == EVENTS) & (planted.steps["due_s"] > 22)
    planted.steps.loc[hit, ["status", "shape"]] = status, shape


def all_null(planted: Planted) -> None:
    now_and_then(planted, 50, 200, NULL)
    answer(planted, 200, NULL)


def all_elsewhere(planted: Planted) -> None:
    now_and_then(planted, 20, 304, "empty")
    answer(planted, 302, "empty")


def all_without_content(planted: Planted) -> None:
    now_and_then(planted, 20, 304, "empty")
    answer(planted, 204, "empty")


def cut(items: int, left: int):
    def plant(planted: Planted) -> None:
        planted.lists(EVENTS, items)
        planted.shrink(EVENTS, 22, 60, left)

    return plant


def all_short(planted: Planted) -> None:
    """A twentieth of the lists are short anyway, so that single ones tell nothing."""
    planted.lists(EVENTS, 12)
    dice = np.random.default_rng(planted.repetition)
    for frame in (planted.control, planted.steps):
        frame.loc[(frame["endpoint"] == EVENTS) & (dice.random(len(frame)) < 0.06), "items"] = 5
    planted.shrink(EVENTS, 22, 60, 1)


@pytest.mark.parametrize(
    ("plant", "kind", "words"),
    [
        (all_null, "wrong shape", "have another shape than the same request's without the steps ('email' is null"),
        (all_elsewhere, "wrong shape", "(status 302 instead of 200)"),
        (all_without_content, "wrong shape", " answers have another shape than"),
        (cut(100, 51), "shrunken", "have fewer items than the same request's without the steps (51 instead of 100"),
        (cut(3, 1), "shrunken", "(1 instead of 3 by the median)"),
        (all_short, "shrunken", "(1 instead of 12 by the median)"),
    ],
)
def test_what_all_answers_became_is_suspected_and_confirmed(plant, kind: str, words: str) -> None:
    one, both = judged(plant)
    assert one.verdict == "INCONCLUSIVE"
    assert one.unconfirmed == {"production": "production-steps"}
    (finding,) = of(one, endpoint=EVENTS, outcome=kind, severity="suspect")
    assert finding["difference"] == kind
    assert words in finding["explanation"]
    assert "; the other way round it was 0." in finding["explanation"]
    assert finding["failures"] / finding["requests"] > 0.9
    assert (both.verdict, both.rests_on) == ("NO_GO", "two pairs of arms")
    assert failed_criteria(both) == {("changed_answers", "production")}
    assert {(one["endpoint"], one["outcome"]) for one in of(both, severity="blocking")} == {(EVENTS, kind)}


def test_what_a_second_pair_does_not_show_is_a_note() -> None:
    pairs = [arms(repetition) for repetition in (1, 2)]
    cut(100, 51)(pairs[0])
    pairs[1].lists(EVENTS, 100)
    verdict = judge(simulate.evidence(*pairs, confirming=PAIR))
    assert verdict.verdict == "GO"
    assert {(one["severity"], one["confirmed"]) for one in of(verdict, outcome="shrunken")} == {("note", False)}


def test_the_plan_can_put_up_with_it() -> None:
    for verdict in judged(cut(100, 51), criteria={"tolerated_changes": 1.0}):
        assert verdict.verdict == "GO"
        assert {one["severity"] for one in of(verdict, outcome="shrunken")} == {"note"}


def test_what_fails_as_shrunken_is_not_told_twice() -> None:
    one, _ = judged(cut(100, 3))
    told = of(one, endpoint=EVENTS, outcome="shrunken")
    assert told
    assert {finding["metric"] for finding in told} == {None}


@pytest.mark.parametrize("seed", range(8))
def test_what_is_volatile_in_both_arms_is_go(seed: int) -> None:
    """Shapes that come and go, lists of any length, and lists that grow while traffic is played, a little unevenly."""
    planted = arms(seed=seed)
    dice = np.random.default_rng(seed)
    now_and_then(planted, 3, 200, NULL)
    for frame in (planted.control, planted.steps):
        mine = (frame["endpoint"] == EVENTS) & (dice.random(len(frame)) < 0.4)
        frame.loc[mine, "shape"] = NULL
        frame.loc[mine & (dice.random(len(frame)) < 0.2), ["status", "shape"]] = 304, "empty"
        frame["items"] = np.where(frame["endpoint"] == EVENTS, dice.integers(1, 40, len(frame)), np.nan)
        growing = frame["endpoint"] == simulate.TOKEN
        frame.loc[growing, "items"] = np.floor(2 + dice.uniform(0.7, 1.0) * frame.loc[growing, "due_s"])
    verdict = judge(simulate.evidence(planted))
    assert verdict.verdict == "GO"
    assert not of(verdict, severity="suspect")


def test_a_lost_item_of_many_and_longer_lists_are_go() -> None:
    for items, left in ((100, 99), (10, 8), (5, 4), (10, 30)):
        one, _ = judged(cut(items, left))
        assert one.verdict == "GO"


def bypass(planted: Planted, status: int = 403) -> None:
    """A quarter of an endpoint's requests are refused in the capture and in both arms, and let in since the step."""
    for frame in (planted.control, planted.steps):
        mine = (frame["endpoint"] == EVENTS) & (frame["request"] % 4 == 0)
        frame.loc[mine, ["status", "expected_status"]] = status
        frame.loc[mine, ["shape", "expected_shape"]] = DECLINED
        frame.loc[mine, "outcome"] = "refused"
    hit = (planted.steps["endpoint"] == EVENTS) & (planted.steps["due_s"] > 22)
    planted.steps.loc[hit, ["status", "shape", "outcome"]] = [200, SHAPE, "ok"]


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_let_in_that_had_been_refused_is_found(status: int) -> None:
    one, both = judged(lambda planted: bypass(planted, status))
    assert one.verdict == both.verdict == "NO_GO"
    (finding,) = of(one, endpoint=EVENTS, outcome="let in", phase=f"after {simulate.STEP}")
    assert finding["difference"] == "let in"
    assert f"were let in, which had been refused (status 200 instead of {status}) after" in finding["explanation"]
    assert ("changed_answers", "production") in failed_criteria(both)


def test_what_is_found_that_had_been_missing_is_no_harm() -> None:
    one, _ = judged(lambda planted: bypass(planted, 404))
    assert one.verdict == "GO"
    assert not of(one, outcome="let in")


def test_only_a_success_where_capture_and_control_refused_is_let_in() -> None:
    captured = np.array([403, 401, 404, 200, 403, 403], dtype=np.int16)
    control = np.array([403, 401, 404, 403, 200, 403], dtype=np.int16)
    steps = np.array([200, 204, 200, 200, 403, 302], dtype=np.int16)
    ok = steps < 400, control < 400
    t, c = let_in(Statuses(captured, steps, control), ok)
    assert (np.flatnonzero(t).tolist(), np.flatnonzero(c).tolist()) == ([0, 1], [4])


def test_the_odd_one_is_the_arm_that_is_unlike_the_capture() -> None:
    captured = texts_of(pd.Series(["a", "a", "a", None, "a", "a"]))
    steps = texts_of(pd.Series(["b", "a", "b", "b", "a", "b"]))
    control = texts_of(pd.Series(["a", "b", "c", "a", "a", "a"]))
    status = Statuses(
        captured=np.array([200, 200, 200, 200, 200, 304], dtype=np.int16),
        steps=np.array([200, 200, 200, 302, 302, 200], dtype=np.int16),
        control=np.array([200, 200, 200, 200, 201, 304], dtype=np.int16),
    )
    apart = other_shapes(status, captured, steps, control, np.ones(6, dtype=bool))
    assert np.flatnonzero(apart.could).tolist() == [0, 1, 3, 4]
    assert np.flatnonzero(apart.steps).tolist() == [0, 3, 4]
    assert np.flatnonzero(apart.control).tolist() == [1]


def test_more_than_a_fifth_fewer_items_count_in_either_arm() -> None:
    one, other = [1.0, 8.0, 7.0, 0.0, 10.0, np.nan, 1.0], [2.0, 10.0, 10.0, 0.0, 3.0, 9.0, 9.0]

    def of_items(items: list[float]) -> Answers:
        n = len(items)
        ok = np.arange(n) < 6
        return Answers(ok, ok, np.array(items), np.zeros(n, dtype=np.int64), np.arange(n) * 1.0, np.arange(n) * 1.0)

    apart = fewer_items(of_items(one), of_items(other))
    assert np.flatnonzero(apart.could).tolist() == [0, 1, 2, 3, 4]
    assert (np.flatnonzero(apart.steps).tolist(), np.flatnonzero(apart.control).tolist()) == ([0, 2], [4])


@pytest.mark.parametrize("seed", range(6))
def test_lists_that_drift_apart_while_the_arms_last_are_no_change(seed: int) -> None:
    """Two hundred lists that differ by a quarter from some moment on in either arm: more and more, and either way."""
    planted = arms(seed=seed)
    dice = np.random.default_rng(seed)
    for frame in (planted.control, planted.steps):
        from_s = dice.uniform(0, 120, 200)[frame["request"] % 200]
        items = np.where(frame["due_s"] >= from_s, 15.0, 20.0)
        frame["items"] = np.where(frame["endpoint"] == EVENTS, items, np.nan)
    verdict = judge(simulate.evidence(planted))
    assert verdict.verdict == "GO"
    assert not of(verdict, severity="suspect")


def drifting(planted: Planted, seed: int, to: float) -> None:
    """Two hundred lists of 20, each with ``to`` items from some moment of ten minutes on, another one in either arm."""
    dice = np.random.default_rng([seed, planted.repetition])
    for frame in (planted.control, planted.steps):
        from_s = dice.uniform(0, 600, 200)[frame["request"] % 200]
        frame["items"] = np.where(frame["endpoint"] == EVENTS, np.where(frame["due_s"] >= from_s, to, 20.0), np.nan)


@pytest.mark.parametrize("seed", range(6))
def test_lists_that_drift_apart_are_not_shrunken_by_the_steps(seed: int) -> None:
    pairs = [arms(repetition, seed) for repetition in (1, 2)]
    for one in pairs:
        drifting(one, seed, 5.0)
    assert judge(simulate.evidence(pairs[0])).verdict != "NO_GO"
    assert judge(simulate.evidence(*pairs, confirming=PAIR)).verdict == "GO"


@pytest.mark.parametrize("seed", range(3))
def test_what_the_steps_shrink_shows_among_lists_that_drift_apart(seed: int) -> None:
    pairs = [arms(repetition, seed) for repetition in (1, 2)]
    for one in pairs:
        drifting(one, seed, 5.0)
        one.shrink(EVENTS, 22, 60, 5)
    assert judge(simulate.evidence(*pairs, confirming=PAIR)).verdict == "NO_GO"


def test_what_drifts_apart_in_both_pairs_at_other_requests_is_not_confirmed() -> None:
    """Every fourth list is shorter in one steps arm, and every fourth other one in that of the second pair."""
    pairs = [arms(repetition) for repetition in (1, 2)]
    for number, one in enumerate(pairs):
        one.lists(EVENTS, 20)
        hit = (one.steps["endpoint"] == EVENTS) & (one.steps["due_s"] > 22) & (one.steps["request"] % 4 == number)
        one.steps.loc[hit, "items"] = 12
    verdict = judge(simulate.evidence(*pairs, confirming=PAIR))
    assert verdict.verdict == "INCONCLUSIVE"
    assert "showed it, but at other requests. Not confirmed: rehearse again." in verdict.reasons[0]
    for one in pairs:
        one.lists(EVENTS, 20)
        hit = (one.steps["endpoint"] == EVENTS) & (one.steps["due_s"] > 22) & (one.steps["request"] % 4 == 1)
        one.steps.loc[hit, "items"] = 12
    assert judge(simulate.evidence(*pairs, confirming=PAIR)).verdict == "NO_GO"
