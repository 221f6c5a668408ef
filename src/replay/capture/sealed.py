"""Exchanges that cannot be judged yet, on disk under a key that lives in memory only."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from replay.capture.segments import SCHEMA, to_exchanges, to_table
from replay.traffic import Exchange

_NONCE_BYTES = 12
_SCHEMA = SCHEMA.append(pa.field("row", pa.int64(), nullable=False))


@dataclass(frozen=True, slots=True)
class Undecided:
    """Exchanges as they came, and at which rows of their segment they stand."""

    rows: npt.NDArray[np.int64]
    exchanges: list[Exchange]


class Seal:
    """Encrypts with AES-256-GCM. Nobody can read what it wrote when its process has ended."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))

    def write(self, rows: npt.NDArray[np.int64], exchanges: Sequence[Exchange], file: Path) -> None:
        """Write exchanges as they came, with the rows at which they stand."""
        table = to_table(exchanges).append_column(_SCHEMA.field("row"), pa.array(rows))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        partial = file.with_name(f".{file.name}.part")
        partial.write_bytes(nonce + self._cipher.encrypt(nonce, sink.getvalue(), file.name.encode()))
        partial.replace(file)

    def read(self, file: Path) -> Undecided | None:
        """What ``write`` wrote, or None where the file is gone or damaged."""
        try:
            data = file.read_bytes()
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], file.name.encode())
        except (OSError, InvalidTag, ValueError):
            return None
        table = pa.ipc.open_stream(plain).read_all()
        return Undecided(table["row"].to_numpy(), list(to_exchanges(table.select(SCHEMA.names))))
