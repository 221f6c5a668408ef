import gzip
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy.io import FlowWriter, tnetstring
from mitmproxy.test import tflow, tutils

from replay.capture.inputs import Head, Input
from replay.capture.sources.mitmproxy_dump import MitmproxyDump
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Skipped

FIXTURES = Path(__file__).parent / "fixtures"
WEBSOCKET = "a WebSocket, which is not replayed"


def read(data: bytes) -> tuple[list[Record], list[Skipped]]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        items = list(MitmproxyDump().read(Input("a.mitm", Path(file.name)), ReadOptions()))
    return [item for item in items if isinstance(item, Record)], [item for item in items if isinstance(item, Skipped)]


def dump(*flows: Any) -> bytes:
    file = io.BytesIO()
    for flow in flows:
        FlowWriter(file).add(flow)
    return file.getvalue()


def test_a_dump_of_mitmdump_itself() -> None:
    """By mitmdump 11 as a reverse proxy before a server on this machine, with ``stream_large_bodies=5k``."""
    records, skipped = read((FIXTURES / "mitmdump_11.mitm").read_bytes())
    assert not skipped
    by_path = {item.exchange.request.path: item for item in records if item.exchange.request.method == "GET"}
    for path in ("/chunked", "/gzip", "/br", "/zstd", "/deflate"):
        response = by_path[path].exchange.response
        assert response
        assert response.body
        assert response.body.endswith(b"18, 19]}")
    assert by_path["/"].exchange.request.query == "q=a%20b"
    assert 0.25 <= by_path["/slow"].exchange.duration_s < 0.3
    large = by_path["/large"]
    assert large.exchange.response
    assert (large.exchange.response.body, large.exchange.response.size_bytes) == (None, 6003)
    assert large.bodies_not_kept == ("not in the dump",)
    gone = by_path["/gone"].exchange
    assert gone.response is None
    assert "Connect call failed" in gone.error
    orders = [item.exchange.request for item in records if item.exchange.request.path == "/orders"]
    assert [order.body for order in orders] == [b'{"item": %d}' % number for number in (7, 8, 9)]
    assert [order.header("content-encoding") for order in orders] == [None, None, None]
    assert [order.header("transfer-encoding") for order in orders] == [None, None, None]
    head = next(item.exchange for item in records if item.exchange.request.method == "HEAD")
    assert head.response
    assert head.response.body == b""
    assert {item.address for item in records} == {"127.0.0.1"}
    assert {item.exchange.request.host for item in records} == {"api.example.com"}
    assert len({item.exchange.connection for item in records}) == 3


EXPECTED = {  # exchanges, and the reasons of what was skipped; counted with mitmproxy's own reader
    "corrupted_gzip_body": (1, {}),
    "diff_data": (5, {"a TCP flow, which is no HTTP": 2}),
    "dumpfile-011": (1, {}),
    "dumpfile-012": (1, {}),
    "dumpfile-013": (1, {}),
    "dumpfile-019": (1, {}),
    "dumpfile-10": (1, {}),
    "dumpfile-19": (1, {}),
    "dumpfile-7": (2, {}),
    "dumpfile-7-websocket": (0, {WEBSOCKET: 6}),
    "error_log": (2, {}),
    "event_stream": (2, {}),
    "successful_log": (2, {}),
    "websocket": (0, {WEBSOCKET: 3}),
}


def test_dumps_of_every_version(shared_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = sorted((shared_data / "mitm").iterdir())
    assert {file.stem.removeprefix("mitmproxy_") for file in files} == EXPECTED.keys()
    for file in files:
        assert MitmproxyDump().likeness(Head(file.name, file.read_bytes()[:65536])) == 1.0
        records, skipped = read(file.read_bytes())
        found = (len(records), Counter(item.reason for item in skipped))
        assert found == EXPECTED[file.stem.removeprefix("mitmproxy_")]
        for item in records:
            assert 2015 <= item.exchange.at.year <= 2024
            assert item.exchange.request.path.startswith("/")
            assert item.exchange.request.host
    assert capfd.readouterr() == ("", "")


def test_what_mitmproxy_writes_today() -> None:
    flow = tflow.tflow(
        req=tutils.treq(
            host="198.51.100.7", port=8443, scheme=b"https", authority=b"api.example.com:443", path=b"/a b?q=1"
        ),
        resp=True,
    )
    (item,), skipped = read(dump(flow))
    exchange = item.exchange
    assert not skipped
    assert exchange.at == datetime.fromtimestamp(flow.request.timestamp_start, UTC)
    assert exchange.duration_s == flow.response.timestamp_end - flow.request.timestamp_start
    assert (exchange.request.host, exchange.request.path, exchange.request.query) == (
        "api.example.com",
        "/a%20b",
        "q=1",
    )
    assert exchange.request.body == b"content"
    assert exchange.response
    assert (exchange.response.status, exchange.response.body, exchange.response.size_bytes) == (200, b"message", 7)
    assert exchange.connection == flow.client_conn.id
    assert exchange.client == ""


def test_a_host_without_a_header_for_it() -> None:
    flow = tflow.tflow(req=tutils.treq(host="2001:db8::7", port=8443, scheme=b"https"))
    (item,), _ = read(dump(flow))
    assert item.exchange.request.host == "[2001:db8::7]:8443"


def failed(flow: Any) -> None:
    flow.error = tflow.terr("connection closed")


def corrupted(flow: Any) -> None:
    flow.response.headers["content-encoding"] = "gzip"


def streamed(flow: Any) -> None:
    flow.request.headers["content-length"] = "7"
    flow.request.raw_content = None
    flow.response.raw_content = None


@pytest.mark.parametrize(
    ("change", "error", "not_kept"),
    [
        (failed, "connection closed", ()),
        (corrupted, "", ("in an encoding that cannot be decoded",)),
        (streamed, "", ("not in the dump", "not in the dump")),
    ],
)
def test_what_is_missing_is_said(change: Callable[[Any], None], error: str, not_kept: tuple[str, ...]) -> None:
    flow = tflow.tflow(resp=True)
    change(flow)
    (item,), _ = read(dump(flow))
    assert item.exchange.error == error
    assert (item.exchange.response is None) == bool(error)
    assert item.bodies_not_kept == not_kept


def test_no_response_yet() -> None:
    (item,), _ = read(dump(tflow.tflow()))
    assert (item.exchange.response, item.exchange.error, item.exchange.duration_s) == (None, "", 0.0)


def test_what_is_skipped_and_why() -> None:
    tunnel = tflow.tflow(req=tutils.treq(method=b"CONNECT"))
    timeless = tflow.tflow(req=tutils.treq(timestamp_start=0.0))
    handshake = tflow.tflow(resp=tutils.tresp(status_code=101))
    newer = tflow.tflow().get_state() | {"version": 999}
    data = dump(
        tflow.ttcpflow(), tflow.tudpflow(), tflow.tdnsflow(), tflow.twebsocketflow(), tunnel, timeless, handshake
    )
    records, skipped = read(
        data + tnetstring.dumps(newer) + tnetstring.dumps({"version": 21}) + b"5:hello," + b"9:half"
    )
    assert not records
    assert [(item.where, item.reason) for item in skipped] == [
        ("flow 1", "a TCP flow, which is no HTTP"),
        ("flow 2", "a UDP flow, which is no HTTP"),
        ("flow 3", "a DNS flow, which is no HTTP"),
        ("flow 4", WEBSOCKET),
        ("flow 5", "a CONNECT, which opens a tunnel and asks for nothing"),
        ("flow 6", "a request without a time"),
        ("flow 7", WEBSOCKET),
        ("flow 8", "written by a newer mitmproxy than the one installed"),
        ("flow 9", "no flow that mitmproxy can read"),
        ("flow 10", "no flow that mitmproxy can read"),
        ("flow 11", "the file cannot be read beyond here: it is damaged or breaks off"),
    ]


@pytest.mark.parametrize("at", [0.3, 0.7, 0.99])
def test_a_dump_that_breaks_off_keeps_what_was_there(at: float) -> None:
    data = (FIXTURES / "mitmdump_11.mitm").read_bytes()
    records, skipped = read(data[: int(len(data) * at)])
    assert records
    assert [item.where for item in skipped] == [f"flow {len(records) + 1}"]
    records, skipped = read(gzip.compress(data * 50)[:-100])
    assert len(records) > 400
    assert len(skipped) == 1


def test_a_body_that_would_unfold_without_end_is_not_kept() -> None:
    flow = tflow.tflow(resp=tutils.tresp(content=gzip.compress(bytes(100_000_000), 9)))
    flow.response.headers["content-encoding"] = "gzip"
    (item,), _ = read(dump(flow))
    assert item.bodies_not_kept == ("larger than 64000000 bytes",)


def test_certificates_are_not_looked_at(capfd: pytest.CaptureFixture[str]) -> None:
    state = tflow.tflow(resp=True).get_state()
    state["server_conn"]["certificate_list"] = [b"no certificate"]
    records, _ = read(tnetstring.dumps(state))
    assert len(records) == 1
    assert capfd.readouterr() == ("", "")


def test_another_file_is_refused_and_nothing_of_mitmproxy_imported_for_it() -> None:
    with pytest.raises(InputError, match=r"a\.mitm is no dump of mitmproxy"):
        read(b'{"log": {}}')
    code = (
        "import sys; from replay.capture.inputs import Head; from replay.capture.sources.mitmproxy_dump import *; "
        "assert SOURCES[0].likeness(Head('a', b'99:7:version;2:21#')) == 1; assert 'mitmproxy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("data", [b"", b"12:", b"5:hello,", b"99:6:version;", b"9:7:unknown;", b"{}", b"1 a1 17\n"])
def test_what_is_no_dump(data: bytes) -> None:
    assert MitmproxyDump().likeness(Head("a", data)) == 0.0


SAMPLES = [(FIXTURES / "mitmdump_11.mitm").read_bytes()[:4000], dump(tflow.tflow(resp=True), tflow.ttcpflow())]


@given(st.data())
@settings(max_examples=200)
def test_changed_bytes_never_break_the_reader(data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    try:
        read(bytes(changed))
    except InputError:
        assert not MitmproxyDump().likeness(Head("a", bytes(changed)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=300)
def test_values_of_the_wrong_kind_skip_the_flow_alone(data: st.DataObject) -> None:
    """Netstrings that are whole, and flows that are nonsense."""
    state = tflow.tflow(resp=True, err=data.draw(st.booleans())).get_state()
    part = state
    while isinstance(part, dict) and part:
        name = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[name], dict) or data.draw(st.booleans()):
            part[name] = data.draw(VALUES)
            break
        part = part[name]
    good = dump(tflow.tflow(resp=True))
    records, skipped = read(good + tnetstring.dumps(state) + good)
    assert len(records) + len(skipped) == 3
    assert len(records) >= 2
