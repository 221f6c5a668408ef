from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.inputs import Input
from replay.capture.sources.haproxy import HAPROXY
from replay.capture.sources.source import Lines, ReadOptions
from replay.traffic import Skipped

FIXTURES = Path(__file__).parent / "fixtures"
FRONT = "Feb  6 12:14:14 host haproxy[14389]: "
ENTRY = "192.0.2.7:33317 [06/Feb/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "
REQUEST = '"GET /index.html?a=1 HTTP/1.1"'
OTHER = "the line is not of this format"


def read(path: Path, options: ReadOptions | None = None) -> tuple[list[dict], list[Skipped]]:
    rows: list[dict] = []
    skipped: list[Skipped] = []
    for item in HAPROXY.read(Input(path.name, path), options or ReadOptions()):
        if isinstance(item, Lines):
            rows += item.table.to_pylist()
            skipped += item.skipped
        else:
            skipped.append(item)
    return rows, skipped


def read_line(line: str, **said: object) -> dict:
    with NamedTemporaryFile() as file:
        path = Path(file.name)
        path.write_text(line + "\n", encoding="utf-8")
        assert HAPROXY.likeness(Input("a.log", path).head) == 1.0
        ((row,), skipped) = read(path, ReadOptions(**said))
    assert not skipped
    return row


@pytest.mark.parametrize("kind", ["rfc3164", "rfc5424", "stdout"])
def test_logs_of_haproxy_itself(kind: str) -> None:
    """By HAProxy 2.6 before a server on this machine, with captured headers, a TCP proxy and clients that misbehave."""
    path = FIXTURES / f"haproxy_2_6_{kind}.log"
    assert HAPROXY.likeness(Input(path.name, path).head) > 0.9
    rows, skipped = read(path)
    assert [(row["method"], row["path"], row["query"], row["status"], row["address"]) for row in rows[:5]] == [
        ("GET", "/", "q=a%20b", 200, "127.0.0.1"),
        ("POST", "/orders", "", 201, "127.0.0.1"),
        ("GET", "/gone", "", 503, "127.0.0.1"),
        ("GET", "/gzip", "", 200, "127.0.0.1"),
        ("GET", "/slow", "", 200, "127.0.0.1"),
    ]
    assert rows[4]["duration_s"] == 0.254
    assert rows[2]["at"] == datetime(2026, 11, 24, 6, 5, 2, 747000, UTC)
    assert [row["address"] for row in rows if row["path"] == "/chunked"] == ["::1"]
    assert Counter(item.reason for item in skipped) == {OTHER: 1, "the request is not HTTP": 2}
    assert len(rows) + len(skipped) == len(path.read_text().splitlines())


EXPECTED = {  # exchanges, and lines that are none; what only a TCP proxy or a start says is not taken for this format
    "beats_haproxy_log_default.log": None,
    "beats_haproxy_log_httplog-no-headers.log": (3, 0),
    "beats_haproxy_log_tcplog.log": None,
    "cjjavellana_openshift_haproxy.log": (2, 12),
    "crowdsec_haproxy-nextcloud-whitelist.log": (1, 0),
    "lnav_logfile_haproxy.0": (13, 4),
}


def test_every_file_of_others_is_accounted_for(shared_data: Path) -> None:
    files = sorted((shared_data / "haproxy").iterdir())
    assert {file.name for file in files} == EXPECTED.keys()
    for file in files:
        likeness = HAPROXY.likeness(Input(file.name, file).head)
        expected = EXPECTED[file.name]
        if expected is None:
            assert likeness == 0.0
            continue
        assert likeness > 0.9
        rows, skipped = read(file)
        assert (len(rows), len(skipped)) == expected
        assert len(rows) + len(skipped) == len([line for line in file.read_text().splitlines() if line.strip()])
        assert {item.reason for item in skipped} <= {OTHER}


@pytest.mark.parametrize(
    "front",
    [
        "",
        FRONT,
        "<134>Feb  6 12:14:14 haproxy[14389]: ",
        "<134>1 2026-02-06T12:14:14.7Z lb haproxy 14389 - - ",
        "2026-02-06T12:14:14+01:00 lb haproxy[14389]: ",
        "2026-02-06 12:14:14 lb haproxy ",
    ],
)
@pytest.mark.parametrize("captured", ["", "{api.example.com||x} ", "{} {} ", "{a b|c: d} {text/html} "])
def test_what_stands_in_front_and_what_was_captured(front: str, captured: str) -> None:
    row = read_line(front + ENTRY + captured + REQUEST)
    assert row["at"] == datetime(2026, 2, 6, 12, 14, 14, 655000, UTC)
    assert row["duration_s"] == 0.109
    assert (row["method"], row["path"], row["query"], row["status"]) == ("GET", "/index.html", "a=1", 200)
    assert (row["response_bytes"], row["address"]) == (2750, "192.0.2.7")


def test_times_are_in_the_zone_of_the_options() -> None:
    row = read_line(ENTRY + REQUEST, timezone=ZoneInfo("Europe/Berlin"))
    assert row["at"] - datetime(2026, 2, 6, 11, 14, 14, tzinfo=UTC) == timedelta(milliseconds=655)


def test_a_log_written_before_the_response_ended() -> None:
    row = read_line((ENTRY + REQUEST).replace("/109 200 2750", "/+109 200 +2750"))
    assert (row["duration_s"], row["response_bytes"]) == (0.109, 2750)


def test_no_response() -> None:
    row = read_line((ENTRY + REQUEST).replace(" 200 2750", " -1 0").replace("----", "CD--"))
    assert row["status"] is None
    assert row["error"]


def test_the_log_of_https_names_the_host() -> None:
    row = read_line(ENTRY + REQUEST + " 0/0000000000000000/0/0/0 api.example.com/TLSv1.3/TLS_AES_256_GCM_SHA384")
    assert row["host"] == "api.example.com"


@pytest.mark.parametrize(
    ("written", "address"),
    [("2001:db8::7:54321", "2001:db8::7"), ("::ffff:192.0.2.7:80", "::ffff:192.0.2.7"), ("192.0.2.7:1", "192.0.2.7")],
)
def test_addresses_have_no_port(written: str, address: str) -> None:
    assert read_line((ENTRY + REQUEST).replace("192.0.2.7:33317", written))["address"] == address


@pytest.mark.slow
@given(st.data())
def test_changed_lines_are_exchanges_or_skipped(data: st.DataObject) -> None:
    changed = bytearray((FRONT + ENTRY + "{a|b} {} " + REQUEST).encode())
    at = data.draw(st.integers(0, len(changed)))
    changed[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20)).replace(b"\n", b"")
    if not changed.strip() or changed.startswith((b"\x1f\x8b", b"BZh")):
        return
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(changed + b"\n")
        rows, skipped = read(Path(file.name))
    assert len(rows) + len(skipped) == 1
