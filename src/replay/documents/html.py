"""What a page of HTML hands out: the fields of its forms, its meta elements and where its links lead.

Places, without the ``html:`` before them:

::

    input/NAME, hidden/NAME      a field of a form
    meta/NAME                    a meta element's content
    href/PART@PATTERN            a part of the URL (see ``urls``) of a link or form whose path is PATTERN, ids as *

Where fields of one name differ in their values, a field's place ends in ``@`` and the pattern of its form's action; of
several that are alike by that, the second ends in ``#2``. Tags are found, not nested: few pages nest them well.
"""

import html
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from replay.documents.urls import url_part, url_parts, url_pattern

_LONGEST = 4_000_000
_MOST_TAGS = 20_000
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<(?P<code>script|style)\b[^>]*+>.*?(?:</(?P=code)|\Z)|"
    r"<(?P<tag>a|form|input|button|meta|link|iframe)(?P<attributes>(?:[\s/](?:[^<>\"']++|\"[^\"]*+\"|'[^']*+')*+)?)>|"
    r"(?P<end></form)",
    re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"([^\s\"'<>/=]++)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'<>]++)))?+")
_LOOKS_LIKE_IT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+<(?:!doctype\s++html|html|head|body|!--|form|div|meta|input|a\s)", re.IGNORECASE
)
# Fields that a person sets or presses, whose values are a choice and not handed out.
_CHOSEN = frozenset("button checkbox color file image password radio range reset submit".split())
_LINKS = {"a": "href", "form": "action", "iframe": "src", "link": "href"}
_RELATIONS = frozenset("next prev previous first last".split())


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a page, its place, and the name of what holds it (none for a segment of a URL)."""

    place: str
    name: str
    text: str


def is_html(body: bytes, content_type: str = "") -> bool:
    """Whether a body is a page or a piece of one."""
    return "html" in content_type.lower() or bool(_LOOKS_LIKE_IT.match(body[:200]))


def html_fields(page: str) -> list[Field]:
    """What a page hands out, each with its place, in the order of the page."""
    inputs: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    fields: list[Field] = []
    seen: dict[str, int] = defaultdict(int)
    for tag, attributes, action in _tags(page):
        if tag == "meta":
            name = attributes.get("name") or attributes.get("property") or ""
            if name and attributes.get("content"):
                fields.append(Field(f"meta/{name}", name, attributes["content"]))
        elif tag in {"input", "button"}:
            kind = attributes.get("type", "").lower()
            if attributes.get("name") and attributes.get("value") and kind not in _CHOSEN:
                inputs[attributes["name"]].append((action, attributes["value"], kind == "hidden"))
        if (url := _url(tag, attributes)) is not None:
            pattern = url_pattern(url)
            parts = list(url_parts(url))
            seen[pattern] += bool(parts)
            ordinal = f"#{seen[pattern]}" if seen[pattern] > 1 else ""
            for part, text in parts:
                kind, _, name = part.partition("/")
                if kind != "fragment":
                    fields.append(Field(f"href/{part}@{pattern}{ordinal}", "" if kind == "path" else name, text))
    for name, found in inputs.items():
        fields += _inputs(name, found)
    return fields


def html_value(page: str, place: str) -> str | None:
    """The text at one place of a page, or None where it has none.

    A field whose form is not there, or not under that pattern, is taken by its name alone.
    """
    kind, _, rest = place.partition("/")
    if kind == "href":
        rest, _, ordinal = rest.partition("#")
        part, _, pattern = rest.rpartition("@")
        urls = [url for tag, attributes, _ in _tags(page) if (url := _url(tag, attributes)) is not None]
        alike = [url for url in urls if url_pattern(url) == pattern and any(url_parts(url))]
        chosen = alike[int(ordinal or 1) - 1 :][:1]
        return url_part(chosen[0], part) if chosen else None
    if kind == "meta":
        return next((one.text for one in html_fields(page) if one.place == place), None)
    rest, _, ordinal = rest.partition("#") if "@" in rest else (rest, "", "")
    name, at, pattern = rest.partition("@/")
    named = [(action, attributes["value"]) for action, attributes in _named(page, name)]
    alike = [text for action, text in named if not at or url_pattern(action) == f"/{pattern}"]
    alike = alike[int(ordinal or 1) - 1 :] or alike or [text for _, text in named]
    return alike[0] if alike else None


def _named(page: str, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    for tag, attributes, action in _tags(page):
        if tag in {"input", "button"} and attributes.get("name") == name and attributes.get("value"):
            yield action, attributes


def _inputs(name: str, found: list[tuple[str, str, bool]]) -> Iterator[Field]:
    if len({text for _, text, _ in found}) == 1:
        yield Field(f"{_kind(hidden=found[0][2])}/{name}", name, found[0][1])
        return
    seen: dict[str, int] = defaultdict(int)
    for action, text, hidden in found:
        pattern = url_pattern(action)
        seen[pattern] += 1
        ordinal = f"#{seen[pattern]}" if seen[pattern] > 1 else ""
        yield Field(f"{_kind(hidden=hidden)}/{name}@{pattern}{ordinal}", name, text)


def _kind(*, hidden: bool) -> str:
    return "hidden" if hidden else "input"


def _url(tag: str, attributes: dict[str, str]) -> str | None:
    url = attributes.get(_LINKS.get(tag, ""), "")
    if tag == "link" and not _RELATIONS & set(attributes.get("rel", "").lower().split()):
        return None
    return url if url and not url.startswith(("#", "javascript:", "data:", "mailto:", "tel:")) else None


def _tags(page: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """The tags that may hold a value: name, attributes, and the action of the form around them."""
    action = ""
    left = _MOST_TAGS
    for match in _TAG.finditer(page[:_LONGEST]):
        if match["end"]:
            action = ""
        elif match["tag"]:
            tag, attributes = match["tag"].lower(), _attributes(match["attributes"])
            if tag == "form":
                action = attributes.get("action", "")
            yield tag, attributes, action
            left -= 1
            if not left:
                return


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text):
        found.setdefault(name.lower(), html.unescape(double or single or bare))
    return found
