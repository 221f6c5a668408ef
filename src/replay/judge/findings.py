"""What the judge says: findings about the change, checks of criteria, and how both become JSON."""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.evidence.values import Outcome
from replay.judge.answers.differences import FAILURES

WHOLE_STAGE = "*"  # in place of an endpoint
BLOCKING = "blocking"
SUSPECT = "suspect"
NOTE = "note"
# What a failed check of evidence takes away: all that requests and probes show, or all that is not proven.
REQUESTS = "requests"
UNPROVEN = "unproven"
RANK = {BLOCKING: 0, SUSPECT: 1, NOTE: 2}  # the weightiest first
STEP_METRICS = frozenset({"step_failed", "rollback_failed"})
# What a finding rests on.
PROVEN = "proof"
TWO_PAIRS = "two pairs of arms"
CHANGED = "changed_answers"  # the criterion of answers that changed, and the metric where only both arms can tell
# In a finding's evidence: that the plan puts up with it, that it is more than a burst can be, that another pair of arms
# showed it at other requests.
TOLERATED, STRONG, ELSEWHERE = "tolerated", "strong", "elsewhere"
ONE_PAIR = "one pair of arms"
ONE_ARM = "one arm"
MEASURED = "measurement"  # a proof too, of an effect and not of its cause
GROUNDS = {  # the strongest first, in words
    PROVEN: "The cause is proven, which needs no repetition.",
    MEASURED: "It was measured directly, which needs no repetition.",
    TWO_PAIRS: "Two pairs of passes showed it, each once with the steps and once without.",
    ONE_PAIR: "One pair of passes alone (with the steps and without) showed it, too clearly for chance; its cause is "
    "not proven.",
    ONE_ARM: "One pass showed it, all through.",
}
GROUNDS_OF = {  # the same of some of the findings, whose names follow
    PROVEN: "With a proven cause, which needs no repetition:",
    MEASURED: "Measured directly, which needs no repetition:",
    TWO_PAIRS: "Shown by two pairs of passes, each once with the steps and once without:",
    ONE_PAIR: "Shown by one pair of passes alone (with the steps and without), unproven, too clear for chance:",
    ONE_ARM: "Shown by one pass, all through:",
}
_MEASURED = frozenset(
    {"replica_lag_s", "replica_lag_bytes", "log_lines", "new_error_lines", "data_after_rollback", "migration_s"}
)


# The criteria of metrics that have another name, or that begin so; any other metric is its own.
_CRITERIA_OF = {
    "step_failed": "steps_succeed",
    "rollback_failed": "steps_succeed",
    "never_recovered": "recovery",
    "replica_lag_bytes": "replica_lag_s",
    "log_lines": "log_flood",
    "lock_contention": "lock_wait_s",
    "failure_share": "failures",
    "stalls_s": "stall_s",
    "latency_": "latency",
    "drift_": "drift",
}


def way_of(outcome: object) -> str:
    """In which way a request of this outcome failed newly: it failed, came back empty, or its answer changed."""
    if outcome == Outcome.EMPTY:
        return "new_empties"
    return "new_failures" if outcome in FAILURES else CHANGED


@dataclass(frozen=True, slots=True)
class Finding:
    """An effect of a step on an endpoint or a probe: what it is, how large, why, and where the evidence lies.

    The fields are those of ``verdict.json`` and described in `replay.judge.verdict`.
    """

    workload: str
    arm: str
    phase: str
    unit: str
    observed: float | None
    control: float | None
    explanation: str
    severity: str
    role: str = ""
    endpoint: str | None = None
    probe: str | None = None
    outcome: str | None = None
    metric: str | None = None
    difference: str | None = None
    effect: float | None = None
    interval: tuple[float | None, float | None] | None = None
    p_value: float | None = None
    only_in_production: bool | None = None
    interaction: dict[str, Any] | None = None
    root: str | None = None
    proven: bool = False
    confirmed: bool | None = None
    first_bad_s: float | None = None
    recovered_s: float | None = None
    outage_s: float | None = None
    requests: int | None = None
    failures: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def rests_on(self) -> str:
        """What it rests on: a proof (a direct measurement among them), one arm's drift, one pair of arms, or two."""
        if self.proven or self.metric in STEP_METRICS:
            return PROVEN
        if (self.metric or "").startswith("drift_"):
            return ONE_ARM
        return TWO_PAIRS if self.confirmed else ONE_PAIR

    @property
    def ground(self) -> str:
        """What it rests on as a key of ``GROUNDS``, which tells a direct measurement from a proven cause."""
        is_measured = self.metric in _MEASURED or (self.root is None and self.metric is not None)
        is_proof = self.rests_on == PROVEN and self.metric not in STEP_METRICS
        return MEASURED if is_proof and is_measured else self.rests_on

    @property
    def criterion(self) -> str:
        """The name of the criterion that it fails: by how requests failed, else by its metric, known here or not."""
        if self.metric is None:
            return way_of(self.outcome)
        prefix = next((one for one in _CRITERIA_OF if one.endswith("_") and self.metric.startswith(one)), "")
        return _CRITERIA_OF.get(self.metric) or _CRITERIA_OF.get(prefix) or self.metric

    @property
    def key(self) -> tuple[str, str]:
        """What is compared between workloads: the endpoint and its kind of trouble, or the probe's metric."""
        if self.endpoint is not None:
            return (self.endpoint, self.metric or "failures")
        return (self.evidence.get("step", "") if self.metric in STEP_METRICS else "", self.metric or "")


@dataclass(frozen=True, slots=True)
class Check:
    """One criterion applied: ``about`` the change or the evidence, whether it passed, and a sentence that says so.

    ``hint`` says what to do where it did not. ``voids`` says what a failed check of evidence takes away: ``"requests"``
    means that no effect on requests proves anything, ``"unproven"`` that only effects with a proven cause stand.

    ``evidence`` says where to look: an ``arm``, and the first ``requests`` by their numbers.

    ``unit`` is that of ``observed``, and ``limit_unit`` that of ``limit``: ``s``, ``bytes``, ``share`` or ``p``, which
    more words may follow (``share or more``), or else words to be said after the number. Empty where the end of the
    name says it (``_s``), or where there is none.
    """

    name: str
    about: str
    limit: float | str | None
    observed: float | str | None
    passed: bool
    workload: str | None
    sentence: str
    hint: str = ""
    voids: str = ""
    unit: str = ""
    limit_unit: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """What was observed, as a number: 0 where it is none."""
        return 0.0 if isinstance(self.observed, str) else float(self.observed or 0.0)


def worst_of(checks: Iterable[Check]) -> list[Check]:
    """Of one criterion's checks of a workload, whose repetitions have one each, that which failed or is nearest to."""
    told: dict[tuple[str, str | None], Check] = {}
    for check in checks:
        other = told.setdefault((check.name, check.workload), check)
        if (not check.passed, check.figure) > (not other.passed, other.figure):
            told[check.name, check.workload] = check
    return list(told.values())


def evidence_check(
    name: str,
    *,
    passed: bool,
    workload: str | None,
    limit: float | str | None,
    observed: float | str | None,
    well: str,
    wrong: str,
    hint: str,
    voids: str,
    unit: str = "",
    limit_unit: str = "",
    place: dict[str, Any] | None = None,
) -> Check:
    """A criterion about the evidence: ``well`` is said where it passed, else ``wrong`` with ``hint`` and ``voids``.

    ``place`` is then where to look in the evidence.
    """
    return Check(
        name=name,
        about="evidence",
        limit=limit,
        observed=observed,
        passed=bool(passed),
        workload=workload,
        sentence=well if passed else wrong,
        hint="" if passed else hint,
        voids="" if passed else voids,
        unit=unit,
        limit_unit=limit_unit or unit,
        evidence={} if passed or place is None else place,
    )


def plain(value: Any) -> Any:
    """``value`` as JSON values: dataclasses as objects, floats with six significant digits, no infinities."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int) or (hasattr(value, "dtype") and value.dtype.kind in "iu"):
        return int(value)
    number = float(value)
    return float(f"{number:.6g}") + 0.0 if math.isfinite(number) else None


def percent(share: float) -> str:
    """A share as people read it: 10.7%, 0.03%."""
    number = 100 * share
    if number == 0 or number >= 1:
        return f"{number:.1f}%".replace(".0%", "%")
    return f"{number:.2g}%"


def seconds(value: float) -> str:
    """Seconds as people read them: 4.9 s, 0.03 s, 123 s."""
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.1f} s" if value >= 1 else f"{value:.2g} s"


def between(from_s: float | None, to_s: float) -> str:
    """An interval of the arm that holds a moment, as people read it: between 10.02 and 11.84 s."""
    return f"before {to_s:.2f} s" if from_s is None else f"between {from_s:.2f} and {to_s:.2f} s"


def short(text: str, longest: int = 120) -> str:
    """One line of ``text``, cut where it is longer."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def listed(names: Sequence[str], most: int) -> str:
    """The first names, as many as ``most``, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def nameless(endpoint: str) -> str:
    """An endpoint without its parameters' names: the application's own names for them need not be the capture's."""
    return re.sub(r"{[^}]*}", "{}", endpoint)
