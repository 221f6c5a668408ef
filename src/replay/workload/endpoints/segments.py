"""What a segment of a path is by its form alone: a word, or something with values in it.

A *form* is the segment with a mark where each value stands: ``991.csv`` has the form ``\\0.csv``, ``Products('tea')``
the form ``Products('\\0')``. Words have none.
"""

import re
from functools import lru_cache

from replay.workload.endpoints.names import VERSION, last_singular, snake, unused

ID = "\0"
DATE = "\1"
_MARK = re.compile(f"([{ID}{DATE}])")

_SURE = re.compile(
    r"""
    (?P<date> \d{4}-(?:\d{2}(?:-\d{2})?(?:T[0-9:.%A-Za-z+-]*)?|W\d{2}|[QH]\d) )
    | (?: [-+]?\d+(?:[.,][-+]?\d+)*                                # numbers, co-ordinates, lists of ids
      | (?=(?:-?\d){7})\d+(?:-\d+)+                                # order numbers, telephone numbers
      | [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
      | (?=[a-fA-F]*\d)[0-9a-fA-F]{8,}
      | [A-Za-z]{1,12}(?:_[a-z]{2,8})?_(?=[A-Za-z]*\d)[A-Za-z0-9]{4,}   # evt_9fK2, sk_test_4eC39
      | [a-z]{1,8}_(?=[A-Za-z]*[A-Z]{2})(?=[A-Z]*[a-z])[A-Za-z]{10,}
      | [A-Z][A-Z0-9]{1,9}-\d+                                     # PROJ-123
      | [A-Za-z]{1,12}-(?:\d{5,}|(?=(?:\D*\d){2})[A-Z0-9]{6,})      # order-10023, ORD-7Q2K9Z
      | [0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}                 # IPv6
      | (?:sha\d{1,3}|md5):[0-9a-fA-F]{6,} | urn:.+
      | .*(?:@|\{|\}|%(?:20|22|23|25|26|2[BbCcFf]|3[AaCcDdEeFf]|40|5[BbDd]|7[BbCcDd])).*
      )
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS_ONLY = re.compile(r"[a-z]+(?:[-_.][a-z]+)*")
_LONG = re.compile(r"[A-Za-z0-9_=~.+-]{16,}")
_SHORT = re.compile(r"[A-Za-z0-9_-]{6,}")
_TURNS = re.compile(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_CAPITALS = re.compile(r"[A-Z]{2}")
_SHORT_PARTS, _LONG_PARTS = 2.7, 4  # letters on average
_WORD, _WORDS = 4, 0.45
_UNSPEAKABLE = re.compile(r"[b-df-hj-np-tv-xz]{5}", re.IGNORECASE)
_NOTHING = frozenset({"undefined", "null", "NaN"})  # where a client had no value
_SLASHED = re.compile("%2f", re.IGNORECASE)
_FILE = re.compile(r"(.+)(\.[A-Za-z][A-Za-z0-9]{0,4})", re.DOTALL)
_DOMAINS = frozenset(".com .dev .internal .io .local .net .org .test".split())
_VERB = re.compile(r"([^:]+)(:[a-z]+(?:[A-Z][a-z]+)*)", re.DOTALL)
_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\((.+)\)", re.DOTALL)
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(?:'|%27)?$")
_OWNER = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\(")
_QUOTED = re.compile(r"('|%27)(.*)\1", re.DOTALL)

_SLUG = re.compile(r".*[\d_.%~:,+!*'$-].*", re.DOTALL)
_SURE_SLUG = re.compile(r".*(?:\d|%[0-9A-Fa-f]{2}|[~:,+!]|[-_][^-_]+[-_]).*", re.DOTALL)


def form_of(segment: str) -> str:
    """The form of a segment with values in it, or an empty string for what may be a word."""
    if segment.isascii():
        if segment.isalpha() and len(segment) < 16:
            return ID if segment in _NOTHING else ""
        if segment.isdigit():
            return ID
        if _WORDS_ONLY.fullmatch(segment):
            return ""
    if ID in segment or DATE in segment:
        return ID
    if ";" in segment:
        return _matrix(segment)
    if segment.endswith(")"):
        call = _CALL.fullmatch(segment)
        arguments = [_argument(part) for part in call[2].split(",")] if call else []
        if call and all(arguments):
            return f"{call[1]}({','.join(arguments)})"
    return _plain(segment)


def slug_weight(word: str) -> float:
    """How much a word looks like a name: 1 ``a-talk-on-tea``; 0.5 ``green-tea``, ``TEA``, ``gb``; 0 ``tea``."""
    if _SURE_SLUG.fullmatch(word):
        return 1.0
    return 0.5 if len(word) == 2 or (len(word) > 2 and word.isupper()) or _SLUG.fullmatch(word) else 0.0


def extension(segment: str) -> str:
    """The extension of a file's name, with its dot, or an empty string."""
    file = _FILE.fullmatch(segment)
    return file[2] if file and file[2] not in _DOMAINS else ""


def verb(segment: str) -> str:
    """``:send`` at the end of ``drafts:send``, or an empty string."""
    acted = _VERB.fullmatch(segment)
    return acted[2] if acted else ""


def values_in(form: str, segment: str) -> tuple[str, ...]:
    """The values that stand in ``segment`` where ``form`` has its marks."""
    found = _reader(form).fullmatch(segment)
    return found.groups() if found else (segment,)


def fill(form: str, word: str, taken: dict[str, int]) -> tuple[str, list[str]]:
    """A form as a part of a template, and its parameters: named after what stands before them, or after ``word``.

    ``taken`` are the names that the path has already, and is told of these.
    """
    text = before = ""
    names: list[str] = []
    for part in _MARK.split(form):
        if part not in {ID, DATE}:
            text += part
            before = part
            continue
        key = _KEY.search(before)
        owner = _OWNER.match(text)
        base = last_singular(owner[1]) if owner else word
        kind = "date" if part == DATE else "id"
        name = snake(key[1]) if key else f"{base}_{kind}" if base else kind
        name = unused(name or kind, taken)
        text += f"{{{name}}}"
        names.append(name)
    return text, names


@lru_cache(maxsize=1024)
def _reader(form: str) -> re.Pattern[str]:
    parts = ("(.*?)" if part in {ID, DATE} else re.escape(part) for part in _MARK.split(form))
    return re.compile("".join(parts), re.DOTALL)


def _plain(segment: str) -> str:
    if not segment or VERSION.fullmatch(segment):
        return ""
    form = _whole(segment)
    if form:
        file = _FILE.fullmatch(segment) if form == ID and _SLASHED.search(segment) else None
        return ID + file[2] if file else form
    acted = _VERB.fullmatch(segment)
    if acted and (form := _whole(acted[1])):
        return form + acted[2]
    file = _FILE.fullmatch(segment)
    if file and (form := _whole(file[1])):
        return form + file[2]
    return ""


def _whole(text: str) -> str:
    sure = _SURE.fullmatch(text)
    if sure:
        return DATE if sure["date"] else ID
    return ID if _is_random(text) else ""


def _is_random(text: str) -> bool:
    """Whether nobody would choose these letters and digits: they change places too often."""
    if not _SHORT.fullmatch(text) and not _LONG.fullmatch(text):
        return False
    turns = len(_TURNS.findall(text))
    if len(text) < 16:
        return turns >= 3
    digits = sum(map(str.isdigit, text))
    mixed = text.lower() != text != text.upper()
    if (mixed and digits >= 2 and turns >= 2) or (text.isalnum() and digits >= 3 and turns >= 2):
        return True
    if not mixed:
        return False
    # Else what no camel's words would be: too short, or not to be spoken.
    parts = _PARTS.findall(text)
    words = sum(len(part) for part in parts if len(part) >= _WORD)
    if _CAPITALS.search(text) and (words < _WORDS * len(text) or len(text) <= _SHORT_PARTS * len(parts)):
        return True
    return len(text) <= _LONG_PARTS * len(parts) and bool(_UNSPEAKABLE.search(text))


def _matrix(segment: str) -> str:
    first, *others = segment.split(";")
    parts = [form_of(first) or first]
    for other in others:
        pair = _PAIR.fullmatch(other)
        parts.append(f"{pair[1]}={ID}" if pair else other)
    return ";".join(parts)


def _argument(text: str) -> str:
    pair = _PAIR.fullmatch(text)
    value = pair[2] if pair else text
    quoted = _QUOTED.fullmatch(value)
    form = f"{quoted[1]}{ID}{quoted[1]}" if quoted else ID if pair else form_of(value)
    return f"{pair[1]}={form}" if pair else form
