"""Exchanges as rows of Parquet files, and many files read in one order of time."""

import heapq
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.errors import InputError
from replay.traffic import Exchange, Headers, Request, Response

SCHEMA = pa.schema(
    [
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("client", pa.string(), nullable=False),
        pa.field("connection", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("host", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("request_headers", pa.string(), nullable=False),  # JSON: [[name, value], ...]
        pa.field("request_body", pa.binary()),
        pa.field("status", pa.int32()),  # null where no response came, as are the three that follow
        pa.field("response_headers", pa.string()),
        pa.field("response_body", pa.binary()),
        pa.field("response_bytes", pa.int64()),
        pa.field("error", pa.string(), nullable=False),
    ]
)
_ROWS_READ = 256
_ROWS_IN_GROUP = 5000
_BYTES_IN_GROUP = 8_000_000

Row = dict[str, Any]


def to_row(exchange: Exchange) -> Row:
    """An exchange as a row of SCHEMA."""
    request, response = exchange.request, exchange.response
    return {
        "at": exchange.at,
        "duration_s": exchange.duration_s,
        "client": exchange.client,
        "connection": exchange.connection,
        "method": request.method,
        "host": request.host,
        "path": request.path,
        "query": request.query,
        "request_headers": json.dumps(request.headers),
        "request_body": request.body,
        "status": response.status if response else None,
        "response_headers": json.dumps(response.headers) if response else None,
        "response_body": response.body if response else None,
        "response_bytes": response.size_bytes if response else None,
        "error": exchange.error,
    }


def to_exchange(row: Row) -> Exchange:
    """The exchange of a row."""
    request = Request(
        method=row["method"],
        host=row["host"],
        path=row["path"],
        query=row["query"],
        headers=_headers(row["request_headers"]),
        body=row["request_body"],
    )
    response = None
    if row["status"] is not None:
        response = Response(
            row["status"], _headers(row["response_headers"]), row["response_body"], row["response_bytes"] or 0
        )
    at = row["at"].astimezone(UTC)
    return Exchange(at, row["duration_s"], row["client"], row["connection"], request, response, row["error"])


def bytes_of(row: Row) -> int:
    """About how much memory a row takes."""
    texts = (row["request_headers"], row["request_body"], row["response_headers"], row["response_body"])
    return 200 + sum(len(text) for text in texts if text)


def write_segment(rows: Iterable[Row], file: Path) -> None:
    """Write rows, in groups that fit into memory, as one Parquet file that appears whole or not at all."""
    partial = file.with_name(f".{file.name}.part")
    with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        group: list[Row] = []
        size = 0
        for row in rows:
            group.append(row)
            size += bytes_of(row)
            if len(group) >= _ROWS_IN_GROUP or size >= _BYTES_IN_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
    partial.replace(file)


def rows_in_order(files: Iterable[Path], on_damage: Callable[[InputError], None] | None = None) -> Iterator[Row]:
    """The rows of all files by ``at``, where each file is in order itself.

    Opens a file only when the time has come to its first row, so that thousands of short segments are never open
    together. A damaged file raises InputError, or is told to ``on_damage`` and what can be read of it is given.
    """
    starts: list[tuple[datetime, Path]] = []
    for file in files:
        try:
            first = next(_rows(file), None)
        except InputError as error:
            if on_damage is None:
                raise
            on_damage(error)
            continue
        if first is not None:
            starts.append((first["at"], file))
    open_rows: list[tuple[datetime, int, Row, Iterator[Row]]] = []
    numbers = itertools.count()  # a tie goes to the row that was opened or read first

    def advance(rows: Iterator[Row]) -> None:
        try:
            row = next(rows, None)
        except InputError as error:
            if on_damage is None:
                raise
            on_damage(error)
            return
        if row is not None:
            heapq.heappush(open_rows, (row["at"], next(numbers), row, rows))

    for start, file in sorted(starts):
        while open_rows and open_rows[0][0] < start:
            _, _, row, rows = heapq.heappop(open_rows)
            yield row
            advance(rows)
        advance(_rows(file))
    while open_rows:
        _, _, row, rows = heapq.heappop(open_rows)
        yield row
        advance(rows)


def _rows(file: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(file) as parquet:
            missing = [name for name in SCHEMA.names if name not in parquet.schema_arrow.names]
            if missing:
                raise InputError(f"The segment {file} lacks the column {missing[0]}.")
            for batch in parquet.iter_batches(batch_size=_ROWS_READ, columns=SCHEMA.names):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0].rstrip(".")
        raise InputError(
            f"The segment {file} is damaged: {reason}.", "`replay inspect` shows what can be saved of the capture."
        ) from error


def _headers(text: str) -> Headers:
    return tuple((name, value) for name, value in json.loads(text))
