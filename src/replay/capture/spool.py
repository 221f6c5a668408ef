"""A copy on disk of what can be read only once, encrypted under a key that stays in memory."""

import io
import os
import secrets
import tempfile
from typing import BinaryIO

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_PIECE_BYTES = 1 << 20


class Spool:
    """A copy of a stream in a temporary file without a name, gone with the process. AES-256 in counter mode."""

    def __init__(self, stream: BinaryIO) -> None:
        self._cipher = Cipher(AES(secrets.token_bytes(32)), CTR(secrets.token_bytes(16)))
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        encryptor = self._cipher.encryptor()
        while piece := stream.read(_PIECE_BYTES):
            self._file.write(encryptor.update(piece))
        self._file.flush()

    @property
    def size_bytes(self) -> int:
        """How much was copied."""
        return os.fstat(self._file.fileno()).st_size

    def open(self) -> io.RawIOBase:
        """The stream again, from its beginning."""
        return _Reader(self._file.fileno(), self._cipher)


class _Reader(io.RawIOBase):
    def __init__(self, descriptor: int, cipher: "Cipher[CTR]") -> None:
        self._descriptor = descriptor
        self._decryptor = cipher.decryptor()
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._decryptor.update(os.pread(self._descriptor, len(buffer), self._at))
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)
