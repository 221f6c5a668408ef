"""Reading one Parquet file whole."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The file's rows; of ``columns`` only where given. Raises OSError and pyarrow's ArrowException.

    Read in this thread, and past pyarrow's ``read_table``: that leaves a thread behind which may still let go of the
    Python file when the interpreter ends, and then the whole process is aborted
    (https://github.com/apache/arrow/issues/34314).
    """
    with pa.OSFile(str(file)) as source, pq.ParquetFile(source, pre_buffer=False) as parquet:
        return parquet.read(columns=None if columns is None else list(columns), use_threads=False)
