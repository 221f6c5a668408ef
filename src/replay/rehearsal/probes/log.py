"""Follows a log while an arm is played, and counts its entries by second and template.

Memory and time are bounded however fast the log grows: whole chunks are folded at once, of new kinds of lines at most
so many a second are looked at one by one, so many templates are kept, and at most half of one processor's time is
spent on all of it. What is beyond is counted only, and said.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from replay.errors import InputError
from replay.evidence.values import LogEvent
from replay.rehearsal.probes.entries import FORMATS, LEVELS, EntryReader
from replay.rehearsal.probes.folding import fold, template_of
from replay.rehearsal.probes.output import Output
from replay.rehearsal.probes.plan import ProbePlan, Setting
from replay.rehearsal.probes.readings import Readings
from replay.rehearsal.probes.tail import Tail
from replay.rehearsal.table import Command, Table

OTHER = "(lines of other templates)"
NOT_READ = "(lines beyond what is read one by one)"
_INTERVAL_S = 0.1
_SHARE = 0.5  # of one processor
_AHEAD_S = 1.0  # so much of it at once
_READ_S = 500  # new kinds of lines a second
_TEMPLATES = 200  # an arm
_TEMPLATES_OFTEN = 400  # those included that come often
_OFTEN = 10
_KEYS = 2_000
_LONGEST_EXAMPLE = 500
_STOP_S = 30.0


class Source(Protocol):
    """Where lines come from: a file or a command."""

    @property
    def reads(self) -> bool:
        """Whether no line is missed at the moment."""

    @property
    def missing(self) -> str:
        """What was never there, in words; empty where nothing is missing."""

    def skip(self) -> None:
        """Leave out what is there already."""

    def wait(self, timeout_s: float) -> None:
        """Wait for more, at most so long."""

    def read(self, take: Callable[[bytes], None]) -> None:
        """Give the whole lines since the last time. Raises OSError."""

    def close(self) -> None:
        """End."""


@dataclass(frozen=True, slots=True)
class LogProbePlan(ProbePlan):
    """A log: a file that grows, or what a command says in ``folder``."""

    path: Path | None = None
    command: Command | None = None
    folder: Path = Path()
    form: str | None = None
    levels: tuple[str, ...] = ()

    @property
    def reads(self) -> frozenset[str]:
        """Lines."""
        return frozenset({"log_lines"})

    def source(self, environment: Mapping[str, str]) -> Tail | Output:
        """What its lines come from; a command sees ``environment``."""
        if self.command is not None:
            return Output(self.command, self.folder, environment)
        return Tail(self.path or self.folder)

    def check(self) -> None:
        """The file may come later, its folder not; a command's program must be there."""
        if self.path is not None and not self.path.parent.is_dir():
            raise InputError(f"The log {self.path} cannot be: its folder is not there.")
        if self.command is not None and (wrong := Output(self.command, self.folder, {}).check()):
            raise InputError(f"The log {self.name!r} cannot be read: {wrong}.")

    def open(self, setting: Setting) -> "LogProbe":
        """The probe of one arm."""
        return LogProbe(self, setting)


def read_log(name: str, table: Table) -> LogProbePlan:
    """Read the table of such a probe: ``path`` or ``command``, ``format``, ``levels``. Raises PlanError."""
    path, command = table.path("path"), table.command("command")
    form = table.text("format", choices=FORMATS)
    levels = table.texts("levels")
    if path is None and command is None:
        raise table.error("path", "is missing", "It names the log file; command what follows a log that is no file.")
    if path is not None and command is not None:
        raise table.error("command", "cannot stand beside path", "A log is one or the other.")
    for level in levels:
        if level not in LEVELS:
            raise table.error("levels", f"has {level!r}, and must be of {', '.join(LEVELS)}")
    folder = table.folder
    return LogProbePlan(name, path, command, folder, form, levels)


@dataclass(slots=True)
class _Second:
    """What came within one second."""

    number: int
    lines: int = 0
    read: int = 0
    events: dict[str, list[int | str]] = field(default_factory=dict)  # template: count, example


class LogProbe:
    """The probe of one log: from its end at the start on."""

    def __init__(self, plan: LogProbePlan, setting: Setting) -> None:
        self._name = plan.name
        self._source: Source = plan.source(setting.environment)
        self._reader = EntryReader(plan.form, plan.levels)
        self._clock = setting.clock
        self._readings = Readings(plan.name, setting.clock, setting.readings(plan.name))
        self._log = setting.log(plan.name)
        self._scrub = setting.scrub
        self._templates: set[str] = set()
        self._known: dict[str, str] = {}  # the template of a folded line, which may hold secrets
        self._second = _Second(0)
        self._left_s = _AHEAD_S
        self._refilled_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"probe {plan.name}", daemon=True)

    def start(self) -> None:
        """Stand at the log's end, and begin to read."""
        self._source.skip()
        self._thread.start()

    def stop(self) -> None:
        """Read what is left, and close it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)

    def _follow(self) -> None:
        try:
            while not self._stopping.is_set():
                self._sample()
                self._source.wait(_INTERVAL_S)
        finally:
            self._end()

    def _sample(self) -> None:
        now_s = self._clock.now_s()
        if now_s < 0:
            self._source.skip()
            return
        while self._second.number < int(now_s):
            self._close_second()
        self._refill()
        try:
            self._source.read(self._take)
        except OSError as error:
            self._readings.failed(self._scrub(f"{type(error).__name__}: {error.strerror or error}"))

    def _refill(self) -> None:
        now_s = time.monotonic()
        self._left_s = min(_AHEAD_S, self._left_s + _SHARE * (now_s - self._refilled_s))
        self._refilled_s = now_s

    def _take(self, chunk: bytes) -> None:
        """Take in whole lines."""
        if self._left_s <= 0 and not self._reader.must_read:
            lines = chunk.count(b"\n")
            self._second.lines += lines
            self._add(NOT_READ, lines, "")
            return
        began_s = time.thread_time()
        entries = self._reader.read(chunk[:-1].decode("utf-8", errors="replace"))
        self._second.lines += entries.lines
        if self._left_s > 0:
            self._count(entries.texts, entries.examples)
        else:
            self._add(NOT_READ, len(entries.texts), "")
        self._left_s -= time.thread_time() - began_s

    def _count(self, texts: list[str], examples: list[str]) -> None:
        if not texts:
            return
        folded = fold("\n".join(texts)).split("\n")
        firsts: dict[str, int] | None = None
        for key, count in Counter(folded).items():
            template, example = self._known.get(key), ""
            if template not in self._second.events:
                if firsts is None:
                    firsts = {one: place for place, one in reversed(list(enumerate(folded)))}
                place = firsts[key]
                template = template or self._template(key, texts[place], count)
                example = "" if template in (NOT_READ, OTHER) else self._scrub(examples[place])[:_LONGEST_EXAMPLE]
            self._add(template, count, example)

    def _template(self, key: str, text: str, count: int) -> str:
        """The template of a folded line that is not known yet."""
        if self._second.read >= _READ_S:
            return NOT_READ
        self._second.read += 1
        template = template_of(self._scrub(text))
        if template not in self._templates:
            # What comes again and again tells more than what came once each, and first.
            most = _TEMPLATES if count < _OFTEN else _TEMPLATES_OFTEN
            if len(self._templates) >= most:
                return OTHER
            self._templates.add(template)
        if len(self._known) >= _KEYS:
            self._known.clear()
        self._known[key] = template
        return template

    def _add(self, template: str, count: int, example: str) -> None:
        if count:
            event = self._second.events.setdefault(template, [0, example])
            event[0] = int(event[0]) + count

    def _close_second(self) -> None:
        second = self._second
        if second.lines or self._source.reads:
            self._readings.add("log_lines", float(second.lines), at_s=float(second.number))
        events = [
            LogEvent(float(second.number), self._name, template, int(count), str(example))
            for template, (count, example) in second.events.items()
        ]
        with contextlib.suppress(OSError):
            self._log.write(events)
        self._second = _Second(second.number + 1)

    def _end(self) -> None:
        if self._clock.now_s() >= 0:
            self._sample()
            self._close_second()
            if self._source.missing:
                self._readings.failed(self._source.missing)
        self._source.close()
        self._readings.close()
