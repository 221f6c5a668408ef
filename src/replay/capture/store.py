"""A capture's folder: written in small segments while it grows, merged in order of time when it is complete.

::

    captures/NAME/capture.json              the manifest
    captures/NAME/exchanges/000001.parquet  segments while it is recorded, then merged.parquet alone
    captures/NAME/skipped.jsonl             what could not become an exchange, and why
    captures/NAME/.recording                locked by the process that records, gone when it is complete
"""

import dataclasses
import fcntl
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from replay.capture.manifest import COMPLETE, RECORDING, Manifest, Scrubbing, Source, load_manifest
from replay.capture.scrub import Scrubber
from replay.capture.segments import Row, bytes_of, rows_in_order, to_exchange, to_row, write_segment
from replay.errors import InputError
from replay.traffic import Exchange, Skipped

_FLUSH_AFTER_S = 1.0
_FLUSH_AFTER_BYTES = 16_000_000
_MERGED = "merged.parquet"
_HINT = "Record one with `replay capture`."


class CaptureWriter:
    """Writes a new capture; a context manager that completes it. For one thread.

    What is added is scrubbed first, and reaches the disk within about a second of the next call, so that a crash
    costs no more. Raises InputError where ``path`` exists already.
    """

    def __init__(
        self,
        path: Path,
        *,
        environment: str,
        name: str = "",
        hosts: Iterable[str] = (),
        scrubber: Scrubber | None,
    ) -> None:
        if path.exists():
            raise InputError(f"{path} exists already.", "Give the capture another folder, or move that one away.")
        try:
            (path / "exchanges").mkdir(parents=True)
        except OSError as error:
            raise InputError(f"The folder {path} cannot be made: {error.strerror}.") from error
        self._path = path
        self._name = name or path.resolve().name
        self._environment = environment
        self._scrubber = scrubber
        self._hosts = set(hosts)
        self._window: tuple[datetime, datetime] | None = None
        self._kept: Counter[str] = Counter()
        self._skipped: dict[str, Counter[str]] = {}
        self._bodies_not_kept: Counter[str] = Counter()
        self._rows: list[Row] = []
        self._bytes = 0
        self._segments = 0
        self._flushed_at = time.monotonic()
        self._lock = _lock(path)
        self._skipped_file = (path / "skipped.jsonl").open("w", encoding="utf-8")
        self._write_manifest(RECORDING)

    def add(self, exchange: Exchange, source: str = "") -> None:
        """Keep an exchange that came from ``source``."""
        if self._scrubber:
            exchange = self._scrubber.exchange(exchange)
        row = to_row(exchange)
        self._rows.append(row)
        self._bytes += bytes_of(row)
        self._kept[source] += 1
        self._hosts.add(exchange.request.host)
        self._window = _widened(self._window, row)
        if self._bytes >= _FLUSH_AFTER_BYTES:
            self.flush()
        else:
            self.flush_if_due()

    def skip(self, skipped: Skipped) -> None:
        """Note a record that could not become an exchange."""
        if self._scrubber:
            skipped = self._scrubber.skipped(skipped)
        self._skipped.setdefault(skipped.source, Counter())[skipped.reason] += 1
        self._skipped_file.write(json.dumps(dataclasses.asdict(skipped), ensure_ascii=False) + "\n")
        self.flush_if_due()

    def body_not_kept(self, reason: str) -> None:
        """Count a body that its exchange lacks."""
        self._bodies_not_kept[reason] += 1

    def flush_if_due(self) -> None:
        """Flush where that was last done a second ago. To be called now and then while nothing is added."""
        if time.monotonic() - self._flushed_at >= _FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Close what was added as a segment, and bring the manifest up to date."""
        self._flushed_at = time.monotonic()
        self._skipped_file.flush()
        if self._rows:
            self._segments += 1
            self._rows.sort(key=lambda row: row["at"])
            write_segment(self._rows, self._path / "exchanges" / f"{self._segments:06d}.parquet")
            self._rows = []
            self._bytes = 0
            self._write_manifest(RECORDING)

    def close(self) -> None:
        """Merge the segments in order of time and complete the capture. Once is enough; more does nothing."""
        if self._skipped_file.closed:
            return
        self.flush()
        self._skipped_file.close()
        _complete(self._path, self._manifest(RECORDING))
        _unlock(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # what there is stays as a capture that was not finished
            self.flush()
            self._skipped_file.close()
            self._lock.close()

    def _manifest(self, state: str) -> Manifest:
        scrubber = self._scrubber
        return Manifest(
            name=self._name,
            environment=self._environment,
            state=state,
            exchanges=self._kept.total(),
            window=self._window,
            hosts=tuple(sorted(self._hosts)),
            sources=tuple(
                _source(name, self._kept[name], self._skipped.get(name, Counter()))
                for name in sorted(self._kept.keys() | self._skipped.keys())
            ),
            scrubbing=Scrubbing(True, dict(scrubber.counts), scrubber.key.id) if scrubber else Scrubbing(on=False),
            bodies_not_kept=dict(self._bodies_not_kept),
        )

    def _write_manifest(self, state: str) -> None:
        self._manifest(state).write(self._path / "capture.json")


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture that can be read."""

    path: Path
    manifest: Manifest

    def exchanges(self) -> Iterator[Exchange]:
        """Its exchanges in order of time."""
        return read_exchanges(self.path)

    def digest(self) -> str:
        """32 hex digits over the exchanges in order, the same however they are divided into files or compressed."""
        digest = hashlib.blake2b(digest_size=16)
        for row in rows_in_order(_complete_files(self.path, self.manifest)):
            digest.update(repr(tuple({**row, "at": row["at"].timestamp()}.values())).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def open_capture(path: Path) -> Capture:
    """A complete capture. Raises InputError where it is missing, broken or not finished."""
    return Capture(path, read_manifest(path))


def read_manifest(path: Path, *, repair: bool = False) -> Manifest:
    """The manifest of the capture in ``path``.

    Raises InputError where there is no capture, where the manifest is broken, and where the capture is not complete.
    With ``repair``, one that is not complete is read all the same, and what a lost manifest said is made up from the
    exchanges that are there.
    """
    if not path.is_dir():
        raise InputError(f"There is no capture at {path}.", _HINT)
    try:
        manifest = load_manifest(path / "capture.json")
    except InputError as error:
        if not _segment_files(path):
            raise InputError(error.message, error.hint or _HINT) from error
        if not repair:
            raise InputError(error.message, error.hint or _saving(path)) from error
        return _made_up(path)
    if manifest.state != COMPLETE:
        if not repair:
            if is_recording(path):
                raise InputError(f"The capture {path} is still being recorded.", "End that first, with Ctrl-C.")
            raise InputError(f"The capture {path} is half written: its recording broke off.", _saving(path))
        return _counted(path, manifest)
    return manifest


def read_exchanges(
    path: Path, *, repair: bool = False, on_damage: Callable[[InputError], None] | None = None
) -> Iterator[Exchange]:
    """The exchanges of the capture in ``path``, ordered by ``at``.

    Raises InputError as ``read_manifest`` does, and where a segment is missing or damaged. With ``repair`` it gives
    what can be read of any capture, and tells ``on_damage`` what cannot.
    """
    manifest = read_manifest(path, repair=repair)
    if repair:
        return map(to_exchange, rows_in_order(_files_to_repair(path), on_damage or (lambda _: None)))
    return map(to_exchange, _all_rows(path, manifest))


def repair_capture(path: Path) -> Manifest:
    """Complete a capture whose recording broke off, with what can be read of it.

    A damaged segment is put aside as ``NAME.parquet.damaged``, never deleted. Raises InputError where there is no
    capture, or where it is still being recorded.
    """
    manifest = read_manifest(path, repair=True)
    if is_recording(path):
        raise InputError(f"The capture {path} is still being recorded.", "End that first, with Ctrl-C.")
    if manifest.state == COMPLETE:
        _check_whole(path, manifest)
        return manifest
    lock = _lock(path)
    for file in _files_to_repair(path):
        damage: list[InputError] = []
        for _ in rows_in_order([file], damage.append):
            pass
        if damage:
            file.rename(file.with_name(f"{file.name}.damaged"))
    completed = _complete(path, _counted(path, manifest))
    _unlock(lock)
    return completed


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


def read_skipped(path: Path) -> list[Skipped]:
    """What was skipped, in order; a last line that a crash broke off is left out."""
    file = path / "skipped.jsonl"
    if not file.is_file():
        return []
    skipped = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            skipped.append(Skipped(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return skipped


def _complete(path: Path, manifest: Manifest) -> Manifest:
    """Merge and say so. A crash at any moment leaves every exchange in a file that a repair reads, and none twice."""
    folder = path / "exchanges"
    merged = folder / _MERGED
    files = _files_to_repair(path)
    if files and files != [merged]:
        write_segment(rows_in_order(files), merged)
    completed = dataclasses.replace(manifest, state=COMPLETE, segments=(f"exchanges/{_MERGED}",) if files else ())
    completed.write(path / "capture.json")
    for file in _segment_files(path):
        if file != merged:
            file.unlink()
    return completed


def _files_to_repair(path: Path) -> list[Path]:
    merged = path / "exchanges" / _MERGED
    return [merged] if merged.is_file() else _segment_files(path)


def _segment_files(path: Path) -> list[Path]:
    return sorted((path / "exchanges").glob("*.parquet"))


def _complete_files(path: Path, manifest: Manifest) -> list[Path]:
    files = [path / segment for segment in manifest.segments]
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise InputError(f"The capture {path} lacks its segment {missing.name}.", "Take it from a backup.")
    return files


def _all_rows(path: Path, manifest: Manifest) -> Iterator[Row]:
    count = 0
    for row in rows_in_order(_complete_files(path, manifest)):
        count += 1
        yield row
    if count != manifest.exchanges:
        raise InputError(
            f"The capture {path} holds {count} exchanges where its manifest says {manifest.exchanges}.",
            "Take it from a backup.",
        )


def _check_whole(path: Path, manifest: Manifest) -> None:
    for _ in _all_rows(path, manifest):
        pass


def _counted(path: Path, manifest: Manifest) -> Manifest:
    """The manifest with exchanges, window, hosts and sources as they can be counted in the files."""
    window: tuple[datetime, datetime] | None = None
    hosts = set(manifest.hosts)
    count = 0
    for row in rows_in_order(_files_to_repair(path), lambda _: None):
        count += 1
        hosts.add(row["host"])
        window = _widened(window, row)
    skipped: dict[str, Counter[str]] = {}
    for entry in read_skipped(path):
        skipped.setdefault(entry.source, Counter())[entry.reason] += 1
    names = {source.name for source in manifest.sources} | skipped.keys()
    if len(names) == 1:
        sources = tuple(_source(name, count, skipped.get(name, Counter())) for name in names)
    else:  # which of several sources the last exchanges came from is not written in them
        sources = manifest.sources
    return dataclasses.replace(
        manifest, exchanges=count, window=window, hosts=tuple(sorted(hosts)), sources=sources, segments=()
    )


def _made_up(path: Path) -> Manifest:
    # Nobody says what environment this is, so it counts as the one to be careful with.
    blank = Manifest(
        path.resolve().name, "production", RECORDING, 0, None, (), (Source("unknown"),), Scrubbing(on=False)
    )
    return _counted(path, blank)


def _source(name: str, kept: int, skipped: Counter[str]) -> Source:
    return Source(name, kept + skipped.total(), kept, dict(skipped))


def _widened(window: tuple[datetime, datetime] | None, row: dict[str, Any]) -> tuple[datetime, datetime]:
    start = row["at"].astimezone(UTC)
    end = start + timedelta(seconds=row["duration_s"])
    return (min(window[0], start), max(window[1], end)) if window else (start, end)


def _saving(path: Path) -> str:
    return f"`replay inspect {path}` shows what can be saved of it, and with --repair saves it."


def _lock(path: Path) -> IO[str]:
    file = (path / ".recording").open("w", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _unlock(lock: IO[str]) -> None:
    Path(lock.name).unlink(missing_ok=True)
    lock.close()
