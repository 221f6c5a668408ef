"""A small HTTP/1.1 client for asyncio: one connection kept open, one request at a time, as a device has it."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import httptools

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came back. ``at_s`` is when it left, by ``time.monotonic``; status 0: no answer."""

    method: str
    path: str
    at_s: float
    took_s: float
    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(slots=True)
class _Parsed:
    """What httptools tells about a response."""

    body: bytearray = field(default_factory=bytearray)
    complete: bool = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


class Wire:
    """A connection to ``url``'s host, made when it is needed and made again when it broke."""

    def __init__(self, url: str, user_agent: str, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._common = f"Host: {parts.netloc}\r\nUser-Agent: {user_agent}\r\nAccept: */*\r\n"
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
        document: object | None = None,
    ) -> Answer:
        """Send one request and read its answer. What goes wrong on the way is an answer with status 0."""
        head = f"{method} {path} HTTP/1.1\r\n{self._common}"
        body = b""
        if token is not None:
            head += f"Authorization: Bearer {token}\r\n"
        if form is not None:
            body = urlencode(form).encode()
            head += "Content-Type: application/x-www-form-urlencoded\r\n"
        if document is not None:
            body = json.dumps(document).encode()
            head += "Content-Type: application/json\r\n"
        if method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        at_s = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                status, received = await self._exchange(f"{head}\r\n".encode() + body)
        except (OSError, TimeoutError, EOFError, httptools.HttpParserError):
            self.close()
            status, received = 0, b""
        return Answer(method, path, at_s, time.monotonic() - at_s, status, received)

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        parsed = _Parsed()
        parser = httptools.HttpResponseParser(parsed)
        while not parsed.complete:
            chunk = await reader.read(_CHUNK)
            if not chunk:
                raise EOFError
            parser.feed_data(chunk)
        if not parser.should_keep_alive():
            self.close()
        return parser.get_status_code(), bytes(parsed.body)
