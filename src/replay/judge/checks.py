"""The criteria about the change: each applied to what was found, those that passed too."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from replay.evidence.values import QUIET
from replay.judge.answers.differences import FAILURES
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.failures import Effect
from replay.judge.findings import NOTE, Check, Finding, seconds, way_of, worst_of
from replay.judge.probes.direct import log_lines, log_probes, new_lines, replica_lag
from replay.judge.soak.long_arms import is_long, limits_drift

STEPS_SUCCEED = "steps_succeed"
_Rule = Callable[[Case, list[Finding]], list[Check]]


def change_checks(cases: list[Case], findings: list[Finding], effects: Mapping[str, Sequence[Effect]]) -> list[Check]:
    """The criteria about the change, workload by workload and without traffic, those that passed too.

    ``effects`` are those on each endpoint's failures, by the arm of the case. Of the repetitions of a workload the
    worst one speaks.
    """
    weighty = [finding for finding in findings if finding.severity != NOTE]
    mine = {case.arm: [one for one in weighty if one.workload == case.workload] for case in cases}
    return worst_of(
        check
        for case in cases
        for rule in (_QUIET_RULES if case.role == QUIET else _rules(effects.get(case.arm, ())))
        for check in rule(case, mine[case.arm])
    )


def as_far_as_trusted(checks: Iterable[Check], untrusted: Collection[str]) -> list[Check]:
    """The criteria about the change that are judged: of an ``untrusted`` workload only whether its steps failed.

    Where nothing is concluded from requests and probes, none of the others has passed, whatever its figure is.
    """
    return [check for check in checks if check.name == STEPS_SUCCEED or check.workload not in untrusted]


def with_all_findings(checks: list[Check], findings: list[Finding]) -> list[Check]:
    """The ``checks``, and a failed one for whatever else was found: nothing is held against a change without its own.

    What rules tell of a criterion that a finding fails does not stand beside it as passed.
    """
    failed = {(check.name, check.workload) for check in checks if not check.passed}
    left: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        key = (finding.criterion, finding.workload)
        if finding.severity != NOTE and key not in failed:
            left.setdefault(key, []).append(finding)
    kept = [check for check in checks if (check.name, check.workload) not in left]
    return kept + [
        Check(name, "change", None, against[0].observed, passed=False, workload=workload, sentence=_told_of(against))
        for (name, workload), against in sorted(left.items())
    ]


def _check(
    case: Case,
    name: str,
    limits: tuple[float | None, float | None],
    against: list[Finding],
    well: str,
    *,
    wrong: str = "",
    unit: str = "",
) -> list[Check]:
    """``limits`` are the criterion's and what was observed, of one ``unit``; ``wrong`` is said of the first finding."""
    limit, observed = limits
    sentence = _told_of(against, wrong) if against else well
    return [Check(name, "change", limit, observed, not against, case.workload, sentence, unit=unit, limit_unit=unit)]


def _told_of(against: list[Finding], wrong: str = "") -> str:
    return (wrong or against[0].explanation) + (f" ({len(against) - 1} more)" if len(against) > 1 else "")


def _first_of_each(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding of each endpoint."""
    first: dict[str | None, Finding] = {}
    for finding in findings:
        first.setdefault(finding.endpoint, finding)
    return list(first.values())


def _worst_of_each(findings: Iterable[Finding], figure: Callable[[Finding], float]) -> list[Finding]:
    """The finding of each endpoint that has the largest figure, those with the largest first."""
    return _first_of_each(sorted(findings, key=figure, reverse=True))


def _failing(name: str, mine: list[Finding]) -> list[Finding]:
    return [finding for finding in mine if finding.criterion == name]


def _steps_succeed(case: Case, mine: list[Finding]) -> list[Check]:
    failed = _failing(STEPS_SUCCEED, mine)
    under = "without any traffic" if case.role == QUIET else f"under {case.workload}"
    put_up_with = [span.step for span in case.spans if span.failed]
    well = f"All {len(case.spans)} steps did what they should {under}."
    if put_up_with:
        well = f"{len(put_up_with)} of {len(case.spans)} steps failed {under}, which the plan puts up with."
    return _check(case, STEPS_SUCCEED, (0.0, float(len(failed))), failed, well) if case.spans else []


def _new_failures(case: Case, mine: list[Finding]) -> list[Check]:
    """A check for each of the ways in which requests fail newly: they fail, come back empty, or changed."""
    asked = int(case.later.sum())
    new = Counter(map(way_of, case.texts("t_kind")[case.flags("t_new") & case.later]))
    checks = []
    for name, verb in WAYS.items():
        failing, total = _first_of_each(_failing(name, mine)), new[name]
        told = f"{total} of {asked} requests {verb} since the first step that did not without the steps"
        well = f"{case.workload}: {told}; no endpoint's are more than noise."
        wrong = f"{told}. {failing[0].explanation}" if failing else ""
        limits = (0.0, float(len(failing)))
        checks += _check(case, name, limits, failing, well, wrong=wrong, unit="endpoints") if asked else []
    return checks


# Of each the limit is 0: endpoints where more of it is seen than noise, and than the plan puts up with.
WAYS = {
    "new_failures": "failed",
    "new_empties": "came back empty",
    "changed_answers": "came back in another shape, shrunken or stale, or were let in",
}


def _figure(finding: Finding) -> float:
    return finding.observed or 0.0


def _unavailable(case: Case, mine: list[Finding], effects: Sequence[Effect]) -> list[Check]:
    """The longest outage that is held against the change, or else the longest of any endpoint."""
    if not case.later.any():
        return []
    out = _worst_of_each((finding for finding in mine if finding.unit == "share" and finding.outage_s), _out_s)
    beyond = [one for one in out if _out_s(one) >= case.criteria.of(one.endpoint or "").unavailable_s]
    criteria, outages_s = case.criteria, {one.endpoint: one.outage_s for one in effects}
    own = {name: criteria.of(name).unavailable_s for name in outages_s}
    endpoint, limit, longest = _worst(outages_s, own) or ("", criteria.unavailable_s, 0.0)
    if beyond:
        limit, longest = criteria.of(beyond[0].endpoint or "").unavailable_s, _out_s(beyond[0])
    well = f"{case.workload}: no endpoint was unavailable for long (at most {seconds(longest)} in a row)."
    if longest and longest >= limit:
        well = f"{case.workload}: {endpoint} answered nothing well for {seconds(longest)} in a row; {_NOT_HELD}."
    how = "answered nothing well" if beyond and beyond[0].outcome in FAILURES else "answered in another way"
    wrong = f"{beyond[0].endpoint} {how} for {seconds(longest)} in a row." if beyond else ""
    return _check(case, "unavailable_s", (limit, longest), beyond, well, wrong=wrong)


def _worst(taken_s: Mapping[str, float], limits_s: Mapping[str, float]) -> tuple[str, float, float] | None:
    """(endpoint, its limit, what it took) of the one that is furthest beyond its limit, or else took longest."""
    name = max(limits_s, key=lambda name: (max(0.0, taken_s[name] - limits_s[name]), taken_s[name]), default=None)
    return None if name is None else (name, limits_s[name], taken_s[name])


# Why an outage beyond the limit is not held against the change.
_NOT_HELD = "beside what it does anyway, and what the plan puts up with, it does not count"


def _out_s(finding: Finding) -> float:
    return finding.outage_s or 0.0


def _latency(case: Case, mine: list[Finding]) -> list[Check]:
    """Limit and figure are multiples: of what the slowest answers, or all of them, take without the steps."""
    slow = _worst_of_each(_failing("latency", mine), _times)
    well = f"{case.workload}: no endpoint became lastingly slow."
    limit = case.criteria.of(slow[0].endpoint or "" if slow else "").latency_ratio
    observed = _times(slow[0]) or None if slow else None
    return _check(case, "latency", (limit, observed), slow, well, unit="times") if case.later.any() else []


def _times(finding: Finding) -> float:
    """How many times as long an endpoint's answers took; 0 where that is not known."""
    return finding.evidence.get("times") or 0.0


def _stall(case: Case, mine: list[Finding]) -> list[Check]:
    stalled = _failing("stall_s", mine)
    longest = max((stall.length_s for stall in case.later_stalls), default=0.0) if len(case.pairs) else None
    well = f"{case.workload}: the whole Stage never stood still for long (at most {seconds(longest or 0.0)})."
    observed = max((one.observed or 0.0 for one in stalled), default=longest)  # of many short ones, all of them
    return _check(case, "stall_s", (case.criteria.stall_s, observed), stalled, well) if case.later.any() else []


def _recovery(case: Case, mine: list[Finding], effects: Sequence[Effect]) -> list[Check]:
    """Whether all endpoints came back, and, where the plan limits that, how long it took them."""
    if not case.later.any():
        return []
    lost = _failing("recovery", mine)
    well = f"{case.workload}: nothing was still failing at the end."
    limits = (0.0, float(len(lost)))
    return [*_check(case, "recovery", limits, lost, well, unit="endpoints"), *_recovery_time(case, mine, effects)]


def _recovery_time(case: Case, mine: list[Finding], effects: Sequence[Effect]) -> list[Check]:
    """The longest that an endpoint took: to come back, where it is said to have broken, else its longest outage."""
    criteria = case.criteria
    set_s = [own.recovery_s for own in (criteria, *dict(criteria.endpoints).values())]
    limits = [limit for limit in set_s if limit is not None]
    if not limits:
        return []
    if late := _worst_of_each((one for one in mine if _is_late(one, criteria)), _figure):
        limits_s = (criteria.of(late[0].endpoint or "").recovery_s, _figure(late[0]))
        return _check(case, "recovery_s", limits_s, late, "")
    took_s = {one.endpoint: one.outage_s for one in effects}
    for one in mine:
        took_s[one.endpoint or ""] = max(_took_s(one), took_s.get(one.endpoint or "", 0.0))
    own = {name: limit for name in took_s if (limit := criteria.of(name).recovery_s) is not None}
    endpoint, limit, longest = _worst(took_s, own) or ("", min(limits), 0.0)
    well = f"{case.workload}: every endpoint that broke was back in time (within {seconds(longest)} at most)."
    if longest > limit:
        well = f"{case.workload}: {endpoint} was back after {seconds(longest)}; {_NOT_HELD}."
    return _check(case, "recovery_s", (limit, longest), [], well)


def _is_late(finding: Finding, criteria: Criteria) -> bool:
    """Whether an endpoint came back later than it may, or had not come back so long after it broke."""
    limit_s = criteria.of(finding.endpoint or "").recovery_s
    lost = finding.metric in {"never_recovered", "recovery_s"}
    return lost and limit_s is not None and _figure(finding) > limit_s


def _took_s(finding: Finding) -> float:
    """How long an endpoint that failed took to come back; 0 for what is something else."""
    if finding.unit != "share" or finding.first_bad_s is None or finding.recovered_s is None:
        return 0.0
    return finding.recovered_s - finding.first_bad_s


def _lock_wait(case: Case, mine: list[Finding]) -> list[Check]:
    if not (case.steps.readings["metric"].isin(["lock_wait_s", "waiting_backends"])).any():
        return []
    waits = _failing("lock_wait_s", mine)
    longest = case.queues[0].longest_s if case.queues else 0.0
    well = f"{case.workload}: the application never waited longer than {seconds(longest)} for a lock behind a step."
    return _check(case, "lock_wait_s", (case.criteria.lock_wait_s, longest), waits, well)


def _replica(case: Case, mine: list[Finding]) -> list[Check]:
    lags = replica_lag(case.steps.readings, "replica_lag_s")
    if not lags:
        return []
    behind = _failing("replica_lag_s", mine)
    most = max(float(values.max()) for _, values in lags.values())
    well = f"{case.workload}: the replicas stayed within {seconds(most)}."
    if most >= case.criteria.replica_lag_s:
        well = f"{case.workload}: a replica fell behind by {seconds(most)}; {_NOT_HELD}."
    return _check(case, "replica_lag_s", (case.criteria.replica_lag_s, most), behind, well)


def _log(case: Case, mine: list[Finding]) -> list[Check]:
    probes = log_probes(case)
    if not probes:
        return []
    flooded = _failing("log_flood", mine)
    most = max(
        (float(lines.max()) for lines in (log_lines(case.steps, probe) for probe in probes) if len(lines)), default=0
    )
    well = f"{case.workload}: the error log was not flooded (at most {most:.0f} lines a second)."
    return _check(case, "log_flood", (case.criteria.log_flood_lines, most), flooded, well, unit="lines/s")


def _new_error_lines(case: Case, mine: list[Finding]) -> list[Check]:
    limit, probes = case.criteria.new_error_lines, log_probes(case)
    if limit is None or not probes:
        return []
    most = max(float(new_lines(case, probe)["count"].sum()) for probe in probes)
    well = f"{case.workload}: the error log got {most:.0f} lines of a kind that it had not had, as many as may."
    return _check(case, "new_error_lines", (limit, most), _failing("new_error_lines", mine), well, unit="lines")


def _drift(case: Case, mine: list[Finding]) -> list[Check]:
    limited = [one for one in (case.criteria, *(own for _, own in case.criteria.endpoints)) if limits_drift(one)]
    if not limited or not is_long(case.steps):
        return []
    drifting = _failing("drift", mine)
    well = f"{case.workload}: nothing drifts further than it may."
    return _check(case, "drift", (0.0, float(len(drifting))), drifting, well)


def _rules(effects: Sequence[Effect]) -> tuple[_Rule, ...]:
    return (
        _steps_succeed,
        _new_failures,
        partial(_unavailable, effects=effects),
        partial(_recovery, effects=effects),
        _stall,
        _latency,
        _lock_wait,
        _replica,
        _log,
        _new_error_lines,
        _drift,
    )


_QUIET_RULES: tuple[_Rule, ...] = (_steps_succeed,)
