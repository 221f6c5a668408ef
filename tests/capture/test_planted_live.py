"""Secrets of every kind in traffic that is recorded live: none of them is on disk at any moment, nor after a crash."""

import contextlib
import http.client
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random, SystemRandom

import psutil
import pytest
from planted import Planted
from planted_files import ADDRESS, ADDRESS_6, MESSAGES, Sent, request_of, sent
from planted_search import held_in, left

from replay.capture.store import open_capture, read_exchanges
from replay.cli.main import run
from replay.traffic import Request

FRESH = 20261125 if os.environ.get("CI") else SystemRandom().randrange(10**9)
PLACES = 3
PIECES = 3


def planted_traffic(seed: int) -> tuple[list[Sent], list[Planted]]:
    """What is known by a name alone stands under that name only in the last piece."""
    found, secrets = sent(MESSAGES, Random(seed), PLACES)  # noqa: S311 - made-up secrets, which a seed gives again
    names = {ADDRESS, ADDRESS_6}
    secrets = [one for one in secrets if one.kind in names or one.kind.listed]
    listed = {one.kind.listed for one in secrets if not one.kind.shows_itself}
    return sorted(
        found, key=lambda one: any(f"{name}=" in _all(one) or f'"{name}"' in _all(one) for name in listed)
    ), secrets


def _all(one: Sent) -> str:
    request, answer = one.exchange.request, one.answer
    return f"{request.query} {request.body or b''!r} {answer.body or b''!r}"


def check(seed: int, secrets: Sequence[Planted], out: Path, *said: str) -> None:
    found = left([*said, *held_in(out)], {"live": secrets})
    assert not found, f"seed {seed}: {len(found)} found, such as:\n" + "\n".join(found[:8])


def whole_request(one: Sent) -> bytes:
    """The request with what its answer would have, for a mirror sees no answers."""
    request, answer = one.exchange.request, one.answer
    headers = (*request.headers, *answer.headers)
    made = Request(request.method, request.host, request.path, request.query, headers, request.body or answer.body)
    return request_of(Sent(type(one.exchange)(*_parts(one, made)), one.address, one.user))


def _parts(one: Sent, request: Request) -> tuple[object, ...]:
    exchange = one.exchange
    return exchange.at, exchange.duration_s, "", "", request, exchange.response, ""


def say(port: int, *requests: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for request in requests:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                received = connection.recv(65536)
                assert received, request
                answer += received


def refused(secrets: Sequence[Planted]) -> Iterator[bytes]:
    """Requests that are not recorded, but told of with their paths."""
    for one in secrets:
        if "\n" not in one.value and " " not in one.value:
            head = f"GET /ws/{one.value}/x?ticket={one.value} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            more = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
            yield (head + more).encode()


@pytest.fixture
def start_mirror(start_capture: Callable) -> Callable:
    return lambda *options, **more: start_capture(None, "--mirror", *options, **more)


def wait_for_segments(out: Path, more_than: int) -> None:
    deadline = time.monotonic() + 20
    while len(list((out / "exchanges").glob("*.parquet"))) <= more_than and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ended", "killed"])
def test_a_mirror(ending, start_mirror, capfd):
    traffic, secrets = planted_traffic(FRESH)
    recorder = start_mirror()
    for one in refused(secrets):
        with contextlib.suppress(OSError):
            say(recorder.port, one)
    size = -(-len(traffic) // PIECES)
    for number, start in enumerate(range(0, len(traffic), size)):
        say(recorder.port, *map(whole_request, traffic[start : start + size]))
        wait_for_segments(recorder.out, number)
        check(FRESH, secrets, recorder.out)
    said = finish(recorder, ending)
    check(FRESH, secrets, recorder.out, said)
    assert sum(1 for _ in read_exchanges(recorder.out, repair=True)) > len(traffic) * 0.7
    assert "/ws/" in (recorder.out / "skipped.jsonl").read_text()
    for option in ([], ["--json"], ["--repair"]):
        run(["inspect", str(recorder.out), *option])
        check(FRESH, secrets, recorder.out, *capfd.readouterr())
    assert sum(1 for _ in open_capture(recorder.out).exchanges()) > len(traffic) * 0.7


def finish(recorder, ending: int) -> str:
    if ending != signal.SIGKILL:
        code, said = recorder.end(ending)
        assert code == 0
        return said
    writer = recorder.writer()
    writer.kill()
    recorder.process.kill()
    said = "".join(recorder.rest())
    psutil.wait_procs([writer], timeout=30)
    return said


class _Answers(BaseHTTPRequestHandler):
    """Answers each request with what was prepared for it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        answer = self.server.answers[int(self.headers["X-Number"])]  # type: ignore[attr-defined]
        body = answer.body or b""
        self.send_response(200)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def answering() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "ending",
    [pytest.param(signal.SIGTERM, id="ended", marks=pytest.mark.slow), pytest.param(signal.SIGKILL, id="killed")],
)
def test_a_proxy(ending, answering, start_capture, capfd):
    traffic, secrets = planted_traffic(FRESH)
    answering.answers = [one.answer for one in traffic]
    recorder = start_capture(f"http://127.0.0.1:{answering.server_port}")
    connection = recorder.connection()
    numbered = list(enumerate(traffic))
    size = -(-len(traffic) // PIECES)
    for piece, start in enumerate(range(0, len(traffic), size)):
        for number, one in numbered[start : start + size]:
            ask(connection, number, one)
        wait_for_segments(recorder.out, piece)
        check(FRESH, secrets, recorder.out)
    said = finish(recorder, ending)
    check(FRESH, secrets, recorder.out, said)
    run(["inspect", str(recorder.out), "--repair"])
    check(FRESH, secrets, recorder.out, *capfd.readouterr())
    kept = list(open_capture(recorder.out).exchanges())
    assert len(kept) > len(traffic) * 0.7
    assert any(one.response and one.response.body for one in kept)


def ask(connection: http.client.HTTPConnection, number: int, one: Sent) -> None:
    request = one.exchange.request
    connection.putrequest(request.method, one.target, skip_host=True, skip_accept_encoding=True)
    pairs = itertools.chain(request.headers, [("X-Forwarded-For", one.address), ("X-Number", str(number))])
    for name, value in [("Host", request.host), *pairs, ("Content-Length", str(len(request.body or b"")))]:
        connection.putheader(name, value)
    connection.endheaders(request.body or b"")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
