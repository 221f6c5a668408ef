"""A search for planted secrets in whatever a command left behind: each value decoded in all the ways they are planted.

Values are looked at once each, however often they stand somewhere, and all secrets are looked for at the same time.
"""

import base64
import gzip
import html
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, unquote_plus

import brotli
import numpy as np
import pyarrow.parquet as pq
import zstandard
from planted import Planted

_DEEPEST = 4
_PREFIX_BYTES = 8
_WORD = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_BROKEN = (ValueError, OSError, EOFError, zlib.error, brotli.error, zstandard.ZstdError)


def left(values: Iterable[str | bytes], secrets: Mapping[str, Iterable[Planted]]) -> list[str]:
    """The secrets that are in ``values``, each with the file it was planted in, its kind, and where it stands."""
    by_prefix: dict[bytes, dict[bytes, str]] = defaultdict(dict)
    for file, planted in secrets.items():
        for one in planted:
            needle = one.hidden.removeprefix("+").encode()  # some formats write a blank for a plus sign
            by_prefix[needle[:_PREFIX_BYTES]][needle] = f"{file}, {one.kind.name}"
    text = "\n".join(forms(values)).encode("utf-8", "replace")
    found = []
    for at in _places(text, by_prefix):
        for needle, kind in by_prefix[text[at : at + _PREFIX_BYTES]].items():
            if text.startswith(needle, at):
                context = text[max(0, at - 80) : at + len(needle) + 20].decode("utf-8", "replace")
                found.append(f"{kind}: {needle.decode()!r} in {context!r}")
    return found


def _places(text: bytes, prefixes: Iterable[bytes]) -> list[int]:
    """Where one of ``prefixes`` stands."""
    wanted = np.sort(np.frombuffer(b"".join(prefixes), "<u8"))
    found: list[int] = []
    for shift in range(_PREFIX_BYTES):
        size = max(0, len(text) - shift) // _PREFIX_BYTES
        windows = np.frombuffer(text, "<u8", size, shift) if size else np.empty(0, "<u8")
        at = np.minimum(wanted.searchsorted(windows), len(wanted) - 1)
        found += (np.flatnonzero(wanted[at] == windows) * _PREFIX_BYTES + shift).tolist()
    return found


def forms(values: Iterable[str | bytes]) -> Iterator[str]:
    """All different values, as they are and decoded, also what was encoded several times."""
    waiting = {text for value in values for text in (_texts_of(value) if isinstance(value, bytes) else [value])}
    seen: set[str] = set()
    for _ in range(_DEEPEST):
        yield from waiting
        seen |= waiting
        waiting = {made for text in waiting for made in _decoded(text)} - seen
    yield from waiting


def _texts_of(data: bytes) -> Iterator[str]:
    yield data.decode("utf-8", "replace")
    for unpack in (gzip.decompress, zlib.decompress, brotli.decompress, zstandard.decompress):
        try:
            yield unpack(data).decode("utf-8", "replace")
        except _BROKEN:
            continue


def _decoded(text: str) -> Iterator[str]:
    if "\0" in text:
        yield text.replace("\0", "")
    if "%" in text:
        yield unquote(text)
    if "%" in text or "+" in text:
        yield unquote_plus(text)
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else {"n": "\n"}.get(m[2], m[2]), text)
    for match in _WORD.finditer(text):
        word = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(word + "=" * (-len(word) % 4))
            yield (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8")
        except _BROKEN:
            continue


def held_in(path: Path) -> Iterator[str | bytes]:
    """All that a file or the files of a folder hold: every byte, and the values of those that have columns."""
    for file in [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()):
        try:
            data = file.read_bytes()
        except FileNotFoundError:  # a recording goes on, and its close takes files away
            continue
        yield file.name
        yield data
        if data.startswith(b"PAR1") and data.endswith(b"PAR1"):
            yield from _values_of(pq.ParquetFile(file))
        elif file.suffix in {".json", ".jsonl"}:
            yield from data.decode("utf-8", "replace").split("\n")


def _values_of(file: pq.ParquetFile) -> Iterator[str | bytes]:
    yield from (file.metadata.metadata or {}).values()
    for name in file.schema_arrow.names:
        for value in file.read(columns=[name]).column(name).unique().to_pylist():
            if isinstance(value, str) and value.startswith("[["):
                yield from (text for pair in json.loads(value) for text in pair)
            elif isinstance(value, str | bytes):
                yield value
