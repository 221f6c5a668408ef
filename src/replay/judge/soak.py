"""The verdict on a soak: one long arm without steps (``replay run --criteria``), held against limits and for drift.

The evidence comes first: a run that is not whole, whose load was late, or that is too short to tell, is INCONCLUSIVE,
except where what was seen of it breaks a limit already. ``verdict.json`` has the keys of a rehearsal's; what a soak has
not (steps, phases, locks) is empty. The evidence is read file by file, so that its length takes no memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from replay.evidence.files import OBSERVATION_SCHEMA, READING_SCHEMA
from replay.evidence.heartbeat import last_sign
from replay.evidence.rollup import read_segments, steadily
from replay.evidence.run import check_segment, read_info, read_rehearsal
from replay.evidence.values import ArmInfo, Outcome
from replay.judge.digest import COLUMNS, Digest, Histogram
from replay.judge.drift import Drift, Layout, drift_findings, drifts, layout, seasons, series_of
from replay.judge.findings import BLOCKING, NOTE, Check, Finding, percent, plain, seconds
from replay.judge.levels import Levels
from replay.judge.limits import FEWEST_ANSWERS, OF_AN_ENDPOINT, PERCENTILES, SoakCriteria, parse_soak_criteria
from replay.judge.trend import FEWEST

ALL = "*"
_MOST_REASONS = 6
_MOST_NAMES = 5
_QUANTILES = dict(zip(PERCENTILES, (0.5, 0.95, 0.99), strict=True))


@dataclass(frozen=True, slots=True)
class Soak:
    """A soak's evidence, counted. ``last`` is what its last heartbeat says; ``damaged`` what could not be read."""

    rehearsal: dict[str, Any]
    info: ArmInfo
    layout: Layout
    digest: Digest
    levels: Levels
    last: dict[str, Any] | None = None
    damaged: tuple[str, ...] = field(default=())


def read_soak(path: Path) -> Soak:
    """Count the evidence of the soak in folder ``path``. Raises InputError where it is none."""
    rehearsal = read_rehearsal(path)
    order = rehearsal.get("order")
    name = order[0] if isinstance(order, list) and order else ""
    arm = path / "arms" / str(name)
    info = read_info(arm)
    cycle_s = rehearsal.get("cycle_s")
    lay = layout(info.duration_s, float(cycle_s) if isinstance(cycle_s, int | float) else None)

    def observed() -> tuple[Digest, list[str]]:
        digest, damaged = Digest(info.planned, lay.block_s), list[str]()
        for file, table in read_segments(arm / "observations", OBSERVATION_SCHEMA, COLUMNS):
            if (sound := _sound(file, table, damaged)) is not None:
                digest.add(sound.to_pandas())
        return digest, damaged

    def read() -> tuple[Levels, list[str]]:
        levels, damaged = Levels(lay.block_s), list[str]()
        for file, table in read_segments(arm / "readings", READING_SCHEMA):
            if (sound := _sound(file, table, damaged)) is not None:
                levels.add(sound.to_pandas())
        return levels, damaged

    digest, damaged = steadily(observed)
    levels, more = steadily(read)
    damaged += [*more, *(f"observations have the outcome {name!r}" for name in sorted(digest.unknown))]
    return Soak(rehearsal, info, lay, digest, levels, last_sign(path), tuple(damaged))


def _sound(file: Path, table: pa.Table | Exception, damaged: list[str]) -> pa.Table | None:
    """A segment that can be counted; None where it cannot, which ``damaged`` then says."""
    try:
        if isinstance(table, Exception):
            raise table
        check_segment(table)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        damaged.append(f"{file.parent.name}/{file.name}: {(str(error).splitlines() or ['unreadable'])[0]}")
        return None
    return table


@dataclass(frozen=True, slots=True)
class SoakVerdict:
    """GO, NO_GO or INCONCLUSIVE on a soak; ``facts`` are those tables of ``verdict.json`` that a soak has."""

    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    facts: dict[str, Any]


def judge_soak(soak: Soak) -> SoakVerdict:
    """The verdict on a soak. Pure. Raises InputError where its criteria cannot be read."""
    criteria = parse_soak_criteria(soak.rehearsal.get("criteria") or {})
    endpoints = soak.digest.blocks(soak.layout.blocks)
    found = _drifts(soak, endpoints) if criteria.drift_p_value else []
    evidence = list(_evidence(soak, criteria))
    void = any(check.voids and not check.passed for check in evidence)
    findings = [*_failures(soak, criteria), *_slow(soak, criteria), *_drifting(soak, criteria, found)]
    if void:
        findings = [replace(finding, severity=NOTE, proven=False) for finding in findings]
    findings.sort(key=lambda one: (one.severity != BLOCKING, one.endpoint or "~", one.probe or "", one.metric or ""))
    checks = [*evidence, *_changes(soak, criteria, findings, len(found))]
    well = [_unjudged(soak, criteria)]
    if found:
        well.append(f"None of {len(found)} series of latencies, failures and readings drifts further than it may.")
    verdict = "GO"
    if any(finding.severity == BLOCKING for finding in findings):
        verdict = "NO_GO"
    elif not all(check.passed for check in evidence):
        verdict = "INCONCLUSIVE"
    return SoakVerdict(
        verdict,
        tuple(_reasons(verdict, soak, findings, evidence, well)),
        tuple(findings),
        tuple(checks),
        _facts(soak, criteria),
    )


def _drifts(soak: Soak, endpoints: dict[str, Any]) -> list[Drift]:
    if not soak.layout.enough:
        return []
    series = series_of(endpoints, soak.levels.series(soak.layout.blocks), soak.layout.blocks)
    return drifts(series, soak.layout, seasons(soak.layout, endpoints))


def _drifting(soak: Soak, criteria: SoakCriteria, found: list[Drift]) -> Iterator[Finding]:
    limits = {"": criteria.drift} | {name: own.drift for name, own in criteria.endpoints}
    yield from drift_findings(found, limits, soak.info.workload, soak.info.role, soak.info.arm)


def _finding(soak: Soak, endpoint: str, **what: Any) -> Finding:
    return Finding(
        workload=soak.info.workload,
        role=soak.info.role,
        arm=soak.info.arm,
        phase="all through",
        control=None,
        severity=BLOCKING,
        endpoint=endpoint,
        **what,
    )


def _sent(digest: Digest, endpoint: str) -> int:
    return sum(
        count
        for (name, outcome), count in digest.outcomes.items()
        if endpoint in {name, ALL} and outcome != Outcome.UNSENT
    )


def _names(digest: Digest) -> list[str]:
    return [ALL, *sorted({name for name, _ in digest.outcomes})]


def _failures(soak: Soak, criteria: SoakCriteria) -> Iterator[Finding]:
    for name in _names(soak.digest):
        sent, limit = _sent(soak.digest, name), criteria.of(name).failure_share
        failed = soak.digest.failed[name] if name != ALL else soak.digest.failed.total()
        if failed > max(1, limit * sent):
            what = "all endpoints" if name == ALL else name
            yield _finding(
                soak,
                name,
                unit="share",
                observed=failed / sent,
                metric="failure_share",
                requests=sent,
                failures=failed,
                explanation=f"{failed:,} of {sent:,} requests of {what} failed and did not in the capture "
                f"({percent(failed / sent)}, limit {percent(limit)}).",
            )


def _slow(soak: Soak, criteria: SoakCriteria) -> Iterator[Finding]:
    for name in _names(soak.digest):
        times = _latency(soak.digest, name)
        answers = int(times.counts.sum())
        for metric, q in _QUANTILES.items():
            limit, observed = getattr(criteria.of(name), metric), times.quantile(q)
            if answers >= FEWEST_ANSWERS and observed is not None and observed > limit:
                what = "all answers" if name == ALL else name
                yield _finding(
                    soak,
                    name,
                    unit="s",
                    observed=observed,
                    metric=f"latency_{metric}",
                    requests=answers,
                    explanation=f"The {metric[:3]} of {what} was {seconds(observed)} (limit {seconds(limit)}).",
                )


def _unjudged(soak: Soak, criteria: SoakCriteria) -> str:
    """A sentence on the endpoints that have a limit on times and too few answers for it; empty where there are none."""
    few = [
        name
        for name in _names(soak.digest)
        if name != ALL
        and any(getattr(criteria.of(name), metric) < float("inf") for metric in PERCENTILES)
        and int(_latency(soak.digest, name).counts.sum()) < FEWEST_ANSWERS
    ]
    if not few:
        return ""
    more = f" and {len(few) - _MOST_NAMES:,} more" if len(few) > _MOST_NAMES else ""
    what = "1 endpoint" if len(few) == 1 else f"{len(few):,} endpoints"
    be = "is" if len(few) == 1 else "are"
    names = ", ".join(few[:_MOST_NAMES])
    return f"{what} had fewer than {FEWEST_ANSWERS} answers and {be} not judged for time: {names}{more}."


def _latency(digest: Digest, endpoint: str) -> Histogram:
    if endpoint != ALL:
        return digest.latencies.get(endpoint, Histogram())
    every = Histogram()
    for one in digest.latencies.values():
        every.counts += one.counts
    return every


def _evidence(soak: Soak, criteria: SoakCriteria) -> Iterator[Check]:
    info, digest = soak.info, soak.digest
    state, reason = str(soak.rehearsal.get("state", "unknown")), str(soak.rehearsal.get("reason") or "")
    said = f"it is {state}{f' ({reason})' if reason else ''}"
    if state == "running" and soak.last:
        said = f"its last sign of life is of {soak.last.get('time')}, {soak.last.get('elapsed_s')} s after its start"
    yield _check(
        soak,
        "run_complete",
        limits=("complete", state),
        passed=state == "complete",
        well="The run is complete.",
        wrong=f"The run did not come to its end: {said}.",
        hint="Run it again, and let it come to its end.",
    )
    wrong = [
        *([f"{digest.observed:,} of {info.planned:,} planned requests"] if digest.observed != info.planned else []),
        *([f"{digest.twice:,} requests twice"] if digest.twice else []),
        *([f"damaged: {', '.join(soak.damaged[:5])}"] if soak.damaged else []),
    ]
    yield _check(
        soak,
        "arm_complete",
        limits=(float(info.planned), float(digest.observed)),
        passed=not wrong and info.planned > 0,
        well=f"All {info.planned:,} planned requests were observed.",
        wrong=f"What was observed is not whole: {'; '.join(wrong) or 'no request was planned'}.",
        hint="Run it again; what is damaged or missing cannot be judged.",
    )
    late_s = digest.lateness.quantile(0.99)
    yield _check(
        soak,
        "engine_lateness",
        limits=(criteria.lateness_s, late_s),
        passed=late_s is not None and late_s <= criteria.lateness_s,
        well=f"The load generator was on time (p99 {seconds(late_s or 0.0)} late).",
        wrong="The load generator sent nothing."
        if late_s is None
        else f"The load generator itself was late (p99 {seconds(late_s)}, limit {seconds(criteria.lateness_s)}).",
        hint="Give it more of the machine, or lower speed or scale.",
        voids="requests",
    )
    sent = _sent(digest, ALL)
    yield _check(
        soak,
        "min_requests",
        limits=(criteria.min_requests, float(sent)),
        passed=sent >= criteria.min_requests,
        well=f"{sent:,} requests were sent.",
        wrong=f"Only {sent:,} requests were sent ({criteria.min_requests:,.0f} are needed).",
        hint="Play longer, or more.",
        voids="requests",
    )
    unsent = digest.observed - sent
    share = unsent / max(1, digest.observed)
    yield _check(
        soak,
        "unsent_share",
        limits=(criteria.unsent_share, share),
        passed=share <= criteria.unsent_share,
        well=f"{unsent:,} of {digest.observed:,} requests were not sent.",
        wrong=f"{unsent:,} of {digest.observed:,} requests were not sent ({percent(share)}): nothing is known of them.",
        hint="See the observations for why; most often credentials are lacking.",
    )
    plan = soak.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    for probe in sorted(probes) if isinstance(probes, dict) else []:
        read, error = soak.levels.read[probe], soak.levels.failed.get(probe, "")
        blind_s = soak.levels.blind_from(probe)
        when = "" if blind_s is None else f" from {seconds(blind_s)} on"
        yield _check(
            soak,
            "probe_read",
            limits=(None, float(read)),
            passed=read > 0 and blind_s is None,
            well=f"Probe {probe!r} was read {read:,} times.",
            wrong=f"Probe {probe!r} read nothing{when}{f': {error}' if error else ''}.",
            hint="See that the probe reaches what it reads.",
        )
    rare = {name: _sent(digest, name) for name, _ in criteria.endpoints if _sent(digest, name) < criteria.needed(name)}
    if rare:
        counts = (f"{name} ({times:,} of {criteria.needed(name)} requests)" for name, times in rare.items())
        yield _check(
            soak,
            "criteria_endpoints",
            limits=("", ", ".join(rare)),
            passed=False,
            well="",
            wrong=f"The criteria name endpoints that were not asked, or too rarely: {', '.join(counts)}.",
            hint=f"Play longer, or more; limits on times need {FEWEST_ANSWERS} requests, others one.",
        )
    if criteria.drift_p_value:
        yield _check(
            soak,
            "drift_seen",
            limits=(soak.layout.block_s * FEWEST, info.duration_s),
            passed=soak.layout.enough,
            well=f"It lasted long enough to see drift: {soak.layout.blocks} blocks of {seconds(soak.layout.block_s)}.",
            wrong=f"It is too short to see drift: {seconds(info.duration_s)}, of "
            f"{soak.layout.block_s * FEWEST:,.0f} s that are needed.",
            hint="Play longer, or set drift_p_value = 0 to leave drift unasked.",
        )
        if soak.layout.enough and (lost := _lost(soak, criteria)):
            yield _check(
                soak,
                "drift_read",
                limits=("", ", ".join(lost)),
                passed=False,
                well="",
                wrong=f"drift_per_hour has limits, but no probe read {', '.join(lost)}, or too rarely to tell.",
                hint="Name a metric as the readings have it, and see that a probe reads it all through.",
            )


def _lost(soak: Soak, criteria: SoakCriteria) -> list[str]:
    """The metrics with a limit of drift that nothing can be told of."""
    blocks = soak.layout.blocks
    told = {one.metric for one in series_of({}, soak.levels.series(blocks), blocks)}
    return [metric for metric, limit in criteria.drift_per_hour if limit < float("inf") and metric not in told]


def _check(
    soak: Soak,
    name: str,
    *,
    limits: tuple[float | str | None, float | str | None],
    passed: bool,
    well: str,
    wrong: str,
    hint: str,
    voids: str = "",
) -> Check:
    limit, observed = limits
    if passed:
        return Check(name, "evidence", limit, observed, passed, soak.info.workload, well)
    return Check(name, "evidence", limit, observed, passed, soak.info.workload, wrong, hint, voids)


def _changes(soak: Soak, criteria: SoakCriteria, findings: list[Finding], looked_at: int) -> Iterator[Check]:
    failed, sent = soak.digest.failed.total(), _sent(soak.digest, ALL)
    drifting = f"None of {looked_at} series drifts further than it may."
    asked = [
        ("failures", "failure_share", criteria.failure_share, failed / max(1, sent), f"{failed:,} of {sent:,} failed."),
        ("latency", "latency_", criteria.p95_s, _latency(soak.digest, ALL).quantile(0.95), "No answer took too long."),
    ]
    if criteria.drift_p_value:
        asked.append(("drift", "drift_", criteria.drift_p_value, None, drifting))
    unjudged = _unjudged(soak, criteria)
    for name, metric, limit, observed, well in asked:
        against = [one for one in findings if (one.metric or "").startswith(metric) and one.severity == BLOCKING]
        more = f" ({len(against) - 1} more)" if len(against) > 1 else ""
        sentence = against[0].explanation + more if against else well
        if name == "latency" and unjudged:
            sentence = f"{sentence} {unjudged}"
        yield Check(name, "change", limit, observed, not against, soak.info.workload, sentence)


def _reasons(
    verdict: str, soak: Soak, findings: list[Finding], evidence: list[Check], well: list[str]
) -> Iterator[str]:
    told = [finding.explanation for finding in findings if finding.severity == BLOCKING]
    yield from told[:_MOST_REASONS]
    if len(told) > _MOST_REASONS:
        yield f"{len(told) - _MOST_REASONS} more limits are broken; verdict.json has them."
    for check in evidence:
        if not check.passed:
            yield f"{check.sentence} {check.hint}"
    if verdict == "GO":
        failed, sent = soak.digest.failed.total(), _sent(soak.digest, ALL)
        yield f"{failed:,} of {sent:,} requests failed ({percent(failed / max(1, sent))})."
        yield from filter(None, well)


def _facts(soak: Soak, criteria: SoakCriteria) -> dict[str, Any]:
    info, digest = soak.info, soak.digest
    limits = {name: value for name, value in plain(criteria).items() if name not in {"endpoints", "drift_per_hour"}}
    limits |= {"drift_per_hour": dict(criteria.drift_per_hour)}
    of_endpoints = {name: {key: getattr(own, key) for key in OF_AN_ENDPOINT} for name, own in criteria.endpoints}
    limits |= {"endpoints": of_endpoints}
    outcomes: dict[str, int] = {}
    for (_, outcome), count in sorted(digest.outcomes.items()):
        outcomes[outcome] = outcomes.get(outcome, 0) + count
    latency = {metric[:3]: _latency(digest, ALL).quantile(q) for metric, q in _QUANTILES.items()}
    return {
        "roles": {info.workload: info.role},
        "limits": limits,
        "arms": [
            {
                "arm": info.arm,
                "workload": info.workload,
                "role": info.role,
                "steps": False,
                "state": info.state,
                "duration_s": info.duration_s,
                "planned": info.planned,
                "observed": digest.observed,
                "outcomes": outcomes,
                "latency_s": latency if digest.answered else None,
                "lateness_p99_s": digest.lateness.quantile(0.99),
                "max_replica_lag_s": None,
                "max_replica_lag_bytes": None,
                "max_lock_wait_s": None,
                "log_lines": 0,
            }
        ],
    }
