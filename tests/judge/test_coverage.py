"""What a rehearsal could not have seen is not GO."""

import math

import pytest
import simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from incident import EVENTS, PRODUCTION, qa
from simulate import EXPORT

from replay.judge.trust.coverage import Sight
from replay.judge.verdict import Verdict, judge


def judged(requests: int, **limits: object) -> Verdict:
    """A rehearsal in which production asks for one endpoint so often."""
    planted = simulate.workload(1, mix={EVENTS: (400, 0.0), EXPORT: (requests, 0.0)})
    planted.step(20, 25)
    return judge(simulate.evidence(planted, qa(), criteria=limits))


def visible(verdict: Verdict):
    (check,) = [check for check in verdict.checks if check.name == "visible"]
    return check


def test_too_few_requests_are_inconclusive_with_what_to_do() -> None:
    verdict = judged(15)
    check = visible(verdict)
    assert verdict.verdict == "INCONCLUSIVE"
    assert not check.passed
    assert f"{EXPORT} had " in check.sentence
    assert "s longer (duration)" in check.hint
    assert any(check.sentence in reason for reason in verdict.reasons)


def test_so_much_longer_as_it_says_is_enough() -> None:
    short = visible(judged(15))
    longer_s = float(short.hint.partition("run ")[2].partition(" s")[0])
    share = (40 + longer_s) / 40  # 40 s were left after the first step
    assert not visible(judged(round(15 * share * 0.8))).passed
    assert visible(judged(round(15 * share * 1.3))).passed


def test_what_production_seldom_asks_for_is_not_held_to_it() -> None:
    assert judged(5).verdict == "GO"
    assert judged(15, visible_of=0.1).verdict == "GO"
    assert judged(5, visible_of=0.0).verdict == "INCONCLUSIVE"


def test_the_plan_may_ask_for_one_endpoint() -> None:
    assert judged(5, endpoints={EXPORT: {"visible_share": 0.5}}).verdict == "INCONCLUSIVE"
    assert judged(200, endpoints={EXPORT: {"visible_share": 0.01}}).verdict == "INCONCLUSIVE"
    assert judged(200, visible_share=0.1).verdict == "GO"


def test_pre_production_is_not_held_to_it() -> None:
    planted = simulate.workload(1, mix=PRODUCTION)
    planted.step(20, 25)
    few = simulate.workload(2, name="qa", role="pre-production", mix={EVENTS: (40, 0.0), EXPORT: (10, 0.0)})
    few.step(20, 25)
    verdict = judge(simulate.evidence(planted, few))
    assert verdict.verdict == "GO"
    assert visible(verdict).workload == "production"


def test_a_proven_failure_outranks_it() -> None:
    planted = simulate.workload(1, mix={EVENTS: (400, 0.0), EXPORT: (15, 0.0)})
    planted.step(20, 25)
    planted.lock()
    planted.fail(EVENTS, 20, 25, 0.5)
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    assert not visible(verdict).passed


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 120), st.integers(0, 120))
def test_more_requests_never_see_less(requests: int, more: int) -> None:
    few, many = (visible(judged(number, visible_of=0)).observed for number in (requests, requests + more))
    assert many is not None
    assert few is not None
    assert many <= few + 0.35  # by chance a few more or less of them fall after the step


@pytest.mark.parametrize("key", ["visible_share", "visible_of"])
def test_both_are_shares(key: str) -> None:
    with pytest.raises(Exception, match="is a share"):
        judged(10, **{key: 2})


def test_where_not_even_all_of_them_would_have_been_seen_it_says_so() -> None:
    """Eight requests of which ten had to fail: no share of them is named, since it would be above all."""
    few = Sight("GET /x", requests=8, smallest=10, share_of_all=0.1, longer_s=20.0)
    assert few.share is None
    check = visible(judged(4, visible_of=0))
    assert not check.passed
    assert "had all of them failed newly, nothing would have been seen" in check.sentence
    assert "%" not in check.sentence
    assert check.observed == math.inf  # null in verdict.json: no share would
    (row,) = [
        one
        for one in judged(4, visible_of=0).to_json()["endpoints"]
        if (one["workload"], one["endpoint"]) == ("production", EXPORT)
    ]
    assert row["smallest_effect"] is None


def test_the_plan_may_accept_that_nothing_would_be_seen() -> None:
    named = {EXPORT: {"visible_share": 1}}
    check = visible(judged(3, endpoints=named))
    assert check.passed
    assert "nothing would have been seen" in check.sentence
    assert not visible(judged(3, endpoints={EXPORT: {"visible_share": 0.99}})).passed


def test_where_all_failed_it_does_not_say_what_would_have_been_seen() -> None:
    planted = simulate.workload(1, mix={EVENTS: (400, 0.0), EXPORT: (200, 0.0)})
    planted.step(20, 25)
    planted.lock()
    planted.fail(None, 20, 60)
    check = visible(judge(simulate.evidence(planted, qa())))
    assert (check.passed, check.observed) == (True, None)
    assert check.sentence == "Each endpoint that production often asks for was seen to fail newly."


def test_what_is_asked_most_counts_as_often_up_to_half_of_all() -> None:
    check = visible(judged(200, visible_of=0.99))
    assert check.passed
    assert check.sentence.startswith("Of each endpoint that production often asks for, ")


@pytest.mark.parametrize(
    ("endpoints", "requests", "verdict"), [(100, 2, "INCONCLUSIVE"), (60, 4, "INCONCLUSIVE"), (100, 40, "GO")]
)
def test_many_endpoints_that_are_each_asked_for_a_little_are_no_reason_to_see_nothing(
    endpoints: int, requests: int, verdict: str
) -> None:
    planted = simulate.workload(1, mix={f"GET /v1/{number}": (requests, 0.0) for number in range(endpoints)})
    planted.step(20, 25)
    told = judge(simulate.evidence(planted))
    assert (told.verdict, visible(told).passed) == (verdict, verdict == "GO"), told.reasons


def test_one_endpoint_that_is_seen_does_not_stand_for_all_the_others() -> None:
    """A batch of calls, and a hundred and twenty endpoints beside it that nobody would have seen break."""
    rare = {f"GET /v1/{number}": (2, 0.0) for number in range(120)}
    planted = simulate.workload(1, mix={EVENTS: (60, 0.0)} | rare)
    planted.step(20, 25)
    told = judge(simulate.evidence(planted))
    assert told.verdict == "INCONCLUSIVE"
    assert not visible(told).passed


def test_where_no_step_was_done_nothing_is_said_of_what_would_have_been_seen() -> None:
    planted = simulate.workload(1, mix=PRODUCTION)
    planted.step(20, 25, kind="wait")
    told = judge(simulate.evidence(planted))
    assert told.verdict == "INCONCLUSIVE"
    assert {one.name for one in told.checks if not one.passed} == {"steps_finished", "min_requests"}
    assert "all that was done is to wait" in told.reasons[0]
