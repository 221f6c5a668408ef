"""What Stage does anyway: moments when all of it stood still, and failures that come in bursts."""

from dataclasses import dataclass

import numpy as np

from replay.judge.arrays import Flags, Times

NOISE_BLOCK_S = 5.0
STALL_S = 0.5
_BEFORE_STALL_S, _AFTER_STALL_S = 1.2, 0.7
_ASKED = 5
_SPELL = 3  # failures, or successes, that are more than one by chance


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which requests were due and none succeeded anywhere."""

    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        """How long it was."""
        return self.to_s - self.from_s


def find_stalls(due_s: Times, done_s: Times, good: Flags, end_s: float) -> tuple[Stall, ...]:
    """The stalls of an arm, in the order of time: more than 0.5 s without a success while at least 5 requests fell due.

    ``due_s`` and ``done_s`` (arm seconds) and ``good`` (whether it succeeded) are (n,), one for each request in any
    order; ``end_s`` is when the arm ended. No requests, no stalls. An arm with little traffic has such pauses by
    nature; what was not asked for cannot fail.
    """
    successes = np.sort(done_s[good])
    if not len(due_s):
        return ()
    edges = np.concatenate(([min(0.0, float(due_s.min()))], successes, [max(end_s, float(due_s.max()))]))
    gaps = np.flatnonzero(np.diff(edges) > STALL_S)
    due = np.sort(due_s)
    first = np.searchsorted(due, edges[gaps], side="left")
    last = np.searchsorted(due, edges[gaps + 1], side="left")
    stalls = []
    for gap, start, stop in zip(gaps, first, last, strict=True):
        if stop - start < _ASKED:
            continue
        begin, end = max(float(edges[gap]), float(due[start])), float(edges[gap + 1])
        if end - begin > STALL_S:
            stalls.append(Stall(begin, end))
    return tuple(stalls)


def near_stall(at_s: Times, stalls: tuple[Stall, ...]) -> Flags:
    """Which of the moments, (n,) in arm seconds, lie from 1.2 s before to 0.7 s after a stall: (n,)."""
    return within(at_s, at_s, [(stall.from_s - _BEFORE_STALL_S, stall.to_s + _AFTER_STALL_S) for stall in stalls])


def within(from_s: Times, to_s: Times, windows: list[tuple[float, float]]) -> Flags:
    """Which of the intervals ``from_s`` to ``to_s``, both (n,), touch one of the windows (start, end): (n,).

    All are in seconds of one clock. Windows may overlap and come in any order; an edge touches. Without any, none does.
    """
    if not windows:
        return np.zeros(len(from_s), dtype=np.bool_)
    merged = merge(windows)
    starts = np.array([start for start, _ in merged])
    ends = np.array([end for _, end in merged])
    # The last window that starts before the interval ends is the only one that may reach into it.
    at = np.searchsorted(starts, to_s, side="right") - 1
    touched: Flags = (at >= 0) & (ends[np.maximum(at, 0)] >= from_s)
    return touched


def merge(windows: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The windows in order, those that touch as one."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def longest_outage(at_s: Times, end_s: Times, bad: Flags) -> tuple[float, float]:
    """(length, start) of the longest time with nothing but failures: 3 or more in a row; (0, 0) where there is none.

    ``at_s`` (when each request was sent), ``end_s`` (when it ended, in arm seconds as well) and ``bad`` are (n,), of
    one endpoint. Requests are taken in the order in which they were sent; the time, in seconds, runs from the first
    failure's sending to the last one's end, or to the next success's sending where that is earlier.
    """
    longest, start = 0.0, 0.0
    order = np.lexsort((end_s, at_s))
    sent, ended, failed = at_s[order], end_s[order], bad[order]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], failed, [False])).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    for first, stop in runs[runs[:, 1] - runs[:, 0] >= _SPELL].tolist():
        last = float(ended[first:stop].max())
        if stop < len(sent):
            last = max(float(sent[stop - 1]), min(last, float(sent[stop])))
        if last - float(sent[first]) > longest:
            longest, start = last - float(sent[first]), float(sent[first])
    return (longest, start)


def recovery(at_s: Times, end_s: Times, bad: Flags, calm_s: float = 2.0) -> tuple[float | None, float | None]:
    """(when it broke, when it came back) of one endpoint, in arm seconds; None where it never did.

    ``at_s`` (when each request was sent), ``end_s`` (when it ended) and ``bad`` are (n,), in any order.

    A spell of failures ends with a success that no failure follows within ``calm_s``; at the arm's end three successes
    do. What counts are the spells of 3 failures or more, or all where none has so many: it broke when the first failure
    of the first of them was seen, and came back with the success that ended the last.
    """
    if not bad.any():
        return (None, None)
    order = np.lexsort((at_s, end_s))
    ended, failed = end_s[order], np.flatnonzero(bad[order])
    failed_s = ended[failed]
    parted = np.flatnonzero((np.diff(failed) > 1) & (np.diff(failed_s) >= calm_s))
    first, last = np.concatenate(([0], parted + 1)), np.concatenate((parted, [len(failed) - 1]))
    long = np.flatnonzero(last - first + 1 >= _SPELL)
    counted = long if len(long) else np.arange(len(first))
    return (float(failed_s[first[counted[0]]]), _back_s(ended, int(failed[last[counted[-1]]]), calm_s))


def _back_s(ended: Times, failed: int, calm_s: float) -> float | None:
    """The end of the first success after a failure that is a spell's last; None where those after it prove nothing."""
    successes = len(ended) - 1 - failed
    calm = successes > 0 and ended[-1] - ended[failed] >= calm_s
    return float(ended[failed + 1]) if calm or successes >= _SPELL else None
