"""Writing a capture: in small segments while it grows, in order of time when it is complete."""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from replay.capture.close import Unsealing, complete
from replay.capture.folder import MANIFEST, lock, unlock
from replay.capture.ledger import Group, Ledger, notes_for
from replay.capture.manifest import Manifest, Scrubbing
from replay.capture.pending import Batch, Pending
from replay.capture.sealed import Seal
from replay.capture.segments import SegmentWriter, as_schema, give_back_memory, hosts_of, window_of, with_durations
from replay.errors import InputError
from replay.traffic import Exchange, Skipped

if TYPE_CHECKING:
    from replay.capture.scrub import Scrubber

_FLUSH_AFTER_S = 1.0
_FLUSH_AFTER_BYTES = 16_000_000
# Logs are written when requests end, so that a row's place in time may be among those after it. What is last in time
# waits for the next segment, and segments seldom overlap.
_HELD_BACK = 1 / 3
_LEFT_BYTES = 1_000_000


class CaptureWriter:
    """Writes a new capture; a context manager that completes it. For one thread.

    What is added is scrubbed first. With ``live`` it reaches the disk within about a second of the next call, what is
    not judged yet as the pseudonym that it would get. Else a third of what was added last, some megabytes, waits in
    memory. ``scrubbing`` is what the manifest says of exchanges that come scrubbed already.

    Raises InputError where ``path`` exists already. Any call that adds or flushes may raise OSError, as where the disk
    is full; what was added stays in memory and is written with the next flush of a ``live`` capture.
    """

    def __init__(
        self,
        path: Path,
        *,
        environment: str,
        name: str = "",
        hosts: Iterable[str] = (),
        scrubber: "Scrubber | None",
        live: bool = False,
        scrubbing: Scrubbing | None = None,
    ) -> None:
        if path.exists():
            raise InputError(f"{path} exists already.", "Give the capture another folder, or move that one away.")
        try:
            (path / "exchanges").mkdir(parents=True)
        except OSError as error:
            raise InputError(f"The folder {path} cannot be made: {error.strerror}.") from error
        self._path = path
        self._scrubber = scrubber
        self._scrubbing = scrubbing
        self._live = live
        self._seal = Seal() if live and scrubber else None
        self._ledger = Ledger(name or path.resolve().name, environment, set(hosts))
        self._pending = Pending()
        self._sources: dict[str, int] = {}
        self._segments = 0
        self._source = ""
        self._unwritten: _Segment | None = None
        self._flushed_at = time.monotonic()
        self._threads = ThreadPoolExecutor(1, "segments")
        self._in_work: list[Future[None]] = []
        self._lock = lock(path)
        self._skipped_file = (path / "skipped.jsonl").open("w", encoding="utf-8", errors="replace")
        self._manifest().write(path / MANIFEST)

    def add(self, exchange: Exchange, source: str = "") -> None:
        """Keep an exchange that came from ``source``."""
        original = None
        if self._scrubber and self._seal:
            came = exchange
            exchange, is_undecided = self._scrubber.cautious(came)
            original = came if is_undecided else None
        elif self._scrubber:
            exchange = self._scrubber.exchange(exchange)
        self._pending.add(exchange, self._number(source), original)
        self._flush_where_due()

    def add_table(self, table: pa.Table, source: str = "") -> None:
        """Keep a table of ``segments.SCHEMA`` that came from ``source``, scrubbed already."""
        if not table.num_rows:
            return
        if self._source != source and self._pending.size_bytes >= _LEFT_BYTES:
            self._flush(hold_back=0.0)  # what another file has may be of quite another time
        self._source = source
        self._pending.add_table(with_durations(as_schema(table)), self._number(source))
        self._flush_where_due()

    def skip(self, skipped: Skipped) -> None:
        """Note a record that could not become an exchange."""
        if self._scrubber:
            skipped = self._scrubber.skipped(skipped, cautiously=self._live)
        self._ledger.skip(skipped.source, skipped.reason)
        self._skipped_file.write(json.dumps(dataclasses.asdict(skipped), ensure_ascii=False) + "\n")
        self._flush_where_due()

    def leave_out(self, source: str, option: str, count: int = 1) -> None:
        """Count records of ``source`` that were not asked for, by the option that says so."""
        if count:
            self._ledger.left_out[source][option] += count

    def body_not_kept(self, reason: str, count: int = 1) -> None:
        """Count a body that its exchange lacks."""
        self._ledger.bodies_not_kept[reason] += count

    @property
    def waiting(self) -> int:
        """How many exchanges of a live capture were added and are not on disk yet."""
        return self._pending.rows + (self._unwritten.batch.order.size if self._unwritten else 0)

    def set_lacking(self, counts: Mapping[str, int]) -> None:
        """Say how many exchanges are lacking so far, by the reason: ``the disk was full``."""
        self._ledger.lacking = dict(counts)

    def note(self, sentence: str) -> None:
        """Tell the manifest's reader something."""
        if sentence not in self._ledger.notes:
            self._ledger.notes.append(sentence)

    def note_format(self, source: str, source_format: str) -> None:
        """Say which format a source has. It is in the manifest from then on, also where nothing comes from it."""
        self._ledger.formats[source] = source_format

    def flush_if_due(self) -> None:
        """Flush where that was last done a second ago. To be called now and then while nothing is added."""
        if time.monotonic() - self._flushed_at >= _FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Close everything that was added as a segment, and bring the manifest up to date."""
        self._flush(hold_back=0.0)
        self._wait(0)

    def close(self) -> None:
        """Put everything in order of time and complete the capture. Once is enough; more does nothing."""
        if self._skipped_file.closed:
            return
        self.flush()
        self._threads.shutdown()
        self._skipped_file.close()
        unsealing = Unsealing(self._seal, self._scrubber) if self._seal and self._scrubber else None
        try:
            complete(self._path, self._manifest, unsealing)
            unlock(self._lock)
        finally:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:  # what there is stays as a capture that was not finished
            self.flush()
        finally:
            self._threads.shutdown()
            self._skipped_file.close()
            self._lock.close()

    def _number(self, source: str) -> int:
        return self._sources.setdefault(source, len(self._sources))

    def _flush_where_due(self) -> None:
        if self._pending.size_bytes >= _FLUSH_AFTER_BYTES or time.monotonic() - self._flushed_at >= _FLUSH_AFTER_S:
            self._flush(hold_back=0.0 if self._live else _HELD_BACK)

    def _flush(self, hold_back: float) -> None:
        self._flushed_at = time.monotonic()
        self._skipped_file.flush()
        if self._unwritten:
            self._write(self._unwritten)
            self._unwritten = None
        if not self._pending:
            self._wait(0)
            self._manifest().write(self._path / MANIFEST)
            return
        segment = self._segment(self._pending.cut(hold_back))
        if self._live:
            self._unwritten = segment
            self._write(segment)
            self._unwritten = None
        else:
            self._wait(0)  # one at a time, while the next is read
            self._in_work.append(self._threads.submit(self._write, segment))

    def _segment(self, batch: Batch) -> "_Segment":
        names = list(self._sources)
        groups = [_group(batch, start, end, names) for start, end in batch.cuts]
        for group in groups:
            self._ledger.kept.update(group.sources)
        self._ledger.widen(window_of(batch.table), hosts_of(batch.table))
        manifest = self._manifest()
        self._segments += 1
        file = self._path / "exchanges" / f"{self._segments:06d}.parquet"
        return _Segment(file, batch, notes_for(self._ledger.news(manifest), groups), manifest)

    def _write(self, segment: "_Segment") -> None:
        batch = segment.batch
        if self._seal and batch.undecided.size:  # first, so that no segment is there without it
            self._seal.write(batch.undecided, batch.originals, segment.file.with_suffix(".sealed"))
        with SegmentWriter(segment.file) as writer:
            for start, end in batch.cuts:
                writer.write(batch.rows(start, end))
            writer.note(segment.notes)
        segment.manifest.write(self._path / MANIFEST)
        give_back_memory()

    def _wait(self, in_work: int) -> None:
        while len(self._in_work) > in_work:
            self._in_work.pop(0).result()

    def _manifest(self) -> Manifest:
        scrubber = self._scrubber
        all_scrubbing = [self._scrubbing] if self._scrubbing else []
        if scrubber:
            all_scrubbing.append(Scrubbing(True, dict(scrubber.counts), scrubber.key.id))
        return self._ledger.manifest(Scrubbing.merged(all_scrubbing), scrubber.dropped if scrubber else None)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment to be written, what is noted in it, and the manifest that is true when it is there."""

    file: Path
    batch: Batch
    notes: dict[str, str]
    manifest: Manifest


def _group(batch: Batch, start: int, end: int, names: list[str]) -> Group:
    counts = np.bincount(batch.sources[start:end], minlength=len(names)).tolist()
    undecided = int(np.searchsorted(batch.undecided, end) - np.searchsorted(batch.undecided, start))
    return Group({name: count for name, count in zip(names, counts, strict=True) if count}, undecided)
