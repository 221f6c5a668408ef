"""Reading one TOML table of a plan: every key is asked for by name, and what nobody asked for is an error.

While it is read, the table is written down again as it was resolved: defaults filled in, ``${NAME}`` left as it stands.
"""

import difflib
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.durations import parse_duration_s
from replay.errors import PlanError

_VARIABLE = re.compile(r"\$(\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_LEAST, _MOST = 1e-9, 1e9
_MOST_BYTES = 1e18
_MOST_WHOLE = 2**63
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(kB|MB|GB|TB)")
_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MISSING = object()

Texts = tuple[tuple[str, str], ...]
"""Texts with their names."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments. No shell reads it; a plan that wants one writes ``sh -c '...'``."""

    words: tuple[str, ...] = field(repr=False)
    written: str


@dataclass(frozen=True, slots=True)
class Dsn:
    """A PostgreSQL connection string; ``written`` is how the plan has it."""

    value: str = field(repr=False)
    written: str = field(repr=False)


@dataclass(slots=True)
class Surroundings:
    """Where a plan is read: its file, the environment, and which variables it took from there."""

    file: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    used: dict[str, str] = field(default_factory=dict)

    def expand(self, text: str, where: str) -> str:
        """``text`` with ``${NAME}`` replaced and ``$$`` as one dollar. Raises PlanError for a variable not set."""

        def value(match: re.Match[str]) -> str:
            if match[1] == "$":
                return "$"
            name = match[2]
            if name not in self.environment:
                raise self.error(
                    f"{where} needs the environment variable {name}, which is not set.", f"Set it: export {name}=..."
                )
            self.used[name] = self.environment[name]
            return self.environment[name]

        return _VARIABLE.sub(value, text)

    def error(self, sentence: str, hint: str = "") -> PlanError:
        """A PlanError that names the plan's file."""
        return PlanError(f"{self.file}: {sentence}", hint)


class Table:
    """One table. ``name`` is how messages call it, such as ``[target]``."""

    def __init__(self, name: str, values: object, surroundings: Surroundings) -> None:
        self.name = name
        self._around = surroundings
        if not isinstance(values, Mapping):
            raise surroundings.error(f"{name} must be a table.")
        self._values: Mapping[str, Any] = values
        self._asked: list[str] = []
        self.resolved: dict[str, Any] = {}

    def text(self, key: str, default: str | None = None, choices: Sequence[str] = ()) -> str | None:
        """A text, or its default."""
        value = self._get(key, default)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a text that is not empty")
        expanded = self._around.expand(value, self._where(key))
        if choices and expanded not in choices:
            near = difflib.get_close_matches(expanded, choices, 1)
            hint = f'Did you mean "{near[0]}"?' if near else ""
            raise self.error(key, f"is {expanded!r}, and must be one of {', '.join(choices)}", hint)
        return expanded

    def required_text(self, key: str, choices: Sequence[str] = ()) -> str:
        """A text that must be there."""
        value = self.text(key, choices=choices)
        if value is None:
            raise self._around.error(f"{self.name} needs {key}.", self._known())
        return value

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts."""
        value = self._get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise self.error(key, "must be a list of texts")
        return tuple(self._around.expand(item, self._where(key)) for item in value)

    def number(self, key: str, default: float) -> float:
        """A number above 0."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise self.error(key, f"is {value!r}, and must be a number above 0")
        if not _LEAST <= value <= _MOST:
            raise self.error(key, f"must be from {_LEAST:g} to {_MOST:g}")
        return float(value)

    def share(self, key: str) -> float | None:
        """A number above 0 and below 1, or None."""
        value = self._get(key, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise self.error(key, f"is {value!r}, and must be a share between 0 and 1")
        return float(value)

    def size_bytes(self, key: str, default: str) -> int:
        """A size in bytes, such as ``"200MB"`` or ``"1.5GB"``."""
        value = self._get(key, default)
        text = self._around.expand(value, self._where(key)).replace(" ", "") if isinstance(value, str) else ""
        match = _SIZE.fullmatch(text)
        if match is None:
            raise self.error(key, f"is {value!r}, which is not a size", 'Write it like "200MB" or "1.5GB".')
        size = float(match[1]) * _BYTES[match[2]]
        if size > _MOST_BYTES:
            raise self.error(key, "is more than any disk has")
        return round(size)

    def whole(self, key: str, default: int) -> int:
        """A whole number."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"is {value!r}, and must be a whole number")
        if abs(value) >= _MOST_WHOLE:
            raise self.error(key, "is too large a number")
        return value

    @property
    def folder(self) -> Path:
        """The plan's folder."""
        return self._around.file.parent

    def texts_by_name(self, key: str) -> Texts:
        """A table of texts: each with its name, in their order."""
        value = self._get(key, None)
        if value is None:
            return ()
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise self.error(key, "must be a table of texts", f'Write it like {key} = {{ NAME = "text" }}.')
        return tuple(
            (name, self._around.expand(text, f'"{name}" of {self._where(key)}')) for name, text in value.items()
        )

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"is {value!r}, and must be true or false")
        return value

    def duration_s(self, key: str, default: str | None = None, *, zero: bool = False) -> float | None:
        """A duration in seconds, such as ``"20s"``, ``"10m"``, ``"1.5h"`` or ``"1m30s"``."""
        value = self._get(key, default)
        if value is None:
            return None
        text = self._around.expand(value, self._where(key)) if isinstance(value, str) else ""
        seconds = parse_duration_s(text)
        if seconds is None:
            raise self.error(key, f"is {value!r}, which is not a duration", 'Write it like "20s", "10m" or "1.5h".')
        if not seconds and not zero:
            raise self.error(key, "must be longer than 0")
        if seconds > _MOST:
            raise self.error(key, "is longer than anybody can wait")
        return seconds

    def durations_s(self, key: str, *, zero: bool = False) -> tuple[float, ...]:
        """One duration, or a list of them, in seconds; empty where the key is not there."""
        value = self._values.get(key)
        if not isinstance(value, list):
            found = self.duration_s(key, zero=zero)
            return () if found is None else (found,)
        self._get(key, None)
        if not value:
            raise self.error(key, "is an empty list", 'Write it like ["20s", "27s"].')
        read = [Table(self.name, {key: one}, self._around).duration_s(key, zero=zero) for one in value]
        return tuple(seconds for seconds in read if seconds is not None)

    def path(self, key: str) -> Path | None:
        """A path, relative to the plan's folder."""
        value = self.text(key)
        return None if value is None else self._around.file.parent / Path(value).expanduser()

    def table(self, key: str) -> "Table | None":
        """A table in this one, or None where the key is not there or something else."""
        value = self._values.get(key)
        if not isinstance(value, Mapping):
            return None
        inner = Table(f'"{key}" in {self.name}', value, self._around)
        self._asked.append(key)
        self.resolved[key] = inner.resolved
        return inner

    def command(self, key: str) -> Command | None:
        """A command line, split into words as a shell would; variables are put in afterwards, and stay whole.

        A command that is nothing but one variable is split after that was put in.
        """
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a command")
        try:
            alone = _VARIABLE.fullmatch(value.strip())
            words = shlex.split(self._around.expand(value, self._where(key)) if alone else value)
            if not words:
                raise self.error(key, "is an empty command")
        except ValueError as error:
            raise self.error(key, f"is not a command: {error}") from error
        return Command(
            tuple(words if alone else (self._around.expand(word, self._where(key)) for word in words)), value
        )

    def dsn(self, key: str) -> Dsn | None:
        """A PostgreSQL connection string."""
        value = self.text(key)
        return None if value is None else Dsn(value, str(self._values[key]))

    def dsns(self, key: str) -> tuple[Dsn, ...]:
        """A list of PostgreSQL connection strings."""
        values = self.texts(key)
        return tuple(Dsn(value, written) for value, written in zip(values, self._values.get(key, []), strict=True))

    def done(self) -> None:
        """Say that every key has been asked for. Raises PlanError for a key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                raise self._around.error(f'{self.name} has an unknown key "{key}".', suggest(key, self._asked))

    def error(self, key: str, what: str, hint: str = "") -> PlanError:
        """A PlanError about one key."""
        return self._around.error(f"{self._where(key)} {what}.", hint)

    def _get(self, key: str, default: object) -> Any:
        self._asked.append(key)
        value = self._values.get(key, _MISSING)
        if value is _MISSING:
            value = default
        if value is not None:
            self.resolved[key] = value
        return value

    def _where(self, key: str) -> str:
        return f'"{key}" in {self.name}'

    def _known(self) -> str:
        there = ", ".join(self._values) or "nothing"
        return f"It has {there}."


def named_tables(kind: str, values: Mapping[str, Any], around: Surroundings) -> list[tuple[str, Table]]:
    """The tables ``[kind.NAME]`` with their names, which can be a folder's or a file's. Raises PlanError."""
    tables = values.get(kind, {})
    if not isinstance(tables, dict):
        raise around.error(f"{kind} must hold named tables.", f"Write [{kind}.NAME].")
    for name in tables:
        if not _NAME.fullmatch(name):
            raise around.error(f"[{kind}.{name!r}] has a name that cannot be a folder's.", "Use letters, digits, - _ .")
    return [(name, Table(f"[{kind}.{name}]", table, around)) for name, table in tables.items()]


def suggest(key: str, known: Sequence[str]) -> str:
    """A hint that names the nearest known key, and all of them."""
    near = difflib.get_close_matches(key.lower(), known, 1, cutoff=0.5)
    return (f'Did you mean "{near[0]}"? ' if near else "") + f"Known: {', '.join(known)}."
