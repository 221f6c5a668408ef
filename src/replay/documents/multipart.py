"""The fields of a multipart form (RFC 7578), with where their contents stand."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

_BOUNDARY = re.compile(r"boundary\s*=\s*(?:\"([^\"]{1,70})\"|([^\s;,\"]{1,70}))", re.IGNORECASE)
_NAME = re.compile(r";\s*name\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))", re.IGNORECASE)
_FILE = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)
_MOST = 1000


def is_multipart(content_type: str) -> bool:
    """Whether a content type says that a body is a form in parts."""
    return content_type.lower().lstrip().startswith("multipart/form-data")


def multipart_fields(content_type: str, body: bytes) -> Iterator[tuple[str, int, int]]:
    """The name of each field that is not a file, and the span of its content."""
    said = _BOUNDARY.search(content_type)
    if not said:
        return
    delimiter = b"--" + (said[1] or said[2]).encode("latin-1", "replace")
    at = body.find(delimiter)
    for _ in range(_MOST):
        if at < 0:
            return
        end = body.find(b"\r\n" + delimiter, at + len(delimiter))
        start = body.find(b"\r\n\r\n", at)
        if end < 0 or start < 0:
            return
        name = _field(body[at + len(delimiter) : start].decode("utf-8", "replace")) if start + 4 <= end else ""
        if name:
            yield name, start + 4, end
        at = end + 2


def _field(headers: str) -> str:
    for line in headers.split("\r\n"):
        key, _, text = line.partition(":")
        if key.strip().lower() == "content-disposition" and not _FILE.search(text):
            found = _NAME.search(text)
            return (
                unquote(re.sub(r"\\(.)", r"\1", found[1])) if found and found[1] else (found[2] or "" if found else "")
            )
    return ""
