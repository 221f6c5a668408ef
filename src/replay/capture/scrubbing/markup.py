"""XML and HTML, scrubbed in place: elements, attributes, CDATA, comments, and JSON in them."""

import html
import re

from replay.capture.fields import Says, label_says
from replay.capture.scrubbing.forms import is_recognisable
from replay.capture.scrubbing.pieces import around
from replay.capture.scrubbing.texts import Texts

_PIECE = re.compile(
    r"<!\[CDATA\[(?P<data>.*?)(?:\]\]>|\Z)|<!--(?P<comment>.*?)(?:-->|\Z)|"
    r"<!ENTITY\s+(?P<entity>[\w.-]+)\s+(?P<declared>\"[^\"<]*+\"|'[^'<]*+')|"
    r"<(?P<close>/?)(?P<element>[A-Za-z_][\w:.-]*+)(?P<attributes>(?:[\s/](?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+)?)>?|"
    r"(?P<text>[^<]++|<)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([\w:.@-]+)(\s*+=\s*+)(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++)")
# An attribute that names what stands in the element, or in another attribute: <meta name="csrf-token" content="...">.
_LABELS = frozenset({"name", "key", "property", "id", "itemprop", "http-equiv"})
_LABELLED = frozenset({"value", "content", "data", "text"})
_VALUES = frozenset("value values string text val data content integer int raw plain new old".split())
_CODE = frozenset({"script", "style"})
_VOID = frozenset("input meta link img br hr source area base col embed track wbr".split())
_HTML = frozenset(
    "a abbr article aside b body button caption center code dd details div dl dt em fieldset figure footer form g h1 "
    "h2 h3 h4 h5 h6 head header html i iframe label legend li main nav ol option p path pre q s samp script section "
    "select small span strong style sub summary sup svg table tbody td template tfoot th thead time title tr u ul "
    "use".split()
)
_ELEMENT = re.compile(r"<(?:[A-Za-z_][\w:.-]*(?:\s[^<>]*)?/?>|!--|!\[CDATA\[)")
_LOOKS_LIKE_IT = re.compile(r"\ufeff?\s*<(?:[A-Za-z_][\w:.-]*[\s/>]|\?xml|!DOCTYPE|!doctype|!--|!\[CDATA)")


def looks_like_markup(text: str) -> bool:
    """Whether a text is XML or HTML by its beginning."""
    return bool(_LOOKS_LIKE_IT.match(text))


def has_markup(text: str) -> bool:
    """Whether there is an element somewhere in a text."""
    return bool(_ELEMENT.search(text))


def scrub_markup(texts: Texts, document: str) -> str:
    """A document without its secrets."""
    pieces: list[str] = []
    names = _Names(texts)
    for match in _PIECE.finditer(document):
        kind = match.lastgroup
        piece = match[0]
        if names.is_code and not (match["close"] and match["element"].lower() in _CODE):
            piece = texts.code(piece)  # `i<length` opens no element there
        elif kind == "text":
            piece = _text(texts, names, piece)
        elif kind == "data":
            name = names.meant(match["data"].strip())
            piece = _inner(texts, name, piece, match["data"], match.start("data") - match.start())
        elif kind == "comment":
            piece = _inner(texts, "", piece, match["comment"], match.start("comment") - match.start())
        elif kind == "declared":
            mark, value = match["declared"][0], match["declared"][1:-1]
            piece = f"{piece[: -len(value) - 2]}{mark}{_field(texts, match['entity'], value)}{mark}"
        else:
            label = ""
            if match["attributes"]:
                label = _label(texts, match["attributes"])
                piece = f"<{match['close']}{match['element']}" + _attributes(texts, match["attributes"], label)
                piece += match[0][match.end("attributes") - match.start() :]
            names.enter(match["element"], label, closes=bool(match["close"]))
        pieces.append(piece)
    return "".join(pieces)


class _Names:
    """What says of a text what it is: its element, the one around it, an attribute, or a ``<name>`` before."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._name = ""
        self._label = ""  # by an attribute
        self._told = ""  # by an element before
        self._element = ""

    def enter(self, element: str, label: str, *, closes: bool) -> None:
        name = "" if closes else element.rpartition(":")[2]
        is_within = not closes and name.lower() in _VALUES and self._texts.says(self._name) is Says.SECRET
        self._name = self._name if is_within else name
        self._element = name.lower()
        self._label = "" if closes or self._element in _VOID else label

    @property
    def is_code(self) -> bool:
        """Whether a text is a program or a style sheet."""
        return self._element in _CODE

    def meant(self, text: str) -> str:
        """The name under which a text is to be seen."""
        if self._element in {"name", "key"} and text:
            self._told = text if label_says(text) is not Says.NOTHING else ""
        elif self._told and self._element in _VALUES and text:
            told, self._told = self._told, ""
            return told
        if self._label and self._texts.says(self._name) is Says.NOTHING:
            # What a page shows is seldom a secret: `<h2 id="token">Token</h2>`.
            return self._label if self._element not in _HTML or is_recognisable(text) else ""
        return self._name


def _label(texts: Texts, attributes: str) -> str:
    """The name that one of the attributes gives to the value, where it says something."""
    for name, _, value in _ATTRIBUTE.findall(attributes):
        if name.lower() == "type" and str(value).strip("\"'").lower() == "password":
            return "password"
        if name.lower() in _LABELS:
            label = str(value).strip("\"'")
            if texts.says(label) is not Says.NOTHING:
                return label
    return ""


def _attributes(texts: Texts, attributes: str, label: str) -> str:
    def scrubbed(attribute: re.Match[str]) -> str:
        name, equals, raw = attribute.groups()
        mark = raw[0] if raw[0] in "\"'" else ""
        value = raw[len(mark) : len(raw) - len(mark)]
        meant = label if label and name.lower() in _LABELLED else name.rpartition(":")[2]
        if name.lower() in {"class", "style", "integrity", "nonce", "accesskey"} or (
            not label and name.lower() in _LABELS
        ):
            meant = "id"
        return f"{name}{equals}{mark}{_field(texts, meant, value)}{mark}"

    return around(_ATTRIBUTE, attributes, scrubbed, texts.text)


def _text(texts: Texts, names: _Names, piece: str) -> str:
    bare = piece.strip()
    if not bare:
        return piece
    return piece.replace(bare, _field(texts, names.meant(bare), bare), 1)


def _inner(texts: Texts, name: str, piece: str, value: str, start: int) -> str:
    bare = value.strip()
    return piece[:start] + piece[start:].replace(bare, texts.field(name, bare, "xml"), 1) if bare else piece


def _field(texts: Texts, name: str, raw: str) -> str:
    value = html.unescape(raw) if "&" in raw else raw
    scrubbed = texts.field(name, value, "xml")
    return raw if scrubbed == value else html.escape(scrubbed, quote=True)
