"""What passes between clients and an API. Imports nothing of ours."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

Headers = tuple[tuple[str, str], ...]
_NAME = re.compile(r"[A-Z]+ /\S*")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. ``path`` and ``query`` are as sent (percent-encoded), ``query`` without its question mark."""

    method: str
    host: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes | None = None

    def header(self, name: str) -> str | None:
        """The first header called ``name`` in any case, or None."""
        return first_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response. ``body`` is decoded, and None where it was not kept; ``size_bytes`` is as received."""

    status: int
    headers: Headers = ()
    body: bytes | None = None
    size_bytes: int = 0

    def header(self, name: str) -> str | None:
        """The first header called ``name`` in any case, or None."""
        return first_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and its response.

    ``at`` is when the request started (UTC, aware); ``duration_s`` runs until the last byte of the response.
    ``client`` names the identity that sent it as far as one exchange alone shows it, ``connection`` the TCP connection.
    ``response`` is None where none came; ``error`` then says why.
    """

    at: datetime
    duration_s: float
    client: str
    connection: str
    request: Request
    response: Response | None
    error: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A method and a path template: ``GET /v2/events/{event_id}``.

    Where one path serves many operations (GraphQL, JSON-RPC, SOAP), ``operation`` names one: ``POST /graphql#GetUser``.
    """

    method: str
    template: str
    operation: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.template}" + (f"#{self.operation}" if self.operation else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The endpoint that ``text`` is the name of."""
        method, _, rest = text.partition(" ")
        template, _, operation = rest.partition("#")
        return cls(method, template, operation)

    @staticmethod
    def is_named_by(text: str) -> bool:
        """Whether a text reads as an endpoint's name: a method in capitals and a path, and nothing else."""
        return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Client:
    """An identity that sends requests. ``kind`` says what it is known by: token, cookie, key, user, address."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record of a source that could not become an exchange: where it stood and why."""

    source: str
    where: str
    reason: str


def first_header(headers: Headers, name: str) -> str | None:
    """The first of ``headers`` called ``name`` in any case, or None."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)
