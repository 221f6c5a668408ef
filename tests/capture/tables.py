"""Tables with requests in their rows, as bytes, and what is read of them."""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.capture.inputs import Input
from replay.capture.sources.source import Lines, ReadOptions, Record
from replay.capture.sources.table import SOURCES
from replay.traffic import Exchange, Request, Response, Skipped

CSV, PARQUET = SOURCES
AT = datetime(2026, 3, 1, 8, 0, 1, 234567, UTC)
COLUMNS = "started_at,method,path,status"
ROW = "2026-03-01T08:00:01.234567Z,GET,/a?b=c,200"


def flat(items: Iterable[Record | Lines | Skipped]) -> Iterator[Record | Skipped]:
    """What was read column by column, as records too."""
    for item in items:
        if not isinstance(item, Lines):
            yield item
            continue
        yield from item.skipped
        sent = [name for name in item.table.schema.names if name.startswith("request_header:")]
        received = [name for name in item.table.schema.names if name.startswith("response_header:")]
        for row in item.table.to_pylist():
            headers, got = (tuple((n.partition(":")[2], row[n]) for n in names if row[n]) for names in (sent, received))
            request = Request(row["method"], row["host"], row["path"], row["query"], headers)
            response = None if row["status"] is None else Response(row["status"], got, None, row["response_bytes"])
            exchange = Exchange(row["at"], row["duration_s"], "", row["connection"], request, response, row["error"])
            yield Record(exchange, row["address"], row["user"])


def read(data: bytes, options: ReadOptions | None = None) -> list[Record | Skipped]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        source = PARQUET if data.startswith((b"PAR1", b"\x1f\x8b", b"(\xb5/\xfd")) else CSV
        return list(flat(source.read(Input("table", Path(file.name)), options or ReadOptions())))


def records(data: bytes, options: ReadOptions | None = None) -> list[Record]:
    items = read(data, options)
    assert not [item for item in items if isinstance(item, Skipped)]
    return [item for item in items if isinstance(item, Record)]


def parquet(table: pa.Table, **how: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **how)
    return file.getvalue()
