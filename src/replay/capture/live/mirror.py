"""The sink of a mirror: answers every request at once with 204 and nothing in it, and records it.

Everything that a client could hold is bounded: headers, bodies, time to arrive, connections.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httptools

from replay.capture.live.copying import Allowance, Copy
from replay.capture.live.feed import Feed
from replay.capture.live.files import BESIDE, allow_open_files
from replay.capture.live.recording import Recording
from replay.capture.live.seen import Seen, authority, place_of

MALFORMED = "not a request that can be understood"
NOT_PLAIN = "TLS or HTTP/2, where a mirror is to send plain HTTP/1"
UPGRADED = "WebSocket or CONNECT, which is not recorded"
BROKEN_OFF = "broke off before it had arrived whole"
TOO_SLOW = "took too long to arrive"
HEADERS_TOO_LARGE = "headers larger than 65536 bytes"
TOO_MANY = "too many connections at once"

_HEAD_LIMIT_BYTES = 65_536
_COPIES_BYTES = 256_000_000
_ARRIVE_LIMIT_S = 30.0
_IDLE_LIMIT_S = 120.0
_SWEEP_S = 1.0
_CONNECTIONS = 4096

_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
_KEEP_ALIVE = b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"  # HTTP/1.0 has to be told
_CLOSE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(recording: Recording, feed: Feed) -> AsyncIterator[str]:
    """Take a mirror's requests as long as the context lasts; gives the address that it listens on."""
    sink = _Sink(feed, recording.body_limit_bytes)
    host, port = recording.listen
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(sink), host, port, backlog=1024)
    sweeping = asyncio.create_task(sink.sweep())
    try:
        bound = server.sockets[0].getsockname()
        yield f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
    finally:
        sweeping.cancel()
        server.close()
        for connection in list(sink.connections):
            connection.abort(BROKEN_OFF)


class _Sink:
    """What all connections share."""

    def __init__(self, feed: Feed, body_limit_bytes: int) -> None:
        self.feed = feed
        self.body_limit_bytes = body_limit_bytes
        self.allowance = Allowance(_COPIES_BYTES)
        self.connections: set[_Connection] = set()
        self.limit = max(1, min(_CONNECTIONS, allow_open_files(_CONNECTIONS + BESIDE) - BESIDE))

    async def sweep(self) -> None:
        """End connections that take too long over a request, or have sent none for long."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now_s = time.time()
            for connection in list(self.connections):
                connection.end_if_late(now_s)


class _Connection(asyncio.Protocol):
    """One connection of a mirror. httptools calls the ``on_`` methods."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._answers: list[bytes] = []
        self._at_s = 0.0  # when the request that is arriving began, 0 between two
        self._last_s = time.time()
        self._is_head = False
        self._head_bytes = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: Copy | None = None

    # What asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or end it where there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a server's connections are
        if len(self._sink.connections) >= self._sink.limit:
            self._sink.feed.skip("a connection", TOO_MANY)
            transport.abort()
            return
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        self._sink.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and answer all requests that ended in it at once."""
        if self._transport is None or self._transport.is_closing():
            return
        self._last_s = time.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._skip(UPGRADED)
            self._close(_BAD_REQUEST)
            return
        except httptools.HttpParserError:
            is_plain = not data.startswith((b"\x16\x03", b"PRI * HTTP/2"))
            self._skip(MALFORMED if is_plain else NOT_PLAIN)
            self._close(_BAD_REQUEST)
            return
        if self._is_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES:
                self._skip(HEADERS_TOO_LARGE)
                self._close(_BAD_REQUEST)
                return
        if self._answers:
            self._transport.write(b"".join(self._answers))
            is_last = self._answers[-1] is _CLOSE
            self._answers.clear()
            if is_last:
                self._transport.close()

    def pause_writing(self) -> None:
        """Who does not read the answers is not read either."""
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The answers were read."""
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Count what had not arrived whole."""
        self._sink.connections.discard(self)
        if self._at_s:
            self._skip(BROKEN_OFF)
        self._transport = None

    # What the sink asks

    def abort(self, reason: str) -> None:
        """End the connection."""
        if self._at_s:
            self._skip(reason)
        if self._transport:
            self._transport.abort()

    def end_if_late(self, now_s: float) -> None:
        """End the connection where its request takes too long, or where there is none for long."""
        since_s, limit_s = (self._at_s, _ARRIVE_LIMIT_S) if self._at_s else (self._last_s, _IDLE_LIMIT_S)
        if now_s - since_s > limit_s:
            self.abort(TOO_SLOW)

    # What the parser tells

    def on_message_begin(self) -> None:
        """A request begins."""
        self._at_s = self._last_s
        self._is_head = True
        self._head_bytes = 0
        self._target = b""
        self._headers = []
        self._body = None

    def on_url(self, piece: bytes) -> None:
        """A piece of the target."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; also a trailer, after a chunked body."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._is_head = False
        if self._transport and any(
            value.lower() == b"100-continue" for name, value in self._headers if name.lower() == b"expect"
        ):
            self._transport.write(b"".join(self._answers) + _CONTINUE)
            self._answers.clear()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if self._body is None:
            self._body = Copy(self._sink.body_limit_bytes, self._sink.allowance)
        self._body(piece)

    def on_message_complete(self) -> None:
        """The request is there: hand it over, and answer."""
        parser, body, headers = self._parser, self._body, tuple(self._headers)
        if parser.should_upgrade():  # the parser says so once more, after this
            return
        host = next((value for name, value in headers if name.lower() == b"host"), b"")
        self._sink.feed.put(
            Seen(
                at_s=self._at_s,
                duration_s=0.0,
                address=self._address,
                connection="",  # it is the mirror's, and says nothing about the client
                method=parser.get_method().decode("latin-1"),
                host=authority(host.decode("latin-1"), "http"),
                target=self._target,
                request_headers=headers,
                request_body=body.take() if body else b"",
                bodies_not_kept=(body.not_kept,) if body and body.not_kept else (),
            )
        )
        self._at_s = 0.0
        self._body = None
        if not parser.should_keep_alive():
            self._answers.append(_CLOSE)
        else:
            self._answers.append(_NO_CONTENT if parser.get_http_version() == "1.1" else _KEEP_ALIVE)

    def _skip(self, reason: str) -> None:
        if self._body:
            self._body.take()
        where = place_of("request for", self._target) if self._target else "a connection"
        self._sink.feed.skip(where, reason)
        self._at_s = 0.0

    def _close(self, answer: bytes) -> None:
        if self._transport:
            self._transport.write(b"".join(self._answers) + answer)
            self._answers.clear()
            self._transport.close()
