"""Inputs made to exhaust memory or patience: each import is a process of its own whose memory is measured."""

import bz2
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hostile_seeds import SEEDS
from import_parts import combined, json_line, moment, write
from measured import measured

MEMORY_MIB = 600
MIB = 1 << 20
LINE = combined(1).encode()


def check_import(file: Path, out: Path) -> str:
    """It ends by itself with little memory, and says what it did; what it said."""
    done = measured("import", file, "--out", out)
    assert done.code in (0, 2), done.said
    assert "Traceback" not in done.said
    assert done.peak_mib < MEMORY_MIB
    return done.said


OPEN = {"plain": open, "gzip": gzip.open, "bzip2": bz2.open, "Zstandard": zstandard.open}
BOMBS = ("bzip2", "Zstandard")


def repeated(file: Path, unit: bytes, mib: int, *, start: bytes = b"", end: bytes = b"", how: str = "plain") -> Path:
    """A file of so many MiB between its start and its end, written piece by piece."""
    piece = unit * (MIB // len(unit))
    with OPEN[how](file, "wb") as stream:
        stream.write(start)
        for _ in range(mib):
            stream.write(piece)
        stream.write(end)
    return file


STARTS = {
    "nothing": b"",
    "har": b'{"log":{"entries":[{"a":"',
    **{name: SEEDS[name] for name in ("combined", "gor", "mitmproxy", "json", "w3c", "csv")},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "how"), [*((start, "gzip") for start in STARTS), *(("combined", how) for how in BOMBS)]
)
def test_a_gigabyte_of_zeros_in_a_megabyte(start, how, tmp_path):
    file = repeated(tmp_path / "bomb", b"\0", 1024, start=STARTS[start], how=how)
    assert file.stat().st_size < 8 * MIB
    check_import(file, tmp_path / "out")


@pytest.mark.slow
def test_ten_gigabytes_of_zeros(tmp_path):
    """As members of gzip one after the other, each of them the same."""
    member = repeated(tmp_path / "member", b"\0", 1024, how="gzip").read_bytes()
    said = check_import(write(tmp_path / "bomb", gzip.compress(LINE) + member * 10), tmp_path / "out")
    assert "1 exchanges" in said


@pytest.mark.slow
def test_blank_lines_without_end(tmp_path):
    said = check_import(repeated(tmp_path / "bomb", b"\n", 256, start=LINE, end=LINE, how="gzip"), tmp_path / "out")
    assert "2 read, 2 kept" in said


LONG_LINES = {
    "combined": (LINE, LINE[:60]),
    "json": (json_line(1).encode(), b'{"time": "2026-03-01T08:00:00Z", "method": "GET", "path": "/'),
    "ltsv": (SEEDS["ltsv"], b"time:[01/Mar/2026:08:00:01 +0000]\treq:GET /"),
    "squid": (
        SEEDS["squid.log"].partition(b"\n")[0] + b"\n",
        b"1790000000.603    310 192.0.2.1 TCP_MISS/200 1234 GET http://a/",
    ),
    "haproxy": (SEEDS["haproxy_2_6_stdout.log"], b"127.0.0.1:59234 [24/Nov/2026:06:05:02.737] web app/one "),
    "w3c": (SEEDS["w3c"], b"2026-03-01 08:00:01 192.0.2.7 GET /"),
    "csv": (SEEDS["csv"], b"2026-03-01T08:00:00Z,GET,/"),
    "csv, quoted": (SEEDS["csv"], b'2026-03-01T08:00:00Z,GET,"/'),
    "caddy": (SEEDS["caddy"], SEEDS["caddy"][:60]),
    "alb": (SEEDS["alb"], SEEDS["alb"][:120]),
    "docker": (SEEDS["docker"], SEEDS["docker"][:40]),
    "kubernetes": (SEEDS["kubernetes"], SEEDS["kubernetes"][:80]),
    "kubernetes, split": (SEEDS["kubernetes"], b"2026-03-01T08:00:00.000000000Z stdout P "),
    "otlp": (SEEDS["otel_collector.jsonl"].partition(b"\n")[0] + b"\n", b'{"resourceSpans": [{"a": "'),
    "gor": (SEEDS["gor"], SEEDS["gor"][:60]),
    "mitmproxy": (SEEDS["mitmproxy"], b"524288000:9:websocket;"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_LINES)
def test_a_line_of_half_a_gigabyte(name, tmp_path):
    before, start = LONG_LINES[name]
    file = repeated(tmp_path / "long", b"a", 500, start=before + start, end=b"\n")
    said = check_import(file, tmp_path / "out")
    assert "exchanges in" in said  # what came before the line is kept


def nested(depth: int) -> Iterator[str]:
    yield '{"log": {"entries": [' + '[{"a": ' * depth
    yield '{"log": {"entries": [{"request": ' + '{"a": ' * depth + "}" * depth + "}]}}"
    yield '{"log": {"entries": [], "_a": ' + "[" * depth + "]" * depth + "}}"
    yield '{"log": ' + '{"a": ' * depth + "}" * depth + "}"
    yield "[" * depth


def test_a_har_nested_without_end(tmp_path):
    for number, text in enumerate(nested(100_000)):
        check_import(write(tmp_path / f"{number}.har", text), tmp_path / f"out{number}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "unit", "end"),
    [
        ('{"log": {"entries": [{"startedDateTime": "2026-03-01T08:00:00Z", "_a": "', "a", '"}]}}'),
        ('{"log": {"creator": {"name": "', "a", '"}, "entries": []}}'),
        ('{"log": {"entries": [], "', "a", '": 1}}'),
        ('{"log": {"entries": [], "a": ', "1", "}}"),
        ('{"log": {"entries": [{"a": [', "0,", "0]}]}}"),
        ('{"log": {"entries": [{"a": [', "{},", "0]}]}}"),
    ],
)
def test_a_har_with_half_a_gigabyte_in_one_place(start, unit, end, tmp_path):
    file = repeated(tmp_path / "a.har", unit.encode(), 500, start=start.encode(), end=end.encode())
    check_import(file, tmp_path / "out")


PARQUET: dict[str, Callable[[], dict[str, list[object]]]] = {
    "a long value": lambda: {"path": ["/" + "a" * 500_000_000, "/b"]},
    "a long value beside": lambda: {"path": ["/a", "/b"], "other": ["a" * 500_000_000] * 2},
    "a large group": lambda: {"path": ["/" + "a" * 1000] * 400_000},
    "many columns": lambda: {"path": ["/a", "/b"], **{f"other{number}": [1, 2] for number in range(20_000)}},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", PARQUET)
def test_a_parquet_file_that_is_larger_than_it_looks(what, tmp_path):
    columns = PARQUET[what]()
    rows = len(columns["path"])
    table = pa.table({"time": [moment(1)] * rows, "method": ["GET"] * rows, "status": [200] * rows, **columns})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", row_group_size=rows)
    check_import(tmp_path / "a.parquet", tmp_path / "out")
