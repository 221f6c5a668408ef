"""Whether there is room for the run, and how long it will take."""

import shutil
from pathlib import Path

from replay.rehearsal.checks.check import PLAN, Check, failed, passed
from replay.rehearsal.outline import Outline


def check_disk(outline: Outline, out: Path) -> Check:
    """The disk that the run's folder is on."""
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free, needed = shutil.disk_usage(parent).free, outline.estimate_bytes
    figures = {"needed_bytes": needed, "free_bytes": free}
    more = outline.may_follow.estimate_bytes
    figures["more_bytes"] = more
    told = f"The run needs about {needed / 1e6:,.0f} MB"
    told += f", and up to {more / 1e6:,.0f} MB more if something must be confirmed," if more else ""
    told += f" in {parent}, which has {free / 1e6:,.0f} MB left."
    if free < needed:
        return failed("disk", told, "Give --out a folder with more room.", fault=PLAN, figures=figures)
    return passed("disk", told, "There is no room for a second pair of arms." * (free < needed + more), figures=figures)


def check_duration(outline: Outline, reset_s: float | None) -> Check:
    """How long all arms take; ``reset_s`` is what putting Stage back took, None where that was not timed."""
    arms, played_s = len(outline.to_play), sum(arm.duration_s for arm in outline.to_play)
    told = "the reset as it was timed" if reset_s is not None else "the reset by a guess"
    beside = f", with {told}" if outline.plan.target.reset is not None else ""
    more = outline.may_follow
    total = f"{outline.estimate_s / 60:,.1f} min for {arms} arms{beside}; {played_s / 60:,.1f} min of them is traffic."
    if more.arms:
        total += (
            f" Up to {len(more.arms)} arms and {more.estimate_s / 60:,.1f} min more if something must be confirmed."
        )
    figures = {"estimate_s": round(outline.estimate_s, 1), "reset_s": reset_s, "arms": arms}
    figures |= {"more_arms": len(more.arms), "more_s": round(more.estimate_s, 1)}
    return passed("duration", f"About {total}", figures=figures)
