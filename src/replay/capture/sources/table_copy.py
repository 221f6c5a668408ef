"""A table that can be read at any place, as Parquet asks for; where it is compressed or piped, a copy of it."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO, cast

from replay.capture.spool import DiskFull, Spool
from replay.errors import InputError

COPY_LIMIT_BYTES = 100_000_000_000
_BUFFER_BYTES = 1 << 20


@contextmanager
def seekable(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """``stream`` where it can be read at any place for what it costs to read there, else a copy of it.

    Raises InputError where the disk does not hold the copy, or where it would be larger than the limit.
    """
    # What decompresses can go back too, but begins anew each time.
    if isinstance(stream, io.BufferedReader) and stream.seekable():
        yield stream
        return
    try:
        spool = Spool(stream, COPY_LIMIT_BYTES)
    except DiskFull as error:
        raise InputError(
            f"{name} does not fit on the disk when it is decompressed: {error.strerror or error}.",
            f"Make room in {tempfile.gettempdir()}, or set TMPDIR to where there is some.",
        ) from error
    with closing(spool), spool.open() as copy:
        yield cast("BinaryIO", io.BufferedReader(copy, _BUFFER_BYTES))
