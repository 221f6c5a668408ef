"""A capture as a source: to be cut, filtered, sampled, merged with others, or saved as far as it can be read.

What is in a capture was scrubbed when it was written, and its clients have their names: both stay. Where the manifest
says that scrubbing was off, the exchanges hold their secrets as they were.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from replay.capture.folder import MANIFEST, segment_files
from replay.capture.manifest import COMPLETE, Manifest, load_manifest
from replay.capture.merge import Span, find_runs, merged, span_of
from replay.capture.segments import Damaged
from replay.errors import InputError
from replay.traffic import Skipped

# As a live capture calls its source.
MIRROR = "mirror"
DAMAGED = "damaged: how many exchanges were in it is not known"
MISSING = "missing: how many exchanges were in it is not known"


def is_capture(path: Path) -> bool:
    """Whether ``path`` is the folder of a capture, be it whole or broken."""
    return path.is_dir() and ((path / MANIFEST).is_file() or bool(segment_files(path)))


def read_capture(path: Path) -> Iterator[pa.Table | Skipped]:
    """The exchanges of a capture as tables of ``segments.SCHEMA``, in order of time.

    What cannot be read of a broken one is told as ``Skipped``, one for each damaged part. ``store.read_manifest`` with
    ``repair`` says the rest about it. Raises InputError where there is no capture.
    """
    if not is_capture(path):
        raise InputError(f"There is no capture at {path}.", "Record one with `replay capture`.")
    return _read(path)


def is_mirror(manifest: Manifest) -> bool:
    """Whether a capture holds what a mirror sent: requests, of which it does not know the answers."""
    return bool(manifest.sources) and all(source.name == MIRROR for source in manifest.sources)


def notes_of(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """What the reader of a capture that is made from others has to know of them."""
    on = [manifest for manifest in manifests if manifest.scrubbing.on]
    notes = [f"{manifest.name}: {note}" for manifest in manifests for note in manifest.notes]
    if len({manifest.scrubbing.key_id for manifest in on}) > 1:
        notes.append(
            "The captures that were merged were scrubbed with different keys: the same secret or client has another "
            "pseudonym in each of them."
        )
    if on and len(on) < len(manifests):
        notes.append("Of the captures that were merged, some were not scrubbed when they were written.")
    return tuple(dict.fromkeys(notes))


def _read(path: Path) -> Iterator[pa.Table | Skipped]:
    skipped: list[Skipped] = []

    def skip(where: str, reason: str) -> None:
        skipped.append(Skipped(str(path), where, reason))

    def on_damage(error: InputError) -> None:
        skip(f"exchanges/{error.file.name}" if isinstance(error, Damaged) else "exchanges", DAMAGED)

    spans: list[Span] = []
    for file in _files(path):
        try:
            span = span_of(file, strict=False)
        except InputError as error:
            if file.is_file():
                on_damage(error)
            else:
                skip(f"exchanges/{file.name}", MISSING)
        else:
            spans += [span] if span else []
    for table in merged(find_runs(spans), on_damage):
        yield from _drained(skipped)
        yield table
    yield from _drained(skipped)


def _drained(skipped: list[Skipped]) -> Iterator[Skipped]:
    while skipped:
        yield skipped.pop(0)


def _files(path: Path) -> list[Path]:
    """The segments of which a complete capture's manifest speaks, else those that are there."""
    try:
        manifest = load_manifest(path / MANIFEST)
    except InputError:
        return segment_files(path)
    return [path / name for name in manifest.segments] if manifest.state == COMPLETE else segment_files(path)
