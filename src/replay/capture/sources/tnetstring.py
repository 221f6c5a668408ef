"""Typed netstrings, which mitmproxy's dumps are made of: ``5:hello,`` is five bytes, and their type.

mitmproxy's own reader takes a file's word for every length, and can be made to fill the memory; this one cannot.
"""

from typing import BinaryIO

from replay.capture.sources.source import RECORD_LIMIT_BYTES

_LENGTH_DIGITS = 12
_DEPTH_LIMIT = 50
_VALUES_LIMIT = 500_000
_NUMBER_DIGITS = 40
_PIECE_BYTES = 1 << 20


class BrokenOff(ValueError):
    """A stream that cannot be read any further."""


def read_netstring(stream: BinaryIO) -> bytes | None:
    """The next netstring at the top of ``stream``, its type last; ``b""`` at the end.

    None stands for one beyond the limit, which is passed over. Raises BrokenOff where the stream ends within one, or
    where none begins.
    """
    digits = b""
    while (byte := stream.read(1)).isdigit() and len(digits) < _LENGTH_DIGITS:
        digits += byte
    if not digits and not byte:
        return b""
    if not digits or byte != b":":
        raise BrokenOff
    left_bytes = int(digits) + 1
    if left_bytes > RECORD_LIMIT_BYTES:
        while left_bytes:
            piece = stream.read(min(left_bytes, _PIECE_BYTES))
            if not piece:
                raise BrokenOff
            left_bytes -= len(piece)
        return None
    value = _read(stream, left_bytes)
    if len(value) < left_bytes:
        raise BrokenOff
    return value


def parse_netstring(value: bytes) -> object:
    """The value of a netstring as ``read_netstring`` gives it. Raises ValueError where it is none."""
    return _Parser(value).parse(0, len(value) - 1, 0)


def _read(stream: BinaryIO, size_bytes: int) -> bytes:
    """Up to ``size_bytes``: piece by piece, so that a length that is not there takes no memory."""
    if size_bytes <= _PIECE_BYTES:
        return stream.read(size_bytes)
    data = bytearray()
    while len(data) < size_bytes and (piece := stream.read(min(_PIECE_BYTES, size_bytes - len(data)))):
        data += piece
    return bytes(data)


class _Parser:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._values = 0

    def parse(self, start: int, end: int, depth: int) -> object:
        """The value that stands from ``start`` to ``end``, where its type is."""
        self._values += 1
        if depth > _DEPTH_LIMIT or self._values > _VALUES_LIMIT:
            raise ValueError("nested too deep, or too many values")
        kind = self._data[end : end + 1]
        if kind == b"}":
            return self._dictionary(start, end, depth)
        if kind == b"]":
            values = []
            while start < end:
                value, start = self._next(start, end, depth)
                values.append(value)
            return values
        return self._plain(kind, self._data[start:end])

    def _dictionary(self, start: int, end: int, depth: int) -> dict[str | bytes, object]:
        values: dict[str | bytes, object] = {}
        while start < end:
            key, start = self._next(start, end, depth)
            if not isinstance(key, str | bytes):
                raise ValueError("a key that is no text")  # noqa: TRY004 - bytes, not an argument
            values[key], start = self._next(start, end, depth)
        return values

    def _next(self, start: int, end: int, depth: int) -> tuple[object, int]:
        colon = self._data.find(b":", start, min(end, start + _LENGTH_DIGITS + 1))
        digits = self._data[start:colon]
        if colon < 0 or not digits.isdigit():
            raise ValueError("a value without its length")
        start, stop = colon + 1, colon + 1 + int(digits)
        if stop >= end:
            raise ValueError("a value longer than what holds it")
        return self.parse(start, stop, depth + 1), stop + 1

    def _plain(self, kind: bytes, data: bytes) -> object:
        match kind:
            case b",":
                return data
            case b";":
                return data.decode("utf-8")
            case b"#" if len(data) <= _NUMBER_DIGITS:
                return int(data)
            case b"^" if len(data) <= _NUMBER_DIGITS:
                return float(data)
            case b"!" if data in {b"true", b"false"}:
                return data == b"true"
            case b"~" if not data:
                return None
        raise ValueError("a value of no known type")
