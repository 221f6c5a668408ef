"""Follows a log file while an arm is played, and folds its lines into templates.

Memory and time are bounded however fast the log grows: a line that came before is known by its bytes; of others at most
so many a second are read one by one, those beyond are counted only; at most so many templates are kept, the others fall
into one.
"""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from replay.errors import InputError
from replay.evidence.values import LogEvent
from replay.rehearsal.probes.plan import ProbePlan, Setting
from replay.rehearsal.probes.readings import Readings, Sampler
from replay.rehearsal.table import Table

OTHER = "(lines of other templates)"
NOT_READ = "(lines beyond what is read one by one)"
_INTERVAL_S = 0.1
_CHUNK = 1 << 20
_LINES_READ = 500  # a second
_TEMPLATES = 200  # an arm
_LINES_KNOWN = 2_000
_LONGEST_LINE = 1_000
_LONGEST_TEMPLATE = 300
_LONGEST_EXAMPLE = 500
# In the order in which they are replaced.
_FOLDS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"), "<time>"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<uuid>"),
    # The database's names stay: which column is missing is what one wants to know.
    (
        re.compile(
            r"(?<!\w)'[^']*'(?!\w)"
            r"|(?<!\w)(?<!\bcolumn )(?<!\brelation )(?<!\bconstraint )(?<!\btable )(?<!\bindex )\"[^\"]*\""
        ),
        "<text>",
    ),
    (re.compile(r"\?[^\s\"']+=[^\s\"']*"), "?<query>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"), "<hex>"),
    (re.compile(r"(?<![\w.>])(?:/[\w.@+~-]+){2,}/[\w.@+~-]*\.\w+"), "<path>"),
    (re.compile(r"\b(?=[\w-]*\d)[\w-]{20,}\b"), "<word>"),
    (re.compile(r"(?<![A-Za-z_])\d+(?:\.\d+)?"), "<n>"),
)


def template_of(line: str) -> str:
    """A line without what differs from one occurrence to the next: times, ids, quoted texts, file paths, numbers."""
    for pattern, name in _FOLDS:
        line = pattern.sub(name, line)
    return line[:_LONGEST_TEMPLATE]


@dataclass(slots=True)
class _Second:
    """What came within one second."""

    number: int
    lines: int
    read: int
    events: dict[str, list[int | str]]  # template: count, example


@dataclass(frozen=True, slots=True)
class LogProbePlan(ProbePlan):
    """A log file that grows."""

    path: Path

    def check(self) -> None:
        """The file may come later, its folder not."""
        if not self.path.parent.is_dir():
            raise InputError(f"The log {self.path} cannot be: its folder is not there.")

    def open(self, setting: Setting) -> "LogProbe":
        """The probe of one arm."""
        return LogProbe(self, setting)


def read_log(name: str, table: Table) -> LogProbePlan:
    """Read the table of such a probe: ``path``."""
    path = table.path("path")
    if path is None:
        raise table.error("path", "is missing", "It names the log file.")
    return LogProbePlan(name, path)


class LogProbe:
    """The probe of one log file: from its end at the start, through rotation and truncation."""

    def __init__(self, plan: LogProbePlan, setting: Setting) -> None:
        self._name = plan.name
        self._tail = _Tail(plan.path)
        self._clock = setting.clock
        self._readings = Readings(plan.name, setting.clock, setting.readings(plan.name))
        self._log = setting.log(plan.name)
        self._scrub = setting.scrub
        self._templates: set[str] = set()
        self._known: dict[bytes, tuple[str, str]] = {}  # a line's template, and the line as an example
        self._second = _Second(0, 0, 0, {})
        self._sampler = Sampler(f"probe {plan.name}", _INTERVAL_S, self._sample, self._end)

    def start(self) -> None:
        """Stand at the file's end, and begin to read."""
        self._tail.open_at_end()
        self._sampler.start()

    def stop(self) -> None:
        """Read what is left, and close it."""
        self._sampler.stop()

    def _sample(self) -> None:
        now_s = self._clock.now_s()
        if now_s < 0:
            self._tail.open_at_end()
            return
        while self._second.number < int(now_s):
            self._close_second()
        try:
            self._tail.read(self._take)
        except OSError as error:
            self._readings.failed(f"{type(error).__name__}: {error.strerror}")

    def _take(self, chunk: bytes) -> None:
        """Take in whole lines."""
        second = self._second
        for line in chunk.split(b"\n")[:-1]:
            second.lines += 1
            if (known := self._known.get(line)) is not None:
                self._add(*known)
            elif second.read < _LINES_READ:
                second.read += 1
                self._count(line)
            else:
                self._add(NOT_READ, "")

    def _count(self, whole: bytes) -> None:
        line = whole[:_LONGEST_LINE].decode("utf-8", errors="replace").rstrip()
        if not line:
            return
        line = self._scrub(line)
        template = template_of(line)
        if template not in self._templates:
            if len(self._templates) >= _TEMPLATES:
                template = OTHER
            else:
                self._templates.add(template)
        if len(self._known) < _LINES_KNOWN:
            self._known[whole] = (template, line[:_LONGEST_EXAMPLE])
        self._add(template, line[:_LONGEST_EXAMPLE])

    def _add(self, template: str, example: str) -> None:
        event = self._second.events.setdefault(template, [0, example])
        event[0] = int(event[0]) + 1

    def _close_second(self) -> None:
        second = self._second
        self._readings.add("log_lines", float(second.lines), at_s=float(second.number))
        events = [
            LogEvent(float(second.number), self._name, template, int(count), str(example))
            for template, (count, example) in second.events.items()
        ]
        with contextlib.suppress(OSError):
            self._log.write(events)
        self._second = _Second(second.number + 1, 0, 0, {})

    def _end(self) -> None:
        if self._clock.now_s() >= 0:
            self._sample()
            self._close_second()
            if not self._tail.found:
                self._readings.failed(f"there was no file {self._tail.path}")
        self._tail.close()
        self._readings.close()


class _Tail:
    """A growing file, read on from where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = False
        self._file: BinaryIO | None = None
        self._half = b""

    def open_at_end(self) -> None:
        """Stand at the end; where there is no file yet, all that it will hold is new."""
        self.close()
        with contextlib.suppress(OSError):
            self._file = self.path.open("rb")
            self._file.seek(0, os.SEEK_END)
            self.found = True

    def read(self, take: Callable[[bytes], None]) -> None:
        """Give all whole lines since the last time, in chunks. Raises OSError where the file cannot be read."""
        if self._file is None:
            try:
                self._file = self.path.open("rb")
            except FileNotFoundError:
                return
        self._read_on(self._file, take)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return  # moved away; the new one is not there yet
        ours = os.fstat(self._file.fileno())
        if (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
            self._read_on(self._file, take)
            self.close()
            self._file = self.path.open("rb")
            self._read_on(self._file, take)
        elif there.st_size < self._file.tell():
            self._half = b""
            self._file.seek(0)
            self._read_on(self._file, take)

    def close(self) -> None:
        """Close the file."""
        self._half = b""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _read_on(self, file: BinaryIO, take: Callable[[bytes], None]) -> None:
        self.found = True
        end = os.fstat(file.fileno()).st_size  # a file that grows as fast as it is read must not hold us here
        while file.tell() < end and (chunk := file.read(_CHUNK)):
            text = self._half + chunk
            whole = text.rfind(b"\n") + 1
            if whole:
                take(text[:whole])
            # A line without an end keeps its beginning only.
            self._half = text[whole:][:_LONGEST_LINE]
