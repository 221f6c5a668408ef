"""The entries of a log: a line of text or a JSON object, with the lines that belong to it."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

FORMATS = ("text", "json")
LONGEST_LINE = 65_536
_LONGEST_TEXT = 1_000
_NESTED = 3
_LEVEL_BY = 200  # characters from a line's start
_BELONGS = (" ", "\t", "Traceback (most", "Caused by: ", "... ")
_BELONGING = re.compile(r"\n(?:(?:[ \t]|Traceback \(most|Caused by: |\.\.\. )[^\n]*)?(?=\n|\Z)")
_SAME = {
    "trace": ("trace", "verbose"),
    "debug": ("debug",),
    "info": ("info", "information"),
    "notice": ("notice",),
    "warning": ("warning", "warn"),
    "error": ("error", "err", "severe"),
    "critical": ("critical", "crit"),
    "alert": ("alert",),
    "emergency": ("emergency", "emerg"),
    "fatal": ("fatal",),
    "panic": ("panic",),
}
LEVELS = tuple(_SAME)
_LEVEL_OF = {word: level for level, words in _SAME.items() for word in words}
_LEVEL = re.compile(rf"\b(?:{'|'.join(sorted(_LEVEL_OF, key=len, reverse=True))})\b", re.IGNORECASE)
# As numbers: those that loggers of JavaScript write, and syslog's priorities in the journal's JSON.
_BY_TENS = dict(zip((10, 20, 30, 40, 50, 60), ("trace", "debug", "info", "warning", "error", "fatal"), strict=True))
_SYSLOG = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_LEVEL_FIELDS = ("level", "severity", "lvl", "levelname", "log.level")
_MESSAGE_FIELDS = ("message", "msg", "log", "event", "error", "MESSAGE")


@dataclass(slots=True)
class Entries:
    """What was read: how many lines count, the text of each entry, and the line that it came from."""

    lines: int = 0
    texts: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


class EntryReader:
    """Reads one log on and on. ``levels``: only entries of such levels count, with what belongs to them; empty: all.

    Lines that begin with white space, and those of tracebacks, belong to the entry before.
    """

    def __init__(self, form: str | None = None, levels: Collection[str] = ()) -> None:
        self._form = form
        self._levels = frozenset(levels)
        self._counts = not levels  # whether the entry does that following lines belong to

    @property
    def must_read(self) -> bool:
        """Whether a line has to be read for it to be counted."""
        return bool(self._levels)

    def read(self, text: str) -> Entries:
        """Read whole lines; the last one's end is left out."""
        text = text.replace("\r\n", "\n").removesuffix("\r")
        if self._levels or self._form == "json" or (self._form is None and (text[:1] == "{" or "\n{" in text)):
            return self._read_each(text)
        lines = text.count("\n") + 1
        texts = _BELONGING.sub("", f"\n{text}").split("\n")[1:]
        if texts and max(map(len, texts)) > _LONGEST_TEXT:
            texts = [line[:_LONGEST_TEXT] for line in texts]
        return Entries(lines, texts, texts)

    def _read_each(self, text: str) -> Entries:
        found = Entries()
        for line in text.split("\n"):
            entry, level = self._entry(line)
            if entry and not entry.startswith(_BELONGS):
                level = level or (_level_in(entry) if self._levels else "")
                self._counts = not self._levels or level in self._levels
                if self._counts:
                    found.texts.append(entry[:_LONGEST_TEXT])
                    found.examples.append(line[:_LONGEST_TEXT])
            found.lines += self._counts
        return found

    def _entry(self, line: str) -> tuple[str, str]:
        """The text to be folded, and its level where a field has it."""
        if self._form == "text":
            return line, ""
        start = line.find("{") if self._form == "json" else 0
        if line[start : start + 1] != "{":
            return line, ""
        message, level = _of_json(line[start:])
        if message is None:
            return line, level
        # A level that the message is not told without: a warning and an error may read alike.
        return (f"{level.upper()} {message}" if level and not message[:1].isspace() else message), level


def _of_json(text: str, depth: int = 1) -> tuple[str | None, str]:
    """The message (None where there is none) and the level of a JSON object."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None, ""
    if not isinstance(values, dict):
        return None, ""
    level = _level_of(values)
    message = _message_of(values)
    if message is not None and message.startswith("{") and depth < _NESTED:  # as containers' logs are wrapped
        inner, inner_level = _of_json(message, depth + 1)
        return (message if inner is None else inner), inner_level or level
    return (None if message is None else message.split("\n", 1)[0].rstrip()), level


def _message_of(values: dict[str, Any]) -> str | None:
    for name in _MESSAGE_FIELDS:
        value = values.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value:
            return value
    return None


def _level_of(values: dict[str, Any]) -> str:
    for name in _LEVEL_FIELDS:
        value = values.get(name)
        if isinstance(value, str):
            return _LEVEL_OF.get(value.lower(), "")
        if isinstance(value, int):
            return _BY_TENS.get(value, "")
    nested, priority = values.get("log"), values.get("PRIORITY")
    if isinstance(nested, dict):
        return _level_of({"level": nested.get("level")})
    return _SYSLOG[int(priority)] if isinstance(priority, str) and priority in "01234567" and priority else ""


def _level_in(line: str) -> str:
    """The first word of a line that names a level."""
    found = _LEVEL.search(line, 0, _LEVEL_BY)
    return _LEVEL_OF[found[0].lower()] if found else ""
