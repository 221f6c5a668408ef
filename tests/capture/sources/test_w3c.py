from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from replay.capture.inputs import Head, Input, find_inputs
from replay.capture.sources.source import ReadOptions
from replay.capture.sources.w3c import W3C
from replay.errors import InputError

from .reading import NOT_HTTP, OTHER, counts, read, read_one

NO_TIME = "the time cannot be read"
FRONT = "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2026-03-01 12:00:00\n"
FIELDS = (
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) "
    "sc-status sc-substatus sc-win32-status time-taken\n"
)
AGENT = "Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64)+Gecko/20100101"
LINE = f"2026-03-01 12:00:01 10.0.0.1 GET /a b=c+d 443 - 192.0.2.7 {AGENT} https://shop.example/?q=a+b 200 0 0 250"

# What the files hold: lines that are exchanges, and those that are not and why.
HELD = {
    "beats_iis_access_test-iis-7.2.log": (5, {}),  # without #Fields
    "beats_iis_access_test-iis-7.5.log": (4, {}),
    "beats_iis_access_test.log": (3, {OTHER: 2}),  # the last two are of other fields than the last line of fields says
    "lnav_logfile_w3c.0": (1, {}),
    "lnav_logfile_w3c.2": (0, {NOT_HTTP: 14}),  # of an FTP server
    "lnav_logfile_w3c.3": (3, {}),
    "lnav_logfile_w3c.5": (0, {OTHER: 1}),  # fewer fields are named than there are
    "lnav_logfile_w3c.6": (1, {}),
}


def fields(names: str, *lines: str) -> str:
    return "\n".join([f"#Fields: {names}", *lines, ""])


def test_every_log_of_others_is_read_or_refused(shared_data: Path):
    folder = shared_data / "iis"
    assert {path.name for path in folder.iterdir()} == HELD.keys() | {"crowdsec_iis-xml-logs.log"}
    for name, held in HELD.items():
        assert counts(W3C, folder / name) == held, name
        is_known = W3C.likeness(Input(name, folder / name).head) >= 0.5
        assert is_known == (name != "lnav_logfile_w3c.5"), name


def test_what_logs_of_others_say(shared_data: Path):
    folder = shared_data / "iis"
    rows, _ = read(W3C, folder / "beats_iis_access_test.log")
    assert [(row["host"], row["query"], row["response_bytes"], row["duration_s"]) for row in rows] == [
        ("", "q=100", 0, 0.123),
        ("example.com", "", 123, 0.789),
        ("example.com", "", 123, 0.789),
    ]
    assert rows[0]["at"] == datetime(2018, 1, 1, 8, 9, 9, 877000, UTC)
    assert rows[2]["request_header:User-Agent"].startswith("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_0) Apple")
    rows, _ = read(W3C, folder / "beats_iis_access_test-iis-7.2.log")
    assert rows[0]["path"].startswith("/pbserver/..%C3%80%C2%AF..")
    assert (rows[2]["path"], rows[2]["status"], rows[2]["address"]) == ("/Director", 401, "10.50.6.188")
    rows, _ = read(W3C, folder / "beats_iis_access_test-iis-7.5.log")
    assert rows[3]["address"] == "2001:cdba:0000:0000:0000:0000:3257:9652"
    rows, _ = read(W3C, folder / "lnav_logfile_w3c.3", timezone=ZoneInfo("America/New_York"))
    assert [row["host"] for row in rows] == ["xzy.example.com", "example.hello.com", "hello.example.com"]
    assert rows[0]["at"] == datetime(2012, 8, 15, 21, 0, 0, 254000, UTC)  # its times are local
    assert (rows[0]["address"], rows[2]["duration_s"]) == ("70.95.0.0", 0.359)
    assert " (Linux; Android 4.4.4; SM-G900V " in rows[0]["request_header:User-Agent"]


def test_xml_and_binary_files_are_refused(shared_data: Path, tmp_path: Path):
    (xml,) = find_inputs([str(shared_data / "iis" / "crowdsec_iis-xml-logs.log")])
    assert W3C.likeness(xml.head) >= 0.5
    with pytest.raises(InputError, match="XML"):
        W3C.read(xml, ReadOptions())
    (tmp_path / "raw.ibl").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="binary"):
        W3C.read(Input("raw.ibl", tmp_path / "raw.ibl"), ReadOptions())


def test_a_line():
    row = read_one(W3C, FRONT + FIELDS + LINE, host="api.example", timezone=ZoneInfo("Asia/Tokyo"))
    assert row["at"] == datetime(2026, 3, 1, 12, 0, 0, 750000, UTC)
    assert (row["method"], row["host"], row["path"], row["query"]) == ("GET", "api.example", "/a", "b=c+d")
    assert (row["status"], row["duration_s"], row["address"], row["user"]) == (200, 0.25, "192.0.2.7", "")
    assert row["request_header:User-Agent"] == "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Gecko/20100101"
    assert row["request_header:Referer"] == "https://shop.example/?q=a+b"


def test_without_fields_it_is_what_iis_logs_by_default():
    assert read_one(W3C, LINE)["duration_s"] == 0.25
    assert read_one(W3C, LINE.replace(" https://shop.example/?q=a+b", ""))["duration_s"] == 0.25
    assert 0.5 <= W3C.likeness(Head("a.log", LINE.encode())) < 1
    assert W3C.likeness(Head("a.log", (FRONT + FIELDS + LINE).encode())) == 1
    assert W3C.likeness(Head("a.log", (FRONT + FIELDS).encode())) == 1


def test_fields_may_change_in_midway():
    written = FIELDS + LINE + "\n" + fields("date time cs-uri-stem cs-method", "2026-03-02 01:00:00 /b PUT", LINE)
    rows, skipped = read(W3C, FRONT + written + FRONT + FIELDS + LINE)
    assert [(row["method"], row["path"], row["status"]) for row in rows] == [
        ("GET", "/a", 200),
        ("PUT", "/b", None),
        ("GET", "/a", 200),
    ]
    assert [(item.where, item.reason) for item in skipped] == [("line 8", OTHER)]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/my+file.txt", "/my%20file.txt"),
        ("/100%", "/100%"),
        ("/a#b", "/a%23b"),
        ("/a?b", "/a%3Fb"),
        ("/é", "/%C3%A9"),
        ("*", "*"),
    ],
)
def test_paths_are_encoded_again(written: str, path: str):
    row = read_one(W3C, FIELDS + LINE.replace("/a b=c+d", f"{written} -"))
    assert (row["path"], row["query"]) == (path, "")


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("cs(User-Agent)", "agent+1.0", "agent 1.0"),
        ("cs(User-Agent)", "bot/2.0;++http://example.com/bot)", "bot/2.0; +http://example.com/bot)"),
        ("cs(User-Agent)", "bot+(+https://example.com/bot)", "bot (+https://example.com/bot)"),
        ("cs(User-Agent)", '"agent 1+1"', "agent 1+1"),
        ("cs(User-Agent)", '"a ""quoted"" agent"', 'a "quoted" agent'),
        ("cs(User-Agent)", '"-"', None),
        ("cs(User-Agent)", 'a"b', 'a"b'),
        ("cs(User-Agent)", "C:\\new", "C:\\new"),
        ("cs(Cookie)", "a=b+c;+d=e", "a=b+c; d=e"),
        ("cs(X-Forwarded-For)", "192.0.2.1,+192.0.2.2", "192.0.2.1, 192.0.2.2"),
        ("cs(Referer)", "https://shop.example/a+b", "https://shop.example/a+b"),
    ],
)
def test_headers(name: str, written: str, value: str | None):
    row = read_one(W3C, fields(f"date time cs-uri-stem {name} sc-status", f"2026-03-01 12:00:01 /a {written} 200"))
    assert row["status"] == 200
    assert row[f"request_header:{name[3:-1]}"] == value


def test_other_fields():
    names = (
        "date time c-ip cs-username cs-host cs-uri-stem sc-bytes sc(Content-Type) X-Forwarded-For x-odd s(Odd) c-port"
    )
    line = "2026-03-01 12:00:01 2001:db8::7 SHOP\\ann shop.example:8443 /a 77 text/html 192.0.2.9 {} {*} 5"
    row = read_one(W3C, fields(names, line))
    assert (row["address"], row["user"], row["host"]) == ("2001:db8::7", "SHOP\\ann", "shop.example:8443")
    assert (row["method"], row["response_header:Content-Type"]) == ("GET", "text/html")
    assert row["request_header:X-Forwarded-For"] == "192.0.2.9"


def test_whole_urls():
    row = read_one(W3C, fields("date time cs-uri cs-method", "2026-03-01 12:00:01 https://shop.example/a?b=c GET"))
    assert (row["host"], row["path"], row["query"]) == ("shop.example", "/a", "b=c")


@pytest.mark.parametrize("between", [" ", "\t"])
@pytest.mark.parametrize(("taken", "seconds"), [("250", 0.25), ("0.250", 0.25), ("1.5", 1.5), ("-", 0), ("0", 0)])
def test_durations_are_in_milliseconds_or_have_decimals(between: str, taken: str, seconds: float):
    line = between.join(["2026-03-01", "12:00:01", "GET", "/a", taken])
    assert read_one(W3C, fields("date time cs-method cs-uri-stem time-taken", line))["duration_s"] == seconds


def test_the_day_may_stand_in_front_of_the_lines():
    names, line = "time c-ip cs-method cs-uri-stem sc-status", "12:00:01 192.0.2.7 GET /a 200"
    first = "#Date: 2026-02-28 00:00:00\n" + fields(names, line)
    rows, skipped = read(W3C, first + "#Date: 2026-03-01 00:00:00\n" + fields(names, line) + fields(f"date {names}"))
    assert [row["at"] for row in rows] == [
        datetime(2026, 2, 28, 12, 0, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC),
    ]
    assert skipped == []
    _, skipped = read(W3C, fields(names, line))
    assert [item.reason for item in skipped] == [NO_TIME]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("date time cs-method", OTHER),  # nothing is asked for
        ("cs-method cs-uri-stem x", OTHER),  # no time
        ("", OTHER),
        ("date time date", OTHER),
        (" ".join(["x"] * 10_000), OTHER),
    ],
)
def test_fields_that_say_too_little(names: str, reason: str):
    _, skipped = read(W3C, fields(names, "2026-03-01 12:00:01 GET"))
    assert [item.reason for item in skipped] == [reason]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_log_in_another_encoding(encoding: str):
    rows, skipped = read(
        W3C, (FRONT + FIELDS + LINE.replace("/a", "/é") + "\r\n").replace("\n", "\r\n").encode(encoding)
    )
    assert [row["path"] for row in rows] == ["/%C3%A9"]
    assert [item.reason for item in skipped] == []


def test_what_iis_logs_of_other_protocols_is_no_request():
    _, skipped = read(W3C, FIELDS + LINE.replace(" GET ", " [2]USER ") + "\n" + LINE.replace(" GET ", " - "))
    assert [item.reason for item in skipped] == [NOT_HTTP, NOT_HTTP]


def test_what_a_crash_left_at_the_end_is_skipped():
    rows, skipped = read(W3C, f"{FIELDS}{LINE}\n".encode() + bytes(5000))
    assert (len(rows), [item.reason for item in skipped]) == (1, [OTHER])
