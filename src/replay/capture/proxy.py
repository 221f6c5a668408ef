"""Recording through mitmproxy as a reverse proxy. The only module of the capture that imports mitmproxy.

Bodies are passed on as they come, never held back, and copied up to a limit on the way. The proxy's loop only hands
finished exchanges to a thread, which decodes, scrubs and writes them.
"""

import asyncio
import logging
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from mitmproxy import http
from mitmproxy.addons import next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.net import encoding
from mitmproxy.options import Options

from replay.capture.clients import client_of
from replay.capture.pseudonyms import Key, fresh_key
from replay.capture.scrub import Scrubber
from replay.capture.store import Capture, CaptureWriter, open_capture
from replay.errors import InputError, ToolError
from replay.target import Target, parse_target
from replay.traffic import Exchange, Headers, Request, Response, Skipped

BODY_LIMIT_BYTES = 2_000_000
_POLL_S = 0.1
_CONNECT_TIMEOUT_S = 5.0
_WAITING_EXCHANGES = 5_000


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record. ``listen`` is an address and a port, where port 0 takes any free one.

    ``environment`` says where ``upstream`` is (production, pre-production, stage...). ``key`` makes the pseudonyms;
    with ``scrub`` off it only names the clients. A body above ``body_limit_bytes`` passes but is not kept.
    """

    upstream: Target
    listen: tuple[str, int]
    out: Path
    environment: str = "production"
    name: str = ""
    scrub: bool = True
    key: Key = field(default_factory=fresh_key)
    body_limit_bytes: int = BODY_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is: where it listens, for how long, and how many exchanges ended."""

    listening: str
    elapsed_s: float
    exchanges: int


def parse_upstream(url: str) -> Target:
    """The upstream of a proxy. Raises InputError where the URL is not one, or has a path, which a proxy cannot add."""
    target = parse_target(url)
    if target.base_path:
        raise InputError(
            f"The upstream {url} has a path.", f"Give {target.scheme}://{target.authority}: clients send the path."
        )
    return target


def parse_listen(text: str) -> tuple[str, int]:
    """``HOST:PORT`` as an address to listen on. Raises InputError where it is not one."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path or parts.query or parts.username:
        raise InputError(f"{text!r} is not an address to listen on.", "Give HOST:PORT, such as 127.0.0.1:8080.")
    return host, port


def record(
    recording: Recording,
    *,
    stop: threading.Event,
    duration_s: float | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Capture:
    """Record until ``stop`` is set or ``duration_s`` is over, then complete the capture and return it.

    ``on_progress`` is called when the proxy listens and about every second from then on. One recording at a time in a
    process (mitmproxy keeps its options in globals); not in a process that locust has patched.

    Raises InputError where ``out`` exists already; ToolError where the upstream does not answer, the address to listen
    on is taken, or the capture cannot be written.
    """
    _check_upstream(recording.upstream)
    scrubber = Scrubber(recording.key) if recording.scrub else None
    # A free port is found before the folder is made, so that a refused recording leaves nothing behind.
    _check_listen(recording.listen)
    host = f"{recording.upstream.host}:{recording.upstream.port}"
    writer = CaptureWriter(
        recording.out,
        environment=recording.environment,
        name=recording.name,
        hosts=[host],
        scrubber=scrubber,
    )
    with writer:
        thread = _WriterThread(writer, recording)
        thread.start()
        try:
            asyncio.run(_serve(recording, thread, stop, duration_s, on_progress))
        finally:
            thread.finish()
        thread.check()
    return open_capture(recording.out)


class _Copy:
    """Passes a body on and keeps a copy of it up to a limit. mitmproxy calls it with each piece."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def __call__(self, piece: bytes) -> bytes:
        self.size_bytes += len(piece)
        if self.size_bytes <= self._limit:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
        return piece

    def body(self) -> bytes | None:
        """The body as sent, or None where it is beyond the limit."""
        return b"".join(self._pieces) if self.size_bytes <= self._limit else None


class _Addon:
    """Copies each flow and hands it over as soon as it has ended."""

    def __init__(self, hand_over: Callable[[http.HTTPFlow | Skipped], None], source: str, body_limit: int) -> None:
        self._hand_over = hand_over
        self._source = source
        self._body_limit = body_limit
        self._under_way: dict[str, http.HTTPFlow] = {}
        self.ended = 0

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self._under_way[flow.id] = flow
        flow.request.stream = _Copy(self._body_limit)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response:
            flow.response.stream = _Copy(self._body_limit)

    def response(self, flow: http.HTTPFlow) -> None:
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self._end(flow)

    def stop(self) -> None:
        """Say which requests were still under way."""
        for flow in self._under_way.values():
            where = f"{flow.request.method} {flow.request.path}"
            self._hand_over(Skipped(self._source, where, "had no answer yet when the recording ended"))
        self._under_way.clear()

    def _end(self, flow: http.HTTPFlow) -> None:
        if self._under_way.pop(flow.id, None) is None:
            return
        if flow.websocket:
            where = f"{flow.request.method} {flow.request.path}"
            self._hand_over(Skipped(self._source, where, "WebSocket, which is not recorded"))
            return
        self.ended += 1
        self._hand_over(flow)


class _WriterThread(threading.Thread):
    """Decodes, scrubs and writes what the proxy hands over. The queue is bounded: a slow disk slows the proxy."""

    def __init__(self, writer: CaptureWriter, recording: Recording) -> None:
        super().__init__(name="capture writer", daemon=True)
        self._writer = writer
        self._recording = recording
        self.source = f"mitmproxy before {recording.upstream.url}"
        self._queue: queue.Queue[http.HTTPFlow | Skipped | None] = queue.Queue(_WAITING_EXCHANGES)
        self.failure: Exception | None = None

    def hand_over(self, item: http.HTTPFlow | Skipped) -> None:
        """Give it a flow that ended, or what was skipped."""
        self._queue.put(item)

    def finish(self) -> None:
        """Wait until all that was handed over is written."""
        self._queue.put(None)
        self.join()

    def check(self) -> None:
        """Raise ToolError where something could not be written."""
        if self.failure:
            raise ToolError(
                f"The capture could not be written: {type(self.failure).__name__}: {self.failure}.",
                f"`replay inspect {self._recording.out}` shows what can be saved of it.",
            ) from self.failure

    def run(self) -> None:
        """Write until the end. After a failure it only empties the queue, so that the proxy can end in order."""
        while True:
            try:
                item = self._queue.get(timeout=0.25)
            except queue.Empty:
                self._try(self._writer.flush_if_due)
                continue
            if item is None:
                return
            self._try(lambda item=item: self._write(item))  # type: ignore[misc]

    def _try(self, act: Callable[[], None]) -> None:
        if self.failure:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - told by check(), in the thread that can act on it
            self.failure = error

    def _write(self, item: http.HTTPFlow | Skipped) -> None:
        if isinstance(item, Skipped):
            self._writer.skip(item)
        else:
            self._writer.add(self._exchange(item), self.source)

    def _exchange(self, flow: http.HTTPFlow) -> Exchange:
        request = self._request(flow.request)
        whole = flow.response if flow.response and not flow.error else None
        ended = (whole.timestamp_end if whole else flow.error.timestamp if flow.error else None) or time.time()
        address = flow.client_conn.peername[0] if flow.client_conn.peername else ""
        return Exchange(
            at=datetime.fromtimestamp(flow.request.timestamp_start, UTC),
            duration_s=max(0.0, ended - flow.request.timestamp_start),
            client=client_of(request, address, self._recording.key),
            connection=flow.client_conn.id,
            request=request,
            response=self._response(whole) if whole else None,
            error=flow.error.msg if flow.error else "",
        )

    def _request(self, request: http.Request) -> Request:
        path, _, query = _percent_encoded(request.path).partition("?")
        headers = _headers(request.headers)
        body = self._body(request.stream, request.headers.get("content-encoding"))
        if request.headers.get("content-encoding"):  # the body is kept decoded, and is replayed so
            headers = tuple((name, value) for name, value in headers if name.lower() != "content-encoding")
        host = f"{self._recording.upstream.host}:{self._recording.upstream.port}"
        return Request(request.method, host, path, query, headers, body or None)

    def _response(self, response: http.Response) -> Response:
        copy = response.stream
        size_bytes = copy.size_bytes if isinstance(copy, _Copy) else 0
        body = self._body(copy, response.headers.get("content-encoding"))
        return Response(response.status_code, _headers(response.headers), body, size_bytes)

    def _body(self, copy: object, content_encoding: str | None) -> bytes | None:
        body = copy.body() if isinstance(copy, _Copy) else b""
        if body is None:
            self._writer.body_not_kept(f"larger than {self._recording.body_limit_bytes} bytes")
            return None
        if not body or not content_encoding:
            return body
        try:
            decoded = encoding.decode(body, content_encoding.strip().lower())
        except ValueError:
            decoded = None
        if not isinstance(decoded, bytes):
            self._writer.body_not_kept("in an encoding that cannot be decoded")
            return None
        if len(decoded) > self._recording.body_limit_bytes:
            self._writer.body_not_kept(f"larger than {self._recording.body_limit_bytes} bytes")
            return None
        return decoded


async def _serve(
    recording: Recording,
    thread: _WriterThread,
    stop: threading.Event,
    duration_s: float | None,
    on_progress: Callable[[Progress], None],
) -> None:
    logging.getLogger("mitmproxy").propagate = False
    logging.getLogger("mitmproxy").addHandler(logging.NullHandler())
    upstream = recording.upstream
    host, port = recording.listen
    addon = _Addon(thread.hand_over, thread.source, recording.body_limit_bytes)
    server = proxyserver.Proxyserver()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory(prefix="replay-proxy-") as certificates:
        options = Options(
            mode=[f"reverse:{upstream.scheme}://{upstream.authority}"],
            listen_host=host,
            listen_port=port,
            confdir=certificates,
        )
        master = Master(options)
        master.addons.add(server, next_layer.NextLayer(), tlsconfig.TlsConfig(), addon)  # type: ignore[no-untyped-call]
        # A request must be read before its upstream is found to be gone, else nothing could be recorded of it.
        options.update(connection_strategy="lazy")  # type: ignore[no-untyped-call]
        running = asyncio.create_task(master.run())
        try:
            listening = await _listening(server, running, recording.listen)
            await _until(
                lambda: stop.is_set() or thread.failure is not None,
                duration_s,
                lambda elapsed_s: on_progress(Progress(listening, elapsed_s, addon.ended)),
            )
        finally:
            addon.stop()
            master.shutdown()  # type: ignore[no-untyped-call]
            await running
            # From here on the loop only cancels what is open, and would say so for each connection.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)


async def _listening(server: proxyserver.Proxyserver, running: asyncio.Task[None], listen: tuple[str, int]) -> str:
    while not server.is_running and not running.done():
        await asyncio.sleep(0.01)
    addresses = server.listen_addrs()
    if not addresses:
        raise _taken(listen, next((instance.last_exception for instance in server.servers), None))
    host, port = addresses[0][0], addresses[0][1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _until(is_over: Callable[[], bool], duration_s: float | None, tell: Callable[[float], None]) -> None:
    started = time.monotonic()
    told_s = -1.0
    while not is_over():
        elapsed_s = time.monotonic() - started
        if duration_s is not None and elapsed_s >= duration_s:
            return
        if elapsed_s - told_s >= 1.0:
            told_s = elapsed_s
            tell(elapsed_s)
        await asyncio.sleep(_POLL_S)


def _check_upstream(upstream: Target) -> None:
    try:
        socket.create_connection((upstream.host, upstream.port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ToolError(
            f"The upstream {upstream.url} does not answer: {error.strerror or error}.",
            "Start it first, or check --upstream.",
        ) from error


def _check_listen(listen: tuple[str, int]) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(*listen, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise _taken(listen, error) from error


def _taken(listen: tuple[str, int], error: BaseException | None) -> ToolError:
    reason = getattr(error, "strerror", None) or error or "unknown"
    return ToolError(
        f"The proxy cannot listen on {listen[0]}:{listen[1]}: {reason}.", "Give another port with --listen."
    )


def _headers(headers: http.Headers) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in headers.fields)


def _percent_encoded(path: str) -> str:
    """The path with bytes that should not stand in one encoded; what was encoded stays as it is."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="".join(map(chr, range(0x21, 0x7F))))
