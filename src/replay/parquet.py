"""Reading Parquet files so that nothing of it is left to any thread."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def open_file(file: Path) -> pa.OSFile:
    """The file, to be read past Python and whatever its name is. Raises OSError.

    Who has read through a Python file holds objects of Python's, and a thread of Arrow's that lets go of one while the
    interpreter ends aborts the process (https://github.com/apache/arrow/issues/34314).
    """
    return pa.OSFile(os.fsencode(file))  # a name need not be text, and one with a colon is no address


def read_parquet(file: Path, columns: Sequence[str] | None = None, dictionaries: Sequence[str] = ()) -> pa.Table:
    """The file's rows; of ``columns`` only where given. Raises OSError and pyarrow's ArrowException.

    Columns of text among ``dictionaries`` come as numbers and the texts that these stand for. Pages that have
    checksums are held against them. pyarrow's own ``read_table`` would leave the file to a thread.
    """
    with (
        open_file(file) as source,
        pq.ParquetFile(
            source, pre_buffer=False, read_dictionary=list(dictionaries), page_checksum_verification=True
        ) as parquet,
    ):
        return parquet.read(columns=None if columns is None else list(columns), use_threads=False)
