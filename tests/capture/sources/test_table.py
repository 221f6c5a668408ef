import csv
import gzip
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zstandard
from tables import AT, COLUMNS, CSV, PARQUET, ROW, flat, parquet, read, records

from replay.capture.inputs import Head, Input
from replay.capture.sources.source import ReadOptions, Record
from replay.capture.sources.table_csv import BAD_QUOTES
from replay.errors import InputError
from replay.traffic import Request, Response, Skipped


def one(columns: dict[str, Any], options: ReadOptions | None = None) -> Record:
    """The record of a table with one row, and with what a row has to have beside ``columns``."""
    all_columns = {"started_at": [AT], "method": ["GET"], "path": ["/a"], "status": [200]} | columns
    (record,) = records(parquet(pa.table(all_columns)), options)
    return record


# What warehouses' programs write


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "started_at": [AT, AT + timedelta(seconds=1), None],
            "duration_ms": [12.5, None, 1.0],
            "method": ["POST", "GET", "GET"],
            "url": ["https://api.example.com/a?b=c", "/ü", "/lost"],
            "status": [200, None, 200],
            "request_headers": [json.dumps({"User-Agent": "ü", "X": "1"}), None, None],
            "request_body": ['line 1\r\nline 2, "quoted"', None, None],
            "client_ip": ["192.0.2.1", "2001:db8::7", None],
            "error": [None, "timeout", None],
        }
    )


def to_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def to_tsv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, sep="\t", encoding="utf-16", quoting=csv.QUOTE_ALL).encode("utf-16")


def to_parquet(table: pd.DataFrame) -> bytes:
    return table.to_parquet()


@pytest.mark.parametrize("write", [to_csv, to_tsv, to_parquet])
def test_a_frame_of_pandas(write) -> None:
    first, second, third = read(write(frame()))
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    exchange = first.exchange
    assert (exchange.at, exchange.duration_s, exchange.client) == (AT, 0.0125, "")
    request = exchange.request
    assert (request.method, request.host, request.path, request.query) == ("POST", "api.example.com", "/a", "b=c")
    assert request.headers == (("User-Agent", "ü"), ("X", "1"))
    assert request.body == b'line 1\r\nline 2, "quoted"'
    assert exchange.response == Response(200)
    assert first.address == "192.0.2.1"
    assert second.exchange.at == AT + timedelta(seconds=1)
    assert second.exchange.request.path == "/%C3%BC"
    assert (second.exchange.response, second.exchange.error) == (None, "timeout")
    assert (second.address, second.exchange.connection) == ("2001:db8::7", "")
    assert third == Skipped("table", "row 3", "no time is in it")


def test_parquet_of_duckdb(tmp_path) -> None:
    file = tmp_path / "export.parquet"
    duckdb.sql(
        """
        select
            timestamptz '2026-03-01 08:00:01.234567+00' + i * interval 1 second as start_time,
            cast(i + 0.5 as decimal(18, 3)) as duration_ms,
            struct_pack(method := 'GET', url := '/items/' || i, remote_ip := '192.0.2.' || i) as req,
            cast(200 as hugeint) as status,
            map {'user-agent': 'duck/1', 'x-n': cast(i as varchar)} as request_headers,
            [struct_pack(name := 'Content-Type', value := 'text/plain')] as response_headers,
            from_hex('00ff') as response_body,
            uuid() as unrelated
        from range(3000) t(i)
        """
    ).write_parquet(str(file), row_group_size=1000)
    found = records(file.read_bytes(), ReadOptions(columns={"address": "req.remote_ip"}))
    assert len(found) == 3000
    last = found[-1].exchange
    assert last.at == AT + timedelta(seconds=2999)
    assert (last.request.path, last.duration_s, found[-1].address) == ("/items/2999", 2.9995, "192.0.2.2999")
    assert last.request.headers == (("user-agent", "duck/1"), ("x-n", "2999"))
    assert last.response == Response(200, (("Content-Type", "text/plain"),), b"\x00\xff", 2)


@pytest.mark.parametrize("delimiter", [",", "|", ";", "\t"])
def test_csv_of_duckdb(tmp_path, delimiter) -> None:
    file = tmp_path / "export.csv"
    duckdb.sql(
        """
        select timestamptz '2026-03-01 08:00:01.234567+00' as "time", 'GET' as verb, '/a|b;c,d' as uri,
               'x' || chr(10) || '"y"' as request_body, null as status from range(5)
        """
    ).write_csv(str(file), header=True, sep=delimiter)
    data = file.read_bytes()
    assert CSV.likeness(Head("export.csv", data)) > 0.9
    found = records(data)
    assert len(found) == 5
    assert found[0].exchange.at == AT
    assert found[0].exchange.request == Request("GET", "", "/a|b;c,d", "", (), b'x\n"y"')


def test_a_copy_of_postgresql() -> None:
    """Text without quotes, where a backslash stands before what would end a field or a line, and for null."""
    data = (
        b"started_at\tmethod\tpath\trequest_body\tstatus\n"
        b'2026-03-01 08:00:01.234567+00\tPOST\t/a\t"one\\ttwo\\\\n\\nthree\t201\n'
        b"2026-03-01 08:00:01.234567+00\tGET\t/b\t\\N\t\\N\n"
    )
    first, second = records(data)
    assert first.exchange.request.body == b'"one\ttwo\\n\nthree'
    assert (second.exchange.request.body, second.exchange.response) == (None, None)


def test_csv_of_spark() -> None:
    """A backslash stands before a quote in quotes."""
    data = f'{COLUMNS},request_body\n{ROW},"{{\\"a\\": \\"b, c\\"}}"\n{ROW},""\n'.encode()
    first, second = records(data)
    assert first.exchange.request.body == b'{"a": "b, c"}'
    assert second.exchange.request.body is None


def test_spaces_after_the_commas() -> None:
    (record,) = records(b'started_at, method, path, request_body\n2026-03-01 08:00:01.234567, GET, /a, "x, y"\n')
    assert (record.exchange.at, record.exchange.request) == (AT, Request("GET", "", "/a", "", (), b"x, y"))


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"", "latin-1")],
)
def test_encodings(mark, encoding) -> None:
    (record,) = records(mark + f"{COLUMNS},user_agent\r\n{ROW},café\r\n".encode(encoding))
    assert record.exchange.request.headers == (("User-Agent", "café"),)


# Types


@pytest.mark.parametrize(
    "at",
    [
        *(pa.array([AT], pa.timestamp(unit, tz="UTC")) for unit in ("us", "ns")),
        pa.array([AT.astimezone(ZoneInfo("Asia/Tokyo"))], pa.timestamp("us", tz="Asia/Tokyo")),
        pa.array([AT.replace(tzinfo=None)], pa.timestamp("us")),
        pa.array([AT.isoformat()]),
        pa.array([AT.isoformat()]).dictionary_encode(),
        pa.array([AT.isoformat()], pa.large_string()),
        pa.array([AT.isoformat()], pa.string_view()),
        pa.array([AT.isoformat().encode()]),
        pa.array([1772352001234567]),
        pa.array([1772352001234567000]),
        pa.array([1772352001.234567]),
        pa.array([Decimal("1772352001.234567")]),
        pa.array([Decimal(1772352001234567)], pa.decimal128(38, 0)),
    ],
)
def test_times(at) -> None:
    assert one({"started_at": at}).exchange.at == AT


def test_times_without_a_zone_are_of_the_zone_given() -> None:
    options = ReadOptions(timezone=ZoneInfo("Europe/Berlin"))
    record = one({"started_at": pa.array(["2026-07-01T10:00"]).cast(pa.timestamp("s"))}, options)
    assert record.exchange.at == datetime(2026, 7, 1, 8, tzinfo=UTC)


def test_a_day_and_a_time_of_day() -> None:
    record = one({"started_at": [None], "date": [date(2026, 3, 1)], "time": [time(8, 0, 1, 234567)]})
    assert record.exchange.at == AT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("duration_ms", Decimal("12.5")),
        ("duration_us", 12500),
        ("duration_ns", np.int64(12_500_000)),
        ("latency", timedelta(microseconds=12500)),
        ("latency", "12.5ms"),
        ("latency", 0.0125),
    ],
)
def test_durations(name, value) -> None:
    assert one({name: [value]}).exchange.duration_s == 0.0125


def test_moments_beyond_the_calendar_are_told() -> None:
    far = pa.array([1 << 62, 0], pa.timestamp("us", tz="UTC"))
    table = pa.table({"at": far, "method": ["GET"] * 2, "path": ["/a"] * 2})
    with pytest.raises(InputError, match="no time is in it"):
        read(parquet(table))


@pytest.mark.parametrize(
    "headers",
    [
        pa.array([[("A", "1"), ("B", None), ("A", "2")]], pa.map_(pa.string(), pa.string())),
        pa.array([[("A", ["1", "2"])]], pa.map_(pa.string(), pa.list_(pa.string()))),
        pa.array([[["A", "1"], ["A", "2"]]], pa.list_(pa.list_(pa.string()))),
        pa.array([[["A", "1"], ["A", "2"]]], pa.list_(pa.list_(pa.string(), 2))),
        pa.array([[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]]),
        pa.array([{"A": ["1", "2"], "B": None}]),
        pa.array(['{"A": ["1", "2"]}']),
        pa.array(['[["A", "1"], ["A", "2"]]']),
    ],
)
def test_headers(headers) -> None:
    (record,) = records(
        parquet(pa.table({"at": [AT], "method": ["GET"], "path": ["/"], "hdrs": headers})),
        ReadOptions(columns={"request_headers": "hdrs"}),
    )
    assert record.exchange.request.headers == (("A", "1"), ("A", "2"))


def test_columns_in_structs() -> None:
    request = pa.array([{"method": "PUT", "url": "/x", "headers": {"user-agent": "a/1"}}])
    table = pa.table({"ts": [AT], "req": request, "res": pa.array([{"statusCode": 201}])})
    (record,) = records(parquet(table))
    assert record.exchange.request == Request("PUT", "", "/x", "", (("user-agent", "a/1"),))
    assert record.exchange.response == Response(201)


def test_bodies_of_bytes_are_decoded_as_their_headers_say() -> None:
    headers = json.dumps({"Content-Encoding": "gzip", "Content-Length": "30", "Content-Type": "text/plain"})
    record = one({"request_body": [gzip.compress(b"hello")], "request_headers": [headers]})
    assert record.exchange.request.body == b"hello"
    assert record.exchange.request.headers == (("Content-Type", "text/plain"),)
    record = one({"response_body": [b"no gzip"], "response_headers": [headers]})
    assert record.bodies_not_kept == ("the response body is in an encoding that cannot be decoded",)
    assert one({"request_body": [[{"a": AT}]]}).exchange.request.body == f'[{{"a": "{AT}"}}]'.encode()


def test_texts_that_are_no_utf8() -> None:
    texts = pa.array([b"caf\xe9"]).view(pa.string())
    assert one({"user_agent": texts}).exchange.request.headers == (("User-Agent", "café"),)
    headers = pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["A"]), texts)
    assert one({"request_headers": headers}).exchange.request.headers == (("A", "café"),)


# What is wrong


def test_rows_that_are_no_requests_are_told_by_their_number() -> None:
    data = f"""{COLUMNS}
{ROW}
x,GET,/a,200
2026-03-01T08:00:01Z,GET,/a
2026-03-01T08:00:01Z,GET,/a,200,,
2026-03-01T08:00:01Z,GET,/a,200,more
2026-03-01T08:00:01Z,GET,"/a"b,200

2026-03-01T08:00:01Z,CONNECT,a:1,200
{ROW}
2026-03-01T08:00:01Z,GET,"/a,200
{ROW}
""".encode()
    items = read(data)
    assert [isinstance(item, Record) for item in items].count(True) == 3
    assert {item.where: item.reason for item in items if isinstance(item, Skipped)} == {
        "row 2": "the time cannot be read",
        "row 3": "it has 3 fields, and there are 4 columns",
        "row 5": "it has 5 fields, and there are 4 columns",
        "row 6": BAD_QUOTES,
        "row 7": "a tunnel is opened, which is no request",
        "row 9": BAD_QUOTES,
    }


@pytest.mark.parametrize("write", [to_csv, to_parquet])
def test_columns_that_say_too_little(write) -> None:
    table = pd.DataFrame({"moment": [AT], "verb": ["GET"], "asked": ["/a"]})
    with pytest.raises(InputError, match="No column of table says when") as refused:
        read(write(table))
    assert refused.value.hint == "Its columns are moment, verb, asked. Name it: --map at=COLUMN."
    with pytest.raises(InputError, match="what was asked for"):
        read(write(table), ReadOptions(columns={"at": "moment"}))
    with pytest.raises(InputError, match="has no column 'ask'") as refused:
        read(write(table), ReadOptions(columns={"at": "moment", "path": "ask"}))
    assert refused.value.hint == "Its columns are moment, verb, asked."
    with pytest.raises(InputError, match="verbb is nothing that a field can be mapped to"):
        read(write(table), ReadOptions(columns={"verbb": "verb"}))
    (record,) = records(write(table), ReadOptions(columns={"at": "moment", "path": "asked"}))
    assert (record.exchange.at, record.exchange.request.path) == (AT, "/a")


@pytest.mark.parametrize("write", [to_csv, to_parquet])
def test_a_method_that_all_rows_have(write) -> None:
    table = pd.DataFrame({"at": [AT], "path": ["/a"]})
    with pytest.raises(InputError, match="No column of table says the method") as refused:
        read(write(table))
    assert "'method=\"GET\"'" in refused.value.hint
    (record,) = records(write(table), ReadOptions(columns={"method": '"GET"'}))
    assert record.exchange.request.method == "GET"


@pytest.mark.parametrize("data", [parquet(pa.table({"at": [], "path": [], "method": []})), b"at,path,method\n"])
def test_a_table_without_rows(data) -> None:
    with pytest.raises(InputError, match="nothing is in it"):
        read(data)


@pytest.mark.parametrize("cut", [b"", b"PAR1", b"PAR1" * 3])
def test_parquet_that_is_not_whole(cut) -> None:
    whole = parquet(pa.table({"at": [AT], "method": ["GET"], "path": ["/a"]}))
    with pytest.raises(InputError, match=r"its footer is missing|cannot be read"):
        read(whole[:-12] + cut if cut != b"PAR1" else cut)


def test_a_row_group_that_is_damaged_costs_its_rows() -> None:
    table = pa.table({"at": [AT] * 30, "method": ["GET"] * 30, "path": [f"/{'x' * 50}{n}" for n in range(30)]})
    data = bytearray(
        parquet(table, row_group_size=10, compression="none", use_dictionary=False, write_page_checksum=True)
    )
    data[data.index(b"x15")] ^= 1
    items = read(bytes(data))
    skipped = [item for item in items if isinstance(item, Skipped)]
    assert [item.where for item in skipped] == ["rows 11 to 20"]
    assert "CRC" in skipped[0].reason
    assert len(items) == 21


# How it is found


def test_a_table_is_known_by_its_beginning() -> None:
    assert CSV.likeness(Head("a", f"{COLUMNS}\n{ROW}\n".encode())) == 0.95
    assert CSV.likeness(Head("a", f"{COLUMNS}\n{ROW},x\n".encode())) == 0.6
    assert PARQUET.likeness(Head("a", to_parquet(frame()))) == 1.0
    for other in (
        b"",
        b"\n",
        b'{"time":"x","path":"/a","method":"GET"}\n',
        b'192.0.2.1 - - [06/Feb/2026:12:14:14 +0000] "GET /,time,path HTTP/1.1" 200 5 "-" "example/1"\n',
        b"a,b\n1,2\n",
        b"time:2026-03-01T08:00:00Z\tmethod:GET\tpath:/a\n",
    ):
        assert CSV.likeness(Head("a", other)) == 0.0
        assert PARQUET.likeness(Head("a", other)) == 0.0


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_parquet_that_is_compressed_once_more(compress) -> None:
    assert (
        len(records(compress(parquet(pa.table({"at": [AT] * 999, "method": ["GET"] * 999, "path": ["/a"] * 999})))))
        == 999
    )


def test_a_compressed_table_that_breaks_off(tmp_path) -> None:
    file = tmp_path / "t.csv.gz"
    data = gzip.compress("\n".join([COLUMNS] + [f"{ROW[:-3]}{n % 400 + 100}" for n in range(20_000)]).encode())
    file.write_bytes(data[:-1000])
    *kept, last = flat(CSV.read(Input("t.csv.gz", file), ReadOptions()))
    assert len(kept) > 1000
    assert all(isinstance(item, Record) for item in kept)
    assert last == Skipped("t.csv.gz", f"row {len(kept) + 1}", "the file is damaged or breaks off here")
    file.write_bytes(gzip.compress(to_parquet(frame()))[:-100])
    with pytest.raises(InputError, match="is damaged or breaks off"):
        list(PARQUET.read(Input("t.parquet.gz", file), ReadOptions()))
