"""Effects measured directly: lock queues, replica lag, a flooded error log, and steps that failed."""

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import QUIET
from replay.judge.arrays import Times, Values
from replay.judge.case import Case
from replay.judge.effects.explain import said
from replay.judge.effects.noise import near_stall
from replay.judge.findings import BLOCKING, NOTE, Finding, seconds, short
from replay.judge.phases import UNDO, Span, phase_at
from replay.judge.probes.locks import Queue
from replay.judge.probes.waits import detail_of

_BEHIND = 1.0  # seconds (or bytes) that a replica must fall behind by, where the limit is not smaller
_FURTHER = 0.5  # by this part of how far behind it is anyway: one that is often behind is so by chance, too
_GROWS_FOR_S = 5.0
_MOST_TOLD = 5


def step_findings(case: Case) -> list[Finding]:
    """A finding for each step that failed, with the database's or the program's own words."""
    return [_step_failed(case, span) for span in case.all_spans if span.failed]


def _step_failed(case: Case, span: Span) -> Finding:
    statement = next((one for one in reversed(span.statements) if one.failed), None)
    error = span.error or (statement.error if statement else "") or "no reason given"
    undoes = span.kind in UNDO
    what = f"The {span.kind if undoes else 'step'}"
    at = f" at {short(statement.statement, 90)!r}" if statement and statement.statement else ""
    under = "without any traffic" if case.role == QUIET else f"under the {case.workload} workload"
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=span.during,
        unit="count",
        observed=1.0,
        control=0.0,
        explanation=f"{what} {span.step!r} failed {under}{at}: {short(error, 300)}",
        severity=BLOCKING,
        probe="steps",
        metric="rollback_failed" if undoes else "step_failed",
        effect=1.0,
        root=short(error, 300),
        proven=True,
        first_bad_s=span.ended_s,
        evidence={
            "step": span.step,
            "kind": span.kind,
            "statement": statement.statement if statement else "",
            "error": error,
        },
    )


def lock_findings(case: Case) -> list[Finding]:
    """A finding for each statement behind which the application waited for too long."""
    limit_s = case.criteria.lock_wait_s
    return [_lock_wait(case, queue) for queue in case.queues if queue.longest_s >= limit_s]


def _lock_wait(case: Case, queue: Queue) -> Finding:
    holder, query = queue.held_up_by
    held = ", which ran while the step held the lock" if queue.unclear and queue.statement else ", which held the lock"
    sessions = "1 session" if queue.queued == 1 else f"{queue.queued} sessions"
    gap_s = _sampling_gap_s(case.steps.readings, queue.probe)
    phase = next(
        (span.during for span in case.spans if span.step == queue.step), phase_at(case.spans, queue.longest_at_s)
    )
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase,
        unit="s",
        observed=queue.longest_s,
        control=0.0,
        explanation=f"The application waited up to {seconds(queue.longest_s)} for a lock behind "
        f"{queue.told}{queue.clause('itself waited for', held)}; "
        f"{sessions} queued at most.",
        severity=BLOCKING,
        probe=queue.probe,
        metric="lock_wait_s",
        effect=queue.longest_s,
        interval=(queue.longest_s, queue.longest_s + gap_s),
        root=queue.root,
        proven=True,
        first_bad_s=queue.windows[0][0] if queue.windows else None,
        evidence={
            "step": queue.step,
            "statement": queue.statement,
            "held_up_by": holder or None,
            "held_up_by_query": query or None,
            "running": _most_often(queue.running),
            "deadlock": queue.deadlock,
            "queued": queue.queued,
            "own_wait_s": queue.own_wait_s,
            "waiting_endpoints": dict(sorted(queue.endpoints.items())),
            "waiting_queries": _most_often(queue.queries),
            "from_s": queue.windows[0][0] if queue.windows else None,
            "to_s": queue.longest_at_s,
        },
    )


def _most_often(texts: Counter[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-texts[text], text))[:5]


def _sampling_gap_s(
    readings: pd.DataFrame, probe: str, metrics: tuple[str, ...] = ("waiting_backends", "lock_wait_s")
) -> float:
    """The usual time between two samples of a probe: how much longer than seen a wait or a lag may have been."""
    own = (readings["probe"] == probe) & readings["metric"].isin(metrics)
    at_s = np.unique(readings["at_s"][own].to_numpy(np.float64).round(2))
    return float(np.median(np.diff(at_s))) if len(at_s) > 1 else 0.0


def replica_findings(case: Case) -> list[Finding]:
    """A finding for each replica that fell behind further than the limit and further than in the reference."""
    found = []
    for metric, limit in (
        ("replica_lag_s", case.criteria.replica_lag_s),
        ("replica_lag_bytes", case.criteria.replica_lag_bytes),
    ):
        if limit is None:
            continue
        for replica, (at_s, value) in replica_lag(case.steps.readings, metric).items():
            later = at_s >= case.first_step_s
            nothing = (np.array([]), np.array([]))
            seen = [replica_lag(control.readings, metric).get(replica, nothing)[1] for control in case.controls]
            level = min(_BEHIND, limit)
            usual = [_once_caught_up(one, metric, level) for one in (*seen, value[~later])]
            known = float(max([0.0, *np.concatenate(usual).tolist()]))
            rise = value[later].max(initial=0.0) - known
            if rise <= 0 or rise < max(level, _FURTHER * known):
                continue
            course = _course(at_s[later], value[later], known, metric, level)
            course = replace(course, beside=_beside(seen, value[~later]))
            grows = metric == "replica_lag_s" and course.grows(case.criteria.replica_lag_growth)
            if value[later].max() >= limit or grows:
                found.append(_replica_lag(case, metric, replica, course))
    return found


def _beside(controls: list[Values], before: Values) -> str:
    """Beside what a lag stands, in words: an arm without the steps, or else the time before them."""
    if any(len(one) for one in controls):
        return "without the steps it was {} at most"
    return "before them it was {} at most" if len(before) else "nobody read it without them"


def _once_caught_up(value: Values, metric: str, level: float) -> Values:
    """The readings from the first on at which the replica was not behind; all, where it always was.

    What it still has to catch up with when an arm begins is of Stage's reset, and says nothing of what is usual.
    """
    level = level if metric == "replica_lag_s" else 0.05 * float(value.max(initial=0.0))
    return value[int(np.argmax(value <= level)) :] if len(value) else value


@dataclass(frozen=True, slots=True)
class _Course:
    """How far a replica fell behind: from ``onset_s`` on, furthest at ``peak_s``, by ``slope`` a second until then.

    ``caught_up_s`` is None where it had not when the arm ended; ``growing`` says that it then still fell behind.
    ``beside`` says, with a place for how far, where it was known to be ``known`` behind.
    """

    onset_s: float
    peak_s: float
    observed: float
    known: float
    slope: float | None
    growing: bool
    caught_up_s: float | None
    beside: str = ""

    def grows(self, limit: float) -> bool:
        """Whether it falls behind by so much a second, and would go on to."""
        long_enough = self.peak_s - self.onset_s >= _GROWS_FOR_S
        return self.growing and long_enough and self.slope is not None and self.slope >= limit > 0

    @property
    def told(self) -> str:
        """How it went on, in words."""
        if self.growing:
            return "further and further until the rehearsal ended"
        if self.caught_up_s is not None:
            return f"and caught up {seconds(self.caught_up_s - self.onset_s)} later"
        return "and had not caught up when the rehearsal ended"


def _course(at_s: Times, value: Values, known: float, metric: str, level: float) -> _Course:
    """The course of readings, (n,) in the order of time and n >= 1, in seconds or bytes as ``metric`` says.

    ``known`` is how far behind it was anyway, in the same unit; a lag in seconds begins at ``level`` above it.
    """
    worst, observed = int(np.argmax(value)), float(value.max())
    behind = value > known + (level if metric == "replica_lag_s" else 0.05 * observed)
    onset = int(np.argmax(behind))
    caught_up = [float(moment) for moment in at_s[worst:][~behind[worst:]]]
    rising = slice(onset, worst + 1)
    return _Course(
        onset_s=float(at_s[onset]),
        peak_s=float(at_s[worst]),
        observed=observed,
        known=known,
        slope=float(np.polyfit(at_s[rising], value[rising], 1)[0]) if worst - onset >= 2 else None,
        growing=not caught_up and len(value) - worst <= max(2, len(value) // 20),
        caught_up_s=caught_up[0] if caught_up else None,
    )


def _replica_lag(case: Case, metric: str, replica: str, course: _Course) -> Finding:
    observed, known = course.observed, course.known
    bytes_at_most = replica_lag(case.steps.readings, "replica_lag_bytes").get(replica, (None, np.array([0.0])))[1].max()
    amount = seconds(observed) if metric == "replica_lag_s" else f"{observed / 1e6:.1f} MB"
    phase = phase_at(case.spans, course.onset_s)
    running, probe = _running_at(case, course.onset_s), _probe_of(case.steps.readings, metric)
    # What it was between two samples is not known; a lag in seconds grows by one a second at most.
    gap_s = _sampling_gap_s(case.steps.readings, probe, (metric,)) if metric == "replica_lag_s" else 0.0
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase,
        unit="s" if metric == "replica_lag_s" else "bytes",
        observed=observed,
        control=known,
        explanation=f"The replica {replica} fell behind {said(phase)}, up to {amount}"
        f"{f' ({bytes_at_most / 1e6:.1f} MB)' if metric == 'replica_lag_s' and bytes_at_most else ''}, {course.told}; "
        f"{course.beside.format(seconds(known) if metric == 'replica_lag_s' else f'{known / 1e6:.1f} MB')}.",
        severity=BLOCKING,
        probe=probe,
        metric=metric,
        effect=observed - known,
        interval=(observed - known, observed - known + gap_s) if gap_s else None,
        root=running,
        proven=True,
        first_bad_s=course.onset_s,
        recovered_s=course.caught_up_s,
        evidence={
            "replica": replica,
            "at_s": course.peak_s,
            "caught_up_s": course.caught_up_s,
            "growing": course.growing,
            "slope": course.slope,
            "bytes": float(bytes_at_most),
        },
    )


def replica_lag(readings: pd.DataFrame, metric: str) -> dict[str, tuple[Times, Values]]:
    """(moments, values) of a lag metric for each replica, by name."""
    rows = readings[(readings["metric"] == metric) & np.isfinite(readings["value"])]
    names = [
        str(detail_of(text).get("replica") or probe) for text, probe in zip(rows["detail"], rows["probe"], strict=True)
    ]
    frame = pd.DataFrame({"name": names, "at_s": rows["at_s"].to_numpy(), "value": rows["value"].to_numpy()})
    return {
        str(name): (group["at_s"].to_numpy(np.float64), group["value"].to_numpy(np.float64))
        for name, group in frame.groupby("name", sort=True)
    }


def _probe_of(readings: pd.DataFrame, metric: str) -> str:
    return str(readings["probe"][readings["metric"] == metric].iloc[0])


def _running_at(case: Case, at_s: float) -> str | None:
    """The statement of a step that ran at a moment, or the last one before it."""
    for span in reversed(case.spans):
        if span.started_s > at_s:
            continue
        started = [one for one in span.statements if one.started_s <= at_s]
        statement = f"{short(started[-1].statement, 90)!r} of " if started and started[-1].statement else ""
        return f"{statement}step {span.step!r}"
    return None


OF_ANOTHER = (" ", "\t", "(", "Traceback ")


def log_findings(case: Case) -> list[Finding]:
    """A finding for each error log that the steps flooded."""
    limits = case.criteria
    found = []
    for probe in log_probes(case):
        lines = log_lines(case.steps, probe)
        later = lines.index >= np.floor(case.first_step_s)
        quiet = [*(log_lines(control, probe) for control in case.controls), lines[~later]]
        known = max(_reached(one, 1) for one in quiet)
        usual = max(_reached(one, math.ceil(limits.log_flood_s)) for one in quiet)
        moments = lines.index.to_numpy(np.float64)
        noise = [
            stall for stall in case.later_stalls if not case.behind_lock(stall) and stall.length_s < limits.stall_s
        ]
        limit = max(limits.log_flood_ratio * usual, usual + limits.log_flood_lines)
        flooded = lines[later & ~near_stall(moments, tuple(noise)) & (lines.to_numpy() >= limit)]
        if len(flooded):
            found.append(_log_flood(case, str(probe), flooded, known))
        found += _new_errors(case, probe)
    return found


def _reached(lines: "pd.Series[float]", seconds: int) -> float:
    """How many lines a second there were in at least so many seconds: one stray traceback is no usual rate."""
    busiest = np.sort(lines.to_numpy(np.float64))[::-1]
    return float(busiest[max(1, seconds) - 1]) if len(busiest) >= max(1, seconds) else 0.0


def new_lines(case: Case, probe: str) -> pd.DataFrame:
    """The log events of a probe since the first step that are like none before, and none of a control."""
    log = case.steps.log
    mine = log[(log["probe"] == probe) & (log["at_s"] + 1 > case.first_step_s)]
    return mine[~mine["template"].isin(case.known_templates)]


def _new_errors(case: Case, probe: str) -> list[Finding]:
    """Lines of a log that are like none before the steps, and none of a control."""
    limit, new = case.criteria.new_error_lines, new_lines(case, probe)
    if new.empty:
        return []
    counts = new.groupby("template")["count"].sum().sort_index().sort_values(ascending=False, kind="stable")
    names = [str(name) for name in counts.index]
    telling = next((name for name in names if not name.startswith(OF_ANOTHER)), names[0])
    total, first_s = int(counts.sum()), float(new["at_s"].min())
    phase = phase_at(case.spans, max(first_s, case.first_step_s))
    beyond = limit is not None and total > limit
    return [
        Finding(
            workload=case.workload,
            arm=case.arm,
            phase=phase,
            unit="count",
            observed=float(total),
            control=0.0,
            explanation=f"The error log {probe!r} got {total} line{'s' * (total != 1)} {said(phase)} of a kind that it "
            f"never had without the steps, most often {short(telling, 100)!r}.",
            severity=BLOCKING if beyond else NOTE,
            probe=probe,
            metric="new_error_lines",
            effect=float(total),
            root=telling,
            proven=beyond,
            first_bad_s=first_s,
            evidence={
                "at_s": first_s,
                "seconds": int(new["at_s"].nunique()),
                "templates": [
                    {"template": name, "count": int(count), "new": True}
                    for name, count in zip(names[:_MOST_TOLD], counts[:_MOST_TOLD], strict=True)
                ],
            },
        )
    ]


def _log_flood(case: Case, probe: str, flooded: "pd.Series[float]", known: float) -> Finding:
    first_s, observed = float(flooded.index[0]), float(flooded.max())
    log = case.steps.log
    window = log[(log["probe"] == probe) & (log["at_s"] >= first_s) & (log["at_s"] <= float(flooded.index[-1]) + 1)]
    counts = window.groupby("template")["count"].sum().sort_index().sort_values(ascending=False, kind="stable")
    before = case.known_templates
    templates = [
        {"template": str(name), "count": int(count), "new": name not in before}
        for name, count in zip(counts.index[:5], counts[:5], strict=True)
    ]
    phase = phase_at(case.spans, first_s + 0.999)
    # What tells most is a line that stands by itself: those of a traceback are indented.
    telling = next((name for name in map(str, counts.index) if not name.startswith(OF_ANOTHER)), None)
    most = f", most often {short(telling, 100)!r}" if telling else ""
    long_enough = len(flooded) >= case.criteria.log_flood_s
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase,
        unit="lines/s",
        observed=observed,
        control=known,
        explanation=f"The error log {probe!r} got up to {observed:.0f} lines a second {said(phase)}{most}; "
        f"without the steps it got {known:.0f} at most.",
        severity=BLOCKING if long_enough else NOTE,
        probe=probe,
        metric="log_lines",
        effect=observed - known,
        root=telling,
        proven=long_enough,
        first_bad_s=first_s,
        evidence={
            "at_s": float(flooded.index.to_numpy()[flooded.to_numpy().argmax()]),
            "seconds": len(flooded),
            "templates": templates,
        },
    )


def log_probes(case: Case) -> list[str]:
    """The names of the probes that read a log."""
    return sorted({str(name) for name in (*case.steps.log["probe"], *_lines(case.steps.readings)["probe"])})


def log_lines(evidence: ArmEvidence, probe: str) -> "pd.Series[float]":
    """Lines of one log by second, from the probe's counts, or from the log events where it gave none."""
    counts = _lines(evidence.readings)
    counts = counts[counts["probe"] == probe].rename(columns={"value": "count"})
    if counts.empty:
        counts = evidence.log[evidence.log["probe"] == probe]
    by_second = counts["count"].astype("float64").groupby(np.floor(counts["at_s"])).sum()
    return by_second.sort_index()


def _lines(readings: pd.DataFrame) -> pd.DataFrame:
    return readings[readings["metric"] == "log_lines"]
