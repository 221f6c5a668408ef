"""Captures as sources: merged, cut, sampled, and saved as far as they can be read."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_parts import (
    AT,
    KEY,
    capture_of,
    combined,
    everything_in,
    exchange,
    imported,
    importing,
    targets,
    write,
)

from replay.capture.importing import try_import
from replay.capture.pseudonyms import Key, Pseudonyms
from replay.capture.segments import SCHEMA
from replay.capture.selection import Selection
from replay.capture.sources.capture import DAMAGED, MISSING, is_capture, read_capture
from replay.capture.store import CaptureWriter, open_capture, read_skipped
from replay.errors import InputError
from replay.traffic import Skipped

OTHER = Key(b"o" * 32)
SECRET = "hush-Hush-42x9"
CLIENTS = [f"token-{number:02d}" for number in range(60)]


@pytest.fixture
def week(tmp_path: Path) -> Path:
    """A minute between one and the next, of sixty clients in turn."""
    return capture_of(
        tmp_path / "week",
        (exchange(60 * number, f"/v2/{number}", client=CLIENTS[number % 60]) for number in range(240)),
    )


def test_a_capture_of_a_capture_is_the_same(week, tmp_path):
    again = imported(tmp_path / "again", week)
    assert again.digest() == open_capture(week).digest()
    (source,) = again.manifest.sources
    assert (source.name, source.format, source.read, source.kept) == (str(week), "capture", 240, 240)
    assert again.manifest.scrubbing == open_capture(week).manifest.scrubbing
    assert again.manifest.notes == ()


def test_two_captures_of_one_key(tmp_path):
    odd, even = (
        capture_of(
            tmp_path / name, (exchange(second, f"/{second}?password={SECRET}") for second in range(start, 20, 2))
        )
        for start, name in enumerate(("even", "odd"))
    )
    merged = imported(tmp_path / "merged", odd, even)
    assert targets(merged) == [f"/{second}?password={Pseudonyms(KEY).of(SECRET)}" for second in range(20)]
    assert merged.manifest.scrubbing.key_id == KEY.id
    assert merged.manifest.scrubbing.counts == {"query": 20} or sum(merged.manifest.scrubbing.counts.values()) == 20
    assert merged.manifest.notes == ()


def test_two_captures_of_two_keys_are_noted(tmp_path):
    first = capture_of(tmp_path / "first", [exchange(1)])
    second = capture_of(tmp_path / "second", [exchange(2)], key=OTHER)
    merged = imported(tmp_path / "merged", first, second)
    assert merged.manifest.scrubbing.key_id is None
    (note,) = merged.manifest.notes
    assert "scrubbed with different keys" in note


def test_a_capture_that_was_not_scrubbed_is(tmp_path):
    plain = capture_of(
        tmp_path / "plain", [exchange(1, f"/a?password={SECRET}"), exchange(2, f"/b/{SECRET}")], key=None
    )
    scrubbed = capture_of(tmp_path / "scrubbed", [exchange(3)])
    merged = imported(tmp_path / "merged", plain, scrubbed)
    assert targets(merged)[:2] == [f"/a?password={Pseudonyms(KEY).of(SECRET)}", f"/b/{Pseudonyms(KEY).of(SECRET)}"]
    assert merged.manifest.scrubbing.on
    assert SECRET not in everything_in(tmp_path / "merged")
    off = imported(tmp_path / "off", plain, scrubbed, scrub=False)
    assert targets(off)[0] == f"/a?password={SECRET}"
    assert not off.manifest.scrubbing.on
    assert any("some were not scrubbed" in note for note in off.manifest.notes)


def test_captures_and_files_together(week, tmp_path):
    log = write(tmp_path / "a.log", [combined(30, "/log"), "nonsense\n"])
    capture = imported(tmp_path / "out", week, log)
    assert targets(capture)[:3] == ["/v2/0", "/log", "/v2/1"]
    assert {Path(one.name).name: (one.read, one.kept) for one in capture.manifest.sources} == {
        "week": (240, 240),
        "a.log": (2, 1),
    }


# The environment


def test_the_environment_is_that_of_the_captures(week, tmp_path):
    log = write(tmp_path / "a.log", combined(1))
    assert imported(tmp_path / "1", log).manifest.environment == "production"
    assert imported(tmp_path / "2", week, log).manifest.environment == "stage"
    other = capture_of(tmp_path / "other", [exchange(1)], environment="production")
    with pytest.raises(InputError, match="of several environments: production, stage") as refused:
        imported(tmp_path / "3", week, other)
    assert "--environment" in refused.value.hint
    assert not (tmp_path / "3").exists()
    assert imported(tmp_path / "3", week, other, environment="qa").manifest.environment == "qa"


# Cut and sampled


def numbers(capture) -> list[int]:
    return [int(target.rpartition("/")[2]) for target in targets(capture)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"since": "10m", "until": "20m"}, range(10, 20)),
        ({"since": "2026-03-01T08:10Z", "until": "2026-03-01T08:20:00+00:00"}, range(10, 20)),
        ({"since": "2026-03-01T09:30+01:00"}, range(30, 240)),
        ({"until": "1h30m"}, range(90)),
        ({"since": "3h", "until": "2026-03-01T11:05"}, range(180, 185)),
        ({"endpoints": ["GET /v2/7"]}, [7]),
        ({"endpoints": ["* /v2/{id}"], "until": "3m"}, range(3)),
        ({"hosts": ["shop.example.com"], "until": "2m"}, range(2)),
        ({"clients": ["token-03", "token-04"]}, [3, 4, 63, 64, 123, 124, 183, 184]),
    ],
)
def test_a_capture_is_cut(options, expected, week, tmp_path):
    capture = imported(tmp_path / "out", week, selection=Selection.parse(**options))
    assert numbers(capture) == list(expected)
    (source,) = capture.manifest.sources
    assert source.read == 240 == source.kept + sum(source.left_out.values())
    assert set(source.left_out) <= {f"--{name}" for name in ("since", "until", "endpoint", "only-host", "client")}


def test_a_length_counts_from_the_first_of_all(week, tmp_path):
    """Over files and captures, whichever begins first."""
    log = write(tmp_path / "a.log", [combined(second, f"/log/{second}") for second in (90, 3600)])
    early = write(tmp_path / "b.log", combined(-600, "/early/0"))
    for number, files in enumerate([(week, log, early), (early, week, log)]):
        capture = imported(tmp_path / f"out{number}", *files, selection=Selection.parse(since="5m", until="12m"))
        assert targets(capture) == ["/v2/0", "/v2/1", "/log/90"]


def test_a_share_of_the_clients_has_all_their_requests_and_is_part_of_a_larger_one(week, tmp_path):
    found = {}
    for share in (0.1, 0.3, 0.7, 1.0):
        capture = imported(tmp_path / str(share), week, selection=Selection.parse(client_share=share))
        found[share] = {one.client for one in capture.exchanges()}
        assert capture.manifest.exchanges == 4 * len(found[share])
    assert set() < found[0.1] < found[0.3] < found[0.7] < found[1.0] == set(CLIENTS)
    again = imported(tmp_path / "again", tmp_path / "0.7", selection=Selection.parse(client_share=0.3))
    assert {one.client for one in again.exchanges()} == found[0.3]


# Broken ones


def broken_off(path: Path, count: int) -> Path:
    """As `kill -9` leaves it."""
    writer = CaptureWriter(path, environment="stage", scrubber=None)
    for number in range(count):
        writer.add(exchange(number, f"/{number}"), "proxy")
        writer.flush()
    writer._lock.close()
    writer._skipped_file.close()
    return path


def test_a_half_written_capture_is_imported(tmp_path):
    path = broken_off(tmp_path / "half", 5)
    capture = imported(tmp_path / "out", path)
    assert numbers(capture) == list(range(5))
    assert capture.manifest.environment == "stage"


def test_a_capture_that_is_being_recorded_is_imported_so_far(tmp_path):
    with CaptureWriter(tmp_path / "live", environment="stage", scrubber=None) as writer:
        writer.add(exchange(0, "/0"))
        writer.flush()
        assert numbers(imported(tmp_path / "out", tmp_path / "live")) == [0]


def segmented(path: Path) -> list[Path]:
    """A complete capture in several segments; each of its rows is its own row group's."""
    broken_off(path, 4)
    document = json.loads((path / "capture.json").read_text())
    document |= {"state": "complete", "segments": [f"exchanges/{n:06d}.parquet" for n in range(1, 5)]}
    (path / "capture.json").write_text(json.dumps(document))
    (path / ".recording").unlink()
    return sorted((path / "exchanges").iterdir())


def test_a_damaged_segment_costs_itself_alone(tmp_path):
    damaged, missing, *_ = segmented(tmp_path / "c")
    damaged.write_bytes(damaged.read_bytes()[:-30])
    missing.unlink()
    capture = imported(tmp_path / "out", tmp_path / "c")
    assert numbers(capture) == [2, 3]
    where = {(one.where, one.reason) for one in read_skipped(tmp_path / "out")}
    assert where == {("exchanges/000001.parquet", DAMAGED), ("exchanges/000002.parquet", MISSING)}
    (source,) = capture.manifest.sources
    assert (source.read, source.kept) == (4, 2)
    tried = try_import(importing(tmp_path / "c"))
    assert tried.tallies[0].skipped == source.skipped


def test_a_flipped_byte_is_noticed(tmp_path):
    first, *_ = segmented(tmp_path / "c")
    data = bytearray(first.read_bytes())
    data[len(data) // 3] ^= 0xFF
    first.write_bytes(bytes(data))
    capture = imported(tmp_path / "out", tmp_path / "c")
    assert numbers(capture) in ([1, 2, 3], [0, 1, 2, 3])
    assert capture.manifest.exchanges == 3 or not read_skipped(tmp_path / "out")


@pytest.mark.parametrize("text", [None, "", "{", '{"format": 1}'])
def test_a_lost_manifest_is_made_up(text, tmp_path):
    path = broken_off(tmp_path / "c", 3)
    (path / "capture.json").unlink()
    if text is not None:
        (path / "capture.json").write_text(text)
    capture = imported(tmp_path / "out", path)
    assert numbers(capture) == [0, 1, 2]
    assert capture.manifest.environment == "stage"  # as the segments know it


def test_a_manifest_alone_is_an_empty_capture_or_none(tmp_path):
    path = broken_off(tmp_path / "c", 3)
    shutil.rmtree(path / "exchanges")
    (path / "exchanges").mkdir()
    with pytest.raises(InputError, match="No request is left to import"):
        imported(tmp_path / "out", path)
    (path / "capture.json").write_text("{")
    with pytest.raises(InputError):
        imported(tmp_path / "out2", path)
    assert not (tmp_path / "out2").exists()


def test_what_is_no_capture_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    assert not is_capture(tmp_path / "folder")
    with pytest.raises(InputError, match="is a folder, and no capture") as refused:
        imported(tmp_path / "out", tmp_path / "folder")
    assert refused.value.hint
    with pytest.raises(InputError, match="There is no capture at"):
        read_capture(tmp_path / "folder")


def test_what_was_skipped_is_carried_over(tmp_path):
    path = tmp_path / "c"
    with CaptureWriter(path, environment="stage", scrubber=None) as writer:
        writer.skip(Skipped("proxy", "GET /ws", "WebSocket"))
        writer.body_not_kept("too large", 3)
        writer.note("The clock was changed.")
        writer.add(exchange(0))
    capture = imported(tmp_path / "out", path)
    (skipped,) = read_skipped(tmp_path / "out")
    assert skipped == Skipped(str(path), "proxy, GET /ws", "WebSocket")
    assert capture.manifest.sources[0].skipped == {"WebSocket": 1}
    assert capture.manifest.bodies_not_kept == {"too large": 3}
    assert capture.manifest.notes == ("c: The clock was changed.",)


@given(
    seconds=st.lists(st.lists(st.integers(0, 100), max_size=30), min_size=1, max_size=4),
    since=st.integers(0, 100),
    until=st.integers(0, 100),
)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_any_captures_are_merged_and_cut(seconds, since, until, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    paths = [
        capture_of(folder / str(n), [exchange(second, f"/{n}/{k}") for k, second in enumerate(some)])
        for n, some in enumerate(seconds)
    ]
    selection = Selection(since=AT + timedelta(seconds=since), until=AT + timedelta(seconds=until))
    expected = sorted(
        (exchange(second, f"/{n}/{k}") for n, some in enumerate(seconds) for k, second in enumerate(some)),
        key=lambda one: one.at,
    )
    wanted = [one.at for one in expected if since <= (one.at - AT).total_seconds() < until]
    if not wanted:
        with pytest.raises(InputError, match="No request is left to import"):
            imported(folder / "out", *paths, selection=selection)
        return
    capture = imported(folder / "out", *paths, selection=selection)
    found = list(capture.exchanges())
    assert [one.at for one in found] == wanted
    assert {replace(one, response=None) for one in found} <= {replace(one, response=None) for one in expected}
    assert sum(source.read for source in capture.manifest.sources) == len(expected)
    assert capture.manifest.exchanges == len(found)
    for table in read_capture(folder / "out"):
        assert table.schema.equals(SCHEMA)
