"""A real API to record, and `replay capture` in front of it as a process of its own."""

import gzip
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for planted


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b'{"items":', b"[1,2,", b"3]}"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/gzip":
            self.answer(200, gzip.compress(b'{"zipped": true}'), encoding="gzip")
        elif self.path == "/unknown-encoding":
            self.answer(200, b"token=unreadable-s3cret", encoding="zip-it-like-nobody")
        elif self.path == "/large":
            self.answer(200, b"x" * 3_000_000)
        elif self.path == "/fails":
            self.answer(500, b'{"error": "broken"}')
        elif self.path == "/breaks-off":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.wfile.flush()
            self.close_connection = True
        elif self.path.startswith("/slow"):
            self.server.leave.wait(20)
            self.answer(200, b"{}")
        else:
            self.answer(200, json.dumps({"path": self.path}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/oauth/token":
            form = parse_qs(body.decode())
            token = {"access_token": self.server.tokens[form["client_id"][0]], "token_type": "Bearer"}
            self.answer(200, json.dumps(token).encode())
        else:
            self.answer(201, body)

    def answer(self, status: int, body: bytes, encoding: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)


class ApiServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.tokens: dict[str, str] = {}
        self.leave = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.leave.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.stop()


@dataclass
class Recorder:
    """A running `replay capture`."""

    process: subprocess.Popen[str]
    port: int
    out: Path

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; the exit code and what was said. Waits until the writer has ended too."""
        writers = psutil.Process(self.process.pid).children()
        self.process.send_signal(number)
        said = self.rest()[1]
        psutil.wait_procs(writers, timeout=30)
        return self.process.returncode, said

    def rest(self) -> tuple[str, str]:
        """What it prints and says from here to its end; it is killed after a minute."""
        assert self.process.stdout
        assert self.process.stderr
        killing = threading.Timer(60, self.process.kill)
        killing.start()
        # communicate() would miss what the first lines' reader has read beyond them.
        with ThreadPoolExecutor(1) as pool:
            printed = pool.submit(self.process.stdout.read)
            said = self.process.stderr.read()
        self.process.wait()
        killing.cancel()
        return printed.result(), said

    def writer(self) -> psutil.Process:
        """The process that writes."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def wait_for(self, words: str) -> None:
        """Read what it says until ``words`` are among it."""
        assert self.process.stderr
        while line := self.process.stderr.readline():
            if words in line:
                return
        raise AssertionError(f"it never said {words!r}")


@pytest.fixture
def start_capture(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    started: list[subprocess.Popen[str]] = []

    def start(upstream: str | None, *options: str, out: Path | None = None) -> Recorder:
        out = out or tmp_path / "captures" / f"capture{len(started)}"
        command = [sys.executable, "-m", "replay", "capture", "--listen", "127.0.0.1:0", "--out", str(out), *options]
        if upstream:
            command += ["--upstream", upstream]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr
        line = process.stderr.readline()
        found = re.search(r"Recording http://127\.0\.0\.1:(\d+)", line)
        assert found, line + process.stderr.read()
        return Recorder(process, int(found[1]), out)

    yield start
    for process in started:
        writers = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.communicate(timeout=10)
        for writer in psutil.wait_procs(writers, timeout=10)[1]:
            writer.kill()
