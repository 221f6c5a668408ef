"""What came of a replay: its summary as a document, and as a table for people."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from replay.cli.text import plain
from replay.evidence.files import OBSERVATION_SCHEMA, RETRY_SCHEMA
from replay.evidence.rollup import read_segments
from replay.evidence.run import read_info
from replay.evidence.values import Outcome, expected_outcome
from replay.scenario.lacking import kind_of
from replay.scenario.words import many

_WIDTH_IN_A_FILE = 120
_Values = npt.NDArray[np.float64]
_COUNTED = ("endpoint", "due_s", "waited_s", "sent_s", "done_s", "status", "outcome")
_TELLING = ("request", "endpoint", "outcome", "error", "caused_by", "expected_status", "expected_shape")
_LOGIN = "login"  # why an attempt was made that no failure of its own caused


def summarise(run: Path, arm_name: str) -> dict[str, Any]:
    """A run with one arm as plain JSON values: endpoints with their outcomes, what kept requests back, retries."""
    folder = run / "arms" / arm_name
    info = read_info(folder)
    sums = _Sums()
    for rows in _observations(folder, _COUNTED):
        sums.add(rows)
    endpoints = [
        {
            "endpoint": endpoint,
            "requests": counts.total(),
            "outcomes": dict(counts.most_common()),
            **{f"p{share}_s": _quantile(sums.latencies[endpoint], share) for share in (50, 95, 99)},
        }
        for endpoint, counts in sorted(sums.outcomes.items())
    ]
    return {
        "run": str(run),
        "planned": info.planned,
        "observed": sums.observed,
        "sent": sums.sent,
        "answered": sums.answered,
        "duration_s": info.duration_s,
        "lateness_p50_s": _quantile(sums.late, 50),
        "lateness_p99_s": _quantile(sums.late, 99),
        "endpoints": endpoints,
        "unsent": _unsent(folder),
        "retries": _retries(folder),
    }


@dataclass(slots=True)
class _Sums:
    """What observations come to, table by table: of each request its latency and its lateness stay in memory."""

    observed: int = 0
    sent: int = 0
    answered: int = 0
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    latencies: dict[str, list[_Values]] = field(default_factory=lambda: defaultdict(list))
    late: list[_Values] = field(default_factory=list)

    def add(self, rows: pd.DataFrame) -> None:
        """Count some more."""
        self.observed += len(rows)
        self.sent += int(rows.sent_s.notna().sum())
        self.answered += int(rows.status.notna().sum())
        self.late.append((rows.sent_s - rows.due_s - rows.waited_s).dropna().to_numpy("float64"))
        for endpoint, own in rows.groupby("endpoint", sort=False):
            self.outcomes[str(endpoint)].update(map(str, own.outcome))
            self.latencies[str(endpoint)].append((own.done_s - own.sent_s).dropna().to_numpy("float64"))


def _observations(folder: Path, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """An arm's observations, segment by segment; what is damaged is left out here, and named by the judge."""
    for _, table in read_segments(folder / "observations", OBSERVATION_SCHEMA, columns):
        if not isinstance(table, Exception):
            yield table.to_pandas()


def _some(folder: Path, requests: Collection[int]) -> list[dict[Hashable, Any]]:
    """Those observations."""
    if not requests:
        return []
    found = [rows[rows.request.isin(list(requests))] for rows in _observations(folder, _TELLING)]
    return [row for rows in found for row in _rows(rows)]


def tell_unsent(summary: dict[str, Any]) -> str:
    """What kept most of those requests back that were not sent. Empty where all were sent."""
    if not summary["unsent"]:
        return ""
    first = summary["unsent"][0]
    together = sum(reason["requests"] for reason in summary["unsent"])
    share = "" if first["requests"] == together else f" (of {first['requests']:,})"
    return f"{many(together, 'unsent request')}, for this reason{share}: {first['reason']}."


def show(summary: dict[str, Any]) -> None:
    """Print a summary for people."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Endpoint", overflow="fold")
    for heading in ("Requests", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    table.add_column("Outcomes")
    for row in summary["endpoints"]:
        times = ["-" if row[key] is None else f"{row[key] * 1000:,.1f}" for key in ("p50_s", "p95_s", "p99_s")]
        outcomes = ", ".join(f"{count:,} {name}" for name, count in row["outcomes"].items())
        table.add_row(plain(row["endpoint"]), f"{row['requests']:,}", *times, outcomes)
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(width=_WIDTH_IN_A_FILE, markup=False)
    console.print(table)
    late = summary["lateness_p99_s"]
    own = "" if late is None else f" The replay's own lateness: p99 {late * 1000:,.1f} ms."
    for line in (
        f"{summary['observed']:,} of {summary['planned']:,} planned requests recorded.{own}",
        plain(tell_unsent(summary)),
        _tell_retries(summary["retries"]),
        f"Evidence: {summary['run']}",
    ):
        if line:
            console.print(line, highlight=False, soft_wrap=True)


def _unsent(folder: Path) -> list[dict[str, Any]]:
    """What kept requests back, the most frequent first, in the words of the first that it kept.

    A request that hung on another one that was not sent counts for that one's reason.
    """
    found = (rows[rows.outcome == Outcome.UNSENT] for rows in _observations(folder, _TELLING))
    unsent = sorted((row for rows in found for row in _rows(rows)), key=lambda row: row["request"])
    causes = {int(row["caused_by"]) for row in unsent if row["caused_by"] is not None}
    roots = {row["request"]: row for row in _some(folder, causes)}
    sent = {number: root for number, root in roots.items() if root["outcome"] != Outcome.UNSENT}
    said = {number: f"no value from {root['endpoint']} ({root['outcome']})" for number, root in sent.items()}
    for row in unsent:  # who waited for a root itself says best what it lacked
        if (root := sent.get(row["caused_by"])) and f"request {root['request']} " in row["error"]:
            said[root["request"]] = row["error"].replace(f"request {root['request']} ", f"{root['endpoint']} ")
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}
    for row in unsent:
        cause = row["caused_by"]
        error = said[cause] if cause in said else str(roots.get(cause, row)["error"])
        kind = kind_of(error)
        counts[kind] += 1
        words.setdefault(kind, " ".join(error.split()))
    return [{"reason": words[kind], "requests": count} for kind, count in counts.most_common()]


def _rows(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _retries(folder: Path) -> dict[str, int]:
    """How many requests were sent again, in how many attempts, how many then came back as captured; logins anew."""
    last: dict[int, tuple[int, str]] = {}
    attempts = logins = 0
    for _, table in read_segments(folder / "retries", RETRY_SCHEMA):
        for row in [] if isinstance(table, Exception) else table.to_pylist():
            if row["why"] == _LOGIN:
                logins += 1
                continue
            attempts += 1
            last[row["request"]] = max(last.get(row["request"], (0, "")), (row["attempt"], row["outcome"]))
    worked = sum(
        last[row["request"]][1] == expected_outcome(row["expected_status"], row["expected_shape"])
        for row in _some(folder, last)
    )
    return {"requests": len(last), "attempts": attempts, "worked": worked, "logins": logins}


def _tell_retries(retries: dict[str, int]) -> str:
    if not retries["requests"] and not retries["logins"]:
        return ""
    logins = f", after {many(retries['logins'], 'login')} anew" if retries["logins"] else ""
    were = "was" if retries["requests"] == 1 else "were"
    again = f"{many(retries['requests'], 'request')} {were} sent again ({many(retries['attempts'], 'attempt')}{logins})"
    return f"{again}: {retries['worked']:,} of them then worked."


def _quantile(values: Sequence[_Values], share: int) -> float | None:
    known = np.concatenate(values) if values else np.empty(0)
    return round(float(np.quantile(known, share / 100)), 6) if len(known) else None
