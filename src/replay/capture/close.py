"""Completing a capture: its exchanges in order of time, each in one segment only, at any moment of a crash."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from replay.capture.folder import (
    MANIFEST,
    exchange_folders,
    link,
    new_folder,
    segment_files,
)
from replay.capture.ledger import notes_for
from replay.capture.manifest import COMPLETE, Manifest
from replay.capture.merge import Run, Span, find_runs, merge_into, span_of
from replay.capture.sealed import Seal
from replay.capture.segments import SCHEMA, Segment, to_table, write_segment

if TYPE_CHECKING:
    from replay.capture.scrub import Scrubber

# Segments below this are joined with their neighbours.
_SMALL_ROWS, _SMALL_BYTES = 16_384, 1_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """Segments, in the order of reading, that become one; a single one stays as it is."""

    spans: tuple[Span, ...]

    @property
    def is_small(self) -> bool:
        """Whether it would be better joined with its neighbours."""
        rows = sum(span.segment.rows for span in self.spans)
        return rows < _SMALL_ROWS and sum(span.file.stat().st_size for span in self.spans) < _SMALL_BYTES


@dataclass(frozen=True, slots=True)
class Unsealing:
    """What opens sealed exchanges, and knows at the end what in them is secret."""

    seal: Seal
    scrubber: "Scrubber"


def complete(path: Path, manifest: Callable[[], Manifest], unsealing: Unsealing | None = None) -> Manifest:
    """Put the segments at ``path`` in order of time and say that the capture is complete.

    ``manifest`` is asked when everything was judged. A crash at any moment leaves every exchange in one segment.
    """
    new = new_folder(path)
    new.mkdir()
    unsealed = _unsealed(path, new, unsealing) if unsealing else {}
    spans = [span for file in segment_files(path) if (span := span_of(unsealed.get(file, file)))]
    parts = plan(spans)
    done = manifest()
    if _needs_nothing(path, parts):
        new.rmdir()
        names = [file.name for file in segment_files(path)]
    else:
        names = [f"{number:06d}.parquet" for number in range(1, len(parts) + 1)]
        for part, name in zip(parts, names, strict=True):
            _make(part, new / name, done)
        for file in unsealed.values():
            file.unlink()
        for kept in path.glob("exchanges/*.damaged"):
            link(kept, new / kept.name)
        exchange_folders(path)
    done = dataclasses.replace(done, state=COMPLETE, segments=tuple(f"exchanges/{name}" for name in names))
    done.write(path / MANIFEST)
    return done


def plan(spans: Iterable[Span]) -> list[Part]:
    """How segments, given in the order of reading, become segments in order of time with no overlap."""
    numbers = {span: number for number, span in enumerate(spans)}
    apart: list[list[Run]] = []
    for run in sorted(find_runs(numbers), key=lambda run: run.first):
        if apart and _overlaps(apart[-1], run):
            apart[-1].append(run)
        else:
            apart.append([run])
    parts: list[Part] = []
    for runs in apart:
        if len(runs) == 1:
            parts += [Part((span,)) for span in runs[0].spans]
        else:
            parts.append(Part(tuple(span for run in runs for span in run.spans)))
    joined: list[list[Part]] = []
    for part in parts:
        if joined and _to_be_joined(joined[-1][-1]) and _to_be_joined(part):
            joined[-1].append(part)
        else:
            joined.append([part])
    return [
        Part(tuple(sorted((span for part in group for span in part.spans), key=numbers.__getitem__)))
        for group in joined
    ]


def _overlaps(runs: Sequence[Run], run: Run) -> bool:
    last = max(other.last for other in runs)
    # What is of one moment stays in the order of reading, so that it matters there which was read first.
    return run.first < last or (run.first == last and run.number < max(other.number for other in runs))


def _to_be_joined(part: Part) -> bool:
    return len(part.spans) > 1 or part.is_small


def _needs_nothing(path: Path, parts: Sequence[Part]) -> bool:
    return [[span.file for span in part.spans] for part in parts] == [[file] for file in segment_files(path)]


def _make(part: Part, file: Path, manifest: Manifest) -> None:
    if len(part.spans) == 1:
        link(part.spans[0].file, file)
    else:
        merge_into(part.spans, file, notes_for(manifest))


def _unsealed(path: Path, new: Path, unsealing: Unsealing) -> dict[Path, Path]:
    """For each segment with sealed exchanges another, in which these are judged with all that is known by now."""
    unsealed = {}
    for file in segment_files(path):
        sealed = file.with_suffix(".sealed")
        if sealed.is_file():
            judged = new / f".{file.name}"
            write_segment(_judged(file, sealed, unsealing), judged)
            unsealed[file] = judged
    return unsealed


def _judged(file: Path, sealed: Path, unsealing: Unsealing) -> Iterator[pa.Table]:
    segment = Segment(file)
    undecided = unsealing.seal.read(sealed)
    start = 0
    for group in range(segment.groups):
        table = segment.read(group)
        if undecided is not None:
            mine = np.flatnonzero((undecided.rows >= start) & (undecided.rows < start + table.num_rows))
            final = to_table([unsealing.scrubber.exchange(undecided.exchanges[number]) for number in mine.tolist()])
            order = np.arange(table.num_rows)
            order[undecided.rows[mine] - start] = table.num_rows + np.arange(mine.size)
            table = pa.concat_tables([table, final]).take(pa.array(order))
        start += table.num_rows
        yield table.select(SCHEMA.names)
