import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import parquet, read, records

from replay.capture.segments import to_table, write_segment
from replay.capture.sources.aliases import ALIASES
from replay.capture.sources.entries import NotAnExchange, to_record
from replay.capture.sources.roles import Reading
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Exchange, Request, Response, Skipped

# A capture's own segments


MOMENTS = st.integers(1 << 50, 1 << 52).map(lambda us: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
HEADERS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
BODIES = st.none() | st.binary(max_size=50)
EXCHANGES = st.builds(
    Exchange,
    MOMENTS,
    st.floats(0, 1e6),
    TEXTS,
    TEXTS,
    st.builds(Request, TEXTS, TEXTS, TEXTS, TEXTS, HEADERS, BODIES),
    st.none() | st.builds(Response, st.integers(100, 999), HEADERS, BODIES, st.integers(0, 1 << 40)),
    TEXTS,
)


@given(st.lists(EXCHANGES, min_size=1, max_size=20))
def test_a_segment_of_a_capture_loses_nothing(exchanges) -> None:
    with NamedTemporaryFile() as file:
        write_segment([to_table(exchanges)], Path(file.name))
        found = records(Path(file.name).read_bytes())
    assert [record.exchange for record in found] == exchanges
    assert [record.user for record in found] == [exchange.client for exchange in exchanges]


# Round trips


# Python's csv leaves a carriage return alone unquoted, which no reader can tell from the end of a line.
LINES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30).map(
    lambda text: text.replace("\r", "\r\n")
)
TOKENS = st.text("abcXYZ019_~", min_size=1, max_size=8)
ROWS = st.fixed_dictionaries(
    {
        "started_at": MOMENTS,
        "duration_ms": st.none() | st.integers(0, 10**9),
        "method": st.sampled_from(["GET", "POST", "PATCH"]),
        "path": TOKENS.map("/{}".format),
        "query": st.none() | TOKENS,
        "status": st.none() | st.integers(100, 599),
        "client_ip": st.none() | st.ip_addresses().map(str),
        "request_body": st.none() | LINES.filter(lambda text: text not in {"", "-", "\\N", "NULL", "null"}),
    }
)


def expected(row: dict[str, Any]) -> tuple[Any, ...]:
    body = row.get("request_body")
    request = Request(row["method"], "", row["path"], row["query"] or "", (), body.encode() if body else None)
    response = None if row["status"] is None else Response(row["status"])
    return row["started_at"], round((row["duration_ms"] or 0) / 1000, 9), row["client_ip"] or "", request, response


def got(record: Record) -> tuple[Any, ...]:
    exchange = record.exchange
    return exchange.at, exchange.duration_s, record.address, exchange.request, exchange.response


def repr_in_time(row: tuple[Any, ...]) -> tuple[Any, str]:
    return row[0], repr(row[1:])


@given(
    st.lists(ROWS, min_size=1, max_size=8),
    st.sampled_from(",;|\t\x01"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_rows_through_csv(rows, delimiter, quoting, encoding, line_end) -> None:
    text = io.StringIO()
    # The first row is quoted, so that the beginning shows that there are quotes.
    csv.DictWriter(text, rows[0], quoting=csv.QUOTE_ALL, delimiter=delimiter, lineterminator=line_end).writeheader()
    writer = csv.DictWriter(text, rows[0], quoting=quoting, delimiter=delimiter, lineterminator=line_end)
    writer.writerows({**row, "started_at": row["started_at"].isoformat()} for row in rows)
    found = records(text.getvalue().encode(encoding))
    assert [got(record) for record in found] == [expected(row) for row in rows]


@given(
    st.lists(ROWS, min_size=1, max_size=30),
    st.fixed_dictionaries(
        {
            "compression": st.sampled_from(["none", "snappy", "gzip", "brotli", "zstd", "lz4"]),
            "use_dictionary": st.booleans(),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "row_group_size": st.integers(1, 40),
            "data_page_size": st.integers(1, 1000),
        }
    ),
    st.booleans(),
)
def test_rows_through_parquet(rows, how, with_bodies) -> None:
    rows = rows if with_bodies else [{**row, "request_body": None} for row in rows]
    table = pa.Table.from_pylist(rows)
    found = records(parquet(table if with_bodies else table.drop_columns("request_body"), **how))
    given_rows, read = [expected(row) for row in rows], [got(record) for record in found]
    if with_bodies:
        assert read == given_rows
    else:  # plain rows of a group come before its others
        assert sorted(read, key=repr_in_time) == sorted(given_rows, key=repr_in_time)


@given(st.lists(ROWS, min_size=1, max_size=8))
def test_delta_encodings(rows) -> None:
    table = pa.Table.from_pylist(rows)
    encodings = {"path": "DELTA_BYTE_ARRAY", "method": "DELTA_LENGTH_BYTE_ARRAY", "started_at": "DELTA_BINARY_PACKED"}
    found = records(parquet(table, use_dictionary=False, column_encoding=encodings))
    assert [got(record) for record in found] == [expected(row) for row in rows]


# Rows that are read column by column say what they say alone

ODD = st.sampled_from(
    ["", "-", "x", "NULL", "a b", "\u00e4", "http://h.example:80/p?q", "/a?b=c?d", "/a#b", "/?", "/a%20b?x=\t"]
)
NUMBERS = st.sampled_from(["200", "404.0", "0", "-1", "99", "1000", "2e2", " 200", "12.5", "7", "1e400", "nan"])
TIMES = st.sampled_from(
    "2026-03-01T08:00:01.234567Z|2026-03-01 08:00:01+02:00|2026-03-01T08:00:01|1772352001|1772352001234|1772352001.5|"
    "20260301080001|01/Mar/2026:08:00:01 +0000|1980-01-01T00:00:00Z|9999-12-31T23:59:59Z".split("|")
)
ADDRESSES = st.sampled_from(
    ["192.0.2.1", "192.0.2.1:80", "2001:db8::7", "[2001:db8::7]:1", "1::2::3", "1.2.3.4, 5.6.7.8"]
)
HOSTS = st.sampled_from(["h.example", "h.example:8080", "h.example:443", "_", "[::1]:80", "a b", "-x"])
CELLS = {
    "method": st.sampled_from(["GET", "POST", "GET", "get", "CONNECT", "G T"]),
    "path": TOKENS.map("/{}".format) | st.just("/a?b=c?d") | ODD,
    "query": TOKENS | TOKENS | st.just("?a=b") | ODD,
    "host": HOSTS | HOSTS | ODD,
    "status": st.just("200") | NUMBERS,
    "bytes": st.just("1234") | NUMBERS | ODD,
    "duration_ms": st.just("12.5") | NUMBERS | ODD,
    "client_ip": ADDRESSES | ADDRESSES | ODD,
    "error": ODD,
    "user_agent": TOKENS | ODD | st.just("a\nb"),
    "http_host": HOSTS,
    "sent_http_server": TOKENS | ODD,
    "url": TOKENS.map("/{}".format) | ODD,
}


@st.composite
def tables(draw) -> tuple[str, list[dict[str, Any]]]:
    """The name of the column with the time, and some rows."""
    names = draw(st.sets(st.sampled_from(sorted(CELLS.keys() - {"method", "path"})))) | {"method", "path"}
    at = draw(st.sampled_from(["started_at", "end_time", "timestamp"]))
    times = draw(TIMES.map(st.just) | TIMES.map(st.just) | st.just(TIMES | ODD))
    cells = {at: times} | {name: st.none() | CELLS[name] | CELLS[name] for name in sorted(names)}
    return at, draw(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=6))


def said(item: Record | str) -> tuple[Any, ...] | str:
    if isinstance(item, str):
        return item
    exchange = item.exchange
    request, response = exchange.request, exchange.response
    return (
        *(exchange.at, pytest.approx(exchange.duration_s), request.method, request.host, request.path, request.query),
        *(
            set(request.headers),
            request.body,
            response and (response.status, response.size_bytes, set(response.headers)),
        ),
        *(exchange.error, exchange.connection, item.address, item.bodies_not_kept),
    )


def alone(row: dict[str, Any], options: ReadOptions) -> Record | str:
    try:
        return to_record(Reading(ALIASES, options.columns).find(row.items()), options)
    except NotAnExchange as error:
        return str(error)


@pytest.mark.slow
@settings(max_examples=500)
@given(tables(), st.booleans(), st.sampled_from([UTC, ZoneInfo("Asia/Tokyo")]))
def test_rows_say_what_they_say_alone(table, as_csv, zone) -> None:
    at, rows = table
    options = ReadOptions(timezone=zone, host="default.example")
    rows = [{**row, "user": f"user {number}"} for number, row in enumerate(rows)]
    # One more, so that there is one that is kept.
    rows.append({**dict.fromkeys(rows[0]), at: "2026-03-01T08:00:00Z", "method": "GET", "path": "/", "user": "last"})
    if as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
        rows = [{name: None if value == "NULL" else value for name, value in row.items()} for row in rows]
    else:
        data = parquet(pa.Table.from_pylist(rows))
    items = read(data, options)
    found = {item.user: item for item in items if isinstance(item, Record)}
    skipped = {item.where: item.reason for item in items if isinstance(item, Skipped)}
    for number, row in enumerate(rows, 1):
        assert said(found.get(row["user"]) or skipped[f"row {number}"]) == said(alone(row, options))
    assert len(items) == len(rows)
