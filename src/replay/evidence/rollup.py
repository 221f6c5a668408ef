"""Many small segments become a few large ones, while the run goes on: a second's segment compresses badly.

A merged file is written beside its parts, renamed into place, and then the parts are deleted. It names them in its own
metadata, so that whoever is killed in between leaves neither a loss nor a double: where both are there, the merged file
counts and its parts do not.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from replay.evidence.files import LOG_SCHEMA, NEW_COLUMNS, OBSERVATION_SCHEMA, READING_SCHEMA, RETRY_SCHEMA
from replay.parquet import open_file, read_parquet

MERGED = "merged+"  # what the names of merged files begin with; no writer's name has a plus
KINDS = {
    "observations": OBSERVATION_SCHEMA,
    "retries": RETRY_SCHEMA,
    "readings": READING_SCHEMA,
    "log": LOG_SCHEMA,
}
_REPLACES = b"replaces"
_MOST_ROWS = 100_000  # some 60 MB while they are merged
_EVERY_S = 600.0
_AGE_S = 30.0  # whoever watches has read a segment long before
_LEVEL = 9
_TRIES = 5
Read = TypeVar("Read")


def segment_files(folder: Path) -> list[Path]:
    """The segments in a folder that count, in the order of their names: not those that a merged file stands for."""
    files = sorted(folder.glob("*.parquet"))
    replaced = {name for file in files if file.name.startswith(MERGED) for name in _replaced_by(file)}
    return [file for file in files if file.name not in replaced or file.name.startswith(MERGED)]


class MovedError(Exception):
    """Segments were merged while they were read: to be read from the beginning again."""


def read_segments(
    folder: Path, schema: pa.Schema, columns: Sequence[str] | None = None, dictionaries: Sequence[str] = ()
) -> Iterator[tuple[Path, pa.Table | Exception]]:
    """Each segment's rows, of ``columns`` where given, or what was wrong with it; one is in memory at a time.

    Columns of text among ``dictionaries`` come as dictionaries. Raises MovedError where a roll-up has taken one away
    meanwhile, see ``steadily``.
    """
    names = schema.names if columns is None else list(columns)
    wanted = schema_of(schema, names, dictionaries)
    for file in segment_files(folder):
        try:
            yield file, _read(file, wanted, None if columns is None else names, dictionaries)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            if not os.path.lexists(file):
                raise MovedError(str(file)) from error
            yield file, error


def _read(
    file: Path, wanted: pa.Schema, columns: Sequence[str] | None = None, dictionaries: Sequence[str] = ()
) -> pa.Table:
    """A segment's rows as ``wanted``, null in new columns where the segment is older than these.

    Raises ValueError, KeyError, OSError and pyarrow's ArrowException.
    """
    _check_regular(file)
    table = read_parquet(file, columns, dictionaries)
    if strange := sorted(set(table.column_names) - set(wanted.names)):
        raise ValueError(f"it has columns that nobody knows: {strange}")  # what is damaged may be a name
    for field in wanted:
        if field.name in NEW_COLUMNS and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    table = table.select(wanted.names)
    return table if table.schema.equals(wanted) else table.cast(wanted)


def _check_regular(file: Path) -> None:
    if not stat.S_ISREG(file.lstat().st_mode):
        raise OSError("it is not a file of its own")  # a link leads elsewhere, and a pipe has no end


def schema_of(schema: pa.Schema, columns: Sequence[str], dictionaries: Sequence[str]) -> pa.Schema:
    """The schema of what ``read_segments`` gives."""
    texts = pa.dictionary(pa.int32(), pa.string())
    fields = [schema.field(name) for name in columns]
    return pa.schema([field.with_type(texts) if field.name in dictionaries else field for field in fields])


def steadily(read: Callable[[], Read]) -> Read:
    """What ``read`` gives, begun anew where segments were merged meanwhile; there are minutes between two merges."""
    for _ in range(_TRIES):
        try:
            return read()
        except MovedError:
            continue
    return read()


def roll_up(folder: Path, schema: pa.Schema, *, whole: bool = False) -> int:
    """Merge what is ready to be in one folder of segments. How many segments were merged.

    Ready are 100,000 rows, or ten minutes; with ``whole``, which is for the end, whatever is left beside merged files.
    A segment that cannot be read stays as it is. Raises OSError where the disk is full.
    """
    merged = 0
    now = time.time()
    batch: list[Path] = []
    rows = 0
    for file, changed in _loose(folder):
        if now - changed < _AGE_S and not whole:
            break
        try:
            rows += _footer(file).num_rows
        except (OSError, pa.ArrowException):
            continue
        batch.append(file)
        if rows >= _MOST_ROWS:
            merged += _merge(folder, batch, schema)
            batch, rows = [], 0
    if batch and (now - batch[0].lstat().st_mtime >= _EVERY_S or (whole and _merged(folder))):
        merged += _merge(folder, batch, schema)
    return merged


def tidy(arm: Path, *, whole: bool = False) -> int:
    """Roll up all folders of an arm."""
    found = sum(roll_up(arm / kind, schema, whole=whole) for kind, schema in KINDS.items())
    if found:
        pa.default_memory_pool().release_unused()
    return found


def _loose(folder: Path) -> list[tuple[Path, float]]:
    """The segments that no merged file stands for, the oldest first, and when each was written.

    Those that one stands for are what a killed roll-up left: they go.
    """
    every = sorted(folder.glob("*.parquet"))
    counting = set(segment_files(folder))
    for file in every:
        if file not in counting:
            file.unlink(missing_ok=True)
    loose = [(file, file.lstat().st_mtime) for file in every if file in counting and not file.name.startswith(MERGED)]
    return sorted(loose, key=lambda one: (one[1], one[0].name))


def _merge(folder: Path, parts: Sequence[Path], schema: pa.Schema) -> int:
    tables, taken = [], []
    for file in parts:
        try:
            tables.append(_read(file, schema))
        except (pa.ArrowException, OSError, KeyError, ValueError):
            continue  # the judge will name it
        taken.append(file)
    if len(taken) < 2:
        return 0
    order = "request" if "request" in schema.names else "at_s"
    table = pa.concat_tables(tables).sort_by([(order, "ascending")])
    del tables
    number = 1 + max((int(file.stem.removeprefix(MERGED)) for file in _merged(folder)), default=0)
    name = f"{MERGED}{number:06d}.parquet"
    metadata = {_REPLACES: json.dumps([file.name for file in taken])}
    partial = folder / f".{name}.part"
    try:
        with partial.open("wb") as sink:
            _write(table.replace_schema_metadata(metadata), sink)
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(folder / name)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    for file in taken:
        file.unlink(missing_ok=True)
    return len(taken)


def _write(table: pa.Table, sink: object) -> None:
    numbers = {field.name: "DELTA_BINARY_PACKED" for field in table.schema if pa.types.is_integer(field.type)}
    floats = {field.name: "BYTE_STREAM_SPLIT" for field in table.schema if pa.types.is_floating(field.type)}
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "digest"]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=_LEVEL,
        write_page_checksum=True,
        use_dictionary=texts,
        column_encoding=numbers | floats,
    )


def _merged(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob(f"{MERGED}*.parquet") if file.stem.removeprefix(MERGED).isdecimal())


def _replaced_by(file: Path) -> frozenset[str]:
    """The segments that a merged file stands for; none where it cannot be read."""
    try:
        metadata = _footer(file).metadata or {}
        return frozenset(map(str, json.loads(metadata.get(_REPLACES, b"[]"))))
    except (OSError, pa.ArrowException, ValueError, TypeError, RecursionError):
        return frozenset()


def _footer(file: Path) -> pq.FileMetaData:
    _check_regular(file)
    with open_file(file) as source:
        return pq.read_metadata(source)
