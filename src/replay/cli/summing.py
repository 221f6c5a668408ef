"""What came of a replay: its summary as a document, and as a table for people."""

from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from replay.cli.text import plain
from replay.evidence.run import ArmEvidence, read_run
from replay.evidence.values import Outcome, expected_outcome
from replay.parquet import read_parquet
from replay.scenario.lacking import kind_of
from replay.scenario.words import many

_WIDTH_IN_A_FILE = 120
_LOGIN = "login"  # why an attempt was made that no failure of its own caused


def summarise(run: Path, arm_name: str) -> dict[str, Any]:
    """A run with one arm as plain JSON values: endpoints with their outcomes, what kept requests back, retries."""
    arm = read_run(run).arms[arm_name]
    frame = arm.observations
    frame = frame.assign(latency_s=frame.done_s - frame.sent_s, late_s=frame.sent_s - frame.due_s - frame.waited_s)
    endpoints = [
        {
            "endpoint": endpoint,
            "requests": len(rows),
            "outcomes": {str(name): int(count) for name, count in rows.outcome.value_counts().items()},
            **{f"p{share}_s": _quantile(rows.latency_s, share) for share in (50, 95, 99)},
        }
        for endpoint, rows in frame.groupby("endpoint", sort=True)
    ]
    return {
        "run": str(run),
        "planned": arm.info.planned,
        "observed": len(frame),
        "sent": int(frame.sent_s.notna().sum()),
        "answered": int(frame.status.notna().sum()),
        "duration_s": arm.info.duration_s,
        "lateness_p50_s": _quantile(frame.late_s, 50),
        "lateness_p99_s": _quantile(frame.late_s, 99),
        "endpoints": endpoints,
        "unsent": _unsent(frame),
        "retries": _retries(run / "arms" / arm_name / "retries", arm),
    }


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


def _unsent(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What kept requests back, the most frequent first, in the words of the first that it kept.

    A request that hung on another one that was not sent counts for that one's reason.
    """
    unsent = _rows(frame[frame.outcome == Outcome.UNSENT])
    roots = {row["request"]: row for row in _rows(frame[frame.request.isin([row["caused_by"] for row in unsent])])}
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


def _retries(folder: Path, arm: ArmEvidence) -> dict[str, int]:
    """How many requests were sent again, in how many attempts, how many then came back as captured; logins anew."""
    last: dict[int, tuple[int, str]] = {}
    attempts = logins = 0
    for file in sorted(folder.glob("*.parquet")):
        try:
            rows = read_parquet(file).to_pylist()
        except (OSError, pa.ArrowException):
            continue
        for row in rows:
            if row["why"] == _LOGIN:
                logins += 1
                continue
            attempts += 1
            last[row["request"]] = max(last.get(row["request"], (0, "")), (row["attempt"], row["outcome"]))
    observations = arm.observations
    worked = sum(
        last[row["request"]][1] == expected_outcome(row["expected_status"], row["expected_shape"])
        for row in _rows(observations[observations.request.isin(list(last))])
    )
    return {"requests": len(last), "attempts": attempts, "worked": worked, "logins": logins}


def _tell_retries(retries: dict[str, int]) -> str:
    if not retries["requests"] and not retries["logins"]:
        return ""
    logins = f", after {many(retries['logins'], 'login')} anew" if retries["logins"] else ""
    were = "was" if retries["requests"] == 1 else "were"
    again = f"{many(retries['requests'], 'request')} {were} sent again ({many(retries['attempts'], 'attempt')}{logins})"
    return f"{again}: {retries['worked']:,} of them then worked."


def _quantile(values: "pd.Series[float]", share: int) -> float | None:
    known = values.dropna()
    return round(float(known.quantile(share / 100)), 6) if len(known) else None
