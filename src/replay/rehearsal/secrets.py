"""Keeping secrets out of what is written down and shown."""

import base64
import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

_SHORTEST_WORD = 6
_SHORTEST = 4  # a shorter secret would tear ordinary words apart, and protects nothing
_HIDDEN = "***"
_NAMES = frozenset({"client", "client_id", "username", "user", "name"})  # columns of identities that hold no secret
# What gives a secret away by its surroundings, whoever's it is.
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^@\s/]+(?=@)")
_KINDS = (
    "(?:password|passwd|pwd|secret|(?:api|access|private|secret)[-_]?key(?:[-_]base)?"
    "|(?:access|refresh|auth)[-_]?token)"
)
_TELLTALE = ("passw", "pwd", "secret", "key", "token", "identified")
_NAMED = re.compile(
    rf"(?i)(?<![\w-])([\w-]*{_KINDS})"
    r"""(\\?["']?\s*[=:]\s*)("(?:[^"\\]|\\.)+"|'(?:[^'\\]|\\.)+'|\\?["']?(?!["'\\])[^\s"',;&)\\]+)"""
)
# As an option of a command (--password X), and as SQL has it (PASSWORD 'x', IDENTIFIED WITH y BY 'x'); what Alembic
# calls "revision identified by" is none.
_SPACED = re.compile(
    r"(?i)((?<![\w-])--[\w-]*(?:password|passwd|secret|token|api-key)\s+|\bpassword\b[\s(]+(?=E?')"
    r"|(?<!revision )\bidentified\s[\w\s'`]{0,60}?\b(?:by|as)\s+(?:password\s+)?(?=['\"]))"
    r"(?!\$\{)(E?'(?:[^'\\]|''|\\.)*'|\"[^\"]*\"|\S+)"
)
# As clients take it: mysql -pX, curl -u NAME:X.
_OPTION = re.compile(r"(\b(?:mysql|mariadb)[\w-]*\s(?:[^|;&\n]{0,200}?\s)?-p|\s(?:-u|--user)[ =]?[^\s:=]+:)(?!\$\{)\S+")
# As PostgreSQL quotes a key: (secret)=(x), (client_id, secret)=(a, x).
_KEY = re.compile(rf"""(?i)(\([\w", ]*{_KINDS}[\w", ]*\)=\()[^)]*""")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}")
_WORD = re.compile(r"[\w-]{6,}")
_PART = re.compile(r"\w+")
_SHORTEST_LINE = 8  # of a value of several lines, such as a key
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
        for value in tuple(replacements):
            for other in _also_written(value):
                replacements.setdefault(other, _HIDDEN)
        self._replacements = {value: shown for value, shown in replacements.items() if len(value) >= _SHORTEST}
        longest_first = sorted(self._replacements, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._words = frozenset(word for word in words if _WORD.fullmatch(word))
        self._odd: dict[str, list[str]] = {}  # by their longest part: looked for where that stands
        for word in {*words} - self._words:
            self._odd.setdefault(max(_PART.findall(word), key=len, default=""), []).append(word)

    def __call__(self, text: str) -> str:
        """``text`` without its secrets."""
        if self._known is not None:
            text = self._known.sub(lambda match: self._replacements[match[0]], text)
        if self._words:
            text = _WORD.sub(lambda match: _HIDDEN if match[0] in self._words else match[0], text)
        if self._odd:
            for part in {*_PART.findall(text)} & self._odd.keys():
                for word in self._odd[part]:
                    text = text.replace(word, _HIDDEN)
        lower = text.lower()
        # Most lines have none of these, and are written as fast as a program says them.
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1:{_HIDDEN}", text)
        if any(word in lower for word in _TELLTALE):
            text = _SPACED.sub(rf"\1{_HIDDEN}", text)
            text = _NAMED.sub(_hide_named, text)
            text = _KEY.sub(rf"\1{_HIDDEN}", text)
        if "-p" in text or "-u" in text:
            text = _OPTION.sub(rf"\1{_HIDDEN}", text)
        if "bearer" in lower or "basic" in lower:
            text = _SCHEME.sub(rf"\1\2{_HIDDEN}", text)
        return _JWT.sub(_HIDDEN, text) if "eyJ" in text else text

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
        if column not in _NAMES and value and len(value) >= _SHORTEST_WORD and _PART.search(value)
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


def _also_written(secret: str) -> Iterator[str]:
    """How else programs show a secret: line by line, and as JSON, URLs and Base64 write it."""
    if len(secret) < _SHORTEST:
        return
    if "\n" in secret:
        yield from (line for line in map(str.strip, secret.splitlines()) if len(line) >= _SHORTEST_LINE)
    coded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode()
    as_json = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    yield from (*as_json, quote(secret), quote(secret, safe=""), quote_plus(secret))
    if len(secret) >= _SHORTEST_LINE:
        yield coded


def _hide_named(match: re.Match[str]) -> str:
    # A reference to the environment is what a secret should look like; it stays.
    value, bare = match[3], match[3].strip("\"'\\")
    if bare.startswith("${"):
        return match[0]
    before, after = value.partition(bare)[::2]
    return f"{match[1]}{match[2]}{before}{_HIDDEN}{after}"
