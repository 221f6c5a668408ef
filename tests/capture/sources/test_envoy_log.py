from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from replay.capture.inputs import Input
from replay.capture.logs.reader import LogSource
from replay.capture.sources.envelopes import best
from replay.capture.sources.envoy_log import ENVOY

from .reading import NOT_HTTP, OTHER, counts, read, read_one

FROM = '"192.0.2.7" "agent/1.0" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "shop.example:8443" "10.0.2.1:80"'
DEFAULT = f'[2026-03-01T12:00:00.310Z] "POST /a?b=c HTTP/2" 204 - 154 7 226 100 {FROM}'
ISTIO = (
    f'[2026-03-01T12:00:00.310Z] "POST /a?b=c HTTP/2" 204 - via_upstream - "-" 154 7 226 100 {FROM} '
    "inbound|8000|| 127.0.0.6:47 10.44.1.23:80 10.44.1.27:61922 outbound_.8000_._.httpbin.foo.svc.cluster.local default"
)
ISTIO_1_5 = f'[2026-03-01T12:00:00.310Z] "POST /a?b=c HTTP/2" 204 - "-" "-" 154 7 226 100 {FROM} a b c 10.0.0.1:6 - -'


def test_a_log_of_others(shared_data: Path):
    """Four lines of text and six in JSON, as the format was changed in midway."""
    path = shared_data / "envoy" / "crowdsec_envoy-logs.log"
    source = cast("LogSource", best(Input(path.name, path), [ENVOY])[0])
    assert counts(source, path) == (4, {OTHER: 6})
    rows, _ = read(source, path)
    assert rows[0]["at"] == datetime(2016, 4, 15, 20, 17, 0, 310000, UTC)
    assert [(row["method"], row["host"], row["path"], row["status"]) for row in rows] == [
        ("POST", "locations", "/api/v1/locations", 204),
        ("GET", "example.com", "/test", 200),
        ("GET", "proxy.example.com", "/api/proxy", 200),
        ("POST", "proxy6.example.com", "/api/proxy6", 201),
    ]
    assert [(row["response_bytes"], row["duration_s"]) for row in rows[:2]] == [(0, 0.226), (256, 0.05)]
    assert rows[2]["request_header:X-Forwarded-For"] == "192.168.1.100, 10.42.0.1"


@pytest.mark.parametrize(
    ("line", "address"),
    [(DEFAULT, ""), (ISTIO, "10.44.1.27"), (ISTIO_1_5, "10.0.0.1"), (DEFAULT + ' "more" 1', "")],
)
def test_the_default_and_istios(line: str, address: str):
    row = read_one(ENVOY, line)
    assert row["at"] == datetime(2026, 3, 1, 12, 0, 0, 310000, UTC)
    assert (row["method"], row["host"], row["path"], row["query"]) == ("POST", "shop.example:8443", "/a", "b=c")
    assert (row["status"], row["response_bytes"], row["duration_s"], row["error"]) == (204, 7, 0.226, "")
    assert (row["address"], row["request_header:X-Forwarded-For"]) == (address, "192.0.2.7")
    assert row["request_header:User-Agent"] == "agent/1.0"


@pytest.mark.parametrize(("flags", "error"), [("DC", "DC"), ("UF,URX", "UF,URX"), ("-", "no response was logged")])
def test_why_there_is_no_response(flags: str, error: str):
    row = read_one(ENVOY, DEFAULT.replace("204 -", f"0 {flags}"))
    assert (row["status"], row["response_bytes"], row["error"]) == (None, None, error)


def test_flags_of_a_response_are_no_error():
    row = read_one(ENVOY, DEFAULT.replace("204 -", "503 UF,URX"))
    assert (row["status"], row["error"]) == (503, "")


def test_details_may_have_spaces():
    line = ISTIO.replace('via_upstream - "-"', 'rbac denied [a b] gone "delayed connect error: 111"')
    assert read_one(ENVOY, line)["duration_s"] == 0.226


def test_nothing_is_escaped():
    row = read_one(ENVOY, DEFAULT.replace("agent/1.0", 'a "b" \\n'))
    assert row["request_header:User-Agent"] == 'a "b" \\n'


def test_connections_without_http_are_skipped():
    _, skipped = read(ENVOY, ISTIO.replace("POST /a?b=c HTTP/2", "- - -").replace(" 204 ", " 0 "))
    assert [item.reason for item in skipped] == [NOT_HTTP]
