"""The truth about captures that broke off, were damaged, or hold nonsense."""

import contextlib
import itertools
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.capture.manifest import Manifest, Scrubbing, Source, load_manifest
from replay.capture.repair import BROKE_OFF
from replay.capture.segments import SCHEMA, Segment, SegmentWriter, to_exchanges, to_table
from replay.capture.sources.capture import is_capture, notes_of, read_capture
from replay.capture.store import CaptureWriter, open_capture, read_exchanges, read_manifest, repair_capture
from replay.errors import InputError
from replay.traffic import Exchange, Request, Response, Skipped

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


def exchange(number: int, size: int = 10) -> Exchange:
    body = os.urandom(size)
    request = Request("GET", "api.example.com", f"/v2/events/{number}")
    return Exchange(AT + timedelta(seconds=number), 0.25, "c", "k", request, Response(200, (), body, size))


def broken_off(path: Path) -> CaptureWriter:
    """Two sources, several segments with several row groups of both, all that can be counted, and then a crash."""
    writer = CaptureWriter(path, environment="stage", hosts=["other.example.com"], scrubber=None)
    writer.note_format("one.log", "combined")
    writer.note_format("two.har", "har")
    for number in range(30):
        writer.add(exchange(number, 600_000), "one.log" if number % 3 else "two.har")
        if number % 10 == 9:
            writer.skip(Skipped("two.har", f"entry {number}", "not HTTP"))
            writer.leave_out("one.log", "--since", 2)
            writer.body_not_kept("too large")
            writer.note("Something to know.")
            writer.flush()
    writer._lock.close()
    writer._skipped_file.close()
    return writer


def counts(manifest: Manifest) -> list[tuple[str, int, int, dict[str, int], dict[str, int], str]]:
    return [(one.name, one.read, one.kept, one.skipped, one.left_out, one.format) for one in manifest.sources]


def numbers(exchanges) -> list[int]:
    return [int(one.request.path.rpartition("/")[2]) for one in exchanges]


def segments(path: Path) -> list[Path]:
    return sorted((path / "exchanges").glob("*.parquet"))


WHOLE = [
    ("one.log", 26, 20, {}, {"--since": 6}, "combined"),
    ("two.har", 13, 10, {"not HTTP": 3}, {}, "har"),
]


def test_every_count_survives_a_crash(tmp_path):
    broken_off(tmp_path / "a")
    manifest = read_manifest(tmp_path / "a", repair=True)
    assert counts(manifest) == WHOLE
    assert (manifest.exchanges, manifest.bodies_not_kept, manifest.notes) == (
        30,
        {"too large": 3},
        ("Something to know.",),
    )
    assert manifest.hosts == ("api.example.com", "other.example.com")
    assert manifest.window == (AT, AT + timedelta(seconds=29.25))
    assert counts(repair_capture(tmp_path / "a")) == WHOLE
    assert counts(open_capture(tmp_path / "a").manifest) == WHOLE
    assert numbers(open_capture(tmp_path / "a").exchanges()) == list(range(30))


def test_counts_are_those_of_the_segments_that_are_there(tmp_path):
    broken_off(tmp_path / "a")
    manifest = (tmp_path / "a" / "capture.json").read_text()
    segments(tmp_path / "a")[1].unlink()
    found = repair_capture(tmp_path / "a")
    kept = {number: "one.log" if number % 3 else "two.har" for number in [*range(10), *range(20, 30)]}
    assert {source.name: source.kept for source in found.sources} == Counter(kept.values())
    assert all(one.read == one.kept + sum((one.skipped | one.left_out).values()) for one in found.sources)
    assert numbers(open_capture(tmp_path / "a").exchanges()) == list(kept)
    assert json.loads(manifest)["exchanges"] == 30


def test_a_lost_manifest_is_found_again_with_all_counts(tmp_path):
    broken_off(tmp_path / "a")
    (tmp_path / "a" / "capture.json").write_text("{")
    found = repair_capture(tmp_path / "a")
    assert (counts(found), found.environment, found.notes) == (WHOLE, "stage", ("Something to know.", BROKE_OFF))


def test_damage_costs_only_the_row_group_that_it_is_in(tmp_path):
    broken_off(tmp_path / "a")
    file = segments(tmp_path / "a")[0]
    segment = Segment(file)
    assert segment.groups > 1
    lost = numbers(to_exchanges(segment.read(0)))
    flip(file, 1000)
    manifest = repair_capture(tmp_path / "a")
    assert manifest.notes[-2:] == ("1 damaged segment could not be read, or only in part.", BROKE_OFF)
    kept = [number for number in range(30) if number not in lost]
    assert {source.name: source.kept for source in manifest.sources} == Counter(
        "one.log" if number % 3 else "two.har" for number in kept
    )
    assert numbers(open_capture(tmp_path / "a").exchanges()) == kept
    assert list((tmp_path / "a" / "exchanges").glob("*.damaged"))


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0x10
    file.write_bytes(data)


def test_a_flipped_byte_anywhere_is_seen_or_changes_nothing(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for number in range(50):
            writer.add(exchange(number), "x")
    whole = list(read_exchanges(tmp_path / "a"))
    (file,) = segments(tmp_path / "a")
    data = file.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for at in range(0, len(data), 7):
        flip(file, at)
        try:
            read = list(read_exchanges(tmp_path / "a"))
        except InputError:
            pass
        else:
            assert at >= footer or read == whole, at
        list(read_exchanges(tmp_path / "a", repair=True))
        file.write_bytes(data)


@pytest.mark.parametrize("moment", ["new is half made", "old was put away", "new is in place", "manifest is written"])
def test_a_crash_at_each_moment_of_the_close_loses_and_doubles_nothing(moment, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    broken_off(b)
    for file in segments(b)[:2]:  # out of order, so that there is something to merge
        file.rename(file.with_name(f"00001{file.name}"))
    shutil.copytree(b, a)
    done = repair_capture(a)
    if moment == "new is half made":
        (b / "exchanges.new").mkdir()
        shutil.copy(segments(a)[0], b / "exchanges.new" / "000001.parquet")
        (b / "exchanges.new" / ".000002.parquet.part").write_bytes(b"PAR1")
    else:
        (b / "exchanges").rename(b / "exchanges.old")
        name = "exchanges.new" if moment == "old was put away" else "exchanges"
        shutil.copytree(a / "exchanges", b / name)
    if moment == "manifest is written":
        done.write(b / "capture.json")
    else:
        assert numbers(read_exchanges(b, repair=True)) == list(range(30))
        assert read_manifest(b, repair=True).exchanges == 30
    repaired = repair_capture(b)
    assert counts(repaired) == WHOLE
    assert numbers(open_capture(b).exchanges()) == list(range(30))
    if moment != "manifest is written":
        assert {path.name for path in b.iterdir()} == {"capture.json", "exchanges", "skipped.jsonl"}


def test_the_last_line_of_what_was_skipped_is_cut_where_it_broke_off(tmp_path):
    broken_off(tmp_path / "a")
    skipped = tmp_path / "a" / "skipped.jsonl"
    whole = skipped.read_text()
    skipped.write_text(whole + '{"source": "two.har", "where": "ent')
    assert counts(repair_capture(tmp_path / "a")) == WHOLE
    assert skipped.read_text() == whole


EMPTY = Manifest("a", "stage", "complete", 0, None, ("h",), (Source("s", 1, 1),), Scrubbing(True, {"x": 1}))
NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_manifest_of_nonsense_is_refused_in_a_sentence(tmp_path, data):
    good = Manifest(
        "a", "stage", "complete", 0, None, ("h",), (Source("s", 1, 1),), Scrubbing(True, {"x": 1})
    ).to_json()
    place = data.draw(
        st.sampled_from([*good, "notes", "sources.0", "scrubbing.on", "scrubbing.counts", "window.start"])
    )
    nonsense = data.draw(NONSENSE)
    target: dict = good
    *way, last = place.split(".")
    if last == "0":
        good["sources"][0] = nonsense
    else:
        for name in way:
            target = target[name]
        target[last] = nonsense
    file = tmp_path / "capture.json"
    file.write_text(json.dumps(good))
    with contextlib.suppress(InputError):
        load_manifest(file).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 100_000,
        '{"format": 1, "exchanges": Infinity}',
        json.dumps(replace(EMPTY, segments=("../../x.parquet",)).to_json()),
        json.dumps(replace(EMPTY, state="nonsense").to_json()),
        json.dumps(replace(EMPTY, format=2).to_json()),
        "\ufeff{}",
    ],
)
def test_a_manifest_that_means_harm_is_refused(text, tmp_path):
    (tmp_path / "capture.json").write_text(text)
    with pytest.raises(InputError):
        load_manifest(tmp_path / "capture.json")


def test_what_no_text_and_no_number_can_be_is_stored_all_the_same(tmp_path):
    odd = "a\ud800b"
    request = Request(odd, odd, odd, odd, ((odd, odd), ("smile", "\U0001f600")))
    response = Response(2**40, ((odd, odd),), b"", 2**70)
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for duration_s in (float("nan"), float("inf"), -1.0, 1e300):
            writer.add(Exchange(AT, duration_s, odd, odd, request, response, odd), odd)
        writer.skip(Skipped(odd, odd, odd))
    exchanges = list(open_capture(tmp_path / "a").exchanges())
    assert [one.duration_s for one in exchanges] == [0.0] * 4
    assert exchanges[0].request.path == "a\ufffdb"
    assert exchanges[0].request.headers == (("a\ufffdb", "a\ufffdb"), ("smile", "\U0001f600"))
    assert read_manifest(tmp_path / "a").exchanges == 4


def test_a_table_of_what_was_read_elsewhere_is_taken(tmp_path):
    table = to_table([exchange(1), exchange(2)])
    odd = table.set_column(1, "duration_s", [[float("nan"), 0.5]]).replace_schema_metadata({"made": "elsewhere"})
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        writer.add_table(odd.select(SCHEMA.names[::-1]), "x")
        with pytest.raises(InputError, match="lacks the column at"):
            writer.add_table(table.drop_columns(["at"]), "x")
    assert [one.duration_s for one in open_capture(tmp_path / "a").exchanges()] == [0.0, 0.5]


# A capture as a source


def test_a_whole_capture_is_read_as_it_is(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        for number in (3, 1, 2):
            writer.add(exchange(number), "x")
    assert is_capture(tmp_path / "a")
    tables = list(read_capture(tmp_path / "a"))
    assert numbers(itertools.chain.from_iterable(map(to_exchanges, tables))) == [1, 2, 3]


def test_of_a_broken_capture_what_can_be_read_is_read_and_the_rest_is_told(tmp_path):
    broken_off(tmp_path / "a")
    files = segments(tmp_path / "a")
    lost = numbers(to_exchanges(Segment(files[0]).read(0)))
    flip(files[0], 1000)
    files[1].write_bytes(b"PAR1")
    found = list(read_capture(tmp_path / "a"))
    told = [(one.where, one.reason) for one in found if isinstance(one, Skipped)]
    reason = "damaged: how many exchanges were in it is not known"
    assert sorted(told) == [("exchanges/000001.parquet", reason), ("exchanges/000002.parquet", reason)]
    read = [n for table in found if not isinstance(table, Skipped) for n in numbers(to_exchanges(table))]
    assert read == [number for number in [*range(10), *range(20, 30)] if number not in lost]


def test_a_missing_segment_of_a_complete_capture_is_told(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
        writer.add(exchange(1), "x")
    segments(tmp_path / "a")[0].unlink()
    (told,) = read_capture(tmp_path / "a")
    assert told == Skipped(
        str(tmp_path / "a"), "exchanges/000001.parquet", "missing: how many exchanges were in it is not known"
    )


def test_where_there_is_no_capture_none_is_read(tmp_path):
    assert not is_capture(tmp_path)
    with pytest.raises(InputError, match="There is no capture"):
        read_capture(tmp_path)


def manifest(name: str, scrubbing: Scrubbing, notes: tuple[str, ...] = ()) -> Manifest:
    return Manifest(name, "stage", "complete", 0, None, (), (), scrubbing, notes=notes)


def test_captures_of_one_key_are_merged_as_if_they_were_one():
    one, other = manifest("a", Scrubbing(True, {"jwt": 1}, "k")), manifest("b", Scrubbing(True, {"jwt": 2}, "k"))
    assert Scrubbing.merged([one.scrubbing, other.scrubbing]) == Scrubbing(True, {"jwt": 3}, "k")
    assert notes_of([one, other]) == ()


def test_captures_of_different_keys_are_merged_with_a_note():
    one = manifest("a", Scrubbing(True, {"jwt": 1}, "k"))
    other = manifest("b", Scrubbing(True, {}, "l"), ("So it is.",))
    assert Scrubbing.merged([one.scrubbing, other.scrubbing]) == Scrubbing(True, {"jwt": 1}, None)
    said, keys = notes_of([one, other])
    assert said == "b: So it is."
    assert "different keys" in keys
    plain = manifest("c", Scrubbing(on=False))
    assert not Scrubbing.merged([one.scrubbing, plain.scrubbing]).on
    assert "not scrubbed" in notes_of([one, plain])[0]


def test_the_columns_are_read_whoever_wrote_them(tmp_path):
    table = to_table([exchange(1)])
    pq.write_table(table.to_pandas().pipe(lambda frame: type(table).from_pandas(frame)), tmp_path / "1.parquet")
    assert numbers(to_exchanges(Segment(tmp_path / "1.parquet").read(0))) == [1]
    with SegmentWriter(tmp_path / "2.parquet") as writer:
        writer.write(table)
    assert Segment(tmp_path / "2.parquet").metadata("nothing") == ""
