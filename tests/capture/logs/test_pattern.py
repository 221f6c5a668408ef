from datetime import UTC, datetime

import pytest

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import Block, read_block
from replay.capture.sources.source import ReadOptions
from replay.errors import InputError

AT = datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC)


def read(template: str, *lines: str | bytes, **said: object) -> tuple[list[dict], list[str]]:
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    found = read_block(Block(data, 1, (LinePattern(template, **said),)), "a.log", ReadOptions(host="default.example"))
    return found.table.to_pylist(), [f"{skipped.where}: {skipped.reason}" for skipped in found.skipped]


def test_a_line_is_read_by_its_template():
    template = (
        '{address} {-} {user} [{at:clf}] "{request}" {status} {size} {duration:ms}ms "{request_header:Referer}" {*}'
    )
    rows, skipped = read(
        template,
        '192.0.2.7 - ann [10/Oct/2000:13:55:36 -0700] "POST /a/b?c=d HTTP/1.1" 201 77 12ms "https://x.test/" etc',
    )
    assert rows == [
        {
            "at": AT,
            "duration_s": 0.012,
            "address": "192.0.2.7",
            "user": "ann",
            "connection": "",
            "method": "POST",
            "host": "default.example",
            "path": "/a/b",
            "query": "c=d",
            "status": 201,
            "response_bytes": 77,
            "error": "",
            "request_header:Referer": "https://x.test/",
        }
    ]
    assert skipped == []


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{at:s} {request}", "971211336.000"),
        ("{at:ms} {request}", "971211336000"),
        ("{at:us} {request}", "971211336000000"),
        ("{at:ns} {request}", "971211336000000000"),
        ("[{at:any}] {request}", "[2000-10-10T20:55:36Z]"),
        ("[{at:any}] {request}", "[10/Oct/2000:20:55:36.000]"),
        ("{at:any}\t{at:any}\t{request}", "2000-10-10\t20:55:36"),
    ],
)
def test_times_of_several_kinds(template, text):
    mark = "\t" if "\t" in template else " "
    rows, _ = read(template, f"{text}{mark}GET / HTTP/1.1")
    assert rows[0]["at"] == AT


def test_a_time_logged_at_the_end_gives_the_start():
    rows, _ = read(
        "{ended:any} {duration:s} {duration:us} {request}", "2000-10-10T20:55:37.5Z 1.25 250000 GET / HTTP/1.1"
    )
    assert rows[0]["at"] == AT
    assert rows[0]["duration_s"] == 1.5


def test_a_duration_below_zero_counts_as_none():
    rows, _ = read("{ended:any} {duration:s} {duration:s} {request}", "2000-10-10T20:55:36Z -1 -1 GET / HTTP/1.1")
    assert (rows[0]["at"], rows[0]["duration_s"]) == (AT, 0.0)


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (r"a\"b", 'a"b'),
        (r"a\x22b", 'a"b'),
        (r"a\\", "a\\"),
        (r"\\\"\\", '\\"\\'),
        (r"\xe2\x98\xba", "☺"),
        (r"\u263a", "☺"),
        (r"\xe9t\xe9", "été"),
        (r"C:\dir", r"C:\dir"),
        ("☺", "☺"),
        (b"\xe9t\xe9", "été"),
        ("-", None),
        ("", None),
        ('a "quoted" word', 'a "quoted" word'),
    ],
)
def test_quotes_and_escapes_are_undone(written, read_as):
    template = '{at:s} "{request_header:User-Agent}" "{request}" {status}'
    line = b'971211336 "' + (written if isinstance(written, bytes) else written.encode()) + b'" "GET / HTTP/1.1" 200'
    rows, skipped = read(template, '971211336 "plain" "GET /x HTTP/1.1" 200', line)
    assert skipped == []
    assert rows[1]["request_header:User-Agent"] == read_as


def test_spaces_may_pad():
    template = "{at:s} {duration:ms} {address} {-}/{status} {size} {method} {target} {*}"
    rows, _ = read(
        template, "971211336.000     21 192.0.2.1 TCP_MISS/200 5 GET http://a.example/p - DIRECT", padded=True
    )
    assert (rows[0]["duration_s"], rows[0]["host"], rows[0]["path"]) == (0.021, "a.example", "/p")


@pytest.mark.parametrize("template", ["{nobody}", "{at:weeks}", "{address}{user}", "{request_header}", "{status:x}"])
def test_templates_that_make_no_sense_are_refused(template):
    with pytest.raises(InputError):
        LinePattern(template)
