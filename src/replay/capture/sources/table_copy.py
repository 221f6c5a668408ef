"""A copy on disk of what is compressed or piped, to be read at any place; encrypted, its key in memory alone."""

import io
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from replay.errors import InputError

COPY_LIMIT_BYTES = 100_000_000_000
_PIECE_BYTES = 1 << 20
_BLOCK_BYTES = 16
_COUNTERS = 1 << (8 * _BLOCK_BYTES)


@contextmanager
def seekable(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """``stream`` where it can be read at any place for what it costs to read there, else a copy of it.

    Raises InputError where the disk does not hold the copy, or where it would be larger than the limit.
    """
    # What decompresses can go back too, but begins anew each time.
    if isinstance(stream, io.BufferedReader) and stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        copy = _Copy(file.fileno())
        try:
            copy.fill(stream)
        except _DiskFull as error:
            raise InputError(
                f"{name} does not fit on the disk when it is decompressed: {error}.",
                f"Make room in {tempfile.gettempdir()}, or set TMPDIR to where there is some.",
            ) from error
        yield cast("BinaryIO", io.BufferedReader(copy, _PIECE_BYTES))


class _DiskFull(Exception):
    """A copy cannot be written."""


class _Copy(io.RawIOBase):
    """A file of AES-256 in counter mode, of which each block can be decrypted alone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._key = AES(secrets.token_bytes(32))
        self._first = secrets.randbits(8 * _BLOCK_BYTES)
        self._at = self._size = 0

    def fill(self, stream: BinaryIO) -> None:
        """Copy all of ``stream``."""
        encryptor = self._cipher(0).encryptor()
        while piece := stream.read(_PIECE_BYTES):
            self._size += len(piece)
            if self._size > COPY_LIMIT_BYTES:
                raise _DiskFull(f"it is larger than {COPY_LIMIT_BYTES:,} bytes")
            data = memoryview(encryptor.update(piece))
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                raise _DiskFull(error.strerror or str(error)) from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = os.pread(self._descriptor, len(buffer), self._at)
        block, before = divmod(self._at, _BLOCK_BYTES)
        decryptor = self._cipher(block).decryptor()
        decryptor.update(bytes(before))
        buffer[: len(data)] = decryptor.update(data)
        self._at += len(data)
        return len(data)

    def _cipher(self, block: int) -> "Cipher[CTR]":
        return Cipher(self._key, CTR(((self._first + block) % _COUNTERS).to_bytes(_BLOCK_BYTES)))
