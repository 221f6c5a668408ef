"""Hosts and databases that are spelled out in a command: in its words, those of a shell within, and its environment."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

_SCHEMES = r"(?:postgres(?:ql)?|postgis|pgsql|psql|cockroachdb|mysql[2x]?|mariadb|trilogy|mongodb|rediss?)"
_URL = re.compile(
    rf"\b{_SCHEMES}(?:\+\w+)?://(?P<place>[^\s'\"/?#;|)]*)(?:/(?P<name>[^\s'\"?#;|)]*))?(?:\?(?P<more>[^\s'\"#;|)]*))?",
    re.IGNORECASE,
)
_JDBC = re.compile(r"\bjdbc:postgresql:(?P<name>[\w.-]+)", re.IGNORECASE)  # the server on this machine
_PORT = re.compile(r":\d*$")
_KEY = re.compile(r"\b(?P<key>host|hostaddr|dbname)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>[^\s'\";|)]+))")
# What programs take from their environment: PGHOST, DB_HOST, POSTGRES_DB, MYSQL_DATABASE, APP_DATABASE_NAME.
_KIND = r"(?:.*_)?(?:PG|DB|DATABASE|POSTGRES|POSTGRESQL|MYSQL|MARIADB)"
_HOST_NAME = re.compile(rf"{_KIND}_?(?:HOST|HOSTADDR|HOSTNAME)", re.IGNORECASE)
_DATABASE_NAME = re.compile(rf"{_KIND}_?(?:DATABASE|DBNAME|DB|NAME|SERVICE)", re.IGNORECASE)
_GIVEN = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>\S*)")
# Clients of databases, whose options are known, and by whose other words they name a database.
_CLIENT = re.compile(r"(?:.*/)?(?:psql|pg\w+|createdb|dropdb|vacuumdb|reindexdb|clusterdb|mysql\w*|mariadb[\w-]*)")
_HOST_OPTIONS, _DATABASE_OPTIONS = ("-h", "--host"), ("-d", "-D", "-T", "--dbname", "--database", "--template")
_FLAGS = ("--force", "--if-exists")
_NAME = re.compile(r"\w[\w-]*")
_APART = re.compile(r"[();<>|&]+")
_DEEPEST = 3  # a shell within a shell


@dataclass(frozen=True, slots=True)
class Spelled:
    """Hosts and names of databases, without what is empty."""

    hosts: tuple[str, ...]
    databases: tuple[str, ...]


def spelled_out(words: Sequence[str], environment: Mapping[str, str]) -> Spelled:
    """What a command spells out. What it looks up elsewhere is not known."""
    found: list[tuple[bool, str]] = []
    for name, value in environment.items():
        found += [*_of_variable(name, value), *_of_text(value)]
    for word in words:
        found += _of_text(word)
    for line in _lines(words, _DEEPEST):
        found += _of_line(line)
    hosts = [host for is_host, text in found if is_host for host in text.split(",")]
    databases = [text for is_host, text in found if not is_host]
    return Spelled(*(tuple(dict.fromkeys(filter(None, names))) for names in (hosts, databases)))


def _lines(words: Sequence[str], deep: int) -> Iterator[Sequence[str]]:
    """A command, and the commands that its words are."""
    yield words
    for word in words if deep else ():
        if re.search(r"\s", word):
            yield from _lines(_split(word), deep - 1)


def _split(text: str) -> list[str]:
    """As a shell does, but for what it runs: ``a;b`` are three words."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split, reader.commenters = True, ""
    try:
        return list(reader)
    except ValueError:  # a quote that does not end
        return text.split()


def _of_line(words: Sequence[str]) -> Iterator[tuple[bool, str]]:
    for word in words:
        if given := _GIVEN.fullmatch(word):  # PGHOST=... before a command
            yield from _of_variable(given["name"], given["value"])
    after: list[str] = []  # what follows a client in its command
    for word in [*words, ";"]:
        if _APART.fullmatch(word):
            yield from _of_client(after)
            after = []
        elif after or _CLIENT.fullmatch(word):
            after.append(word)


def _of_client(words: Sequence[str]) -> Iterator[tuple[bool, str]]:
    for before, word, after in zip(words, words[1:], [*words[2:], ""], strict=False):
        for is_host, options in ((True, _HOST_OPTIONS), (False, _DATABASE_OPTIONS)):
            for option in options:
                long = option.startswith("--")
                if word == option:
                    yield is_host, after
                elif word.startswith(f"{option}=" if long else option):
                    yield is_host, word[len(option) + long :]
        if word.startswith("service="):
            yield False, word.partition("=")[2]
        elif _NAME.fullmatch(word) and (before in _FLAGS or not before.startswith("-")):
            yield False, word


def _of_variable(name: str, value: str) -> Iterator[tuple[bool, str]]:
    if _HOST_NAME.fullmatch(name):
        yield True, value
    elif _DATABASE_NAME.fullmatch(name):
        yield False, value


def _of_text(text: str) -> Iterator[tuple[bool, str]]:
    """Of connection strings, as URLs or by keywords."""
    for url in _URL.finditer(text):
        for place in url["place"].rpartition("@")[2].split(","):
            yield True, unquote(_PORT.sub("", place).strip("[]"))
        yield False, unquote(url["name"] or "")
        for key, value in parse_qsl(url["more"] or ""):
            if key in {"host", "hostaddr", "dbname"}:
                yield key != "dbname", value
    for match in _JDBC.finditer(text):
        yield False, match["name"]
    for match in _KEY.finditer(text):
        yield match["key"] != "dbname", match["plain"] or match["quoted"] or ""
