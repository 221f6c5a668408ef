from datetime import UTC, datetime
from pathlib import Path

import pytest

from replay.capture.sources.aws_alb import AWS_ALB

from .reading import NOT_HTTP, counts, read, read_one

OLD = (
    "https 2026-03-01T12:00:01.186641Z app/lb/50dc6c495c0c9188 192.0.2.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 "
    '57 "GET https://shop.example:443/a?b=c HTTP/1.1" "agent/1.0" ECDHE-RSA TLSv1.2 arn:aws:x "Root=1-58337281-1d84f3d"'
)
LINE = (
    OLD
    + ' "shop.example" "arn:aws:acm" 1 2026-03-01T12:00:00.964000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200"'
    ' "-" "-" TID_1234abcd5678ef90 "-" "-" "-"'
)


def test_logs_of_others(shared_data: Path):
    folder = shared_data / "aws"
    assert counts(AWS_ALB, folder / "crowdsec_aws-alb-http-bad-user-agent.log") == (4, {})
    assert counts(AWS_ALB, folder / "crowdsec_aws-alb-logs.log") == (14, {})


def test_what_a_log_of_others_says(shared_data: Path):
    rows, _ = read(AWS_ALB, shared_data / "aws" / "crowdsec_aws-alb-logs.log")
    assert [row["host"] for row in rows[:4]] == ["www.example.com"] * 2 + ["10.0.2.105:773", "api.example.com"]
    assert (rows[1]["path"], rows[1]["duration_s"], rows[1]["response_bytes"]) == ("/robots.txt", 0.171, 57)
    assert (rows[3]["path"], rows[3]["status"]) == ("/%%32%65%%32%65/", 404)
    assert (rows[3]["at"], rows[3]["duration_s"]) == (datetime(2023, 4, 26, 19, 53, 46, 678000, UTC), 0.001895)
    assert rows[6]["query"] == "action=polldata&host_id=1&local_data_ids[]=3&poller_id=;ping%20%24%28whoami%29.test.com"


def test_a_line():
    row = read_one(AWS_ALB, LINE)
    assert row["at"] == datetime(2026, 3, 1, 12, 0, 0, 964000, UTC)
    assert (row["method"], row["host"], row["path"], row["query"]) == ("GET", "shop.example", "/a", "b=c")
    assert (row["status"], row["response_bytes"], row["duration_s"]) == (200, 57, 0.171)
    assert (row["address"], row["request_header:User-Agent"]) == ("192.0.2.39", "agent/1.0")


def test_without_the_time_of_arrival_the_durations_are_taken_off():
    assert read_one(AWS_ALB, OLD)["at"] == datetime(2026, 3, 1, 12, 0, 1, 15641, UTC)
    assert read_one(AWS_ALB, OLD + ' "-" "-"')["at"] == datetime(2026, 3, 1, 12, 0, 1, 15641, UTC)


@pytest.mark.parametrize(
    ("written", "duration_s"), [("-1 -1 -1", 0.222641), ("0.001 -1 -1", 0.001), ("0.000 -1 -1", 0.0)]
)
def test_a_request_that_never_reached_a_target(written: str, duration_s: float):
    row = read_one(AWS_ALB, LINE.replace("10.0.0.1:80 0.086 0.048 0.037 200 200", f"- {written} 504 -"))
    assert (row["status"], row["duration_s"]) == (504, duration_s)
    assert row["at"] == datetime(2026, 3, 1, 12, 0, 0, 964000, UTC)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://shop.example:80/a", "shop.example"),
        ("http://shop.example:443/a", "shop.example:443"),
        ("wss://shop.example:443/a", "shop.example"),
        ("https://shop.example:8443/a", "shop.example:8443"),
        ("https://[2001:db8::1]:443/a", "[2001:db8::1]"),
    ],
)
def test_the_urls_own_port_is_left_out(url: str, host: str):
    assert read_one(AWS_ALB, LINE.replace("https://shop.example:443/a", url))["host"] == host


@pytest.mark.parametrize(
    ("written", "address"),
    [("2001:db8::7:54321", "2001:db8::7"), ("[2001:db8::7]:54321", "2001:db8::7"), ("192.0.2.7:1", "192.0.2.7")],
)
def test_addresses_have_no_port(written: str, address: str):
    assert read_one(AWS_ALB, LINE.replace("192.0.2.39:2817", written))["address"] == address


def test_quotes_in_an_agent():
    assert read_one(AWS_ALB, LINE.replace("agent/1.0", "a \\x22b\\x22"))["request_header:User-Agent"] == 'a "b"'
    assert read_one(AWS_ALB, LINE.replace("agent/1.0", 'a "b" c'))["request_header:User-Agent"] == 'a "b" c'


@pytest.mark.parametrize("request_", ["- http://shop.example:80- -", "- - - "])
def test_what_is_no_request(request_: str):
    _, skipped = read(AWS_ALB, LINE.replace("GET https://shop.example:443/a?b=c HTTP/1.1", request_))
    assert [(item.where, item.reason) for item in skipped] == [("line 1", NOT_HTTP)]
