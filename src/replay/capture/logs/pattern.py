"""How a line of a log is written: text that stands in every line, and variables between it.

How to write a new format
-------------------------
A format is one template, and most formats are no more than that::

    ELB = LinePattern(
        '{at:any} {-} {address:port} {-} {duration:s} {duration:s} {duration:s} {status} {-} {-} {size} '
        '"{request}" "{request_header:User-Agent}" {*}'
    )
    SOURCES = (LogSource("elb", "AWS classic ELB", (ELB,)),)

- Each ``{role}`` is a variable; everything else has to stand in the line as it is. ``{{`` and ``}}`` are braces.
- A variable ends where the text after it begins for the first time; the last one ends with the line.
- A variable right between two ``"`` is quoted: a quote in it is written ``\\"``. Escapes (``\\"``, ``\\\\``, ``\\xHH``,
  ``\\uHHHH``, ``\\n``) are undone in all variables, and ``-`` or nothing is null.
- ``padded=True`` where more than one space may stand for one (Squid). ``weight`` below 1 where other formats may be
  meant as well: the source whose patterns weigh most over a file's first lines is taken. ``words=True`` where each
  value is one word, or stands in quotes of its own (W3C).
- Give a source several patterns where fields are optional, the likeliest first; each line takes the first that fits.

The roles, where ``:`` says more:

=========================  ==========================================================================================
``-``                      one word of no interest (no space in it)
``*``                      anything of no interest, spaces too; often last in a line
``at:any``, ``ended:any``  the moment when the request started, or was logged as it ended (then the durations are taken
                           off; where both stand and no duration, it is what lies between);
                           ``clf`` (10/Oct/2000:13:55:36 -0700), ``any`` (all that ``parse_moment`` reads), ``utc`` (so
                           too, in UTC where no zone stands), or the unit of a number since 1970: ``s``
                           (1320279566.452), ``ms``, ``us``, ``ns``.
                           Several of one role are joined with a space: ``{at:any}\\t{at:any}`` of a date and a time
``duration:s``             a duration in ``s``, ``ms``, ``us`` or ``ns``; several are added; below zero counts as none
``address``                the client's, with or without a port; ``address:port`` where there always is one, so that
                           IPv6 needs no brackets
``user``, ``connection``   the client's name, the connection
``request``                the request line: ``GET /path?query HTTP/1.1``
``method``, ``target``     its parts; a target may be a whole URL
``path``, ``query``        the target's parts, the path decoded or not; the query with or without its question mark
``host``, ``port``         the host asked for, with or without a port. 80 and 443 are left out
``status``, ``size``       the response's status, and its bytes
``error``                  why there is no response
``request_header:NAME``    a header; also ``response_header:NAME``
``cookie:NAME``            the value of a cookie that was sent
``forwarded``              the header X-Forwarded-For, where it has to look like addresses
``list``                   words of no interest, with `` :`` or a comma between them, as nginx has upstreams
``client``, ``site``       an address, a host; ``-`` and, for the host, what has no dot and no letter, do not fit
``seconds``                a duration in seconds, which has to have three decimals or more
``milliseconds``           a duration in milliseconds, which has to be whole
=========================  ==========================================================================================
"""

import re
from dataclasses import dataclass
from functools import cached_property

from replay.errors import InputError

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[^{}]+")
_TIMES = frozenset({"at", "ended"})
_HEADERS = frozenset({"request_header", "response_header"})
_NAMED = _HEADERS | {"cookie"}
_PLAIN = frozenset("- * user connection request method target path query host port status size error".split())
# Roles that only fit what looks like it: the role proper, and the form in RE2.
_FORMS = {
    "forwarded": (("request_header", "X-Forwarded-For"), r"-|unknown|[0-9A-Fa-f:.]{2,45}(?:,? ?[0-9A-Fa-f:.]{2,45})*"),
    "list": (("*", ""), r"[^ ,]*(?:(?:,| :) [^ ,]+)*"),
    "client": (("address", ""), r"[^ \-][^ ]*"),
    "site": (("host", ""), r"[^ ]*[A-Za-z][^ ]*\.[^ ]*|[^ ]*\.[^ ]*[A-Za-z][^ ]*"),
    "seconds": (("duration", "s"), r"-|[0-9]{1,9}\.[0-9]{3,9}"),
    "milliseconds": (("duration", "ms"), r"-|[0-9]{1,12}"),
}
_UNITS = ("s", "ms", "us", "ns")
_MOMENTS = ("clf", "any", "utc", *_UNITS)
_DETAILS = {"at": _MOMENTS, "ended": _MOMENTS, "duration": _UNITS, "address": ("", "port")}
# Spaces may stand in these, even where a space follows them.
_LOOSE = frozenset({"*", "error", "request", "target", "path", *_TIMES, *_NAMED})
_MOMENT = '[^"]{1,64}?'
# What seldom stands in values: a better end for a loose one than the space that may come before it.
_MARKS = '"[](){}|\t'


@dataclass(frozen=True, slots=True)
class Variable:
    """A place in a line.

    ``detail`` is a header's name, a unit, or how a time or an address is written; ``form`` is RE2 for what it has to
    look like.
    """

    role: str
    detail: str = ""
    quoted: bool = False
    form: str = ""

    @property
    def header(self) -> str:
        """The column of the header that it is; empty where it is none."""
        return f"{self.role}:{self.detail}" if self.role in _HEADERS else ""

    @property
    def is_text(self) -> bool:
        """Whether it may hold a secret."""
        return self.role in {"request", "method", "target", "path", "query", "error"} or self.role in _NAMED

    @property
    def is_loose(self) -> bool:
        """Whether spaces may stand in it."""
        return self.role in _LOOSE

    @property
    def is_ignored(self) -> bool:
        """Whether nobody wants it."""
        return self.role in {"-", "*"}


@dataclass(frozen=True)
class LinePattern:
    """How a line is written. The module says how to write a template.

    ``escaped`` is off where backslashes are only backslashes. Where ``words``, the same sign stands between all
    variables and in none of them, unless one stands in quotes; quotes in it are doubled then. ``day`` goes before times
    that have none. Raises InputError for a template that makes no sense.
    """

    template: str
    weight: float = 1.0
    padded: bool = False
    escaped: bool = True
    words: bool = False
    day: str = ""

    def __post_init__(self) -> None:
        _ = self.pieces

    @cached_property
    def pieces(self) -> tuple[tuple[str, Variable | None], ...]:
        """Each text with the variable that follows it; the last one has None where no variable ends the line."""
        pieces: list[tuple[str, Variable | None]] = []
        text = ""
        for match in _PIECE.finditer(self.template):
            if match[1] is None:
                text += match[0].replace("{{", "{").replace("}}", "}")
                continue
            if pieces and not text:
                raise InputError(f"Nothing stands between two variables at {match[0]} of the log's format.")
            quoted = text.endswith('"') and self.template[match.end() : match.end() + 1] == '"'
            pieces.append((text, _variable(match[1], quoted=quoted)))
            text = ""
        return (*pieces, (text, None)) if text or not pieces else tuple(pieces)

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """All of them, in the line's order."""
        return tuple(variable for _, variable in self.pieces if variable)

    @cached_property
    def texts(self) -> tuple[bytes, ...]:
        """What stands in every such line."""
        return tuple(text.strip().encode() for text, _ in self.pieces)

    def has(self, role: str) -> bool:
        """Whether there is such a variable."""
        return any(variable.role == role for variable in self.variables)

    def regex(self, *, lenient: bool = False) -> str:
        """The pattern as RE2 over bytes, with a group ``v0``, ``v1``... for each variable that is not ignored.

        Where ``lenient``, quotes may stand in quoted values without an escape.
        """
        parts = ["(?s)^"]
        for index, (text, variable) in enumerate(self.pieces):
            literal = re.escape(text)
            parts.append(literal.replace("\\ ", " +") if self.padded else literal)
            if variable:
                value = self._value(index, variable, lenient=lenient)
                parts.append(f"(?:{value})" if variable.is_ignored else f"(?P<v{index}>{value})")
        return "".join(parts) + "$"

    def _value(self, index: int, variable: Variable, *, lenient: bool) -> str:
        if variable.form:
            return variable.form
        if self.words:
            return f'"(?:[^"]|"")*"|[^{re.escape(self.between)}]*'
        if variable.quoted:
            return ".*?" if lenient or not self.escaped else r'(?:[^"\\]|\\.)*'
        if variable.role in _TIMES:
            return _MOMENT
        after = self.pieces[index + 1][0] if index + 1 < len(self.pieces) else ""
        if not after:
            return ".*" if variable.is_loose else "[^ ]*"
        if variable.is_loose or variable.role == "user":  # a user's name may have spaces, but seldom has
            return ".*?"
        sign = "" if variable.role == "query" else '"'  # a quote in a word would be the end of a value before
        return f"[^ {re.escape(after[0].strip())}{sign}]*"

    @property
    def between(self) -> str:
        """What ends a last variable that is one word."""
        return self.pieces[-1][0][-1:] if self.words else " "

    def anchor(self, index: int) -> int:
        """Which byte of the text after variable ``index`` tells best where the variable ends."""
        variable, after = self.pieces[index][1], self.pieces[index + 1][0]
        if variable and variable.is_loose and not variable.quoted:
            return max(after.find(next((sign for sign in _MARKS if sign in after), after[0])), 0)
        return 0


def _variable(text: str, *, quoted: bool) -> Variable:
    if text in _FORMS:
        (role, detail), form = _FORMS[text]
        return Variable(role, detail, quoted, form)
    role, _, detail = text.partition(":")
    known = _DETAILS.get(role)
    if known and not detail:
        detail = known[0]
    if (detail not in known) if known else (not detail if role in _NAMED else role not in _PLAIN or bool(detail)):
        raise InputError(f"There is no variable {{{text}}} in the format of a log.")
    return Variable(role, detail, quoted)
