"""Whether a line of a log tells an error, or merely mentions what a step changed: only an error proves a cause."""

import re

from replay.judge.probes.errors import BESIDES, PATH

# What servers say of work of their own and of what took long. It names tables, at any level, and is no error.
_UPKEEP = re.compile(
    r"(?i)\bautomatic (?:aggressive )?(?:vacuum|analyze)\b|\bautovacuum\b|\b(?:vacuum|analyz)ing\b"
    r"|\bslow[ _-]?(?:query|sql|statement)\b|\bduration: [\d.]+ ms\s+(?:statement|plan|parse|bind|execute)\b"
)
_BELOW = "trace|verbose|vrb|debug[1-5]?|dbg|information|info|inf|notice|warning|warn|wrn"
_BELOW_SET_APART = f"{_BELOW}|log|note|system"  # words that a text may have too
_ERROR = "error|err|fatal|ftl|panic|critical|crit|severe"
# {"level": "info"}, level=info, or a number: of GELF 0 to 3 are errors, of pino 50 and 60.
_KEYED = re.compile(
    r"(?i)(?:(?<!\\)\"(?:[\w.@]*(?:level|severity|levelname)|lvl|@l)\"\s*:\s*\"?"
    r"|(?<![\w.\"'])(?:level|lvl|severity)=\"?)"
    rf"(?:(?P<below>{_BELOW_SET_APART}|[4-7]|[1-4]0)|(?P<error>{_ERROR}|[0-3]|[56]0))\b"
)
_HEAD = 120  # letters of a line among which its level is: a time, a process and a logger may stand before it
_LEVEL = re.compile(
    # info: ..., [info], <info>
    rf"(?i:^\s*|[\[<]\s*)(?:(?P<below_apart>(?i:{_BELOW_SET_APART}))|(?P<error_apart>(?i:{_ERROR})))(?=\s*[\]>:])"
    # INFO ..., LOG: ..., and the DETAIL: that a server says of the error before it
    rf"|(?<![\w\"'`./-])(?:(?P<below>{_BELOW.upper()}|LOG(?=:))"
    rf"|(?P<error>{_ERROR.upper()}|(?:DETAIL|CONTEXT|HINT|STATEMENT|QUERY)(?=:)))(?=[\s:|,\]-])"
    # Where an exception's name comes first, what looks like a level is part of what it says.
    r"|(?P<error_name>\w*(?:Error|Exception|Violation)\b|\berrors\.)"
)
_TELLS = re.compile(
    r"(?i)(?<!_)(?:errors?|exceptions?|violations?)(?!\w)|\b(?:fatal|panic|sqlstate|violate[sd]|deadlock"
    r"|does not|doesn't|has no|no such|undefined|unknown (?:column|table)|duplicate|already exists|denied|invalid"
    r"|incorrect|fail(?:s|ed|ure)|can(?:not|'t)|could(?: not|n't)|null value|out of range|too (?:long|large|many)"
    r"|must not|truncated|mismatch|overflow|ambiguous|no unique or exclusion constraint)\b"
)


def tells_error(line: str) -> bool:
    """Whether a line tells an error, at no level below that, or is what a server says besides one."""
    if _UPKEEP.search(line):
        return False
    if BESIDES.match(line):
        return True
    level = _KEYED.search(line) or _LEVEL.search(line[:_HEAD])
    if level:
        return not str(level.lastgroup).startswith("below")
    return bool(_TELLS.search(PATH.sub(" ", line)))
