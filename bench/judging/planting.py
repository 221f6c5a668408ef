"""A proxy before Stage that plants faults, so that nothing in the database or its log names what causes them.

    python bench/judging/planting.py --listen PORT --to PORT

``POST /_planting/KIND?endpoint=METHOD+PATTERN`` begins a fault, ``POST /_planting/calm`` ends all of them. PATTERN is a
regular expression for the whole path. Kinds: ``failures`` answers 20 requests with 500, spread over 12 s; ``outage``
answers every one with 503 for 5 s; ``slow`` takes twice as long as Stage does, until the end.
"""

import argparse
import asyncio
import contextlib
import re
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httptools

_KIND = "/_planting/"
_FAILURES, _SPREAD_S, _OUTAGE_S = 20, 12.0, 5.0
_LIMIT = 16 * 1024 * 1024


@dataclass(slots=True)
class Fault:
    """A fault of one endpoint. ``planted`` counts the requests that met it."""

    kind: str
    endpoint: re.Pattern[str]
    since_s: float = field(default_factory=time.monotonic)
    planted: int = 0

    def strikes(self, request: str) -> bool:
        """Whether it meets a request (method and path) now. Counts it where it does."""
        if not self.endpoint.fullmatch(request):
            return False
        elapsed_s = time.monotonic() - self.since_s
        if self.kind == "failures":
            due = _FAILURES if elapsed_s > _SPREAD_S else _FAILURES * elapsed_s / _SPREAD_S
            strikes = self.planted < min(_FAILURES, due)
        else:
            strikes = self.kind == "slow" or elapsed_s < _OUTAGE_S
        self.planted += strikes
        return strikes


class Message:
    """One HTTP message, fed with bytes until it is ``whole``."""

    def __init__(self, *, request: bool) -> None:
        self.whole = False
        self.url = b""
        self.raw = bytearray()
        self._parser: Any = (httptools.HttpRequestParser if request else httptools.HttpResponseParser)(self)

    @property
    def asked(self) -> str:
        """Method and path of a request."""
        return f"{self._parser.get_method().decode()} {self.url.decode().partition('?')[0]}"

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self.url += url

    def on_message_complete(self) -> None:
        """See httptools."""
        self.whole = True

    async def read(self, reader: asyncio.StreamReader) -> bool:
        """Read it whole. False where the peer has closed before."""
        while not self.whole:
            data = await reader.read(65_536)
            if not data:
                return False
            self.raw += data
            self._parser.feed_data(data)
        return True


def answer(status: str, body: bytes = b'{"error":"planted"}') -> bytes:
    """A whole response."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Proxy:
    """Passes each connection on to Stage by one of its own."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._faults: list[Fault] = []

    def struck(self, request: str) -> Iterator[str]:
        """The kinds of the faults that meet a request."""
        yield from [fault.kind for fault in self._faults if fault.strikes(request)]

    def plant(self, url: str) -> bytes:
        """Do what a request to the proxy itself asks for."""
        asked = urllib.parse.urlsplit(url)
        kind = asked.path.removeprefix(_KIND)
        if kind == "calm":
            self._faults.clear()
        else:
            self._faults.append(Fault(kind, re.compile(urllib.parse.parse_qs(asked.query)["endpoint"][0])))
        return answer("200 OK", b"{}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        with contextlib.suppress(OSError, httptools.HttpParserError):
            while True:
                request, response = Message(request=True), Message(request=False)
                if not await request.read(reader):
                    break
                if request.url.startswith(_KIND.encode()):
                    writer.write(self.plant(request.url.decode()))
                    continue
                met = set(self.struck(request.asked))
                if met - {"slow"}:
                    writer.write(answer("500 Internal Server Error" if "failures" in met else "503 Unavailable"))
                    continue
                upstream = upstream or await asyncio.open_connection("127.0.0.1", self._to, limit=_LIMIT)
                sent_s = time.monotonic()
                upstream[1].write(request.raw)
                if not await response.read(upstream[0]):
                    break
                if "slow" in met:
                    await asyncio.sleep(time.monotonic() - sent_s)
                writer.write(response.raw)
                await writer.drain()
        for one in (writer, upstream[1] if upstream else None):
            if one is not None:
                one.close()


async def run(listen: int, to: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.start_server(Proxy(to).serve, "127.0.0.1", listen, limit=_LIMIT)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--to", type=int, required=True)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options.listen, options.to))


if __name__ == "__main__":
    main()
