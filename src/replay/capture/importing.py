"""Turning files of any format, and captures, into one capture."""

import shutil
from pathlib import Path

from replay.capture.dry_run import Count, DryRun
from replay.capture.reading import Importing, OnProgress, Progress, Reading
from replay.capture.store import Capture, CaptureWriter, open_capture
from replay.errors import InputError

__all__ = ["DryRun", "Importing", "OnProgress", "Progress", "import_files", "try_import"]


def import_files(importing: Importing, out: Path, on_progress: OnProgress = lambda _: None) -> Capture:
    """Import into a new capture at ``out``.

    Raises InputError where ``out`` exists, or where an input cannot be read or is of no known format; then nothing was
    written. Interrupted, it leaves what there is as a capture that can be repaired.
    """
    if out.exists():
        raise InputError(f"{out} exists already.", "Give the capture another folder, or move that one away.")
    reading = Reading(importing, on_progress)
    reading.learn()
    writer = CaptureWriter(
        out,
        environment=reading.environment,
        name=importing.name,
        scrubber=reading.scrubber,
        scrubbing=reading.scrubbing,
    )
    try:
        with writer:
            reading.keep(writer)
            reading.check_kept()
            reading.tell("putting in order")
    except InputError:
        shutil.rmtree(out, ignore_errors=True)  # it was made here, and all that is in it is in the inputs still
        raise
    return open_capture(out)


def try_import(importing: Importing, on_progress: OnProgress = lambda _: None) -> DryRun:
    """Read everything and keep nothing: what would be kept, skipped and changed. Raises as ``import_files`` does."""
    reading = Reading(importing, on_progress)
    reading.learn()
    count = Count(reading.scrubber, reading.scrubbing)
    reading.keep(count)
    return count.result()
