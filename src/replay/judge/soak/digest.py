"""An arm's requests, counted while its evidence is read: many hours need no more memory than some minutes.

Latencies are counted in steps of 1%, which is how exact the quantiles are.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from replay.evidence.values import Outcome
from replay.judge.answers.differences import OUTCOMES, expected_outcomes
from replay.judge.answers.texts import texts_of
from replay.judge.arrays import Values, Whole

COLUMNS = (
    "request",
    "endpoint",
    "due_s",
    "waited_s",
    "sent_s",
    "done_s",
    "status",
    "outcome",
    "expected_status",
    "expected_shape",
)
_FROM_S = 1e-5
_STEP = np.log(1.01)
_STEPS = 2048  # up to some hours
_EMPTY = 12  # tables that are held before they are put together
_SPREAD = 4
_MOST_FLAGS = 2**31
ALL = "*"


@dataclass(slots=True)
class Histogram:
    """Lengths of time, counted in steps of 1%."""

    counts: Whole = field(default_factory=lambda: np.zeros(_STEPS, dtype=np.int64))

    def add(self, seconds: Values) -> None:
        """Count some more; nan is none."""
        self.counts += np.bincount(steps_of(seconds[np.isfinite(seconds)]), minlength=_STEPS)

    @property
    def total(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float | None:
        """A quantile in seconds; None where there is nothing."""
        total = int(self.counts.sum())
        if not total:
            return None
        return float(_seconds_of(np.searchsorted(np.cumsum(self.counts), max(1.0, q * total))))


def steps_of(seconds: Values) -> Whole:
    """The step that each length of time falls into."""
    found: Whole = np.floor(np.log(np.maximum(seconds, _FROM_S) / _FROM_S) / _STEP).astype(np.int64)
    return np.clip(found, 0, _STEPS - 1)


def _seconds_of(step: Any) -> Any:
    return np.where(step <= 0, 0.0, _FROM_S * np.exp((step + 0.5) * _STEP))


class Digest:
    """Takes an arm's observations, table by table. ``planned`` is how many requests there are, ``block_s`` a block's.

    A request *failed* where its outcome is neither ok nor the captured one; what was not sent is counted apart.
    """

    def __init__(self, planned: int, block_s: float) -> None:
        self.block_s = block_s
        self.observed = 0
        self.answered = 0
        self.twice = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()  # by endpoint and outcome
        self.failed: Counter[str] = Counter()
        self.latencies: dict[str, Histogram] = {}
        self.lateness = Histogram()
        self.unknown: set[str] = set()
        # Numbers go beyond ``planned`` where some requests are answered without being sent; zeros take no memory.
        self._seen = np.zeros(min(max(0, planned) * _SPREAD, _MOST_FLAGS), dtype=np.bool_)
        self._beyond: Whole = np.zeros(0, dtype=np.int64)
        self._endpoints: dict[str, int] = {}
        self._cells: list[tuple[Whole, Whole]] = []  # (endpoint, block, failed, step of the latency) as one number

    def add(self, rows: pd.DataFrame) -> None:
        """Count observations; of Observation's columns those in ``COLUMNS`` are needed."""
        if not len(rows):
            return
        self.observed += len(rows)
        self._count_twice(rows["request"].to_numpy(np.int64))
        outcome, endpoint = texts_of(rows["outcome"]), texts_of(rows["endpoint"])
        self.unknown |= set(outcome.names) - set(OUTCOMES)
        unsent = outcome.are(Outcome.UNSENT)
        failed = ~unsent & ~outcome.are(Outcome.OK) & (outcome.as_in(OUTCOMES) != expected_outcomes(rows))
        names, which = endpoint.names, endpoint.codes
        numbers = np.array([self._endpoints.setdefault(name, len(self._endpoints)) for name in names])
        for name, count in endpoint.of(failed).counts().items():
            self.failed[name] += count
        for at, name in enumerate(names):
            for kind, count in outcome.of(which == at).counts().items():
                self.outcomes[name, kind] += count
        due, waited, sent, done = (
            rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("due_s", "waited_s", "sent_s", "done_s")
        )
        self.lateness.add(np.maximum(sent - due - waited, 0.0))
        answered = rows["status"].notna().to_numpy()
        self.answered += int(answered.sum())
        latency = np.where(answered & ~failed, done - sent, np.nan)
        for at, name in enumerate(names):
            self.latencies.setdefault(name, Histogram()).add((done - sent)[answered & (which == at)])
        block = np.maximum(0, (due + waited) // self.block_s).astype(np.int64)
        step = np.where(np.isfinite(latency), steps_of(np.nan_to_num(latency, nan=1.0)), _STEPS)
        cells = ((numbers[which] * 2**32 + block) * 2 + failed) * (_STEPS + 1) + step
        self._cells.append(_counted(cells[~unsent]))
        if len(self._cells) > _EMPTY:
            self._cells = [self._together()]

    @property
    def names(self) -> list[str]:
        """The endpoints, after the name that stands for all of them."""
        return [ALL, *sorted({name for name, _ in self.outcomes})]

    def sent(self, endpoint: str = ALL) -> int:
        """How many requests were sent to an endpoint."""
        return sum(
            count
            for (name, outcome), count in self.outcomes.items()
            if endpoint in {name, ALL} and outcome != Outcome.UNSENT
        )

    def latency(self, endpoint: str = ALL) -> Histogram:
        """The times of an endpoint's answers."""
        if endpoint != ALL:
            return self.latencies.get(endpoint, Histogram())
        every = Histogram()
        for one in self.latencies.values():
            every.counts += one.counts
        return every

    def blocks(self, blocks: int) -> dict[str, pd.DataFrame]:
        """For each endpoint a row for each of so many blocks: requests, failed, p50_s and p95_s (nan where too few)."""
        cells, counts = self._together()
        step, rest = cells % (_STEPS + 1), cells // (_STEPS + 1)
        failed, rest = rest % 2, rest // 2
        block, endpoint = rest % 2**32, rest // 2**32
        found = {}
        for name, number in sorted(self._endpoints.items()):
            mine = (endpoint == number) & (block < blocks)
            frame = pd.DataFrame(
                {
                    "requests": np.bincount(block[mine], counts[mine], blocks),
                    "failed": np.bincount(block[mine], counts[mine] * failed[mine], blocks),
                }
            )
            fine = mine & (step < _STEPS)
            quantiles = _quantiles(block[fine], step[fine], counts[fine], blocks)
            found[name] = frame.assign(p50_s=quantiles[:, 0], p95_s=quantiles[:, 1])
        return found

    def _count_twice(self, numbers: Whole) -> None:
        unique = numbers if (np.diff(numbers) > 0).all() else np.unique(numbers)
        self.twice += len(numbers) - len(unique)
        flagged = (unique >= 0) & (unique < len(self._seen))
        inside, beyond = unique[flagged], unique[~flagged]
        self.twice += int(self._seen[inside].sum())
        self._seen[inside] = True
        if len(beyond):
            both = np.union1d(self._beyond, beyond)
            self.twice += len(self._beyond) + len(beyond) - len(both)
            self._beyond = both

    def _together(self) -> tuple[Whole, Whole]:
        if not self._cells:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        cells = np.concatenate([cells for cells, _ in self._cells])
        weights = np.concatenate([counts for _, counts in self._cells])
        unique, where = np.unique(cells, return_inverse=True)
        return unique, np.bincount(where, weights, len(unique)).astype(np.int64)


_FEWEST_P50, _FEWEST_P95 = 5, 20


def _quantiles(block: Whole, step: Whole, counts: Whole, blocks: int) -> Values:
    """(blocks, 2): p50 and p95 of each block."""
    found = np.full((blocks, 2), np.nan)
    order = np.lexsort((step, block))
    block, step, counts = block[order], step[order], counts[order]
    edges = np.searchsorted(block, np.arange(blocks + 1))
    for number, (first, stop) in enumerate(pairwise(edges)):
        if stop == first:
            continue
        so_far = np.cumsum(counts[first:stop])
        for at, (q, fewest) in enumerate(((0.5, _FEWEST_P50), (0.95, _FEWEST_P95))):
            if so_far[-1] >= fewest:
                found[number, at] = _seconds_of(step[first + np.searchsorted(so_far, q * so_far[-1])])
    return found


def _counted(cells: Whole) -> tuple[Whole, Whole]:
    unique, counts = np.unique(cells, return_counts=True)
    return unique, counts.astype(np.int64)
