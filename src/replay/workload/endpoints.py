"""Endpoints from traffic alone: which segments of a path are parameters, and what to call them.

A segment is a parameter by its form (a number, a UUID, a date, a long opaque id), or because many different values
stand in the same place below the same parent (slugs, names). Versions and words stay as they are.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from replay.traffic import Endpoint, Exchange

_ID = "\0id"
_DATE = "\0date"

_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}")
_DATED = re.compile(r"\d{4}-\d{2}(?:-\d{2})?(?:T[0-9:.%A-Za-z+-]*)?")
_PREFIXED = re.compile(r"[A-Za-z]{1,12}(?:_(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{4,}|-(?:\d{5,}|(?=(?:\D*\d){2})[A-Z0-9]{6,}))")
_LONG = re.compile(r"[A-Za-z0-9_=~.-]{16,}")
_VERSION = re.compile(r"v\d+(?:[._]\d+)*(?:[a-z]+\d*)?", re.IGNORECASE)
_FILE = re.compile(r"(.+)\.([A-Za-z][A-Za-z0-9]{0,4})")
_SLUG = re.compile(r".*[-_.\d%@:~].*")
_SURE_SLUG = re.compile(r".*(?:[\d%@:~]|[-_][^-_]+[-_]).*")

# Words that stand for themselves wherever parameters stand.
_RESERVED = frozenset(
    "all batch bulk count current export import latest me new recent search self stats summary".split()
)
_SLUGS_AT_LEAST = 10
_NEW_SHARE = 0.1  # of the requests, those with a value seen only once: new values keep coming

_IRREGULAR = {"people": "person", "children": "child", "statuses": "status", "series": "series", "news": "news"}
_IDENTIFIERS = {"id", "uuid", "guid", "identifier", "_id"}


@dataclass(slots=True)
class _Node:
    count: int = 0
    children: dict[str, "_Node"] = field(default_factory=dict)
    open: bool = False  # values that are no words we know are parameters here


class Endpoints:
    """The endpoints of some traffic. Paths that were not in it are read by the same rules."""

    def __init__(self, root: _Node) -> None:
        self._root = root
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    def endpoint(self, method: str, path: str) -> Endpoint:
        """The endpoint of a request."""
        return Endpoint(method.upper(), self._read(path)[0])

    def parameters(self, path: str) -> tuple[str, ...]:
        """A name for each segment of ``path``: the parameter's (``event_id``), or an empty one for a word."""
        return self._read(path)[1]

    def _read(self, path: str) -> tuple[str, tuple[str, ...]]:
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = _template(self._root, path)
        return known


def learn_endpoints(exchanges: Iterable[Exchange]) -> Endpoints:
    """Find the endpoints of ``exchanges``. Paths that were never found (404) teach nothing about slugs."""
    paths: Counter[str] = Counter()
    found: set[str] = set()
    for exchange in exchanges:
        paths[exchange.request.path] += 1
        if exchange.response is None or exchange.response.status not in {400, 404, 405}:
            found.add(exchange.request.path)
    root = _Node()
    for path, count in sorted(paths.items()):
        if path not in found:
            continue
        node = root
        for index, segment in enumerate(_segments(path)):
            node = node.children.setdefault(_form(segment, index) or segment, _Node())
            node.count += count
    _open_slugs(root)
    return Endpoints(root)


@lru_cache(maxsize=4096)
def singular(word: str) -> str:
    """``events`` is ``event``, ``categories`` is ``category``, ``addresses`` is ``address``."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=4096)
def snake(word: str) -> str:
    """``checkIns`` and ``check-ins`` are ``check_ins``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word)
    return re.sub(r"[^0-9A-Za-z]+", "_", spaced).strip("_").lower()


@lru_cache(maxsize=4096)
def resource_of(template: str) -> str:
    """What the last word of a template names: ``/v1/events/{event_id}/registrations`` is about a ``registration``."""
    words = [part for part in template.split("/") if part and "{" not in part and not _VERSION.fullmatch(part)]
    return _last_singular(words[-1]) if words else ""


def is_identifier(name: str) -> bool:
    """Whether a field called ``name`` (in snake case) holds the id of the thing it stands in."""
    return name in _IDENTIFIERS


def _segments(path: str) -> list[str]:
    return path.split("/")[1:] if path.startswith("/") else path.split("/")


def _form(segment: str, index: int) -> str:
    """What a segment is by its form alone, or an empty string for what may be a word."""
    if _VERSION.fullmatch(segment) or not segment:
        return ""
    if _DATED.fullmatch(segment):
        return _DATE
    if _looks_like_id(segment):
        return _ID
    file = _FILE.fullmatch(segment)
    if file and index and _looks_like_id(file[1]):
        return f"{_ID}.{file[2]}"
    return ""


def _looks_like_id(segment: str) -> bool:
    if any(form.fullmatch(segment) for form in (_NUMBER, _UUID, _HEX, _PREFIXED)) or "@" in segment:
        return True
    if "%40" in segment:
        return True
    if not _LONG.fullmatch(segment):
        return False
    digits = sum(character.isdigit() for character in segment)
    mixed = segment.lower() != segment != segment.upper()
    return (mixed and digits >= 2) or (segment.isalnum() and digits >= 3)


def _open_slugs(root: _Node) -> None:
    """Merge the children that are slugs into one parameter, from the root downwards."""
    waiting = [(root, "")]
    while waiting:
        node, parent = waiting.pop()
        slugs = _slugs(node, parent)
        if slugs:
            node.open = True
            merged = node.children.setdefault(_ID, _Node())
            for slug in slugs:
                _merge(merged, node.children.pop(slug))
        waiting.extend((child, segment) for segment, child in node.children.items())


def _slugs(node: _Node, parent: str) -> list[str]:
    words = [name for name in node.children if name and name[0] != "\0" and name.lower() not in _RESERVED]
    words = [word for word in words if not _VERSION.fullmatch(word)]
    if len(words) < _SLUGS_AT_LEAST:
        return []
    if 2 * sum(bool(_SURE_SLUG.fullmatch(word)) for word in words) >= len(words):
        return [word for word in words if _SLUG.fullmatch(word)]
    below_a_word = bool(parent) and parent[0] != "\0" and not _VERSION.fullmatch(parent)
    requests = sum(node.children[word].count for word in words)
    seen_once = sum(node.children[word].count == 1 for word in words)
    return words if below_a_word and seen_once >= _NEW_SHARE * requests else []


def _merge(into: _Node, other: _Node) -> None:
    waiting = [(into, other)]
    while waiting:
        target, source = waiting.pop()
        target.count += source.count
        for segment, child in source.children.items():
            if segment in target.children:
                waiting.append((target.children[segment], child))
            else:
                target.children[segment] = child


def _template(root: _Node, path: str) -> tuple[str, tuple[str, ...]]:
    node: _Node | None = root
    parts: list[str] = []
    names: list[str] = []
    word = ""  # the literal segment that a parameter is named from
    for index, segment in enumerate(_segments(path)):
        form = _form(segment, index)
        if not form and node is not None and node.open and segment not in node.children and _may_be_slug(segment):
            form = _ID
        node = node.children.get(form or segment) if node is not None else None
        if not form:
            word = "" if _VERSION.fullmatch(segment) else segment
            parts.append(segment)
            names.append("")
            continue
        base = f"{_last_singular(word)}_" if word else ""
        name = _unused(f"{base}date" if form == _DATE else f"{base}id", names)
        _, dot, suffix = form.partition(".")
        parts.append(f"{{{name}}}{dot}{suffix}")
        names.append(name)
    return "/" + "/".join(parts), tuple(names)


def _may_be_slug(segment: str) -> bool:
    return bool(segment) and segment.lower() not in _RESERVED and not _VERSION.fullmatch(segment)


def _last_singular(word: str) -> str:
    """``ticket-classes`` is ``ticket_class``: the last of its words in the singular."""
    first, separator, last = snake(word).rpartition("_")
    return first + separator + singular(last)


def _unused(name: str, names: list[str]) -> str:
    if name not in names:
        return name
    return next(f"{name}_{number}" for number in range(2, len(names) + 3) if f"{name}_{number}" not in names)
