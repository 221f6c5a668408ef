"""Undoing a body's Content-Encoding, never beyond a limit."""

import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import zstandard


class Undecodable(ValueError):
    """The body is in an encoding that is not known, or is damaged."""


class TooLarge(ValueError):
    """The body is larger than the limit when decoded."""


_MOST_ENCODINGS = 3
# Millions of empty ones take no room and hours.
_MOST_MEMBERS = 100
# Brotli's decoder takes no limit, and the smallest of its blocks, 10 bytes, can stand for 16 MB of output.
_BROTLI_PIECE_BYTES = 16
_ZSTD_PIECE_BYTES = 1024  # its blocks stand for 128 KiB
_ZSTD_WINDOW_BYTES = 1 << 23  # as RFC 9659 allows


def decoded(body: bytes, content_encoding: str, limit_bytes: int) -> bytes:
    """``body`` without its encodings (gzip, deflate, br, zstd), of at most ``limit_bytes``.

    Raises TooLarge, and Undecodable where an encoding is unknown or the body is damaged or breaks off.
    """
    names = [name.strip().lower() for name in content_encoding.split(",") if name.strip()]
    if len(names) > _MOST_ENCODINGS:
        raise Undecodable
    for name in reversed(names):  # the last was applied last (RFC 9110, 8.4)
        decode = _DECODERS.get(name)
        if decode is None:
            raise Undecodable
        body = decode(body, limit_bytes)
    return body


def _gunzip(body: bytes, limit_bytes: int) -> bytes:
    pieces = b""
    members = 0
    while body:  # a gzip body may have several members
        members += 1
        if members > _MOST_MEMBERS:
            raise Undecodable
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        pieces += _inflated(decoder, body, limit_bytes - len(pieces))
        body = decoder.unused_data.lstrip(b"\0")
    return pieces


def _inflate(body: bytes, limit_bytes: int) -> bytes:
    try:
        return _inflated(zlib.decompressobj(), body, limit_bytes)
    except Undecodable:  # many send deflate without the zlib header that the standard asks for
        return _inflated(zlib.decompressobj(-zlib.MAX_WBITS), body, limit_bytes)


def _inflated(decoder: "zlib._Decompress", body: bytes, limit_bytes: int) -> bytes:
    try:
        data = decoder.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise Undecodable from error
    if len(data) > limit_bytes:
        raise TooLarge
    if not decoder.eof:
        raise Undecodable
    return data


def _unbrotli(body: bytes, limit_bytes: int) -> bytes:
    decoder = brotli.Decompressor()
    pieces, size = [], 0
    try:
        for start in range(0, len(body), _BROTLI_PIECE_BYTES):
            pieces.append(decoder.process(body[start : start + _BROTLI_PIECE_BYTES]))
            size += len(pieces[-1])
            if size > limit_bytes:
                raise TooLarge
    except brotli.error as error:
        raise Undecodable from error
    if not decoder.is_finished():
        raise Undecodable
    return b"".join(pieces)


def _unzstd(body: bytes, limit_bytes: int) -> bytes:
    pieces, size = [], 0
    decoder = None
    frames = 0
    try:
        for start in range(0, len(body), _ZSTD_PIECE_BYTES):
            rest = body[start : start + _ZSTD_PIECE_BYTES]
            while rest:
                if decoder is None or decoder.eof:  # a body may have several frames
                    frames += 1
                    if frames > _MOST_MEMBERS:
                        raise Undecodable
                    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
                pieces.append(decoder.decompress(rest))
                size += len(pieces[-1])
                if size > limit_bytes:
                    raise TooLarge
                rest = decoder.unused_data
    except zstandard.ZstdError as error:
        raise Undecodable from error
    if decoder and not decoder.eof:
        raise Undecodable
    return b"".join(pieces)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
    "identity": lambda body, _: body,
}
