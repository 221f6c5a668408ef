from datetime import UTC, datetime
from pathlib import Path

import pytest

from replay.capture.inputs import Head
from replay.capture.sources.combined import COMBINED
from replay.capture.sources.traefik_log import TRAEFIK

from .reading import NOT_HTTP, OTHER, counts, read, read_one

LINE = (
    '192.0.2.1 - ann [01/Mar/2026:12:00:00 +0000] "GET /a?b=c HTTP/2.0" 200 352 "https://shop.example/" "agent/1.0" '
    '244 "api@docker" "http://172.17.0.3:80" 42ms'
)


def test_logs_of_others(shared_data: Path):
    folder = shared_data / "traefik"
    assert counts(TRAEFIK, folder / "beats_traefik_access_test.log") == (7, {})
    assert counts(TRAEFIK, folder / "crowdsec_traefik_clf.log") == (7, {})
    assert counts(TRAEFIK, folder / "crowdsec_tcpudp-flood-traefik.log") == (0, {OTHER: 1226})
    assert counts(TRAEFIK, folder / "crowdsec_traefik_base-http-scenario.log") == (0, {OTHER: 80})


def test_what_logs_of_others_say(shared_data: Path):
    rows, _ = read(TRAEFIK, shared_data / "traefik" / "beats_traefik_access_test.log")
    assert [row["duration_s"] for row in rows] == [0.002, 0.003, 0.247, 0.0, 0.013, 0.008, 0.0]
    assert (rows[2]["request_header:Referer"], rows[2]["path"], rows[2]["response_bytes"]) == (None, "/en/", 2814)
    assert rows[3]["address"] == "::1"
    assert (rows[6]["user"], rows[6]["at"]) == ("frank", datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC))
    rows, _ = read(TRAEFIK, shared_data / "traefik" / "crowdsec_traefik_clf.log")
    assert (rows[4]["status"], rows[4]["error"]) == (None, "no response was logged")
    assert (rows[6]["path"], rows[6]["duration_s"]) == ("/api/users", 0.025)


def test_a_line():
    row = read_one(TRAEFIK, LINE, host="api.example")
    assert row["at"] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (row["address"], row["user"], row["host"]) == ("192.0.2.1", "ann", "api.example")
    assert (row["method"], row["path"], row["query"], row["status"]) == ("GET", "/a", "b=c", 200)
    assert (row["response_bytes"], row["duration_s"]) == (352, 0.042)
    assert (row["request_header:Referer"], row["request_header:User-Agent"]) == ("https://shop.example/", "agent/1.0")


@pytest.mark.parametrize(
    ("written", "agent"),
    [('a "quoted" agent', 'a "quoted" agent'), ("C:\\new", "C:\\new"), ("-", None), ("", None)],
)
def test_nothing_is_escaped(written: str, agent: str | None):
    assert read_one(TRAEFIK, LINE.replace("agent/1.0", written))["request_header:User-Agent"] == agent


def test_what_traefik_1_left_unquoted():
    row = read_one(TRAEFIK, LINE.replace('"api@docker" "http://172.17.0.3:80"', "- -"))
    assert row["duration_s"] == 0.042


def test_what_is_no_request():
    _, skipped = read(TRAEFIK, LINE.replace("GET", "-") + '\ntime="2026-03-01T12:00:00Z" level=info msg=ready\n')
    assert [item.reason for item in skipped] == [NOT_HTTP, OTHER]


def test_common_and_combined_are_left_to_others():
    common = LINE.partition(' "https')[0].encode()
    combined = LINE.partition(" 244")[0].encode()
    for line in (common, combined):
        assert TRAEFIK.likeness(Head("a.log", line)) < COMBINED.likeness(Head("a.log", line))
