"""Keeping secrets out of what is written down and shown."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

_SHORTEST = 4  # a shorter secret would tear ordinary words apart, and protects nothing
_HIDDEN = "***"
_NAMES = frozenset({"client", "client_id", "username", "user", "name"})  # columns of identities that hold no secret
# What gives a secret away by its surroundings, whoever's it is.
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^@\s/]+(?=@)")
_NAMED = re.compile(
    r"(?i)\b([\w-]*(?:password|passwd|pwd|secret|api[-_]?key|access[-_]?token|refresh[-_]?token))"
    r"""(["']?\s*[=:]\s*["']?)(?!["'])[^\s"',;&)]+"""
)
# As an option of a command (--password X), and as SQL has it (PASSWORD 'x').
_SPACED = re.compile(
    r"(?i)(--[\w-]*(?:password|passwd|secret|token|api-key)\s+|\bpassword\s+(?='))(?!\$\{)('[^']*'|\S+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}")
_WORD = re.compile(r"[\w-]{6,}")
_LITERAL = re.compile(r"(?<!route=)'[\w.~+/=-]{16,}'")
_JWT = re.compile(r"\beyJ[\w-]{6,}\.[\w-]{4,}\.[\w-]*")


class Scrubber:
    """Takes known secrets, and what looks like one, out of a text.

    ``named`` maps an environment variable to its value, which is written back as ``${NAME}``. ``secrets`` are further
    values, which become ``***``; ``words`` are very many more, found only where they stand as whole words.
    """

    def __init__(
        self, named: Mapping[str, str] | None = None, secrets: Iterable[str] = (), words: Iterable[str] = ()
    ) -> None:
        replacements = dict.fromkeys(secrets, _HIDDEN)
        for name, value in (named or {}).items():
            replacements[value] = f"${{{name}}}"
            for password in passwords_in(value):
                replacements.setdefault(password, _HIDDEN)
        self._replacements = {value: shown for value, shown in replacements.items() if len(value) >= _SHORTEST}
        longest_first = sorted(self._replacements, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._words = frozenset(words)

    def __call__(self, text: str) -> str:
        """``text`` without its secrets."""
        if self._known is not None:
            text = self._known.sub(lambda match: self._replacements[match[0]], text)
        if self._words:
            text = _WORD.sub(lambda match: _HIDDEN if match[0] in self._words else match[0], text)
        text = _URL_PASSWORD.sub(rf"\1:{_HIDDEN}", text)
        text = _NAMED.sub(_hide_named, text)
        text = _SPACED.sub(rf"\1{_HIDDEN}", text)
        text = _SCHEME.sub(rf"\1\2{_HIDDEN}", text)
        return _JWT.sub(_HIDDEN, text)

    def query(self, sql: str) -> str:
        """``sql`` without secrets, and without literals that look like one (opaque and long)."""
        return _LITERAL.sub(f"'{_HIDDEN}'", self(sql))


def identity_words(file: Path) -> set[str]:
    """The secrets in an identities file: its long values but for names. Nothing where it cannot be read."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if None not in row]
    except (OSError, ValueError, csv.Error):
        return set()
    return {
        value
        for row in rows
        for column, value in row.items()
        if column not in _NAMES and value and _WORD.fullmatch(value)
    }


def passwords_in(dsn: str) -> list[str]:
    """The passwords in a connection string, none where it is not one."""
    try:
        values = conninfo_to_dict(dsn)
    except ProgrammingError:
        return []
    found = [str(values[key]) for key in ("password", "sslpassword") if values.get(key)]
    as_written = re.search(r"://[^/\s:@]*:([^@\s/]+)@", dsn)
    return found + ([as_written[1]] if as_written else [])


def _hide_named(match: re.Match[str]) -> str:
    # A reference to the environment is what a secret should look like; it stays.
    value = match[0][len(match[1]) + len(match[2]) :]
    return match[0] if value.startswith("${") else f"{match[1]}{match[2]}{_HIDDEN}"
