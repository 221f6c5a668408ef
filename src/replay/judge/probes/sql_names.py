"""The names of what SQL changes: tables, columns, constraints and so on, told by where they stand.

A word is no name: comments, literals and the words of programs are full of what a log may say as well. What counts is
an identifier behind a verb that changes something (``ALTER TABLE x``, ``ADD COLUMN y``, ``UPDATE x SET y =``), and the
columns in parentheses behind it. Bodies of functions are read like other statements.
"""

import re
from collections.abc import Iterable, Iterator

_APART = re.compile(r"(?s)--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'")
_WORD = re.compile(r'"(?:[^"]|"")+"|[a-z_]\w*|[(),;=.]|\$\w*\$', re.IGNORECASE)
_VERBS = frozenset(
    "create alter drop add rename update insert delete merge truncate lock copy reindex refresh cluster modify "
    "change".split()
)
_BETWEEN = frozenset(  # words between a verb and a name
    "or replace if exists only concurrently unique temp temporary unlogged materialized recursive into from not null "
    "table index view column constraint trigger function procedure aggregate type domain sequence schema policy rule "
    "role user group database extension collation publication event attribute value primary foreign key check".split()
)
_OTHERS = frozenset(  # words that end the wait for a name
    "all as by cascade current_user data default each for of owner row rows security select session set system to "
    "using valid validate values where with".split()
)
_WITH_ON = frozenset({"index", "trigger", "policy", "rule", "grant", "revoke"})  # where ON is followed by a table
_WITH_SETTINGS = frozenset({"role", "user", "database", "system", "function"})
_WITH_SET = frozenset({"update", "insert", "merge"})
_LISTING = frozenset({"key", "unique", "include"})
_OF_TABLE = frozenset({"on", "into", "references", "using"})
_SEQUENCE = re.compile(r"(?i)(?:\bsetval|\bpg_get_serial_sequence)\s*\(\s*'([\w.]+)'")
_SHORTEST = 3


def changed_names(texts: Iterable[str]) -> frozenset[str]:
    """The names of what SQL changes, in small letters, without their schemas and quotes."""
    found: set[str] = set()
    for text in texts:
        found.update(name for statement in _statements(text) for name in _names(statement))
        found.update(name.rpartition(".")[2].lower() for name in _SEQUENCE.findall(text))
    found |= {name.rsplit("_", 2)[0] for name in found if name.endswith("_seq")}  # a table's key is its sequence's
    return frozenset(name for name in found if len(name) >= _SHORTEST)


def _statements(text: str) -> Iterator[list[str]]:
    """The words of each statement; of names that are joined by points the last one."""
    statement: list[str] = []
    for found in _WORD.finditer(_APART.sub(" ", text)):
        word = found[0].lower()
        if word[0] in {";", "$"}:
            yield statement
            statement = []
        elif word[0] != "." and statement and statement[-1] == ".":
            statement[-2:] = [word]
        else:
            statement.append(word)
    yield statement


def _names(statement: list[str]) -> Iterator[str]:
    expected = setting = False
    listing = 0  # how many parentheses are open since one that has columns
    for number, word in enumerate(statement):
        before, after = _beside(statement, number)
        if _calls_for_a_name(statement, number):
            expected = True
        elif word == "set":
            setting = statement[0] in _WITH_SET
            expected = statement[0] == "alter" and statement[1] in _WITH_SETTINGS
        elif word == "(":
            of_table = number > 1 and _is_name(before) and statement[number - 2] in _OF_TABLE
            listing += listing > 0 or before in _LISTING or of_table
        elif word == ")":
            listing = max(0, listing - 1)
        elif _is_name(word):
            if expected or (listing and after != "(") or (setting and after == "=" and before in {"set", ","}):
                yield word.strip('"')
            expected = False
        elif word not in _BETWEEN:
            expected = False
            setting = setting and word != "where"


def _beside(statement: list[str], number: int) -> tuple[str, str]:
    """The words before and after."""
    return (
        statement[number - 1] if number else "",
        statement[number + 1] if number + 1 < len(statement) else "",
    )


def _calls_for_a_name(statement: list[str], number: int) -> bool:
    word, earlier = statement[number], statement[:number]
    if word == "on":
        return not _WITH_ON.isdisjoint(earlier) and _beside(statement, number)[1] != "conflict"
    return word in _VERBS or (word == "to" and "rename" in earlier)


def _is_name(word: str) -> bool:
    return word[0] == '"' or (word[0] not in "(),=." and word not in _OTHERS | _VERBS | _BETWEEN)
