"""The limits that a soak is held against. Defaults serve; the ``[criteria]`` of ``replay run --criteria`` sets any."""

import sys
from dataclasses import dataclass, fields, replace
from typing import Any

from replay.errors import InputError
from replay.judge.criteria import check_keys, endpoint_tables, read_limit

SOAK = "soak"  # what rehearsal.json says under "kind"
FEWEST_ANSWERS = 20  # that a p95 is told of
PERCENTILES = ("p50_s", "p95_s", "p99_s")


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """What drift is worth a verdict; None: none is.

    ``latency_share`` of the level that an endpoint's p50 or p95 had at first, which it may gain in all, and
    ``latency_s``, which it has to gain besides; ``failure_share``, by which its share of failures may rise;
    ``level_share``, by which what should stay level may rise in an hour; ``per_hour`` are limits of single metrics, in
    their units an hour. ``p_value`` is what a trend has to be less probable than where there is none.
    """

    p_value: float = 0.01
    latency_share: float | None = 0.25
    latency_s: float = 0.005
    failure_share: float | None = 0.01
    level_share: float | None = 0.1
    per_hour: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class SoakCriteria:
    """Every limit of a soak, with its default; ``inf`` in the file is no limit.

    About the evidence (a failure gives INCONCLUSIVE): ``lateness_s``, the 99th percentile of the load generator's own
    lateness; ``min_requests`` that were sent; ``unsent_share`` of the planned requests that may stay unsent.

    About the target (a failure gives NO_GO): ``failure_share`` of the requests, of all and of each endpoint, that may
    fail otherwise than in the capture (one failure is always allowed); ``p50_s``, ``p95_s``, ``p99_s`` of the answers'
    times; ``restarts``, how many processes that a probe watches may end meanwhile; and what drift may come to, see
    ``DriftLimits``: ``drift_p_value`` 0 leaves drift unasked.
    """

    lateness_s: float = 0.25
    min_requests: float = 100
    unsent_share: float = 0.05
    failure_share: float = 0.01
    p50_s: float = float("inf")
    p95_s: float = float("inf")
    p99_s: float = float("inf")
    restarts: float = 0
    drift_p_value: float = 0.01
    drift_latency_share: float = 0.25
    drift_latency_s: float = 0.005
    drift_failure_share: float = 0.01
    drift_level_share: float = 0.1
    drift_per_hour: tuple[tuple[str, float], ...] = ()
    endpoints: "tuple[tuple[str, SoakCriteria], ...]" = ()

    def of(self, endpoint: str) -> "SoakCriteria":
        """The limits of one endpoint."""
        return dict(self.endpoints).get(endpoint, self)

    def needed(self, endpoint: str) -> int:
        """How many requests an endpoint's own limits need to be told: some more where they are of its times."""
        own = self.of(endpoint)
        times = any(getattr(own, name) != getattr(self, name) for name in PERCENTILES)
        return FEWEST_ANSWERS if times else 1

    @property
    def times_drift(self) -> tuple[float, float]:
        """The limits of drift that are of times."""
        return self.drift_latency_share, self.drift_latency_s

    @property
    def drift(self) -> DriftLimits:
        """The limits of drift."""
        return DriftLimits(
            self.drift_p_value,
            self.drift_latency_share,
            self.drift_latency_s,
            self.drift_failure_share,
            self.drift_level_share,
            self.drift_per_hour,
        )


_TABLES = ("endpoints", "drift_per_hour")
LIMITS = tuple(one.name for one in fields(SoakCriteria) if one.name not in _TABLES)
OF_AN_ENDPOINT = tuple(
    "failure_share p50_s p95_s p99_s drift_latency_share drift_latency_s drift_failure_share".split()
)
_SHARES = frozenset({"unsent_share", "failure_share", "drift_p_value", "drift_failure_share"})


def parse_soak_criteria(table: dict[str, Any]) -> SoakCriteria:
    """The criteria of a ``[criteria]`` table. Raises InputError for an unknown key, and what is no such number."""
    if not isinstance(table, dict):
        raise InputError("[criteria] is not a table.", "Write for example: [criteria] then p95_s = 0.5")
    general = SoakCriteria(**_limits(table, "criteria", (*LIMITS, *_TABLES)))
    per_hour = table.get("drift_per_hour", {})
    if not isinstance(per_hour, dict):
        raise InputError("[criteria] drift_per_hour is not a table.", "Write { process_memory_bytes = 10_000_000 }.")
    for metric, value in per_hour.items():
        per_hour = per_hour | {metric: _number("criteria.drift_per_hour", metric, value)}
    general = replace(general, drift_per_hour=tuple(sorted(per_hour.items())))
    endpoints = tuple(
        (endpoint, replace(general, **_limits(limits, name, OF_AN_ENDPOINT)))
        for endpoint, name, limits in endpoint_tables(table)
    )
    return replace(general, endpoints=endpoints)


def _limits(table: dict[str, Any], name: str, known: tuple[str, ...]) -> dict[str, Any]:
    check_keys(table, name, known, (*LIMITS, *_TABLES))
    return {key: _number(name, key, value) for key, value in table.items() if key not in _TABLES}


def _most(value: object) -> float:
    return float("inf") if isinstance(value, float) else sys.float_info.max


def _number(name: str, key: str, value: object) -> float:
    value = float("inf") if value == "inf" else value  # JSON has no word for it
    limit = read_limit(name, key, value, _most(value))
    if key in _SHARES and 1 < limit < float("inf"):
        raise InputError(f"[{name}] {key} = {value!r} is a share: give a number between 0 and 1.")
    return limit
