import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replay.capture.inputs import Head, Input
from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import Block, LogSource, Patterns, blocks, read_block
from replay.capture.sources.source import LINE_LIMIT_BYTES, ReadOptions
from replay.capture.spool import Spool
from replay.errors import InputError
from replay.traffic import Skipped

PLAIN = (LinePattern('{at:s} "{request}" {status} "{request_header:User-Agent}"'), LinePattern('{at:s} "{request}"'))
LINE = b'971211336 "GET /a?b=c HTTP/1.1" 200 "agent"\n'
OTHER = "the line is not of this format"


def directive(line: bytes, before: Patterns) -> Patterns | None:
    """``#Order: a`` or ``b``; ``#Day: 2026-03-01`` goes on with the order that was."""
    name, _, value = line.partition(b": ")
    if name == b"#Order":
        return (
            LinePattern(
                "{at:utc} {target} {status}" if value == b"a" else "{status} {at:utc} {target}", day="2026-03-01"
            ),
        )
    if name == b"#Day":
        return tuple(LinePattern(each.template, day=value.decode("ascii", "replace")) for each in before)
    return None


def decode(table: pa.Table) -> pa.Table:
    return table.set_column(table.column_names.index("path"), "path", pa.compute.utf8_upper(table["path"]))


SOURCES = (
    LogSource("plain", "plain", PLAIN),
    LogSource("ordered", "ordered", (), directive),
    LogSource(
        "decoded", "decoded", (LinePattern("{at:utc} {path} {status}", escaped=False, words=True),), directive, decode
    ),
)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                LINE,
                b"12:00:01 /a 200\n",
                b"200 12:00:01 /a\n",
                b"#Order: a\n",
                b"#Order: b\r\n",
                b"#Day: 2026-03-02\n",
                b"#Day: \xff\n",
                b"#\n",
                b"2026-03-01T12:00:00Z /a 200\n",
                b"\n",
                b"\r\n",
                b'"',
                b"\\",
                b" ",
                b"#",
                b"\x00",
                b"\xff\xfe",
                b"\xef\xbb\xbf",
            ]
        ),
        st.binary(max_size=30),
    ),
    max_size=25,
).map(b"".join)


def input_of(data: bytes) -> Input:
    return Input("a.log", Spool(io.BytesIO(data)))


def in_blocks(source: LogSource, data: bytes, block_bytes: int) -> tuple[list[dict], list[Skipped]]:
    """What is read in such blocks. Which columns a table has depends on its lines, so nulls are left out."""
    rows: list[dict] = []
    skipped: list[Skipped] = []
    for block in source._sections(blocks(io.BytesIO(data), "a.log", block_bytes)):
        assert isinstance(block, Block)
        found = read_block(block, "a.log", ReadOptions(), directives=source.directive is not None)
        rows += found.table.to_pylist()
        skipped += found.skipped
    return [{name: value for name, value in row.items() if value is not None} for row in rows], skipped


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@given(data=PIECES, block_bytes=st.integers(1, 200))
@example(data=b"  ", block_bytes=1)  # fits a pattern of words that may be empty, and is nothing
@settings(deadline=None, max_examples=80)
def test_any_bytes_in_any_blocks_are_all_accounted_for(source: LogSource, data: bytes, block_bytes: int):
    whole = in_blocks(source, data, 1 << 20)
    assert in_blocks(source, data, block_bytes) == whole
    if not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
        kept = [line for line in lines if not (source.directive and line.startswith(b"#"))]
        assert len(whole[0]) + len(whole[1]) == len(kept)
    assert 0 <= source.likeness(Head("a.log", data)) <= 1


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@given(data=PIECES.filter(lambda data: not data.startswith((b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"))))
@settings(deadline=None, max_examples=40)
def test_what_may_hold_secrets_is_what_the_first_pass_sees(source: LogSource, data: bytes):
    tables = [item.table for item in source.read(input_of(data), ReadOptions())]
    seen = [table for table in source.read_texts(input_of(data), ReadOptions()) if table.num_columns]
    for name in ("path", "query", "request_header:User-Agent"):
        read = {value for table in tables if name in table.column_names for value in table[name].to_pylist()}
        assert read - {None} <= {
            value for table in seen if name in table.column_names for value in table[name].to_pylist()
        }


def test_a_directive_says_how_the_lines_after_it_are_written():
    source = SOURCES[1]
    data = (
        b"12:00:01 /a 200\n#Order: a\n12:00:01 /b 201\n#Order: b\n\n202 12:00:01 /c\n#Day: 2026-03-02\n203 12:00:01 /d"
    )
    rows, skipped = in_blocks(source, data, 1 << 20)
    assert [(row["at"].day, row["path"], row["status"]) for row in rows] == [
        (1, "/b", 201),
        (1, "/c", 202),
        (2, "/d", 203),
    ]
    assert skipped == [Skipped("a.log", "line 1", OTHER)]
    assert source.likeness(Head("a.log", data)) == 0.75


def test_a_long_log_is_read_in_order():
    count = 200_000
    data = b"".join(
        b'%d "GET /%d HTTP/1.1" 200 "x"\n%s' % (i, i, b"odd\n" if i % 1000 == 0 else b"") for i in range(count)
    )
    at: list[int] = []
    skipped: list[str] = []
    for item in SOURCES[0].read(input_of(data), ReadOptions()):
        at += [int(path[1:]) for path in item.table["path"].to_pylist()]
        skipped += [each.where for each in item.skipped]
    assert at == list(range(count))
    assert skipped == [f"line {1001 * i + 2}" for i in range(200)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_lines_beyond_the_limit_are_passed_over(end: bytes):
    agent = b"a" * (LINE_LIMIT_BYTES - len(LINE) + 1 + len("agent"))
    longest = LINE.replace(b"agent", agent).rstrip(b"\n")
    assert len(longest) == LINE_LIMIT_BYTES
    rows, skipped = in_blocks(
        SOURCES[0], LINE + longest + b"\n" + LINE + longest.replace(b"GET", b"POST") + end, 1 << 22
    )
    assert len(rows) == 3
    assert [each.where for each in skipped] == ["line 4"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("block_bytes", [1, 7, 1000])
def test_marks_of_an_encoding(encoding: str, block_bytes: int):
    text = (LINE * 3).decode().replace("agent", "é☺")
    data = ("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding)
    rows, skipped = in_blocks(SOURCES[0], data, block_bytes)
    assert [row["request_header:User-Agent"] for row in rows] == ["é☺"] * 3
    assert skipped == []


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path):
    whole = gzip.compress(b"".join(LINE.replace(b"agent", b"%d" % (i * 7919)) for i in range(100_000)))
    (tmp_path / "a.log.gz").write_bytes(whole[: len(whole) // 2])
    items = list(SOURCES[0].read(Input("a.log.gz", tmp_path / "a.log.gz"), ReadOptions()))
    rows = sum(item.table.num_rows for item in items if not isinstance(item, Skipped))
    assert 1000 < rows < 100_000
    assert isinstance(items[-1], Skipped)
    assert items[-1].reason == "the file is damaged from here on"
    (tmp_path / "a.log.gz").write_bytes(whole[:12])
    with pytest.raises(InputError):
        list(SOURCES[0].read(Input("a.log.gz", tmp_path / "a.log.gz"), ReadOptions()))
