"""A capture, to be read: whole, or what can be saved of it. See ``folder`` for its files and ``writer`` for writing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from replay.capture.digest import digest_of
from replay.capture.folder import MANIFEST, clear, is_recording, iter_skipped, segment_files
from replay.capture.manifest import COMPLETE, Manifest, load_manifest
from replay.capture.merge import Span, find_runs, merged, span_of
from replay.capture.repair import counted, repair
from replay.capture.segments import Damaged, Segment, to_exchanges
from replay.capture.writer import CaptureWriter
from replay.errors import InputError
from replay.traffic import Exchange, Headers, Skipped

__all__ = [
    "Capture",
    "CaptureWriter",
    "exchanges_of",
    "is_recording",
    "open_capture",
    "read_exchanges",
    "read_manifest",
    "read_skipped",
    "read_tables",
    "repair_capture",
    "verified_capture",
]

_HINT = "Record one with `replay capture`, or import one with `replay import`."


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture that can be read."""

    path: Path
    manifest: Manifest

    @property
    def files(self) -> list[Path]:
        """Its segments, in order of time."""
        return [self.path / segment for segment in self.manifest.segments]

    def exchanges(self) -> Iterator[Exchange]:
        """Its exchanges in order of time."""
        return read_exchanges(self.path)

    def digest(self) -> str:
        """32 hex digits over the exchanges in order, the same however they are divided into files or compressed."""
        return digest_of(_all_tables(self.path, self.manifest))


def open_capture(path: Path) -> Capture:
    """A complete capture. Raises InputError where it is missing, broken or not finished."""
    return Capture(path, read_manifest(path))


def verified_capture(path: Path) -> Capture:
    """A complete capture of which every page was read: its checksums, its types and its count are right.

    Raises InputError as ``open_capture`` does, and where a segment is missing or damaged.
    """
    capture = open_capture(path)
    for _ in _all_tables(path, capture.manifest):
        pass
    return capture


def read_manifest(path: Path, *, repair: bool = False) -> Manifest:
    """The manifest of the capture in ``path``.

    Raises InputError where there is no capture, where the manifest is broken, and where the capture is not complete.
    With ``repair``, one that is not complete is read all the same, with counts of what can be read of it, and what a
    lost manifest said is taken from the segments, else made up.
    """
    if not path.is_dir():
        raise InputError(f"There is no capture at {path}.", _HINT)
    try:
        manifest = load_manifest(path / MANIFEST)
    except InputError as error:
        if not segment_files(path):
            raise InputError(error.message, error.hint or _HINT) from error
        if not repair:
            raise InputError(error.message, error.hint or _saving(path)) from error
        return counted(path)
    if manifest.state != COMPLETE:
        if not repair:
            if is_recording(path):
                raise InputError(f"The capture {path} is still being recorded.", "End that first, with Ctrl-C.")
            raise InputError(f"The capture {path} is half written: its recording broke off.", _saving(path))
        return counted(path)
    return manifest


def read_tables(
    path: Path, *, repair: bool = False, on_damage: Callable[[InputError], None] | None = None
) -> Iterator[pa.Table]:
    """The exchanges of the capture in ``path`` as tables of ``segments.SCHEMA``, in order of ``at``.

    Raises InputError as ``read_manifest`` does, and where a segment is missing or damaged. With ``repair`` it gives
    what can be read of any capture, and tells ``on_damage`` what cannot.
    """
    if not repair:
        return _all_tables(path, read_manifest(path))
    if not path.is_dir():
        raise InputError(f"There is no capture at {path}.", _HINT)
    return _readable_tables(path, on_damage or (lambda _: None))


def read_exchanges(
    path: Path, *, repair: bool = False, on_damage: Callable[[InputError], None] | None = None
) -> Iterator[Exchange]:
    """The exchanges of the capture in ``path``, ordered by ``at``. Raises and takes what ``read_tables`` does."""
    return _exchanges(path, read_tables(path, repair=repair, on_damage=on_damage))


def exchanges_of(path: Path, table: pa.Table, headers: dict[str, Headers] | None = None) -> list[Exchange]:
    """The exchanges of one table of the capture in ``path``, as ``segments.to_exchanges`` has them.

    Raises InputError, which names the capture, where the headers of one are broken.
    """
    try:
        return list(to_exchanges(table, headers))
    except InputError as error:
        raise Damaged(path / "exchanges", error) from error


def repair_capture(path: Path) -> Manifest:
    """Complete a capture whose recording broke off, with what can be read of it.

    A damaged segment is put aside as ``NAME.parquet.damaged``, never deleted. Raises InputError where there is no
    capture, where it is still being recorded, and where a complete one is damaged.
    """
    if not path.is_dir():
        raise InputError(f"There is no capture at {path}.", _HINT)
    if is_recording(path):
        raise InputError(f"The capture {path} is still being recorded.", "End that first, with Ctrl-C.")
    try:
        manifest = load_manifest(path / MANIFEST)
    except InputError as error:
        if not segment_files(path):
            raise InputError(error.message, error.hint or _HINT) from error
        return repair(path)
    if manifest.state == COMPLETE:
        for _ in _all_tables(path, manifest):
            pass
        clear(path)
        return manifest
    return repair(path)


def read_skipped(path: Path) -> list[Skipped]:
    """What was skipped, in order; a last line that a crash broke off is left out."""
    return list(iter_skipped(path))


def _all_tables(path: Path, manifest: Manifest) -> Iterator[pa.Table]:
    files = Capture(path, manifest).files
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise InputError(f"The capture {path} lacks its segment {missing.name}.", "Take it from a backup.")
    count = 0
    for file in files:
        segment = Segment(file)
        for group in range(segment.groups):
            table = segment.read(group)
            count += table.num_rows
            yield table
    if count != manifest.exchanges:
        raise InputError(
            f"The capture {path} holds {count} exchanges where its manifest says {manifest.exchanges}.",
            "Take it from a backup.",
        )


def _readable_tables(path: Path, on_damage: Callable[[InputError], None]) -> Iterator[pa.Table]:
    spans: list[Span] = []
    for file in segment_files(path):
        try:
            span = span_of(file, strict=False)
        except InputError as error:
            on_damage(error)
        else:
            spans += [span] if span else []
    yield from merged(find_runs(spans), on_damage)


def _exchanges(path: Path, tables: Iterator[pa.Table]) -> Iterator[Exchange]:
    headers: dict[str, Headers] = {}
    for table in tables:
        yield from exchanges_of(path, table, headers)


def _saving(path: Path) -> str:
    return f"`replay inspect {path}` shows what can be saved of it, and with --repair saves it."
