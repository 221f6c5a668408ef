"""Whether the plan's probes saw what they were there for, while the steps ran."""

import numpy as np

from replay.evidence.run import ArmEvidence, Evidence
from replay.judge.arrays import Times
from replay.judge.findings import Check, evidence_check, seconds
from replay.judge.phases import step_spans
from replay.judge.probes.direct import replica_lag
from replay.judge.probes.waits import detail_of

_BLIND_S = 2.0
_FEWEST_GAPS = 4
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
    So must another one that read steadily until then; else it must not have failed last of all. A control is what the
    steps arm is held against: there a probe must have read too.
    """
    mine = arm.readings[arm.readings["probe"] == probe]
    failed = mine[mine["metric"] == "probe_failed"]
    told = mine[mine["metric"] == "waiting_backends"] if kind in _SEE_LOCKS else mine.drop(failed.index)
    read = len(told)
    read_s, failed_s = told["at_s"].to_numpy(np.float64), failed["at_s"].to_numpy(np.float64)
    steady = kind in _SEE_LOCKS or _reads_steadily(arm, read_s)
    blind = _blind(arm, read_s, failed_s, steady=steady) if arm.info.steps or steady else ""
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


def _start_s(arm: ArmEvidence) -> float | None:
    return min((span.started_s for span in step_spans(arm.marks)), default=None)


def _reads_steadily(arm: ArmEvidence, read_s: Times) -> bool:
    """Whether a probe read again and again until the first step: it should have gone on."""
    start_s = _start_s(arm)
    before = np.unique(read_s if start_s is None else read_s[read_s < start_s])
    gaps = np.diff(before)
    return len(gaps) >= _FEWEST_GAPS and bool(gaps.max() <= 3 * np.median(gaps))


def _blind(arm: ArmEvidence, read_s: Times, failed_s: Times, *, steady: bool) -> str:
    """When a probe saw nothing from the first step's start to the arm's end, in words; empty where it did all along.

    One that reads ``steady`` must have read every two seconds, or at five times its own interval where that is longer.
    """
    end_s = max((mark.at_s for mark in arm.marks), default=arm.info.duration_s)
    first_s = _start_s(arm)
    start_s = min(float(read_s.min(initial=end_s)), end_s) if first_s is None else first_s
    if not steady:
        last_s = float(read_s.max(initial=-np.inf))
        return f"from {seconds(last_s)} on" if len(read_s) and (failed_s > max(last_s, start_s)).any() else ""
    edges = np.concatenate(([start_s], np.sort(read_s[(read_s > start_s) & (read_s < end_s)]), [end_s]))
    moments = np.unique(read_s)
    usual_s = float(np.median(np.diff(moments))) if len(moments) > 1 else 0.0
    longest = int(np.argmax(np.diff(edges)))
    if edges[longest + 1] - edges[longest] <= max(_BLIND_S, 5 * usual_s):
        return ""
    return f"from {seconds(float(edges[longest]))} to {seconds(float(edges[longest + 1]))}"


def replicas_of(evidence: Evidence) -> dict[str, int]:
    """How many replicas each of the plan's probes is to read."""
    plan = evidence.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    found = probes if isinstance(probes, dict) else {}
    told = {name: found[name].get("replicas") for name in sorted(found) if isinstance(found[name], dict)}
    return {str(name): len(replicas) if isinstance(replicas, list) else 0 for name, replicas in told.items()}


def check_replicas(arm: ArmEvidence, probe: str, replicas: int) -> list[Check]:
    """The replicas that a probe could not read in the end, or not at all: how far they fell behind is unknown.

    ``replicas`` is how many the plan has. In a control each must have been read: what one does anyway is held against
    no step.
    """
    mine = arm.readings[arm.readings["probe"] == probe]
    missed: dict[str, tuple[float, str]] = {}
    for at_s, text in mine.loc[mine["metric"] == "probe_failed", ["at_s", "detail"]].itertuples(index=False):
        detail = detail_of(text)
        if replica := str(detail.get("replica") or ""):
            missed[replica] = (float(at_s), str(detail.get("error") or ""))
    seen = replica_lag(mine, "replica_lag_s")
    too_few = f"Of {replicas} replicas probe {probe!r} read only {len(seen)} during {arm.info.arm}."
    if not arm.info.steps:
        return [_unread(arm, too_few, 0)] if len(seen) < replicas else []
    lost = {replica: _blind(arm, at_s, at_s[:0], steady=True) for replica, (at_s, _) in seen.items()}
    told = [
        _unread(arm, f"The replica {replica} was not read {when} during {arm.info.arm}.", len(seen[replica][0]))
        for replica, when in lost.items()
        if when
    ]
    if len({*seen, *missed}) < replicas:
        told.append(_unread(arm, too_few, 0))
    return told + [
        _unread(
            arm,
            f"The replica {replica} could not be read in the end of {arm.info.arm}: {error}.",
            len(seen[replica][0]) if replica in seen else 0,
        )
        for replica, (at_s, error) in sorted(missed.items())
        if replica not in seen or seen[replica][0].max() < at_s
    ]


def _unread(arm: ArmEvidence, sentence: str, read: int) -> Check:
    return evidence_check(
        "replica_read",
        passed=False,
        workload=arm.info.workload,
        limit=None,
        observed=float(read),
        well="",
        wrong=sentence,
        hint="See that the replica runs and that the probe reaches it, then rehearse again.",
        voids="",
    )
