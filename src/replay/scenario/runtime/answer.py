"""One HTTP/1.1 response while its bytes come in. Does no I/O."""

import hashlib
import zlib
from functools import cached_property
from typing import Any

import httptools

from replay.shapes import Form, form_of
from replay.traffic import Response

KEPT_BYTES = 1_000_000


class NotHttpError(Exception):
    """The peer's bytes are no HTTP response, or end before it does."""


class Answer:
    """Fed with bytes until ``complete``. The digest covers the whole decoded body; its first megabyte is kept.

    ``size_bytes`` is the body's as it came, ``decoded_bytes`` what it is without its coding.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.complete = False
        self.size_bytes = 0
        self.keep_alive = False
        self._method = method
        self._begin()
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self.decoded_bytes = 0
        self._digest = hashlib.blake2b(digest_size=8)

    def _begin(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers = []
        self._headers_done = False
        self._decoder: Any = None

    def feed(self, data: bytes) -> None:
        """Take bytes as they come. Raises NotHttpError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise NotHttpError("the answer changes the protocol") from error
        except httptools.HttpParserError as error:
            if not self.complete:  # an answer to HEAD is complete before its announced body
                raise NotHttpError(f"the answer is not HTTP: {error}") from error
        if self.complete:
            self._parser = None  # it holds us as we hold it: the collector would have to part us

    def end(self) -> None:
        """The peer has closed. Raises NotHttpError unless the body is one that ends so."""
        if not self._headers_done:
            raise NotHttpError(
                "the connection was closed before the answer" if not self.status else "half an answer came"
            )
        lengths = {name.lower() for name, _ in self._headers} & {"content-length", "transfer-encoding"}
        if lengths:
            raise NotHttpError("the connection was closed in the middle of the answer")
        self.complete = True
        self.keep_alive = False

    @property
    def digest(self) -> str:
        """16 hex digits of BLAKE2b over the decoded body."""
        return self._digest.hexdigest()

    @cached_property
    def form(self) -> Form:
        """The complete body's form. One of which only the beginning was kept goes by its media type."""
        content_type = self.response().header("content-type")
        if self.decoded_bytes > KEPT_BYTES:
            return Form((content_type or "").partition(";")[0].strip().lower() or "unknown")
        return form_of(content_type, bytes(self._body))

    def response(self) -> Response:
        """The response as far as it was kept."""
        return Response(self.status, tuple(self._headers), bytes(self._body), self.size_bytes)

    # What follows is called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, also one of the trailer."""
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The status is known and so is how the body comes."""
        self.status = self._parser.get_status_code()
        self._headers_done = True
        coding = (self.response().header("content-encoding") or "").strip().lower()
        if coding in {"gzip", "x-gzip", "deflate"}:
            self._decoder = zlib.decompressobj(wbits=47)  # gzip and zlib, by what it begins with
        if self._method == "HEAD" and self.status >= 200:
            self.complete = True
            self.keep_alive = bool(self._parser.should_keep_alive())

    def on_body(self, data: bytes) -> None:
        """A piece of the body, without its framing."""
        if self.complete:
            return
        self.size_bytes += len(data)
        if self._decoder:
            try:
                data = self._decoder.decompress(data)
            except zlib.error:
                self._decoder = None  # not what the header said: taken as it is
        self._digest.update(data)
        self.decoded_bytes += len(data)
        if len(self._body) < KEPT_BYTES:
            self._body += data[: KEPT_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        """The end of the response, or of an interim one (1xx) that another follows."""
        if self.complete:
            self.keep_alive = False  # more than was asked for
        elif self.status < 200:
            self.status = 0
            self._headers = []
            self._headers_done = False
        else:
            self.complete = True
            self.keep_alive = bool(self._parser.should_keep_alive())
