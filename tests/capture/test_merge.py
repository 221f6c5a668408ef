import itertools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.close import plan
from replay.capture.merge import FAN_IN, Span, depth_of, find_runs, merge_into, merged, span_of
from replay.capture.segments import BYTES_IN_GROUP, Segment, SegmentWriter, to_exchanges, to_table
from replay.capture.store import CaptureWriter, open_capture
from replay.traffic import Exchange, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


def exchange(second: float, number: int) -> Exchange:
    return Exchange(AT + timedelta(seconds=second), 0.0, "c", "", Request("GET", "a", f"/{number}"), Response(200))


def write(folder: Path, segments: list[list[int]], rows_in_group: int = 2) -> tuple[list[Span], list[Exchange]]:
    """Segments whose exchanges begin at such seconds, and all of these in the order of reading."""
    numbers = itertools.count()
    spans, everything = [], []
    for place, seconds in enumerate(segments):
        exchanges = [exchange(second, next(numbers)) for second in sorted(seconds)]
        everything += exchanges
        file = folder / f"{place:06d}.parquet"
        with SegmentWriter(file) as writer:
            for start in range(0, len(exchanges), rows_in_group):
                writer.write(to_table(exchanges[start : start + rows_in_group]))
        span = span_of(file)
        spans += [span] if span else []
    return spans, everything


def in_time(exchanges: list[Exchange]) -> list[Exchange]:
    return sorted(exchanges, key=lambda one: one.at)


def read(tables) -> list[Exchange]:
    return [one for table in tables for one in to_exchanges(table)]


SEGMENTS = st.lists(st.lists(st.integers(0, 12), max_size=7), max_size=8)


@given(SEGMENTS, st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_segments_are_merged_as_a_stable_sort_would(segments, rows_in_group):
    with tempfile.TemporaryDirectory() as folder:
        spans, everything = write(Path(folder), segments, rows_in_group)
        assert read(merged(find_runs(spans))) == in_time(everything)


@given(SEGMENTS)
@settings(deadline=None, max_examples=60)
def test_a_plan_keeps_time_and_the_order_of_reading(segments):
    with tempfile.TemporaryDirectory() as folder:
        spans, everything = write(Path(folder), segments)
        parts = plan(spans)
        assert read(table for part in parts for table in merged(find_runs(part.spans))) == in_time(everything)


def test_more_segments_than_are_read_at_once_are_merged_in_levels(tmp_path):
    segments = [[number % 3, 50, 100 + number % 7] for number in range(FAN_IN * FAN_IN + 3)]
    spans, everything = write(tmp_path, segments)
    assert depth_of(find_runs(spans)) > FAN_IN * FAN_IN
    merge_into(spans, tmp_path / "all.parquet", {"said": "this"})
    segment = Segment(tmp_path / "all.parquet")
    assert read(segment.read(group) for group in range(segment.groups)) == in_time(everything)
    assert segment.metadata("said") == "this"
    assert not list(tmp_path.glob(".*"))


def big(start_s: float, rows: int = 20_000) -> pa.Table:
    table = to_table([exchange(start_s, 0)]).take(pa.array([0] * rows))
    moments = pa.array([start_s * 1e6 + AT.timestamp() * 1e6 + n * 1000 for n in range(rows)]).cast(pa.int64())
    return table.set_column(0, table.schema.field("at"), moments.cast(table.schema.field("at").type))


def test_segments_that_follow_each_other_stay_as_they_are(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for start_s in (0, 20, 40):
            writer.add_table(big(start_s), "log")
            writer.flush()
        files = [file.stat().st_ino for file in sorted((tmp_path / "a" / "exchanges").iterdir())]
    capture = open_capture(tmp_path / "a")
    assert capture.manifest.segments == tuple(f"exchanges/00000{n}.parquet" for n in (1, 2, 3))
    assert [(tmp_path / "a" / name).stat().st_ino for name in capture.manifest.segments] == files


def test_files_in_another_order_are_only_renamed(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for start_s in (40, 20, 0):
            writer.add_table(big(start_s), f"log{start_s}")
        writer.flush()
        files = [file.stat().st_ino for file in sorted((tmp_path / "a" / "exchanges").iterdir())]
    capture = open_capture(tmp_path / "a")
    assert [(tmp_path / "a" / name).stat().st_ino for name in capture.manifest.segments] == files[::-1]
    moments = pq.read_table(tmp_path / "a" / "exchanges")["at"].to_pylist()
    assert len(moments) == 60_000
    assert moments == sorted(moments)


def test_what_is_late_by_a_little_costs_no_merge(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for number in range(12):
            late = number * 20 - (4 if number % 2 else 0)
            writer.add_table(big(late), "log")
    moments = pq.read_table(tmp_path / "a" / "exchanges")["at"].to_pylist()
    assert moments == sorted(moments)
    assert len(open_capture(tmp_path / "a").manifest.segments) > 1


def test_row_groups_are_small_whatever_the_exchanges_are(tmp_path):
    body = bytes(700_000)
    request = Request("PUT", "a", "/", body=body)
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for number in range(20):
            writer.add(Exchange(AT - timedelta(seconds=number), 0.0, "c", "", request, None), "x")
    for file in (tmp_path / "a" / "exchanges").iterdir():
        segment = Segment(file)
        assert all(segment.read(group).nbytes < BYTES_IN_GROUP + 1_000_000 for group in range(segment.groups))


@pytest.mark.parametrize("size", [0, 1])
def test_empty_segments_are_no_trouble(size, tmp_path):
    spans, everything = write(tmp_path, [[], [5] * size, []])
    assert read(merged(find_runs(spans))) == everything
