"""The order of a verdict's reasons, and what is told together."""

import dataclasses

import simulate
from incident import PRODUCTION, failed_criteria, production, qa

from replay.judge.findings import BLOCKING, NOTE, SUSPECT, Check, Finding
from replay.judge.reasons import reasons, with_all_findings
from replay.judge.verdict import judge


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
    assert told[2].startswith("Two pairs of arms")


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
