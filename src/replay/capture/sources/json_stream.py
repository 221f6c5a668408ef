"""One JSON document read piece by piece, however large it is and whatever stands in it.

A window slides over the document's text. The values of interest are decoded one by one by the standard library's
decoder; the others are passed over by a scanner that counts brackets, keeps nothing and does not recurse.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from replay.capture.inputs import BROKEN_STREAM

# A value in memory may take twenty times the room of its text (``[{},{},{}``), which bounds this from above.
VALUE_LIMIT_CHARS = 8_000_000
# What is left out of a value beyond that limit, so that the rest of it can be read.
LONG_STRING_CHARS = 1_000_000
BREAKS_OFF = "it breaks off"
CANNOT_BE_READ = "it is damaged"
NO_JSON = "it is no valid JSON"
TOO_DEEP = "nested too deep, or with a number of too many digits"
TOO_LARGE = f"larger than {VALUE_LIMIT_CHARS} characters, long strings left out"

_T = TypeVar("_T")
_PIECE_BYTES = 1 << 20
# No token but a string is longer, so that an error farther from the window's end is not for want of text.
_TOKEN_CHARS = 16
_SPACE = re.compile(r"[ \t\r\n]*")
_BRACKETS = re.compile(r"[{\[]+|[}\]]+")
# What can be passed over at once: no brackets, short strings without escapes, objects and arrays of plain values.
_RUN = re.compile(r'(?:[^"{}\[\]]++|"[^"\\]{0,1000}+"|[{\[][^"{}\[\]]*+[}\]])*+')
_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(r"[-+.\w]*", re.ASCII)


class Damaged(ValueError):
    """The document cannot be read any further. Says why."""


class Unreadable(ValueError):
    """A value that cannot be had. Says why. The stream stands behind it, and goes on."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""


class JsonStream:
    """A document, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Every method works on the value that comes next, raises Damaged where there is none, and then stands behind it.
    ``is_shortened`` says whether the last value lacks long strings. ``strict`` refuses line breaks in strings.
    """

    def __init__(self, stream: Readable, *, strict: bool = False) -> None:
        self.is_shortened = False
        self._json = json.JSONDecoder(strict=strict)
        self._text = ""
        self._at = 0
        self._passed = 0  # characters that have left the window
        self._is_ended = False
        self._end = BREAKS_OFF  # why there is no more, where more is needed
        # What comes before a compressed file is found to be broken is had only in reads of what is there.
        self._read = getattr(stream, "read1", stream.read)
        start = b""
        while len(start) < 4 and (piece := self._piece()):
            start += piece
        self._decoder = codecs.getincrementaldecoder(json.detect_encoding(start))("replace")
        self._text = self._decoder.decode(start)

    def peek(self) -> str:
        """The first character of what comes next, empty at the end."""
        while True:
            self._at = _end_of(_SPACE, self._text, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                if self._end != BREAKS_OFF:
                    raise Damaged(self._end)
                return ""

    def members(self) -> Iterator[str]:
        """The keys of an object. After each, its value comes next; one that nobody reads is passed over."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            key = self._key()
            self._take(":")
            yield from self._then_skip(key)
            if self._take(",}") == "}":
                return

    def elements(self) -> Iterator[None]:
        """Once for each element of an array, which then comes next; one that nobody reads is passed over."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield from self._then_skip(None)
            if self._take(",]") == "]":
                return

    def value(self) -> Any:
        """The value, as ``json.loads`` has it. In one beyond the limit, None stands for each long string.

        Raises Unreadable where it is nested too deep, or too large even so.
        """
        self.peek()
        self.is_shortened = False
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # An unterminated string's error stands where the string begins.
                is_cut = error.msg.startswith("Unterminated")
                if self._is_ended:
                    is_cut = is_cut or not self._text[error.pos :].strip()
                    raise Damaged(self._end if is_cut else NO_JSON) from None
                if len(self._text) - error.pos > _TOKEN_CHARS and not is_cut:
                    raise Damaged(NO_JSON) from None
            except (RecursionError, ValueError):
                self.skip()
                raise Unreadable(TOO_DEEP) from None
            else:
                may_go_on = isinstance(value, int | float) and len(self._text) - end < _TOKEN_CHARS
                if end - self._at <= VALUE_LIMIT_CHARS and (self._is_ended or not may_go_on):
                    self._at = end
                    return value
            if len(self._text) - self._at > VALUE_LIMIT_CHARS:
                return self._shortened()
            self._more(len(self._text) - self._at)

    def skip(self) -> None:
        """Pass over the value, unread."""
        for _ in self._tokens():
            pass

    def _then_skip(self, what: _T) -> Iterator[_T]:
        self.peek()
        before = self._passed + self._at
        yield what
        if self._passed + self._at == before:
            self.skip()

    def _key(self) -> str:
        if self.peek() != '"':
            raise Damaged(NO_JSON if self.peek() else self._end)
        try:
            key = self.value()
        except Unreadable:
            return ""
        return key if isinstance(key, str) else ""

    def _take(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            raise Damaged(NO_JSON if found else self._end)
        self._at += 1
        return found

    def _shortened(self) -> Any:
        text = io.StringIO()  # a list of so many short pieces would take much more room
        size = 0
        for piece in self._tokens():
            size += len(piece)
            if size <= VALUE_LIMIT_CHARS:
                text.write(piece)
        if size > VALUE_LIMIT_CHARS:
            raise Unreadable(TOO_LARGE)
        self.is_shortened = True
        try:
            return self._json.decode(text.getvalue())
        except json.JSONDecodeError:
            raise Damaged(NO_JSON) from None
        except (RecursionError, ValueError):
            raise Unreadable(TOO_DEEP) from None

    def _tokens(self) -> Iterator[str]:
        """The value's text in pieces, with ``null`` for each long string."""
        first = self.peek()
        if first == '"':
            yield self._string()
            return
        if first not in {"{", "["}:
            yield from self._scalar()
            return
        depth = 0
        while True:
            end = _end_of(_RUN, self._text, self._at) if depth else self._at
            yield self._text[self._at : end]
            self._at = end
            if self._text.startswith('"', end):
                yield self._string()
            elif brackets := _BRACKETS.match(self._text, end):
                depth += len(brackets[0]) if brackets[0][0] in "{[" else -len(brackets[0])
                self._at = brackets.end() + min(depth, 0)  # the last closing ones may belong to what is around
                yield self._text[end : self._at]
                if depth <= 0:
                    return
            elif not self._more():
                raise Damaged(self._end)

    def _string(self) -> str:
        pieces = ['"']
        size = 0
        self._at += 1
        while True:
            end = _end_of(_STRING, self._text, self._at)
            size += end - self._at
            if size <= LONG_STRING_CHARS:
                pieces.append(self._text[self._at : end])
            self._at = end
            if self._text.startswith('"', end):
                self._at += 1
                return "".join(pieces) + '"' if size <= LONG_STRING_CHARS else "null"
            if not self._more():
                raise Damaged(self._end)

    def _scalar(self) -> Iterator[str]:
        is_empty = True
        while True:
            end = _end_of(_SCALAR, self._text, self._at)
            is_empty = is_empty and end == self._at
            yield self._text[self._at : end]
            self._at = end
            if end < len(self._text) or not self._more():
                break
        if is_empty:
            raise Damaged(NO_JSON if self._at < len(self._text) else self._end)

    def _more(self, wanted_chars: int = 0) -> bool:
        """Take at least ``wanted_chars`` more into the window, as far as there are; whether there were any."""
        pieces = [self._text[self._at :]]
        count = 0
        while count < max(wanted_chars, _PIECE_BYTES) and not self._is_ended:
            piece = self._piece()
            pieces.append(self._decoder.decode(piece, final=not piece))
            count += len(pieces[-1])
        self._passed += self._at
        self._text = "".join(pieces)
        self._at = 0
        return count > 0

    def _piece(self) -> bytes:
        piece = b""
        try:
            piece = self._read(_PIECE_BYTES)
        except BROKEN_STREAM:
            self._end = CANNOT_BE_READ
        self._is_ended = not piece
        return piece


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what ``pattern``, which may be empty, matches from ``at`` on ends."""
    found = pattern.match(text, at)
    return found.end() if found else at
