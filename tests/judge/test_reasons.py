"""The order of a verdict's reasons, and what is told together."""

from replay.judge.findings import BLOCKING, Finding
from replay.judge.reasons import reasons


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
