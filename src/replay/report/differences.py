"""What differs from pre-production: one line a symptom, its figure under either traffic.

Where no pre-production was rehearsed, production's control arm (no steps) stands in its place, and the heading says so.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from replay.evidence.run import ArmEvidence
from replay.report import formats, frames, locks
from replay.report.story import PRODUCTION, EndpointRow, Story

NOT_MEASURED = "not measured"
NOT_REHEARSED = "not rehearsed"
_ALARM = 1000.0  # the figure of what is bad whatever it is compared with
_MIGRATE = "migrate"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One line: what to look at, and what it was in either arm. ``worse`` where production stands out."""

    name: str
    before: str
    production: str
    worse: bool


@dataclass(frozen=True, slots=True)
class Table:
    """The lines with the headings of their two columns."""

    before: str
    production: str
    symptoms: list[Symptom]


@dataclass(frozen=True, slots=True)
class _Side:
    """One column: an arm, and what the judge says of its endpoints.

    ``others`` are further arms of the same kind: repetitions, controls, those of a second pair. ``left`` says that a
    rollback left something otherwise than it was.
    """

    arm: ArmEvidence | None
    endpoints: list[EndpointRow]
    others: tuple[ArmEvidence, ...]
    left: bool = False
    control: bool = False


_How = Callable[[_Side], tuple[str, float | None]]


def compare(story: Story) -> Table:
    """The table for a run. Without an arm that ran the steps it has no lines."""
    main = _side(story, story.main)
    if main.arm is None:
        return Table("", "", [])
    role = story.workloads.get(story.main or "", "")
    heading = "Production" if role == PRODUCTION else f"Workload {story.main}"
    if story.before is None:
        control = _side(story, story.main, control=True)
        return Table("Without the change", "With it", _symptoms(story, control, main))
    return Table("Pre-production", heading, _symptoms(story, _side(story, story.before), main))


def _side(story: Story, workload: str | None, *, control: bool = False) -> _Side:
    shown = story.arm(workload, steps=not control)
    alike = [arm for arm in story.arms if (arm.info.workload, arm.info.steps) == (workload, not control)]
    left = not control and bool(story.findings_of("data_after_rollback", workload=workload))
    others = tuple(arm for arm in alike if arm is not shown)
    return _Side(shown, story.endpoint_rows(workload), others, left=left, control=control)


def _symptoms(story: Story, before: _Side, main: _Side) -> list[Symptom]:
    any_slow = any(row.slow for side in (before, main) for row in side.endpoints)
    pairs = [
        ("Endpoints that broke", *_pair(_broke, before, main)),
        *([("Endpoints that became slow", *_pair(_slow, before, main))] if any_slow else []),
        ("Requests that failed", *_pair(_failed, before, main)),
        ("Empty answers", *_pair(_empty, before, main)),
    ]
    if any(span.kind == _MIGRATE for span in story.step_spans(story.main)):
        pairs.append(("The migration took", *_pair(_worst(_migration), before, main)))
    pairs += [
        ("Lock queue at its longest", *_pair(_worst(_queue), before, main)),
        ("Replica behind, at most", *_pair(_worst(_lag), before, main)),
        ("Error-log lines, busiest second", *_pair(_worst(_log), before, main)),
    ]
    if any(span.kind == "rollback" for span in story.step_spans(story.main)):
        pairs.append(("Rolling the data back", *_pair(_worst(_rollback), before, main)))
    pairs.append(("Recovered", *_pair(_recovery, before, main)))
    return [Symptom(*pair) for pair in pairs]


def _pair(how: _How, before: _Side, main: _Side) -> tuple[str, str, bool]:
    """Both texts, and whether production's figure stands out: more than twice the other's, and by enough to matter."""
    texts, values = [], []
    for side in (before, main):
        text, value = (NOT_REHEARSED, None) if side.arm is None else how(side)
        texts.append(text)
        values.append(value)
    other, mine = values
    if mine is None or (other is None and mine < _ALARM):
        return texts[0], texts[1], False
    worse = mine > 1 and mine > 2 * (other or 0.0)
    return texts[0], texts[1], worse


def _worst(how: _How) -> _How:
    """The same of the arm where it is worst, where a workload met the steps several times."""

    def told(side: _Side) -> tuple[str, float | None]:
        arms = [how(dataclasses.replace(side, arm=arm)) for arm in (side.arm, *side.others)]
        text, value = max(arms, key=lambda one: -1.0 if one[1] is None else one[1])
        alike = all(other == value for _, other in arms)
        return (text if alike else f"{text} (the worst of {len(arms)} arms)"), value

    return told


def _broke(side: _Side) -> tuple[str, float]:
    broke = [] if side.control else [row for row in side.endpoints if row.broke]
    if not broke:
        return f"none of {len(side.endpoints)}", 0
    return f"{len(broke)} of {len(side.endpoints)}, {broke[0].endpoint} first", len(broke) * 10


def _slow(side: _Side) -> tuple[str, float]:
    slow = [] if side.control else [row.slow for row in side.endpoints if row.slow]
    if not slow:
        return f"none of {len(side.endpoints)}", 0
    most = max(one.times for one in slow)
    times = f", up to {formats.times(most)} as long" if most else ""
    return f"{len(slow)} of {len(side.endpoints)}{times}", len(slow) * 10


def _failed(side: _Side) -> tuple[str, float]:
    failed = sum(row.control_failed if side.control else row.failed for row in side.endpoints)
    requests = sum(row.control_requests if side.control else row.requests for row in side.endpoints)
    if not failed:
        return f"none of {requests:,}", 0
    return f"{failed:,} of {requests:,} ({formats.share(failed / requests)})", failed / requests * 200


def _empty(side: _Side) -> tuple[str, float]:
    """The answers that were empty where the capture had content."""
    if side.arm is None or side.arm.observations.empty:
        return formats.MISSING, 0
    told = frames.told_apart(side.arm.observations)
    count = int((told["outcome"] == "empty").sum())
    return (f"{count:,}" if count else "none"), float(count)


def _migration(side: _Side) -> tuple[str, float | None]:
    spans = [] if side.arm is None else [span for span in frames.step_spans(side.arm) if span.kind == _MIGRATE]
    if not spans:
        return formats.MISSING, None
    total = sum(span.duration_s or 0.0 for span in spans)
    if any(span.failed for span in spans):
        return f"failed after {formats.seconds(total)}", _ALARM
    if any(span.ended_s is None for span in spans):
        return "never ended", _ALARM
    return formats.seconds(total), total


def _queue(side: _Side) -> tuple[str, float | None]:
    measured = frames.peak(side.arm, "waiting_backends"), frames.peak(side.arm, "lock_wait_s")
    if side.arm is None or measured == (None, None):
        return NOT_MEASURED, None
    most, longest = locks.queue(side.arm)
    if not most:
        return "none", 0
    return f"{formats.number(most)} waiting, up to {formats.seconds(longest)}", longest


def _lag(side: _Side) -> tuple[str, float | None]:
    lag, behind = frames.peak(side.arm, "replica_lag_s"), frames.peak(side.arm, "replica_lag_bytes")
    if lag is None:
        return NOT_MEASURED, None
    return formats.seconds(lag) + (f", {formats.size(behind)}" if behind is not None else ""), lag


def _log(side: _Side) -> tuple[str, float | None]:
    most = frames.peak(side.arm, "log_lines")
    return (NOT_MEASURED, None) if most is None else (formats.number(most), most / 5)


def _rollback(side: _Side) -> tuple[str, float | None]:
    spans = [] if side.arm is None else [span for span in frames.step_spans(side.arm) if span.kind == "rollback"]
    if not spans:
        return formats.MISSING, None
    if any(span.failed for span in spans):
        return "failed", _ALARM
    if any(span.ended_s is None for span in spans):
        return "never ended", _ALARM
    took = formats.seconds(sum(span.duration_s or 0.0 for span in spans))
    return (f"ended, but left a difference, {took}", _ALARM) if side.left else (f"worked, {took}", 0)


def _recovery(side: _Side) -> tuple[str, float | None]:
    broke = [] if side.control else [row for row in side.endpoints if row.broke]
    if not broke:
        return "nothing broke", 0
    lasting = sum(row.never_recovered for row in broke)
    if lasting:
        return f"{lasting} of {len(broke)} never", _ALARM
    times = [row.recovered_s for row in broke if row.recovered_s is not None]
    return (f"all, the last at {formats.moment(max(times))}", 10) if times else (formats.MISSING, None)
