"""Endpoints from traffic alone: which segments of a path are parameters, and what to call them.

A segment is a parameter by its form (a number, a UUID, a date, a long opaque id; ``segments``), or because other
values stand in the same place (slugs, names; ``opening``). Versions and words stay as they are. A path with and without
a slash at its end is one endpoint where both were found; the way in which more requests were sent names it. What was
never found, and matches nothing that was, is one endpoint, ``/{path}``, where there is much of it: a robot's guesses.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from replay.traffic import Endpoint, Exchange
from replay.workload.endpoints.names import is_identifier, last_singular, resource_of, singular, snake, unused
from replay.workload.endpoints.opening import may_be_value, open_values, value_key
from replay.workload.endpoints.routes import Rules
from replay.workload.endpoints.segments import DATE, ID, extension, fill, form_of, values_in
from replay.workload.endpoints.tree import Forms, Node, Paths, grow, is_version, maybe_version, method_bits, segments_of

__all__ = [
    "LOST",
    "Endpoints",
    "SeenPath",
    "is_identifier",
    "learn_endpoints",
    "learn_paths",
    "resource_of",
    "singular",
    "snake",
]

LOST = "/{path}"
"""The template of the paths that were never found, where they are too many for one each."""

_REST = "\2"
_OTHER = {ID: DATE, DATE: ID}
_NOT_FOUND = {400, 404, 405}
_LOST_KEPT = 20  # so many paths that were never found have endpoints of their own
_LOST_ASKED = 10  # and, where there are more, those that were asked for so often
_MEMORY = 65_536


@dataclass(frozen=True, slots=True)
class SeenPath:
    """Requests with the same method, path and operation. ``found`` is False where all were answered 400, 404 or 405."""

    method: str
    path: str
    operation: str = ""
    count: int = 1
    found: bool = True


@dataclass(frozen=True, slots=True)
class _Reading:
    """A template, with the names of each segment's values, and the name of each segment that is one."""

    template: str
    names: tuple[tuple[str, ...], ...]
    parameters: tuple[str, ...]


class Endpoints:
    """The endpoints of some traffic. Paths that were not in it are read by the same rules.

    ``lost`` is how many different paths (by form) that were never found are one endpoint, ``LOST``; 0 where each has
    its own.
    """

    def __init__(self, root: Node, rules: Rules | None = None, lost: int = 0) -> None:
        self.lost = lost
        self._root = root
        self._rules = rules
        self._forms = Forms()
        self._readings: dict[tuple[str, ...], _Reading] = {}

    def endpoint(self, method: str, path: str, operation: str = "") -> Endpoint:
        """The endpoint of a request. ``operation`` is what ``operations.operation_of`` gives."""
        rule = self._rules.match(method, path) if self._rules else None
        return Endpoint(method.upper(), rule.template if rule else self._read(path)[1].template, operation)

    def parameters(self, path: str, method: str = "") -> tuple[str, ...]:
        """A name for each segment of ``path``: the parameter's (``event_id``), or an empty one.

        Empty for a word, for a segment that has values and words (``map;lat=1``), and for one of several that are a
        value together.
        """
        rule = self._rules.match(method, path) if self._rules else None
        if rule:
            return rule.parameters
        keys, reading = self._read(path)
        if keys[-1:] != (_REST,):
            return reading.parameters
        tail = len(segments_of(path)) - len(keys) + 1
        return reading.parameters if tail == 1 else (*reading.parameters[:-1], *[""] * tail)

    def values(self, path: str, method: str = "") -> tuple[tuple[str, str], ...]:
        """The parameters of ``path`` in order, each with its value, percent-decoded."""
        rule = self._rules.match(method, path) if self._rules else None
        if rule:
            return rule.values
        keys, reading = self._read(path)
        found: list[tuple[str, str]] = []
        segments = segments_of(path)
        for index, (key, names) in enumerate(zip(keys, reading.names, strict=True)):
            texts = ("/".join(segments[index:]),) if key == _REST else values_in(key, segments[index]) if names else ()
            found += zip(names, map(unquote, texts), strict=False)
        return tuple(found)

    def _read(self, path: str) -> tuple[tuple[str, ...], _Reading]:
        keys, node = _walk(self._root, self._forms.keys(path))
        if node is None and self.lost and _REST not in keys:
            keys = (_REST,)
        reading = self._readings.get(keys)
        if reading is None:
            if len(self._readings) >= _MEMORY:
                self._readings.clear()
            reading = self._readings[keys] = self._slashed(_name(keys), keys, node)
        return keys, reading

    def _slashed(self, reading: _Reading, keys: tuple[str, ...], node: Node | None) -> _Reading:
        """``reading`` with a slash at the end of its template, or without, as more requests were sent."""
        if node is None or keys == ("",):
            return reading
        if keys[-1]:
            slashed = node.children.get("")
            more = slashed is not None and slashed.ended > node.ended > 0
            return replace(reading, template=reading.template + "/") if more else reading
        _, bare = _walk(self._root, keys[:-1])
        fewer = bare is not None and bare.ended >= node.ended > 0
        return replace(reading, template=reading.template[:-1]) if fewer else reading


def learn_endpoints(exchanges: Iterable[Exchange], rules: Rules | None = None) -> Endpoints:
    """Find the endpoints of ``exchanges``. Paths that were never found (404) teach nothing about slugs."""
    counts: Counter[tuple[str, str]] = Counter()
    found: set[tuple[str, str]] = set()
    for exchange in exchanges:
        key = exchange.request.method, exchange.request.path
        counts[key] += 1
        if exchange.response is None or exchange.response.status not in _NOT_FOUND:
            found.add(key)
    return learn_paths(
        (SeenPath(method, path, "", count, (method, path) in found) for (method, path), count in counts.items()), rules
    )


def learn_paths(seen: Iterable[SeenPath], rules: Rules | None = None) -> Endpoints:
    """Find the endpoints of the paths ``seen``, but for those that ``rules`` name. Their order does not matter."""
    forms = Forms()
    found, missing = Paths(), Paths()
    for one in seen:
        if rules is None or rules.match(one.method, one.path) is None:
            (found if one.found else missing).add(forms.keys(one.path), one.count, method_bits(one.method))
    root = grow(found)
    open_values(root)
    return Endpoints(root, rules, _place(root, missing))


def _place(root: Node, missing: Paths) -> int:
    """Find places for the paths that were never found. How many have none, where that is too many to keep."""
    lost: list[tuple[int, tuple[str, ...]]] = []
    for keys, count, _ in missing:
        if _enter(root, keys) is None:
            lost.append((count, keys))
    if len(lost) <= _LOST_KEPT:
        return 0
    lost.sort(key=lambda one: (-one[0], one[1]))
    kept = [keys for count, keys in lost[:_LOST_KEPT] if count >= _LOST_ASKED]
    for keys in kept:
        _keep(root, keys)
    return len(lost) - len(kept) + missing.dropped


def _enter(root: Node, keys: tuple[str, ...]) -> Node | None:
    """Where a path that was not found ends. An unknown word where ids stand was taken for one by the server too."""
    node: Node | None = root
    above = ""
    for key in keys:
        if node is None or node.rest:
            return node
        known = node.children
        if key not in known and (ID in known or DATE in known) and may_be_value(key, above):
            node.open = True
        above, node = _step(node, key, above)
    return node


def _keep(root: Node, keys: tuple[str, ...]) -> None:
    node, above = root, ""
    for key in keys:
        above, child = _step(node, key, above)
        node = child if child is not None else node.children.setdefault(above, Node())


def _walk(root: Node, keys: tuple[str, ...]) -> tuple[tuple[str, ...], Node | None]:
    """The keys as they stand in the tree, and where they end there, or None. The rest, if there is one, is one key."""
    node: Node | None = root
    walked: list[str] = []
    above = ""
    for key in keys:
        rest = node is not None and node.rest
        above, node = _step(node, key, above)
        if node is None and rest:
            return (*walked, _REST), None
        walked.append(above)
    return tuple(walked), node


def _step(node: Node | None, key: str, above: str) -> tuple[str, Node | None]:
    if node is not None:
        child = node.children.get(key)
        if child is not None:
            return key, child
    if maybe_version(key):
        key = form_of(key)
    if node is None:
        return key, None
    if ID in key or DATE in key:
        if node.files and key.startswith(f"{ID}."):
            key = ID
        elif key not in node.children and key in _OTHER and _OTHER[key] in node.children:
            key = _OTHER[key]
    elif node.open and may_be_value(key, above):
        key = value_key(node, key)
    return key, node.children.get(key)


def _name(keys: tuple[str, ...]) -> _Reading:
    """A path's keys as a template, its parameters named after the word before them."""
    parts: list[str] = []
    taken: dict[str, int] = {}
    each: list[tuple[str, ...]] = []
    whole: list[str] = []
    word = ""
    for key in keys:
        own: list[str] = []
        text = key
        if key == _REST:
            own = [unused(f"{last_singular(word)}_path" if word else "path", taken)]
            text = f"{{{own[0]}}}"
        elif ID in key or DATE in key:
            text, own = fill(key, last_singular(word) if word else "", taken)
        else:
            named = snake(key).isidentifier() and not is_version(key)
            word = key if named else ""
        parts.append(text)
        each.append(tuple(own))
        whole.append(own[0] if own and _is_one_value(key) else "")
    return _Reading("/" + "/".join(parts), tuple(each), tuple(whole))


def _is_one_value(key: str) -> bool:
    return key in {ID, DATE, _REST} or extension(key) == key[1:]
