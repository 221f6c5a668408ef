"""The sink of a mirror: a real `replay capture --mirror`, spoken to over plain sockets."""

import contextlib
import getpass
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.capture.store import open_capture, read_exchanges, read_manifest

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"


@pytest.fixture
def start_mirror(start_capture: Callable) -> Callable:
    return lambda *options, **more: start_capture(None, "--mirror", *options, **more)


def say(port: int, *pieces: bytes, until: bytes = b"", pause_s: float = 0.0) -> bytes:
    """Send pieces over one connection; what is answered until it is closed, or until ``until`` is the end of it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        with contextlib.suppress(ConnectionResetError):
            while not (until and answer.endswith(until)) and (received := connection.recv(65536)):
                answer += received
    return answer


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: api.example.com", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(connection: http.client.HTTPConnection, size_bytes: int) -> None:
    connection.request("POST", "/upload", body=secrets.token_bytes(size_bytes))
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (204, b"")


def test_every_request_is_answered_at_once_and_recorded(start_mirror):
    recorder = start_mirror("--environment", "production", "--name", "copied")
    before = time.time()
    pipelined = get("/v2/events/1?page=2") + get("/v2/events/2", "Connection: close")
    assert say(recorder.port, pipelined).count(NO_CONTENT) == 2
    connection = recorder.connection()
    for number in range(3):
        body = json.dumps({"number": number})
        connection.request("POST", "/v2/orders", body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
    chunked = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert say(recorder.port, chunked, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n", pause_s=0.05).startswith(NO_CONTENT)
    old = say(recorder.port, b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n")
    assert b"Connection: close" in old
    kept = say(
        recorder.port, b"GET /kept HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", until=b"keep-alive\r\n\r\n"
    )
    assert kept.startswith(NO_CONTENT)
    code, said = recorder.end()
    assert code == 0
    assert "8 exchanges" in said

    capture = open_capture(recorder.out)
    assert [(s.name, s.read, s.kept, s.skipped) for s in capture.manifest.sources] == [("mirror", 8, 8, {})]
    exchanges = list(capture.exchanges())
    seen = {exchange.request.path: exchange for exchange in exchanges}
    first = seen["/v2/events/1"]
    assert (first.request.method, first.request.host, first.request.query) == ("GET", "api.example.com", "page=2")
    assert (first.response, first.error, first.duration_s, first.connection) == (None, "", 0.0, "")
    assert all(before - 1 < exchange.at.timestamp() < time.time() for exchange in exchanges)
    orders = [exchange for exchange in exchanges if exchange.request.path == "/v2/orders"]
    assert [json.loads(order.request.body) for order in orders] == [{"number": number} for number in range(3)]
    assert seen["/chunked"].request.body == b"abcde"
    assert seen["/chunked"].request.header("transfer-encoding") is None


def test_the_client_s_own_request_is_recorded(start_mirror):
    recorder = start_mirror("--scrub", "off")
    say(
        recorder.port,
        get("/mirror", "X-Original-Host: Shop.example.com", "X-Original-URI: /a%20b?q=1", "X-Request-ID: r1")
        + get("http://abs.example.com/absolute?q=2", "X-Forwarded-For: 192.0.2.7")
        + get("/last", "X-Original-Connection: 17", "Connection: close"),
    )
    say(recorder.port, b"GET /e HTTP/1.0\r\nHost: orders-shadow:8080\r\nX-Envoy-Internal: true\r\n\r\n")
    say(recorder.port, b"GET /n HTTP/1.0\r\nHost: orders-shadow\r\n\r\n")
    assert recorder.end()[0] == 0
    seen = {exchange.request.path: exchange for exchange in open_capture(recorder.out).exchanges()}
    original = seen["/a%20b"].request
    assert (original.host, original.query) == ("shop.example.com", "q=1")
    assert original.header("x-request-id") == "r1"
    assert original.header("x-original-uri") is None
    assert seen["/absolute"].request.query == "q=2"
    assert seen["/last"].connection == "17"
    assert seen["/e"].request.host == "orders:8080"
    assert seen["/n"].request.host == "orders-shadow"


def test_what_is_no_request_is_counted(start_mirror):
    recorder = start_mirror()
    assert b"400" in say(recorder.port, b"\x00\x01 nonsense\r\n\r\n")
    assert b"400" in say(recorder.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50))
    assert b"400" in say(recorder.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="]
    assert b"400" in say(recorder.port, get("/ws?token=n0t-to-be-seen-9", *upgrade))
    assert b"400" in say(recorder.port, b"GET / HTTP/1.1\r\n", *[b"X-A: " + b"a" * 30_000 + b"\r\n"] * 3, pause_s=0.05)
    with socket.create_connection(("127.0.0.1", recorder.port)) as connection:
        connection.sendall(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        time.sleep(0.3)
    open_end = socket.create_connection(("127.0.0.1", recorder.port))
    open_end.sendall(b"GET /never")
    time.sleep(0.3)
    code, said = recorder.end(signal.SIGTERM)
    open_end.close()
    assert code == 0
    assert "Traceback" not in said
    (source,) = read_manifest(recorder.out).sources
    assert (source.read, source.kept) == (7, 0)
    assert source.skipped == {
        "not a request that can be understood": 1,
        "TLS or HTTP/2, where a mirror is to send plain HTTP/1": 2,
        "WebSocket or CONNECT, which is not recorded": 1,
        "headers larger than 65536 bytes": 1,
        "broke off before it had arrived whole": 2,
    }
    assert "n0t-to-be-seen-9" not in (recorder.out / "skipped.jsonl").read_text()


def test_large_bodies_pass_and_are_counted(start_mirror):
    recorder = start_mirror()
    connection = recorder.connection()
    connection.request("POST", "/large", body=bytes(3_000_000))
    assert connection.getresponse().read() == b""
    head = b"POST /asks HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", recorder.port), timeout=20) as asking:
        asking.sendall(head)
        assert asking.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        asking.sendall(b"body")
        assert asking.recv(1000).startswith(NO_CONTENT)
    recorder.end()
    capture = open_capture(recorder.out)
    seen = {exchange.request.path: exchange.request for exchange in capture.exchanges()}
    assert seen["/large"].body is None
    assert seen["/asks"].body == b"body"
    assert seen["/asks"].header("expect") is None
    assert capture.manifest.bodies_not_kept == {"larger than 2000000 bytes": 1}


def test_a_share_of_the_clients_is_recorded_wholly(start_mirror):
    recorder = start_mirror("--client-share", "0.3", "--json")
    connection = recorder.connection()
    clients = [f"192.0.2.{number}" for number in range(60)]
    for _ in range(3):
        for client in clients:
            connection.request("GET", "/", headers={"X-Forwarded-For": client})
            connection.getresponse().read()
    recorder.process.send_signal(signal.SIGINT)
    document = json.loads(recorder.rest()[0])
    (source,) = document["sources"]
    taken = [exchange.client for exchange in open_capture(recorder.out).exchanges()]
    assert 0 < len(set(taken)) < 45
    assert {taken.count(client) for client in taken} == {3}
    assert (source["read"], source["kept"], source["left_out"]) == (
        180,
        len(taken),
        {"--client-share": 180 - len(taken)},
    )


# nginx before it


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable]:
    """A real nginx with the configuration of docs/capturing.md, before an API and a sink: its port and its process."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        pytest.skip("nginx is not installed")
    started: list[subprocess.Popen] = []

    def start(api_port: int, sink_port: int) -> tuple[int, subprocess.Popen]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        page = (Path(__file__).parents[2] / "docs" / "capturing.md").read_text()
        server = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)[1]
        for theirs, ours in (
            ("10.0.0.5:8000", f"127.0.0.1:{api_port}"),
            ("10.0.0.6:9090", f"127.0.0.1:{sink_port}"),
            ("listen 80", f"listen 127.0.0.1:{port}"),
            ("/var/log/nginx/replay.log", f"{tmp_path}/access.log"),
        ):
            assert server.count(theirs) == 1
            server = server.replace(theirs, ours)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
        head = f"user {getpass.getuser()}; daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;\n"
        file = tmp_path / "nginx.conf"
        file.write_text(f"{head}events {{}}\nhttp {{\n{folders}{server}}}\n")
        nginx = subprocess.Popen([program, "-e", f"{tmp_path}/error.log", "-c", str(file)], stderr=subprocess.DEVNULL)
        started.append(nginx)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return port, nginx
            time.sleep(0.05)
        raise AssertionError((tmp_path / "error.log").read_text())

    yield start
    for nginx in started:
        nginx.terminate()
        nginx.wait(20)


def send_through(port: int, address: str, bodies: dict[str, bytes]) -> None:
    """One client's requests over one connection; each body is sent in one piece, and in chunks where it is odd."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(address, 0))
    for target, body in bodies.items():
        pieces = [body[:100], body[100:]] if len(body) % 2 else body
        headers = {"Host": "shop.example.com", "Content-Type": "application/octet-stream"}
        connection.request("POST" if body else "GET", target, body=pieces or None, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (201 if body else 200)
    connection.close()


def test_nginx_mirrors_every_request_with_its_client_and_its_id(start_mirror, start_nginx, api, tmp_path):
    recorder = start_mirror("--scrub", "off")
    port, nginx = start_nginx(api.server_port, recorder.port)
    sizes = (0, 40, 301, 0, 20_000, 150_001, 0)  # the larger ones go through a file of nginx
    sent = {
        f"127.0.0.{client}": {
            f"/v2/a%20b/{client}-{number}?q=x%2Fy&n={number}": secrets.token_bytes(size)
            for number, size in enumerate(sizes * 4)
        }
        for client in range(2, 8)
    }
    with ThreadPoolExecutor(len(sent)) as clients:
        list(clients.map(lambda address: send_through(port, address, sent[address]), sent))
    nginx.send_signal(signal.SIGQUIT)  # what is under way is ended, and logged
    nginx.wait(20)
    assert recorder.end()[0] == 0

    expected = {(target, address): body for address, bodies in sent.items() for target, body in bodies.items()}
    exchanges = list(open_capture(recorder.out).exchanges())
    seen = {(f"{e.request.path}?{e.request.query}", e.request.header("x-forwarded-for")): e for e in exchanges}
    assert len(exchanges) == len(seen) == len(expected)
    assert {key: exchange.request.body or b"" for key, exchange in seen.items()} == expected
    assert {exchange.request.host for exchange in exchanges} == {"shop.example.com"}
    assert all(exchange.request.method == ("POST" if expected[key] else "GET") for key, exchange in seen.items())
    assert len({exchange.client for exchange in exchanges}) == len(sent)
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    logged = {line["request_id"]: (line["request_uri"], line["remote_addr"], line["connection"]) for line in lines}
    assert len(logged) == len(lines) == len(expected)
    assert {e.request.header("x-request-id"): (*key, e.connection) for key, e in seen.items()} == logged


def test_nginx_serves_on_without_the_sink(start_mirror, start_nginx, api):
    recorder = start_mirror()
    port, _ = start_nginx(api.server_port, recorder.port)
    send_through(port, "127.0.0.1", {"/before": b""})
    assert recorder.end(signal.SIGKILL)[0] == -signal.SIGKILL
    send_through(port, "127.0.0.1", {f"/after/{number}": b"x" * number for number in range(20)})


# When it cannot be written


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size=2m tmpfs '{folder}' 2>/dev/null"):  # noqa: S605 - the path is ours
        pytest.skip("a small file system cannot be mounted here: that takes root")
    yield folder
    os.system(f"umount -l '{folder}'")  # noqa: S605


def test_a_full_disk_holds_nobody_up(start_mirror, small_disk):
    recorder = start_mirror("--scrub", "off", out=small_disk / "capture")
    connection = recorder.connection()
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            post(connection, 100_000)
            sent += 1

    send(60)
    recorder.wait_for("Traffic goes on, but nothing of it is written: the disk was full.")
    send(5)
    time.sleep(0.5)
    assert not os.system(f"mount -o remount,size=100m '{small_disk}'")  # noqa: S605
    recorder.wait_for("Written again.")
    send(7)
    code, said = recorder.end()
    assert code == 0, said
    assert "the disk was full" in said
    manifest = read_manifest(recorder.out)
    assert manifest.lacking["the disk was full"] >= 5
    assert manifest.exchanges >= 7
    assert manifest.exchanges + sum(manifest.lacking.values()) == sent
    assert len(list(open_capture(recorder.out).exchanges())) == manifest.exchanges


def test_a_disk_that_stays_full_is_said(start_mirror, small_disk):
    recorder = start_mirror("--scrub", "off", out=small_disk / "capture")
    connection = recorder.connection()
    for _ in range(60):
        post(connection, 100_000)
    recorder.wait_for("nothing of it is written: the disk was full.")
    code, said = recorder.end()
    assert code == 4
    assert "could not be completed: No space left on device." in said
    lacking = re.search(r"(\d+) exchanges lack\.", said)
    assert lacking
    assert int(lacking[1]) + len(list(read_exchanges(recorder.out, repair=True))) == 60


def test_a_writer_that_falls_behind_holds_nobody_up(start_mirror):
    recorder = start_mirror()
    writer = recorder.writer()
    writer.suspend()
    connection = recorder.connection()
    for _ in range(60):
        post(connection, 1_900_000)
    writer.resume()
    time.sleep(1.0)
    connection.request("GET", "/after")
    assert connection.getresponse().status == 204
    code, said = recorder.end()
    assert code == 0
    assert "LACKING" in said
    manifest = read_manifest(recorder.out)
    assert set(manifest.lacking) == {"the writer was behind"}
    assert 20 < manifest.lacking["the writer was behind"] < 40
    assert manifest.exchanges + manifest.lacking["the writer was behind"] == 61
    assert list(open_capture(recorder.out).exchanges())[-1].request.path == "/after"


def test_traffic_outlives_the_writer(start_mirror):
    recorder = start_mirror()
    connection = recorder.connection()
    connection.request("GET", "/before")
    assert connection.getresponse().read() == b""
    recorder.writer().kill()
    recorder.wait_for("nothing of it is written: the writer had ended.")
    for _ in range(5):
        connection.request("GET", "/after")
        assert connection.getresponse().read() == b""
    recorder.process.send_signal(signal.SIGINT)
    said = recorder.rest()[1]
    assert recorder.process.returncode == 4
    assert "The writer of the capture ended with -9." in said
    lacking = re.search(r"(\d+) exchanges lack\.", said)
    assert lacking
    assert int(lacking[1]) + len(list(read_exchanges(recorder.out, repair=True))) == 6


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_are_survived(data, any_mirror):
    pieces = data.draw(
        st.lists(
            st.sampled_from(
                [b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"Content-Length: 3\r\n", b"abc", b"HTTP/1.0\r\n"]
            )
            | st.binary(max_size=40),
            max_size=12,
        )
    )
    with socket.create_connection(("127.0.0.1", any_mirror), timeout=20) as one, contextlib.suppress(OSError):
        one.sendall(b"".join(pieces))
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", any_mirror, timeout=20)) as other:
        other.request("GET", "/")
        assert other.getresponse().status == 204


@pytest.fixture
def any_mirror(start_mirror: Callable) -> Iterator[int]:
    recorder = start_mirror()
    yield recorder.port
    assert recorder.end()[0] == 0  # the writer has survived them too
