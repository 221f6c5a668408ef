"""The digest of a capture: of what it holds and its order, and not of how that is divided."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.digest import digest_of
from replay.capture.segments import SCHEMA, Segment, to_table, write_segment
from replay.capture.store import CaptureWriter, open_capture
from replay.traffic import Exchange, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
TEXT = st.text(max_size=4)
ROWS = st.fixed_dictionaries(
    {
        "at": st.integers(0, 10**12).map(lambda us: AT + timedelta(microseconds=us)),
        "duration_s": st.floats(0, 100),
        "client": TEXT,
        "connection": TEXT,
        "method": TEXT,
        "host": TEXT,
        "path": TEXT,
        "query": TEXT,
        "request_headers": TEXT,
        "request_body": st.none() | st.binary(max_size=4),
        "status": st.none() | st.integers(0, 599),
        "response_headers": st.none() | TEXT,
        "response_body": st.none() | st.binary(max_size=4),
        "response_bytes": st.none() | st.integers(0, 2**40),
        "error": TEXT,
    }
)
TABLES = st.lists(ROWS, max_size=12).map(lambda rows: pa.Table.from_pylist(rows, schema=SCHEMA))


def cut(table: pa.Table, places: Sequence[int]) -> list[pa.Table]:
    bounds = [0, *sorted(place % (table.num_rows + 1) for place in places), table.num_rows]
    return [table.slice(start, end - start) for start, end in pairwise(bounds)]


@given(TABLES, st.lists(st.integers(0, 100), max_size=5), st.lists(st.integers(0, 100), max_size=3))
def test_a_digest_does_not_depend_on_slices(table: pa.Table, places: list[int], chunks: list[int]) -> None:
    whole = digest_of([table])
    assert len(whole) == 32
    assert set(whole) <= set("0123456789abcdef")
    assert digest_of(cut(table, places)) == whole
    assert digest_of([pa.concat_tables(cut(table, chunks))]) == whole
    assert digest_of(part for one in cut(table, places) for part in cut(one, chunks)) == whole


@given(TABLES, st.lists(st.integers(0, 100), max_size=3))
def test_a_digest_does_not_depend_on_files(table: pa.Table, places: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read = []
        for number, part in enumerate(cut(table.sort_by("at"), places)):
            write_segment([part], Path(folder) / f"{number}.parquet")
            segment = Segment(Path(folder) / f"{number}.parquet")
            read += [segment.read(group) for group in range(segment.groups)]
        assert digest_of(read) == digest_of([table.sort_by("at")])


@given(TABLES.filter(lambda table: table.num_rows > 0), st.data())
def test_a_digest_depends_on_every_value(table: pa.Table, data: st.DataObject) -> None:
    rows = table.to_pylist()
    number = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    other = data.draw(ROWS)[name]
    changed = [{**row, name: other} if place == number else row for place, row in enumerate(rows)]
    same = digest_of([pa.Table.from_pylist(changed, schema=SCHEMA)]) == digest_of([table])
    assert same == (_key(other) == _key(rows[number][name]))


def _key(value: Any) -> str:
    """0.0 is not -0.0; a time zone is written in two ways."""
    return repr(value.timestamp() if isinstance(value, datetime) else value)


@given(TABLES, st.randoms(use_true_random=False))
def test_a_digest_depends_on_the_order(table: pa.Table, chance: Any) -> None:
    rows = table.to_pylist()
    shuffled = list(rows)
    chance.shuffle(shuffled)
    same = digest_of([pa.Table.from_pylist(shuffled, schema=SCHEMA)]) == digest_of([table])
    assert same == (shuffled == rows)


@given(TABLES, TABLES)
def test_only_equal_tables_have_one_digest(one: pa.Table, other: pa.Table) -> None:
    assert (digest_of([one]) == digest_of([other])) == one.equals(other)


def exchange(second: float, **request: Any) -> Exchange:
    sent = Request("GET", "a", "/", **request)
    return Exchange(AT + timedelta(seconds=second), 0.0, "c", "", sent, Response(200, (), b"x" * 100, 100))


def digest(*exchanges: Exchange) -> str:
    return digest_of([to_table(exchanges)])


@pytest.mark.parametrize(
    "pair",
    [
        ({"body": None}, {"body": b""}),
        ({"body": b""}, {"body": b"\x00"}),
        ({"query": "ab"}, {"query": "a"}),
    ],
)
def test_nothing_is_not_empty(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, other = pair
    assert digest(exchange(0, **one)) != digest(exchange(0, **other))


def test_bytes_do_not_move_from_one_text_to_the_next() -> None:
    assert digest(exchange(0, query="ab"), exchange(0, query="c")) != digest(
        exchange(0, query="a"), exchange(0, query="bc")
    )
    assert digest(exchange(0, body=b"ab")) != digest(exchange(0, query="ab"))


def test_no_exchanges_have_a_digest() -> None:
    assert digest_of([]) == digest_of([SCHEMA.empty_table()])
    assert digest_of([]) != digest(exchange(0))


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_a_capture_has_the_digest_of_its_exchanges(tmp_path: Path, every: int) -> None:
    exchanges = [exchange(number, query=f"{number}") for number in range(100)]
    with CaptureWriter(tmp_path / "capture", environment="production", scrubber=None) as writer:
        for number, one in enumerate(exchanges):
            writer.add(one, "test")
            if number % every == 0:
                writer.flush()
    assert open_capture(tmp_path / "capture").digest() == digest(*exchanges)
