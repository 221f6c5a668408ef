"""Files to import from: several at once, compressed or not, standard input too."""

import bz2
import glob
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from replay.capture.spool import Spool
from replay.errors import InputError

_HEAD_BYTES = 64 * 1024
_HEAD_LINES = 50
_BUFFER_BYTES = 1 << 20
_ZSTANDARD_BYTES = 1 << 10  # some may hold 32 MB
STDIN = "-"

# What may go wrong inside a compressed stream.
BROKEN_STREAM = (OSError, EOFError, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True)
class Head:
    """The beginning of a file, decompressed: up to 64 KiB, and its first lines that are there whole."""

    name: str
    data: bytes

    @cached_property
    def text(self) -> str:
        """The beginning as text, without a byte order mark."""
        for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
            if self.data.startswith(mark):
                return self.data[len(mark) :].decode(encoding, "replace")
        return self.data.decode("utf-8", "replace")

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Up to 50 lines that are not blank. The last is left out where it may be cut off."""
        lines = self.text.splitlines()
        if len(self.data) >= _HEAD_BYTES and len(lines) > 1:
            lines.pop()
        return tuple(line for line in lines if line.strip())[:_HEAD_LINES]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but white space."""
        return not self.data.strip()


class Input:
    """One file, or standard input. It can be read several times over, from its beginning.

    ``on_read`` is told how many bytes of it, as they are stored, were read since it was told last.
    """

    def __init__(self, name: str, origin: "Path | Spool") -> None:
        self.name = name
        self.on_read: Callable[[int], None] = lambda _: None
        self._origin = origin
        self._change: Callable[[BinaryIO], BinaryIO] = lambda stream: stream

    def seen_through(self, change: Callable[[BinaryIO], BinaryIO]) -> "Input":
        """The same file with other contents: what ``change`` makes of its own."""
        other = Input(self.name, self._origin)
        other.on_read, before = self.on_read, self._change
        other._change = lambda stream: change(before(stream))
        return other

    @property
    def size_bytes(self) -> int:
        """Its size as it is stored."""
        return self._origin.stat().st_size if isinstance(self._origin, Path) else self._origin.size_bytes

    @cached_property
    def head(self) -> Head:
        """Its beginning, as far as it can be read. Raises InputError where nothing can."""
        data = b""
        with self._raw() as raw:
            stream = self._change(_decompressed(io.BufferedReader(raw)))
            try:
                while len(data) < _HEAD_BYTES and (piece := stream.read(min(4096, _HEAD_BYTES - len(data)))):
                    data += piece
            except BROKEN_STREAM as error:
                if not data:
                    raise self._unreadable(error) from error
        return Head(self.name, data)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its contents, decompressed (gzip, bzip2, Zstandard; known by their first bytes).

        Raises InputError where it cannot be opened. Reading may raise one of BROKEN_STREAM, where a compressed file is
        damaged or breaks off.
        """
        with self._raw() as raw:
            yield self._change(_decompressed(io.BufferedReader(_Watched(raw, self.on_read), _BUFFER_BYTES)))

    def _raw(self) -> io.RawIOBase:
        if isinstance(self._origin, Spool):
            return self._origin.open()
        try:
            return self._origin.open("rb", buffering=0)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> InputError:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
        return InputError(f"{self.name} cannot be read: {reason}.")


def find_inputs(patterns: Iterable[str]) -> list[Input]:
    """The files that paths and globs name, each once, in the order given; ``-`` is standard input.

    Raises InputError where nothing is found, or where a folder is.
    """
    return [input_of(path) for path in find_paths(patterns)]


def find_paths(patterns: Iterable[str]) -> list[Path]:
    """The files and folders that paths and globs name, each once, in the order given; ``-`` stays as it is.

    Raises InputError where nothing is found.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        is_path = pattern == STDIN or os.path.lexists(pattern)
        paths = [Path(pattern)] if is_path else _matching(pattern)
        if not paths:
            raise InputError(f"There is no file {pattern}.")
        for path in paths:
            found.setdefault(path if str(path) == STDIN else path.resolve(), path)
    return list(found.values())


def input_of(path: Path) -> Input:
    """A file, a pipe or standard input; the last two are kept in a ``Spool`` so that they too can be read twice.

    Raises InputError where it is a folder or a device, and where a pipe or standard input cannot be read.
    """
    if str(path) == STDIN:
        if sys.stdin is None:
            raise InputError("Standard input is closed.")
        return Input("standard input", Spool(sys.stdin.buffer))
    if path.is_dir():
        raise InputError(f"{path} is a folder, and no capture.", f"Name the files in it: '{path}/*'.")
    if path.is_fifo():  # as the shell makes for <(command)
        try:
            with path.open("rb") as pipe:
                return Input(str(path), Spool(pipe))
        except PermissionError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a device, and no file.")
    return Input(str(path), path)


def _matching(pattern: str) -> list[Path]:
    return sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 - Path.glob takes no absolute pattern


class _Watched(io.RawIOBase):
    """Tells how much was read of a file."""

    def __init__(self, file: io.RawIOBase, on_read: Callable[[int], None]) -> None:
        self._file = file
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) or 0
        self._on_read(count)
        return count


class _Zstandard(io.RawIOBase):
    """What frames of Zstandard hold. Raises EOFError where they break off; zstandard's own reader takes no notice."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._frame = _new_frame()
        self._has_begun = False
        self._data = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        while not self._data:
            piece = self._frame.unused_data or self._stream.read(_ZSTANDARD_BYTES)
            if not piece:
                if self._has_begun and not self._frame.eof:
                    raise EOFError("it breaks off")
                return 0
            if self._frame.eof:
                self._frame = _new_frame()
            self._data = memoryview(self._frame.decompress(piece))
            self._has_begun = True
        count = min(len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count


def _new_frame() -> "zstandard.ZstdDecompressionObj":
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def _decompressed(stream: io.BufferedReader) -> BinaryIO:
    start = stream.peek(4)
    if start.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if start.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(stream))
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return cast("BinaryIO", io.BufferedReader(_Zstandard(stream), _BUFFER_BYTES))
    return stream
