"""A growing file, read on from where it was, through rotation and truncation."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from replay.rehearsal.probes.entries import LONGEST_LINE

_CHUNK = 1 << 18  # folding one holds up the process's other threads, so it is not larger


class WholeLines:
    """Gives whole lines out of chunks that end anywhere."""

    def __init__(self) -> None:
        self._half = b""

    def cut(self, chunk: bytes) -> bytes:
        """The whole lines so far, with their ends. A line without an end keeps its beginning only."""
        text = self._half + chunk
        whole = text.rfind(b"\n") + 1
        self._half = text[whole : whole + LONGEST_LINE]
        return text[:whole]

    def forget(self) -> None:
        """Drop the line that has no end yet."""
        self._half = b""


class Tail:
    """The lines of one file. It may come later, be moved away, and be cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = False
        self._file: BinaryIO | None = None
        self._lines = WholeLines()

    @property
    def reads(self) -> bool:
        """Whether no line can be missed at the moment: one that was not there yet will be read when it comes."""
        return True

    @property
    def missing(self) -> str:
        """What was never there; empty where it was."""
        return "" if self._found else f"there was no file {self._path}"

    def skip(self) -> None:
        """Stand at the end; where there is no file yet, all that it will hold is new."""
        self.close()
        with contextlib.suppress(OSError):
            self._file = self._path.open("rb")
            self._file.seek(0, os.SEEK_END)
            self._found = True

    def wait(self, timeout_s: float) -> None:
        """Wait until reading on makes sense."""
        time.sleep(timeout_s)

    def read(self, take: Callable[[bytes], None]) -> None:
        """Give all whole lines since the last time, in chunks. Raises OSError where the file cannot be read."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return
        self._read_on(self._file, take)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return  # moved away; the new one is not there yet
        ours = os.fstat(self._file.fileno())
        if (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
            self._read_on(self._file, take)
            self.close()
            self._file = self._path.open("rb")
            self._read_on(self._file, take)
        elif there.st_size < self._file.tell():
            self._lines.forget()
            self._file.seek(0)
            self._read_on(self._file, take)

    def close(self) -> None:
        """Close the file."""
        self._lines.forget()
        if self._file is not None:
            self._file.close()
        self._file = None

    def _read_on(self, file: BinaryIO, take: Callable[[bytes], None]) -> None:
        self._found = True
        end = os.fstat(file.fileno()).st_size  # a file that grows as fast as it is read must not hold us here
        while file.tell() < end and (chunk := file.read(_CHUNK)):
            if whole := self._lines.cut(chunk):
                take(whole)
