"""The texts and attributes of an XML document, by a simple path, with where they stand.

``/orders/order[2]/@id``: names without their prefixes, and a number where siblings share a name. Nothing is expanded
but characters and the five entities that XML itself has; a document that declares others holds nothing for us.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_LONGEST = 8_000_000
_DEEPEST = 100
_MOST = 50_000
_TOKEN = re.compile(
    r"<!\[CDATA\[(?P<data>.*?)\]\]>|<!--.*?-->|<\?.*?\?>|<!DOCTYPE(?P<subset>[^\[>]*+\[)?[^>]*+>|"
    r"</[^<>]*+>|<(?P<name>[^\s<>/\"'=!?]++)(?P<attributes>(?:[^<>\"'/]++|/(?!>)|\"[^\"<]*+\"|'[^'<]*+')*+)(?P<empty>/?)>|"
    r"(?P<text>[^<]++)|(?P<broken><)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([^\s\"'<>/=]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')")
_REFERENCE = re.compile(r"&(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});")
_LOOKS_LIKE_IT = re.compile(rb"(?:\xef\xbb\xbf)?\s*+<[?A-Za-z_]")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text or an attribute: its path, the name of what holds it, that of the element around, and its span."""

    path: str
    name: str
    owner: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class _Element:
    name: str
    parent: "_Element | None"
    ordinal: int = 1
    depth: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def path(self) -> str:
        parts: list[str] = []
        element: _Element | None = self
        while element is not None and element.parent is not None:
            listed = element.parent.counts[element.name] > 1 or _is_plural(element.parent.name, element.name)
            parts.append(f"{element.name}[{element.ordinal}]" if listed else element.name)
            element = element.parent
        return "/" + "/".join(reversed(parts))


def is_xml(body: bytes, content_type: str = "") -> bool:
    """Whether a body is XML: by what is said of it, and by its beginning."""
    lowered = content_type.lower()
    return ("xml" in lowered or not lowered) and "html" not in lowered and bool(_LOOKS_LIKE_IT.match(body[:200]))


def xml_leaves(document: str) -> list[Leaf]:
    """The texts and attributes of a document, or nothing where it is not well-formed."""
    if len(document) > _LONGEST:
        return []
    root = element = _Element("", None)
    found: list[tuple[_Element, str, int, int, str]] = []
    for match in _TOKEN.finditer(document):
        kind = match.lastgroup
        if match["broken"] or match["subset"] or len(found) > _MOST:
            return []
        if match["name"]:
            element = _open(element, match["name"])
            if element.depth > _DEEPEST:
                return []
            if match["attributes"]:
                found += _attributes(element, match)
            if match["empty"]:
                element = _close(element, found)
        elif match[0].startswith("</"):
            if _local(match[0][2:-1].strip()) != element.name or element.parent is None:
                return []
            element = _close(element, found)
        elif kind in {"text", "data"} and match[kind].strip():
            element.spans.append(
                (match.start(), match.end(), _unescaped(match[0]) if kind == "text" else match["data"])
            )
    return [_leaf(*one) for one in found] if element is root else []


def replaced(document: str, values: dict[str, str]) -> str | None:
    """A document with the texts at some paths replaced, or None where it lacks one of the paths."""
    leaves = {leaf.path: leaf for leaf in xml_leaves(document)}
    if not values.keys() <= leaves.keys():
        return None
    for path in sorted(values, key=lambda path: -leaves[path].start):
        leaf = leaves[path]
        document = document[: leaf.start] + escape(values[path], {'"': "&quot;", "'": "&apos;"}) + document[leaf.end :]
    return document


def _open(parent: _Element, name: str) -> _Element:
    name = _local(name)
    parent.counts[name] = parent.counts.get(name, 0) + 1
    return _Element(name, parent, parent.counts[name], parent.depth + 1)


def _close(element: _Element, found: list[tuple[_Element, str, int, int, str]]) -> _Element:
    if len(element.spans) == 1 and not element.counts:  # mixed content is prose
        start, end, text = element.spans[0]
        found.append((element, "", start, end, text.strip()))
    return element.parent or element


def _attributes(element: _Element, match: re.Match[str]) -> Iterator[tuple[_Element, str, int, int, str]]:
    base = match.start("attributes")
    for one in _ATTRIBUTE.finditer(match["attributes"]):
        which = 2 if one[2] is not None else 3
        if not one[1].startswith("xmlns"):
            yield element, _local(one[1]), base + one.start(which), base + one.end(which), _unescaped(one[which])


def _leaf(element: _Element, attribute: str, start: int, end: int, text: str) -> Leaf:
    path = element.path()
    if attribute:
        return Leaf(f"{path}/@{attribute}", attribute, element.name, text, start, end)
    return Leaf(path, element.name, element.parent.name if element.parent else "", text, start, end)


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _is_plural(parent: str, child: str) -> bool:
    return parent.lower() in {
        f"{child.lower()}s",
        f"{child.lower()}es",
        f"{child[:-1].lower()}ies",
        f"{child.lower()}list",
    }


def _unescaped(text: str) -> str:
    return _REFERENCE.sub(lambda match: html.unescape(match[0]), text)
