"""Request lines and their targets, of many lines at once."""

import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.logs.cutting import Mask, amend, column_text

_METHOD = re.compile(rb"[A-Za-z][A-Za-z_-]{0,31}")
_URL = r"(?s)^(?P<origin>[A-Za-z][A-Za-z0-9+.-]{0,20}://[^/?#]*)(?P<rest>.*)$"
_PORTS = {b"http": b":80", b"https": b":443", b"ws": b":80", b"wss": b":443"}
# What a URL may hold without being encoded, and `%`, so that what is encoded stays as it is.
_AS_SENT = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_NOT_AS_SENT = r"[^\x21-\x7e]"


@dataclass(frozen=True, slots=True)
class Targets:
    """Columns of ``pa.binary()``: what is asked for. ``host`` is null where a target names none."""

    host: pa.Array
    path: pa.Array
    query: pa.Array


def split_requests(requests: pa.Array) -> tuple[Mask, pa.Array, pa.Array]:
    """Which request lines are HTTP, the methods and the targets of all; spaces may stand in a target.

    HTTP/0.9 has no version: then a path has to follow the method and end the line.
    """
    text, offsets = column_text(requests.fill_null(b""))
    starts, ends = offsets[:-1], offsets[1:]
    spaces = text.positions(ord(" "))
    first = np.minimum(text.after(spaces, starts), ends)
    last = np.maximum(text.before(spaces, ends), first)
    versioned = text.has(b" HTTP/", last, (last > first) & (ends - last >= 7))
    bare = (last == first) & (first < ends) & (text.at(first + 1) == ord("/"))
    end = np.where(versioned, last, ends)
    start = np.minimum(first + 1, end)
    targets = text.take(start, end)
    methods = text.take(starts, first)
    return (versioned | bare) & (end > start) & are_methods(methods), methods, targets


def are_methods(column: pa.Array) -> Mask:
    """Which of the values look like the method of a request."""
    methods = column.dictionary_encode()
    good = np.array([bool(_METHOD.fullmatch(method)) for method in methods.dictionary.to_pylist()], bool)
    found: Mask = good[methods.indices.to_numpy()]
    return found


def split_targets(targets: pa.Array) -> Targets:
    """Hosts, paths and queries of targets: a path with its query, a whole URL, or ``*``. Fragments are left off."""
    hosts = pa.nulls(len(targets), pa.binary())
    text, offsets = column_text(targets)
    beginning = text.at(offsets[:-1])
    if (beginning != ord("/")).any():
        origins, rests = pc.extract_regex(targets, _URL).flatten()
        hosts = amend(origins, pc.is_valid(origins), _host)
        targets = pc.coalesce(rests, targets)
        targets = amend(targets, pc.invert(pc.starts_with(targets, "/")), _rooted)
        text, offsets = column_text(targets)
    starts, ends = offsets[:-1], offsets[1:]
    if len(text.positions(ord("#"))):
        ends = np.minimum(ends, text.after(text.positions(ord("#")), starts))
    question = np.minimum(ends, text.after(text.positions(ord("?")), starts))
    path, query = text.take(starts, question), text.take(np.minimum(question + 1, ends), ends)
    return Targets(hosts, as_sent(path), as_sent(query))


def as_sent(column: pa.Array) -> pa.Array:
    """Paths or queries in which what cannot have been sent so (spaces, bytes beyond ASCII) is percent-encoded."""
    text, _ = column_text(column)
    if not ((text.bytes < 0x21) | (text.bytes > 0x7E)).any():
        return column
    return amend(column, pc.match_substring_regex(column, _NOT_AS_SENT), _encoded)


def with_marks_encoded(paths: pa.Array) -> pa.Array:
    """Paths that were decoded: a question mark or a hash in them is neither a query's beginning nor a fragment's."""
    return amend(
        paths,
        pc.match_substring_regex(paths, r"^/.*[?#]"),
        lambda path: path.replace(b"?", b"%3F").replace(b"#", b"%23"),
    )


def without_port(host: bytes, scheme: bytes = b"") -> bytes:
    """A host without its scheme's own port; 80 and 443 where the scheme is not known."""
    for port in [_PORTS[scheme]] if scheme in _PORTS else [b":80", b":443"]:
        host = host.removesuffix(port)
    return host


def _encoded(text: bytes) -> bytes:
    return quote_from_bytes(text, safe=_AS_SENT).encode()


def _host(origin: bytes) -> bytes:
    scheme, _, host = origin.partition(b"://")
    return without_port(host.rpartition(b"@")[2], scheme.lower())


def _rooted(target: bytes) -> bytes:
    return target if target == b"*" else b"/" + target
