"""The order of a verdict's reasons, and what is told together."""

import dataclasses
import re

import pytest
import simulate
from incident import CHECK_IN, EVENTS, PRODUCTION, failed_criteria, of, production, qa
from simulate import TOKEN

from replay.judge.case import Case
from replay.judge.checks import with_all_findings
from replay.judge.criteria import Criteria
from replay.judge.effects.explain import slowdown_findings, slowest
from replay.judge.effects.slowdowns import slowdowns
from replay.judge.findings import BLOCKING, NOTE, SUSPECT, Check, Finding, seconds
from replay.judge.reasons import reasons
from replay.judge.verdict import Verdict, judge


def slow(endpoint: str, took_s: float, answers: int, requests: int) -> Finding:
    return Finding(
        workload="production",
        arm="production-steps",
        phase="after drop the index",
        unit="s",
        observed=took_s,
        control=0.01,
        explanation=f"{endpoint}: slow",
        severity=BLOCKING,
        role="production",
        endpoint=endpoint,
        metric="latency_p95_s",
        failures=answers,
        requests=requests,
        confirmed=True,
    )


def test_the_endpoint_of_which_most_answers_are_slow_comes_first() -> None:
    told = reasons(
        "NO_GO", [slow("GET /a", 0.3, 85, 289), slow("GET /b", 0.2, 206, 214), slow("GET /c", 0.1, 1, 99)], [], []
    )
    assert told[0] == "GET /b: slow."
    assert told[1] == "2 more endpoints became slow under production too: GET /a (0.3 s), GET /c (0.1 s)."
    assert told[2].startswith("Two pairs of passes showed it")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((True, True), "Only under production's traffic."),
        ((False, None), "Of these 1 under pre-production's traffic too."),
        ((True, False, False), "Of these 1 only under production's traffic, 2 under pre-production's traffic too."),
        ((None, None), ""),
    ],
)
def test_of_endpoints_told_together_it_says_how_many_fail_in_production_alone(others: tuple, said: str) -> None:
    more = [
        dataclasses.replace(slow(f"GET /{number}", 0.1, 1, 99), only_in_production=only)
        for number, only in enumerate(others)
    ]
    told = reasons("NO_GO", [slow("GET /first", 0.3, 85, 89), *more], [], [])[1]
    assert told.partition("). ")[2] == said, told


def test_it_does_not_depend_on_their_order() -> None:
    findings = [slow("GET /a", 0.3, 85, 289), slow("GET /b", 0.2, 206, 214)]
    assert reasons("NO_GO", findings, [], []) == reasons("NO_GO", findings[::-1], [], [])


def test_what_no_rule_knows_is_a_failed_criterion_of_its_own() -> None:
    finding = dataclasses.replace(slow("GET /a", 0.3, 85, 289), endpoint=None, metric="queue_length")
    passed = Check("queue_length", "change", 1.0, 0.0, True, "production", "well")
    other = Check("queue_length", "change", 1.0, 0.0, True, "qa", "well")
    for severity, kept in ((BLOCKING, [False]), (SUSPECT, [False]), (NOTE, [True])):
        found = dataclasses.replace(finding, severity=severity)
        checks = with_all_findings([passed, other], [found])
        assert other in checks
        assert [one.passed for one in checks if one.workload == "production"] == kept
    told = with_all_findings([], [finding, finding])
    assert [(one.name, one.observed, one.sentence) for one in told] == [("queue_length", 0.3, "GET /a: slow (1 more)")]


def test_a_step_that_fails_without_traffic_is_a_failed_criterion() -> None:
    run = simulate.evidence(production(), qa())
    verdict = judge(simulate.with_quiet(run, "canceling statement due to lock timeout"))
    assert verdict.verdict == "NO_GO"
    assert failed_criteria(verdict) == {("steps_succeed", "quiet")}
    (check,) = (
        one for one in judge(simulate.with_quiet(run)).checks if one.workload == "quiet" and one.about == "change"
    )
    assert (check.passed, check.sentence) == (True, "All 1 steps did what they should without any traffic.")


def test_lines_beyond_their_limit_are_a_failed_criterion() -> None:
    for limit, failing in ((2, {("new_error_lines", "production")}), (3, set())):
        planted = production()
        planted.lines({30: 3})
        planted.lines({}, "control")
        verdict = judge(simulate.evidence(planted, qa(), criteria={"new_error_lines": limit}))
        assert failed_criteria(verdict) == failing
        assert ("new_error_lines", "production") in {(one.name, one.workload) for one in verdict.checks}


def test_of_repetitions_one_that_failed_speaks_whatever_the_others_had() -> None:
    first = production()
    second = simulate.again(first, 1, 2, PRODUCTION)
    second.step(20, 25)
    first.lines({30: 500})  # of one second only
    second.lines(dict.fromkeys(range(30, 36), 60))
    for one in (first, second):
        one.lines({}, "control")
    verdict = judge(simulate.evidence(first, second))
    assert verdict.verdict == "NO_GO"
    assert failed_criteria(verdict) == {("log_flood", "production")}


def check(verdict: Verdict, name: str, workload: str = "production") -> Check:
    (found,) = [one for one in verdict.checks if (one.name, one.workload) == (name, workload)]
    return found


def test_latency_is_a_multiple_like_its_limit() -> None:
    """Of an endpoint that has a tail of slow answers it is that of the slowest 5%, as the sentence has them."""
    planted = production()
    late = planted.steps["endpoint"].eq(EVENTS) & planted.steps["due_s"].ge(26) & (planted.steps["request"] % 8 == 0)
    planted.steps.loc[late, "done_s"] += 0.6
    verdict = judge(simulate.evidence(planted, qa(), criteria={"latency_ratio": 2}))
    slow = check(verdict, "latency")
    worst = max(of(verdict, metric="latency_p95_s", endpoint=EVENTS), key=lambda one: one["evidence"]["times"])
    assert (slow.passed, slow.limit, slow.unit, slow.limit_unit) == (False, 2.0, "times", "times")
    assert slow.observed == pytest.approx(worst["observed"] / worst["control"], rel=1e-4)
    assert slow.observed > 5
    assert worst["explanation"] in slow.sentence


def test_a_slowdown_of_all_answers_says_how_many_times_as_long_too() -> None:
    planted = production()
    mine = planted.steps["endpoint"].eq(EVENTS) & planted.steps["due_s"].ge(25)
    planted.steps.loc[mine, "done_s"] += 0.7 * (planted.steps["done_s"] - planted.steps["sent_s"])[mine]
    found = of(judge(simulate.evidence(planted, qa())), metric="latency_p95_s", endpoint=EVENTS)
    assert found
    assert all(1.3 < one["evidence"]["times"] < 3 for one in found)


def test_what_is_slow_beside_the_others_only_is_no_multiple_of_what_it_took() -> None:
    planted = production()
    planted.slow(EVENTS, 26, 60, 0.6)
    arms = planted.arms(0)
    case = Case("production", "production", arms["production-control"], arms["production-steps"], Criteria())
    (slow,) = [one for one in slowdowns(case) if one.endpoint == EVENTS]
    for limit_s, known in ((slow.limit_s, True), (10.0, False)):
        found = slowdown_findings(case, dataclasses.replace(slow, limit_s=limit_s, shifts={}))
        assert found
        assert all((one.evidence["times"] is not None) == known for one in found)
        assert all(("what slowed all endpoints down" in one.explanation) != known for one in found)


def test_of_few_answers_the_slowest_is_one() -> None:
    told = [slowest(answers) for answers in (11, 20, 21, 400)]
    assert told[:2] == ["the slowest of 11 answers", "the slowest of 20 answers"]
    assert told[2:] == ["the slowest 5% of 21 answers", "the slowest 5% of 400 answers"]


def test_an_outage_that_is_too_long_says_how_long() -> None:
    planted = production()
    planted.lock()
    planted.fail(CHECK_IN, 20, 28)
    planted.fail(EVENTS, 20, 35)
    out = check(judge(simulate.evidence(planted, qa())), "unavailable_s")
    assert not out.passed
    assert out.limit == 5
    assert 13 < out.observed < 17
    assert out.sentence == f"{EVENTS} answered nothing well for {seconds(out.observed)} in a row. (1 more)"


def test_it_stands_beside_the_limit_of_that_endpoint() -> None:
    planted = production()
    planted.lock()
    planted.fail(EVENTS, 20, 35)
    for limit_s, passed in ((8, False), (30, True)):
        own = {"endpoints": {EVENTS: {"unavailable_s": limit_s}}}
        out = check(judge(simulate.evidence(planted, qa(), criteria=own)), "unavailable_s")
        assert (out.passed, out.limit) == (passed, limit_s)


def test_new_failures_are_counted_in_endpoints_as_their_limit_is() -> None:
    planted = production()
    planted.lock()
    for endpoint in (EVENTS, CHECK_IN):
        planted.fail(endpoint, 20, 30, 0.8, "server error")
    failing = check(judge(simulate.evidence(planted, qa())), "new_failures")
    assert (failing.passed, failing.limit, failing.observed) == (False, 0, 2)
    assert re.match(
        r"\d{3} of \d+ requests failed since the first step that did not without the steps\. ", failing.sentence
    )
    assert failing.sentence.endswith(" (1 more)")
    well = check(judge(simulate.evidence(production(), qa())), "new_failures")
    assert (well.passed, well.limit, well.observed) == (True, 0, 0)


def test_recovery_has_a_limit_where_the_plan_has_one() -> None:
    planted = production()
    planted.lock()
    planted.fail(TOKEN, 20, 28)
    without = judge(simulate.evidence(planted, qa()))
    assert not [one for one in without.checks if one.name == "recovery_s"]
    for limit_s, passed in ((2, False), (20, True)):
        verdict = judge(simulate.evidence(planted, qa(), criteria={"recovery_s": limit_s}))
        took = check(verdict, "recovery_s")
        assert (took.passed, took.limit) == (passed, limit_s)
        assert 5 < took.observed < 12
        assert check(verdict, "recovery").passed


def test_what_never_came_back_is_late_too() -> None:
    planted = production()
    planted.lock()
    planted.fail(TOKEN, 20, 60)
    verdict = judge(simulate.evidence(planted, qa(), criteria={"endpoints": {TOKEN: {"recovery_s": 5}}}))
    lost, late = check(verdict, "recovery"), check(verdict, "recovery_s")
    assert (lost.passed, lost.limit, lost.observed) == (False, 0, 1)
    assert (late.passed, late.limit) == (False, 5)
    assert late.observed > 30


def test_a_workload_has_one_reason_for_go_over_all_its_arms() -> None:
    first = production()
    second = simulate.again(first, 3, 2, PRODUCTION)
    second.step(20, 25)
    pair = {"control": "production-control-2", "steps": "production-steps-2"}
    verdict = judge(simulate.evidence(first, second, qa(), confirming={"production": pair}))
    assert verdict.verdict == "GO"
    told, other = verdict.reasons
    assert re.match(r"production: \d+ requests since the first step in 2 arms, \d+ newly failing", told)
    assert re.match(r"qa: \d+ requests since the first step, \d+ newly failing", other)


def test_a_go_names_the_longest_wait_that_was_allowed() -> None:
    planted = production()
    planted.lock(20, 21.5)
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "GO", verdict.reasons
    (told,) = [reason for reason in verdict.reasons if "for a lock behind" in reason]
    assert told.startswith("production: the application waited up to 1.2 s for a lock behind")
    assert told.endswith("2.0 s are allowed.")


def test_one_stray_traceback_does_not_hide_a_flood() -> None:
    planted = production()
    planted.lines(dict.fromkeys(range(26, 34), 120))
    planted.lines({12: 36}, "control")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    (finding,) = of(verdict, metric="log_lines")
    assert finding["control"] == 36


def test_what_rests_on_one_pair_alone_is_named_apart_from_what_is_proven() -> None:
    planted = production()
    planted.lock()
    planted.fail(CHECK_IN, 20, 25, 0.9, "timeout")
    planted.fail(EVENTS, 26, 60, 0.3, "server error")
    planted.lag(8.0)
    verdict = judge(simulate.evidence(planted, qa()))
    told = verdict.to_json()["grounds"]
    assert told == [
        f"With a proven cause, which needs no repetition: the wait for a lock, {CHECK_IN}.",
        "Measured directly, which needs no repetition: the replica's lag.",
        "Shown by one pair of passes alone (with the steps and without), unproven, too clear for chance: "
        + EVENTS
        + ".",
    ]
    assert [reason for reason in verdict.reasons if reason in told] == told
    assert verdict.rests_on == "proof"


def test_a_measurement_is_no_proven_cause() -> None:
    planted = production()
    planted.lag(8.0)
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.rests_on == "proof"
    assert verdict.to_json()["grounds"] == ["It was measured directly, which needs no repetition."]
    assert "It was measured directly, which needs no repetition." in verdict.reasons


def test_a_go_has_no_grounds() -> None:
    assert judge(simulate.evidence(production(), qa())).to_json()["grounds"] == []


def test_new_lines_are_told_in_words_for_whoever_reads_no_code() -> None:
    planted = production()
    planted.lines({30: 3})
    planted.lines({}, "control")
    (found,) = of(judge(simulate.evidence(planted, qa())), metric="new_error_lines")
    assert found["explanation"] == (
        "The error log 'errors' got 3 lines after 'add token scopes' of a kind that it never had without the steps, "
        "most often 'pool timeout after <n> s'."
    )


def test_a_cause_is_told_once() -> None:
    planted = production()
    planted.lock()
    planted.fail(TOKEN, 20, 25, 0.8)
    verdict = judge(simulate.evidence(planted, qa()))
    (root,) = {finding["root"] for finding in of(verdict, severity="blocking") if finding["endpoint"] == TOKEN}
    waited, failed, *_ = verdict.reasons
    assert waited.startswith("The application waited")
    assert failed.startswith(TOKEN)
    assert "Cause:" not in failed
    alone = [finding for finding in verdict.findings if finding.endpoint == TOKEN]
    assert f"Cause: {root}." in reasons("NO_GO", alone, [], [])[0]
