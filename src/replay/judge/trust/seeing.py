"""Whether the plan's probes saw what they were there for, while the steps ran."""

import numpy as np

from replay.evidence.run import ArmEvidence, Evidence
from replay.judge.arrays import Times
from replay.judge.findings import Check, evidence_check, seconds
from replay.judge.phases import step_spans
from replay.judge.probes.direct import replica_lag
from replay.judge.probes.locks import detail_of

_BLIND_S = 2.0
_SEE_LOCKS = ("postgres", "mysql")


def probes_of(evidence: Evidence) -> dict[str, str]:
    """The plan's probes, each with its kind."""
    plan = evidence.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    found = probes if isinstance(probes, dict) else {}
    return {
        str(name): str(found[name].get("kind", "")) if isinstance(found[name], dict) else "" for name in sorted(found)
    }


def check_probe(arm: ArmEvidence, probe: str, kind: str) -> Check:
    """A probe that read nothing while the steps ran: what it would have seen is unknown, and unknown is not well.

    One of a database must have seen who waits, and all the time from the first step on: its other figures do not tell.
    Another one must not have failed last of all.
    """
    mine = arm.readings[arm.readings["probe"] == probe]
    failed = mine[mine["metric"] == "probe_failed"]
    told = mine[mine["metric"] == "waiting_backends"] if kind in _SEE_LOCKS else mine.drop(failed.index)
    read = len(told)
    blind = _blind(
        arm, told["at_s"].to_numpy(np.float64), failed["at_s"].to_numpy(np.float64), steady=kind in _SEE_LOCKS
    )
    error = str(detail_of(failed["detail"].iloc[-1]).get("error") or "") if len(failed) else ""
    return evidence_check(
        "probe_read",
        passed=read > 0 and not blind,
        workload=arm.info.workload,
        limit=None,
        observed=float(read),
        well=f"Probe {probe!r} was read {read} times during {arm.info.arm}.",
        wrong=f"Probe {probe!r} read nothing {blind or 'at all'} during {arm.info.arm}{f': {error}' if error else ''}.",
        hint="See that the probe reaches what it reads, then rehearse again.",
        voids="",
    )


def _blind(arm: ArmEvidence, read_s: Times, failed_s: Times, *, steady: bool) -> str:
    """When a probe saw nothing from the first step's start to the arm's end, in words; empty where it did all along.

    One that reads ``steady`` must have read every two seconds, or at five times its own interval where that is longer.
    """
    spans = step_spans(arm.marks)
    end_s = max((mark.at_s for mark in arm.marks), default=arm.info.duration_s)
    start_s = min((span.started_s for span in spans), default=end_s)
    if not steady:
        last_s = float(read_s.max(initial=-np.inf))
        return f"from {seconds(last_s)} on" if len(read_s) and (failed_s > max(last_s, start_s)).any() else ""
    edges = np.concatenate(([start_s], np.sort(read_s[(read_s > start_s) & (read_s < end_s)]), [end_s]))
    usual_s = float(np.median(np.diff(np.sort(read_s)))) if len(read_s) > 1 else 0.0
    longest = int(np.argmax(np.diff(edges)))
    if edges[longest + 1] - edges[longest] <= max(_BLIND_S, 5 * usual_s):
        return ""
    return f"from {seconds(float(edges[longest]))} to {seconds(float(edges[longest + 1]))}"


def check_replicas(evidence: Evidence, arm: ArmEvidence, probe: str) -> list[Check]:
    """The replicas that a probe could not read in the end, or at all: how far they fell behind is unknown."""
    mine = arm.readings[arm.readings["probe"] == probe]
    missed: dict[str, tuple[float, str]] = {}
    for at_s, text in mine.loc[mine["metric"] == "probe_failed", ["at_s", "detail"]].itertuples(index=False):
        detail = detail_of(text)
        if replica := str(detail.get("replica") or ""):
            missed[replica] = (float(at_s), str(detail.get("error") or ""))
    seen = replica_lag(mine, "replica_lag_s")
    start_s = min((span.started_s for span in step_spans(arm.marks)), default=-np.inf)
    if not missed and _has_replicas(evidence, probe) and all(at_s.max() < start_s for at_s, _ in seen.values()):
        return [
            _unread(
                arm, f"How far the replicas of probe {probe!r} fell behind", 0, f"in {arm.info.arm} while the steps ran"
            )
        ]
    return [
        _unread(
            arm,
            f"The replica {replica}",
            len(seen[replica][0]) if replica in seen else 0,
            f"in the end of {arm.info.arm}: {error}",
        )
        for replica, (at_s, error) in sorted(missed.items())
        if replica not in seen or seen[replica][0].max() < at_s
    ]


def _unread(arm: ArmEvidence, what: str, read: int, when: str) -> Check:
    return evidence_check(
        "replica_read",
        passed=False,
        workload=arm.info.workload,
        limit=None,
        observed=float(read),
        well="",
        wrong=f"{what} could not be read {when}.",
        hint="See that the replica runs and that the probe reaches it, then rehearse again.",
        voids="",
    )


def _has_replicas(evidence: Evidence, probe: str) -> bool:
    """Whether the plan gives replicas to a probe."""
    plan = evidence.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    told = probes.get(probe) if isinstance(probes, dict) else None
    return isinstance(told, dict) and bool(told.get("replicas"))
