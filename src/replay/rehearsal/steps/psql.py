r"""SQL files as psql reads them: other files read in, variables, and the rows of a COPY. Runs nothing.

Done are ``\i``, ``\ir``, ``\set``, ``\unset``, ``\echo`` and its kin, ``\copy ... FROM``, ``COPY ... FROM stdin`` with
its rows, ``COPY ... TO stdout``, and variables (``:name``, ``:'name'``, ``:"name"``). What changes only how psql shows
results is passed over. Anything else is refused: only psql itself can do it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError
from replay.rehearsal.steps.sql import Cutter, Source, Statement, refuse_command, rest_of_line

_COMMAND = re.compile(r"\\([A-Za-z_]+|.)", re.DOTALL)
_ARGUMENT = re.compile(
    r"""
    (?P<space>    \s+ )
  | (?P<quoted>   '(?:[^'\\]|''|\\.)*' )
  | (?P<named>    "[^"]*" )
  | (?P<variable> :(?:(?P<plain>\w+)|'(?P<text>\w+)'|"(?P<name>\w+)") )
  | (?P<odd>      ['"`\\] )
  | (?P<word>     [^\s'"`\\:]+ | : )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"''|\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "b": "\b", "r": "\r", "f": "\f"}
_COPY = re.compile(
    r"\s*(?P<table>.+?)\s+from\s+(?:(?P<stdin>stdin\b)|'(?P<file>(?:[^']|'')*)'|(?P<bare>[^\s'(]+))(?P<options>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LAST_ROW = re.compile(r"^\\\.[ \t\r]*(?:\n|\Z)", re.MULTILINE)
_SHOWS_ONLY = ("timing", "pset", "x", "a", "t", "f", "C", "T", "H", "restrict", "unrestrict")
_DONE = ("i", "include", "ir", "include_relative", "set", "unset", "echo", "qecho", "warn", *_SHOWS_ONLY)
# Variables by which psql would make other transactions than the file does, and their value where it does not.
_TRANSACTIONS = {"AUTOCOMMIT": "on", "ON_ERROR_ROLLBACK": "off", "SINGLELINE": "off", "SINGLESTEP": "off"}
_DEEPEST = 50
_MOST_FILES = 1_000
_LONGEST_VALUES = 10_000_000


@dataclass(frozen=True, slots=True)
class Script:
    """An SQL file with all that it reads in. ``said`` has texts, each with the number of statements before it."""

    statements: tuple[Statement, ...]
    said: tuple[tuple[int, str], ...]
    files: tuple[tuple[str, str], ...]  # as they are called, and their text; the file itself first


def read_script(file: Path, folder: Path) -> Script:
    r"""Read an SQL file as psql would. What ``\i`` and ``\copy`` name is looked for in ``folder``.

    Raises InputError, with the file and the line, for what is missing or only psql can do.
    """
    psql = _Psql(folder)
    psql.read(file, file.name)
    if not psql.statements:
        raise InputError(f"{file} holds no statement.")
    return Script(tuple(psql.statements), tuple(psql.said), tuple(psql.files))


def read_sql(file: Path) -> str:
    """An SQL file's text. Raises InputError where it cannot be read."""
    try:
        return file.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except FileNotFoundError as error:
        raise InputError(f"There is no SQL file {file}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as SQL: {error}.") from error


class _Psql(Cutter):
    """Cuts one file and all that it reads in."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._open: list[Path] = []  # the files that are being read, each in the one before
        self._variables: dict[str, str] = {}
        self._within: list[str] = []  # the variables whose values are being cut
        self._expanded = 0
        self._data_follows = False
        self.said: list[tuple[int, str]] = []
        self.files: list[tuple[str, str]] = []

    def read(self, file: Path, called: str) -> None:
        """Cut a file. ``called`` is how its reader calls it."""
        text = read_sql(file)
        self.files.append((called, text))
        before, self._file = self._file, called if self._open else ""
        self._open.append(file)
        self.cut(Source(text, str(file)))
        self._open.pop()
        self._file = before

    def _command(self, source: Source, at: int) -> int:
        found = _COMMAND.match(source.text, at)
        if found is None or self.begun or self._within:
            raise refuse_command(source, at)
        line = rest_of_line(source.text, at)
        name, rest, after = found[1], line[len(found[0]) :], at + len(line)
        if name == "copy":
            return self._copy(source, at, rest, after)
        words = self._arguments(source, at, rest) if name in _DONE else []
        match name:
            case "i" | "include":
                self._include(source, at, words, self._folder)
            case "ir" | "include_relative":
                self._include(source, at, words, self._open[-1].parent)
            case "set":
                self._set(source, at, words)
            case "unset":
                self._variables.pop("".join(words[:1]), None)
            case "echo" | "qecho" | "warn":
                self.said.append((len(self.statements), " ".join(words)))
            case _ if name not in _SHOWS_ONLY:
                raise refuse_command(source, at)
        return after

    def _include(self, source: Source, at: int, words: list[str], beside: Path) -> None:
        if len(words) != 1:
            raise refuse_command(source, at, "names no file")
        file = beside / Path(words[0]).expanduser()
        if not file.is_file():
            raise source.error(
                at,
                f"there is no file {file}.",
                r"\i counts from the plan's folder, \ir from the folder of the file that it stands in.",
            )
        if file.resolve() in {one.resolve() for one in self._open}:
            chain = " > ".join([*(one.name for one in self._open), file.name])
            raise source.error(at, f"a file would read itself in ({chain}).")
        if len(self._open) >= _DEEPEST or len(self.files) >= _MOST_FILES:
            raise source.error(at, "too many files read each other in.")
        self.read(file, words[0])

    def _set(self, source: Source, at: int, words: list[str]) -> None:
        if not words:
            return
        name, value = words[0], "".join(words[1:])
        if name in _TRANSACTIONS and value.lower() != _TRANSACTIONS[name]:
            raise refuse_command(source, at, "changes the file's transactions")
        self._variables[name] = value

    def _copy(self, source: Source, at: int, rest: str, after: int) -> int:
        parts = _COPY.fullmatch(rest.rstrip().removesuffix(";"))
        if parts is None or parts["table"].startswith("(") or (parts["bare"] or "").lower() in {"program", "pstdin"}:
            raise refuse_command(source, at, "reads neither a file nor the lines after it")
        self._line = source.line(at)
        self._parts.append(f"COPY {parts['table']} FROM STDIN{parts['options']}")
        if parts["stdin"]:
            return self._rows(source, after)
        file = self._folder / Path(parts["bare"] or parts["file"].replace("''", "'")).expanduser()
        if not file.is_file():
            raise source.error(at, f"there is no file {file}.", "It is looked for in the plan's folder.")
        self._close(file)
        return after

    def _reads_data(self, source: Source, at: int) -> None:
        if self._within:
            raise source.error(at, "a variable that holds COPY FROM stdin.")
        self._data_follows = True

    def _end(self, source: Source, at: int) -> int:
        if not self._data_follows or self._within:
            return super()._end(source, at)
        rest = rest_of_line(source.text, at)[1:].strip()
        if rest and not rest.startswith("--"):
            raise source.error(at, "what follows COPY FROM stdin on its line would be taken for one of its rows.")
        return self._rows(source, at)

    def _rows(self, source: Source, at: int) -> int:
        r"""The statement reads the lines after this one, up to one that is ``\.``, or the end of the file."""
        start = at + len(rest_of_line(source.text, at)) + 1
        last = _LAST_ROW.search(source.text, start)
        end = last.start() if last else len(source.text)
        self._close(source.text[start:end])
        return last.end() if last else len(source.text)

    def _forget(self) -> None:
        super()._forget()
        self._data_follows = False

    def _expands(self, variable: re.Match[str], source: Source) -> bool:
        name = variable["plain"] or variable["text"] or variable["name"]
        if name not in self._variables or name in self._within:
            return False
        value = self._valued(variable)
        self._expanded += len(value)
        if self._expanded > _LONGEST_VALUES or len(self._within) >= _DEEPEST:
            raise source.error(variable.start(), f"the variable {name} is put in too often.")
        if variable["plain"] is None:
            self._take("quoted", value, source, variable.start())
            return True
        self._within.append(name)
        self._scan(Source(value, source.name, source.line(variable.start())))
        self._within.pop()
        return True

    def _valued(self, variable: re.Match[str]) -> str:
        """What stands for a known variable: its value as it is, as a text of SQL, or as a name."""
        if variable["plain"]:
            return self._variables[variable["plain"]]
        if variable["name"]:
            return '"' + self._variables[variable["name"]].replace('"', '""') + '"'
        value = self._variables[variable["text"]].replace("'", "''")
        return f"'{value}'" if "\\" not in value else " E'" + value.replace("\\", "\\\\") + "'"

    def _arguments(self, source: Source, at: int, rest: str) -> list[str]:
        """The words of a command's line, with quotes and variables resolved."""
        words: list[str] = []
        apart = True
        for piece in _ARGUMENT.finditer(rest.strip()):
            if piece["space"]:
                apart = True
                continue
            if piece["odd"]:
                raise refuse_command(source, at, f"has {piece['odd']!r} in it, which only psql reads")
            text = piece[0]
            if piece["quoted"]:
                text = _ESCAPE.sub(_unescaped, text[1:-1])
            elif piece["variable"]:
                name = piece["plain"] or piece["text"] or piece["name"]
                text = self._valued(piece) if name in self._variables else text
            if apart:
                words.append(text)
            else:
                words[-1] += text
            apart = False
        return words


def _unescaped(match: re.Match[str]) -> str:
    if match[0] == "''":
        return "'"
    code = int(match[1], 16) if match[1] else int(match[2], 8) if match[2] else None
    return _CONTROL.get(match[3], match[3]) if code is None else chr(code & 0xFF)
