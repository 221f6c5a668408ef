import gzip
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.inputs import Head, Input
from replay.capture.sources import gor
from replay.capture.sources.gor import SEPARATOR, Gor
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Skipped

FIXTURES = Path(__file__).parent / "fixtures"
START = 1_700_000_000_000_000_000
GET = b"GET /events?page=2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def record(header: str, message: bytes = b"") -> bytes:
    return f"{header}\n".encode() + message + SEPARATOR


def read(data: bytes, host: str = "") -> tuple[list[Record], list[Skipped]]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        items = list(Gor().read(Input("a.gor", Path(file.name)), ReadOptions(host=host)))
    return [item for item in items if isinstance(item, Record)], [item for item in items if isinstance(item, Skipped)]


def reasons(skipped: list[Skipped]) -> dict[str, str]:
    return {item.where: item.reason for item in skipped}


def accounted(data: bytes) -> int:
    """How many of the file's records became part of an exchange or were skipped."""
    records, skipped = read(data)
    return sum(2 if item.exchange.response else 1 for item in records) + len(skipped)


def test_a_recording_of_goreplay_itself() -> None:
    """Requests, their responses, and those of a replay: by GoReplay 2.0 before a server on this machine."""
    data = (FIXTURES / "goreplay_2_0.gor").read_bytes()
    records, skipped = read(data)
    answers = {
        (item.exchange.request.path, item.exchange.request.body): item.exchange.response.status
        for item in records
        if item.exchange.response
    }
    assert answers == {
        **{(path, None): 200 for path in ("/", "/chunked", "/gzip", "/br", "/zstd", "/deflate", "/large", "/slow")},
        ("/none", None): 204,
        ("/missing", None): 404,
        **{("/orders", b'{"item": %d}' % number): 201 for number in (7, 8, 9)},
    }
    for item in records:
        response = item.exchange.response
        if response and item.exchange.request.path in {"/chunked", "/gzip", "/br", "/zstd", "/deflate"}:
            assert response.body
            assert response.body.endswith(b"18, 19]}")
        assert item.address == "127.0.0.1"
        assert item.exchange.request.host == "api.example.com"
        assert not item.bodies_not_kept
    slow = next(item.exchange for item in records if item.exchange.request.path == "/slow")
    assert 0.25 <= slow.duration_s < 0.3
    assert slow.at.year == 2026
    # GoReplay itself lost the answer to the HEAD request.
    assert [item.exchange.request.method for item in records if not item.exchange.response] == ["HEAD"]
    assert Counter(item.reason for item in skipped) == {"a replayed response": 14}
    assert len({item.exchange.connection for item in records}) == 2
    assert accounted(data) == len(re.findall(rb"^[123] [0-9a-f]{24} \d+", data, re.MULTILINE))


def test_every_file_of_others_is_accounted_for(shared_data: Path) -> None:
    files = sorted((shared_data / "gor").iterdir())
    assert files
    for file in files:
        assert Gor().likeness(Head(file.name, file.read_bytes()[:65536])) == 1.0
        pieces = file.read_bytes().split(SEPARATOR)
        assert accounted(file.read_bytes()) == len([piece for piece in pieces if piece.strip()])


def test_a_request_alone() -> None:
    (item,), skipped = read(record(f"1 a1 {START}", GET))
    exchange = item.exchange
    assert exchange.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (exchange.request.method, exchange.request.host, exchange.request.path, exchange.request.query) == (
        *("GET", "api.example.com", "/events"),
        "page=2",
    )
    assert exchange.response is None
    assert (exchange.error, exchange.duration_s, exchange.client, item.address) == ("", 0.0, "", "")
    assert not skipped


@pytest.mark.parametrize(
    ("request_times", "response_times"),
    [
        (f"{START} 1000000", f"{START + 50_000_000} 200000000"),  # since 2020
        (f"{START} 0", f"{START + 250_000_000} 0"),
        (f"{START}", f"{START + 50_000_000} 250000000"),  # since 2018
        (f"{START} -1", f"{START} 250000000"),  # since 2016
        (f"{START}", "250000000"),  # 2015
        (f"{START // 1000}", f"{START // 1000 + 250_000}"),
        (f"{START // 10**6}", f"{START // 10**6 + 250}"),
        (f"{START // 10**6} 3", f"{START // 10**6 + 50} 200"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_durations_of_all_versions(request_times: str, response_times: str, is_first: bool) -> None:
    halves = [record(f"1 a1 {request_times}", GET), record(f"2 a1 {response_times}", OK)]
    (item,), skipped = read(b"".join(halves if is_first else halves[::-1]))
    assert not skipped
    assert item.exchange.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert item.exchange.duration_s == pytest.approx(0.25)
    assert item.exchange.response
    assert item.exchange.response.body == b"{}"


def test_seconds_too() -> None:
    (item,), _ = read(record("1 a1 1700000000", GET) + record("2 a1 1700000003", OK))
    assert item.exchange.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert item.exchange.duration_s == 3.0


@pytest.mark.parametrize(
    "times", ["99999999999999999999 99999999999999999999", f"{START - 10**9}", f"{START + 10**16}"]
)
def test_a_duration_that_cannot_be_is_not_known(times: str) -> None:
    (item,), _ = read(record(f"1 a1 {START} 0", GET) + record(f"2 a1 {times}", OK))
    assert item.exchange.response
    assert item.exchange.duration_s == 0.0


def test_what_is_skipped_and_why() -> None:
    socket = b"GET /live HTTP/1.1\r\nHost: api.example.com\r\nUpgrade: websocket\r\n\r\n"
    _, skipped = read(
        record(f"2 gone {START}", OK)
        + record(f"3 a1 {START} 12", OK)
        + record("no header", GET)
        + record(f"9 a1 {START}", GET)
        + record("1 a2", GET)
        + record("1 a3 17", GET)
        + record(f"1 a4 {START}", b"binary \0\1\2")
        + record(f"1 a5 {START}", b"GET / HTTP/1.1\r\nHost: api.exa")
        + record(f"1 a6 {START}", b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n")
        + record(f"1 a7 {START}", socket)
        + record(f"2 a7 {START}", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        + record(f"2 a8 {START}", b"HTTP/1.1 100 Continue\r\n\r\n")
        + record("")
    )
    assert reasons(skipped) == {
        "record 1": "a response whose request is not there",
        "record 2": "a replayed response",
        "record 3": "its first line is no header of GoReplay",
        "record 4": "its first line is no header of GoReplay",
        "record 5": "its header has no time",
        "record 6": "its header has no time",
        "record 7": "breaks off in its headers",
        "record 8": "breaks off in its headers",
        "record 9": "a CONNECT, which opens a tunnel and asks for nothing",
        "record 10": "a WebSocket, which is not replayed",
        "record 11": "a WebSocket, which is not replayed",
        "record 12": "an interim response",
        "record 13": "its first line is no header of GoReplay",
    }


def test_a_response_that_is_broken_leaves_its_request() -> None:
    (item,), skipped = read(record(f"1 a1 {START}", GET) + record(f"2 a1 {START}", b"HTTP/1.1 200"))
    assert item.exchange.response is None
    assert reasons(skipped) == {"record 2": "breaks off in its headers"}


def test_the_response_of_a_broken_request_is_skipped_too() -> None:
    records, skipped = read(record(f"1 a1 {START}", GET[:20]) + record(f"2 a1 {START}", OK))
    assert not records
    assert reasons(skipped) == {
        "record 1": "breaks off in its headers",
        "record 2": "a response whose request is not there",
    }


def test_a_body_that_breaks_off_is_not_kept() -> None:
    post = b"POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 90\r\n\r\n{"
    (item,), _ = read(record(f"1 a1 {START}", post) + record(f"2 a1 {START}", OK[:-1]))
    assert item.bodies_not_kept == ("broke off", "broke off")
    assert item.exchange.request.body is None
    assert item.exchange.response
    assert item.exchange.response.body is None
    assert item.exchange.response.size_bytes == 2


def test_an_id_that_comes_again() -> None:
    data = record(f"1 a1 {START}", GET) + record(f"1 a1 {START + 10**9}", GET) + record(f"2 a1 {START + 10**9}", OK) * 2
    records, skipped = read(data)
    assert [bool(item.exchange.response) for item in records] == [False, True]
    assert reasons(skipped) == {"record 4": "a response whose request is not there"}


def test_a_host_is_taken_from_the_options_where_there_is_none() -> None:
    (item,), _ = read(record(f"1 a1 {START}", b"GET / HTTP/1.0\r\n\r\n"), host="api.example.com:8443")
    assert item.exchange.request.host == "api.example.com:8443"


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gor, "_WAITING_RECORDS", 3)
    data = b"".join(record(f"1 a{number} {START}", GET) for number in range(5)) + record(f"2 a0 {START}", OK)
    records, skipped = read(data + record(f"2 a4 {START + 10**9}", OK))
    assert [bool(item.exchange.response) for item in records] == [False, False, False, True, False]
    assert reasons(skipped) == {"record 6": "a response whose request is not there"}


def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gor, "_WAITING_BYTES", 300)
    data = b"".join(record(f"1 a{number} {START}", GET + b"x" * 100) for number in range(5))
    records, _ = read(data + record(f"2 a0 {START}", OK))
    assert len(records) == 5
    assert not any(item.exchange.response for item in records)


def test_a_record_beyond_the_limit_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gor, "RECORD_LIMIT_BYTES", 200)
    monkeypatch.setattr(gor, "_PIECE_BYTES", 64)
    large = record(f"1 a2 {START}", GET + b"x" * 5000)
    records, skipped = read(record(f"1 a1 {START}", GET) + large + record(f"1 a3 {START}", GET) + large[:-10])
    assert len(records) == 2
    assert list(reasons(skipped)) == ["record 2", "record 4"]
    assert skipped[0].reason.startswith("larger than")


@pytest.mark.parametrize("piece_bytes", [1, 7, 20])
def test_separators_between_two_pieces(monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    monkeypatch.setattr(gor, "_PIECE_BYTES", piece_bytes)
    records, skipped = read(record(f"1 a1 {START}", GET) * 4)
    assert len(records) == 4
    assert not skipped


def test_a_compressed_file_that_breaks_off() -> None:
    plain = b"".join(record(f"1 a{number} {START + number}", GET) for number in range(2000))
    data = gzip.compress(plain)
    records, skipped = read(data)
    assert (len(records), skipped) == (2000, [])
    records, skipped = read(data[: len(data) // 2])
    assert 100 < len(records) < 2000
    assert skipped[-1].reason == "the file cannot be read beyond here: it is damaged or breaks off"


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match=r"a\.gor is no file of GoReplay"):
        read(b'{"log": {}}')


def test_likeness() -> None:
    def likeness(data: bytes) -> float:
        return Gor().likeness(Head("a", data))

    assert likeness(record(f"1 a1 {START}", GET)) == 1.0
    assert likeness(f"1 932079936fa4306fc308d675 {START} 0\nGET / HTTP/1.1\r\n".encode()) > 0.5
    assert likeness(b"middle of a body" + SEPARATOR + b"1 a1 17\n") > 0.5
    assert likeness(b"1 2 3\n4 5 6\n") == 0.0
    assert likeness(b"127.0.0.1 - - [") == 0.0


SAMPLE = (FIXTURES / "goreplay_2_0.gor").read_bytes()
MIX = b"".join(
    (
        record(f"1 a1 {START} 10", GET),
        record(f"2 a1 {START + 10**6} 10", OK),
        record(f"3 a1 {START + 10**6} 10", OK),
        record(f"2 a2 {START}", OK),
        record(f"1 a2 {START}", GET),
    )
)


@given(st.integers(0, len(MIX)))
@settings(max_examples=300)
def test_cut_off_anywhere_every_record_is_accounted_for(at: int) -> None:
    data = MIX[:at]
    try:
        assert accounted(data) == len([piece for piece in data.split(SEPARATOR) if piece.strip()])
    except InputError:
        assert not Gor().likeness(Head("a", data))


@given(st.data())
@settings(max_examples=300)
def test_changed_bytes_never_break_the_reader(data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from([MIX, SAMPLE])))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    try:
        accounted(bytes(changed))
    except InputError:
        assert not Gor().likeness(Head("a", bytes(changed[:65536])))


@given(st.binary(max_size=500))
def test_any_bytes_behind_a_header(noise: bytes) -> None:
    data = record(f"1 a1 {START}", GET) + noise
    *whole, rest = data.split(SEPARATOR)
    assert accounted(data) == len(whole) + bool(rest.strip())
