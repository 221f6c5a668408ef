"""What must hold of every verdict, whatever the evidence: simulated rehearsals with effects of all kinds and sizes."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import simulate
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from simulate import ALTER, EXPORT, STEP, TOKEN

from replay.evidence.run import ArmEvidence, Evidence
from replay.judge.answers.differences import pair
from replay.judge.statistics import more_failures_p, mover, rate_difference, smallest_visible
from replay.judge.verdict import Verdict, judge

EVENTS, PLACES = "GET /v1/events", "GET /v1/places/{place_id}"
MIX = {TOKEN: (400, 0.003), EVENTS: (500, 0.0), PLACES: (120, 0.01), EXPORT: (40, 0.0)}
SLOWLY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

effects = st.lists(
    st.tuples(
        st.sampled_from([*MIX, None]),
        st.floats(20, 50),
        st.floats(0.5, 30),
        st.floats(0.02, 1.0),
        st.sampled_from(["empty", "server error", "refused", "timeout", "unsent"]),
    ),
    max_size=3,
)
seeds = st.integers(0, 10_000)


def planted(seed: int, found: list[tuple], *, lock: bool = False) -> simulate.Planted:
    one = simulate.workload(seed, mix=MIX)
    one.step(20, 25)
    if lock:
        one.lock()
    for number, (endpoint, from_s, length_s, share, outcome) in enumerate(found):
        one.fail(endpoint, from_s, from_s + length_s, share, outcome, seed=seed + number)
    return one


def judged(*workloads: simulate.Planted, **rehearsal) -> Verdict:
    return judge(simulate.evidence(*workloads, **rehearsal))


@SLOWLY
@given(seeds, effects, effects, st.booleans())
def test_more_failures_never_turn_no_go_into_go(seed, found, more, lock):
    first = judged(planted(seed, found, lock=lock))
    assume(first.verdict == "NO_GO")
    assert judged(planted(seed, [*found, *more], lock=lock)).verdict != "GO"


@SLOWLY
@given(seeds, effects, st.booleans())
def test_failures_in_the_control_never_turn_no_evidence_into_go(seed, found, lock):
    """What the control does wrong is no excuse for what nobody has looked at."""
    one = planted(seed, found, lock=lock)
    one.fail(TOKEN, 0, 60, 0.5, "server error", arm="control")
    assert judged(one).verdict != "GO"


@pytest.mark.slow
@SLOWLY
@given(seeds, effects, st.booleans(), st.randoms(use_true_random=False))
def test_labels_do_not_matter(seed, found, lock, chance):
    """Other names of endpoints, clients and workers, and other numbers of visits: the same verdict."""
    one = planted(seed, found, lock=lock)
    run = simulate.evidence(one)
    names = dict(zip(MIX, chance.sample([f"GET /{letter}" for letter in "abcd"], 4), strict=True))

    def renamed(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(
            endpoint=rows["endpoint"].map(names), client="somebody", worker="w", visit=rows["visit"] + 1000
        )

    arms = {name: dataclasses.replace(arm, observations=renamed(arm.observations)) for name, arm in run.arms.items()}
    here, there = judge(run), judge(dataclasses.replace(run, arms=arms))
    assert here.verdict == there.verdict
    assert _told(here, names) == _told(there, {name: name for name in names.values()})


@SLOWLY
@given(
    seeds, effects, st.sets(st.sampled_from(["lock", "step", "rollback", "quiet", "lag", "lines", "slow", "window"]))
)
def test_whatever_blocks_is_a_failed_criterion(seed, found, more):
    one = planted(seed, found, lock="lock" in more)
    if "step" in more:
        one.step(30, 31, "duplicate key", "add an index")
    if "rollback" in more:
        one.step(40, 41, "it is not there", "roll back", "rollback")
    if "lag" in more:
        one.lag(9)
    if "lines" in more:
        one.lines(dict.fromkeys(range(30, 40), 3))
    if "slow" in more:
        one.slow(EVENTS, 25, 60, 0.5)
    criteria = {"new_error_lines": 0, "recovery_s": 1} | ({"migration_s": 1} if "window" in more else {})
    run = simulate.evidence(one, criteria=criteria)
    verdict = judge(simulate.with_quiet(run, "lock timeout" if "quiet" in more else ""))
    failed = {(one.name, one.workload) for one in verdict.checks if one.about == "change" and not one.passed}
    blocking = {(one.criterion, one.workload) for one in verdict.findings if one.severity == "blocking"}
    assert blocking <= failed
    assert bool(blocking) == (verdict.verdict == "NO_GO")
    if "quiet" in more:
        assert ("steps_succeed", "quiet") in failed


def _told(verdict: Verdict, names: dict[str, str]) -> list[tuple]:
    return sorted(
        (names.get(str(one.endpoint), str(one.endpoint)), one.severity, str(one.outcome), str(one.metric), one.phase)
        for one in verdict.findings
    )


@pytest.mark.slow
@SLOWLY
@given(seeds, effects, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_arms_and_rows_does_not_matter(seed, found, lock, chance):
    run = simulate.evidence(planted(seed, found, lock=lock), simulate.workload(seed + 1, "qa", "pre-production"))
    names = list(run.arms)
    chance.shuffle(names)
    arms = {}
    for name in names:
        arm = run.arms[name]
        order = np.random.default_rng(chance.randrange(1000)).permutation(len(arm.readings))
        readings = arm.readings.iloc[order].sort_values("at_s", kind="stable", ignore_index=True)
        arms[name] = dataclasses.replace(arm, readings=readings)
    here, there = (json.dumps(judge(one).to_json()) for one in (run, dataclasses.replace(run, arms=arms)))
    assert here == there


@SLOWLY
@given(seeds, st.sets(st.sampled_from(["control", "steps", "marks", "observations", "production"]), min_size=1))
def test_no_data_is_never_go(seed, lost):
    one = planted(seed, [])
    if "production" in lost:
        one.role = "pre-production"
    run = simulate.evidence(one)
    arms = dict(run.arms)
    for kind in lost & {"control", "steps"}:
        del arms[f"production-{kind}"]
    left = {name: _without(arm, lost) for name, arm in arms.items()}
    verdict = judge(Evidence(run.path, run.rehearsal, {}, left))
    assert verdict.verdict == "INCONCLUSIVE"
    assert verdict.reasons


def _without(arm: ArmEvidence, lost: set[str]) -> ArmEvidence:
    marks = tuple(mark for mark in arm.marks if not (mark.step and "marks" in lost))
    rows = arm.observations.iloc[:0] if "observations" in lost else arm.observations
    return dataclasses.replace(arm, marks=marks, observations=rows)


@SLOWLY
@given(seeds, effects)
def test_swapping_the_arms_swaps_the_signs(seed, found):
    """Beside each other, both arms are treated alike: what fails newly in one does so in the other when they change."""
    run = simulate.evidence(planted(seed, found))
    control, steps = run.arms["production-control"], run.arms["production-steps"]
    here, there = pair(control, steps, ()), pair(steps, control, ())
    for name in ("new", "good", "kind", "latency", "start", "end"):
        for mine, other in (("t_", "c_"), ("c_", "t_")):
            assert list(here[mine + name].fillna(-1 if name == "latency" else "")) == list(
                there[other + name].fillna(-1 if name == "latency" else "")
            )


counts = st.tuples(st.integers(0, 300), st.integers(1, 300)).map(lambda pair: (min(pair), max(pair)))


@given(counts, counts, st.floats(1, 20))
def test_differences_of_rates_swap_their_signs(one, other, phi):
    low, high = rate_difference(*map(float, (*one, *other)), phi)
    back_low, back_high = rate_difference(*map(float, (*other, *one)), phi)
    assert np.isclose(low, -back_high)
    assert np.isclose(high, -back_low)
    assert low <= one[0] / one[1] - other[0] / other[1] <= high


estimates = st.tuples(st.floats(-10, 10), st.floats(0, 5), st.floats(0, 5)).map(
    lambda one: (one[0], (one[0] - one[1], one[0] + one[2]))
)


@given(estimates, estimates)
def test_differences_with_intervals_swap_their_signs(first, second):
    low, high = mover(*first, *second)
    back_low, back_high = mover(*second, *first)
    assert (low, high) == (-back_high, -back_low)


@given(st.integers(1, 400), st.integers(0, 40), st.integers(1, 800), st.floats(1, 10))
def test_more_failures_are_never_less_surprising(n, reference, n_reference, phi):
    p = [more_failures_p(x, n, reference, n_reference, phi) for x in range(0, n + 1, max(1, n // 20))]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(p))
    assert all(0 <= one <= 1 for one in p)


@given(st.integers(1, 400), st.integers(0, 40), st.integers(1, 800), st.floats(1, 10))
def test_a_stricter_test_sees_less(n, reference, n_reference, phi):
    seen = [smallest_visible(n, reference, n_reference, phi, alpha) for alpha in (0.05, 0.002, 0.00001)]
    numbers = [np.inf if one is None else one for one in seen]
    assert numbers == sorted(numbers)


def test_the_step_is_named_as_the_plan_does():
    verdict = judged(planted(1, [(TOKEN, 20.0, 5.0, 0.6, "empty")], lock=True))
    assert verdict.verdict == "NO_GO"
    assert all(STEP in str(one.root) and ALTER in str(one.root) for one in verdict.findings if one.proven)
