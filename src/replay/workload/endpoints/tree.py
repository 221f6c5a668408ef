"""The paths of some traffic as a tree, a level for each segment, those with values under the form of it."""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from replay.workload.endpoints.names import VERSION
from replay.workload.endpoints.segments import form_of

MOST_PATHS = 200_000  # that are looked at; of more, those asked for most and an even sample of the others

READ, WRITTEN, POSTED, DELETED = 1, 2, 4, 8
_METHODS = {"GET": READ, "HEAD": READ, "PUT": WRITTEN, "PATCH": WRITTEN, "DELETE": WRITTEN | DELETED, "POST": POSTED}

# A number or a date that may be the version of an API, where no value stands before it.
_MAYBE_VERSION = re.compile(r"\d{1,2}(?:\.\d{1,2})?|20\d{2}-\d{2}-\d{2}")
_VERSION_WITHIN = 3

_MEMORY = 65_536


@dataclass(slots=True)
class Node:
    """What stands below the beginning of a path.

    ``count`` requests went through it, and ``ended`` there, with ``methods`` (as bits). Where it is ``open``, words
    that are not among its ``children`` are values; where it is a ``rest``, whatever is not among them is one value, of
    any number of segments; where it holds ``files``, an extension is a part of the value.
    """

    count: int = 0
    ended: int = 0
    methods: int = 0
    children: dict[str, "Node"] = field(default_factory=dict)
    open: bool = False
    rest: bool = False
    files: bool = False


class Forms:
    """Remembers the forms of segments that it met, some tens of thousands of them."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def keys(self, path: str) -> tuple[str, ...]:
        """For each segment of ``path`` its form, or itself where it is a word or may be a version."""
        known = self._known
        keys: list[str] = []
        words_only = True
        for index, segment in enumerate(segments_of(path)):
            form = known.get(segment)
            if form is None:
                form = form_of(segment)
                if len(known) >= _MEMORY:
                    known.clear()
                known[segment] = form
            if form and words_only and index < _VERSION_WITHIN and _MAYBE_VERSION.fullmatch(segment):
                form = ""
            if form:
                words_only = False
            keys.append(form or segment)
        return tuple(keys)


def segments_of(path: str) -> list[str]:
    """The segments of a path, as many as it has slashes where it begins with one."""
    return path.split("/")[1:] if path.startswith("/") else path.split("/")


def maybe_version(segment: str) -> bool:
    """Whether ``segment`` is a number that may stand for an API's version."""
    return bool(_MAYBE_VERSION.fullmatch(segment))


def is_version(segment: str) -> bool:
    """Whether ``segment`` says of itself that it is a version: ``v2``, ``v1beta1``."""
    return bool(VERSION.fullmatch(segment))


def method_bits(method: str) -> int:
    """The bits of ``Node.methods`` for a method."""
    return _METHODS.get(method.upper(), 0)


@dataclass(slots=True)
class Paths:
    """Different paths by their forms, each with how often it was asked for and by which methods."""

    most: int = MOST_PATHS
    counts: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    dropped: int = 0

    def add(self, keys: tuple[str, ...], count: int, methods: int) -> None:
        """Note that ``count`` requests went to a path."""
        known = self.counts.get(keys)
        if known is None:
            self.counts[keys] = [count, methods]
            if len(self.counts) > 2 * self.most:
                self._trim()
        else:
            known[0] += count
            known[1] |= methods

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], int, int]]:
        """The paths that count, in order."""
        if len(self.counts) > self.most:
            self._trim()
        return ((keys, count, methods) for keys, (count, methods) in sorted(self.counts.items()))

    def _trim(self) -> None:
        """Keep the paths of most weight: how often each was asked for, by a draw that depends on nothing but it."""
        ranked = sorted(self.counts.items(), key=_weight, reverse=True)
        self.dropped += len(ranked) - self.most
        self.counts = dict(ranked[: self.most])


def grow(paths: Iterable[tuple[tuple[str, ...], int, int]]) -> Node:
    """The tree of some paths."""
    root = Node()
    for keys, count, methods in paths:
        node = root
        node.count += count
        for key in keys:
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = Node()
            child.count += count
            node = child
        node.ended += count
        node.methods |= methods
    return root


def merge(into: Node, other: Node) -> None:
    """Add what is below ``other`` to ``into``. ``other`` is used up."""
    waiting = [(into, other)]
    while waiting:
        target, source = waiting.pop()
        target.count += source.count
        target.ended += source.ended
        target.methods |= source.methods
        for key, child in source.children.items():
            if key in target.children:
                waiting.append((target.children[key], child))
            else:
                target.children[key] = child


def fold(node: Node, keys: Mapping[str, str]) -> None:
    """Move the children called ``keys`` to where they belong."""
    for key in sorted(keys):
        child = node.children.pop(key)
        kept = node.children.setdefault(keys[key], Node())
        merge(kept, child)


def _weight(entry: tuple[tuple[str, ...], list[int]]) -> tuple[float, tuple[str, ...]]:
    keys, (count, _) = entry
    draw = (zlib.crc32("/".join(keys).encode("utf-8", "surrogatepass")) + 1) / 2**32
    return count / draw, keys
