"""The tables of ``verdict.json``: what every arm, step and endpoint did, whatever the verdict."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Outcome
from replay.judge.answers.texts import texts_of
from replay.judge.arrays import Rows, numbers
from replay.judge.case import Case
from replay.judge.effects.failures import Effect
from replay.judge.effects.outages import Outage
from replay.judge.findings import WHOLE_STAGE, Finding, between, seconds, short
from replay.judge.phases import phase_order, step_spans
from replay.judge.probes.locks import lock_queues
from replay.judge.probes.waits import StepWaits
from replay.judge.trust.faithful import lateness_p99_s


def arm_row(arm: ArmEvidence) -> dict[str, Any]:
    """One arm's summary."""
    observations, readings, info = arm.observations, arm.readings, arm.info
    latency = numbers(observations, "done_s") - numbers(observations, "sent_s")
    latency = latency[~np.isnan(latency) & ~np.isnan(numbers(observations, "status"))]
    lines = readings["value"][readings["metric"] == "log_lines"]
    return {
        "arm": info.arm,
        "workload": info.workload,
        "role": info.role,
        "steps": info.steps,
        "state": info.state,
        "duration_s": info.duration_s,
        "planned": info.planned,
        "observed": len(observations),
        "outcomes": texts_of(observations["outcome"]).counts(),
        "latency_s": _quantiles(latency),
        "lateness_p99_s": lateness_p99_s(observations),
        "max_replica_lag_s": _most(readings, "replica_lag_s"),
        "max_replica_lag_bytes": _most(readings, "replica_lag_bytes"),
        "max_lock_wait_s": _most(readings, "lock_wait_s"),
        "log_lines": int(lines.sum()) if len(lines) else int(arm.log["count"].sum()),
    }


def _quantiles(latency: Any) -> dict[str, float] | None:
    if not len(latency):
        return None
    p50, p95, p99 = np.quantile(latency, [0.5, 0.95, 0.99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def _most(readings: pd.DataFrame, metric: str) -> float | None:
    values = readings["value"][readings["metric"] == metric].dropna()
    return float(values.max()) if len(values) else None


def step_rows(arm: ArmEvidence) -> list[dict[str, Any]]:
    """The steps of one arm, with how long the application waited behind each, and how long their statements did."""
    spans = step_spans(arm.marks)
    waits = StepWaits(arm.readings)
    queues = lock_queues(arm.readings, spans)
    rows = []
    for span in spans:
        mine = [queue for queue in queues if queue.step == span.step]
        rows.append(
            {
                "arm": arm.info.arm,
                "workload": arm.info.workload,
                "step": span.step,
                "kind": span.kind,
                "started_s": span.started_s,
                "ended_s": span.ended_s,
                "duration_s": _duration(span.started_s, span.ended_s),
                "failed": span.failed,
                "error": span.error,
                "lock_wait_s": max((queue.longest_s for queue in mine), default=0.0),
                "own_wait_s": max((queue.own_wait_s for queue in mine), default=0.0),
                "queued": max((queue.queued for queue in mine), default=0),
                "statements": [
                    {
                        "index": one.index,
                        "statement": one.statement,
                        "started_s": one.started_s,
                        "ended_s": one.ended_s,
                        "duration_s": _duration(one.started_s, one.ended_s),
                        "failed": one.failed,
                        "error": one.error,
                        "rows": one.rows,
                        "own_wait_s": waits.longest_s(span.step, one.started_s, one.ended_s),
                    }
                    for one in span.statements
                ],
            }
        )
    return rows


def _duration(start_s: float, end_s: float | None) -> float | None:
    return None if end_s is None else end_s - start_s


def endpoint_row(case: Case, effect: Effect, outages: Sequence[Outage]) -> dict[str, Any]:
    """One endpoint of one workload: with the steps and without them, and its outages."""
    rows, phase_of = effect.rows, case.texts("phase")[effect.rows]
    phases = {}
    for name in phase_order(case.spans):
        group = rows[phase_of == name]
        if len(group):
            side = _side(case, group, "t_")
            phases[name] = {
                "requests": len(group),
                "failed": side["failed"],
                "empty": side["empty"],
                "control_failed": int(case.flags("c_new")[group].sum()),
                "p95_s": side["p95_s"],
            }
    smallest, asked = effect.smallest, effect.test.n_later
    return {
        "workload": case.workload,
        "arm": case.arm,
        "endpoint": effect.endpoint,
        "control": _side(case, rows, "c_"),
        "steps": _side(case, rows, "t_"),
        "phases": phases,
        "first_bad_s": effect.first_bad_s,
        "recovered_s": effect.recovered_s,
        "never_recovered": effect.first_bad_s is not None and effect.recovered_s is None,
        "outage_s": effect.outage_s,
        "outages": [dataclasses.asdict(outage) for outage in outages],
        "smallest_effect": {"failures": smallest, "share": smallest / asked}
        if smallest and smallest <= asked
        else None,
    }


def _side(case: Case, rows: Rows, arm: str) -> dict[str, Any]:
    latency, new = case.column(f"{arm}latency")[rows], rows[case.flags(f"{arm}new")[rows]]
    quantiles = _quantiles(latency[~np.isnan(latency)])
    return {
        "requests": len(rows),
        "failed": len(new),
        "empty": int((case.texts(f"{arm}kind")[new] == Outcome.EMPTY).sum()),
        "p50_s": quantiles["p50"] if quantiles else None,
        "p95_s": quantiles["p95"] if quantiles else None,
    }


def broke_first(findings: list[Finding]) -> list[dict[str, Any]]:
    """The endpoints that failed by themselves, in the order in which they broke; the largest share of each."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in findings:
        if finding.unit != "share" or finding.endpoint in {None, WHOLE_STAGE} or finding.root in _endpoints(findings):
            continue
        row = rows.setdefault(
            (finding.workload, finding.endpoint),
            {
                "workload": finding.workload,
                "endpoint": finding.endpoint,
                "first_bad_s": finding.first_bad_s,
                "recovered_s": finding.recovered_s,
                "share": 0.0,
                "root": finding.root,
            },
        )
        row["share"] = max(row["share"], finding.observed or 0.0)
    return list(rows.values())


def _endpoints(findings: list[Finding]) -> set[str]:
    return {finding.endpoint for finding in findings if finding.endpoint is not None}


def timeline(
    cases: list[Case], findings: list[Finding], outages: Sequence[Mapping[str, Sequence[Outage]]]
) -> list[dict[str, Any]]:
    """What happened when: steps, endpoints that broke and came back, lock queues, replicas, logs.

    ``outages`` are those of each case's endpoints.
    """
    events: dict[tuple[Any, ...], str] = {}
    for case in cases:
        arm = case.steps.info.arm
        for span in case.spans:
            events[(span.started_s, case.workload, arm, "step", span.step)] = "started"
            if span.ended_s is not None:
                ended = f"failed: {short(span.error)}" if span.failed else "ended"
                events[(span.ended_s, case.workload, arm, "step", span.step)] = ended
    kinds = {"lock_wait_s": "lock", "log_lines": "log", "replica_lag_s": "replica", "replica_lag_bytes": "replica"}
    kinds |= {"data_after_rollback": "step", "migration_s": "step"}
    for finding in findings:
        if finding.first_bad_s is None or finding.metric in {"step_failed", "rollback_failed", "never_recovered"}:
            continue
        subject = finding.endpoint or str(finding.evidence.get("replica") or finding.probe)
        kind = kinds.get(finding.metric or "", "endpoint")
        where = (finding.workload, finding.arm)
        events.setdefault((finding.first_bad_s, *where, kind, subject), finding.explanation)
        if finding.recovered_s is not None:
            back = f"came back after {seconds(max(0.0, finding.recovered_s - finding.first_bad_s))}"
            events.setdefault((finding.recovered_s, *where, "recovery", subject), back)
    for case, broken in zip(cases, outages, strict=True):
        where = (case.workload, case.steps.info.arm)
        for endpoint, several in broken.items():
            for one in several:
                failed = f"{one.failures} of {one.requests} requests failed"
                events[(one.first_bad_s, *where, "outage", endpoint)] = (
                    f"broke {between(one.last_good_s, one.first_bad_s)}, {one.broke}: {failed}"
                )
                if one.first_good_s is not None:
                    events[(one.first_good_s, *where, "back", endpoint)] = (
                        f"came back {between(one.last_bad_s, one.first_good_s)}, {one.came_back}"
                    )
    names = ("at_s", "workload", "arm", "kind", "subject")
    return [{**dict(zip(names, key, strict=True)), "what": what} for key, what in sorted(events.items())]
