"""Cutting an SQL file into statements, as PostgreSQL's own lexer sees them. Runs nothing."""

import re
from dataclasses import dataclass

from replay.errors import InputError

# In the order in which they are tried at each position. A quoted piece that does not end is left to ``broken``.
_TOKEN = re.compile(
    r"""
    (?P<comment>   --[^\n]* )
  | (?P<block>     /\* )
  | (?P<quoted>    [eE]'(?:[^'\\]|''|\\.)*+'  |  '[^']*'  |  "[^"]*" )
  | (?P<dollar>    \$(?:[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)?\$ )
  | (?P<word>      [A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]* )
  | (?P<end>       ; )
  | (?P<open>      \( )
  | (?P<close>     \) )
  | (?P<backslash> \\ )
  | (?P<broken>    ['"] )
  | (?P<space>     \s+ )
  | (?P<other>     \d[\w$.]* | [^\s\w'"$;()\\/*-]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_SPACE = " \t\n\r\f\v"  # what PostgreSQL takes for space; any other character can be part of a name
_ROUTINE = ("function", "procedure")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon and the comments before it, and the line it begins on (from 1)."""

    text: str
    line: int


def split_statements(sql: str, source: str = "The SQL") -> tuple[Statement, ...]:
    r"""Cut ``sql`` into its statements.

    Semicolons count only outside of strings, quoted names, dollar quotes, comments (which nest), parentheses, and the
    ``BEGIN ATOMIC ... END`` body of a routine. Pieces of comments and space alone are left out. Raises InputError, with
    the line, for psql's own commands (``\d``, ``COPY ... FROM stdin``) and for a quote or comment that does not end.
    """
    sql = sql.removeprefix("\ufeff")
    statements: list[Statement] = []
    start = position = depth = body = 0
    line, counted = 1, 0
    words: list[str] = []  # the first four of the statement, and its last
    content: int | None = None  # where the statement's first real token stands

    def close(end: int) -> None:
        nonlocal start, depth, body, words, content, line, counted
        if content is not None:
            line, counted = line + sql.count("\n", counted, content), content
            hint = sql.find("/*+", start, content)  # a hint before a statement belongs to it
            statements.append(Statement(sql[content if hint < 0 else hint : end].strip(_SPACE), line))
        start, depth, body, words, content = end + 1, 0, 0, [], None

    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None  # noqa: S101 - the last alternative matches any character
        kind, token, at = match.lastgroup, match[0], position
        position = match.end()
        if kind in {"comment", "space"}:
            continue
        if kind == "block":
            position = _block_end(sql, at, source)
            continue
        if kind == "end" and not depth and not body:
            close(at)
            continue
        if kind in {"backslash", "broken"}:
            raise _refusal(sql, at, source)
        content = at if content is None else content
        if kind == "dollar":
            closing = sql.find(token, position)
            if closing < 0:
                raise InputError(f"{source}, line {_line(sql, at)}: a dollar quote ({token}) that does not end.")
            position = closing + len(token)
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind == "word":
            word = token.lower()
            if words[:1] == ["create"] and any(name in words[:4] for name in _ROUTINE) and not depth:
                body = _body_depth(word, body)
            if word == "stdin" and words[:1] == ["copy"] and words[-1] == "from":
                raise InputError(
                    f"{source}, line {_line(sql, at)}: COPY FROM stdin reads the lines after it, as only psql does.",
                    'Use INSERT, or make the step run = "psql -f FILE".',
                )
            words = [*words[:4], word]
    close(len(sql))
    return tuple(statements)


def _refusal(sql: str, at: int, source: str) -> InputError:
    if sql[at] != "\\":
        return InputError(f"{source}, line {_line(sql, at)}: a quote that does not end.")
    return InputError(
        f"{source}, line {_line(sql, at)}: a command of psql ({_rest_of_line(sql, at)}) is not SQL.",
        'Take it out, or make the step run = "psql -f FILE".',
    )


def _body_depth(word: str, body: int) -> int:
    if word == "begin" or (word == "case" and body):
        return body + 1
    return max(0, body - 1) if word == "end" else body


def _block_end(sql: str, start: int, source: str) -> int:
    depth = 0
    for edge in _BLOCK_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    raise InputError(f"{source}, line {_line(sql, start)}: a comment that does not end.")


def _line(sql: str, position: int) -> int:
    return sql.count("\n", 0, position) + 1


def _rest_of_line(sql: str, position: int) -> str:
    return sql[position:].split("\n", 1)[0][:40].strip()
