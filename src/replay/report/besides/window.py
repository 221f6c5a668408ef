"""How long the steps take in a maintenance window, and whether that is safe, as the arm without traffic shows it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import QUIET, WAIT
from replay.judge.findings import listed, short
from replay.judge.probes.direct import replica_lag
from replay.judge.probes.waits import detail_of
from replay.report import formats, frames
from replay.report.frames import StepSpan
from replay.report.story import Story

_CAUGHT_UP_S = 1.0
_MOST_LOCKS = 3
_A_MOMENT_S = 0.1


def window_sentences(story: Story) -> list[str]:
    """What the arm without traffic showed, and what was not read there. Empty where the steps were not tried so."""
    arm = story.arm(QUIET) if QUIET in story.workloads else None
    spans = [] if arm is None else frames.step_spans(arm)
    if arm is None or not spans:
        return []
    told = [f"In a maintenance window, without any traffic, the steps took {_took(spans)}"]
    unread = []
    for part, missing in (_replicas(arm, spans), _log(story, arm, spans), _waits(arm), _held(arm)):
        told += [part] if part else []
        unread += [missing] if missing else []
    sentences = [f"{'; '.join(told)}."]
    if arm.info.state != "complete":
        sentences.append(f"That arm is {arm.info.state}{f': {arm.info.reason}' if arm.info.reason else ''}.")
    sentences += [str(one["explanation"]) for one in _against(story)]
    return sentences + ([f"Not read there: {', '.join(unread)}."] if unread else [])


def _against(story: Story) -> Iterator[dict[str, object]]:
    """What the judge holds against the steps there, apart from those that failed: they are told already."""
    for one in story.findings:
        if one["workload"] == QUIET and one["severity"] != "note" and one["metric"] not in _STEPS:
            yield one


_STEPS = ("step_failed", "rollback_failed")


def _took(spans: list[StepSpan]) -> str:
    took_s = sum(span.duration_s or 0.0 for span in spans if span.kind != WAIT)
    failed = [f"“{span.name}”" for span in spans if span.failed]
    open_ = [f"“{span.name}”" for span in spans if span.ended_s is None]
    outcome = "and all of them succeeded"
    if failed:
        outcome = f"and {' and '.join(failed)} failed there too"
    if open_:
        outcome += f"{',' if failed else ' as far as they came to their end:'} {' and '.join(open_)} never ended"
    return f"{formats.seconds(took_s)}, {outcome}"


def _end_s(spans: list[StepSpan]) -> float:
    return max(span.started_s if span.ended_s is None else span.ended_s for span in spans)


def _replicas(arm: ArmEvidence, spans: list[StepSpan]) -> tuple[str, str]:
    """How far the replica that fell furthest behind did, and when it had caught up."""
    lags = replica_lag(arm.readings, "replica_lag_s")
    if not lags:
        return "", "a replica"
    name, (at_s, value) = max(lags.items(), key=lambda item: float(item[1][1].max(initial=0.0)))
    furthest = int(np.argmax(value))
    behind = formats.seconds(float(value[furthest]))
    in_bytes = replica_lag(arm.readings, "replica_lag_bytes").get(name)
    much = f" ({formats.size(float(in_bytes[1].max()))})" if in_bytes is not None and len(in_bytes[1]) else ""
    if value[furthest] <= _CAUGHT_UP_S:
        return f"{'the replica' if len(lags) == 1 else 'each replica'} kept up, {behind} behind at most", ""
    again = at_s[furthest:][value[furthest:] <= _CAUGHT_UP_S]
    if not len(again):
        return f"the replica {name} fell {behind}{much} behind and had not caught up when the arm ended", ""
    after_s = float(again[0]) - _end_s(spans)
    when = f"{formats.seconds(after_s)} after the last step" if after_s > 0 else "before the last step ended"
    return f"the replica {name} fell {behind}{much} behind at most and had caught up {when}", ""


def _log(story: Story, arm: ArmEvidence, spans: list[StepSpan]) -> tuple[str, str]:
    """The lines of the error log that are like none before the steps, nor without them."""
    if arm.log.empty and not (arm.readings["metric"] == "log_lines").any():
        return "", "an error log"
    from_s = min(span.started_s for span in spans)
    late = arm.log["at_s"] + 1 > from_s
    controls = [one.log["template"] for one in story.arms if not one.info.steps]
    known = set(pd.concat([arm.log["template"][~late], *controls]))
    new = arm.log[late & ~arm.log["template"].isin(known)]
    count = int(new["count"].sum())
    if not count:
        return "the error log got no line like none without the steps", ""
    most = str(new.groupby("template")["count"].sum().sort_index().idxmax())
    lines = f"{count:,} line{'s' * (count != 1)} like none without the steps"
    return f"the error log got {lines}, most often “{short(most, 100)}”", ""


def _waits(arm: ArmEvidence) -> tuple[str, str]:
    longest, waiting = frames.peak(arm, "lock_wait_s"), frames.peak(arm, "waiting_backends")
    if longest is None and waiting is None:
        return "", "who waited for a lock"
    return (f"somebody waited {formats.seconds(longest)} for a lock" if longest else "nobody waited for a lock"), ""


def _held(arm: ArmEvidence) -> tuple[str, str]:
    told = held_sentence(arm)
    return told, "" if told else "which locks the steps held"


def held_sentence(arm: ArmEvidence) -> str:
    """The locks that the steps were seen to hold in an arm, the longest first; empty where none was seen."""
    rows = arm.readings[arm.readings["metric"] == "lock_held_s"]
    held: dict[tuple[str, str], float] = {}
    for value, text in zip(rows["value"], rows["detail"], strict=True):
        detail = detail_of(text)
        lock = str(detail.get("lock_mode") or ""), str(detail.get("relation") or "")
        held[lock] = max(held.get(lock, 0.0), float(value))
    if not held:
        return ""
    longest = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{mode} on {relation} {_for(held_s)}" for (mode, relation), held_s in longest]
    return f"the steps held {listed(told, _MOST_LOCKS)}"


def _for(held_s: float) -> str:
    """How long a lock was held, in words; one that a single look saw may have been held for less than any figure."""
    return f"for {formats.seconds(held_s)}" if held_s >= _A_MOMENT_S else "for a moment"
