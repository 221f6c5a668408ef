"""The body of a form that is known by its fields alone: ``name``, ``value``, ``fileName``, ``contentType`` of each."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote_plus

Fields = Sequence[Mapping[str, str]]

_BOUNDARY = re.compile(r"boundary=\"?([^\s\";,]{1,70})", re.IGNORECASE)
# Names and values as they were sent, which some programs write and others decode.
_ENCODED = re.compile(r"(?:[\w.~*+-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_NO_CONTENT = {"", "(binary)"}


def is_multipart(kind: str) -> bool:
    """Whether a Content-Type is that of a form in parts."""
    return kind.strip().lower().startswith("multipart/")


def with_boundary(kind: str, fields: Fields) -> str:
    """The Content-Type of a form in parts with a boundary, where it has none yet."""
    if _BOUNDARY.search(kind):
        return kind
    digest = hashlib.blake2b(digest_size=16)
    for field in fields:
        digest.update(f"{field['name']}={field['value']}\n".encode())
    return f"{kind.strip().rstrip(';')}; boundary=----form{digest.hexdigest()}"


def urlencoded(fields: Fields) -> bytes:
    """Fields as ``application/x-www-form-urlencoded``, or as a query."""
    texts = [(field["name"], field["value"]) for field in fields]
    whole = "".join(name + value for name, value in texts)
    if "%" in whole and _ENCODED.fullmatch(whole):
        return "&".join(f"{name}={value}" for name, value in texts).encode("ascii")
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in texts).encode("ascii")


def multipart(fields: Fields, kind: str) -> bytes | None:
    """Fields in parts (RFC 7578), with the boundary in ``kind``. None where the content of a file is not there."""
    found = _BOUNDARY.search(kind)
    if not found or any(field.get("fileName") and field["value"] in _NO_CONTENT for field in fields):
        return None
    parts = []
    for field in fields:
        head = f'Content-Disposition: form-data; name="{_quoted(field["name"])}"'
        if field.get("fileName"):
            head += f'; filename="{_quoted(field["fileName"])}"'
        if field.get("contentType"):
            head += f"\r\nContent-Type: {' '.join(field['contentType'].split())}"
        parts.append(f"--{found[1]}\r\n{head}\r\n\r\n{field['value']}\r\n")
    return "".join([*parts, f"--{found[1]}--\r\n"]).encode()


def _quoted(name: str) -> str:
    """As browsers write a name into its quotes (WHATWG HTML, multipart/form-data encoding algorithm)."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
