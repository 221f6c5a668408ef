"""Parquet, read in batches that are bounded whatever the file says of itself. See ``table``."""

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.segments import SCHEMA, as_schema, to_exchanges
from replay.capture.sources.entries import NotAnExchange, to_record
from replay.capture.sources.lines import FieldNames, some_kept
from replay.capture.sources.roles import BODIES, Reading
from replay.capture.sources.source import Lines, ReadOptions, Record
from replay.capture.sources.table_columns import check, reading_for
from replay.capture.sources.table_copy import seekable
from replay.capture.sources.table_lines import plain_rows
from replay.capture.sources.table_pages import Chunk, Width, find_plan, iter_chunks
from replay.capture.sources.table_values import leaf_names, leaves, pieces, texts, values
from replay.errors import InputError
from replay.traffic import Skipped

_MAGIC, _MAGIC_ENCRYPTED = b"PAR1", b"PARE"
_TAIL_BYTES = 8
_NUMBER_BYTES = 16
_FOOTER_LIMIT_BYTES = 64_000_000
_BUFFER_BYTES = 1 << 18
_BAD = (pa.ArrowException, OSError, EOFError, ValueError, TypeError, OverflowError, MemoryError)
# Columns of these can be read as dictionaries, however large their values are.
_TEXTS = frozenset({"STRING", "NONE", "JSON", "ENUM", "BSON"})

Item = Record | Lines | Skipped
# Some rows: how many, and what they became, or why one is none, by their number from 0.
Piece = tuple[int, list[tuple[int, Record | Lines | str]]]
Pieces = Callable[[pa.RecordBatch], Iterator[Piece]]


class Parquet:
    """See Source. A segment of a capture is read with all that it holds."""

    name = "parquet"
    title = "Parquet"

    def likeness(self, head: Head) -> float:
        """See Source."""
        return 1.0 if head.data.startswith((_MAGIC, _MAGIC_ENCRYPTED)) else 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Item]:
        """See Source. Rows have numbers from 1."""
        names = FieldNames()
        return some_kept(_read(file, options, names), file, lambda: str(names))


def _read(file: Input, options: ReadOptions, names: FieldNames) -> Iterator[Item]:
    with file.open() as stream:
        try:
            with seekable(stream, file.name) as whole:
                parquet = _Parquet(whole, file.name)
                if parquet.is_segment and not options.columns:
                    yield from parquet.read(list(SCHEMA.names), _exchanges)
                    return
                reading = reading_for(options)
                found = [name for field in parquet.schema for name in leaf_names(field.name, field.type, reading)]
                names.see(found)
                check(found, reading, file.name)
                wanted = [name for name in found if reading.roles(name)]
                yield from parquet.read(wanted, lambda batch: _records(batch, reading, options))
        except BROKEN_STREAM as error:
            raise InputError(f"{file.name} cannot be read: it is damaged or breaks off.") from error


def _exchanges(batch: pa.RecordBatch) -> Iterator[Piece]:
    """The rows of a segment. Its client's name stays one client's, as that of a user."""
    for start, end, reason in pieces(batch.columns, batch.num_rows):
        if reason:
            yield 1, [(0, reason)]
            continue
        piece = pa.table([_decoded(column.slice(start, end - start)) for column in batch.columns], batch.schema.names)
        table = as_schema(piece)
        table.validate(full=True)
        yield (
            end - start,
            [(n, Record(exchange, user=exchange.client)) for n, exchange in enumerate(to_exchanges(table))],
        )


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _records(batch: pa.RecordBatch, reading: Reading, options: ReadOptions) -> Iterator[Piece]:
    columns = [
        leaf
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
        for leaf in leaves(name, array, reading)
    ]
    for start, end, reason in pieces([array for _, array in columns], batch.num_rows):
        if reason:
            yield 1, [(0, reason)]
        else:
            some = [(name, array.slice(start, end - start)) for name, array in columns]
            yield end - start, _items(some, end - start, reading, options)


def _items(
    columns: list[tuple[str, pa.Array]], rows: int, reading: Reading, options: ReadOptions
) -> list[tuple[int, Record | Lines | str]]:
    items: list[tuple[int, Record | Lines | str]] = []
    odd = np.arange(rows)
    if plain := plain_rows(columns, reading, options):
        odd = np.flatnonzero(~plain.rows)
        columns = [(name, array.take(pa.array(odd))) for name, array in columns]
        if plain.table.num_rows:
            items.append((0, Lines(plain.table)))
    names = [name for name, _ in columns]
    cells = [_cells(name, array, reading) for name, array in columns]
    for number, row in zip(odd.tolist(), zip(*cells, strict=True), strict=True):
        try:
            items.append((number, to_record(reading.find(zip(names, row, strict=True)), options)))
        except NotAnExchange as error:
            items.append((number, str(error)))
    return items


def _cells(name: str, array: pa.Array, reading: Reading) -> list[Any]:
    found = values(array)
    return found if any(role.name in BODIES for role in reading.roles(name)) else texts(found)


class _Column(NamedTuple):
    """A column as it is stored, and its place among all."""

    place: int
    path: str
    is_text: bool
    width: Width


class _Parquet:
    """A Parquet file whose footer could be read. Raises InputError where it cannot."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._tail = self._read_tail()
        try:
            self._footer = pq.read_metadata(pa.PythonFile(stream, mode="r"))
            self.schema: pa.Schema = self._footer.schema.to_arrow_schema()
        except _BAD as error:
            raise InputError(f"{name} cannot be read: {_reason(error)}.") from error

    def _read_tail(self) -> bytes:
        size = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(max(0, size - _TAIL_BYTES))
        tail = self._stream.read(_TAIL_BYTES)
        if tail.endswith(_MAGIC_ENCRYPTED):
            raise InputError(f"{self._name} is encrypted Parquet.", "Export it without encryption.")
        footer_bytes = int.from_bytes(tail[:4], "little")
        if not tail.endswith(_MAGIC) or footer_bytes + _TAIL_BYTES > size:
            raise InputError(f"{self._name} is no Parquet, or not whole: its footer is missing.")
        if footer_bytes > _FOOTER_LIMIT_BYTES:
            raise InputError(f"{self._name} cannot be read safely: its footer has {footer_bytes:,} bytes.")
        self._stream.seek(size - _TAIL_BYTES - footer_bytes)
        return self._stream.read(footer_bytes)

    @property
    def is_segment(self) -> bool:
        """Whether it is a capture's own: names and types are all ours."""
        return all(
            field.name in self.schema.names and self.schema.field(field.name).type == field.type for field in SCHEMA
        )

    def read(self, wanted: list[str], pieces_of: Pieces) -> Iterator[Item]:
        """Row by row what ``pieces_of`` makes of the columns ``wanted``; what cannot be read of a group is skipped."""
        columns = [column for column in self._columns() if _is_within(column.path, wanted)]
        groups = iter_chunks(self._tail)
        row = 0
        for group in range(self._footer.num_row_groups):
            end = row + max(0, self._footer.row_group(group).num_rows)
            try:
                chunks = next(groups, [])
                for batch in self._batches(group, chunks, columns, wanted):
                    for count, items in pieces_of(batch):
                        for number, item in items:
                            where = f"row {row + number + 1}"
                            yield Skipped(self._name, where, item) if isinstance(item, str) else item
                        row += count
                if row < end:
                    raise ValueError("they are missing")
            except _BAD as error:
                where = f"row {end}" if row + 1 >= end else f"rows {row + 1} to {end}"
                yield Skipped(self._name, where, f"cannot be read: {_reason(error)}")
            row = end

    def _columns(self) -> Iterator[_Column]:
        for place in range(self._footer.num_columns):
            column = self._footer.schema.column(place)
            is_bytes = column.physical_type == "BYTE_ARRAY"
            width = (
                column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0 if is_bytes else _NUMBER_BYTES
            )
            is_text = is_bytes and column.logical_type.type in _TEXTS
            yield _Column(place, column.path, is_text, Width(column.max_repetition_level > 0, width))

    def _batches(
        self, group: int, chunks: list[Chunk], columns: list[_Column], wanted: list[str]
    ) -> Iterator[pa.RecordBatch]:
        if len(chunks) != self._footer.num_columns:
            raise ValueError("it lacks columns")
        rows = self._footer.row_group(group).num_rows
        plan = find_plan(self._stream, [(chunks[column.place], column.width) for column in columns], rows)
        file = pq.ParquetFile(
            pa.PythonFile(self._stream, mode="r"),
            metadata=self._footer,
            read_dictionary=[columns[place].path for place in plan.with_dictionary if columns[place].is_text],
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        yield from file.iter_batches(plan.rows, row_groups=[group], columns=wanted, use_threads=False)


def _is_within(path: str, names: list[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")[:200] or type(error).__name__
