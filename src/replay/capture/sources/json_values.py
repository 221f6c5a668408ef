"""Values of a JSON document that anybody may have written, as text and URLs that can be stored and sent."""

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from replay.capture.sources.http_message import percent_encoded, without_port

PORTS = {"http": 80, "https": 443}
METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
HEADER_NAME = re.compile(r"[!-9;-~]+")


def object_in(value: object) -> dict[str, Any]:
    """``value`` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_in(value: object) -> str:
    """``value`` as text: a string or a number; empty where it is neither."""
    if isinstance(value, str):
        # Halves of a surrogate pair can be written in JSON, and nowhere else.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(value)


def address_in(text: str) -> str:
    """``text`` where it is an IP address, else nothing. One of IPv4 within IPv6 is that of IPv4."""
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def one_line(text: str) -> str:
    """``text`` with a space for what would end a header's line."""
    return text if text.isprintable() else " ".join(text.split())


def shortened(text: str, size: int) -> str:
    """The first words of ``text``, at most ``size`` characters: the beginning of a secret is not known as one."""
    return text if len(text) <= size else text[:size].rpartition(" ")[0]


def split_url(url: str) -> tuple[str, str, str] | None:
    """Host, path and query of an HTTP URL, or of one without scheme and host; None where it cannot be read."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = without_port(parts.netloc.rpartition("@")[2].lower(), PORTS.get(parts.scheme, 80))
    if (parts.scheme in PORTS or host) and not HOST.fullmatch(host):
        return None
    if not host and not parts.path.startswith("/"):
        return None
    return host, _encoded(parts.path) or "/", _encoded(parts.query)


def _encoded(text: str) -> str:
    return percent_encoded(text.encode("utf-8", "replace"))
