"""Drift in an arm's requests and readings, as it is told of the digest of its evidence."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.judge.findings import Finding
from replay.judge.soak.criteria import DriftLimits
from replay.judge.soak.digest import Digest, Histogram
from replay.judge.soak.drift import Drift, drift_findings, drifts, layout, seasons, series_of
from replay.judge.soak.levels import Levels

LASTS_S, RATE = 1800.0, 10
BLOCKS = layout(LASTS_S)


def observations(latency_s: np.ndarray, failed: np.ndarray | None = None) -> pd.DataFrame:
    """Requests at an even rate over the arm's length."""
    count = len(latency_s)
    due_s = np.arange(count) * LASTS_S / count
    failed = np.zeros(count, dtype=bool) if failed is None else failed
    return pd.DataFrame(
        {
            "request": np.arange(count),
            "endpoint": "GET /x",
            "due_s": due_s,
            "waited_s": 0.0,
            "sent_s": due_s + 0.0001,
            "done_s": due_s + 0.0001 + latency_s,
            "status": np.where(failed, 500, 200),
            "outcome": np.where(failed, "server error", "ok"),
            "expected_status": 200,
            "expected_shape": "{}",
        }
    )


def found(rows: pd.DataFrame, readings: pd.DataFrame | None = None, **limits: object) -> list[Finding]:
    digest, levels = Digest(len(rows), BLOCKS.block_s), Levels(BLOCKS.block_s)
    for part in np.array_split(np.arange(len(rows)), 7):
        digest.add(rows.iloc[part])
    if readings is not None:
        levels.add(readings)
    counted = digest.blocks(BLOCKS.blocks)
    series = series_of(counted, levels.series(BLOCKS.blocks), BLOCKS.blocks)
    told = drifts(series, BLOCKS, seasons(BLOCKS, counted))
    return list(drift_findings(told, {"": DriftLimits(**limits)}, "w", "production", "w-control"))


def latencies(seed: int, scale: np.ndarray | float = 1.0) -> np.ndarray:
    count = int(LASTS_S * RATE)
    return np.random.default_rng(seed).lognormal(-4, 0.4, count) * scale


def readings(values: np.ndarray, metric: str, probe: str = "api", detail: str = "{}") -> pd.DataFrame:
    at_s = np.arange(len(values)) * LASTS_S / len(values)
    return pd.DataFrame({"at_s": at_s, "probe": probe, "metric": metric, "value": values, "detail": detail})


def test_a_latency_that_rises_is_told_and_one_that_does_not_is_not() -> None:
    assert found(observations(latencies(1))) == []
    rising = found(observations(latencies(1, np.linspace(1, 2, int(LASTS_S * RATE)))))
    assert {finding.metric for finding in rising} == {"drift_p50_s", "drift_p95_s"}
    for finding in rising:
        assert finding.severity == "blocking"
        assert finding.effect is not None
        assert finding.control is not None
        assert finding.effect == pytest.approx(finding.control, rel=0.2)
        assert finding.interval is not None
        assert finding.interval[0] < finding.effect < (finding.interval[1] or 0)
    falling = found(observations(latencies(1, np.linspace(2, 1, int(LASTS_S * RATE)))))
    assert falling == []


def test_without_a_limit_drift_is_only_noted() -> None:
    rising = observations(latencies(1, np.linspace(1, 2, int(LASTS_S * RATE))))
    assert {finding.severity for finding in found(rising, latency_share=None)} == {"note"}
    assert found(rising, latency_share=5.0) == []


def test_failures_that_become_more() -> None:
    count = int(LASTS_S * RATE)
    failed = np.random.default_rng(2).random(count) < np.linspace(0, 0.2, count)
    told = found(observations(latencies(2), failed))
    assert {(finding.endpoint, finding.metric, finding.unit) for finding in told} == {
        ("*", "drift_failures", "share"),
        ("GET /x", "drift_failures", "share"),
    }
    steady = np.random.default_rng(2).random(count) < 0.1
    assert found(observations(latencies(2), steady)) == []


def test_memory_that_leaks_and_memory_that_fills_up() -> None:
    chance = np.random.default_rng(4)
    leak = 200e6 + np.linspace(0, 60e6, 1800) + chance.normal(0, 2e6, 1800)
    (finding,) = found(observations(latencies(1)), readings(leak, "process_memory_bytes"))
    assert (finding.probe, finding.metric, finding.severity) == ("api", "drift_process_memory_bytes", "blocking")
    assert finding.evidence["per_hour"] == pytest.approx(120e6, rel=0.1)
    fills = 200e6 + np.minimum(np.arange(1800) * 3e5, 60e6) + chance.normal(0, 2e6, 1800)
    assert found(observations(latencies(1)), readings(fills, "process_memory_bytes")) == []
    # What is no level by nature is noted, and a limit of its own counts.
    (noted,) = found(observations(latencies(1)), readings(leak, "queue_bytes"))
    assert noted.severity == "note"
    limit = (("queue_bytes", 1e6),)
    assert [
        one.severity for one in found(observations(latencies(1)), readings(leak, "queue_bytes"), per_hour=limit)
    ] == ["blocking"]


def test_what_counts_on_and_what_is_an_event_is_no_series() -> None:
    rising = np.linspace(0, 1e9, 1800)
    for metric in ("wal_bytes", "lock_wait_s", "http_requests_total"):
        assert found(observations(latencies(1)), readings(rising, metric)) == []
    many = readings(rising, "of_each_bytes")
    many["detail"] = [json.dumps({"name": f"n{number}"}) for number in range(len(many))]
    assert found(observations(latencies(1)), many) == []


def test_the_rate_of_the_workload_is_no_drift() -> None:
    """Latency follows the rate, which goes up and down and ends higher than it began."""
    chance = np.random.default_rng(6)
    rate = 10 + 8 * np.sin(np.arange(1800) / 1800 * 2.5 * np.pi)
    due_s = np.repeat(np.arange(1800), rate.astype(int)).astype(float)
    rows = observations(chance.lognormal(-4, 0.3, len(due_s)) * (0.5 + rate[due_s.astype(int)] / 10))
    gone_s = rows["done_s"] - rows["sent_s"]
    rows = rows.assign(due_s=due_s, sent_s=due_s, done_s=due_s + gone_s)
    assert found(rows) == []


def test_a_control_takes_off_what_it_has_too() -> None:
    wave = 1 + 0.8 * np.linspace(0, 1, int(LASTS_S * RATE))
    lay = BLOCKS

    def series(rows: pd.DataFrame) -> list:
        digest = Digest(len(rows), lay.block_s)
        digest.add(rows)
        return series_of(digest.blocks(lay.blocks), {}, lay.blocks)

    arm, control = series(observations(latencies(1, wave))), series(observations(latencies(2, wave)))
    season = np.zeros(lay.blocks, dtype=np.int64)

    def told(both: list[Drift]) -> list[Finding]:
        return list(drift_findings(both, {"": DriftLimits()}, "w", "production", "w-steps"))

    assert told(drifts(arm, lay, season))
    assert told(drifts(arm, lay, season, control)) == []


@given(st.floats(1, 1e5), st.one_of(st.none(), st.floats(0.5, 1e5)))
def test_a_layout_covers_the_arm_and_fits_the_cycle(duration_s: float, cycle_s: float | None) -> None:
    lay = layout(duration_s, cycle_s)
    assert lay.blocks * lay.block_s <= duration_s + 1e-3
    if lay.cycle and cycle_s:
        assert duration_s >= 3 * cycle_s
        whole = lay.block_s * lay.cycle / cycle_s
        assert whole == pytest.approx(round(whole))
    assert lay.enough == (lay.blocks >= 20)


@settings(deadline=None)
@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantiles_are_exact_to_a_hundredth(lengths: list[float], q: float) -> None:
    histogram = Histogram()
    for part in np.array_split(np.array(lengths), 3):
        histogram.add(part)
    told = histogram.quantile(q)
    assert told is not None
    exact = float(np.quantile(lengths, q, method="inverted_cdf"))
    assert told == pytest.approx(exact, rel=0.011, abs=1.1e-5)


def test_a_digest_counts_what_is_there_twice() -> None:
    rows = observations(latencies(1)[:50])
    digest = Digest(50, 10.0)
    digest.add(rows.iloc[:30])
    digest.add(rows.iloc[25:])
    assert (digest.observed, digest.twice, digest.answered) == (55, 5, 55)
    assert digest.outcomes == {("GET /x", "ok"): 55}
