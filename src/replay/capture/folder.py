"""A capture's folder: where its parts are, who writes into it, and how its segments are exchanged for others at once.

::

    captures/NAME/capture.json              the manifest
    captures/NAME/exchanges/000001.parquet  segments
    captures/NAME/exchanges/000001.sealed   what cannot be judged yet of a segment, under a key that is in memory only
    captures/NAME/skipped.jsonl             what could not become an exchange, and why
    captures/NAME/.recording                locked by the process that records, gone when it is complete

Segments are replaced as a whole: the new ones are made ready in ``exchanges.new``, then the folders are renamed. What
is called ``exchanges`` is true at any moment; where a crash left none, what is ready is.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from replay.traffic import Skipped

MANIFEST = "capture.json"
_MERGED = "merged.parquet"


def exchanges_folder(path: Path) -> Path:
    """Where the segments of the capture at ``path`` are."""
    folder = path / "exchanges"
    return folder if folder.is_dir() or not new_folder(path).is_dir() else new_folder(path)


def new_folder(path: Path) -> Path:
    """Where other segments are made ready."""
    return path / "exchanges.new"


def segment_files(path: Path) -> list[Path]:
    """The segments that hold the capture's exchanges, in the order in which they were written."""
    folder = exchanges_folder(path)
    # Earlier versions merged beside the segments: what is whole there has everything, and they are only leftovers.
    whole = folder / _MERGED
    return [whole] if whole.is_file() else sorted(folder.glob("*.parquet"), key=_number)


def _number(file: Path) -> tuple[int, str]:
    return len(file.name), file.name


def exchange_folders(path: Path) -> None:
    """Make ``exchanges.new`` the capture's segments."""
    folder, old = path / "exchanges", path / "exchanges.old"
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    new_folder(path).rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def settle(path: Path) -> None:
    """Finish or undo an exchange of folders that a crash broke off, and remove what was half written."""
    if exchanges_folder(path) == new_folder(path):
        new_folder(path).rename(path / "exchanges")
    for name in ("exchanges.new", "exchanges.old"):
        shutil.rmtree(path / name, ignore_errors=True)
    for leftover in path.glob("exchanges/.*.part"):
        leftover.unlink()
    files = segment_files(path)
    if files and files[0].name == _MERGED:
        for leftover in path.glob("exchanges/*.parquet"):
            if leftover != files[0]:
                leftover.unlink()


def clear(path: Path) -> None:
    """Remove what a crash left of a capture that was complete already."""
    settle(path)
    for leftover in (path / ".recording", *path.glob(".*.part")):
        leftover.unlink(missing_ok=True)


def link(file: Path, other: Path) -> None:
    """Let ``other`` be the same file, or a copy where the file system has no links."""
    try:
        os.link(file, other)
    except OSError:
        shutil.copy2(file, other)


def lock(path: Path) -> IO[str]:
    """Say that this process writes into the folder, until the file is closed."""
    file = (path / ".recording").open("w", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def unlock(locked: IO[str]) -> None:
    """Say that this process is done with the folder."""
    Path(locked.name).unlink(missing_ok=True)
    locked.close()


def is_recording(path: Path) -> bool:
    """Whether a process is recording into ``path`` right now."""
    try:
        with (path / ".recording").open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def iter_skipped(path: Path) -> Iterator[Skipped]:
    """What was skipped, in order; a last line that a crash broke off is left out."""
    file = path / "skipped.jsonl"
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            try:
                values = json.loads(line)
                yield Skipped(*(str(values[name]) for name in ("source", "where", "reason")))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue


def cut_skipped(path: Path) -> None:
    """Take away the last line of what was skipped, where a crash broke it off."""
    file = path / "skipped.jsonl"
    if not file.is_file():
        return
    with file.open("r+b") as lines:
        end = lines.seek(0, os.SEEK_END)
        start = end
        while start:
            start = max(0, start - 65_536)
            lines.seek(start)
            found = lines.read(min(65_536, end - start)).rfind(b"\n")
            if found >= 0:
                lines.truncate(start + found + 1)
                return
        lines.truncate(0)
