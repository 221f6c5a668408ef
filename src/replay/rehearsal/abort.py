"""When an arm is ended before its end: rules of the plan, asked once a second of the evidence as it is written."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from replay.rehearsal.table import Table
from replay.rehearsal.watch import Sight, Watch

_FEWEST = 20  # requests; a share of fewer says nothing


@dataclass(frozen=True, slots=True)
class AbortPlan:
    """``[abort]``: limits at which an arm ends; None where there is none.

    ``failures`` is the share of the requests of the last ``window_s`` seconds that failed and did not in the capture;
    ``replica_lag_s`` what any replica may be behind, ``time_s`` how long an arm may last, ``disk_bytes`` how little
    space the run's disk may have left.
    """

    failures: float | None
    window_s: float
    replica_lag_s: float | None
    time_s: float | None
    disk_bytes: int


def read_abort(table: Table) -> AbortPlan:
    """Read ``[abort]``. Raises PlanError for whatever is wrong with it."""
    plan = AbortPlan(
        failures=table.share("failures"),
        window_s=table.duration_s("window", "10s") or 0.0,
        replica_lag_s=table.duration_s("replica_lag"),
        time_s=table.duration_s("time"),
        disk_bytes=table.size_bytes("disk", "200MB"),
    )
    table.done()
    return plan


def reason_to_abort(plan: AbortPlan, sight: Sight, watch: Watch, folder: Path) -> str:
    """Why an arm whose evidence goes to ``folder`` ends now; empty where it goes on."""
    return next(filter(None, _reasons(plan, sight, watch, folder)), "")


def _reasons(plan: AbortPlan, sight: Sight, watch: Watch, folder: Path) -> Iterator[str]:
    if plan.time_s is not None and sight.at_s > plan.time_s:
        yield f"it lasted longer than {plan.time_s:g} s"
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < plan.disk_bytes:
            yield f"the disk has {free / 1e6:.0f} MB left, less than {plan.disk_bytes / 1e6:.0f} MB"
    if plan.failures is not None:
        recent = [one.failed for one in watch.recent if one.at_s > sight.at_s - plan.window_s]
        if len(recent) >= _FEWEST and sum(recent) > plan.failures * len(recent):
            yield (
                f"{sum(recent) / len(recent):.0%} of the {len(recent)} requests of the last {plan.window_s:g} s "
                f"failed, more than {plan.failures:.0%}"
            )
    if plan.replica_lag_s is not None and sight.lag_s is not None and sight.lag_s > plan.replica_lag_s:
        yield f"a replica was {sight.lag_s:.1f} s behind, more than {plan.replica_lag_s:g} s"
