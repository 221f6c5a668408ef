"""Columns of Arrow as Python's own values, whatever type a warehouse gave them."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.sources.roles import CONTAINERS, Reading
from replay.capture.sources.source import RECORD_LIMIT_BYTES

TOO_LARGE = f"the row is larger than {RECORD_LIMIT_BYTES} bytes"
_PIECE_BYTES = 8_000_000
_VALUE_BYTES = 16
# As many values as these alone make a row too large.
_MANY_VALUES = RECORD_LIMIT_BYTES // _VALUE_BYTES
_DAY_US = 86_400_000_000
_FIRST_US, _LAST_US = -719_162 * _DAY_US, 2_932_895 * _DAY_US  # the years 1 to 9999, a day less at the end

Sizes = npt.NDArray[np.int64]


def leaves(name: str, array: pa.Array, reading: Reading) -> Iterator[tuple[str, pa.Array]]:
    """The columns within a column that say something, by their dotted names."""
    kind = array.type
    if is_divided(name, kind, reading):
        for index, inner in enumerate(array.flatten()):
            yield from leaves(f"{name}.{kind.field(index).name}", inner, reading)
    elif reading.roles(name):
        yield name, array


def leaf_names(name: str, kind: pa.DataType, reading: Reading) -> Iterator[str]:
    """The dotted names of the columns within a column, whether or not they say something."""
    if is_divided(name, kind, reading):
        for inner in kind:
            yield from leaf_names(f"{name}.{inner.name}", inner.type, reading)
    else:
        yield name


def is_divided(name: str, kind: pa.DataType, reading: Reading) -> bool:
    """Whether a column is a struct whose columns speak for themselves; one of headers may be read as a whole."""
    return pa.types.is_struct(kind) and not any(role.name in CONTAINERS for role in reading.roles(name))


def pieces(columns: list[pa.Array], rows: int) -> Iterator[tuple[int, int, str]]:
    """Where to cut a batch so that each piece fits well into memory: its first row, and the row after its last.

    A row that is too large is a piece of its own, with the reason.
    """
    waiting = [(0, rows)]
    while waiting:
        start, end = waiting.pop()
        some = [column.slice(start, end - start) for column in columns]
        if max(map(_inner_values, some), default=0) <= _MANY_VALUES:
            for first, last, reason in _pieces_by_size(some, end - start):
                yield start + first, start + last, reason
        elif end == start + 1:
            yield start, end, TOO_LARGE
        else:
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]


def _pieces_by_size(columns: list[pa.Array], rows: int) -> Iterator[tuple[int, int, str]]:
    totals = sum((sizes(column) for column in columns), np.zeros(rows, np.int64))
    ends = np.cumsum(totals)
    start = 0
    while start < rows:
        before = int(ends[start - 1]) if start else 0
        end = max(int(np.searchsorted(ends, before + _PIECE_BYTES, side="right")), start + 1)
        is_too_large = end == start + 1 and int(totals[start]) > RECORD_LIMIT_BYTES
        yield start, end, TOO_LARGE if is_too_large else ""
        start = end


def _inner_values(array: pa.Array) -> int:
    """How many values lie within lists and maps."""
    if isinstance(array, pa.ExtensionArray):
        return _inner_values(array.storage)
    if pa.types.is_struct(array.type):
        return max(map(_inner_values, array.flatten()), default=0)
    if not _is_list(array.type):
        return 0
    _, inner = _parts(array)
    return max(len(inner), _inner_values(inner))


def sizes(array: pa.Array) -> Sizes:
    """About how many bytes each row takes. Raises ValueError where a dictionary lacks a value that a row has."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        different = np.append(sizes(array.dictionary), 0)
        places = array.indices.fill_null(len(array.dictionary)).cast(pa.int64()).to_numpy()
        if places.size and (places.min() < 0 or places.max() >= different.size):
            raise ValueError("a value is not in its dictionary")
        found: Sizes = different[places]
        return found
    if isinstance(array, pa.ExtensionArray):
        return sizes(array.storage)
    if pa.types.is_struct(kind):
        return sum((sizes(inner) for inner in array.flatten()), np.full(len(array), _VALUE_BYTES, np.int64))
    if _is_list(kind):
        offsets, inner = _parts(array)
        ends = np.append(0, np.cumsum(sizes(inner)))
        within: Sizes = ends[offsets[1:]] - ends[offsets[:-1]] + _VALUE_BYTES
        return within
    if _is_text(kind):
        lengths: Sizes = pc.binary_length(array).fill_null(0).cast(pa.int64()).to_numpy()
        return lengths
    return np.full(len(array), _VALUE_BYTES, np.int64)


def values(array: pa.Array) -> list[Any]:
    """The values: text, bytes, numbers, moments, lists and dicts, and None. A map is a list of pairs.

    A text's bytes that are no UTF-8 come as single surrogates. Moments have microseconds; those beyond the calendar are
    None. Days and times of day come as text, and so do whole decimals and durations, these with their unit.
    """
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return values(array.storage)
    if pa.types.is_dictionary(kind):
        return values(array.dictionary_decode())
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        inner = [values(column) for column in array.flatten()]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*inner, strict=True)] if inner else [{}] * len(array)
        return _with_nulls(array, rows)
    if _is_list(kind):
        offsets, content = _parts(array)
        found = values(content)
        if pa.types.is_map(kind):
            found = [tuple(pair.values()) for pair in found]
        bounds = offsets.tolist()
        return _with_nulls(array, [found[start:end] for start, end in itertools.pairwise(bounds)])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        raw = array.cast(pa.large_binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
    plain: list[Any] = _plain(array).to_pylist()
    return plain


def texts(found: list[Any]) -> list[Any]:
    """Values with text for bytes: of columns whose text was not said to be text."""
    return [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in found]


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_timestamp(kind):
        moments = array.cast(pa.timestamp("us", kind.tz and "UTC"), safe=False)
        numbers = moments.cast(pa.int64())
        good = pc.and_(pc.greater_equal(numbers, _FIRST_US), pc.less(numbers, _LAST_US))
        return pc.if_else(good, moments, pa.scalar(None, moments.type))
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return array.cast(pa.string())
    if pa.types.is_duration(kind):
        return pc.binary_join_element_wise(array.cast(pa.int64()).cast(pa.string()), kind.unit, "")
    if pa.types.is_decimal(kind):
        return array.cast(pa.float64() if kind.scale > 0 else pa.string())
    if pa.types.is_floating(kind):
        numbers = array.cast(pa.float64())
        return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
    return array


def _with_nulls(array: pa.Array, rows: list[Any]) -> list[Any]:
    if not array.null_count:
        return rows
    valid = array.is_valid().to_pylist()
    return [row if is_valid else None for row, is_valid in zip(rows, valid, strict=True)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_map(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def _parts(array: pa.Array) -> tuple[Sizes, pa.Array]:
    """Where the values of each row begin, and all the values."""
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    offsets = array.offsets.cast(pa.int64()).to_numpy()
    first, last = (int(offsets[0]), int(offsets[-1])) if offsets.size else (0, 0)
    return offsets - first, array.values.slice(first, last - first)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
