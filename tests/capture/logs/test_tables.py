from datetime import UTC, datetime

import pytest

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import Block, read_block
from replay.capture.sources.source import ReadOptions


def read(template: str, line: str, **said: object) -> dict:
    found = read_block(Block(line.encode(), 1, (LinePattern(template, **said),)), "a.log", ReadOptions())
    assert found.skipped == ()
    (row,) = found.table.to_pylist()
    return row


def why_not(template: str, line: str) -> str:
    (skipped,) = read_block(Block(line.encode(), 1, (LinePattern(template),)), "a.log", ReadOptions()).skipped
    return skipped.reason


@pytest.mark.parametrize(
    ("line", "at", "seconds"),
    [
        ("12:00:01.5Z 0.25 2026-03-01T12:00:00Z", (12, 0, 0, 0), 0.25),
        ("12:00:01.5Z -1 2026-03-01T12:00:00Z", (12, 0, 0, 0), 1.5),
        ("11:00:00Z -1 2026-03-01T12:00:00Z", (12, 0, 0, 0), 0.0),
        ("12:00:01.5Z 0.25 -", (12, 0, 1, 250000), 0.25),
        ("12:00:01.5Z -1 -", (12, 0, 1, 500000), 0.0),
        ("- -1 2026-03-01T12:00:00Z", (12, 0, 0, 0), 0.0),
    ],
)
def test_with_both_times_the_duration_may_lack(line: str, at: tuple[int, ...], seconds: float):
    ended, _, rest = line.partition(" ")
    ended = ended if ended == "-" else f"2026-03-01T{ended}"
    row = read("{ended:any} {duration:s} {at:any} {target}", f"{ended} {rest} /")
    assert (row["at"], row["duration_s"]) == (datetime(2026, 3, 1, *at, tzinfo=UTC), seconds)


def test_the_day_of_times_that_have_none():
    row = read("{ended:utc} {target} {duration:ms}", "00:00:00 / 250", day="2026-03-01")
    assert row["at"] == datetime(2026, 2, 28, 23, 59, 59, 750000, UTC)


@pytest.mark.parametrize(
    ("written", "address"),
    [("2001:db8::7:80", "2001:db8::7"), ("[2001:db8::7]:80", "2001:db8::7"), ("192.0.2.7:80", "192.0.2.7"), ("-", "")],
)
def test_addresses_that_always_have_a_port(written: str, address: str):
    assert read("{address:port} {at:utc} {target}", f"{written} 2026-03-01T12:00:00Z /")["address"] == address


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("200", "UF", (200, "")),
        ("0", "UF", (None, "UF")),
        ("000", "-", (None, "no response was logged")),
        ("-", "-", (None, "no response was logged")),
    ],
)
def test_only_what_has_no_response_has_an_error(status: str, error: str, expected: tuple[int | None, str]):
    row = read("{at:utc} {target} {status} {error}", f"2026-03-01T12:00:00Z / {status} {error}")
    assert (row["status"], row["error"]) == expected


@pytest.mark.parametrize(
    ("written", "path", "query"),
    [("/a?b#c", "/a%3Fb%23c", "d"), ("/a b", "/a%20b", "d"), ("http://x.example/a?b", "/a", "d"), ("a", "/a", "d")],
)
def test_a_path_may_be_decoded(written: str, path: str, query: str):
    row = read('"{path}" {query} {at:utc}', f'"{written}" ?d 2026-03-01T12:00:00Z')
    assert (row["path"], row["query"]) == (path, query)


def test_why_a_line_is_no_exchange():
    template = "{at:utc} {method} {target} {status}"
    assert why_not(template, "never GET / 200") == "the time cannot be read"
    assert why_not(template, "never - / 2OO") == "the time cannot be read"
    assert why_not(template, "2026-03-01T12:00:00Z - / 2OO") == "the status is no number"
    for method in ("-", "[2]USER", "{}", "1"):
        assert why_not(template, f"2026-03-01T12:00:00Z {method} / 200") == "the request is not HTTP"
