"""Several files of several formats into one capture: found by their contents, counted, scrubbed in two passes."""

import bz2
import gzip
import re
from pathlib import Path

import pytest
import zstandard
from import_parts import (
    KEY,
    capture_of,
    combined,
    entry,
    everything_in,
    exchange,
    flow,
    gor,
    har,
    imported,
    importing,
    json_line,
    targets,
    write,
)

from replay.capture.importing import import_files, try_import
from replay.capture.pseudonyms import Key, Pseudonyms
from replay.capture.scrub import load_rules
from replay.capture.selection import Selection
from replay.capture.store import read_skipped
from replay.errors import InputError
from replay.traffic import Exchange

TOKEN = "9fGh7Jk2Lm4Np6Qr8St0Vw3Xy5Za"
OTHER = Key(b"o" * 32)
COMPRESS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip in two members": lambda data: gzip.compress(data[:500]) + gzip.compress(data[500:]),
    "bzip2": bz2.compress,
    "bzip2 in two streams": lambda data: bz2.compress(data[:500]) + bz2.compress(data[500:]),
    "Zstandard": zstandard.compress,
    "Zstandard in two frames": lambda data: zstandard.compress(data[:500]) + zstandard.compress(data[500:]),
}


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """Five formats, whose exchanges lie between each other in time; no name says what is in it."""
    return [
        write(tmp_path / "one.har", [combined(second, f"/log/{second}") for second in (1, 6, 2, 20)] + ["nonsense\n"]),
        write(tmp_path / "two.log", har(entry(5, "/har/5"), entry(3, "/har/3"), {"request": {}})),
        write(tmp_path / "three", gor(4, "/gor/4") + gor(19, "/gor/19", identity="d4e5f6")),
        write(
            tmp_path / "four.txt", [json_line(7, "/json/7"), json_line(0.5, "/json/0"), "{\n", json_line(8, "/json/8")]
        ),
        write(tmp_path / "five.gz", flow(9, "/mitm/9") + flow(1.5, "/mitm/1")),
    ]


def test_files_of_five_formats_in_order_of_time(mixed, tmp_path):
    capture = imported(tmp_path / "out", *mixed)
    assert targets(capture) == (
        "/json/0 /log/1 /mitm/1 /log/2 /har/3 /gor/4 /har/5 /log/6 /json/7 /json/8 /mitm/9 /gor/19 /log/20".split()
    )
    sources = {Path(source.name).name: source for source in capture.manifest.sources}
    assert {name: (one.read, one.kept) for name, one in sources.items()} == {
        "one.har": (5, 4),
        "two.log": (3, 2),
        "three": (2, 2),
        "four.txt": (4, 3),
        "five.gz": (2, 2),
    }
    formats = {name: one.format for name, one in sources.items()}
    assert formats["one.har"].startswith("access log")
    assert formats["two.log"].startswith("HAR")
    assert formats["three"].startswith("GoReplay")
    assert formats["four.txt"] == "JSON lines"
    assert formats["five.gz"] == "mitmproxy dump"


def test_the_order_of_the_files_changes_nothing(mixed, tmp_path):
    orders = [mixed, mixed[::-1], mixed[2:] + mixed[:2]]
    digests = {imported(tmp_path / f"out{number}", *files).digest() for number, files in enumerate(orders)}
    assert len(digests) == 1


def test_what_is_skipped_is_said_with_its_place(mixed, tmp_path):
    capture = imported(tmp_path / "out", *mixed)
    said = {(Path(one.source).name, one.where) for one in read_skipped(tmp_path / "out")}
    assert said == {("one.har", "line 5"), ("two.log", "entry 3"), ("four.txt", "line 3")}
    assert all(one.reason for one in read_skipped(tmp_path / "out"))
    for source in capture.manifest.sources:
        assert source.read == source.kept + sum(source.skipped.values()) + sum(source.left_out.values())


@pytest.mark.parametrize("how", COMPRESS)
def test_compressed_files_are_read_through(how, tmp_path):
    text = "".join(combined(second, f"/{second}") for second in range(40)).encode()
    file = write(tmp_path / "access.log", COMPRESS[how](text))
    capture = imported(tmp_path / "out", file)
    assert targets(capture) == [f"/{second}" for second in range(40)]
    har_file = write(tmp_path / "b", COMPRESS[how](har(*(entry(second, f"/{second}") for second in range(9))).encode()))
    assert targets(imported(tmp_path / "out2", har_file)) == [f"/{second}" for second in range(9)]


@pytest.mark.parametrize("compress", [gzip.compress, lambda data: bz2.compress(data, 1), zstandard.compress])
@pytest.mark.parametrize("make", ["log", "har", "gor", "json", "mitmproxy"])
def test_what_is_before_the_end_of_a_broken_stream_is_kept(compress, make, tmp_path):
    # Numbers that hardly compress, so that much of the text comes before the break.
    names = [f"/{number * 2654435761 % 2**61:x}" for number in range(1, 4000)]
    data = {
        "log": lambda: "".join(combined(n, name) for n, name in enumerate(names)).encode(),
        "json": lambda: "".join(json_line(n, name) for n, name in enumerate(names)).encode(),
        "har": lambda: har(*(entry(n, name) for n, name in enumerate(names))).encode(),
        "gor": lambda: "".join(gor(n, name, identity=f"{n:06x}") for n, name in enumerate(names)).encode(),
        "mitmproxy": lambda: b"".join(flow(n, name) for n, name in enumerate(names[:500])),
    }[make]()
    whole = compress(data)
    capture = imported(tmp_path / "out", write(tmp_path / "file", whole[: len(whole) * 3 // 4]))
    (source,) = capture.manifest.sources
    total = 500 if make == "mitmproxy" else 3999
    assert total // 3 < source.kept < total
    assert sum(source.skipped.values()) >= 1
    assert re.search("damaged|breaks off", " ".join(source.skipped))


def test_nothing_is_written_where_an_input_cannot_be_read(tmp_path):
    good = write(tmp_path / "good.log", [combined(second) for second in range(5)])
    bad = write(tmp_path / "bad", '{"level": "info"}\n' * 5)
    for scrub in (True, False):
        with pytest.raises(InputError):
            imported(tmp_path / "out", good, bad, scrub=scrub)
        assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_is_not_touched(tmp_path):
    log = write(tmp_path / "a.log", combined(1))
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / "mine", "")
    with pytest.raises(InputError, match="exists already"):
        imported(tmp_path / "out", log)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["a:b", "s3:bucket", "file:a", "wo ist %2F", "\udcfe"])
def test_a_folder_may_be_called_anything(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    capture = imported(Path(name), write(tmp_path / "a.log", combined(1)))
    assert targets(capture) == ["/v2/events/7"]
    assert targets(imported(Path("again"), Path(name))) == ["/v2/events/7"]


# Two passes


def secret_last(folder: Path) -> list[Path]:
    """A token that nothing gives away, but for the last record of the last file."""
    return [
        write(folder / "1.har", har(entry(1, body=f'{{"t": "{TOKEN}"}}'), entry(2, f"/v2/x/{TOKEN}"))),
        write(folder / "2.log", [combined(3, f"/v2/y?q={TOKEN}"), combined(4)]),
        write(folder / "3.json", json_line(5, f"/v2/z?v={TOKEN}")),
        write(folder / "4.mitm", flow(5.5, "/v2/m", x_trace_word=TOKEN)),
        write(folder / "5.gor", gor(6) + gor(7, headers=f"Authorization: Bearer {TOKEN}\r\n", identity="ffffff")),
    ]


def pseudonyms_of(exchanges: list[Exchange]) -> set[str]:
    texts = [repr(one) for one in exchanges]
    return {
        found
        for text in texts
        for found in re.findall(r'(?:"t": "|/v2/x/|q=|v=|x-trace-word\', \'|Bearer )(\w{28})', text)
    }


def test_a_secret_that_shows_itself_last_is_replaced_everywhere(tmp_path):
    files = secret_last(tmp_path)
    for number, order in enumerate([files, files[::-1]]):
        capture = imported(tmp_path / f"out{number}", *order)
        exchanges = list(capture.exchanges())
        assert pseudonyms_of(exchanges) == {Pseudonyms(KEY).of(TOKEN)}
        assert sum(Pseudonyms(KEY).of(TOKEN) in repr(one) for one in exchanges) == 6
        assert TOKEN not in everything_in(tmp_path / f"out{number}")


def test_a_secret_in_what_is_skipped_is_replaced(tmp_path):
    log = write(tmp_path / "a.log", [combined(1, f"/?access_token={TOKEN}"), f"token={TOKEN} {TOKEN}\n"])
    lines = write(tmp_path / "b.json", [json_line(2), f'{{"path": "{TOKEN}", "time": "{TOKEN}"}}\n'])
    capture = imported(tmp_path / "out", log, lines)
    assert sum(sum(source.skipped.values()) for source in capture.manifest.sources) == 2
    assert TOKEN not in everything_in(tmp_path / "out")


def test_one_key_gives_the_same_pseudonyms_in_two_captures(tmp_path):
    files = secret_last(tmp_path)
    first, second, other = (
        imported(tmp_path / f"out{number}", *files, key=key) for number, key in enumerate((KEY, KEY, OTHER))
    )
    assert first.digest() == second.digest() != other.digest()
    assert first.manifest.scrubbing.key_id == KEY.id
    assert pseudonyms_of(list(other.exchanges())) == {Pseudonyms(OTHER).of(TOKEN)}


def test_scrubbing_off_keeps_everything_and_says_so(tmp_path):
    capture = imported(tmp_path / "out", *secret_last(tmp_path), scrub=False)
    assert pseudonyms_of(list(capture.exchanges())) == {TOKEN}
    assert not capture.manifest.scrubbing.on


def test_rules_of_a_user(tmp_path):
    rules = write(
        tmp_path / "rules.toml", "[[values]]\npattern = 'EMP-\\d{6}'\nkind = 'employee'\n[names]\nsecret = ['badge']\n"
    )
    files = [
        write(tmp_path / "a.har", har(entry(1, "/v2/people/EMP-123456", {"Badge": "blue"}, '{"who": "EMP-123456"}'))),
        write(tmp_path / "b.log", combined(2, "/v2/people?id=EMP-123456")),
    ]
    capture = imported(tmp_path / "out", *files, rules=load_rules(rules))
    text = everything_in(tmp_path / "out")
    assert "EMP-123456" not in text
    assert "blue" not in text
    assert sum(capture.manifest.scrubbing.counts.values()) == 4


@pytest.mark.parametrize(
    ("log", "options", "why"),
    [
        ("\x16\x03\x01\n" + combined(1), {"hosts": ["other.example.com"]}, "left out by --only-host \\(1\\)"),
        ("\n".join(["no line", "of a log"]), {}, "the line is not of this format \\(2\\)"),
    ],
)
def test_nothing_that_is_left_is_no_capture(log, options, why, tmp_path):
    everything = importing(write(tmp_path / "a.log", log), format="combined", selection=Selection.parse(**options))
    with pytest.raises(InputError, match=f"No request is left to import: .*{why}"):
        import_files(everything, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Counts of what is left out, and the dry run


def facts(source) -> tuple:
    return source.kept, source.skipped, source.left_out


@pytest.mark.parametrize("scrub", [True, False])
@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"since": "3s", "until": "9s"},
        {"hosts": ["shop.example.com"]},
        {"client_share": 0.5},
        {"endpoints": ["GET /c/{n}"]},
    ],
)
def test_a_dry_run_counts_what_the_import_keeps(selection, scrub, mixed, tmp_path):
    captures = [
        capture_of(tmp_path / "c1", [exchange(second, f"/c/{second}") for second in (0, 5, 11)]),
        capture_of(tmp_path / "c2", [exchange(4, "/c/4?password=hush-hush-42")], key=None),
    ]
    (captures[0] / "skipped.jsonl").write_text('{"source": "proxy", "where": "/", "reason": "WebSocket"}\n')
    everything = importing(*mixed, *captures, scrub=scrub, selection=Selection.parse(**selection))
    before = sorted(tmp_path.rglob("*"))
    result = try_import(everything)
    assert sorted(tmp_path.rglob("*")) == before
    # The scrubber learns as it goes, so that each has an importing of its own.
    manifest = import_files(
        importing(*mixed, *captures, scrub=scrub, selection=Selection.parse(**selection)), tmp_path / "out"
    ).manifest
    assert {one.source: facts(one) for one in result.tallies} == {one.name: facts(one) for one in manifest.sources}
    assert {one.source: one.format for one in result.tallies} == {one.name: one.format for one in manifest.sources}
    assert (result.window, result.hosts) == (manifest.window, manifest.hosts)
    assert (result.scrubbing, result.bodies_not_kept) == (manifest.scrubbing, manifest.bodies_not_kept)
    assert result.notes == manifest.notes
    for source in manifest.sources:
        assert source.read == source.kept + sum(source.skipped.values()) + sum(source.left_out.values())
    assert sum(source.read for source in manifest.sources) == 13 + 3 + 3 + 1 + 1
