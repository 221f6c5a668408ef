from datetime import UTC, datetime
from pathlib import Path

from replay.capture.inputs import Head, Input
from replay.capture.sources.source import Lines, ReadOptions
from replay.capture.sources.squid import SQUID

PATH = Path(__file__).parent / "fixtures" / "squid.log"


def test_a_log_of_squid() -> None:
    file = Input(PATH.name, PATH)
    assert SQUID.likeness(file.head) == 1.0
    (lines,) = SQUID.read(file, ReadOptions())
    assert isinstance(lines, Lines)
    rows = lines.table.to_pylist()
    assert [(row["method"], row["host"], row["path"], row["query"], row["status"]) for row in rows] == [
        ("GET", "www.example.com", "/a", "b=c", 200),
        ("POST", "www.example.com:8080", "/x", "", None),
        ("GET", "www.example.com", "/", "", 200),
        ("GET", "www.example.com", "/", "", 407),
    ]
    assert rows[0]["at"] == datetime.fromtimestamp(1790000000.293, UTC)
    assert (rows[0]["duration_s"], rows[0]["response_bytes"], rows[0]["address"]) == (0.31, 1234, "192.0.2.1")
    assert rows[0]["response_header:Content-Type"] == "text/html"
    assert (rows[1]["user"], rows[1]["error"]) == ("ann", "no response was logged")
    assert (rows[2]["address"], rows[2]["response_header:Content-Type"]) == ("2001:db8::7", "text/html")
    assert {item.where: item.reason for item in lines.skipped} == {
        "line 2": "a tunnel is opened, which is no request",
        "line 3": "the request is not HTTP",
        "line 5": "the request is not HTTP",
        "line 6": "the request is not HTTP",
    }


def test_other_logs_are_not_squids() -> None:
    combined = b'192.0.2.1 - - [06/Feb/2026:12:14:14 +0000] "GET / HTTP/1.1" 200 5 "-" "example/1"\n'
    assert SQUID.likeness(Head("a.log", combined)) == 0.0
