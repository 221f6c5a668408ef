from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from replay.capture.inputs import Head
from replay.capture.sources.cloudfront import CLOUDFRONT
from replay.capture.sources.w3c import W3C

from .reading import OTHER, read, read_one

NAMES = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) "
    "cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken "
    "x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status "
    "fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len "
    "sc-range-start sc-range-end"
)
FRONT = f"#Version: 1.0\n#Fields: {NAMES}\n"
VALUES = {
    "date": "2026-03-01",
    "time": "12:00:01",
    "x-edge-location": "FRA56-P1",
    "sc-bytes": "392",
    "c-ip": "192.0.2.100",
    "cs-method": "GET",
    "cs(Host)": "d111111abcdef8.example.net",
    "cs-uri-stem": "/a",
    "sc-status": "200",
    "cs(User-Agent)": "Mozilla/5.0%20(X11;%20Linux%20x86_64)",
    "x-edge-result-type": "Hit",
    "x-host-header": "shop.example",
    "cs-protocol": "https",
    "time-taken": "0.250",
    "x-edge-detailed-result-type": "Hit",
    "sc-content-type": "text/html;%20charset=UTF-8",
}


def line(changed: dict[str, str] = {}) -> str:  # noqa: B006 - it is only read
    return "\t".join((VALUES | changed).get(name, "-") for name in NAMES.split())


def test_a_line():
    row = read_one(CLOUDFRONT, FRONT + line(), timezone=ZoneInfo("Asia/Tokyo"))
    assert row["at"] == datetime(2026, 3, 1, 12, 0, 0, 750000, UTC)
    assert (row["method"], row["host"], row["path"], row["query"]) == ("GET", "shop.example", "/a", "")
    assert (row["status"], row["response_bytes"], row["duration_s"]) == (200, 392, 0.25)
    assert (row["address"], row["error"]) == ("192.0.2.100", "")
    assert row["request_header:User-Agent"] == "Mozilla/5.0 (X11; Linux x86_64)"
    assert row["response_header:Content-Type"] == "text/html; charset=UTF-8"
    assert "request_header:Host" not in row


@pytest.mark.parametrize(
    ("name", "written", "column", "value"),
    [
        ("cs(User-Agent)", "Mozilla/5.0%2520(X11;%2520Linux)", "request_header:User-Agent", "Mozilla/5.0 (X11; Linux)"),
        (
            "cs(User-Agent)",
            "Bot%201.0%20(+https://a.example)",
            "request_header:User-Agent",
            "Bot 1.0 (+https://a.example)",
        ),
        ("cs(Cookie)", "a=b;%20c=d%253D", "request_header:Cookie", "a=b; c=d%3D"),
        ("cs(Cookie)", "a=b;%2520c=d", "request_header:Cookie", "a=b; c=d"),
        ("cs(Referer)", "https://a.example/?q=a%2520b", "request_header:Referer", "https://a.example/?q=a%20b"),
        ("x-forwarded-for", "192.0.2.1,%20192.0.2.2", "request_header:X-Forwarded-For", "192.0.2.1, 192.0.2.2"),
        ("cs-uri-stem", "/a%2520b", "path", "/a%20b"),
        ("cs-uri-stem", "/a%20b", "path", "/a%20b"),
        ("cs-uri-stem", "/100%25", "path", "/100%25"),
        ("cs-uri-query", "a=%257B%2522b%2522%257D&c=100%25", "query", "a=%7B%22b%22%7D&c=100%25"),
        ("cs-uri-query", "-", "query", ""),
        ("c-ip", "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "address", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ],
)
def test_what_a_field_says(name: str, written: str, column: str, value: str):
    assert read_one(CLOUDFRONT, FRONT + line({name: written}))[column] == value


def test_no_response():
    gone = {"sc-status": "000", "x-edge-detailed-result-type": "ClientCommError"}
    row = read_one(CLOUDFRONT, FRONT + line(gone))
    assert (row["status"], row["response_bytes"], row["error"]) == (None, None, "ClientCommError")
    assert read_one(CLOUDFRONT, FRONT + line(gone | {"sc-status": "502"}))["error"] == ""


def test_older_logs_have_fewer_fields_and_files_may_be_joined():
    names = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer)"
    older = "2012-09-12\t12:00:01\tFRA2\t392\t192.0.2.1\tHEAD\td1.example.net\t/b\t404\t-"
    rows, skipped = read(CLOUDFRONT, f"{FRONT}{line()}\n#Version: 1.0\n#Fields: {names}\n{older}\n{line()}\n")
    assert [(row["method"], row["host"], row["path"]) for row in rows] == [
        ("GET", "shop.example", "/a"),
        ("HEAD", "d1.example.net", "/b"),
    ]
    assert [(item.where, item.reason) for item in skipped] == [("line 7", OTHER)]


def test_it_is_told_from_other_w3c_logs():
    head = Head("a.log", (FRONT + line()).encode())
    assert (CLOUDFRONT.likeness(head), W3C.likeness(head)) == (1, 0)
    other = Head("a.log", b"#Fields: date time cs-method cs-uri-stem\n2026-03-01\t12:00:01\tGET\t/a\n")
    assert (CLOUDFRONT.likeness(other), W3C.likeness(other)) == (0, 1)
    assert CLOUDFRONT.likeness(Head("a.log", line().encode())) == 0  # nothing says what stands where
