"""Every reader with bytes that nobody should give it: it may refuse them with a sentence, and never crash."""

import bz2
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
import zstandard
from hostile_seeds import SEEDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_parts import KEY, combined, entry, flow, gor, har, imported, importing, json_line, write

from replay.capture.importing import try_import
from replay.capture.inputs import Head, Input
from replay.capture.logs.columns import Columns
from replay.capture.scrub import Scrubber
from replay.capture.segments import SCHEMA, to_exchanges, to_table
from replay.capture.sources import all_sources, find_source
from replay.capture.sources.source import Lines, ReadOptions, Record, Source
from replay.errors import InputError
from replay.traffic import Skipped

PIECES = [
    b"",
    b"\n",
    b"\x00",
    b'"',
    b"\\",
    b"\xff",
    b"\xed\xa0\x80",
    b"{",
    b"[",
    b"}",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"NaN",
    b"null",
    b'"\\ud800"',
    b"0000-00-00T99:99:99Z",
    b"9999-12-31T23:59:59-14:00",
    b"../../etc/passwd",
    "\n🐵🙈🙉\n".encode(),
    b"1:a,",
    b"#Fields: a b\n",
    b"%",
    b"\r\n\r\n",
    b" ",
]
NO_OPTIONS = ReadOptions()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real file in which some pieces were replaced, doubled, or lost."""
    data = draw(st.sampled_from(sorted(SEEDS.items())))[1]
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 2, 5, 40, 1000])))
        piece = draw(st.sampled_from([*PIECES, data[start:end] * 2]) | st.binary(max_size=4))
        data = data[:start] + piece + data[end:]
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    compress = draw(st.sampled_from([bytes, bytes, bytes, gzip.compress, bz2.compress, zstandard.compress]))
    packed = compress(data)
    return packed if draw(st.booleans()) else packed[: draw(st.integers(0, len(packed)))]


def check(source: Source, data: bytes, options: ReadOptions = NO_OPTIONS) -> None:
    """What it gives can be scrubbed and stored; what it refuses, it says."""
    scrubber = Scrubber(KEY)
    columns = Columns(scrubber, KEY)
    with NamedTemporaryFile() as temporary:
        Path(temporary.name).write_bytes(data)
        file = Input("file", Path(temporary.name))
        for item in _items(source, file, options):
            if isinstance(item, Record):
                scrubber.learn(item.exchange)
                (stored,) = to_exchanges(to_table([scrubber.exchange(item.exchange)]))
                assert stored.at.tzinfo
            elif isinstance(item, Lines):
                columns.learn(item.table)
                table = columns.rows(item.table)
                assert table.schema.equals(SCHEMA)
                assert sum(1 for _ in to_exchanges(table)) == item.table.num_rows
                assert all(isinstance(one, Skipped) for one in item.skipped)
            else:
                assert (item.source, bool(item.where), bool(item.reason)) == ("file", True, True)


def _items(source: Source, file: Input, options: ReadOptions) -> Iterator[Record | Lines | Skipped]:
    try:
        yield from source.read(file, options)
    except InputError as error:
        check_sentence(error)


def check_sentence(error: InputError) -> None:
    assert error.message.endswith(".")
    assert "\n" not in error.message


SOURCES = pytest.mark.parametrize("source", all_sources(), ids=lambda source: source.name)
MANY = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@SOURCES
@MANY
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes(source, data):
    check(source, data)


@SOURCES
@MANY
@given(mutated())
def test_a_file_with_errors(source, data):
    assert 0 <= source.likeness(Head("file", data)) <= 1
    check(source, data)


@pytest.mark.slow
@settings(MANY, max_examples=400)
@given(mutated() | st.binary(max_size=300))
def test_any_file_by_its_contents(data):
    with NamedTemporaryFile() as temporary:
        Path(temporary.name).write_bytes(data)
        try:
            source = find_source(Input("file", Path(temporary.name)))
        except InputError as error:
            check_sentence(error)
        else:
            check(source, data)


WORDS = st.sampled_from(
    "$remote_addr $time_local $request $status $http_user_agent $msec $request_time ${uri} $ %h %t %r %>s %b %{a}i "
    '%{sec}t %{%Y}t %D %% % \\ " [ ] { } {} {*} {at:clf} ( ) .* + ?'.split()
) | st.text(max_size=3)


@MANY
@given(data=mutated(), words=st.lists(WORDS, max_size=12), space=st.sampled_from(["", " ", '" "']))
def test_any_log_format(data, words, space):
    source = next(one for one in all_sources() if one.name == "log-format")
    check(source, data, ReadOptions(log_format=space.join(words)))


FIELDS = st.sampled_from(
    "at ended path target method status host duration ts time request.method a.b.c \0 \ud800".split()
)


@SOURCES
@settings(MANY, max_examples=20)
@given(data=mutated(), columns=st.dictionaries(FIELDS, FIELDS | st.text(max_size=5), max_size=4))
def test_any_map_of_fields(source, data, columns):
    check(source, data, ReadOptions(columns=columns, host="a\0b:99999"))


@SOURCES
def test_a_seed_that_is_of_another_format(source):
    for data in SEEDS.values():
        check(source, data)


def test_every_number_that_is_none(tmp_path):
    odd = [1e300, -5, 1e-300, float("inf"), float("nan"), "12", None, [], True, 10**400]
    entries = []
    for number, value in enumerate(odd):
        one = entry(number)
        one["time"] = value
        one["response"]["status"] = value
        one["timings"] = {"send": value, "wait": value, "receive": value}
        entries.append(one)
    for number, at in enumerate(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "", None, 5, "now"]):
        one = entry(number)
        one["startedDateTime"] = at
        entries.append(one)
    file = write(tmp_path / "odd.har", json.dumps({"log": {"entries": entries}}))
    tried = try_import(importing(file))
    capture = imported(tmp_path / "out", file)
    assert [(one.kept, one.skipped) for one in tried.tallies] == [
        (one.kept, one.skipped) for one in capture.manifest.sources
    ]
    assert tried.window == capture.manifest.window
    assert capture.manifest.sources[0].read == len(entries)


def test_names_lead_nowhere(tmp_path):
    """No name in a file is a name of a file."""
    way = "../../../../../../tmp/was-here"
    one = entry(1, f"/{way}", {"Content-Disposition": f'attachment; filename="{way}"', "Host": way})
    one["request"]["postData"] = {"mimeType": "multipart/form-data", "params": [{"name": way, "fileName": way}]}
    one["request"]["method"] = "POST"
    one["pageref"] = way
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    files = [
        write(folder / "a.har", har(one)),
        write(folder / "b.mitm", flow(2, f"/{way}", host=way)),
        write(folder / "c.gor", gor(3, f"/{way}", identity=way)),
        write(folder / "d.json", json_line(4, way, host=way, source=way)),
    ]
    capture = imported(folder / "out", *files, name=way)
    assert capture.manifest.name == way
    assert {one.relative_to(tmp_path).parts[:2] for one in tmp_path.rglob("*") if one.is_file()} == {("a", "b")}
    assert not Path("/tmp/was-here").exists()  # noqa: S108 - it is what must not be made


def test_nul_bytes(tmp_path):
    files = [
        write(tmp_path / "a.log", combined(1) + combined(2, "/\0/\0") + "\0\0\0\n" + "\0" + combined(3)),
        write(tmp_path / "b.json", json_line(4, "/\0", user="\0") + "\0\n" + json_line(5)),
        write(tmp_path / "c.har", har(entry(6, "/\0", {"A\0": "\0"}, "\0"))),
        write(tmp_path / "d.gor", gor(7) + gor(8, "/\0", "A\0: \0\r\n", "b2")),
    ]
    capture = imported(tmp_path / "out", *files)
    assert {Path(one.name).name: one.read for one in capture.manifest.sources} == {
        "a.log": 4,
        "b.json": 3,
        "c.har": 1,
        "d.gor": 2,
    }
    assert len(list(capture.exchanges())) == capture.manifest.exchanges >= 6
