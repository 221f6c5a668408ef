"""Cutting SQL into statements, as PostgreSQL's own lexer sees them. Runs nothing."""

import re
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError

# In the order in which they are tried at each position. A quoted piece that does not end is left to ``broken``.
_TOKEN = re.compile(
    r"""
    (?P<comment>   --[^\n]* )
  | (?P<block>     /\* )
  | (?P<quoted>    [eE]'(?:[^'\\]|''|\\.)*+'  |  '[^']*'  |  "[^"]*" )
  | (?P<dollar>    \$(?:[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)?\$ )
  | (?P<word>      [A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]* )
  | (?P<cast>      ::  |  := )
  | (?P<variable>  :(?:(?P<plain>[A-Za-z0-9_\u0080-\U0010ffff]+)|'(?P<text>[\w]+)'|"(?P<name>[\w]+)") )
  | (?P<end>       ; )
  | (?P<open>      \( )
  | (?P<close>     \) )
  | (?P<backslash> \\ )
  | (?P<broken>    ['"] )
  | (?P<space>     \s+ )
  | (?P<other>     \d[\w$.]* | [^\s\w'"$;:()\\/*-]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_SPACE = " \t\n\r\f\v"  # what PostgreSQL takes for space; any other character can be part of a name
_ROUTINE = ("function", "procedure")
_STREAMS = ("stdin", "stdout")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon and the comments before it, and the line it begins on (from 1).

    ``file`` is named where it is not the one that was asked for. ``data`` is what a COPY reads: rows, or their file.
    ``hands_out`` says that it is a COPY whose rows come back (``TO STDOUT``).
    """

    text: str
    line: int
    file: str = ""
    data: str | Path | None = None
    hands_out: bool = False

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.file}, line {self.line}" if self.file else f"line {self.line}"


class Source:
    """A text being cut: where it comes from, and the line of a position in it. ``line`` is that of its beginning."""

    def __init__(self, text: str, name: str, line: int = 1) -> None:
        self.text = text
        self.name = name
        self._line, self._counted = line, 0

    def line(self, at: int) -> int:
        """The line of a position. Positions must be asked for in order."""
        self._line, self._counted = self._line + self.text.count("\n", self._counted, at), at
        return self._line

    def error(self, at: int, sentence: str, hint: str = "") -> InputError:
        """An InputError that names the line."""
        return InputError(f"{self.name}, line {self.line(at)}: {sentence}", hint)


class Cutter:
    """Cuts a text into statements. What only psql understands is refused; ``Psql`` understands some of it."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self._file = ""  # named in the statements of a file that was read in
        self._forget()

    def _forget(self) -> None:
        self._parts: list[str] = []
        self._words: list[str] = []  # the first four of the statement, and its last
        self._depth = self._body = 0
        self._hands_out = False
        self._line = 0  # of the statement's first real token; 0 where there is none yet

    @property
    def begun(self) -> bool:
        """Whether a statement has begun and not ended."""
        return self._line > 0

    def cut(self, source: Source) -> None:
        """Cut a whole text: what is left at its end is a statement too. Raises InputError with the line."""
        self._scan(source)
        self._close()

    def _scan(self, source: Source) -> None:
        sql, position = source.text, 0
        while position < len(sql):
            match = _TOKEN.match(sql, position)
            assert match is not None  # noqa: S101 - the last alternative matches any character
            kind, at, position = match.lastgroup, position, match.end()
            if kind == "block":
                position = _block_end(source, at)
            elif kind == "dollar":
                closing = sql.find(match[0], position)
                if closing < 0:
                    raise source.error(at, f"a dollar quote ({match[0]}) that does not end.")
                position = closing + len(match[0])
            elif kind == "end" and not self._depth and not self._body:
                position = self._end(source, at)
                continue
            elif kind == "backslash":
                position = self._command(source, at)
                continue
            elif kind == "broken":
                raise source.error(at, "a quote that does not end.")
            elif match["variable"] is not None:
                if self._expands(match, source):
                    continue
                kind, position = "other", at + 1  # no variable: a colon, and whatever follows it
            self._take(kind or "", sql[at:position], source, at)

    def _take(self, kind: str, token: str, source: Source, at: int) -> None:
        if kind in {"comment", "space", "block"}:
            if self._parts or token.startswith("/*+"):  # a hint before a statement belongs to it
                self._parts.append(token)
            return
        self._parts.append(token)
        self._line = self._line or source.line(at)
        if kind == "open":
            self._depth += 1
        elif kind == "close":
            self._depth = max(0, self._depth - 1)
        elif kind == "word":
            word = token.lower()
            if self._words[:1] == ["create"] and any(name in self._words[:4] for name in _ROUTINE) and not self._depth:
                self._body = _body_depth(word, self._body)
            # Either word serves for either direction: PostgreSQL looks only at the one before it.
            if word in _STREAMS and self._words[:1] == ["copy"] and not self._depth:
                if self._words[-1] == "from":
                    self._reads_data(source, at)
                elif self._words[-1] == "to":
                    self._hands_out = True
            self._words = [*self._words[:4], word]

    def _close(self, data: str | Path | None = None) -> None:
        if self.begun:
            text = "".join(self._parts).strip(_SPACE)
            self.statements.append(Statement(text, self._line, self._file, data, self._hands_out))
        self._forget()

    def _end(self, source: Source, at: int) -> int:  # noqa: ARG002 - for who reads data after a statement
        """A semicolon ends the statement; where to go on."""
        self._close()
        return at + 1

    def _command(self, source: Source, at: int) -> int:
        """A command of psql, which is refused; where to go on."""
        raise refuse_command(source, at)

    def _expands(self, variable: re.Match[str], source: Source) -> bool:  # noqa: ARG002 - for who knows variables
        """Whether this is a variable of psql, and its value was cut in its place."""
        return False

    def _reads_data(self, source: Source, at: int) -> None:
        """The statement is a COPY that reads what follows it."""
        raise source.error(
            at,
            "COPY FROM stdin reads the lines after it, as only psql does.",
            'Use INSERT, or make the step run = "psql -f FILE".',
        )


def split_statements(sql: str, source: str = "The SQL") -> tuple[Statement, ...]:
    r"""Cut ``sql`` into its statements.

    Semicolons count only outside of strings, quoted names, dollar quotes, comments (which nest), parentheses, and the
    ``BEGIN ATOMIC ... END`` body of a routine. Pieces of comments and space alone are left out. Raises InputError, with
    the line, for psql's own commands (``\d``, ``COPY ... FROM stdin``) and for a quote or comment that does not end.
    """
    cutter = Cutter()
    cutter.cut(Source(sql.removeprefix("\ufeff"), source))
    return tuple(cutter.statements)


def refuse_command(source: Source, at: int, why: str = "is not SQL") -> InputError:
    """What is said of a command of psql that cannot be done."""
    return source.error(
        at,
        f"a command of psql ({rest_of_line(source.text, at)[:40].strip()}) {why}.",
        'Take it out, or make the step run = "psql -f FILE".',
    )


def rest_of_line(text: str, at: int) -> str:
    """What stands from a position to the end of its line."""
    end = text.find("\n", at)
    return text[at : len(text) if end < 0 else end]


def _body_depth(word: str, body: int) -> int:
    if word == "begin" or (word == "case" and body):
        return body + 1
    return max(0, body - 1) if word == "end" else body


def _block_end(source: Source, start: int) -> int:
    depth = 0
    for edge in _BLOCK_EDGE.finditer(source.text, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    raise source.error(start, "a comment that does not end.")
