"""The proxy that records, mitmproxy's. The only module of a live capture that imports it.

Bodies are passed on as they come, never held back, and copied up to a limit on the way. The loop copies bytes and
nothing else: decoding, scrubbing and writing are the writer's.
"""

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mitmproxy import http, tcp, udp
from mitmproxy.addons import disable_h2c, next_layer, proxyserver, tlsconfig
from mitmproxy.connection import Client
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import mode_specs
from mitmproxy.tls import TlsData

from replay.capture.live.copying import Allowance, Copy
from replay.capture.live.feed import Feed
from replay.capture.live.files import BESIDE, allow_open_files
from replay.capture.live.recording import Proxy, Recording
from replay.capture.live.seen import Seen, authority, place_of
from replay.errors import InputError, ToolError

MODES = ("reverse", "upstream", "transparent", "socks5", "regular")
NOT_HTTP = "not HTTP, which passes and is not recorded"
UPGRADED = "WebSocket, which passes and is not recorded"
NO_ANSWER_YET = "had no answer yet when the recording ended"
NEVER_ENDED = "ended without an answer or an error"
NO_TLS = "no TLS connection came about"
_ANSWERED_EARLY = "answered before it was sent whole"
_COPIES_BYTES = 256_000_000
_CONNECTIONS = 8192  # each client's takes another to the upstream


def mode_spec(proxy: Proxy) -> str:
    """The mode as mitmproxy reads it: ``reverse:http://127.0.0.1:8000``.

    Raises InputError where it is none of MODES, or says too little or too much.
    """
    mode, upstream = proxy.mode, proxy.upstream
    if upstream and mode in {"reverse", "upstream"}:
        mode = f"{mode}:{upstream.scheme}://{upstream.authority}"
    elif upstream:
        raise InputError(f"--upstream is of no use with --mode {mode}.", "Leave one of them out.")
    elif mode == "reverse":
        raise InputError("A reverse proxy stands before an API.", "Say which with --upstream URL.")
    try:
        parsed = mode_specs.ProxyMode.parse(mode)
    except ValueError as error:
        raise InputError(f"{mode!r} is not a mode of the proxy: {error}.", f"Modes: {', '.join(MODES)}.") from error
    if parsed.type_name not in MODES or getattr(parsed, "scheme", "http") not in {"http", "https"}:
        raise InputError(f"The proxy does not record in mode {mode!r}.", f"Modes: {', '.join(MODES)}, over HTTP.")
    if parsed.custom_listen_port is not None:
        raise InputError(f"The mode {mode!r} says where to listen.", "Say that with --listen instead.")
    return mode


def upstream_of(proxy: Proxy) -> tuple[str, str, int] | None:
    """The scheme, host and port of what the proxy always sends to: an API, or another proxy. None where there is none.

    Raises InputError as ``mode_spec`` does.
    """
    mode = mode_specs.ProxyMode.parse(mode_spec(proxy))
    if not isinstance(mode, mode_specs.ReverseMode | mode_specs.UpstreamMode):
        return None
    return mode.scheme, mode.address[0], mode.address[1]


def fixed_host(proxy: Proxy) -> str:
    """The host of every exchange, where it is a reverse proxy's; empty where each request says its own."""
    upstream = upstream_of(proxy) if proxy.mode.startswith("reverse") else None
    if not upstream:
        return ""
    scheme, host, port = upstream
    return authority(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", scheme)


@contextlib.asynccontextmanager
async def serving(recording: Recording, proxy: Proxy, feed: Feed) -> AsyncIterator[str]:
    """Proxy as long as the context lasts; gives the address that it listens on.

    Raises ToolError where it cannot listen, InputError where an option is not one that mitmproxy takes.
    """
    allow_open_files(_CONNECTIONS + BESIDE)
    logging.getLogger("mitmproxy").propagate = False
    logging.getLogger("mitmproxy").addHandler(logging.NullHandler())
    recorder = Recorder(feed, fixed_host(proxy), recording.body_limit_bytes)
    server = proxyserver.Proxyserver()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory(prefix="replay-proxy-") as temporary:
        master = Master(_options(recording, proxy, Path(temporary)))
        addons: list[Any] = [server, next_layer.NextLayer(), tlsconfig.TlsConfig(), disable_h2c.DisableH2C(), recorder]
        try:
            master.addons.add(*addons)  # type: ignore[no-untyped-call]
            # A request must be read before its upstream is found to be gone, else nothing could be recorded of it.
            # WebSockets are passed on as bytes: taken apart, each of their messages would be held until it is whole.
            master.options.update(connection_strategy="lazy", websocket=False)  # type: ignore[no-untyped-call]
        except OptionsError as error:
            raise InputError(f"The proxy cannot be set up so: {error}.") from error
        running = asyncio.create_task(master.run())
        try:
            yield await _listening(server, running, recording.listen)
        finally:
            recorder.end()
            master.shutdown()  # type: ignore[no-untyped-call]
            await running
            # From here on the loop only cancels what is open, and would say so for each connection.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)


def _options(recording: Recording, proxy: Proxy, temporary: Path) -> Options:
    host, port = recording.listen
    options = Options(
        mode=[mode_spec(proxy)],
        listen_host=host,
        listen_port=port,
        ssl_insecure=proxy.insecure,
        ssl_verify_upstream_trusted_ca=str(proxy.upstream_ca) if proxy.upstream_ca else None,
    )
    # Clients of a reverse proxy know its own name or do not ask; those of the others were told to trust an authority.
    if proxy.certificates or proxy.mode.startswith("reverse"):
        options.confdir = str(proxy.certificates or temporary)
    return options


class Recorder:
    """The addon: copies each flow, and hands it over as soon as it has ended."""

    def __init__(self, feed: Feed, host: str, body_limit_bytes: int) -> None:
        self._feed = feed
        self._host = host
        self._body_limit_bytes = body_limit_bytes
        self._allowance = Allowance(_COPIES_BYTES)
        self._under_way: dict[str, dict[str, http.HTTPFlow]] = {}  # by client connection, then by flow
        self._upgraded: set[str] = set()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request begins."""
        self._under_way.setdefault(flow.client_conn.id, {})[flow.id] = flow
        flow.request.stream = Copy(self._body_limit_bytes, self._allowance)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """A response begins."""
        if flow.response:
            flow.response.stream = Copy(self._body_limit_bytes, self._allowance)

    def response(self, flow: http.HTTPFlow) -> None:
        """A response has ended."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """An exchange broke off."""
        self._end(flow)

    def client_disconnected(self, client: Client) -> None:
        """A client has left; what it still had under way was told before."""
        self._upgraded.discard(client.id)
        for flow in self._under_way.pop(client.id, {}).values():
            self._skip(flow, NEVER_ENDED)

    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """What is not HTTP passes as bytes."""
        if flow.client_conn.id not in self._upgraded:
            self._feed.skip("a connection", NOT_HTTP)

    def udp_start(self, _flow: udp.UDPFlow) -> None:
        """What is not HTTP passes as bytes."""
        self._feed.skip("a connection", NOT_HTTP)

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Bytes pass, and mitmproxy is kept from remembering them."""
        flow.messages.clear()

    def udp_message(self, flow: udp.UDPFlow) -> None:
        """Bytes pass, and mitmproxy is kept from remembering them."""
        flow.messages.clear()

    def tls_failed_client(self, _data: TlsData) -> None:
        """A client does not trust the proxy's certificate, or speaks no TLS that it knows."""
        self._feed.skip("a client's connection", NO_TLS)

    def end(self) -> None:
        """Say which requests are still under way."""
        for flows in self._under_way.values():
            for flow in flows.values():
                self._skip(flow, NO_ANSWER_YET)
        self._under_way.clear()

    def _end(self, flow: http.HTTPFlow) -> None:
        flows = self._under_way.get(flow.client_conn.id)
        if flows is None or flows.pop(flow.id, None) is None:
            return
        if not flows:
            del self._under_way[flow.client_conn.id]
        if flow.response and flow.response.status_code == 101 and not flow.error:
            self._upgraded.add(flow.client_conn.id)
            self._skip(flow, UPGRADED)
            return
        self._feed.put(self._seen(flow))

    def _skip(self, flow: http.HTTPFlow, reason: str) -> None:
        for message in (flow.request, flow.response):
            if message and isinstance(message.stream, Copy):
                message.stream.take()
        self._feed.skip(place_of(flow.request.method, flow.request.data.path), reason)

    def _seen(self, flow: http.HTTPFlow) -> Seen:
        request, response, client = flow.request, flow.response, flow.client_conn
        sent, received = request.stream, response.stream if response else None
        assert isinstance(sent, Copy)  # noqa: S101 - requestheaders() set it
        if request.timestamp_end is None and response and not flow.error:
            sent.drop(_ANSWERED_EARLY)
        request_body, not_kept = sent.take(), sent.not_kept
        response_body: bytes | None = b""
        size_bytes, response_not_kept = 0, ""
        if isinstance(received, Copy):
            response_body, size_bytes, response_not_kept = received.take(), received.size_bytes, received.not_kept
        whole = response if response and not flow.error else None
        ended_s = (whole.timestamp_end if whole else flow.error.timestamp if flow.error else None) or time.time()
        return Seen(
            at_s=request.timestamp_start,
            duration_s=max(0.0, ended_s - request.timestamp_start),
            address=client.peername[0] if client.peername else "",
            connection=client.id,
            method=request.method,
            host=self._host or _host_of(request),
            target=request.data.path,
            request_headers=request.headers.fields,
            request_body=request_body,
            status=whole.status_code if whole else None,
            response_headers=whole.headers.fields if whole else (),
            response_body=response_body if whole else None,
            response_bytes=size_bytes,
            error=flow.error.msg if flow.error else "",
            bodies_not_kept=tuple(filter(None, (not_kept, response_not_kept if whole else ""))),
        )


def _host_of(request: http.Request) -> str:
    named = request.host_header
    if not named:
        named = f"[{request.host}]:{request.port}" if ":" in request.host else f"{request.host}:{request.port}"
    return authority(named, request.scheme)


async def _listening(server: proxyserver.Proxyserver, running: asyncio.Task[None], listen: tuple[str, int]) -> str:
    while not server.is_running and not running.done():
        await asyncio.sleep(0.01)
    addresses = server.listen_addrs()
    if not addresses:
        raise cannot_listen(listen, next((instance.last_exception for instance in server.servers), None))
    host, port = addresses[0][0], addresses[0][1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(listen: tuple[str, int], error: BaseException | None) -> ToolError:
    """What to say where an address cannot be listened on."""
    reason = getattr(error, "strerror", None) or error or "unknown"
    return ToolError(
        f"The proxy cannot listen on {listen[0]}:{listen[1]}: {reason}.", "Give another port with --listen."
    )
