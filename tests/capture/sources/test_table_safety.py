import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import AT, COLUMNS, CSV, PARQUET, ROW, flat, parquet

from replay.capture.inputs import Input
from replay.capture.sources.source import LINE_LIMIT_BYTES, ReadOptions, Record
from replay.capture.sources.table_csv import TOO_LONG
from replay.capture.sources.table_pages import NOT_BOUNDED
from replay.capture.sources.table_values import TOO_LARGE
from replay.errors import InputError
from replay.traffic import Skipped

# Anything at all


def outcome(data: bytes, source: Any) -> list[Record | Skipped]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        try:
            assert 0 <= source.likeness(Input("t", Path(file.name)).head) <= 1
            return list(flat(source.read(Input("t", Path(file.name)), ReadOptions())))
        except InputError:
            return []


def mutated(whole: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(whole)
    for at, length, new in changes:
        start = at % (len(data) or 1)
        data[start : start + length] = new
    return bytes(data)


CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=8)


def some_rows() -> pa.Table:
    return pa.table(
        {
            "at": pa.array([AT + timedelta(seconds=n) for n in range(20)]),
            "method": ["GET", None] * 10,
            "path": [f"/a/{n}" for n in range(20)],
            "status": pa.array([200, None] * 10, pa.int16()),
            "request_headers": pa.array([[("A", "1")], None] * 10, pa.map_(pa.string(), pa.string())),
            "request_body": [b"x" * 40, None] * 10,
            "req": [{"host": "a.example", "n": 1}, None] * 10,
        }
    )


WHOLE = [
    parquet(some_rows()),
    parquet(some_rows(), compression="none", use_dictionary=False, row_group_size=5),
    parquet(some_rows(), compression="zstd", data_page_version="2.0", data_page_size=20),
]


@settings(max_examples=400)
@given(st.sampled_from(WHOLE), CHANGES)
def test_parquet_with_other_bytes(whole, changes) -> None:
    assert len(outcome(mutated(whole, changes), PARQUET)) <= 20


@settings(max_examples=200)
@given(CHANGES)
def test_csv_with_other_bytes(changes) -> None:
    whole = some_rows().to_pandas().to_csv(index=False).encode()
    assert len(outcome(mutated(whole, changes), CSV)) <= 60


@given(st.binary(max_size=300))
def test_any_bytes_after_a_line_of_names(data) -> None:
    outcome(COLUMNS.encode() + b"\n" + data, CSV)
    outcome(data, CSV)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters='"\r\n'), max_size=20).filter(str.strip), max_size=20
    )
)
def test_every_row_is_kept_or_skipped(lines) -> None:
    items = outcome("\n".join([COLUMNS, ROW, *lines]).encode(), CSV)
    assert len(items) == 1 + len([line for line in lines if line])


# Bombs. Each is read in a process of its own, which tells how much memory it took.

CHILD = """
import resource, sys
from pathlib import Path
from replay.capture.inputs import Input
from replay.capture.sources.source import Lines, ReadOptions, Record
from replay.capture.sources.table import SOURCES
from replay.errors import InputError
source = {source.name: source for source in SOURCES}[sys.argv[1]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept, why = 0, ""
try:
    for item in source.read(Input("bomb", Path(sys.argv[2])), ReadOptions()):
        if isinstance(item, Record | Lines):
            kept += 1 if isinstance(item, Record) else item.table.num_rows
        else:
            why = f"{item.where}: {item.reason}"
except InputError as error:
    why = str(error)
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, why, sep="\\n")
"""


def read_apart(source: str, file: Path) -> tuple[int, int, str]:
    """How many records there are, how many MiB it took to read them, and what was said last."""
    done = subprocess.run([sys.executable, "-c", CHILD, source, str(file)], capture_output=True, text=True, check=True)
    kept, memory, why, _ = done.stdout.split("\n")
    return int(kept), int(memory), why


def bomb(file: Path, rows: int, **how: Any) -> Path:
    options = how.pop("options", {})
    columns = {"at": [AT] * rows, "method": ["GET"] * rows, "path": ["/a"] * rows}
    pq.write_table(pa.table(columns | how), file, compression="zstd", **options)
    return file


def repeated(value: Any, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))


def test_a_cell_of_half_a_gigabyte(tmp_path) -> None:
    file = tmp_path / "bomb.csv"
    with file.open("wb") as out:
        out.write(f'{COLUMNS},request_body\n{ROW},x\n{ROW},"'.encode())
        for _ in range(500):
            out.write(b"y" * 1_000_000)
        out.write(f'"\n{ROW},z\n'.encode())
    kept, memory, why = read_apart("csv", file)
    assert (kept, why) == (2, f"row 2: {TOO_LONG}")
    assert memory < 100


@pytest.mark.slow
def test_a_quote_that_is_never_closed(tmp_path) -> None:
    file = tmp_path / "bomb.csv"
    with file.open("wb") as out:
        out.write(f'{COLUMNS},request_body\n{ROW},x\n{ROW},"\n'.encode())
        for _ in range(300_000):
            out.write(f"{ROW},\n".encode())
    kept, memory, _ = read_apart("csv", file)
    assert kept > 300_000 - LINE_LIMIT_BYTES // len(ROW)
    assert memory < 100


def test_a_large_value_that_every_row_has(tmp_path) -> None:
    """Two gigabytes that are some kilobytes: each row can be read, a few at a time."""
    body = repeated(b"x" * 20_000_000, 100)
    file = bomb(tmp_path / "b", 100, request_body=body, options={"dictionary_pagesize_limit": 1 << 30})
    assert file.stat().st_size < 100_000
    kept, memory, why = read_apart("parquet", file)
    assert (kept, why) == (100, "")
    assert memory < 400


def test_a_value_that_is_too_large(tmp_path) -> None:
    file = bomb(tmp_path / "b", 2, request_body=pa.array([b"x" * 70_000_000, b"y"]))
    kept, memory, why = read_apart("parquet", file)
    assert (kept, why) == (1, f"row 1: {TOO_LARGE}")
    assert memory < 400


def test_a_page_that_is_too_large(tmp_path) -> None:
    file = bomb(tmp_path / "b", 6, request_body=pa.array([b"x" * 50_000_000] * 6), options={"use_dictionary": False})
    kept, memory, why = read_apart("parquet", file)
    assert kept == 0
    assert NOT_BOUNDED in why
    assert memory < 100


def test_a_row_with_millions_of_headers(tmp_path) -> None:
    count = 8_000_000
    headers = pa.MapArray.from_arrays(
        pa.array([0, count, count], pa.int32()), repeated("A", count), repeated("b" * 1000, count)
    )
    file = bomb(tmp_path / "b", 2, request_headers=headers)
    kept, memory, why = read_apart("parquet", file)
    assert (kept, why) == (1, f"row 1: {TOO_LARGE}")
    assert memory < 600


def test_values_that_begin_as_those_before(tmp_path) -> None:
    encoding = {"use_dictionary": False, "column_encoding": {"request_body": "DELTA_BYTE_ARRAY"}}
    file = bomb(tmp_path / "b", 500, request_body=pa.array([b"x" * 1_000_000] * 500), options=encoding)
    assert file.stat().st_size < 10_000
    kept, memory, why = read_apart("parquet", file)
    assert (kept, why) == (500, "")
    assert memory < 400
