"""What is going on in an arm, read from its evidence while it is written: for whoever watches, and for abort rules."""

import contextlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from replay.evidence.files import ArmFolder
from replay.evidence.rollup import MERGED
from replay.evidence.values import LATELY_S, Outcome, expected_outcome, fails_now
from replay.parquet import read_parquet

_LOOK_EVERY_S = 1.0
_OBSERVED = ["endpoint", "due_s", "done_s", "outcome", "expected_status", "expected_shape"]
_READ = ["at_s", "metric", "value", "detail"]


@dataclass(frozen=True, slots=True)
class Known:
    """A request that is accounted for: when that was, and whether it failed otherwise than in the capture."""

    at_s: float
    endpoint: str
    failed: bool


@dataclass(frozen=True, slots=True)
class LockSight:
    """The longest wait for a lock that was seen last, how many waited, and what held them up."""

    waited_s: float
    queued: int
    behind: str


@dataclass(frozen=True, slots=True)
class Sight:
    """An arm at ``at_s``.

    ``observed`` requests are accounted for. Rates are those of the last five seconds: ``asked_per_s`` were due,
    ``answered_per_s`` came to an end. ``endpoints`` maps each endpoint to since when it fails, None where it does not.
    ``lock`` and ``lag_s`` (of the replica that is furthest behind) are None where nobody waits, or nothing was read.
    """

    at_s: float
    observed: int = 0
    asked_per_s: float = 0.0
    answered_per_s: float = 0.0
    endpoints: tuple[tuple[str, float | None], ...] = ()
    lock: LockSight | None = None
    lag_s: float | None = None

    @property
    def red(self) -> tuple[tuple[str, float], ...]:
        """The endpoints that fail, with since when, the first to fail first."""
        failing = [(name, since_s) for name, since_s in self.endpoints if since_s is not None]
        return tuple(sorted(failing, key=lambda one: (one[1], one[0])))


class Watch:
    """Watches one arm's folder. ``due`` are how many requests are due in each second of it.

    ``window_s`` is how long requests are remembered at least, in ``recent``. ``sent`` and ``failed`` count them.
    """

    def __init__(self, folder: ArmFolder, due: Iterable[int] = (), window_s: float = LATELY_S) -> None:
        self._folder = folder.path
        self._due = tuple(due)
        self._window_s = max(window_s, LATELY_S)
        self._seen: dict[str, set[Path]] = {}
        self._red: dict[str, float | None] = {}
        self._lag: dict[str, tuple[float, float]] = {}  # by replica: when read, seconds behind
        self._lock: tuple[float, LockSight] | None = None
        self._last = Sight(-_LOOK_EVERY_S)
        self.recent: deque[Known] = deque()
        self.sent = 0
        self.failed = 0

    def look(self, now_s: float, *, anew: bool = False) -> Sight:
        """The arm at ``now_s``: a second old at most, as its evidence is; ``anew`` as it is just now."""
        if not anew and now_s - self._last.at_s < _LOOK_EVERY_S:
            return self._last
        rows = self._new("observations", _OBSERVED)
        new = [_known(row) for row in rows]
        sent = [row["outcome"] != Outcome.UNSENT for row in rows]
        self.sent += sum(sent)
        self.failed += sum(one.failed for one, was_sent in zip(new, sent, strict=True) if was_sent)
        self.recent.extend(new)
        while self.recent and self.recent[0].at_s < now_s - self._window_s:
            self.recent.popleft()
        lately = [one for one in self.recent if one.at_s > now_s - LATELY_S]
        self._judge(lately)
        self._take_readings()
        from_s = max(0, int(now_s - LATELY_S))
        length_s = max(1.0, min(now_s, LATELY_S))
        self._last = Sight(
            at_s=now_s,
            observed=self._last.observed + len(new),
            asked_per_s=sum(self._due[from_s : max(0, int(now_s))]) / length_s,
            answered_per_s=len(lately) / length_s,
            endpoints=tuple(sorted(self._red.items())),
            lock=self._lock[1] if self._lock and self._lock[0] > now_s - 2 * _LOOK_EVERY_S else None,
            lag_s=max((behind_s for _, behind_s in self._lag.values()), default=None),
        )
        return self._last

    def _judge(self, lately: Iterable[Known]) -> None:
        """Which endpoints fail now. One that nobody asked for lately stays as it was."""
        by_endpoint: dict[str, list[Known]] = {}
        for one in lately:
            by_endpoint.setdefault(one.endpoint, []).append(one)
        for endpoint, own in by_endpoint.items():
            failed = [one.at_s for one in own if one.failed]
            fails = fails_now(len(failed), len(own))
            since_s = self._red.get(endpoint)
            self._red[endpoint] = (min(failed) if since_s is None else since_s) if fails else None

    def _take_readings(self) -> None:
        waits: dict[float, list[tuple[float, dict[str, Any]]]] = {}
        for row in self._new("readings", _READ):
            if row["metric"] == "replica_lag_s":
                replica = str(json.loads(row["detail"]).get("replica", ""))
                self._lag[replica] = max(self._lag.get(replica, (-1.0, 0.0)), (row["at_s"], row["value"]))
            elif row["metric"] == "lock_wait_s":
                waits.setdefault(row["at_s"], []).append((row["value"], json.loads(row["detail"])))
        if waits:
            at_s = max(waits)
            waited_s, detail = max(waits[at_s], key=lambda one: one[0])
            self._lock = at_s, LockSight(waited_s, len(waits[at_s]), _holder(detail))

    def _new(self, kind: str, columns: list[str]) -> list[dict[str, Any]]:
        """The rows of the segments that have come since the last look."""
        rows: list[dict[str, Any]] = []
        files = [file for file in sorted((self._folder / kind).glob("*.parquet")) if not file.name.startswith(MERGED)]
        # What was merged since need not be remembered: its rows were seen in its parts.
        seen, self._seen[kind] = self._seen.get(kind, set()), set(files)
        for file in files:
            if file not in seen:
                with contextlib.suppress(OSError, pa.ArrowException):
                    rows += read_parquet(file, columns).to_pylist()
        return rows


def _known(row: dict[str, Any]) -> Known:
    expected = expected_outcome(row["expected_status"], row["expected_shape"])
    at_s = row["due_s"] if row["done_s"] is None else row["done_s"]
    return Known(at_s, row["endpoint"], row["outcome"] not in {str(Outcome.OK), str(expected)})


def _holder(detail: dict[str, Any]) -> str:
    """What holds up whoever waits: the step, or else the application at the end of the chain."""
    chain = [link for link in detail.get("blocked_by") or [] if isinstance(link, dict)]
    steps = [str(link["step"]) for link in chain if link.get("step")]
    return steps[0] if steps else str(chain[-1].get("application") or "") if chain else ""
