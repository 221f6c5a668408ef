"""JSON, GraphQL and what is like them, scrubbed in place: not one byte changes beside a secret.

The text is read as a row of strings, names, brackets and bare words, so that a broken document, several in a row, or
one that is nested without end is scrubbed as well as any, in time that grows with its length alone.
"""

import json
import re

from replay.capture.fields import Says, label_says, name_says
from replay.capture.scrubbing import forms
from replay.capture.scrubbing.texts import Texts

_TOKEN = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)(\s*+:)?|([{}\[\]])|([^\s{}\[\],:"]++)(\s*+:)?', re.DOTALL)
_LOOKS_LIKE_IT = re.compile(
    r"\ufeff?\s*(?:[{\[]\s*(?:[\"{}\[\]]|-?\d|true|false|null)|(?:query|mutation|subscription|fragment)\b[^{}]{0,2000}\{|\{\s*\w+\s*[({:])"
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST_PLACE = 64
# By where it starts: where what is replaced ends, and what takes its place.
_Changes = dict[int, tuple[int, str]]
_LONG_NAME = 8
_SHORTEST_NUMBER = 3
_LONGEST_LABEL = 200
_MOST_WAITING = 8


def _in_any_case(words: str) -> frozenset[str]:
    return frozenset(form for word in words.split() for form in (word, word[:1].upper() + word[1:], word.upper()))


# Names of labels, and of the values beside them.
_LABELS = _in_any_case("name key field path property header param parameter attribute variable id label claim")
_VALUES = _in_any_case(
    "value val values stringValue string_value newValue new_value oldValue old_value new old current previous next raw "
    "plain plaintext text content data string default from to before after confirm repeat $ #text _"
)
_WORD = re.compile(r"[a-z]*|[A-Z]?[a-z]+")
_QUOTED = re.compile(r"(['`])([^'`]+)(['`]?)")
_LIST_ENDS = re.compile(r"\s*\]")


def looks_like_json(text: str) -> bool:
    """Whether a text is JSON or GraphQL by its beginning."""
    return bool(_LOOKS_LIKE_IT.match(text))


def scrub_json(texts: Texts, document: str, kind: str = "json") -> str:
    """A document without its secrets."""
    places = _Places(texts) if texts.rules.drop_json or texts.rules.keep_json else None
    changes: _Changes = {}
    around = [_Open("", "")]
    current = around[0]
    name = ""
    for match in _TOKEN.finditer(document):
        string, colon, bracket, bare, bare_colon = match.groups()
        if bracket:
            if places:
                places.step(bracket, name)
            current = _stepped(around, bracket, name)
            name = current.name if current.bracket == "[" else ""
        elif colon or bare_colon:
            name = _unescaped(string) if colon else bare
            if len(name) >= _LONG_NAME and (scrubbed := texts.text(name)) != name:
                end = match.end() - len(colon or bare_colon)
                changes[match.start()] = (end, json.dumps(scrubbed, ensure_ascii=name.isascii()))
        elif places and (ruled := places.ruled(name)) is not None:
            if not ruled:
                changes[match.start()] = (match.end(), "null")
        else:
            meant = current.meant(name, match) if current.is_pair or name in _VALUES else name
            _change(texts, meant, match, kind, changes)
            if string and name in _LABELS:
                for earlier in current.labelled(match):
                    _change(texts, current.label, earlier, kind, changes)
    return _with(changes, document) if changes else document


def _stepped(around: "list[_Open]", bracket: str, name: str) -> "_Open":
    if bracket in "{[":
        around.append(_Open(bracket, name, around[-1]))
    elif len(around) > 1:
        around.pop()
    return around[-1]


def _change(texts: Texts, name: str, match: re.Match[str], kind: str, changes: _Changes) -> None:
    token = match[0]
    scrubbed = _bare(texts, name, token, kind) if match[1] is None else _string(texts, name, match, kind)
    if scrubbed != token:
        changes[match.start()] = (match.end(), scrubbed)


def _with(changes: _Changes, document: str) -> str:
    pieces, kept_to = [], 0
    for start in sorted(changes):
        end, scrubbed = changes[start]
        pieces += [document[kept_to:start], scrubbed]
        kept_to = end
    return "".join([*pieces, document[kept_to:]])


class _Open:
    """An object or a list that is open, and what names say of its values beside their own.

    They may stand under a name that says it of all in it (``"password": {"old": ...}``), beside a label (``"name":
    "password", "value": ...``), or behind one in a list of pairs.
    """

    __slots__ = ("_count", "_first", "_outer", "_waiting", "bracket", "is_pair", "label", "name")

    def __init__(self, bracket: str, name: str, around: "_Open | None" = None) -> None:
        self.bracket = bracket
        self.name = name
        self.label = ""
        self._waiting: list[re.Match[str]] | None = None
        self.is_pair = bracket == "[" and around is not None and around.bracket == "["
        self._first = ""
        self._count = 0
        self._outer = around.name if around and around.bracket == "[" and bracket == "{" else name

    def meant(self, name: str, match: re.Match[str]) -> str:
        """The name under which a value is to be seen, of a pair or under one of ``_VALUES``."""
        if self.bracket == "{":
            if self.label:
                return self.label
            if self._outer and name_says(self._outer) is Says.SECRET:
                return self._outer
            self._waiting = [*(self._waiting or ()), match][:_MOST_WAITING]
        elif self.is_pair:
            self._count += 1
            if self._count == 1 and match[1]:
                self._first = _unescaped(match[1])
            elif self._count == 2 and self._first and match[1] and not _WORD.fullmatch(match[1]):
                ends = _LIST_ENDS.match(match.string, match.end())
                if ends and label_says(self._first) is not Says.NOTHING:
                    return self._first
        return name

    def labelled(self, match: re.Match[str]) -> list[re.Match[str]]:
        """The values that were met before the label that ``match`` may be."""
        if self.bracket != "{" or len(match[1]) > _LONGEST_LABEL:
            return []
        label = _unescaped(match[1])
        if label_says(label) is Says.NOTHING:
            return []
        waiting, self.label, self._waiting = self._waiting or [], label.strip("/").rpartition("/")[2], None
        return waiting


def _string(texts: Texts, name: str, match: re.Match[str], kind: str) -> str:
    token, content = match[0], match[1]
    value = _unescaped(content)
    scrubbed = texts.field(name, value, kind, match.string)
    if scrubbed == value:
        return token
    plain = content.isascii() or bool(_LONE_SURROGATE.search(scrubbed))
    made = json.dumps(scrubbed, ensure_ascii=plain)
    return made if token.endswith('"') and len(token) > 1 else made[:-1]


def _bare(texts: Texts, name: str, word: str, kind: str) -> str:
    if not word.isdigit():
        quoted = _QUOTED.fullmatch(word)
        if quoted and texts.says(name) is Says.SECRET:  # `{password: 'hunter2'}`
            return quoted[1] + texts.certain(quoted[2], kind) + quoted[3]
        return texts.chunk(word) if len(word) >= 8 and not _is_number(word) else word
    if len(word) < _SHORTEST_NUMBER:
        return word
    says = texts.says(name)
    if says is Says.SECRET and not name.endswith("s"):
        return texts.secret(word, kind)
    if (says is Says.PHONE and forms.is_phone(word)) or (says is Says.CARD and forms.is_card(word, named=True)):
        return texts.field(name, word, kind)
    if len(word) >= 14 and forms.is_card(word):
        if says is Says.ID:
            texts.spare(word)
            return word
        return texts.guess(word, "card")
    return (texts.maybe(word) or word) if len(word) >= 16 else word


def _is_number(word: str) -> bool:
    return word[0] in "-0123456789" and word.strip("-+.0123456789eE") == ""


def _unescaped(content: str) -> str:
    if "\\" not in content:
        return content
    try:
        return str(json.loads(f'"{content}"', strict=False))
    except ValueError:
        return content


class _Places:
    """Where in a document the reader is, for the user's rules about places in JSON."""

    def __init__(self, texts: Texts) -> None:
        self._rules = texts.rules
        self._open: list[tuple[str, str]] = []

    def step(self, bracket: str, name: str) -> None:
        """Into an object or a list under ``name``, or out of one."""
        if bracket in "{[":
            self._open.append((self._here(name), bracket))
        elif self._open:
            self._open.pop()

    def ruled(self, name: str) -> bool | None:
        """Whether a rule keeps (True) or drops (False) the value here; None where none speaks of it."""
        here = self._here(name)
        if self._rules.drop_json and self._rules.drop_json.fullmatch(here):
            return False
        return True if self._rules.keep_json and self._rules.keep_json.fullmatch(here) else None

    def _here(self, name: str) -> str:
        if not self._open:
            return ""
        place, bracket = self._open[-1]
        if len(self._open) > _DEEPEST_PLACE:
            return place
        return f"{place}/*" if bracket == "[" else f"{place}/{name}"
