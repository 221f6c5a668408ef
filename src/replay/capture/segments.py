"""Exchanges as the columns of Parquet files: how a segment is built, written and read.

Row groups are small (about 4 MB) and read one by one, and no file stays open between two, so that reading takes the
same memory whatever the size and number of segments. Each page has a checksum, so that damage is seen.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from replay.errors import InputError
from replay.parquet import open_file
from replay.traffic import Exchange, Headers, Request, Response

SCHEMA = pa.schema(
    [
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("client", pa.string(), nullable=False),
        pa.field("connection", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("host", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("request_headers", pa.string(), nullable=False),  # JSON: [[name, value], ...]
        pa.field("request_body", pa.binary()),
        pa.field("status", pa.int32()),  # null where no response came, as are the three that follow
        pa.field("response_headers", pa.string()),
        pa.field("response_body", pa.binary()),
        pa.field("response_bytes", pa.int64()),
        pa.field("error", pa.string(), nullable=False),
    ]
)
ROWS_IN_GROUP = 65_536
BYTES_IN_GROUP = 4_000_000
LONGEST_S = 1e9  # what is said to have lasted longer is nonsense, and counts as not known

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US, _LAST_US = (round(datetime(year, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000 for year in (1, 9999))
_ROW_BYTES = 80  # what a row takes beside its texts
_HEADERS_REMEMBERED = 20_000
_HINT = "`replay inspect` shows what can be saved of the capture."
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPTIONS = {
    "compression": "zstd",
    # Moments and sizes hardly repeat, and a dictionary of them costs time and space.
    "use_dictionary": [name for name in SCHEMA.names if name not in {"at", "response_bytes"}],
    "column_encoding": {"at": "DELTA_BINARY_PACKED"},
    "write_statistics": ["at"],
    "write_page_checksum": True,
}

Microseconds = npt.NDArray[np.int64]


# Exchanges as columns


def to_table(exchanges: Sequence[Exchange]) -> pa.Table:
    """Exchanges as a table of SCHEMA. Whatever they hold can be stored: what is no text or no number is replaced."""
    requests = [exchange.request for exchange in exchanges]
    responses = [exchange.response for exchange in exchanges]
    columns: list[list[Any]] = [
        [exchange.at for exchange in exchanges],
        [_duration(exchange.duration_s) for exchange in exchanges],
        [exchange.client for exchange in exchanges],
        [exchange.connection for exchange in exchanges],
        [request.method for request in requests],
        [request.host for request in requests],
        [request.path for request in requests],
        [request.query for request in requests],
        [_headers_text(request.headers) for request in requests],
        [request.body for request in requests],
        [response.status if response else None for response in responses],
        [_headers_text(response.headers) if response else None for response in responses],
        [response.body if response else None for response in responses],
        [response.size_bytes if response else None for response in responses],
        [exchange.error for exchange in exchanges],
    ]
    arrays = [_array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def to_exchanges(table: pa.Table, headers: dict[str, Headers] | None = None) -> Iterator[Exchange]:
    """The exchanges of a table. ``headers`` remembers what was decoded from one table to the next.

    Raises InputError where the headers of one are no list of names and values.
    """
    known = {} if headers is None else headers
    columns = [table[name].to_pylist() for name in SCHEMA.names[1:]]
    for us, row in zip(moments_of(table).tolist(), zip(*columns, strict=True), strict=True):
        duration_s, client, connection, method, host, path, query, sent, body = row[:9]
        status, got, answer, size, error = row[9:]
        request = Request(method, host, path, query, _headers(sent, known), body)
        response = None if status is None else Response(status, _headers(got or "[]", known), answer, size or 0)
        yield Exchange(_EPOCH + timedelta(microseconds=us), duration_s, client, connection, request, response, error)


def as_schema(table: pa.Table) -> pa.Table:
    """``table`` with SCHEMA's columns and types. Raises InputError where it lacks one."""
    if table.schema.equals(SCHEMA):
        return table
    missing = [name for name in SCHEMA.names if name not in table.schema.names]
    if missing:
        raise InputError(f"A table of exchanges lacks the column {missing[0]}.")
    return table.select(SCHEMA.names).cast(SCHEMA)


def moments_of(table: pa.Table) -> Microseconds:
    """The column ``at`` as microseconds since 1970."""
    found: Microseconds = table["at"].cast(pa.int64()).to_numpy()
    return found


def is_sorted(moments: Microseconds) -> bool:
    """Whether moments come in order."""
    return bool((moments[1:] >= moments[:-1]).all())


def in_order(table: pa.Table) -> pa.Table:
    """``table`` in order of ``at``; rows of one moment stay as they are."""
    moments = moments_of(table)
    return table if is_sorted(moments) else table.take(pa.array(np.argsort(moments, kind="stable")))


def with_durations(table: pa.Table) -> pa.Table:
    """``table`` with 0.0 for each duration that is none."""
    durations = table["duration_s"].to_numpy()
    good = (durations >= 0) & (durations <= LONGEST_S)
    if good.all():
        return table
    return table.set_column(1, SCHEMA.field("duration_s"), pa.array(np.where(good, durations, 0.0)))


def window_of(table: pa.Table) -> tuple[datetime, datetime] | None:
    """From the first request to the last answer of a table; None where it is empty."""
    if not table.num_rows:
        return None
    moments = moments_of(table)
    ends = moments + (table["duration_s"].to_numpy() * 1e6).round().astype(np.int64)
    return _moment(int(moments.min())), _moment(int(ends.max()))


def hosts_of(table: pa.Table) -> set[str]:
    """The hosts that a table names."""
    return set(pc.unique(table["host"]).to_pylist())


def bytes_of(exchange: Exchange) -> int:
    """About how much memory an exchange takes."""
    request, response = exchange.request, exchange.response
    size = 400 + len(request.path) + len(request.query) + len(request.body or b"") + _headers_bytes(request.headers)
    return size + (len(response.body or b"") + _headers_bytes(response.headers) if response else 0)


def row_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """About how many bytes each row takes."""
    sizes = np.full(table.num_rows, _ROW_BYTES, np.int64)
    for field in SCHEMA:
        if pa.types.is_string(field.type) or pa.types.is_binary(field.type):
            sizes += pc.binary_length(table[field.name]).fill_null(0).to_numpy()
    return sizes


def find_groups(sizes: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where to cut rows of such sizes into row groups: the first row of each, and the row after its last."""
    ends = np.cumsum(sizes)
    groups, start = [], 0
    while start < sizes.size:
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + BYTES_IN_GROUP, side="right"))
        end = min(max(end, start + 1), start + ROWS_IN_GROUP)
        groups.append((start, end))
        start = end
    return groups


# Files


class SegmentWriter:
    """Writes one segment, a file that appears whole or not at all. A context manager."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._partial = file.with_name(f".{file.name}.part")
        # Opened here, as pyarrow takes a path with a colon for an address.
        self._sink = self._partial.open("wb")
        self._writer = pq.ParquetWriter(self._sink, SCHEMA, **_OPTIONS)

    def write(self, table: pa.Table) -> None:
        """Add ``table`` as a row group."""
        self._writer.write_table(table)

    def note(self, metadata: Mapping[str, str]) -> None:
        """Write ``metadata`` into the file."""
        self._writer.add_key_value_metadata(metadata)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                self._writer.close()
            finally:
                self._sink.close()
            if kind is None:
                self._partial.replace(self._file)
        finally:
            self._partial.unlink(missing_ok=True)


def write_segment(tables: Iterable[pa.Table], file: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tables, which are joined to row groups, as one segment."""
    with SegmentWriter(file) as segment:
        waiting: list[pa.Table] = []
        size = 0
        for table in tables:
            waiting.append(table)
            size += table.nbytes
            if size >= BYTES_IN_GROUP:
                _write_groups(segment, pa.concat_tables(waiting))
                waiting, size = [], 0
                give_back_memory()
        if waiting:
            _write_groups(segment, pa.concat_tables(waiting))
        segment.note(metadata or {})


def _write_groups(segment: SegmentWriter, table: pa.Table) -> None:
    for start, end in find_groups(row_bytes(table)):
        segment.write(table.slice(start, end - start))


class Segment:
    """A segment that is there. Raises InputError where its footer cannot be read or is not that of a segment."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with open_file(file) as source, pq.ParquetFile(source) as parquet:
                self._footer = parquet.metadata
                schema = parquet.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Damaged(file, error) from error
        found = {field.name: field.type for field in schema}
        for field in SCHEMA:
            if field.name not in found:
                raise Damaged(file, ValueError(f"it lacks the column {field.name}"))
            kind = _kind(found[field.name])
            if kind != _kind(field.type) and not (field.nullable and kind == _NOTHING):
                raise Damaged(file, ValueError(f"its column {field.name} is of the type {found[field.name]}"))
        self.is_exact = bool(schema.equals(SCHEMA))
        """Whether its columns are SCHEMA's and no more, else those that another program made of them."""

    @property
    def rows(self) -> int:
        """How many exchanges it holds."""
        return int(self._footer.num_rows)

    @property
    def groups(self) -> int:
        """How many row groups it has."""
        return int(self._footer.num_row_groups)

    def rows_in(self, group: int) -> int:
        """How many exchanges a row group holds."""
        return int(self._footer.row_group(group).num_rows)

    def metadata(self, name: str) -> str:
        """What was noted in the file under ``name``, or nothing."""
        return str((self._footer.metadata or {}).get(name.encode(), b""), "utf-8", "replace")

    def read(self, group: int, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
        """A row group, in order of ``at``. Raises InputError where it is damaged."""
        try:
            with (
                open_file(self.file) as source,
                pq.ParquetFile(source, metadata=self._footer, page_checksum_verification=True) as parquet,
            ):
                table = parquet.read_row_group(group, columns=list(columns), use_threads=False)
            schema = pa.schema([SCHEMA.field(name) for name in columns])
            table = table.select(schema.names).replace_schema_metadata(None)
            if not table.schema.equals(schema):
                table = table.cast(schema)
            _check(table, self.rows_in(group))
            return in_order(table) if "at" in columns else table
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise Damaged(self.file, error) from error


def _check(table: pa.Table, rows: int) -> None:
    table.validate(full=True)
    if table.num_rows != rows:
        raise ValueError("a row group has another number of rows than it says")
    for field in table.schema:
        if not field.nullable and table[field.name].null_count:
            raise ValueError(f"an exchange has no {field.name}")
    moments = moments_of(table) if "at" in table.schema.names else np.empty(0)
    if moments.size and (moments.min() < _FIRST_US or moments.max() > _LAST_US):
        raise ValueError("a moment is beyond the calendar")
    durations = table["duration_s"].to_numpy() if "duration_s" in table.schema.names else np.empty(0)
    if not ((durations >= 0) & (durations <= LONGEST_S)).all():
        raise ValueError("a duration is no number of seconds")


def _kind(type_: pa.DataType) -> str:
    """What a column's type is for: a segment that another program wrote may have longer or shorter ones."""
    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    return next((kind for kind, holds in _KINDS.items() if holds(type_)), str(type_))


_NOTHING = "nothing"
_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "moment": pa.types.is_timestamp,
    "number": lambda type_: pa.types.is_integer(type_) or pa.types.is_floating(type_),
    "text": lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_),
    "bytes": lambda type_: pa.types.is_binary(type_) or pa.types.is_large_binary(type_),
    _NOTHING: pa.types.is_null,
}


def spare_memory() -> None:
    """Let this process take memory for Arrow from jemalloc, where there is one: an import takes an eighth less."""
    with contextlib.suppress(NotImplementedError):  # what Arrow raises where it was built without
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def give_back_memory() -> None:
    """Let the system have what Arrow keeps of the memory that was freed; without it a process takes twice as much."""
    pa.default_memory_pool().release_unused()


class Damaged(InputError):
    """A segment cannot be read, or not all of it."""

    def __init__(self, file: Path, error: Exception) -> None:
        reason = (str(error).splitlines() or ["unknown"])[0].rstrip(".")
        super().__init__(f"The segment {file} is damaged: {reason}.", _HINT)
        self.file = file


def _moment(us: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if us > 0 else datetime.min.replace(tzinfo=UTC)


def _duration(duration_s: float) -> float:
    return duration_s if 0 <= duration_s <= LONGEST_S else 0.0


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([value and _SURROGATE.sub("\ufffd", value) for value in values], kind)
    except (OverflowError, pa.ArrowInvalid):
        if not pa.types.is_integer(kind):
            raise
        largest = 2 ** (kind.bit_width - 1) - 1
        return pa.array([value if value is None else max(0, min(value, largest)) for value in values], kind)


def _headers_text(headers: Headers) -> str:
    text = json.dumps(headers)
    if "\\ud" in text:  # a pair of them is one character, and one alone is none
        headers = tuple((_SURROGATE.sub("\ufffd", name), _SURROGATE.sub("\ufffd", value)) for name, value in headers)
        text = json.dumps(headers)
    return text


def _headers_bytes(headers: Headers) -> int:
    return 200 * len(headers) + sum(map(len, itertools.chain.from_iterable(headers)))


def _headers(text: str, known: dict[str, Headers]) -> Headers:
    found = known.get(text)
    if found is None:
        try:
            found = tuple((str(name), str(value)) for name, value in json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError("The headers of an exchange are no list of names and values.", _HINT) from error
        if len(known) >= _HEADERS_REMEMBERED:
            known.clear()
        known[text] = found
    return found
