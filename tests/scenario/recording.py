"""A server that answers each planned request as the capture did, and logs what came, and when the system got it.

Run as `python recording.py CAPTURE LOG`; prints its port, and writes the log when it is told to end (SIGTERM).

The log is in nginx's JSON form, so that `replay import` reads it; its `msec` is when the last packet of the request
arrived, by the system's own stamp: what this process was doing then is not in it. Which planned request one is, is told
by the header X-Replay-Request; its number in the capture is the same, unless X-Captured says another.
"""

import gc
import json
import selectors
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import httptools

from replay.capture.store import open_capture
from replay.traffic import Exchange

_KEPT = {"content-type", "location", "set-cookie", "etag", "link"}
_MARK = b"x-replay-request"
_STAMP = 35  # SO_TIMESTAMPNS

Row = tuple[float, bytes, bytes, str, int, int, int]


class Connection:
    """One connection of a client's. Answers are in order, as the client waits for each."""

    count = 0

    def __init__(self, sock: socket.socket, answers: list[bytes], rows: list[Row]) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._answers = answers
        self._rows = rows
        self._parser: Any = httptools.HttpRequestParser(self)
        self._at = 0.0
        self._url, self._mark, self._captured, self._agent = b"", -1, -1, ""
        Connection.count += 1
        self._number = Connection.count

    def read(self) -> bool:
        """Take what came; False where that was the end."""
        data, stamps, _, _ = self.sock.recvmsg(1 << 18, socket.CMSG_SPACE(16))
        for _, kind, stamp in stamps:
            if kind == _STAMP:
                seconds, nanoseconds = struct.unpack("qq", stamp)
                self._at = seconds + nanoseconds / 1e9
        if data:
            self._parser.feed_data(data)
        return bool(data)

    def on_message_begin(self) -> None:
        self._url, self._mark, self._captured, self._agent = b"", -1, -1, ""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == _MARK:
            self._mark = int(value)
        elif name == b"x-captured":
            self._captured = int(value)
        elif name == b"user-agent":
            self._agent = value.decode("latin-1")

    def on_message_complete(self) -> None:
        captured = self._mark if self._captured < 0 else self._captured
        row = (self._at, self._parser.get_method(), self._url, self._agent, self._mark, captured, self._number)
        self._rows.append(row)
        self.sock.setblocking(True)
        self.sock.sendall(self._answers[captured])
        self.sock.setblocking(False)


def answer(exchange: Exchange) -> bytes:
    """The bytes of an exchange's response; an empty success where it had none."""
    response = exchange.response
    status = response.status if response else 200
    body = (response.body if response else None) or b""
    bodiless = status in {204, 304} or exchange.request.method == "HEAD"
    lines = [f"HTTP/1.1 {status} Said"]
    lines += [f"{name}: {value}" for name, value in (response.headers if response else ()) if name.lower() in _KEPT]
    lines += [] if bodiless else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bodiless else body)


def main(capture: Path, log: Path) -> None:
    """Serve until told to end."""
    exchanges = sorted(open_capture(capture).exchanges(), key=lambda exchange: exchange.at)
    answers = [answer(exchange) for exchange in exchanges]
    rows: list[Row] = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.SOL_SOCKET, _STAMP, 1)  # its connections have it from their first packet on
    listening.setblocking(False)
    ending, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(ending, selectors.EVENT_READ)
    gc.collect()
    gc.freeze()
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        ready = [key for key, _ in selector.select()]
        if any(key.fileobj is ending for key in ready):
            break
        for key in ready:
            if key.fileobj is listening:
                sock, _ = listening.accept()
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ, Connection(sock, answers, rows))
            else:
                serve(key.data, selector)
    with log.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(line(row, exchanges)) + "\n" for row in rows)


def serve(connection: Connection, selector: selectors.BaseSelector) -> None:
    """Read and answer; forget the connection where it has ended."""
    try:
        goes_on = connection.read()
    except OSError:
        goes_on = False
    if not goes_on:
        selector.unregister(connection.sock)
        connection.sock.close()


def line(row: Row, exchanges: list[Exchange]) -> dict[str, Any]:
    """A row as nginx would write it, with the numbers of the planned request and of the connection besides."""
    at, method, url, agent, mark, captured, connection = row
    response = exchanges[captured].response
    return {
        "msec": f"{at:.6f}",
        "request_method": method.decode(),
        "request_uri": url.decode("latin-1"),
        "status": response.status if response else 200,
        "remote_addr": "127.0.0.1",
        "connection": connection,
        "request_time": "0.000",
        "http_user_agent": agent,
        "replay_request": mark,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
