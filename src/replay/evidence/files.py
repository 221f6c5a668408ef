"""Writing a run's evidence while it happens. Everything is closed in small segments, renamed into place.

::

    runs/NAME/rehearsal.json               the plan as resolved, versions, digests, seed, Stage, and the run's state
    runs/NAME/workloads/WORKLOAD.json      the models, for coverage and expectations
    runs/NAME/arms/ARM/arm.json            ArmInfo
    runs/NAME/arms/ARM/observations/*.parquet   retries/*.parquet   readings/*.parquet   log/*.parquet
    runs/NAME/arms/ARM/marks.jsonl         samples.jsonl
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.evidence.values import ArmInfo, Attempt, LogEvent, Mark, Observation, Reading, Sample

# Half a character out of a broken body has no UTF-8; as a JSON escape (\ud800) it comes back as it was.
LONE_SURROGATES = "backslashreplace"
OBSERVATION_SCHEMA = pa.schema(
    [
        pa.field("request", pa.int64(), nullable=False),
        pa.field("visit", pa.int64(), nullable=False),
        pa.field("client", pa.string(), nullable=False),
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("due_s", pa.float64(), nullable=False),
        pa.field("waited_s", pa.float64(), nullable=False),
        pa.field("sent_s", pa.float64()),
        pa.field("first_byte_s", pa.float64()),
        pa.field("done_s", pa.float64()),
        pa.field("status", pa.int32()),
        pa.field("size_bytes", pa.int64()),
        pa.field("digest", pa.string()),
        pa.field("shape", pa.string()),
        pa.field("expected_status", pa.int32()),
        pa.field("expected_shape", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("caused_by", pa.int64()),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("items", pa.int64()),
        pa.field("expected_items", pa.int64()),
        pa.field("reads_back", pa.int64()),
    ]
)
NEW_COLUMNS = frozenset({"items", "expected_items", "reads_back"})  # which evidence from before may lack
RETRY_SCHEMA = pa.schema(
    [
        pa.field("request", pa.int64(), nullable=False),
        pa.field("attempt", pa.int64(), nullable=False),
        pa.field("why", pa.string(), nullable=False),
        pa.field("caused_by", pa.int64()),
        pa.field("sent_s", pa.float64()),
        pa.field("done_s", pa.float64()),
        pa.field("status", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("worker", pa.string(), nullable=False),
    ]
)
READING_SCHEMA = pa.schema(
    [
        pa.field("at_s", pa.float64(), nullable=False),
        pa.field("probe", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),  # a JSON object
    ]
)
LOG_SCHEMA = pa.schema(
    [
        pa.field("at_s", pa.float64(), nullable=False),
        pa.field("probe", pa.string(), nullable=False),
        pa.field("template", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("example", pa.string(), nullable=False),
    ]
)


class ArmFolder:
    """Where one arm's evidence lies. Several processes may write into it, each under a writer's name of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    def create(self) -> None:
        """Make the folder and those within it."""
        for name in ("observations", "retries", "readings", "log"):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def hold(self) -> None:
        """Say that this process writes here, until it ends, however it does."""
        self._held = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._held, fcntl.LOCK_SH)

    def is_held(self) -> bool:
        """Whether another process writes here."""
        if not self.path.is_dir():
            return False
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def write_info(self, info: ArmInfo) -> None:
        """Write ``arm.json`` whole."""
        write_json(self.path / "arm.json", dataclasses.asdict(info))

    def observations(self, writer: str) -> "Segments":
        """Segments of observations from one writer."""
        return Segments(self.path / "observations", writer, OBSERVATION_SCHEMA)

    def retries(self, writer: str) -> "Segments":
        """Segments of attempts, those after the first, from one writer."""
        return Segments(self.path / "retries", writer, RETRY_SCHEMA)

    def readings(self, writer: str) -> "Segments":
        """Segments of readings from one probe."""
        return Segments(self.path / "readings", writer, READING_SCHEMA)

    def log(self, writer: str) -> "Segments":
        """Segments of log events from one probe."""
        return Segments(self.path / "log", writer, LOG_SCHEMA)

    def mark(self, mark: Mark) -> None:
        """Append a mark and see it to the disk."""
        append_line(self.path / "marks.jsonl", dataclasses.asdict(mark))

    def sample(self, sample: Sample) -> None:
        """Append a sample."""
        append_line(self.path / "samples.jsonl", dataclasses.asdict(sample))


class Segments:
    """Numbered Parquet segments ``WRITER-000001.parquet`` in one folder, each complete as soon as its name is there."""

    def __init__(self, folder: Path, writer: str, schema: pa.Schema) -> None:
        self._folder = folder
        self._writer = writer
        self._schema = schema
        self._number = 0

    def write(self, rows: Iterable[Observation | Attempt | Reading | LogEvent]) -> None:
        """Close ``rows`` as one segment. No rows, no segment."""
        dicts = [_row(row) for row in rows]
        if not dicts:
            return
        self._number += 1
        name = f"{self._writer}-{self._number:06d}.parquet"
        table = pa.Table.from_pylist(dicts, schema=self._schema)
        partial = self._folder / f".{name}.part"
        with partial.open("wb") as sink:  # pyarrow takes a path with a colon for an address
            pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        partial.replace(self._folder / name)


_NAMES = {
    kind: tuple(field.name for field in dataclasses.fields(kind)) for kind in (Observation, Attempt, Reading, LogEvent)
}


def _row(row: Observation | Attempt | Reading | LogEvent) -> dict[str, Any]:
    # Not asdict, which copies deeply: this runs beside the dispatch of requests, once for each.
    values = {name: getattr(row, name) for name in _NAMES[type(row)]}
    if isinstance(row, Reading):
        values["detail"] = json.dumps(row.detail, sort_keys=True)
    return values


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON (keys sorted, two spaces), whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8", LONE_SURROGATES))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    # Two may write it at once: each has a name of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def append_line(path: Path, value: object) -> None:
    """Append ``value`` as one JSON line, with a single write. Raises OSError where it is not written whole."""
    line = (json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", LONE_SURROGATES)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)
