import json
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.manifest import load_manifest
from replay.capture.pseudonyms import fresh_key
from replay.capture.scrub import Scrubber
from replay.capture.segments import SCHEMA
from replay.capture.store import CaptureWriter, open_capture, read_exchanges, read_manifest, repair_capture
from replay.errors import InputError
from replay.traffic import Exchange, Request, Response, Skipped

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HEADERS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
BODY = st.none() | st.binary(max_size=50)
EXCHANGES = st.builds(
    Exchange,
    at=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
        lambda moment: moment.replace(fold=0)
    ),
    duration_s=st.floats(0, 1e6),
    client=TEXT,
    connection=TEXT,
    request=st.builds(Request, method=TEXT, host=TEXT, path=TEXT, query=TEXT, headers=HEADERS, body=BODY),
    response=st.none()
    | st.builds(Response, status=st.integers(100, 599), headers=HEADERS, body=BODY, size_bytes=st.integers(0, 2**40)),
    error=TEXT,
)


def exchange(number: int, at: datetime = AT) -> Exchange:
    request = Request("GET", "api.test:80", f"/v2/events/{number}")
    return Exchange(at, 0.25, "address-1", "c1", request, Response(200, (), b"{}", 2))


def write(path: Path, exchanges: list[Exchange], segments: int = 3) -> None:
    with CaptureWriter(path, environment="production", scrubber=None) as writer:
        for number, one in enumerate(exchanges):
            writer.add(one, "test")
            if number % segments == 0:
                writer.flush()


def paths(exchanges) -> list[str]:
    return [one.request.path for one in exchanges]


@given(st.lists(EXCHANGES, max_size=12), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read_in_order_of_time(exchanges, segments, other_segments):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "a"), exchanges, segments)
        write(Path(folder, "b"), exchanges, other_segments)
        one, other = open_capture(Path(folder, "a")), open_capture(Path(folder, "b"))
        assert sorted(map(repr, one.exchanges())) == sorted(map(repr, exchanges))
        moments = [read.at for read in one.exchanges()]
        assert moments == sorted(moments)
        if len(set(moments)) == len(moments):
            assert list(one.exchanges()) == sorted(exchanges, key=lambda read: read.at)
            assert one.digest() == other.digest()
        assert load_manifest(Path(folder, "a", "capture.json")) == one.manifest


def test_the_digest_changes_with_the_content(tmp_path):
    write(tmp_path / "a", [exchange(1), exchange(2, AT + timedelta(seconds=1))])
    write(tmp_path / "b", [exchange(1), exchange(3, AT + timedelta(seconds=1))])
    assert open_capture(tmp_path / "a").digest() != open_capture(tmp_path / "b").digest()


@pytest.mark.parametrize("name", ["production", "qa"])
def test_the_digest_is_what_it_always_was(name):
    built = json.loads((ROOT / "locustfiles" / f"{name}.data" / "scenario.json").read_text(encoding="utf-8"))
    assert open_capture(ROOT / "captures" / name).digest() == built["capture"]["digest"]


def test_the_columns_are_the_contract(tmp_path):
    write(tmp_path / "a", [exchange(1)])
    table = pq.read_table(tmp_path / "a" / "exchanges")
    assert table.schema.names == SCHEMA.names
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("response_body").type) == "binary"


def test_the_manifest_counts_what_was_kept_and_skipped(tmp_path):
    with CaptureWriter(tmp_path / "a", environment="stage", scrubber=Scrubber(fresh_key())) as writer:
        writer.add(exchange(2, AT + timedelta(seconds=9)), "one")
        writer.add(exchange(1), "one")
        writer.skip(Skipped("two", "line 7: ada@corp.test", "not HTTP"))
        writer.body_not_kept("too large")
    manifest = read_manifest(tmp_path / "a")
    assert [(s.name, s.read, s.kept, s.skipped) for s in manifest.sources] == [
        ("one", 2, 2, {}),
        ("two", 1, 0, {"not HTTP": 1}),
    ]
    assert manifest.window == (AT, AT + timedelta(seconds=9.25))
    assert (manifest.hosts, manifest.bodies_not_kept) == (("api.test:80",), {"too large": 1})
    line = json.loads((tmp_path / "a" / "skipped.jsonl").read_text())
    assert (line["source"], line["reason"]) == ("two", "not HTTP")
    assert "ada@corp.test" not in line["where"]
    assert not (tmp_path / "a" / ".recording").exists()


def test_a_writer_whose_block_failed_leaves_a_capture_to_repair(tmp_path):
    def fail() -> None:
        with CaptureWriter(tmp_path / "a", environment="stage", scrubber=None) as writer:
            writer.add(exchange(1), "test")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(InputError, match="half written"):
        open_capture(tmp_path / "a")
    assert repair_capture(tmp_path / "a").exchanges == 1
    assert paths(open_capture(tmp_path / "a").exchanges()) == ["/v2/events/1"]


def test_a_folder_that_exists_is_refused(tmp_path):
    with pytest.raises(InputError, match="exists already"):
        CaptureWriter(tmp_path, environment="stage", scrubber=None)


def test_a_capture_that_is_recorded_is_not_repaired(tmp_path):
    writer = CaptureWriter(tmp_path / "a", environment="stage", scrubber=None)
    writer.add(exchange(1), "test")
    writer.flush()
    with pytest.raises(InputError, match="still being recorded"):
        repair_capture(tmp_path / "a")
    writer.close()
    writer.close()
    assert paths(open_capture(tmp_path / "a").exchanges()) == ["/v2/events/1"]


def broken_off(path: Path, segments: int = 3) -> list[Path]:
    """A capture as a crash leaves it, one exchange in each segment."""
    writer = CaptureWriter(path, environment="stage", scrubber=None)
    for number in range(segments):
        writer.add(exchange(number, AT + timedelta(seconds=segments - number)), "test")
        writer.flush()
    writer._lock.close()
    return sorted((path / "exchanges").glob("*.parquet"))


def test_a_damaged_segment_costs_only_itself_and_is_kept(tmp_path):
    files = broken_off(tmp_path / "a")
    files[1].write_bytes(files[1].read_bytes()[:-20])
    (tmp_path / "a" / "exchanges" / ".000004.parquet.part").write_bytes(b"PAR1 half")
    damage: list[InputError] = []
    saved = list(read_exchanges(tmp_path / "a", repair=True, on_damage=damage.append))
    assert paths(saved) == ["/v2/events/2", "/v2/events/0"]
    assert [str(files[1]) in error.message for error in damage] == [True]
    assert repair_capture(tmp_path / "a").exchanges == 2
    assert files[1].with_name("000002.parquet.damaged").is_file()
    assert paths(open_capture(tmp_path / "a").exchanges()) == ["/v2/events/2", "/v2/events/0"]


def test_a_crash_while_merging_loses_and_doubles_nothing(tmp_path):
    files = broken_off(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    repair_capture(tmp_path / "a")
    # b: as earlier versions left it, the merged file beside the segments, and the manifest not complete
    shutil.copy(tmp_path / "a" / "exchanges" / "000001.parquet", tmp_path / "b" / "exchanges" / "merged.parquet")
    assert len(files) == 3
    assert repair_capture(tmp_path / "b").exchanges == 3
    assert open_capture(tmp_path / "b").digest() == open_capture(tmp_path / "a").digest()


def test_a_complete_capture_that_was_damaged_is_refused(tmp_path):
    write(tmp_path / "a", [exchange(1), exchange(2)])
    merged = tmp_path / "a" / "exchanges" / "000001.parquet"
    whole = merged.read_bytes()
    for damaged in (whole[:-10], b"", whole[:100] + b"\0" * 200 + whole[300:]):
        merged.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            list(read_exchanges(tmp_path / "a"))
    merged.unlink()
    with pytest.raises(InputError, match=r"lacks its segment 000001\.parquet"):
        list(read_exchanges(tmp_path / "a"))
    pq.write_table(pq.ParquetFile(_other(tmp_path)).read(), merged)
    with pytest.raises(InputError, match="holds 1 exchanges where its manifest says 2"):
        list(read_exchanges(tmp_path / "a"))


def _other(tmp_path: Path) -> Path:
    write(tmp_path / "other", [exchange(1)])
    return tmp_path / "other" / "exchanges" / "000001.parquet"


def test_a_lost_manifest_is_found_again_in_the_segments(tmp_path):
    broken_off(tmp_path / "a")
    (tmp_path / "a" / "capture.json").unlink()
    with pytest.raises(InputError, match=r"has no capture\.json"):
        read_manifest(tmp_path / "a")
    found = read_manifest(tmp_path / "a", repair=True)
    assert (found.exchanges, found.environment, found.hosts) == (3, "stage", ("api.test:80",))
    assert [(source.name, source.kept) for source in found.sources] == [("test", 3)]
    assert repair_capture(tmp_path / "a").state == "complete"


def test_a_lost_manifest_of_which_no_segment_tells_is_made_up_on_the_safe_side(tmp_path):
    for file in broken_off(tmp_path / "a"):
        pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    (tmp_path / "a" / "capture.json").unlink()
    made_up = read_manifest(tmp_path / "a", repair=True)
    assert (made_up.exchanges, made_up.environment, made_up.hosts) == (3, "production", ("api.test:80",))
    assert [(source.name, source.kept) for source in made_up.sources] == [("unknown", 3)]
    assert repair_capture(tmp_path / "a").state == "complete"
