"""Several controls and several repetitions of the steps, judged together."""

import dataclasses

import numpy as np
import pytest
import simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from incident import CHECK_IN, EVENTS, EXPORT, PRODUCTION, finding, of, production, qa
from simulate import S

from replay.judge.findings import BLOCKING, NOTE, SUSPECT, Finding
from replay.judge.pairs.repetitions import gather, trials_of
from replay.judge.verdict import judge


def repeated(*moments_s: float, seed: int = 1, regime: simulate.Regime = simulate.I) -> list[simulate.Planted]:
    """Production with the step at one moment in each repetition."""
    first = simulate.workload(seed, regime=regime, mix=PRODUCTION)
    found = [first]
    found += [simulate.again(first, seed, number, PRODUCTION, regime) for number in range(2, len(moments_s) + 1)]
    for planted, at_s in zip(found, moments_s, strict=True):
        planted.step(at_s, at_s + 5)
    return found


def suspicious(planted: simulate.Planted, at_s: float) -> None:
    """Failures that one pair of arms can only suspect."""
    planted.fail(EVENTS, at_s, 58, 0.0143, "server error", seed=planted.repetition)


@pytest.mark.parametrize("regime", [simulate.I, S], ids=["I", "S"])
def test_repetitions_of_nothing_are_go(regime) -> None:
    for seed in range(3):
        found = repeated(20, 27, 34, seed=seed, regime=regime)
        verdict = judge(simulate.evidence(*found, qa(), criteria={"control_agreement": 0.8}))
        assert verdict.verdict == "GO", (seed, verdict.reasons)
        assert ["in 3 arms" in reason for reason in verdict.reasons] == [
            True,
            False,
            False,
        ]  # of production, qa, limits


def test_what_one_repetition_proves_stands() -> None:
    found = repeated(20, 27, 34)
    found[1].lock(27, 32)
    found[1].fail(CHECK_IN, 27, 32, 0.5)
    verdict = judge(simulate.evidence(*found, qa()))
    assert verdict.verdict == "NO_GO"
    finding = of(verdict, endpoint=CHECK_IN, severity="blocking")[0]
    assert finding["arm"] == "production-steps-2"
    assert finding["evidence"]["repetitions"] == {"arms": ["production-steps-2"], "of": 3}
    assert "(in 1 of 3 repetitions)" in finding["explanation"]


def test_a_suspect_seen_again_is_confirmed() -> None:
    found = repeated(20, 20)
    suspicious(found[0], 20)
    once = judge(simulate.evidence(*found, qa()))
    assert once.verdict == "INCONCLUSIVE", once.reasons
    suspicious(found[1], 20)
    twice = judge(simulate.evidence(*found, qa()))
    assert twice.verdict == "NO_GO", twice.reasons
    finding = of(twice, endpoint=EVENTS, phase="after add token scopes")[0]
    assert finding["evidence"]["repetitions"]["arms"] == ["production-steps", "production-steps-2"]


@pytest.mark.parametrize("spoiled", ["stage", "late"])
def test_unsound_evidence_confirms_nothing(spoiled: str) -> None:
    found = repeated(20, 20)
    for one in found:
        one.fail(EVENTS, 20, 58, 0.3, "server error", seed=one.repetition)
    assert judge(simulate.evidence(*found, qa())).verdict == "NO_GO"
    stage = {}
    if spoiled == "late":
        for one in found:
            one.steps[["sent_s", "first_byte_s", "done_s"]] += 2.0
    else:
        names = [name for one in found for name in one.arms()]
        stage = {"stage": {"fingerprints": {name: name for name in names}}}
    verdict = judge(simulate.evidence(*found, qa(), **stage))
    assert verdict.verdict == "INCONCLUSIVE", verdict.reasons


def test_more_controls_are_more_reference() -> None:
    first = production()
    more = simulate.again(first, 1, 2, PRODUCTION)
    run = simulate.evidence(first, more, qa())
    arms = {name: arm for name, arm in run.arms.items() if name != "production-steps-2"}
    with_two = judge(dataclasses.replace(run, arms=arms, rehearsal=run.rehearsal | {"order": list(arms)}))
    with_one = judge(simulate.evidence(first, qa()))
    assert with_two.verdict == with_one.verdict == "GO"
    smallest = [
        {row["endpoint"]: row["smallest_effect"]["share"] for row in one.facts["endpoints"] if row["arm"] == name}
        for one, name in ((with_one, "production-steps"), (with_two, "production-steps"))
    ]
    for endpoint in (EVENTS, EXPORT):  # those that never fail by themselves
        assert smallest[1][endpoint] < smallest[0][endpoint]


def test_a_flaky_endpoint_is_learned_from_every_control() -> None:
    """Bursts that only the second control has shown are no news of the steps."""
    first = production()
    first.fail(CHECK_IN, 30, 36, 0.9)
    alone = judge(simulate.evidence(first, qa()))
    assert alone.verdict != "GO"
    more = simulate.again(first, 1, 2, PRODUCTION)
    for start in range(0, 60, 10):
        more.fail(CHECK_IN, start, start + 6, 0.9, arm="control", seed=start)
    run = simulate.evidence(first, more, qa(), criteria={"control_agreement": 0.1, "visible_of": 1})
    arms = {name: arm for name, arm in run.arms.items() if name != "production-steps-2"}
    both = judge(dataclasses.replace(run, arms=arms, rehearsal=run.rehearsal | {"order": list(arms)}))
    assert both.verdict == "GO", both.reasons


def test_a_repetition_that_lacks_its_step_is_said() -> None:
    found = repeated(20, 27)
    found[1].marks.clear()
    verdict = judge(simulate.evidence(*found, qa(), plan={"steps": [{"name": simulate.STEP}]}))
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("production-steps-2" in reason for reason in verdict.reasons)


def test_another_schedule_in_one_repetition_is_said() -> None:
    found = repeated(20, 27)
    found[1].steps["due_s"] += 0.5
    verdict = judge(simulate.evidence(*found, qa()))
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("production-control and production-steps-2 did not play the same" in one for one in verdict.reasons)


def test_repetitions_share_controls_in_turn() -> None:
    found = repeated(20, 27, 34)
    run = simulate.evidence(*found)
    arms = {name: arm for name, arm in run.arms.items() if name != "production-control-3"}
    (trial,) = trials_of(dataclasses.replace(run, arms=arms))
    taken = [[arm.info.arm for arm in trial.controls_for(number)] for number in range(3)]
    assert taken == [
        ["production-control", "production-control-2"],
        ["production-control-2", "production-control"],
        ["production-control", "production-control-2"],
    ]


ARMS = st.integers(1, 4).map("production-steps-{}".format)


@settings(max_examples=200)
@given(
    st.lists(
        st.builds(finding, ARMS, st.sampled_from("abc"), st.sampled_from([BLOCKING, SUSPECT, NOTE])),
        max_size=12,
    ),
    st.sets(st.sampled_from("abc")),
)
def test_gathering_never_weakens(findings: list[Finding], shown: set[str]) -> None:
    """What several repetitions ``shown`` together is confirmed, where one suspects it; nothing else is."""
    rank = {BLOCKING: 0, SUSPECT: 1, NOTE: 2}
    again = {(endpoint, "failures") for endpoint in shown}
    made = {one.endpoint: one for one in gather(findings, 4, again)}
    assert set(made) == {one.endpoint for one in findings}
    for endpoint, one in made.items():
        same = [other for other in findings if other.endpoint == endpoint]
        worst = min(rank[other.severity] for other in same)
        confirmed = endpoint in shown and worst < 2
        assert rank[one.severity] == (0 if confirmed else worst)
        assert one.confirmed is (True if confirmed else None)
        assert one.evidence["repetitions"] == {"arms": sorted({other.arm for other in same}), "of": 4}
    assert [gather(findings, 1)] == [findings]
    order = np.random.default_rng(0).permutation(len(findings))
    turned = {one.endpoint: one.severity for one in gather([findings[at] for at in order], 4, again)}
    assert turned == {endpoint: one.severity for endpoint, one in made.items()}
    assert {one.severity for one in gather(findings, 4, again, sound=False)} <= {one.severity for one in findings}
