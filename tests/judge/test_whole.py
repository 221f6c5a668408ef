"""What is seen of all endpoints together, and of many short stalls: too little at any place, and too much in all."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import simulate
from incident import EVENTS, PRODUCTION, of, production
from simulate import Planted

from replay.judge.verdict import Verdict, judge

SEEN = {"visible_share": 1.0}  # else so few requests of each were too few to see anything
PAIR = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
RARE = {f"GET /v1/rare-{n}": (20, 0.0) for n in range(100)}
MANY = {f"GET /v1/many-{n}": (150, 0.0) for n in range(40)}
Harm = Callable[[Planted], object]


def judged(harm: Harm, mix: dict[str, tuple[int, float]], *, again: bool = True) -> tuple[Verdict, Verdict]:
    """The verdicts on a first pair of arms with that harm, and on both, of which the second may have it ``again``."""
    first = simulate.workload(1, mix=mix)
    second = simulate.again(first, 1, 2, mix)
    for planted in (first, second):
        planted.step(20, 25)
    harm(first)
    if again:
        harm(second)
    both = simulate.evidence(first, second, confirming=PAIR, criteria=SEEN)
    return judge(simulate.evidence(first, criteria=SEEN)), judge(both)


def two_at_each(planted: Planted) -> None:
    steps, rng = planted.steps, np.random.default_rng(5)
    for endpoint in RARE:
        rows = steps.index[(steps["endpoint"] == endpoint) & steps["due_s"].between(26, 50)]
        steps.loc[rng.choice(rows, 2, replace=False), ["status", "shape", "outcome"]] = [
            500,
            "text/plain",
            "server error",
        ]


def one_client(planted: Planted) -> None:
    for frame in (planted.control, planted.steps):
        frame["client"] = [f"client-{number % 75}" for number in frame["request"]]
    shut_out = (planted.steps["client"] == "client-3") & (planted.steps["due_s"] > 22)
    planted.steps.loc[shut_out, ["status", "shape", "outcome"]] = [401, "text/plain", "refused"]


@pytest.mark.parametrize(("harm", "mix"), [(two_at_each, RARE), (one_client, MANY)])
def test_what_is_too_little_at_any_endpoint_is_seen_of_all(harm: Harm, mix: dict[str, tuple[int, float]]) -> None:
    first, both = judged(harm, mix)
    assert first.verdict == "INCONCLUSIVE"
    assert first.unconfirmed == {"production": "production-steps"}
    assert both.verdict == "NO_GO"
    assert both.rests_on == "two pairs of arms"
    assert "All endpoints together:" in both.reasons[0]
    assert not both.facts["broke_first"]


def test_what_is_seen_of_all_is_dismissed_where_it_does_not_come_back() -> None:
    _, both = judged(two_at_each, RARE, again=False)
    assert both.verdict == "GO"
    assert "in one of two pairs of passes only" in both.reasons[0]
    assert any("All endpoints together:" in reason and "only one showed it" in reason for reason in both.reasons)


def test_what_one_endpoint_shows_is_not_told_of_all() -> None:
    planted = production()
    planted.fail(EVENTS, 20, 60, 0.2, "server error")
    assert not of(judge(simulate.evidence(planted)), endpoint="*")


def standing_still(moments: Sequence[float], length_s: float) -> Harm:
    def harm(planted: Planted) -> None:
        for moment in moments:
            failed = planted.steps["request"].isin(planted.fail(None, moment, moment + length_s, 1.0, "timeout"))
            planted.steps.loc[failed, "done_s"] = planted.steps["sent_s"] + 0.01

    return harm


@pytest.mark.parametrize(("moments", "length_s"), [((27, 36, 45), 1.9), (range(22, 58, 4), 0.6)])
def test_many_short_stalls_add_up(moments: Sequence[float], length_s: float) -> None:
    first, both = judged(standing_still(moments, length_s), PRODUCTION)
    assert first.verdict == "INCONCLUSIVE"
    assert both.verdict == "NO_GO"
    (finding,) = of(both, metric="stalls_s")
    assert finding["observed"] == pytest.approx(len(moments) * length_s, rel=0.15)
    assert f"no good answer {len(moments)} times since the first step" in both.reasons[0]
    failed = {check.name for check in both.checks if not check.passed}
    assert failed == {"stall_s"}
    (check,) = (check for check in both.checks if not check.passed)
    assert check.observed == pytest.approx(finding["observed"], abs=1e-3)


def test_stalls_that_the_control_has_too_are_nobodys_doing() -> None:
    planted = production()
    for arm in ("control", "steps"):
        for moment in range(2, 58, 4):
            failed = getattr(planted, arm)["request"].isin(
                planted.fail(None, moment, moment + 0.6, 1.0, "timeout", arm=arm)
            )
            getattr(planted, arm).loc[failed, "done_s"] = getattr(planted, arm)["sent_s"] + 0.01
    assert not of(judge(simulate.evidence(planted)), metric="stalls_s")


def test_an_outage_longer_than_a_burst_is_not_dismissed() -> None:
    first, second = production(), simulate.again(production(), 1, 2, PRODUCTION)
    second.step(20, 25)
    failed = first.steps["request"].isin(first.fail(EVENTS, 26, 30.8, 1.0, "server error"))
    first.steps.loc[failed, "done_s"] = first.steps["sent_s"] + 0.03
    verdict = judge(simulate.evidence(first, second, confirming=PAIR))
    assert verdict.verdict == "INCONCLUSIVE"
    assert "of two pairs of passes only one showed it" in verdict.reasons[0]
