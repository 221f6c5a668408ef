"""The proxy in every mode, before upstreams of every kind: each a real `replay capture` before a real server."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from subprocess import DEVNULL

import psutil
import pytest
import uvicorn
import wsproto
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from wsproto.events import AcceptConnection, CloseConnection, Message, Request

from replay.capture.store import open_capture, read_manifest
from replay.traffic import Exchange

CLIENT_USER = 65534  # who is nobody


def only_exchange(out: Path) -> Exchange:
    (exchange,) = open_capture(out).exchanges()
    return exchange


def get(port: int, target: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_regular_proxy_records_any_host(api, start_capture):
    recorder = start_capture(None, "--mode", "regular")
    assert get(recorder.port, f"{api.url}/v2/events/1?page=2")[0] == 200
    other = f"localhost:{api.server_port}"
    assert get(recorder.port, f"http://{other}/v2/events/2")[0] == 200
    assert recorder.end()[0] == 0
    capture = open_capture(recorder.out)
    hosts = {exchange.request.path: exchange.request.host for exchange in capture.exchanges()}
    assert hosts == {"/v2/events/1": f"127.0.0.1:{api.server_port}", "/v2/events/2": other}
    assert capture.manifest.hosts == tuple(sorted(hosts.values()))


@pytest.mark.slow
def test_a_proxy_before_another_proxy(api, start_capture):
    second = start_capture(None, "--mode", "regular")
    first = start_capture(None, "--mode", f"upstream:http://127.0.0.1:{second.port}")
    named = start_capture(f"http://127.0.0.1:{second.port}", "--mode", "upstream")
    assert get(first.port, f"{api.url}/v2/events/1")[0] == 200
    assert get(named.port, f"{api.url}/v2/events/2")[0] == 200
    for recorder, count in ((first, 1), (named, 1), (second, 2)):
        assert recorder.end()[0] == 0
        assert [exchange.request.host for exchange in open_capture(recorder.out).exchanges()] == [
            f"127.0.0.1:{api.server_port}"
        ] * count


def test_a_socks_proxy_records_http_and_passes_the_rest(api, start_capture):
    recorder = start_capture(None, "--mode", "socks5")

    def connect(port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", recorder.port), timeout=20)
        connection.sendall(b"\x05\x01\x00")
        assert connection.recv(2) == b"\x05\x00"
        connection.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + struct.pack(">H", port))
        assert connection.recv(10)[1] == 0
        return connection

    with connect(api.server_port) as connection:
        connection.sendall(b"GET /v2/events/1 HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")
        assert b"/v2/events/1" in b"".join(iter(lambda: connection.recv(65536), b""))
    with socket.create_server(("127.0.0.1", 0)) as server, connect(server.getsockname()[1]) as connection:
        connection.sendall(b"\x00\x01\x02 not HTTP at all")
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(20)
            assert accepted.recv(100) == b"\x00\x01\x02 not HTTP at all"
            accepted.sendall(b"\xff\xfe")
        assert connection.recv(100) == b"\xff\xfe"
    time.sleep(0.2)
    assert recorder.end()[0] == 0
    assert only_exchange(recorder.out).request.host == "api.example.com"
    (source,) = read_manifest(recorder.out).sources
    assert source.skipped == {"not HTTP, which passes and is not recorded": 1}


@contextlib.contextmanager
def as_user(number: int) -> Iterator[None]:
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_transparent_proxy(api, start_capture):
    tables = ["iptables", "-t", "nat"]
    if not shutil.which("iptables") or subprocess.call([*tables, "-L", "-n"], stdout=DEVNULL, stderr=DEVNULL):
        pytest.skip("connections cannot be redirected here: that takes root and iptables")
    recorder = start_capture(None, "--mode", "transparent")
    # Only those of the client: the proxy's own way to the API would lead back to the proxy, without end.
    whose = ["-m", "owner", "--uid-owner", str(CLIENT_USER)]
    there = ["OUTPUT", "-p", "tcp", "-d", "127.0.0.1", "--dport", str(api.server_port)]
    rule = [*there, *whose, "-j", "REDIRECT", "--to-ports", str(recorder.port)]
    subprocess.run([*tables, "-A", *rule], check=True)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", api.server_port, timeout=20)
        with as_user(CLIENT_USER):
            connection.connect()
        connection.request("GET", "/v2/events/1", headers={"Host": "api.example.com"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"path": "/v2/events/1"}')
    finally:
        subprocess.run([*tables, "-D", *rule], check=True)
    assert recorder.end()[0] == 0
    exchange = only_exchange(recorder.out)
    assert exchange.request.host == "api.example.com"
    assert exchange.response.body == b'{"path": "/v2/events/1"}'


# TLS


@pytest.fixture
def tls_api(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An API over TLS whose certificate a private authority signed: its URL, and the authority's certificate."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Our own authority")])

    def certificate(name: x509.Name, public: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(issuer, name, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(
            authority_key, hashes.SHA256()
        )

    authority = tmp_path / "authority.pem"
    pem = serialization.Encoding.PEM
    authority.write_bytes(certificate(issuer, authority_key.public_key(), is_authority=True).public_bytes(pem))
    chain = tmp_path / "server.pem"
    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(private + certificate(server_name, key.public_key(), is_authority=False).public_bytes(pem))

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"over TLS")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", authority
    server.shutdown()
    server.server_close()


def test_an_upstream_of_a_private_authority(tls_api, start_capture):
    url, authority = tls_api
    recorder = start_capture(url, "--upstream-ca", str(authority))
    assert get(recorder.port, "/with-its-certificate") == (200, b"over TLS")
    assert recorder.end()[0] == 0
    assert only_exchange(recorder.out).request.host == url.removeprefix("https://")


def test_an_upstream_that_nobody_vouches_for(tls_api, start_capture):
    url, _ = tls_api
    recorder = start_capture(url)
    assert get(recorder.port, "/without")[0] == 502
    assert recorder.end()[0] == 0
    exchange = only_exchange(recorder.out)
    assert exchange.response is None
    assert "ertificate" in exchange.error
    recorder = start_capture(url, "--insecure")
    assert get(recorder.port, "/anyhow") == (200, b"over TLS")
    code, said = recorder.end()
    assert code == 0
    assert "WARNING: --insecure" in said


def test_clients_over_tls_trust_a_given_authority(api, start_capture, tmp_path):
    folder = tmp_path / "certificates"
    recorder = start_capture(api.url, "--certificates", str(folder))
    context = ssl.create_default_context(cafile=str(folder / "mitmproxy-ca-cert.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", recorder.port, timeout=20, context=context)
    connection.request("GET", "/over-tls")
    assert connection.getresponse().status == 200
    with pytest.raises(ssl.SSLError):
        http.client.HTTPSConnection("127.0.0.1", recorder.port, timeout=20).request("GET", "/distrustful")
    time.sleep(0.2)
    assert recorder.end()[0] == 0
    assert only_exchange(recorder.out).request.path == "/over-tls"
    (source,) = read_manifest(recorder.out).sources
    assert source.skipped == {"no TLS connection came about": 1}


# What flows


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a WebSocket server that sends back what it gets."""

    async def answer(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect:
            pass

    config = uvicorn.Config(Starlette(routes=[WebSocketRoute("/ws", answer)]), port=0, ws="wsproto", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


def test_websockets_pass_and_are_counted(echo, start_capture):
    recorder = start_capture(f"http://127.0.0.1:{echo}")
    speaking = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    with socket.create_connection(("127.0.0.1", recorder.port), timeout=20) as connection:
        heard: list[object] = []

        def hear(kind: type) -> object:
            while not any(isinstance(event, kind) for event in heard):
                speaking.receive_data(connection.recv(65536))
                heard.extend(speaking.events())
            return heard.pop(next(n for n, event in enumerate(heard) if isinstance(event, kind)))

        connection.sendall(speaking.send(Request(host="127.0.0.1", target="/ws?ticket=n0t-to-be-seen-9")))
        hear(AcceptConnection)
        for number in range(50):
            connection.sendall(speaking.send(Message(data=f"s3cret words {number}")))
            assert hear(Message).data == f"s3cret words {number}"
        connection.sendall(speaking.send(CloseConnection(code=1000)))
        hear(CloseConnection)
    assert get(recorder.port, "/plain")[0] == 404
    assert recorder.end()[0] == 0
    assert only_exchange(recorder.out).request.path == "/plain"
    (source,) = read_manifest(recorder.out).sources
    assert (source.read, source.kept) == (2, 1)
    assert source.skipped == {"WebSocket, which passes and is not recorded": 1}
    skipped = json.loads((recorder.out / "skipped.jsonl").read_text())
    assert skipped["where"] == "GET /ws"  # a query may hold a ticket that no pattern would know
    held = b"".join(file.read_bytes() for file in recorder.out.rglob("*") if file.is_file())
    assert b"s3cret words" not in held
    assert b"n0t-to-be-seen-9" not in held


@pytest.fixture
def dripping() -> Iterator[str]:
    """An API that sends the first half of its answer, and the second when it is told to, or without end."""
    go_on = threading.Event()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            if self.path == "/halves":
                self.wfile.write(b"first half,")
                go_on.wait(20)
                self.wfile.write(b" second half")
            else:
                for _ in range(200):
                    self.wfile.write(bytes(1_000_000))

        def do_POST(self) -> None:
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 1_000_000)))
            self.send_response(204)
            self.end_headers()
            go_on.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    go_on.set()
    server.shutdown()
    server.server_close()


def test_nothing_is_held_back_and_memory_is_bounded(dripping, start_capture):
    recorder = start_capture(dripping)
    waiting = recorder.connection()
    waiting.request("GET", "/halves")
    answer = waiting.getresponse()
    assert answer.read(11) == b"first half,"  # while the upstream keeps the rest
    before = psutil.Process(recorder.process.pid).memory_info().rss
    endless = recorder.connection()
    endless.request("GET", "/endless")
    passed = endless.getresponse()
    size_bytes = 0
    while piece := passed.read(1_000_000):
        size_bytes += len(piece)
    assert size_bytes == 200_000_000
    upload = recorder.connection()
    upload.request("POST", "/upload", body=bytes(100_000_000))
    assert upload.getresponse().status == 204
    grown = psutil.Process(recorder.process.pid).memory_info().rss - before
    assert grown < 60_000_000
    assert answer.read() == b" second half"
    assert recorder.end()[0] == 0
    capture = open_capture(recorder.out)
    seen = {exchange.request.path: exchange for exchange in capture.exchanges()}
    assert seen["/halves"].response.body == b"first half, second half"
    assert (seen["/endless"].response.body, seen["/endless"].response.size_bytes) == (None, 200_000_000)
    assert seen["/upload"].request.body is None
    assert capture.manifest.bodies_not_kept == {"larger than 2000000 bytes": 2}


@contextlib.contextmanager
def few_files(count: int) -> Iterator[None]:
    """What is started within may open ``count`` files, unless it allows itself more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_many_clients_at_once(api, start_capture):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000:
        pytest.skip("a process may not open many files here")
    with few_files(256):
        recorder = start_capture(api.url)
    clients = [recorder.connection() for _ in range(200)]  # which takes twice as many files
    for client in clients:
        client.request("GET", "/v2/events/1")
        assert client.getresponse().read() == b'{"path": "/v2/events/1"}'
    for client in clients:
        client.close()
    assert recorder.end()[0] == 0
    assert read_manifest(recorder.out).exchanges == 200


def test_traffic_passes_while_the_writer_is_behind_or_gone(api, start_capture):
    recorder = start_capture(api.url)
    writer = recorder.writer()
    writer.suspend()
    for number in range(50):
        assert get(recorder.port, f"/v2/events/{number}")[0] == 200
    writer.resume()
    time.sleep(1.5)
    writer.kill()
    recorder.wait_for("nothing of it is written: the writer had ended.")
    assert get(recorder.port, "/after")[0] == 200
    recorder.process.send_signal(signal.SIGINT)
    said = recorder.rest()[1]
    assert recorder.process.returncode == 4
    assert "The writer of the capture ended with -9. " in said


def test_the_end_as_json(api, start_capture):
    recorder = start_capture(api.url, "--json", "--client-share", "1", "--duration", "1.5s")
    get(recorder.port, "/v2/events/1")
    document = json.loads(recorder.rest()[0])
    assert recorder.process.returncode == 0
    assert (document["state"], document["exchanges"]) == ("complete", 1)
    assert document["sources"][0]["kept"] == 1
