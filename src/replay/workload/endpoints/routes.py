"""Routes that are known: from an OpenAPI 3 or Swagger 2 document, or a list with one on a line.

A literal segment beats one with a parameter in it, and that one a parameter that takes the rest of a path.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from replay.errors import InputError
from replay.workload.endpoints.names import unused
from replay.workload.endpoints.tree import segments_of

_METHODS = frozenset("get put post delete options head patch trace query connect".split())
_LINE = re.compile(r"(?:([A-Za-z*]+(?:[,|][A-Za-z]+)*)\s+)?((?:/|[a-z]+://)\S*)(?:\s.*)?")
_DOCUMENT = re.compile(r"^[\"']?(?:openapi|swagger)[\"']?\s*:", re.MULTILINE)
_HINT = "Give an OpenAPI 3 or Swagger 2 document (JSON or YAML), or a list of routes such as `GET /users/{id}`."

_PARAMETER = re.compile(
    r"""
      \{\+?(?P<braced>[^{}:*.?]*)(?P<more>\.\.\.|[*+])?\??(?::(?P<rule>(?:[^{}]|\{[^{}]*\})*))?\}   # {id}, {id:[0-9]+}
    | <(?:(?P<kind>[a-z]+)(?:\([^)]*\))?:)?(?P<angled>[^<>:]+)>                                      # <id>, <int:id>
    | (?<![^/]):(?P<colon>[A-Za-z_]\w*)(?:\((?P<group>[^()]*)\))?(?P<all>[*+])?\??                   # :id, :id(\d+)
    | (?<![^/])\*{1,2}(?P<star>\w*)(?=$|/)                                                           # *, *path
    """,
    re.VERBOSE,
)
_KINDS = {"int": r"[0-9]+", "integer": r"[0-9]+", "float": r"[0-9.]+", "uuid": r"[0-9a-fA-F-]{36}"}
_ANYTHING = r"[^/]+"
_WITH_SLASHES = frozenset({"path", ".*", ".+", "(.*)", "(.+)"})


@dataclass(frozen=True, slots=True)
class Match:
    """A path that a rule names: the rule's template, a name for each segment, the values that stand in it."""

    template: str
    parameters: tuple[str, ...]
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Route:
    template: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    rest: bool  # whether the last parameter takes all that follows


@dataclass(slots=True)
class _Branch:
    literals: dict[str, "_Branch"] = field(default_factory=dict)
    patterns: dict[str, tuple[re.Pattern[str], "_Branch"]] = field(default_factory=dict)
    ends: dict[str, _Route] = field(default_factory=dict)  # by method, "" for any
    rests: dict[str, _Route] = field(default_factory=dict)


class Rules:
    """Routes that go before what the traffic shows."""

    def __init__(self, routes: Iterable[tuple[str, str]]) -> None:
        """``routes`` are a method each (or an empty text for any) and a path with parameters.

        Raises InputError where one cannot be understood.
        """
        self._root = _Branch()
        for method, path in routes:
            self._add("" if method in {"*", "ANY", "ALL"} else method.upper(), path)
        _sort(self._root)

    def match(self, method: str, path: str) -> Match | None:
        """What the rules make of a path. A rule for another method serves where there is none for this one."""
        segments = segments_of(path)
        for ending in (segments, segments[:-1] if len(segments) > 1 and not segments[-1] else [*segments, ""]):
            for wanted in (method.upper(), None):
                for route in _search(self._root, ending, wanted):
                    found = route.pattern.fullmatch("/" + "/".join(ending))
                    if found:
                        return _matched(route, found, segments)
        return None

    def _add(self, method: str, path: str) -> None:
        route, keys = _compile(path)
        branch = self._root
        for key in keys:
            if key is None:
                branch.rests.setdefault(method, route)
                break
            if isinstance(key, str):
                branch = branch.literals.setdefault(key, _Branch())
            else:
                branch = branch.patterns.setdefault(key.pattern, (key, _Branch()))[1]
        else:
            branch.ends.setdefault(method, route)


def read_rules(file: Path) -> Rules:
    """The routes in a file: an OpenAPI 3 or Swagger 2 document, JSON or YAML, or a list with one on a line.

    Raises InputError where the file cannot be read or holds no routes.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.", _HINT) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not a text.", _HINT) from error
    is_document = text.lstrip().startswith("{") or _DOCUMENT.search(text)
    routes = list(_described(_document(text, file), file) if is_document else _listed(text, file))
    if not routes:
        raise InputError(f"{file} holds no routes.", _HINT)
    return Rules(routes)


def _document(text: str, file: Path) -> dict[str, Any]:
    language = "JSON" if text.lstrip().startswith("{") else "YAML"
    try:
        document = json.loads(text) if language == "JSON" else YAML(typ="safe", pure=True).load(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is not JSON: line {error.lineno}, {error.msg}.", _HINT) from error
    except RecursionError as error:
        raise InputError(f"{file} cannot be read: it is nested too deeply.", _HINT) from error
    except (YAMLError, ValueError) as error:
        raise InputError(f"{file} is not {language}: {' '.join(str(error).split())}.", _HINT) from error
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise InputError(f"{file} has no `paths`.", _HINT)
    return document


def _described(document: dict[str, Any], file: Path) -> Iterator[tuple[str, str]]:
    base = document.get("basePath")
    prefixes = [base.rstrip("/")] if isinstance(base, str) else _prefixes(document)
    for path, item in document["paths"].items():
        if not isinstance(path, str) or not path.startswith("/"):
            if isinstance(path, str) and path.startswith("x-"):
                continue
            raise InputError(f"{file} has a path that does not begin with a slash: {path!r}.", "Put one before it.")
        own = item if isinstance(item, dict) else {}
        methods = [key.upper() for key in own if isinstance(key, str) and key.lower() in _METHODS]
        for prefix in _prefixes(own) if own.get("servers") else prefixes:
            for method in methods or [""]:
                yield method, prefix + re.split("[?#]", path, maxsplit=1)[0]


def _prefixes(described: dict[str, Any]) -> list[str]:
    """The paths of the servers, without a slash at their end; an empty one where there are none."""
    prefixes = []
    servers = described.get("servers")
    for server in servers if isinstance(servers, list) else ():
        url = server.get("url") if isinstance(server, dict) else None
        if not isinstance(url, str):
            continue
        variables = server.get("variables")
        for name, variable in variables.items() if isinstance(variables, dict) else ():
            if isinstance(variable, dict) and "default" in variable:
                url = url.replace(f"{{{name}}}", str(variable["default"]))
        _, scheme, rest = url.partition("://")
        path = "/" + rest.partition("/")[2] if scheme else url
        prefix = ("/" + path.strip("/")).rstrip("/")
        if prefix not in prefixes:
            prefixes.append(prefix)
    return prefixes or [""]


def _listed(text: str, file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        route = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if not route:
            continue
        found = _LINE.fullmatch(route)
        if not found:
            raise InputError(f"{file}, line {number}, is no route: {route[:80]!r}.", _HINT)
        path = found[2] if found[2].startswith("/") else urlsplit(found[2]).path or "/"
        for method in re.split("[,|]", found[1] or ""):
            yield method, path


def _compile(path: str) -> tuple[_Route, list[str | re.Pattern[str] | None]]:
    """A route, and what each of its segments takes: a text, a pattern, or None for all that follows."""
    names: list[str] = []
    taken: dict[str, int] = {}
    template = whole = ""
    pieces: list[tuple[str, str]] = []  # a text as it stands, and as a pattern
    at = 0
    for found in _PARAMETER.finditer(path):
        before = path[at : found.start()]
        given = found["braced"] or found["angled"] or found["colon"] or found["star"] or ""
        name = unused(given.strip() or "path", taken)
        takes = _takes(found)
        template += f"{before}{{{name}}}"
        whole += f"{re.escape(before)}(?P<{_group(len(names))}>{takes})"
        names.append(name)
        pieces += [(before, re.escape(before)), ("\0", takes)]
        at = found.end()
    rest = path[at:]
    pieces.append((rest, re.escape(rest)))
    keys = list(_keys(pieces, path))
    route = _Route(template + rest, _regex(whole + re.escape(rest), path), tuple(names), None in keys)
    return route, keys


def _takes(found: re.Match[str]) -> str:
    """The pattern of what a parameter takes; it may have groups of its own."""
    rule = found["rule"] or found["group"] or ""
    if found["more"] or found["all"] or found["star"] is not None or "path" in (found["kind"], rule):
        return ".+"
    if rule in _WITH_SLASHES:
        return ".+"
    if found["kind"] or rule in _KINDS:
        return _KINDS.get(found["kind"] or rule, _ANYTHING)
    return rule.strip("^$") or _ANYTHING


def _group(place: int) -> str:
    """What the pattern of a whole route calls a parameter: none of a rule's own groups is called so."""
    return f"parameter_{place}_of_a_route"


def _keys(pieces: list[tuple[str, str]], path: str) -> Iterator[str | re.Pattern[str] | None]:
    literal, pattern, has_values = "", "", False
    for text, takes in pieces:
        if text == "\0":
            if takes == ".+":
                yield None
                return
            pattern, has_values = pattern + takes, True
            continue
        parts = text.split("/")
        for index, part in enumerate(parts):
            if index:
                if literal or pattern or has_values or index > 1 or not path.startswith("/"):
                    yield _regex(pattern, path) if has_values else literal
                literal, pattern, has_values = "", "", False
            literal, pattern = literal + part, pattern + re.escape(part)
    yield _regex(pattern, path) if has_values else literal


def _sort(root: _Branch) -> None:
    """The patterns of each branch, the vaguest last."""
    waiting = [root]
    while waiting:
        branch = waiting.pop()
        branch.patterns = dict(sorted(branch.patterns.items(), key=_vagueness))
        waiting += branch.literals.values()
        waiting += (child for _, child in branch.patterns.values())


def _vagueness(entry: tuple[str, object]) -> tuple[bool, int]:
    return entry[0] == _ANYTHING, -len(entry[0])


def _regex(pattern: str, path: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise InputError(f"The route {path!r} has a pattern that is none: {error}.", _HINT) from error


def _search(root: _Branch, segments: list[str], method: str | None) -> Iterator[_Route]:
    """The routes that a path may be, the most literal first. ``method`` is None for any."""
    waiting = [(root, 0, False)]
    while waiting:
        branch, depth, rests = waiting.pop()
        if rests:
            yield from _of(branch.rests, method)
            continue
        if branch.rests and depth < len(segments):
            waiting.append((branch, depth, True))
        if depth == len(segments):
            yield from _of(branch.ends, method)
            continue
        segment = segments[depth]
        for pattern, child in reversed(branch.patterns.values()):
            if pattern.fullmatch(segment):
                waiting.append((child, depth + 1, False))
        if segment in branch.literals:
            waiting.append((branch.literals[segment], depth + 1, False))


def _of(routes: dict[str, _Route], method: str | None) -> Iterable[_Route]:
    if method is None:
        return routes.values()
    return [routes[known] for known in (method, "") if known in routes]


def _matched(route: _Route, found: re.Match[str], segments: list[str]) -> Match:
    values = tuple((name, unquote(found[_group(place)])) for place, name in enumerate(route.names))
    parameters = {f"{{{name}}}": name for name in route.names}
    whole = [parameters.get(part, "") for part in segments_of(route.template)]
    if route.rest and len(whole) < len(segments):  # the last takes several
        whole[-1] = ""
    padded = [*whole[: len(segments)], *[""] * (len(segments) - len(whole))]
    return Match(route.template, tuple(padded), values)
