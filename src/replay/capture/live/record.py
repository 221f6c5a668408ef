"""A recording from its beginning to the complete capture."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable

from replay.capture.live import mirror
from replay.capture.live.feed import Feed, Order
from replay.capture.live.recording import Mirror, Progress, Recording
from replay.capture.sources.capture import MIRROR
from replay.capture.store import Capture, open_capture
from replay.errors import ToolError

_POLL_S = 0.1
_CONNECT_TIMEOUT_S = 5.0

OnProgress = Callable[[Progress], None]


def record(
    recording: Recording,
    *,
    stop: threading.Event,
    duration_s: float | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Capture:
    """Record until ``stop`` is set or ``duration_s`` is over, then complete the capture and return it.

    ``on_progress`` is called when there is somebody listening, about every second from then on, and at the end. One
    recording at a time in a process (mitmproxy keeps its options in globals); not in one that locust has patched.

    Whatever becomes of the capture, traffic passes until the end. Raises InputError where ``out`` exists already or an
    option is none; ToolError where the upstream does not answer, the address to listen on is taken, or, at the end,
    where the capture could not be written.
    """
    order = _order(recording)
    # A free port is found before the folder is made, so that a refused recording leaves nothing behind.
    _check_listen(recording.listen)
    asyncio.run(_record(order, stop, duration_s, on_progress))
    return open_capture(recording.out)


def _order(recording: Recording) -> Order:
    if isinstance(recording.front, Mirror):
        return Order(recording, MIRROR)
    from replay.capture.live import proxy  # noqa: PLC0415 - mitmproxy takes a second that a mirror need not wait for

    spec = proxy.mode_spec(recording.front)
    upstream = proxy.upstream_of(recording.front)
    if upstream:
        scheme, host, port = upstream
        _check_upstream(scheme, host, port)
    fixed = proxy.fixed_host(recording.front)
    mode, _, before = spec.partition(":")
    source = f"mitmproxy before {before}" if mode == "reverse" else f"mitmproxy {spec}"
    return Order(recording, source, (fixed,) if fixed else ())


async def _record(order: Order, stop: threading.Event, duration_s: float | None, on_progress: OnProgress) -> None:
    feed = await Feed.open(order)
    last: Progress | None = None

    def tell(listening: str, elapsed_s: float) -> None:
        nonlocal last
        last = Progress(listening, elapsed_s, feed.exchanges, feed.waiting, feed.lacking, feed.trouble)
        on_progress(last)

    try:
        async with _front(order.recording, feed) as listening:
            await _until(stop.is_set, duration_s, lambda elapsed_s: tell(listening, elapsed_s))
    finally:
        await feed.close()
    if last:
        tell(last.listening, last.elapsed_s)


def _front(recording: Recording, feed: Feed) -> contextlib.AbstractAsyncContextManager[str]:
    if isinstance(recording.front, Mirror):
        return mirror.serving(recording, feed)
    from replay.capture.live import proxy  # noqa: PLC0415

    return proxy.serving(recording, recording.front, feed)


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


def _check_upstream(scheme: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ToolError(
            f"The upstream {scheme}://{host}:{port} does not answer: {error.strerror or error}.",
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
        raise ToolError(
            f"The proxy cannot listen on {listen[0]}:{listen[1]}: {error.strerror or error}.",
            "Give another port with --listen.",
        ) from error
