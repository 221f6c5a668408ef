"""A file's lines one by one, never more than a line in memory."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple, TypeVar

from replay.capture.inputs import BROKEN_STREAM, Input
from replay.capture.sources.source import LINE_LIMIT_BYTES
from replay.errors import InputError
from replay.traffic import Skipped

TOO_LONG = f"the line is longer than {LINE_LIMIT_BYTES} bytes"
BREAKS_OFF = "the file is damaged or breaks off here"
Item = TypeVar("Item")
_BOM = b"\xef\xbb\xbf"
_PIECE_BYTES = 1 << 20
_HELD_BACK = 10_000
_NAMES_SHOWN = 40
_LONGEST_NAME = 60
# Words, with few numbers behind the shorter ones: no token, and no address.
_NAME = re.compile(r"[@:$_]?(?:(?:[A-Za-z]{1,20}|[A-Za-z]{1,8}[0-9]{1,2})(?:[-_.:()/ ]+|$))+")


class Line(NamedTuple):
    """A line without what ends it, and its number from 1."""

    number: int
    data: bytes


def split_lines(stream: BinaryIO) -> Iterator[Line | int]:
    """The lines of ``stream``; only the number of those that are longer than LINE_LIMIT_BYTES."""
    number = 0
    while data := stream.readline(LINE_LIMIT_BYTES + 2):
        number += 1
        if number == 1:
            data = data.removeprefix(_BOM)
        is_whole = data.endswith(b"\n") or len(data) <= LINE_LIMIT_BYTES
        line = data.rstrip(b"\r\n")
        if is_whole and len(line) <= LINE_LIMIT_BYTES:
            yield Line(number, line)
            continue
        while data and not data.endswith(b"\n"):
            data = stream.readline(_PIECE_BYTES)
        yield number


def read_lines(file: Input) -> Iterator[Line | Skipped]:
    """The lines of ``file`` that are not blank. Raises InputError where it cannot be read and nothing was."""
    number = 0
    with file.open() as stream:
        try:
            for line in split_lines(stream):
                if isinstance(line, int):
                    number = line
                    yield Skipped(file.name, f"line {line}", TOO_LONG)
                else:
                    number = line.number
                    if line.data.strip():
                        yield line
        except BROKEN_STREAM as error:
            if not number:
                raise InputError(f"{file.name} cannot be read: it is damaged or breaks off.") from error
            yield Skipped(file.name, f"line {number + 1}", BREAKS_OFF)


class FieldNames:
    """The names of the fields that were seen, the first of them. What may be a value in a name's place is left out."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def see(self, names: Iterable[str]) -> None:
        """Note some names."""
        if len(self._names) <= _NAMES_SHOWN:
            self._names.update(dict.fromkeys(names))

    def __str__(self) -> str:
        names = [name for name in self._names if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name)]
        return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")


def some_kept(items: Iterable[Item | Skipped], file: Input, names: Callable[[], str]) -> Iterator[Item | Skipped]:
    """``items``, the first of which that are skipped are held back until one is kept.

    Raises InputError where none is kept; ``names`` are those of the fields seen.
    """
    held: list[Skipped] = []
    reasons: Counter[str] = Counter()
    kept = False
    for item in items:
        if not kept and isinstance(item, Skipped):
            reasons[item.reason] += 1
            held.append(item)
            if len(held) < _HELD_BACK:
                continue
        else:
            kept = True
        yield from held
        held = []
        if not isinstance(item, Skipped) or kept:
            yield item
    if not kept:
        raise _refusal(file, reasons, names())


def _refusal(file: Input, reasons: Counter[str], names: str) -> InputError:
    why = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(3)) or "nothing is in it"
    hint = "--map at=FIELD,method=FIELD,path=FIELD,status=FIELD says which fields hold what."
    return InputError(
        f"No request can be read from {file.name}: {why}.", f"Its fields are {names}. {hint}" if names else ""
    )
