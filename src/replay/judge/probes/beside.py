"""What probes saw just when an endpoint failed or was slow: a replica's lag, the error log, waits for a lock.

It stands in the finding's evidence and proves nothing: a cause that is proven is the finding's root.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from replay.judge.case import Case, named_root
from replay.judge.effects.noise import merge
from replay.judge.findings import NOTE, Finding, seconds, short
from replay.judge.probes.contention import METRIC as CONTENTION
from replay.judge.probes.direct import OF_ANOTHER, log_lines, replica_lag

AT_THE_SAME_TIME = "at_the_same_time"
_MOST = 3
_WAITED_S = 0.25
_BEHIND_S = 1.0  # further than without the steps
_Windows = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Sight:
    """Something that a probe saw in some ``windows`` (from, to; arm seconds): ``what`` it was, in words.

    Of what overlaps alike, that with more ``lines`` comes first. ``roots`` are what findings call it of which it is
    the proven cause.
    """

    what: str
    probe: str
    windows: _Windows
    roots: frozenset[str] = frozenset()
    lines: int = 0

    def overlap_s(self, from_s: float, to_s: float) -> float:
        """How long it was seen between two moments."""
        return sum(max(0.0, min(to_s, end) - max(from_s, start)) for start, end in self.windows)


def with_what_was_beside(findings: Sequence[Finding], cases: Iterable[Case]) -> list[Finding]:
    """The findings, those of endpoints that are no notes with the three sights that overlap most with their time."""
    by_arm = {case.arm: case for case in cases}
    seen = {arm: [*_sights(case), *_contentions(findings, case)] for arm, case in by_arm.items()}
    return [
        _beside(one, by_arm[one.arm], seen[one.arm])
        if one.endpoint is not None and one.severity != NOTE and one.arm in by_arm
        else one
        for one in findings
    ]


def _beside(finding: Finding, case: Case, sights: Sequence[Sight]) -> Finding:
    from_s, to_s = _time_of(finding, case)
    known = {finding.root, finding.evidence.get("cause")}
    met = [(one.overlap_s(from_s, to_s), one) for one in sights if not one.roots & known]
    most = sorted(
        (pair for pair in met if pair[0] > 0), key=lambda pair: (-round(pair[0]), -pair[1].lines, pair[1].what)
    )[:_MOST]
    if not most:
        return finding
    told = [{"what": one.what, "probe": one.probe, "overlap_s": overlap_s} for overlap_s, one in most]
    return dataclasses.replace(finding, evidence={**finding.evidence, AT_THE_SAME_TIME: told})


def _time_of(finding: Finding, case: Case) -> tuple[float, float]:
    """From when to when the finding was seen, within its phase."""
    from_s, to_s = case.first_step_s, case.end_s
    for number, span in enumerate(case.spans):
        after = case.spans[number + 1].started_s if number + 1 < len(case.spans) else case.end_s
        if finding.phase == span.during:
            from_s, to_s = span.started_s, span.end_s(case.end_s)
        elif finding.phase == span.after:
            from_s, to_s = span.end_s(case.end_s), after
    begins = max(from_s, finding.first_bad_s or 0.0)
    ends = to_s if finding.recovered_s is None else min(to_s, finding.recovered_s)
    return (begins, ends) if begins < ends else (from_s, to_s)


def _sights(case: Case) -> list[Sight]:
    return [*_lags(case), *_log(case), *_waits(case)]


def _lags(case: Case) -> Iterator[Sight]:
    """The replicas that were further behind than ever without the steps."""
    for replica, (at_s, value) in replica_lag(case.steps.readings, "replica_lag_s").items():
        known = [replica_lag(control.readings, "replica_lag_s").get(replica) for control in case.controls]
        usual = max([0.0, *(float(one[1].max()) for one in known if one is not None and len(one[1]))])
        later = at_s >= case.first_step_s
        usual = max(usual, float(value[~later].max(initial=0.0)))
        behind = later & (value > usual + _BEHIND_S)
        if not behind.any():
            continue
        until_s = np.append(at_s[1:], case.end_s)
        windows = merge([(float(at_s[n]), float(until_s[n])) for n in np.flatnonzero(behind)])
        told = f"the replica {replica} was up to {seconds(float(value[behind].max()))} behind"
        yield Sight(told, _probe_of(case, "replica_lag_s"), windows)


def _log(case: Case) -> Iterator[Sight]:
    """The templates of the error log that are new, or so frequent as in a flood."""
    limits, log = case.criteria, case.steps.log
    since = log[log["at_s"] + 1 > case.first_step_s]
    usual = {str(probe): _usual(case, str(probe)) for probe in since["probe"].unique()}
    for (probe, template), lines in since.groupby(["probe", "template"], sort=True):
        by_second = lines.groupby(np.floor(lines["at_s"]))["count"].sum()
        if str(template).startswith(OF_ANOTHER):  # a line of a traceback tells little by itself
            continue
        is_new = template not in case.known_templates
        known = usual[str(probe)]
        least = max(limits.log_flood_ratio * known, known + limits.log_flood_lines)
        told = by_second if is_new else by_second[by_second >= least]
        if told.empty:
            continue
        most, total = int(told.max()), int(told.sum())
        how = f"up to {most} lines a second" if most >= limits.log_flood_lines else f"{total} line{'s' * (total != 1)}"
        new = ", which it never had without the steps" if is_new else ""
        windows = merge([(float(second), float(second) + 1.0) for second in told.index])
        roots = frozenset(named_root(str(line)) for line in lines["example"].unique())
        yield Sight(f'{how} "{short(str(template), 100)}" in the error log{new}', str(probe), windows, roots, total)


def _usual(case: Case, probe: str) -> float:
    """The most lines that a log got in a second without the steps."""
    lines = log_lines(case.steps, probe)
    quiet = [
        *(log_lines(control, probe) for control in case.controls),
        lines[lines.index < np.floor(case.first_step_s)],
    ]
    return max((float(one.max()) for one in quiet if len(one)), default=0.0)


def _waits(case: Case) -> Iterator[Sight]:
    """The waits for a lock behind a step."""
    for queue in case.queues:
        if queue.longest_s >= _WAITED_S:
            behind = f"{short(queue.statement, 90)!r} of step {queue.step!r}"
            told = f"the application waited up to {seconds(queue.longest_s)} for a lock behind {behind}"
            yield Sight(told, queue.probe, queue.waits, frozenset({queue.root}))


def _contentions(findings: Sequence[Finding], case: Case) -> Iterator[Sight]:
    """The sessions that waited for each other, from when on that was seen."""
    for one in findings:
        if one.arm == case.arm and one.metric == CONTENTION and one.first_bad_s is not None:
            told = f"{one.observed or 0.0:.1f} {one.root}"
            yield Sight(told, str(one.probe), [(one.first_bad_s, case.end_s)], frozenset({str(one.root)}))


def _probe_of(case: Case, metric: str) -> str:
    readings = case.steps.readings
    return str(readings["probe"][readings["metric"] == metric].iloc[0])
