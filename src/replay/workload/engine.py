"""What runs the relational part of a model: DuckDB in this process by default, or Spark where one machine is too small.

The expressions are Ibis's, and the same for both. Only what Ibis has no word for differs, and stands here.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.expr import datatypes

from replay.capture.segments import SCHEMA, Segment, write_segment
from replay.errors import InputError, ToolError
from replay.workload.scratch import Scratch

Table = ibis.Table
T = TypeVar("T")

DUCKDB = "duckdb"
# What is larger goes to a temporary file, but for the values of which medians are taken.
_MEMORY_BYTES = 1536 * 2**20
_MEMORY_OF_EXCHANGE_BYTES = 48
_SHARE_OF_MEMORY = 0.75
_INTERRUPT_EVERY_S = 0.05  # an interrupt between two queries is lost
_DAMAGE_HINT = "`replay inspect` shows what can be saved of the capture."
_MEMORY_HINT = "Compute it on Spark, with --engine spark://HOST:PORT, or on a machine with more."
_SPARK_HINT = "Install it with `pip install '.[spark]'` in the clone of replay; it needs Java 17 or newer."


class Engine:
    """Runs Ibis expressions over captures. A context manager: its temporary tables are gone at the end."""

    def __init__(self, name: str = DUCKDB) -> None:
        """``name`` is ``duckdb``, or where a Spark is: ``spark://HOST:PORT``, ``local[2]``.

        Raises InputError where there is no such engine.
        """
        self.name = name
        self._own = Scratch()
        self._scratch = self._own.path
        self._tables = 0
        self._memory_bytes = _MEMORY_BYTES
        self._cached: list[Any] = []  # which Spark forgets when nobody holds them
        here = name == DUCKDB
        try:
            self._session: Any = None if here else _session(name, self._scratch)
            self._backend = _duckdb(self._scratch) if here else ibis.pyspark.connect(self._session)
        except BaseException:
            self._own.close()
            raise
        self.microseconds = _builtin(
            "epoch_us" if here else "unix_micros", datatypes.Timestamp(timezone="UTC"), datatypes.int64
        )
        """A moment as microseconds since 1970."""
        self.fingerprint = _builtin(
            "hash" if here else "xxhash64", datatypes.string, datatypes.uint64 if here else datatypes.int64
        )
        """64 bits that stand for a text, the same within one engine only."""
        self.first_group = r"\1" if here else "$1"
        """What stands in a replacement for the first group of its regular expression."""
        self._text = _builtin(
            "as_text" if here else "try_validate_utf8",
            datatypes.binary if here else datatypes.string,
            datatypes.string,
        )

    def read(self, files: Iterable[Path]) -> ibis.Table:
        """The exchanges in some segments. Raises InputError where one cannot be read; does not check their pages."""
        folder = self._scratch / f"read_{self._number()}"
        folder.mkdir()
        links = []
        for number, file in enumerate(files):
            # A name of our own, as the engines take some characters of a path for patterns.
            links.append(folder / f"{number:06}.parquet")
            segment = Segment(file)
            if segment.is_exact:
                links[-1].symlink_to(file.resolve())
            else:
                write_segment(map(segment.read, range(segment.groups)), links[-1])
        if not links:
            return self.given(SCHEMA.empty_table())
        # By a pattern DuckDB would pass over one that is gone; Ibis gives Spark no list.
        where = links if self.name == DUCKDB else f"{folder}/*.parquet"
        found = self._run(lambda: self._backend.read_parquet(where))
        self._make_room(sum(pq.read_metadata(link).num_rows for link in links))
        return found

    def spooled(self, tables: Iterable[pa.Table]) -> ibis.Table:
        """The exchanges of some tables of ``segments.SCHEMA``, written to disk first."""
        file = self._scratch / f"spooled_{self._number()}.parquet"
        write_segment(tables, file)
        return self.read([file])

    def given(self, table: pa.Table | pd.DataFrame) -> ibis.Table:
        """A small table, to be joined with."""
        arrow = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
        if self.name == DUCKDB:
            return ibis.memtable(arrow)
        # What Ibis registers by itself is not there yet where it caches a table.
        name = f"given_{self._number()}"
        self._session.createDataFrame(arrow).createOrReplaceTempView(name)
        return self._backend.table(name)

    def text(self, body: ibis.Value) -> ibis.Value:
        """A body as text, or NULL where it is none."""
        return self._text(body if self.name == DUCKDB else body.cast("string"))

    def keep(self, table: ibis.Table) -> ibis.Table:
        """``table``, computed once and kept until the end, on disk where it is large."""
        if self.name == DUCKDB:
            name = f"kept_{self._number()}"
            return self._run(lambda: self._backend.create_table(name, table))
        self._cached.append(table.cache())
        return self._cached[-1]

    def frame(self, table: ibis.Table) -> pd.DataFrame:
        """``table``, brought down. A column of whole numbers with NULLs among them comes as floats."""
        arrow: pa.Table = self._run(lambda: self._backend.to_pyarrow(table))
        frame: pd.DataFrame = arrow.to_pandas()
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cached.clear()
        with contextlib.suppress(Exception):  # a database that broke cannot be closed either
            self._backend.disconnect()
        self._own.close()

    def _run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives. What DuckDB raises is told in our words: a file that cannot be read is bad input."""
        try:
            return self._aside(work) if self.name == DUCKDB else work()
        except duckdb.OutOfMemoryException as error:
            raise ToolError("This machine has too little memory for the capture.", _MEMORY_HINT) from error
        except (RuntimeError, duckdb.Error) as error:
            text = (str(error).splitlines() or [""])[0]
            link = re.search(rf"{re.escape(str(self._scratch))}/read_\d+/\d+\.parquet", text)
            # Of a page that makes no sense DuckDB names neither the file nor the kind of the error.
            if link is None and type(error) is not duckdb.Error:
                raise
            which = f"The segment {Path(link[0]).resolve()}" if link else "A segment"
            reason = (text.replace(link[0], "it") if link else text).rstrip(".")
            raise InputError(f"{which} cannot be read: {reason}.", _DAMAGE_HINT) from error

    def _aside(self, work: Callable[[], T]) -> T:
        """Do ``work`` in a thread of its own, so that Ctrl-C is always heard: DuckDB itself misses it now and then."""
        with ThreadPoolExecutor(1) as thread:
            doing = thread.submit(work)
            try:
                return doing.result()
            except KeyboardInterrupt:
                while not doing.done():
                    self._backend.con.interrupt()
                    wait([doing], _INTERRUPT_EVERY_S)
                raise

    def _make_room(self, exchanges: int) -> None:
        """Let DuckDB have the memory that so many exchanges need, as far as this machine has it."""
        if self.name != DUCKDB:
            return
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._memory_bytes = max(self._memory_bytes, _MEMORY_BYTES + exchanges * _MEMORY_OF_EXCHANGE_BYTES)
        limit = min(self._memory_bytes, round(there * _SHARE_OF_MEMORY))
        self._backend.raw_sql(f"SET memory_limit = '{limit}B'")

    def _number(self) -> int:
        self._tables += 1
        return self._tables


def _given(value: Any) -> Any:
    """What Ibis takes a function's parameters from."""
    return value


def _builtin(name: str, takes: datatypes.DataType, gives: datatypes.DataType) -> Any:
    return ibis.udf.scalar.builtin(_given, name=name, signature=((takes,), gives))


def _duckdb(scratch: Path) -> Any:
    backend = ibis.duckdb.connect(
        scratch / "tables.duckdb",
        memory_limit=f"{_MEMORY_BYTES}B",
        temp_directory=str(scratch / "spill"),
        threads=len(os.sched_getaffinity(0)),
        preserve_insertion_order=False,
    )
    backend.raw_sql("CREATE MACRO as_text(body) AS TRY(decode(body))")
    return backend


def _session(name: str, scratch: Path) -> Any:
    if not name.startswith(("spark://", "local")):
        raise InputError(f"There is no engine {name!r}.", "Name duckdb, spark://HOST:PORT or local[2].")
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("Spark is not installed.", _SPARK_HINT) from error
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.ansi.enabled": "false",  # what is outside of a list is null, as in DuckDB
        # Java's regular expressions take stack for each turn of a group: a body has up to 8,192 escapes.
        "spark.driver.extraJavaOptions": "-Xss32m",
        "spark.executor.extraJavaOptions": "-Xss32m",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",  # else a folder where the user stands
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if name.startswith("local"):
        settings["spark.sql.shuffle.partitions"] = "8"  # 200 are for many machines
    builder = SparkSession.builder.appName("replay").master(name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise InputError(f"Spark does not start: {str(error).splitlines()[0]}", _SPARK_HINT) from error
    session.sparkContext.setLogLevel("ERROR")
    return session
