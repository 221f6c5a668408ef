"""The limits that a rehearsal is judged by. Defaults serve; a plan's ``[criteria]`` sets any of them."""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from replay.durations import parse_duration_s
from replay.errors import InputError


@dataclass(frozen=True, slots=True)
class Criteria:
    """Every limit, with its default. Shares are between 0 and 1. ``of`` gives the limits of one endpoint.

    About the evidence (a failure gives INCONCLUSIVE):

    - ``control_agreement``: share of a control's requests whose outcome is the captured one, per endpoint and in all
      (one miss is always allowed)
    - ``lateness_s``: the load generator's own lateness, 99th percentile of each arm
    - ``min_requests``: requests of a production workload from the first step's start on
    - ``visible_share``: of each endpoint that production asks for often, so large a share of new failures at most must
      it take to be seen; ``visible_of``: what part of production's requests counts as often (what has half of all of
      them counts too, the most asked first)
    - ``unseen_steps``: accept that nobody could see whether the steps met the application's database

    About the change (a failure gives NO_GO, or INCONCLUSIVE where it was seen once and nothing proves it):

    - ``p_value``, ``min_failures``, ``min_seconds``: when failures count as more than noise: the test's p, so many more
      failures, in so many distinct seconds. ``p_value_with_cause`` serves where a lock or an error proves the cause
    - ``failure_ratio``: failures, and slow answers, count only beyond so many times the reference's rate
    - ``p_value_one_pair``: when one pair of arms suspects an effect that has no proven cause, and wants a second pair;
      ``p_value_again`` what that must show at least, and ``p_value_both`` what both must show together to be NO_GO
    - ``p_value_shift``, ``p_value_shift_both``: the same for what makes all answers of an endpoint slower
    - ``p_value_alone``, ``failure_share``, ``strong_failures``: what an effect without a proven cause
      needs to be NO_GO by one pair alone: this p, this share of a phase's requests and so many failures
    - ``tolerated_failures``, ``tolerated_empties``, ``tolerated_changes`` (of shape, items or freshness): shares of a
      phase's requests that are put up with, proven or not; ``failed_steps``, ``failed_rollbacks``: so many of them
    - ``patience_s``: how long clients wait; what comes later, and took twice as long as without the steps, has failed
    - ``recovery_s`` (none by default): how long an endpoint may take to come back, once it broke
    - ``outage_s``: nothing but failures of an endpoint (3 or more) for so long counts as an outage, or for as long as
      ``unavailable_s`` or ``recovery_s`` where one is smaller; ``unavailable_s``: an outage that is NO_GO without a
      proven cause too
    - ``stall_s``: the whole Stage gives no success for so long, and 1 s longer than in any reference
    - ``latency_ratio``, ``latency_floor_s``: what counts as slow, above this multiple of the reference's p95 and by at
      least so many seconds; ``latency_shift_s``: by how much at least, where all answers take longer and not only the
      slowest; ``latency_lasting_s``: how long a phase must be that is asked about it, else it is only noted;
      ``latency_strong_s``: by how much, to be NO_GO by one pair alone
    - ``lock_wait_s``: the longest wait of an application's session behind a step
    - ``replica_lag_s``, ``replica_lag_bytes`` (none by default): the furthest a replica falls behind
    - ``replica_lag_growth``: what a replica falls behind by, a second, until the rehearsal ends, 1 s at least
    - ``new_error_lines`` (none by default: they are only noted): lines of an error log like none before the steps
    - ``log_flood_ratio``, ``log_flood_lines``, ``log_flood_s``: error-log lines a second, as a multiple of the
      reference's in as many seconds, by at least so many more, in at least so many seconds
    - ``rollback_rows_share``: share of a table's rows that may be missing after a rollback, beside the control (4 rows
      always may); ``migration_s`` (none by default): the window that the migration has, without traffic too
    - ``drift_latency_share``, ``drift_failure_share``, ``drift_level_share`` (none by default: drift is only noted):
      what an arm of ten minutes or more may drift by, see `replay.judge.soak.drift`
    """

    control_agreement: float = 0.95
    lateness_s: float = 0.25
    min_requests: float = 20
    visible_share: float = 0.5
    visible_of: float = 0.02
    unseen_steps: bool = False
    p_value: float = 0.002
    p_value_with_cause: float = 0.01
    p_value_one_pair: float = 0.01
    p_value_again: float = 0.1
    p_value_both: float = 0.0001
    p_value_alone: float = 0.000001
    p_value_shift: float = 0.05
    p_value_shift_both: float = 0.002
    failure_ratio: float = 1.25
    min_failures: float = 5
    min_seconds: float = 3
    failure_share: float = 0.05
    strong_failures: float = 10
    tolerated_failures: float = 0.0
    tolerated_empties: float = 0.0
    tolerated_changes: float = 0.0
    failed_steps: float = 0
    failed_rollbacks: float = 0
    patience_s: float = 5.0
    recovery_s: float | None = None
    outage_s: float = 2.0
    unavailable_s: float = 5.0
    stall_s: float = 3.0
    latency_ratio: float = 1.5
    latency_floor_s: float = 0.02
    latency_shift_s: float = 0.002
    latency_strong_s: float = 0.25
    latency_lasting_s: float = 10.0
    lock_wait_s: float = 2.0
    replica_lag_s: float = 5.0
    replica_lag_bytes: float | None = None
    replica_lag_growth: float = 0.2
    new_error_lines: float | None = None
    log_flood_ratio: float = 10.0
    log_flood_lines: float = 20.0
    log_flood_s: float = 2.0
    rollback_rows_share: float = 0.01
    migration_s: float | None = None
    drift_latency_share: float | None = None
    drift_failure_share: float | None = None
    drift_level_share: float | None = None
    endpoints: "tuple[tuple[str, Criteria], ...]" = ()

    def of(self, endpoint: str) -> "Criteria":
        """The limits of one endpoint: its own where the plan sets them, else the general ones."""
        return dict(self.endpoints).get(endpoint, self)

    @property
    def shortest_outage_s(self) -> float:
        """From what length on an outage is looked for: ``outage_s``, or sooner where one may not be so long."""
        set_s = min(self.outage_s, self.unavailable_s, self.outage_s if self.recovery_s is None else self.recovery_s)
        return max(set_s, _MOMENT_S)

    @property
    def own(self) -> dict[str, float]:
        """The limits that differ from their defaults, by name; those of single endpoints are left out."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: found[name] for name in _LIMITS if name not in _FLAGS and found[name] != getattr(_DEFAULTS, name)}


_LIMITS = tuple(field.name for field in dataclasses.fields(Criteria) if field.name != "endpoints")
_DEFAULTS = Criteria()
_MOST = 1e15
_MOMENT_S = 0.001  # an outage of no length is none
_FLAGS = frozenset({"unseen_steps"})
_SHARES = frozenset(
    "control_agreement visible_share visible_of p_value p_value_with_cause p_value_one_pair p_value_again p_value_both "
    "p_value_alone p_value_shift p_value_shift_both failure_share rollback_rows_share tolerated_failures "
    "tolerated_empties tolerated_changes".split()
)
_OF_AN_ENDPOINT = (
    "control_agreement visible_share p_value p_value_with_cause p_value_one_pair p_value_again p_value_both "
    "p_value_alone p_value_shift p_value_shift_both failure_ratio min_failures min_seconds failure_share "
    "strong_failures tolerated_failures tolerated_empties tolerated_changes patience_s recovery_s outage_s "
    "unavailable_s latency_ratio latency_floor_s latency_shift_s latency_strong_s latency_lasting_s "
    "drift_latency_share drift_failure_share"
).split()


def parse_criteria(table: dict[str, Any]) -> Criteria:
    """The criteria of a plan's ``[criteria]`` table, ``[criteria.endpoints."POST /oauth/token"]`` for one endpoint.

    Raises InputError for an unknown key, naming it and the nearest known one, and for a value that is no such number.
    """
    if not isinstance(table, dict):
        raise InputError("[criteria] is not a table.", "Write for example: [criteria] then lock_wait_s = 1.0")
    general = Criteria(**_limits(table, "criteria", [*_LIMITS, "endpoints"]))
    endpoints = tuple(
        (endpoint, dataclasses.replace(general, **_limits(limits, name, _OF_AN_ENDPOINT)))
        for endpoint, name, limits in endpoint_tables(table)
    )
    return dataclasses.replace(general, endpoints=endpoints)


def endpoint_tables(table: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(endpoint, the table's name, its limits) of what ``[criteria]`` says of single endpoints. Raises InputError."""
    overrides = table.get("endpoints", {})
    if not isinstance(overrides, dict):
        raise InputError("[criteria.endpoints] is not a table.", 'Write [criteria.endpoints."GET /x"].')
    for endpoint, limits in sorted(overrides.items()):
        name = f'criteria.endpoints."{endpoint}"'
        if not isinstance(limits, dict):
            raise InputError(
                f"[{name}] is not a table.", 'Write [criteria.endpoints."GET /x"] and the limits below it.'
            )
        yield endpoint, name, limits


def check_keys(table: dict[str, Any], name: str, known: Sequence[str], general: Sequence[str] = ()) -> None:
    """Raise InputError for a key that is not ``known``, with the nearest one that is.

    ``general`` are keys that ``[criteria]`` has and a single endpoint has not.
    """
    for key in table:
        if key in general and key not in known:
            raise InputError(
                f"[{name}] sets {key!r}, which is a limit for the whole Stage and not for one endpoint.",
                f"Write {key} below [criteria] itself.",
            )
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            raise InputError(f"[{name}] has an unknown key {key!r}.", f"Did you mean {near[0]!r}?")


def read_limit(name: str, key: str, value: object, most: float = _MOST) -> float:
    """A limit of the table ``name`` as a number of 0 to ``most``. One in seconds may be a duration, such as ``"10s"``.

    Raises InputError for what is no such number.
    """
    of_time = key.endswith("_s")
    read = parse_duration_s(value) if of_time and isinstance(value, str) else value
    if isinstance(read, bool) or not isinstance(read, int | float) or not 0 <= read <= most:
        raise InputError(
            f"[{name}] {key} = {value!r:.60} is not a number from 0 to {most:g}.",
            f'It is in seconds: write {key} = 10, or {key} = "10s".' if of_time else "",
        )
    return float(read)


def _limits(table: dict[str, Any], name: str, known: list[str]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    check_keys(table, name, known, _LIMITS)
    for key, value in table.items():
        if key == "endpoints":
            continue
        if key in _FLAGS:
            if not isinstance(value, bool):
                raise InputError(f"[{name}] {key} = {value!r:.60} is neither true nor false.")
            limits[key] = value
            continue
        limits[key] = read_limit(name, key, value)
        if key in _SHARES and limits[key] > 1:
            raise InputError(f"[{name}] {key} = {value!r:.60} is a share: give a number between 0 and 1.")
    return limits
