"""What the probes read, as one level for each block of time, counted while it is read."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replay.judge.arrays import Values

RESTARTED = "process_restarted"
START_TIME = "process_start_time_seconds"  # as Prometheus' own clients name it
# What happens now and then, counts on since a server's start, or has its own place in the verdict.
NO_SERIES = frozenset(
    {
        "probe_failed",
        "lock_wait_s",
        "lock_held_s",
        "long_transaction_s",
        "statement_s",
        RESTARTED,
        START_TIME,
        "invalid_indexes",
        "wal_bytes",
        "deadlocks",
        "temp_files",
        "temp_bytes",
        "checkpoints",
        "sqlite_write_locked_s",
        "sqlite_read_locked_s",
        "log_lines",
    }
)
_COUNTERS = ("_total", "_created", "_bucket", "_sum", "_count")  # as Prometheus names them
_MOST_NAMES = 50
_MOST_STARTS = 1_000
_MOST_MOMENTS = 20


@dataclass(frozen=True, slots=True)
class Restarts:
    """Processes that a probe saw end, ``at_s`` the first of them, and how many came meanwhile."""

    ended: int
    came: int
    at_s: tuple[float, ...]


class Levels:
    """Takes readings table by table, in any order, and keeps the mean of each block of each series."""

    def __init__(self, block_s: float) -> None:
        self._block_s = block_s
        self._sums: dict[tuple[str, str, str], dict[int, tuple[float, int]]] = {}
        self._left_out: Counter[tuple[str, str]] = Counter()
        self.read: Counter[str] = Counter()  # by probe
        self.metrics: set[str] = set()
        self.failed: dict[str, str] = {}  # by probe, why it could not read the last time
        self._last: dict[tuple[str, bool], float] = {}  # when a probe was read last, and when it failed last
        self._changes: dict[str, list[tuple[float, int, int]]] = {}  # by probe: when, how many ended, how many came
        self._starts: dict[tuple[str, str], dict[float, tuple[float, float]]] = {}  # first and last seen, by start

    def add(self, rows: pd.DataFrame) -> None:
        """Take some more; the columns are Reading's."""
        failures = rows["metric"] == "probe_failed"
        self.read.update(map(str, rows["probe"][~failures]))
        for has_failed, some in ((False, rows[~failures]), (True, rows[failures])):
            for probe, at_s in some.groupby("probe")["at_s"].max().items():
                last_s = self._last.get((str(probe), has_failed), -np.inf)
                self._last[str(probe), has_failed] = max(float(at_s), last_s)
        for probe, detail in zip(rows["probe"][failures], rows["detail"][failures], strict=True):
            self.failed[str(probe)] = words_of(str(detail), "error")
        self.metrics |= set(map(str, rows["metric"].unique()))
        self._count_restarts(rows)
        rows = rows[~rows["metric"].isin(NO_SERIES) & ~rows["metric"].str.endswith(_COUNTERS)]
        if not len(rows):
            return
        names = {detail: words_of(str(detail)) for detail in rows["detail"].unique()}
        grouped = (
            rows.assign(name=rows["detail"].map(names), block=(rows["at_s"] // self._block_s).astype("int64"))
            .groupby(["probe", "metric", "name", "block"], sort=True)["value"]
            .agg(["sum", "count"])
        )
        for (probe, metric, name, block), total, count in grouped.itertuples():
            own = self._sums.setdefault((str(probe), str(metric), str(name)), {})
            had, n = own.get(int(block), (0.0, 0))
            own[int(block)] = (had + float(total), n + int(count))

    def _count_restarts(self, rows: pd.DataFrame) -> None:
        changes = rows[rows["metric"] == RESTARTED]
        for probe, at_s, detail in zip(changes["probe"], changes["at_s"], changes["detail"], strict=True):
            gone, come = (len(found) for found in _lists_of(str(detail), "gone", "come"))
            self._changes.setdefault(str(probe), []).append((float(at_s), gone, come))
        told = rows[rows["metric"] == START_TIME]
        columns = (told[name] for name in ("probe", "detail", "at_s", "value"))
        for probe, detail, at_s, start in zip(*columns, strict=True):
            seen = self._starts.setdefault((str(probe), words_of(str(detail))), {})
            if start in seen or len(seen) < _MOST_STARTS:
                first_s, last_s = seen.get(start, (at_s, at_s))
                seen[start] = (min(first_s, at_s), max(last_s, at_s))

    @property
    def restarts(self) -> dict[str, Restarts]:
        """By probe, the processes that ended, where any did.

        A process that Prometheus' client tells the start of has ended where another start is told, and never again its
        own: several that answer in turn are none.
        """
        changes = {probe: list(found) for probe, found in self._changes.items()}
        for (probe, _), seen in self._starts.items():
            ended_s = min(last_s for _, last_s in seen.values())
            changes.setdefault(probe, []).extend((first_s, 1, 1) for first_s, _ in seen.values() if first_s > ended_s)
        return {
            probe: Restarts(
                sum(gone for _, gone, _ in found),
                sum(come for _, _, come in found),
                tuple(sorted(at_s for at_s, gone, _ in found if gone)[:_MOST_MOMENTS]),
            )
            for probe, found in sorted(changes.items())
            if any(gone for _, gone, _ in found)
        }

    def blind_from(self, probe: str) -> float | None:
        """When a probe was read last, where all that came after that is failures; None where it was read to the end."""
        read_s, failed_s = (self._last.get((probe, has_failed), -np.inf) for has_failed in (False, True))
        return read_s if failed_s > read_s > -np.inf else None

    def series(self, blocks: int) -> dict[tuple[str, str, str], Values]:
        """For each (probe, metric, name) the mean in each of so many blocks, nan where nothing was read.

        ``name`` is what the detail's words say: a replica, a series' labels. Metrics of more than fifty names are of
        events, and no series.
        """
        names = Counter((probe, metric) for probe, metric, _ in self._sums)
        found = {}
        for (probe, metric, name), own in sorted(self._sums.items()):
            if names[probe, metric] > _MOST_NAMES:
                continue
            values = np.full(blocks, np.nan)
            for block, (total, count) in own.items():
                if 0 <= block < blocks:
                    values[block] = total / count
            found[probe, metric, name] = values
        return found


def _detail(text: str) -> dict[str, Any]:
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _lists_of(detail: str, *keys: str) -> Iterator[list[Any]]:
    values = _detail(detail)
    for key in keys:
        found = values.get(key)
        yield found if isinstance(found, list) else []


def words_of(detail: str, only: str = "") -> str:
    """The texts of a reading's detail, which tell one series from another; ``only`` that of one key."""
    values = _detail(detail)
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return texts.get(only, "") if only else " ".join(f"{key}={value}" for key, value in sorted(texts.items()))
