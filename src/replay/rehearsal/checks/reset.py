"""Putting Stage back, with its time taken, as an arm does before it begins."""

import time
from dataclasses import dataclass
from pathlib import Path

from replay.errors import StageError
from replay.rehearsal import stage
from replay.rehearsal.checks.check import STAGE, Check, failed, passed
from replay.rehearsal.databases import Fingerprint
from replay.rehearsal.plan import Plan
from replay.rehearsal.secrets import Scrubber

_LAST_LINES = 5
NAME = "reset"
WHOLE = "the reset puts everything back"


@dataclass(frozen=True, slots=True)
class PutBack:
    """How long the reset itself took, and all of it: until Stage answered, was warm, and its replicas had it."""

    reset_s: float
    all_s: float


def put_back(plan: Plan, logs: Path, scrub: Scrubber) -> PutBack:
    """Put Stage back once. Raises StageError, with the last words of what failed, where it does not come back."""
    started = time.monotonic()
    try:
        reset_s = stage.put_back(plan.target, plan.folder, logs, scrub, lambda _: None)
    except StageError as error:
        log = next((log for log in logs.glob("*.log") if str(log) in error.hint), None)
        if log is None:
            raise
        raise StageError(error.message, _last_words(log)) from error  # the log goes with the folder
    stage.wait_for_replicas(plan.probes, plan.target.ready_timeout_s)
    return PutBack(reset_s, time.monotonic() - started)


def tell_reset(done: PutBack, arms: int) -> Check:
    """A reset that ended well."""
    return passed(
        NAME,
        f"It took {done.reset_s:.1f} s, and {done.all_s:.1f} s until Stage was ready; it is done before each of "
        f"{arms} arms.",
        figures={"reset_s": round(done.reset_s, 3), "until_ready_s": round(done.all_s, 3)},
    )


def compare(before: Fingerprint, written: Fingerprint, after: Fingerprint) -> Check:
    """Whether Stage is after a second reset what it was after the first; ``written`` is what was to be put back."""
    differs = tell_differences(after, before)
    changed = tell_differences(written, before)
    figures = {"tables": len(before.rows), "differs": differs, "put back": changed}
    if differs:
        return failed(
            WHOLE,
            f"After the second reset Stage is not what it was after the first: {'; '.join(differs[:5])}.",
            "Arms would not begin alike. Let it restore all that requests write.",
            fault=STAGE,
            figures=figures,
        )
    done = f"It put back {'; '.join(changed[:3])}." if changed else ""
    note = "" if changed else "The visits changed nothing that is compared, so it had nothing to put back."
    told = f"Schema and rows of {len(before.rows)} tables are the same after it. {done}".strip()
    return passed(WHOLE, told, note, figures=figures)


def tell_differences(after: Fingerprint, before: Fingerprint) -> list[str]:
    """What differs, in words."""
    found = [] if after.schema == before.schema else ["the schema differs"]
    for table in sorted({*after.rows, *before.rows}):
        here, there = after.rows.get(table), before.rows.get(table)
        if here != there:
            found.append(f"{table} has {_rows(here)} instead of {_rows(there)}")
    return found


def _rows(count: int | None) -> str:
    return "no count" if count is None else f"{count:,} rows"


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "It said: " + " / ".join(line.partition("] ")[2] for line in lines[1:][-_LAST_LINES:]) if lines[1:] else ""
