"""A digest over exchanges that does not depend on how they are divided into tables, files or row groups."""

import hashlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.segments import SCHEMA


def digest_of(tables: Iterable[pa.Table]) -> str:
    """32 hex digits over the exchanges of tables of ``segments.SCHEMA``, in order."""
    columns = {name: (hashlib.blake2b(), hashlib.blake2b()) for name in SCHEMA.names}
    for table in tables:
        for name, (sizes, values) in columns.items():
            for chunk in table[name].chunks:
                if pa.types.is_string(chunk.type) or pa.types.is_binary(chunk.type):
                    # Texts are told apart by their lengths, and none at all from an empty one.
                    sizes.update(_buffer(pc.binary_length(chunk).fill_null(-1)))
                    values.update(_bytes(chunk))
                else:
                    sizes.update(_buffer(chunk.is_valid().cast(pa.int8())))
                    values.update(_buffer(_plain(chunk)))
    whole = hashlib.blake2b(digest_size=16)
    for sizes, values in columns.values():
        whole.update(sizes.digest() + values.digest())
    return whole.hexdigest()


def _plain(chunk: pa.Array) -> pa.Array:
    """The values of a column of fixed width, with 0 for none."""
    width = {8: pa.int64(), 4: pa.int32()}[chunk.type.byte_width]
    return (chunk if pa.types.is_floating(chunk.type) else chunk.cast(width)).fill_null(0)


def _buffer(numbers: pa.Array) -> memoryview:
    return memoryview(numbers.to_numpy(zero_copy_only=False))


def _bytes(texts: pa.Array) -> memoryview:
    """The bytes of all texts of a column, one after the other."""
    texts = texts.fill_null(b"" if pa.types.is_binary(texts.type) else "")
    _, offsets, data = texts.buffers()
    if data is None:
        return memoryview(b"")
    bounds = memoryview(offsets).cast("i")
    return memoryview(data)[bounds[texts.offset] : bounds[texts.offset + len(texts)]]
