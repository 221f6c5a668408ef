from datetime import UTC, datetime

import pytest

from replay.capture.sources.s3 import S3

from .reading import NOT_HTTP, read, read_one

OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
EARLY = (
    f"{OWNER} shop [06/Feb/2026:00:00:38 +0000] 192.0.2.3 {OWNER} 3E57427F3EXAMPLE REST.GET.OBJECT a%2520b.pdf "
    '"GET /shop/a%20b.pdf?x-id=GetObject HTTP/1.1" 200 - 113 4406 41 28 "https://shop.example/" "agent/1.0"'
)
OLD = EARLY + " 3HL4kqtJvjVBH40Nrjfkd"
HOST = "shop.s3.us-west-1.example.com"
LINE = f"{OLD} s9lzHYrFp76ZVxRcpX9+5cjAnEH2= SigV4 ECDHE-RSA AuthHeader {HOST} TLSv1.2 - -"


@pytest.mark.parametrize(
    ("line", "host"),
    [(EARLY, ""), (OLD, ""), (LINE.removesuffix(" TLSv1.2 - -"), HOST), (LINE, HOST), (LINE + " eu-west-1", HOST)],
)
def test_a_line(line: str, host: str):
    row = read_one(S3, line)
    assert row["at"] == datetime(2026, 2, 6, 0, 0, 38, tzinfo=UTC)
    assert (row["method"], row["path"], row["query"]) == ("GET", "/shop/a%20b.pdf", "x-id=GetObject")
    assert (row["status"], row["response_bytes"], row["duration_s"]) == (200, 113, 0.041)
    assert (row["address"], row["user"]) == ("192.0.2.3", OWNER)
    assert (row["request_header:Referer"], row["request_header:User-Agent"]) == ("https://shop.example/", "agent/1.0")
    assert row["host"] == host


@pytest.mark.parametrize(
    ("written", "agent"), [("-", None), ('a "b" c', 'a "b" c'), ('"', '"'), ("C:\\new", "C:\\new")]
)
def test_agents_with_quotes(written: str, agent: str | None):
    assert read_one(S3, LINE.replace("agent/1.0", written))["request_header:User-Agent"] == agent


def test_who_is_not_known():
    row = read_one(S3, LINE.replace(f"192.0.2.3 {OWNER}", "- -").replace("113 4406 41 28", "- - - -"))
    assert (row["address"], row["user"], row["response_bytes"], row["duration_s"]) == ("", "", 0, 0.0)


def test_what_s3_does_by_itself_is_no_request():
    expired = LINE.replace("REST.GET.OBJECT", "S3.EXPIRE.OBJECT")
    expired = expired.replace("GET /shop/a%20b.pdf?x-id=GetObject HTTP/1.1", "-").replace("200 - 113", "- - -")
    rows, skipped = read(S3, f"{LINE}\n{expired}\n")
    assert len(rows) == 1
    assert [(item.where, item.reason) for item in skipped] == [("line 2", NOT_HTTP)]
