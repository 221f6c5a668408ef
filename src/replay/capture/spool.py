"""A copy on disk of what can be read only once, or only from its start; encrypted, its key in memory alone."""

import io
import os
import secrets
import tempfile
from typing import BinaryIO

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_PIECE_BYTES = 1 << 20
_BLOCK_BYTES = 16
_COUNTERS = 1 << (8 * _BLOCK_BYTES)


class DiskFull(OSError):
    """A copy cannot be written. Says why."""


class Spool:
    """A copy of a stream in a temporary file without a name, gone with the process.

    AES-256 in counter mode, so that any place of it can be decrypted alone. Raises DiskFull where the copy cannot be
    written, or would be larger than ``limit_bytes``.
    """

    def __init__(self, stream: BinaryIO, limit_bytes: int | None = None) -> None:
        self._key = AES(secrets.token_bytes(32))
        self._first = secrets.randbits(8 * _BLOCK_BYTES)
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as this object
        self.size_bytes = 0
        encryptor = self.cipher(0).encryptor()
        while piece := stream.read(_PIECE_BYTES):
            self.size_bytes += len(piece)
            if limit_bytes is not None and self.size_bytes > limit_bytes:
                raise DiskFull(f"it is larger than {limit_bytes:,} bytes")
            data = memoryview(encryptor.update(piece))
            try:
                while data:
                    data = data[self._file.write(data) :]
            except OSError as error:
                raise DiskFull(error.errno, error.strerror or str(error)) from error

    def open(self) -> io.RawIOBase:
        """The stream again, from its beginning, to be read at any place."""
        return _Reader(self)

    def close(self) -> None:
        """Remove the copy, which its end does too."""
        self._file.close()

    def read(self, size: int, at: int) -> bytes:
        """Up to ``size`` bytes from the place ``at`` on."""
        block, before = divmod(at, _BLOCK_BYTES)
        decryptor = self.cipher(block).decryptor()
        decryptor.update(bytes(before))
        return decryptor.update(os.pread(self._file.fileno(), size, at))

    def cipher(self, block: int) -> "Cipher[CTR]":
        """The cipher from a block of 16 bytes on."""
        return Cipher(self._key, CTR(((self._first + block) % _COUNTERS).to_bytes(_BLOCK_BYTES)))


class _Reader(io.RawIOBase):
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._spool.size_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._spool.read(len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
