"""What to record, and how far a recording is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from replay.capture.pseudonyms import Key, fresh_key
from replay.capture.scrubbing.rules import NO_RULES, Rules
from replay.errors import InputError
from replay.target import Target, parse_target

BODY_LIMIT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that traffic passes through. ``mode`` is mitmproxy's own: ``reverse`` stands before ``upstream``.

    ``upstream_ca`` is a PEM file of certificates that the upstream's must come from; ``insecure`` takes any.
    ``certificates`` is the folder of the authority that makes the proxy's own certificates: without one, a new one is
    made for a reverse proxy, and that of mitmproxy (``~/.mitmproxy``) is taken in other modes.
    """

    mode: str = "reverse"
    upstream: Target | None = None
    upstream_ca: Path | None = None
    insecure: bool = False
    certificates: Path | None = None


@dataclass(frozen=True, slots=True)
class Mirror:
    """A sink that answers at once, for the copies of requests that a server or a balancer sends."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record. ``listen`` is an address and a port, where port 0 takes any free one.

    ``environment`` says where the traffic belongs (production, pre-production, stage...). ``key`` makes the pseudonyms,
    ``rules`` say what is a secret beside what is known to be; with ``scrub`` off the key only names the clients.
    ``client_share`` is how much of the clients is recorded, each with all that it sends or with nothing. A body above
    ``body_limit_bytes`` passes but is not kept. Of what waits to be written up to ``backlog_limit_bytes`` are held in
    memory.
    """

    front: Proxy | Mirror
    listen: tuple[str, int]
    out: Path
    environment: str = "production"
    name: str = ""
    scrub: bool = True
    key: Key = field(default_factory=fresh_key)
    rules: Rules = NO_RULES
    client_share: float = 1.0
    body_limit_bytes: int = BODY_LIMIT_BYTES
    backlog_limit_bytes: int = 64_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is.

    ``exchanges`` ended, of which ``waiting`` are still to be written; ``lacking`` counts by the reason those that will
    never be. ``trouble`` is what the writer suffers from right now, empty where it is well.
    """

    listening: str
    elapsed_s: float
    exchanges: int
    waiting: int = 0
    lacking: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""


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
