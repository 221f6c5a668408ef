"""The verdict on a soak: its evidence first, then its limits, then drift."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replay.errors import InputError
from replay.evidence.files import ArmFolder, write_json
from replay.evidence.heartbeat import Heartbeat, beat
from replay.evidence.rollup import tidy
from replay.evidence.values import ArmInfo, Observation, Reading
from replay.judge.soak.criteria import LIMITS, OF_AN_ENDPOINT, SoakCriteria, parse_soak_criteria
from replay.judge.verdict import judge_run

LASTS_S, RATE = 600.0, 4
COUNT = int(LASTS_S * RATE)


def observed(number: int, latency_s: float = 0.01, **more: Any) -> Observation:
    due_s = number / RATE
    values = {
        "request": number, "visit": number, "client": "c", "endpoint": f"GET /{number % 3}", "due_s": due_s,
        "waited_s": 0.0, "sent_s": due_s + 0.001, "first_byte_s": due_s + latency_s,
        "done_s": due_s + latency_s + 0.001, "status": 200, "size_bytes": 2, "digest": "0" * 16, "shape": "{}",
        "expected_status": 200,
        "expected_shape": "{}", "outcome": "ok", "error": None, "caused_by": None, "worker": "w",
    }  # fmt: skip
    return Observation(**(values | more))


def failed(number: int) -> Observation:
    return observed(number, status=500, outcome="server error")


def soak(run: Path, rows: list[Observation], planned: int = COUNT, lasts_s: float = LASTS_S, **said: Any) -> Path:
    """A run's folder with a soak of these observations; ``said`` goes to rehearsal.json."""
    folder = ArmFolder(run / "arms" / "w-control")
    folder.create()
    state = said.get("state", "complete")
    folder.write_info(
        ArmInfo("w-control", "w", "production", False, "2026-11-22T10:00:00+00:00", lasts_s, planned, state)
    )
    for start in range(0, len(rows), 500):
        folder.observations(f"w{start}").write(rows[start : start + 500])
    usual = {"format": 1, "kind": "soak", "name": "night", "state": "complete", "order": ["w-control"], "criteria": {}}
    write_json(run / "rehearsal.json", usual | said)
    return run


def steady(seed: int = 1) -> list[Observation]:
    chance = np.random.default_rng(seed)
    return [observed(number, float(latency_s)) for number, latency_s in enumerate(chance.lognormal(-4, 0.3, COUNT))]


def names(document: dict[str, Any]) -> set[str]:
    return {check["name"] for check in document["criteria"] if not check["passed"]}


def test_a_steady_soak_goes(tmp_path: Path) -> None:
    verdict = judge_run(soak(tmp_path, steady()))
    assert verdict.verdict == "GO", verdict.reasons
    document = verdict.to_json()
    assert document["findings"] == []
    assert document["arms"][0]["observed"] == COUNT
    assert document["workload_verdicts"] == {"w": "GO"}
    assert "2,400 requests failed" in verdict.reasons[0]
    assert (tmp_path / "verdict.json").exists()


def test_the_same_whether_it_was_rolled_up_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = soak(tmp_path, steady())
    before = judge_run(run).to_json()
    monkeypatch.setattr("replay.evidence.rollup._MOST_ROWS", 700)
    assert tidy(run / "arms" / "w-control", whole=True)
    assert judge_run(run).to_json() == before


@pytest.mark.parametrize(
    ("rows", "criteria", "metric"),
    [
        ([failed(n) if n % 20 == 0 else one for n, one in enumerate(steady())], {}, "failure_share"),
        (steady(), {"p95_s": 0.01}, "latency_p95_s"),
        (steady(), {"endpoints": {"GET /1": {"p99_s": 0.01}}}, "latency_p99_s"),
        ([observed(n, 0.01 * (1 + n / COUNT)) for n in range(COUNT)], {}, "drift_p50_s"),
    ],
)
def test_a_broken_limit_is_no_go(
    tmp_path: Path, rows: list[Observation], criteria: dict[str, Any], metric: str
) -> None:
    verdict = judge_run(soak(tmp_path, rows, criteria=criteria))
    assert verdict.verdict == "NO_GO"
    assert metric in {finding.metric for finding in verdict.findings if finding.severity == "blocking"}
    if "endpoints" in criteria:
        assert {finding.endpoint for finding in verdict.findings} == {"GET /1"}


def test_one_failure_is_always_allowed(tmp_path: Path) -> None:
    rows = steady()
    rows[7] = failed(7)
    assert judge_run(soak(tmp_path, rows, criteria={"failure_share": 0})).verdict == "GO"


def test_what_the_capture_had_is_no_failure(tmp_path: Path) -> None:
    rows = [dataclasses.replace(failed(n), expected_status=500) for n in range(COUNT)]
    assert judge_run(soak(tmp_path, rows)).verdict == "GO"


late = [dataclasses.replace(one, sent_s=one.due_s + 1.0, done_s=one.due_s + 1.01) for one in steady()]


@pytest.mark.parametrize(
    ("rows", "said", "check"),
    [
        (late, {}, "engine_lateness"),
        (steady()[:-1], {}, "arm_complete"),
        ([*steady(), steady()[0]], {}, "arm_complete"),
        (steady(), {"state": "interrupted"}, "run_complete"),
        (steady()[:50], {}, "min_requests"),
        ([], {}, "min_requests"),
        (steady(), {"plan": {"probes": {"api": {"kind": "process"}}}}, "probe_read"),
        (steady(), {"criteria": {"endpoints": {"GET /none": {"p95_s": 1.0}}}}, "criteria_endpoints"),
        (steady(), {"criteria": {"drift_per_hour": {"process_memory_byte": 1.0}}}, "drift_read"),
        (
            [dataclasses.replace(one, sent_s=None, done_s=None, status=None, outcome="unsent") for one in steady()],
            {},
            "unsent_share",
        ),
    ],
)
def test_evidence_that_does_not_carry_a_verdict(
    tmp_path: Path, rows: list[Observation], said: dict[str, Any], check: str
) -> None:
    verdict = judge_run(soak(tmp_path, rows, **said))
    assert verdict.verdict == "INCONCLUSIVE"
    assert check in names(verdict.to_json())


def test_a_late_generator_says_nothing_against_the_target(tmp_path: Path) -> None:
    rows = [dataclasses.replace(failed(n), sent_s=n / RATE + 1, done_s=n / RATE + 9) for n in range(COUNT)]
    verdict = judge_run(soak(tmp_path, rows, criteria={"p95_s": 0.1}))
    assert verdict.verdict == "INCONCLUSIVE"
    assert {finding.severity for finding in verdict.findings} == {"note"}


def test_what_broke_a_limit_before_the_end_is_no_go(tmp_path: Path) -> None:
    run = soak(tmp_path, [failed(n) for n in range(COUNT // 2)], state="aborted", reason="the disk has 1 MB left")
    verdict = judge_run(run)
    assert verdict.verdict == "NO_GO"
    assert {"run_complete", "arm_complete"} <= names(verdict.to_json())


def test_too_short_for_drift_says_so_unless_it_is_not_asked_for(tmp_path: Path) -> None:
    rows = steady()[:400]
    verdict = judge_run(soak(tmp_path / "a", rows, 400, 100.0))
    assert verdict.verdict == "INCONCLUSIVE"
    assert names(verdict.to_json()) == {"drift_seen"}
    assert judge_run(soak(tmp_path / "b", rows, 400, 100.0, criteria={"drift_p_value": 0})).verdict == "GO"


def test_a_run_that_nobody_ended_says_when_it_was_heard_of_last(tmp_path: Path) -> None:
    run = soak(tmp_path, steady()[:1000], state="running")
    beat(run, Heartbeat("2026-11-22T10:03:05+00:00", "w-control", 185.0, COUNT, 740, 0, 10, 10**9, 1, 2))
    verdict = judge_run(run)
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("its last sign of life is of 2026-11-22T10:03:05+00:00, 185.0 s after" in one for one in verdict.reasons)


def test_a_leak_that_a_probe_saw(tmp_path: Path) -> None:
    run = soak(tmp_path, steady(), plan={"probes": {"api": {"kind": "process"}}})
    readings = [Reading(n / 2, "api", "process_memory_bytes", 1e8 + n * 1e5, {"names": ["api"]}) for n in range(1200)]
    ArmFolder(run / "arms" / "w-control").readings("api").write(readings)
    verdict = judge_run(run)
    assert verdict.verdict == "NO_GO"
    assert verdict.reasons[0].startswith("process_memory_bytes of the probe 'api' rose all through")


@pytest.mark.parametrize("until", [1, 540])
def test_a_probe_that_failed_last_of_all_saw_no_end(tmp_path: Path, until: int) -> None:
    run = soak(tmp_path, steady(), plan={"probes": {"api": {"kind": "process"}}})
    readings = [Reading(n / 2, "api", "process_memory_bytes", 1e8 + n * 1e6, {"names": ["api"]}) for n in range(until)]
    readings.append(Reading(until / 2, "api", "probe_failed", 1.0, {"error": "no such process"}))
    ArmFolder(run / "arms" / "w-control").readings("api").write(readings)
    verdict = judge_run(run)
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("'api' read nothing from" in one and "no such process" in one for one in verdict.reasons)


def test_a_metric_with_a_limit_is_one_that_was_read_all_through(tmp_path: Path) -> None:
    probes = {"plan": {"probes": {"api": {"kind": "process"}}}}
    for name, many, limits, failed_checks in (
        ("read", 1200, {"process_threads": 5}, set()),
        ("once", 2, {"process_threads": 5}, {"drift_read"}),
        ("counter", 1200, {"wal_bytes": 5}, {"drift_read"}),
        ("no limit", 1200, {"connections": "inf"}, set()),
    ):
        run = soak(tmp_path / name, steady(), criteria={"drift_per_hour": limits}, **probes)
        rows = [
            Reading(n / 2, "api", metric, 7.0, {}) for n in range(many) for metric in ("process_threads", "wal_bytes")
        ]
        ArmFolder(run / "arms" / "w-control").readings("api").write(rows)
        verdict = judge_run(run)
        assert names(verdict.to_json()) == failed_checks, name
        if failed_checks:
            assert any(f"no probe read {next(iter(limits))}" in reason for reason in verdict.reasons)


def test_endpoints_with_too_few_answers_for_a_limit_on_times_are_named(tmp_path: Path) -> None:
    rows = steady()
    for number in range(0, 15, 3):
        rows[number] = dataclasses.replace(rows[number], endpoint="GET /rare", done_s=rows[number].due_s + 5)
    said = "1 endpoint had fewer than 20 answers and is not judged for time: GET /rare."
    verdict = judge_run(soak(tmp_path / "limit", rows, criteria={"p95_s": 1.0}))
    (sentence,) = (one["sentence"] for one in verdict.to_json()["criteria"] if one["name"] == "latency")
    assert verdict.verdict == "GO"
    assert sentence == f"No answer took too long. {said}"
    assert said in verdict.reasons
    free = judge_run(soak(tmp_path / "free", rows)).to_json()
    assert "GET /rare" not in str(free["criteria"])


def test_an_endpoint_asked_too_rarely_says_how_often_it_was(tmp_path: Path) -> None:
    rows = steady()
    for number in range(3):
        rows[number] = dataclasses.replace(rows[number], endpoint="GET /rare")
    own = {"GET /rare": {"p95_s": 1.0}, "GET /none": {"failure_share": 0.5}}
    verdict = judge_run(soak(tmp_path, rows, criteria={"endpoints": own}))
    assert "GET /none (0 of 1 requests), GET /rare (3 of 20 requests)" in verdict.reasons[0]


def test_how_long_drift_takes_to_see_is_that_of_its_blocks(tmp_path: Path) -> None:
    verdict = judge_run(soak(tmp_path, steady()[:1000], 1000, 250.0, cycle_s=9.0))
    assert "of 360 s that are needed" in verdict.reasons[0]


def test_damaged_segments_are_named(tmp_path: Path) -> None:
    run = soak(tmp_path, steady())
    (run / "arms" / "w-control" / "observations" / "w0-000001.parquet").write_bytes(b"nothing")
    verdict = judge_run(run)
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("damaged: observations/w0-000001.parquet" in reason for reason in verdict.reasons)


def test_every_limit_can_be_set() -> None:
    for name in LIMITS:
        assert getattr(parse_soak_criteria({name: 0.5}), name) == 0.5
    for name in OF_AN_ENDPOINT:
        own = parse_soak_criteria({"endpoints": {"GET /x": {name: 0.5}}}).of("GET /x")
        assert getattr(own, name) == 0.5
    assert parse_soak_criteria({"p95_s": 2, "endpoints": {"GET /x": {}}}).of("GET /x").p95_s == 2
    assert parse_soak_criteria({"drift_per_hour": {"connections": 1}}).drift.per_hour == (("connections", 1.0),)
    for written in (float("inf"), "inf"):
        assert parse_soak_criteria({"failure_share": written}).failure_share == float("inf")
    assert parse_soak_criteria({}) == SoakCriteria()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"p95": 1}, "unknown key 'p95'"),
        ({"p95_s": "fast"}, "not a number"),
        ({"p95_s": -1}, "not a number"),
        ({"p95_s": float("nan")}, "not a number"),
        ({"failure_share": 2}, "a share"),
        ({"endpoints": 1}, "not a table"),
        ({"endpoints": {"GET /x": 1}}, "not a table"),
        ({"endpoints": {"GET /x": {"lateness_s": 1}}}, "'lateness_s', which is a limit for the whole Stage"),
        ({"drift_per_hour": 1}, "not a table"),
        ({"drift_per_hour": {"x": "y"}}, "not a number"),
        ([], "not a table"),
    ],
)
def test_wrong_criteria_are_named(table: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_soak_criteria(table)


def with_probe(run: Path, readings: list[Reading], **said: Any) -> Path:
    soak(run, steady(), plan={"probes": {"api": {"kind": "process"}}}, **said)
    ArmFolder(run / "arms" / "w-control").readings("api").write(readings)
    return run


def running(metric: str = "processes", value: float = 1.0) -> list[Reading]:
    return [Reading(float(at_s), "api", metric, value, {}) for at_s in range(600)]


def restart(at_s: float, gone: list[int], come: list[int]) -> Reading:
    return Reading(at_s, "api", "process_restarted", 1.0, {"gone": gone, "come": come})


RESTARTS = [restart(120.0, [7], []), restart(121.0, [], [8]), restart(300.0, [8], [9])]


@pytest.mark.parametrize(
    ("limit", "verdict", "severity"),
    [(None, "NO_GO", "blocking"), (1, "NO_GO", "blocking"), (2, "GO", "note"), ("inf", "GO", "note")],
)
def test_a_process_that_ended_is_a_finding(tmp_path: Path, limit: Any, verdict: str, severity: str) -> None:
    criteria = {} if limit is None else {"restarts": limit}
    found = judge_run(with_probe(tmp_path, [*running(), *RESTARTS], criteria=criteria))
    assert found.verdict == verdict
    (finding,) = found.findings
    assert (finding.metric, finding.probe, finding.severity, finding.observed) == ("restarts", "api", severity, 2)
    assert finding.first_bad_s == 120
    assert finding.rests_on == "proof"
    said = "2 processes of the probe 'api' ended (at 120 s, 300 s), and 2 came anew"
    assert any(reason.startswith(said) for reason in found.reasons)
    (check,) = (one for one in found.checks if one.name == "restarts")
    assert (check.observed, check.passed) == (2, verdict == "GO")


def test_a_process_that_never_came_back_has_ended_too(tmp_path: Path) -> None:
    verdict = judge_run(with_probe(tmp_path, [*running(), restart(120.0, [7], [])]))
    assert verdict.reasons[0] == "1 process of the probe 'api' ended (at 120 s), and none came anew (limit 0)."


@pytest.mark.parametrize("detail", [{}, {"gone": 3}, {"gone": None, "come": "x"}, {"come": [4]}])
def test_one_more_process_is_no_restart(tmp_path: Path, detail: dict[str, Any]) -> None:
    rows = [*running(), Reading(50.0, "api", "process_restarted", 1.0, detail)]
    assert judge_run(with_probe(tmp_path, rows)).verdict == "GO"


def test_restarts_by_the_start_that_a_program_tells(tmp_path: Path) -> None:
    def told(starts: list[float]) -> list[Reading]:
        name = "process_start_time_seconds"
        return [Reading(float(n), "api", name, start, {"job": "api"}) for n, start in enumerate(starts)]

    once = judge_run(with_probe(tmp_path / "once", told([1.7e9] * 200 + [1.8e9] * 400)[::-1]))
    assert once.verdict == "NO_GO"
    assert once.reasons[0].startswith("1 process of the probe 'api' ended (at 200 s), and 1 came anew")
    in_turn = judge_run(with_probe(tmp_path / "in turn", told([1.7e9, 1.8e9] * 300)))
    assert in_turn.verdict == "GO"
    assert not in_turn.findings


@pytest.mark.parametrize(("readings", "says"), [([], "No probe watches a process"), (running(), "No process that")])
def test_whether_a_restart_would_have_been_seen_is_said(tmp_path: Path, readings: list[Reading], says: str) -> None:
    verdict = judge_run(with_probe(tmp_path, [*running("connections"), *readings]))
    (check,) = (one for one in verdict.checks if one.name == "restarts")
    assert check.passed
    assert check.sentence.startswith(says)


@pytest.mark.parametrize("spread", [2, 50])
def test_what_was_doubled_is_seen_where_others_are_answered(tmp_path: Path, spread: int) -> None:
    """Of the schedule's numbers only some are sent, so that most of them are larger than their count."""
    rows = [dataclasses.replace(one, request=one.request * spread) for one in steady()]
    assert judge_run(soak(tmp_path / "whole", rows)).verdict == "GO"
    verdict = judge_run(soak(tmp_path / "forged", [*rows[:-500], *rows[-1000:-500]]))
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("500 requests twice" in reason for reason in verdict.reasons)


def unanswered(rows: list[Observation], of: str, but: int) -> list[Observation]:
    """All requests of an endpoint but some time out, as they did in the capture."""
    mine = [n for n, one in enumerate(rows) if one.endpoint == of][but:]
    for number in mine:
        rows[number] = dataclasses.replace(
            rows[number], status=None, size_bytes=None, expected_status=None, outcome="no connection"
        )
    return rows


@pytest.mark.parametrize(
    ("own", "verdict", "check"),
    [
        ({}, "GO", "drift_endpoints"),
        ({"drift_latency_share": 0.5}, "INCONCLUSIVE", "drift_endpoints"),
        ({"drift_failure_share": 1}, "GO", "drift_endpoints"),
        ({"p95_s": 5.0}, "INCONCLUSIVE", "criteria_endpoints"),
    ],
)
def test_an_endpoint_too_rarely_answered_is_named(tmp_path: Path, own: Any, verdict: str, check: str) -> None:
    criteria = {"failure_share": 1, "drift_failure_share": 1, "endpoints": {"GET /1": own} if own else {}}
    found = judge_run(soak(tmp_path, unanswered(steady(), "GET /1", 10), criteria=criteria))
    assert found.verdict == verdict, found.reasons
    (one,) = (one for one in found.checks if one.name == check)
    assert one.passed == (verdict == "GO")
    assert "GET /1" in one.sentence
    assert any("GET /1" in reason for reason in found.reasons)
