from datetime import UTC, datetime

import pytest

from replay.capture.inputs import Head
from replay.capture.sources.aws_elb import AWS_ELB

from .reading import NOT_HTTP, OTHER, read, read_one

OLD = (
    "2026-03-01T12:00:00.945958Z lb 192.0.2.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "
    '"GET http://shop.example:80/a?b=c HTTP/1.1"'
)
LINE = OLD + ' "agent/1.0" - -'
TCP = (
    "2026-03-01T12:00:00.945958Z lb 192.0.2.39:2817 10.0.0.1:80 0.001069 0.000028 0.000041 - - 82 305 "
    '"- - - " "-" ECDHE-ECDSA-AES128-GCM-SHA256 TLSv1.2'
)


@pytest.mark.parametrize("line", [OLD, LINE, LINE + " more"])
def test_a_line(line: str):
    assert AWS_ELB.likeness(Head("a.log", line.encode())) == 1.0
    row = read_one(AWS_ELB, line)
    assert row["at"] == datetime(2026, 3, 1, 12, 0, 0, 945958, UTC)
    assert (row["method"], row["host"], row["path"], row["query"]) == ("GET", "shop.example", "/a", "b=c")
    assert (row["status"], row["response_bytes"], row["address"]) == (200, 29, "192.0.2.39")
    assert row["duration_s"] == pytest.approx(0.001178)


@pytest.mark.parametrize("status", ["000", "-", "0"])
def test_no_response(status: str):
    row = read_one(AWS_ELB, LINE.replace("0.000073 0.001048 0.000057 200 200", f"-1 -1 -1 {status} 0"))
    assert (row["status"], row["response_bytes"]) == (None, None)
    assert (row["error"], row["duration_s"]) == ("no response was logged", 0.0)


def test_a_listener_for_tcp_has_no_requests():
    rows, skipped = read(AWS_ELB, f"{LINE}\n{TCP}\nanything\n")
    assert len(rows) == 1
    assert [(item.where, item.reason) for item in skipped] == [("line 2", NOT_HTTP), ("line 3", OTHER)]


def test_a_name_that_begins_with_a_digit():
    assert read_one(AWS_ELB, LINE.replace(" lb ", " 2nd-lb "))["status"] == 200
