"""Drift: what rises all through a long arm, be it latency, failures, memory or connections. Pure.

An arm is cut into blocks of 10 to 60 s. For each endpoint there are the p50 and p95 of the answers that did not fail,
and the share that failed; for each probe the level of what it reads. What the workload itself does to them is taken out
first: by the control arm of the same schedule, block by block; else by the position in the schedule where that repeats;
else by how many requests the block had. A drift is a trend that is significant, with as many looked at as there are
(`replay.judge.soak.trend`), goes on in the second half, and is large enough to matter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from replay.judge.arrays import Labels, Values
from replay.judge.findings import BLOCKING, NOTE, Finding, percent, seconds
from replay.judge.soak.criteria import DriftLimits
from replay.judge.soak.trend import FEWEST, Trend, holm, trend_of

# What should stay level however long it runs: a rise is a leak, or a queue that is not worked off.
LEVEL = frozenset(
    {
        "process_memory_bytes",
        "process_open_files",
        "process_threads",
        "processes",
        "connections",
        "waiting_backends",
        "replica_lag_s",
        "replica_lag_bytes",
        "history_list_length",
        "host_swap_used_bytes",
    }
)
_LATENCIES = ("p50_s", "p95_s")
_SHORTEST_S, _LONGEST_S, _BLOCKS = 10.0, 60.0, 120
_CYCLES = 3  # so often a schedule is to repeat, for its positions to be compared
_RATES = 6  # classes by number of requests, of 15 blocks or more
_BLOCKS_OF_A_RATE = 15


_USUAL = DriftLimits()


@dataclass(frozen=True, slots=True)
class Layout:
    """How an arm is cut: ``blocks`` of ``block_s`` each, ``cycle`` of which (0: unknown) the schedule repeats."""

    block_s: float
    blocks: int
    cycle: int = 0

    @property
    def enough(self) -> bool:
        """Whether a trend could be told at all."""
        return self.blocks >= FEWEST


def layout(duration_s: float, cycle_s: float | None = None) -> Layout:
    """The blocks of an arm of that length. ``cycle_s`` is how long its schedule is before it repeats, where it does."""
    block_s = min(max(duration_s / _BLOCKS, _SHORTEST_S), _LONGEST_S)
    cycle = 0
    if cycle_s and duration_s >= _CYCLES * cycle_s:
        if cycle_s >= 2 * block_s:
            cycle = round(cycle_s / block_s)
            block_s = cycle_s / cycle
        else:
            block_s = cycle_s * np.ceil(block_s / cycle_s)
            cycle = 1
    return Layout(float(block_s), int((duration_s + 1e-6) // block_s), cycle)


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each block, of an ``endpoint`` or a ``probe``; the limit is the metric's, see ``_limit``."""

    metric: str
    values: Values
    endpoint: str | None = None
    probe: str | None = None
    name: str = ""
    requests: int | None = None


def series_of(
    endpoints: Mapping[str, pd.DataFrame], levels: Mapping[tuple[str, str, str], Values], blocks: int
) -> list[Series]:
    """All series of an arm: its endpoints' blocks (see `Digest.blocks`), all of them together, its probes' levels."""
    found = []
    if endpoints:
        total = sum(frame["requests"].to_numpy(np.float64) for frame in endpoints.values())
        failed = sum(frame["failed"].to_numpy(np.float64) for frame in endpoints.values())
        found.append(Series("failures", _share(failed, total), "*", requests=int(np.sum(total))))
    for endpoint, frame in endpoints.items():
        requests = frame["requests"].to_numpy(np.float64)
        many = int(requests.sum())
        found += [Series(name, frame[name].to_numpy(np.float64), endpoint, requests=many) for name in _LATENCIES]
        failures = _share(frame["failed"].to_numpy(np.float64), requests)
        found.append(Series("failures", failures, endpoint, requests=many))
    found += [Series(metric, values, None, probe, name) for (probe, metric, name), values in levels.items()]
    return [one for one in found if int(np.isfinite(one.values).sum()) >= max(FEWEST, blocks // 2)]


def seasons(lay: Layout, endpoints: Mapping[str, pd.DataFrame]) -> Labels:
    """What tells blocks apart that differ by nature: the position in the schedule, or the number of requests."""
    if lay.cycle:
        positions: Labels = np.arange(lay.blocks, dtype=np.int64) % lay.cycle
        return positions
    if not endpoints:
        return np.zeros(lay.blocks, dtype=np.int64)
    total = np.sum([frame["requests"].to_numpy(np.float64) for frame in endpoints.values()], axis=0)
    # Of about the same number are those within what chance does to it.
    if total.std() <= 2 * np.sqrt(max(1.0, total.mean())):
        return np.zeros(lay.blocks, dtype=np.int64)
    classes = int(np.clip(lay.blocks // _BLOCKS_OF_A_RATE, 1, _RATES))
    edges = np.quantile(total, np.linspace(0, 1, classes + 1)[1:-1])
    found: Labels = np.searchsorted(edges, total, side="right").astype(np.int64)
    return found


@dataclass(frozen=True, slots=True)
class Drift:
    """A series with its trend, and the p-value that counts with as many series as there are."""

    series: Series
    trend: Trend
    p_value: float


def drifts(series: list[Series], lay: Layout, season: Labels, control: list[Series] | None = None) -> list[Drift]:
    """Each series' trend. ``control`` are the same series of an arm of the same schedule, which are taken off."""
    at_s: Values = (np.arange(lay.blocks, dtype=np.float64) + 0.5) * np.float64(lay.block_s)
    known = {(one.metric, one.endpoint, one.probe, one.name): one.values for one in control or []}
    found = []
    for one in series:
        other = known.get((one.metric, one.endpoint, one.probe, one.name))
        if other is None:
            trend = trend_of(at_s, one.values, season)
        else:
            trend = trend_of(at_s, one.values - other + np.nanmedian(other))
        if trend is not None and trend.p_value < 1:  # what never moves need not be looked at
            found.append((one, trend))
    adjusted = holm([trend.p_value for _, trend in found])
    return [Drift(one, trend, p) for (one, trend), p in zip(found, adjusted, strict=True)]


def drift_findings(
    found: list[Drift], limits: Mapping[str, DriftLimits], workload: str, role: str, arm: str
) -> Iterator[Finding]:
    """A finding for each drift that matters: blocking beyond its limit, a note where there is no limit.

    ``limits`` are by endpoint; ``""`` are the general ones.
    """
    for one in found:
        series, trend = one.series, one.trend
        own = limits.get(series.endpoint or "", limits[""])
        if one.p_value >= own.p_value or trend.slope <= 0 or not trend.lasting:
            continue
        beyond = _beyond(series, trend, own)
        if beyond is None:
            continue
        yield Finding(
            workload=workload,
            role=role,
            arm=arm,
            phase="all through",
            unit=_unit(series.metric),
            observed=trend.level + trend.growth,
            control=trend.level,
            explanation=_told(series, trend),
            severity=BLOCKING if beyond else NOTE,
            endpoint=series.endpoint,
            probe=series.probe,
            metric=f"drift_{series.metric}",
            effect=trend.growth,
            interval=(trend.interval[0] * trend.span_s, trend.interval[1] * trend.span_s),
            p_value=one.p_value,
            requests=series.requests,
            evidence={
                "per_hour": trend.per_hour,
                "span_s": trend.span_s,
                "blocks": trend.blocks,
                "name": series.name,
                "limit": _limit(series, own),
            },
        )


def _limit(series: Series, limits: DriftLimits) -> float | None:
    """What the series may gain: in all (of its level for a latency), or an hour for a level; None: as much as it is."""
    if series.endpoint is not None:
        return limits.failure_share if series.metric == "failures" else limits.latency_share
    own = dict(limits.per_hour).get(series.metric)
    return own if own is not None else limits.level_share if series.metric in LEVEL else None


def _beyond(series: Series, trend: Trend, limits: DriftLimits) -> bool | None:
    """Whether a drift is beyond its limit; None where it is too small to be told at all."""
    limit = _limit(series, limits)
    level = max(trend.level, 0.0)
    if series.metric == "failures":
        return limit is not None if trend.growth > _telling(limit, _USUAL.failure_share) else None
    if series.endpoint is not None:
        if trend.growth < limits.latency_s:
            return None
        return limit is not None if trend.growth > _telling(limit, _USUAL.latency_share) * level else None
    if (own := dict(limits.per_hour).get(series.metric)) is not None:
        return True if trend.per_hour > own else None
    # What was seen itself has to be something, else an hour is made out of a few minutes' noise.
    if trend.growth < _least(series.metric) or trend.per_hour <= _telling(limit, _USUAL.level_share) * level:
        return None
    return limit is not None


def _telling(limit: float | None, usual: float | None) -> float:
    """The limit, or where there is none what is worth a note."""
    return limit if limit is not None else usual or 0.0


def _least(metric: str) -> float:
    if metric.endswith("_bytes"):
        return 4e6
    return 0.5 if metric.endswith("_s") else 2.0


def _told(series: Series, trend: Trend) -> str:
    first, last = _amount(series.metric, trend.level), _amount(series.metric, trend.level + trend.growth)
    pace = _amount(series.metric, trend.per_hour)
    if series.metric == "failures":
        what = "all requests" if series.endpoint == "*" else str(series.endpoint)
        return f"The share of {what} that failed rose all through, from {first} to {last} ({pace} an hour)."
    if series.endpoint is not None:
        what = f"{series.endpoint} slowed down all through: its {series.metric[:3]}"
        return f"{what} rose from {first} to {last} ({pace} an hour)."
    name = f" ({series.name})" if series.name else ""
    what = f"{series.metric} of the probe {series.probe!r}{name}"
    return f"{what} rose all through, from {first} to {last} ({pace} an hour)."


def _unit(metric: str) -> str:
    if metric == "failures":
        return "share"
    return "s" if metric.endswith("_s") else "bytes" if metric.endswith("_bytes") else "count"


def _amount(metric: str, value: float) -> str:
    value = max(0.0, value)
    unit = _unit(metric)
    if unit == "share":
        return percent(value)
    if unit == "s":
        return f"{value * 1000:,.1f} ms" if value < 1 else seconds(value)
    return f"{value / 1e6:,.1f} MB" if unit == "bytes" else f"{value:,.4g}"


def _share(part: object, whole: object) -> Values:
    parts, wholes = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    found: Values = np.divide(parts, wholes, out=np.full(len(wholes), np.nan), where=wholes > 0)
    return found
