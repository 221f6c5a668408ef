import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from replay.scenario.runtime.answer import Answer, NotHttpError
from replay.scenario.runtime.transport import HttpClient, request_bytes
from replay.scenario.schedule import PlannedRequest
from replay.target import parse_target

Plan = Callable[..., PlannedRequest]


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stage")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "stage.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture(scope="module")
def tls_url(certificate: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_tls_is_checked(tls_url: str, certificate: Path, planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = HttpClient(parse_target(tls_url), timeout_s=5).send(planned(0))
    assert "certificate verify failed" in refused.error.lower()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = HttpClient(parse_target(tls_url), timeout_s=5)
    for number in range(2):  # the second on the connection that was kept
        reply = client.send(planned(number))
        assert reply.error == ""
        assert reply.answer
        assert reply.answer.response().body == b"hello"
    client.close()


def test_connections_have_a_limit(planned: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = HttpClient(parse_target(url), timeout_s=0.5, most_connections=2)
        sent = [gevent.spawn(client.send, planned(i, client=f"c{i}")) for i in range(3)]
        gevent.joinall(sent)
        errors = sorted(greenlet.get().error for greenlet in sent)
        assert errors == ["all 2 connections wait for answers", *["no whole answer within 0.5 s"] * 2]
        assert client.send(planned(9)).error == "no whole answer within 0.5 s"  # the others gave their places back


def test_what_is_sent(planned: Plan) -> None:
    request = planned(
        0,
        "/a",
        method="POST",
        query="b=c",
        headers=(
            ("Host", "api.production.example"),
            ("Content-Length", "999"),
            ("Transfer-Encoding", "chunked"),
            ("Accept-Encoding", "br, gzip;q=0.5"),
            ("Content-Encoding", "gzip"),
            ("X-Name", "v\u00e9"),
        ),
        body=b"{}",
    )
    assert request_bytes(parse_target("http://stage:8000/base"), request).decode() == (
        "POST /base/a?b=c HTTP/1.1\r\nHost: stage:8000\r\nAccept-Encoding: gzip;q=0.5\r\nX-Name: v\u00e9\r\n"
        "Content-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize("broken", [{"path": "/a b"}, {"headers": (("x", "a\r\ny: b"),)}, {"path": "/a\r\nx: y"}])
def test_a_request_cannot_break_out_of_its_lines(planned: Plan, broken: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="breaks out"):
        request_bytes(parse_target("http://stage"), planned(0, **{"path": "/", **broken}))


def test_no_path_is_the_root_and_a_star_the_whole_server(planned: Plan) -> None:
    def line(url: str, **more: str) -> bytes:
        return request_bytes(parse_target(url), planned(0, **more)).split(b"\r\n")[0]

    assert line("http://stage", path="") == b"GET / HTTP/1.1"
    assert line("http://stage/base", path="", query="a=b") == b"GET /base/?a=b HTTP/1.1"
    for url in ("http://stage", "http://stage/base"):
        assert line(url, path="*", method="OPTIONS") == b"OPTIONS * HTTP/1.1"


@pytest.mark.parametrize("path", ["http://other.test/", "other", "*"])
def test_a_path_that_could_lead_a_proxy_elsewhere_is_not_sent(planned: Plan, path: str) -> None:
    with pytest.raises(ValueError, match="slash"):
        request_bytes(parse_target("http://stage"), planned(0, path=path))


@pytest.mark.parametrize("name", ["Host ", "Host:", "Host: other.test\t", "", "Transfer-Encoding\x0b"])
def test_a_header_cannot_pose_as_another(planned: Plan, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        request_bytes(parse_target("http://stage"), planned(0, path="/", headers=((name, "other.test"),)))


def test_a_method_is_one_word(planned: Plan) -> None:
    with pytest.raises(ValueError, match="method"):
        request_bytes(parse_target("http://stage"), planned(0, path="/", method="GET http://other.test/"))


@pytest.mark.parametrize("cut", range(1, 60))
def test_an_answer_may_come_in_any_pieces(cut: int) -> None:
    data = (
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n"
    )
    answer = Answer("GET")
    for start in range(0, len(data), cut):
        assert not answer.complete
        answer.feed(data[start : start + cut])
    assert answer.complete
    assert answer.keep_alive
    assert (answer.status, answer.form.shape, answer.size_bytes) == (200, "[number]", 3)


def test_a_head_has_no_body_whatever_it_announces() -> None:
    answer = Answer("HEAD")
    answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
    assert answer.complete
    assert answer.form.shape == "empty"


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_an_answer_that_breaks_off_is_an_error(data: bytes) -> None:
    answer = Answer("GET")
    if data:
        answer.feed(data)
    with pytest.raises(NotHttpError):
        answer.end()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_connection_may_be_there_before_its_request_is_due(planned: Plan) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        clock = Clock()
        client = HttpClient(parse_target(f"http://127.0.0.1:{server.server_port}"), timeout_s=5, clock=clock)
        clock.now = 9.0
        opened = client.open("c1")
        clock.now = 10.0
        data = client.encode(planned(0))
        client.push(opened, data)
        assert opened.pushed == len(data)
        clock.now = 11.0
        reply = client.send(planned(0), data, opened, 10.0)
        assert (reply.sent_s, reply.done_s, reply.error) == (10.0, 11.0, "")
        kept = client.open("c1")
        assert kept.is_used
        client.release("c1", kept)
        assert client.open("c1").connection is kept.connection
        server.shutdown()


def test_a_connection_that_comes_late_is_the_target_s_doing(planned: Plan) -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpClient(parse_target(f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout_s=0.2, clock=clock)
        opened = client.open("c1")
        opened.begun_s, opened.ended_s = 9.0, 12.0
        clock.now = 12.0
        assert client.send(planned(0), None, opened, 10.0).sent_s == 10.0
        opened = client.open("c1")
        opened.begun_s = 11.0  # asked for when it was due already, since an answer came late
        assert client.send(planned(0), None, opened, 10.0).sent_s == 11.0


def test_what_was_never_tried_was_not_sent(planned: Plan) -> None:
    reply = HttpClient(parse_target("http://nowhere.invalid"), timeout_s=1).send(planned(0))
    assert reply.error
    assert (reply.sent_s, reply.done_s) == (None, None)
