"""Failures that keep to some clients: no chance of theirs is an effect, and they hide none."""

import numpy as np
import pytest
import simulate
from incident import EVENTS, PRODUCTION, of
from simulate import Planted

from replay.judge.verdict import Verdict, judge

PAIR = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
CLIENTS = 40


def pairs() -> list[Planted]:
    first = simulate.workload(1, mix=PRODUCTION)
    both = [first, simulate.again(first, 1, 2, PRODUCTION)]
    for one in both:
        one.step(20, 25)
        for frame in (one.control, one.steps):
            frame["client"] = [f"client-{number % CLIENTS}" for number in frame["request"]]
    return both


def judged(planted: list[Planted]) -> Verdict:
    return judge(simulate.evidence(*planted, confirming=PAIR))


def fail(planted: Planted, arm: str, clients: set[int], share: float, *, from_s: float = 0.0) -> None:
    """Let a share of these clients' requests to one endpoint fail."""
    frame = getattr(planted, arm)
    seed = [planted.repetition, len(arm), len(clients)]
    hit = (frame["endpoint"] == EVENTS) & (frame["request"] % CLIENTS).isin(clients) & (frame["due_s"] >= from_s)
    hit &= np.random.default_rng(seed).random(len(frame)) < share
    frame.loc[hit, ["status", "shape", "outcome"]] = [500, "text/plain", "server error"]


def test_clients_that_fail_in_one_arm_and_others_in_the_next_are_no_effect() -> None:
    """Three clients of forty in a control, seven in a steps arm: four more, whose failures are many."""
    both = pairs()
    for number, one in enumerate(both):
        fail(one, "control", {1 + number, 2 + number, 3 + number}, 0.6, from_s=21)
        fail(one, "steps", {10 + number + n for n in range(7)}, 0.6, from_s=21)
    verdict = judged(both)
    assert not of(verdict, endpoint=EVENTS, severity="blocking")


@pytest.mark.parametrize("flaky", [set(), {1}, {1, 2, 3}])
def test_a_client_that_fails_anyway_does_not_hide_that_all_do(flaky: set[int]) -> None:
    both = pairs()
    for one in both:
        for arm in ("control", "steps"):
            fail(one, arm, flaky, 0.5)
        fail(one, "steps", set(range(CLIENTS)), 0.06, from_s=21)
    verdict = judged(both)
    assert of(verdict, endpoint=EVENTS, severity="blocking")


def test_one_client_that_fails_since_the_steps_is_seen_where_nobody_did_before() -> None:
    both = pairs()
    for one in both:
        fail(one, "steps", {5}, 1.0, from_s=21)
    verdict = judged(both)
    assert of(verdict, endpoint=EVENTS, severity="blocking")


@pytest.mark.parametrize("failures", [10, 20, 30])
def test_a_burst_of_one_client_in_the_control_hides_no_other(failures: int) -> None:
    both = pairs()
    for one in both:
        frame = one.control
        rows = frame.index[(frame["endpoint"] == EVENTS) & frame["due_s"].between(8, 11)][:failures]
        for arm in (one.control, one.steps):
            arm.loc[rows, "client"] = "client-1"
        frame.loc[rows, ["status", "shape", "outcome"]] = [500, "text/plain", "server error"]
        fail(one, "steps", {5, 6, 7, 8, 9}, 1.0, from_s=21)
    assert of(judged(both), endpoint=EVENTS, severity="blocking")


@pytest.mark.parametrize("seed", range(4))
def test_the_time_after_the_steps_may_be_short(seed: int) -> None:
    """Ten clients of a hundred fail by a third all along, and twelve of sixty seconds are after the step."""
    mix = {**PRODUCTION, EVENTS: (4000, 0.0)}
    first = simulate.workload(seed, mix=mix)
    both = [first, simulate.again(first, seed, 2, mix)]
    for one in both:
        one.step(48, 51)
        for number, frame in enumerate((one.control, one.steps)):
            frame["client"] = [f"client-{request % 100}" for request in frame["request"]]
            flaky = (frame["endpoint"] == EVENTS) & (frame["request"] % 100 // 10 == number)
            flaky &= np.random.default_rng([seed, one.repetition, number]).random(len(frame)) < 0.3
            frame.loc[flaky, ["status", "shape", "outcome"]] = [500, "text/plain", "server error"]
    assert not of(judged(both), severity="blocking")
