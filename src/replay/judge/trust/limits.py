"""Whether what a plan limits was measured: a limit that nothing is held against would pass without a word.

Only limits that the plan sets itself count. Nobody who leaves a default alone says that it can be told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.evidence.run import Evidence
from replay.judge.afterwards import is_compared
from replay.judge.case import Case
from replay.judge.findings import Check, evidence_check
from replay.judge.soak.drift import LEVEL
from replay.judge.soak.long_arms import is_long

STEP, ROLLBACK, LONG = "a migration", "a rollback", "a long arm"


@dataclass(frozen=True, slots=True)
class Measure:
    """What ``limits`` are held against: readings of any of the ``metrics``, or else something of the arm itself.

    ``needs`` says what of the arm: a step that migrates, a rollback that nothing migrates after, its length. ``add``
    says what a plan lacks where there is nothing of the kind.
    """

    limits: tuple[str, ...]
    metrics: frozenset[str]
    add: str
    needs: str = ""


_MEASURES = (
    Measure(
        ("lock_wait_s",),
        frozenset({"waiting_backends", "lock_wait_s"}),
        'Give the plan a probe of kind "postgres" or "mysql" for the application\'s database',
    ),
    Measure(
        ("replica_lag_s", "replica_lag_growth"),
        frozenset({"replica_lag_s"}),
        'Give the plan\'s probe of kind "postgres" or "mysql" its replicas',
    ),
    Measure(
        ("replica_lag_bytes",),
        frozenset({"replica_lag_bytes"}),
        'Give the plan\'s probe of kind "postgres" its replicas',
    ),
    Measure(
        ("new_error_lines", "log_flood_ratio", "log_flood_lines", "log_flood_s"),
        frozenset({"log_lines"}),
        'Give the plan a probe of kind "log" for the application\'s error log',
    ),
    Measure(("migration_s",), frozenset(), 'Give the step that migrates kind = "migrate"', STEP),
    Measure(
        ("rollback_rows_share",),
        frozenset(),
        'Let the last step that changes data be one of kind = "rollback", and give it or a probe the database\'s dsn',
        ROLLBACK,
    ),
    Measure(
        ("drift_latency_share", "drift_failure_share", "drift_level_share"),
        frozenset(),
        "Give the workload a duration of ten minutes or more after the last step",
        LONG,
    ),
    Measure(("drift_level_share",), LEVEL, 'Give the plan a probe of kind "process" or of the database'),
)


def measures_of(criteria: Mapping[str, Any]) -> list[tuple[Measure, list[str]]]:
    """What the limits need that a table of criteria sets, for all endpoints or for one, and those limits by name."""
    endpoints = criteria.get("endpoints")
    tables = [criteria, *(endpoints.values() if isinstance(endpoints, Mapping) else ())]
    set_here = {name for table in tables if isinstance(table, Mapping) for name in table}
    if not criteria.get("replica_lag_growth"):
        set_here.discard("replica_lag_growth")  # 0 switches it off
    found = [(one, [name for name in one.limits if name in set_here]) for one in _MEASURES]
    return [(measure, limits) for measure, limits in found if limits]


def tell_unmeasured(limits: Sequence[str], where: str) -> str:
    """The sentence about limits that nothing measures."""
    return (
        f"[criteria] sets {' and '.join(limits)}, and nothing {where} measures {'it' if len(limits) == 1 else 'them'}."
    )


def check_limits(evidence: Evidence, cases: Sequence[Case]) -> list[Check]:
    """Whether each limit that the plan sets was measured under production's traffic, in all arms with the steps."""
    criteria = evidence.rehearsal.get("criteria")
    measures = measures_of(criteria) if isinstance(criteria, dict) else []
    told = [case for case in cases if case.role == "production"]
    checks = []
    for measure, limits in measures if told else []:
        blind = [case.arm for case in told if not _is_measured(measure, case, evidence)]
        checks.append(
            evidence_check(
                "limits_measured",
                passed=not blind,
                workload=None,
                limit=float(len(told)),
                observed=float(len(told) - len(blind)),
                well=f"What {' and '.join(limits)} limits was measured.",
                wrong=tell_unmeasured(limits, f"in {', '.join(blind)}"),
                hint=f"{measure.add}, or leave the limit out; then rehearse again.",
                voids="",
                unit="arms",
                limit_unit="arms",
            )
        )
    return checks


def _is_measured(measure: Measure, case: Case, evidence: Evidence) -> bool:
    if measure.needs == STEP:
        return any(span.kind == "migrate" for span in case.spans)
    if measure.needs == ROLLBACK:
        return is_compared(case, evidence)
    if measure.needs == LONG:
        return is_long(case.steps)
    readings = case.steps.readings
    seen = readings["metric"].isin(measure.metrics) & (readings["at_s"] >= case.first_step_s)
    return bool(seen.any()) or ("log_lines" in measure.metrics and len(case.steps.log) > 0)
