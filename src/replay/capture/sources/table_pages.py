"""What a Parquet file's column chunks will take in memory, known from the headers of their pages before one is decoded.

Format: https://github.com/apache/parquet-format (`parquet.thrift`; Thrift's compact protocol). A page of some bytes can
say that it holds two gigabytes, and a dictionary that each of a million rows holds the same large value.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from replay.capture.sources.table_thrift import I32, I64, LIST, STRUCT, Compact, Fields
from replay.capture.sources.table_thrift import Malformed as ThriftError

# Parquet's writers make pages of 1 MB as a rule, and of up to 100 MB.
PAGES_LIMIT_BYTES = 256_000_000
BATCH_BYTES = 32_000_000
BATCH_ROWS = 8_192
NOT_BOUNDED = "its pages are too large to be read safely"

_REPEATED_LIMIT_BYTES = 500_000_000
_REPEATED_VALUES = 32_000_000
_PAGE_VALUES = 50_000_000
_ROWS_IN_BYTE = 1_000  # the least that a row takes is far more than a thousandth of a byte
_FEW_ROWS = 1_000_000
_HEADER_BYTES = (4096, 1 << 20)
_DAMAGED = "a page's header is damaged"

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_ENCODED_BY_DICTIONARY = frozenset({2, 8})
_DELTA, _DELTA_LENGTH, _DELTA_BYTES = 5, 6, 7

# Of `FileMetaData` and what is in it.
_ROW_GROUPS = 4
_COLUMNS, _COLUMN = (1, LIST), (3, STRUCT)
_COLUMN_VALUES, _COLUMN_BYTES, _DATA_AT, _DICTIONARY_AT = (5, I64), (7, I64), (9, I64), (11, I64)
# Of `PageHeader`: its numbers, and for each kind of page the struct with how many values it has, and their encoding.
_KIND, _SIZE, _STORED, _VALUES = (1, I32), (2, I32), (3, I32), (1, I32)
_INNER = {_DATA: ((5, STRUCT), (2, I32)), _DICTIONARY: ((7, STRUCT), (2, I32)), _DATA_V2: ((8, STRUCT), (4, I32))}


class Unreadable(ValueError):
    """A row group cannot be read, or not safely. Says why."""


class Page(NamedTuple):
    """A page: how many values it holds, in how many bytes when it is decompressed, and as it is stored."""

    kind: int
    values: int
    encoding: int
    size_bytes: int
    stored_bytes: int


class Chunk(NamedTuple):
    """Where a column of a row group lies, and how many values it has."""

    start: int
    length: int
    values: int


class Width(NamedTuple):
    """``repeated`` says that a row may have many values; ``bytes`` is how many one has, 0 where they differ."""

    repeated: bool
    bytes: int


class Plan(NamedTuple):
    """How to read a row group: so many rows at once. The chunks at these places in their list have a dictionary."""

    rows: int
    with_dictionary: tuple[int, ...]


def iter_chunks(footer: bytes) -> Iterator[list[Chunk]]:
    """The chunks of each row group, in the columns' order, from a file's footer. Raises Unreadable at what is damaged.

    pyarrow has them too, but ends the process at some that are damaged.
    """
    try:
        for group in Compact(footer).structs_in(_ROW_GROUPS):
            yield [_chunk(column) for column in group.get(_COLUMNS, ())]
    except (IndexError, ThriftError) as error:
        raise Unreadable("the footer is damaged") from error


def _chunk(column: Fields | None) -> Chunk:
    stored = (column or {}).get(_COLUMN, {})
    start, dictionary = stored.get(_DATA_AT, 0), stored.get(_DICTIONARY_AT, 0)
    return Chunk(
        dictionary if 0 < dictionary < start else start, stored.get(_COLUMN_BYTES, 0), stored.get(_COLUMN_VALUES, 0)
    )


def find_plan(stream: BinaryIO, chunks: list[tuple[Chunk, Width]], rows: int) -> Plan:
    """How to read the ``chunks`` of a row group within bounds. Raises Unreadable where that cannot be done."""
    if rows > _FEW_ROWS + _ROWS_IN_BYTE * sum(chunk.length for chunk, _ in chunks):
        raise Unreadable("it says that it has more rows than it can hold")
    batch, at_once = BATCH_ROWS, 0
    with_dictionary = []
    for place, (chunk, width) in enumerate(chunks):
        pages = list(iter_pages(stream, chunk))
        dictionaries = [page for page in pages if page.kind == _DICTIONARY]
        data = [page for page in pages if page.kind != _DICTIONARY]
        for some in (dictionaries, data):
            at_once += max((page.size_bytes + page.stored_bytes for page in some), default=0)
        if dictionaries:
            with_dictionary.append(place)
        row_bytes = max((_value_bytes(page, width) for page in data), default=0.0)
        if width.repeated:
            row_bytes *= max(1.0, chunk.values / max(rows, 1))
            all_bytes = sum(_value_bytes(page, width) * page.values for page in data)
            if chunk.values > _REPEATED_VALUES or all_bytes > _REPEATED_LIMIT_BYTES:
                raise Unreadable(NOT_BOUNDED)
        batch = min(batch, int(BATCH_BYTES / max(row_bytes, 1.0)))
    if at_once > PAGES_LIMIT_BYTES:
        raise Unreadable(NOT_BOUNDED)
    return Plan(max(batch, 1), tuple(with_dictionary))


def _value_bytes(page: Page, width: Width) -> float:
    """What a value takes at most, over as many as a page holds."""
    if width.bytes:
        return width.bytes
    if page.encoding in _ENCODED_BY_DICTIONARY:
        return 4
    return page.size_bytes if page.encoding == _DELTA_BYTES else page.size_bytes / max(page.values, 1)


def iter_pages(stream: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """The pages of a chunk. Raises Unreadable where there is something else."""
    at, end, seen = chunk.start, chunk.start + chunk.length, 0
    while at < end and seen < chunk.values:
        page, header_bytes = _page_at(stream, at)
        if page.values > _PAGE_VALUES and page.encoding in {_DELTA, _DELTA_LENGTH, _DELTA_BYTES}:
            raise Unreadable(NOT_BOUNDED)
        at += header_bytes + page.stored_bytes
        if page.kind in {_DATA, _DATA_V2}:
            seen += page.values
        yield page


def _page_at(stream: BinaryIO, at: int) -> tuple[Page, int]:
    if at < 0:
        raise Unreadable(_DAMAGED)
    for size in _HEADER_BYTES:
        stream.seek(at)
        reader = Compact(stream.read(size))
        try:
            return _page(reader.struct()), reader.at
        except IndexError:
            continue
        except ThriftError as error:
            raise Unreadable(_DAMAGED) from error
    raise Unreadable(_DAMAGED)


def _page(fields: Fields) -> Page:
    kind, size, stored = (fields.get(which, -1) for which in (_KIND, _SIZE, _STORED))
    name, encoding = _INNER.get(kind, (None, None))
    inner = fields.get(name, {}) if name else {}
    page = Page(kind, inner.get(_VALUES, 0), inner.get(encoding, 0), size, stored)
    if min(page) < 0:
        raise Unreadable(_DAMAGED)
    return page
