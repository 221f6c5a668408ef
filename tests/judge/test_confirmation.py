"""A second pair of arms: what it confirms, what it dismisses, and when it is wanted."""

import dataclasses
from typing import Any

import pytest
import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import CHECK_IN, EVENTS, PRODUCTION, finding, of, production, qa

from replay.judge.findings import BLOCKING, NOTE, SUSPECT, Check, Finding
from replay.judge.pairs.again import Again
from replay.judge.pairs.confirmation import confirm, unconfirmed
from replay.judge.verdict import Verdict, judge

PAIR = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}


def pairs(**rehearsal: Any) -> tuple[simulate.Planted, simulate.Planted]:
    """Production's first pair of arms and its second."""
    first = production(**rehearsal)
    second = simulate.again(first, 1, 2, PRODUCTION)
    second.step(20, 25)
    return first, second


def judged(*planted: simulate.Planted) -> Verdict:
    return judge(simulate.evidence(*planted, qa(), confirming=PAIR if len(planted) == 2 else {}))


def weakly(planted: simulate.Planted) -> None:
    """Failures too few to be more than a suspicion."""
    planted.fail(EVENTS, 20, 58, 0.0143, "server error", seed=planted.repetition)


def strongly(planted: simulate.Planted) -> None:
    planted.fail(EVENTS, 20, 60, 0.2, "server error", seed=planted.repetition)


def test_what_is_suspected_wants_a_second_pair() -> None:
    first, _ = pairs()
    weakly(first)
    verdict = judged(first)
    assert (verdict.verdict, verdict.rests_on) == ("INCONCLUSIVE", None)
    assert verdict.unconfirmed == {"production": "production-steps"}


def test_what_is_strong_and_unproven_wants_one_too() -> None:
    first, _ = pairs()
    strongly(first)
    verdict = judged(first)
    assert (verdict.verdict, verdict.rests_on) == ("NO_GO", "one pair of arms")
    assert verdict.unconfirmed == {"production": "production-steps"}


def test_what_is_proven_wants_none() -> None:
    first, _ = pairs()
    first.lock()
    first.fail(CHECK_IN, 20, 25, 0.5)
    weakly(first)
    verdict = judged(first)
    assert (verdict.verdict, verdict.rests_on, verdict.unconfirmed) == ("NO_GO", "proof", {})


def test_nothing_wants_one_where_nothing_is_suspected() -> None:
    first, _ = pairs()
    assert judged(first).unconfirmed == {}


def test_unsound_evidence_wants_none() -> None:
    first, _ = pairs()
    weakly(first)
    first.steps[["sent_s", "first_byte_s", "done_s"]] += 2.0
    verdict = judged(first)
    assert (verdict.verdict, verdict.unconfirmed) == ("INCONCLUSIVE", {})


@pytest.mark.parametrize("plant", [weakly, strongly])
def test_what_both_pairs_show_is_no_go(plant) -> None:
    first, second = pairs()
    plant(first)
    plant(second)
    verdict = judged(first, second)
    assert (verdict.verdict, verdict.rests_on, verdict.unconfirmed) == ("NO_GO", "two pairs of arms", {})
    found = of(verdict, endpoint=EVENTS, severity="blocking")
    assert found
    assert {one["confirmed"] for one in found} == {True}
    assert all(one["explanation"].endswith("a second pair of passes showed it again.") for one in found)
    assert any("showed it again" in reason for reason in verdict.reasons)


def test_a_weak_effect_that_does_not_come_back_is_a_note() -> None:
    first, second = pairs()
    weakly(first)
    verdict = judged(first, second)
    assert (verdict.verdict, verdict.unconfirmed) == ("GO", {})
    found = of(verdict, endpoint=EVENTS)
    assert {(one["severity"], one["confirmed"]) for one in found} == {("note", False)}


def test_a_strong_effect_that_does_not_come_back_stays_a_suspect() -> None:
    for shown in (0, 1):
        both = pairs()
        strongly(both[shown])
        verdict = judged(*both)
        assert (verdict.verdict, verdict.unconfirmed) == ("INCONCLUSIVE", {})
        assert {one["confirmed"] for one in of(verdict, endpoint=EVENTS, severity="suspect")} == {False}


def test_what_the_second_pair_proves_stands() -> None:
    first, second = pairs()
    weakly(first)
    second.lock()
    second.fail(CHECK_IN, 20, 25, 0.5)
    verdict = judged(first, second)
    assert (verdict.verdict, verdict.rests_on) == ("NO_GO", "proof")


def test_each_pair_stands_beside_its_own_control() -> None:
    """Failures of the second control do not excuse those of the first pair."""
    first, second = pairs()
    strongly(first)
    strongly(second)
    alone = {one["phase"]: one["p_value"] for one in of(judged(first), endpoint=EVENTS, unit="share")}
    second.fail(EVENTS, 20, 40, 0.2, "server error", seed=9, arm="control")
    together = of(judged(first, second), endpoint=EVENTS, arm="production-steps", unit="share")
    assert together
    assert {one["phase"]: one["p_value"] for one in together}.items() <= alone.items()


def test_a_second_pair_that_is_not_whole_confirms_nothing() -> None:
    first, second = pairs()
    weakly(first)
    weakly(second)
    run = simulate.evidence(first, second, qa(), confirming=PAIR)
    late = run.arms["production-steps-2"]
    cut = dataclasses.replace(late, observations=late.observations.iloc[: len(late.observations) // 2])
    verdict = judge(dataclasses.replace(run, arms=run.arms | {"production-steps-2": cut}))
    assert verdict.verdict == "INCONCLUSIVE"
    missing = {name: arm for name, arm in run.arms.items() if name != "production-steps-2"}
    verdict = judge(dataclasses.replace(run, arms=missing))
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("production-steps-2 is missing" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("told", [None, [], {"production": 3}, {"production": {"control": 1}}, {"other": {}}])
def test_a_record_that_is_odd_names_no_second_pair(told) -> None:
    first, _ = pairs()
    verdict = judge(simulate.evidence(first, qa(), confirming=told))
    assert (verdict.verdict, verdict.unconfirmed) == ("INCONCLUSIVE", {})
    assert {check.name for check in verdict.checks if not check.passed} == {"run_noted"}


def several(arm: str) -> st.SearchStrategy[list[Finding]]:
    one = st.builds(
        finding, st.just(arm), st.sampled_from("abc"), st.sampled_from([BLOCKING, SUSPECT, NOTE]), proven=st.booleans()
    )
    return st.lists(one, max_size=5, unique_by=lambda found: found.endpoint)


@given(several("steps"), several("steps-2"))
def test_two_pairs_together(first: list[Finding], second: list[Finding]) -> None:
    again = {one.key for one in first} & {one.key for one in second}
    made = {one.endpoint: one for one in confirm(first, second, Again(frozenset(again)))}
    pair = [{one.endpoint: one for one in found} for found in (first, second)]
    assert set(made) == {*pair[0], *pair[1]}
    for endpoint, one in made.items():
        mine = [found[endpoint] for found in pair if endpoint in found]
        worst = min((other.severity for other in mine), key=[BLOCKING, SUSPECT, NOTE].index)
        if any(other.proven for other in mine) or (len(mine) == 2 and worst != NOTE):
            assert one.severity == BLOCKING
        else:
            assert one.severity == {BLOCKING: SUSPECT, SUSPECT: NOTE, NOTE: NOTE}[worst]
    assert confirm(first, [], sound=False) == first
    assert {one.endpoint: one.severity for one in confirm(second, first, Again(frozenset(again)))} == {
        endpoint: one.severity for endpoint, one in made.items()
    }
    sound = [Check("x", "evidence", None, None, passed=True, workload=None, sentence="")]
    assert unconfirmed(list(made.values()), sound) == {}
