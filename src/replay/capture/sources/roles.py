"""What the fields of a record say about a request: the role of each, known by its name.

The roles, which are also what ``--map ROLE=FIELD`` may name:

============================  =======================================================================================
``at``, ``ended``, ``logged``  when the request started, when its response ended; when it was logged, which counts as
                              its end
``date``                      the day, where the others are only times of day
``duration``                  in seconds; ``duration:ms``, ``duration:us``, ``duration:ns`` in others
``method``, ``request``       the method; the whole request line, ``GET /path?query HTTP/1.1``
``path``, ``query``           what is asked for; ``path`` may have a query, or be a whole URL
``scheme``, ``host``, ``port``  of the server
``status``, ``size``          of the response; ``error`` says why there is none
``address``, ``user``         the client's; ``connection`` is any name of its connection
``request_header:NAME``       a header; also ``response_header:NAME``
``request_headers``           all headers, as an object, a list of pairs, or JSON of them; also ``response_headers``
``request_cookie:NAME``       a cookie; ``request_cookies`` are all, as an object or a header's value
``request_body``              as text; ``request_body:base64`` encoded; also ``response_body``
============================  =======================================================================================

A field given in quotes is a constant: ``method="GET"``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from replay.errors import InputError

UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
HEADERS = frozenset({"request_header", "response_header", "request_cookie"})
ROLES = frozenset(
    "at ended logged date duration method request path query scheme host port status size error address user "
    "connection request_header response_header request_headers response_headers request_cookie request_cookies "
    "request_body response_body request_type".split()
)
BODIES = frozenset({"request_body", "response_body"})
# Whose fields may be objects or lists, and are then read as one.
CONTAINERS = BODIES | {"request_headers", "response_headers", "request_cookies"}
_NAMED_ALIKE = {"duration_s": "duration:s", "duration_ms": "duration:ms", "duration_us": "duration:us",
                "duration_ns": "duration:ns", "url": "path", "start": "at", "end": "ended", "response_bytes": "size",
                "client_ip": "address", "request_body_base64": "request_body:base64",
                "response_body_base64": "response_body:base64"}  # fmt: skip
_NAMES_REMEMBERED = 5000


@dataclass(frozen=True, slots=True)
class Role:
    """What a field says. ``detail`` is a unit, a header's name or an encoding.

    Of several fields the lowest rank counts. A header that ``is_behind`` passed between a proxy and its server, and
    counts where no other is known.
    """

    name: str
    detail: str = ""
    rank: int = 0
    is_behind: bool = False


@dataclass
class Found:
    """What a record says, by role."""

    values: dict[str, list[tuple[Role, object]]] = field(default_factory=dict)

    def add(self, role: Role, value: object) -> None:
        """Note a value."""
        self.values.setdefault(role.name, []).append((role, value))

    def all(self, name: str) -> list[tuple[Role, object]]:
        """All values of a role, the lowest rank first, else in the record's order."""
        found = self.values.get(name)
        if found is None:
            return []
        if len(found) > 1:
            found.sort(key=lambda pair: pair[0].rank)
        return found

    def get(self, name: str) -> object:
        """The value of a role, or None."""
        return found[0][1] if (found := self.all(name)) else None


class Layout:
    """The roles of a format's fields.

    ``names`` has the fields of each role, the likeliest first (``{"duration:ms": "duration took"}``), ``prefixes``
    the role of all fields that begin so: ``{"request_": Role("request_header")}``.
    """

    def __init__(self, names: Mapping[str, str], prefixes: Mapping[str, Role] | None = None) -> None:
        self._roles: dict[str, Role] = {}
        for text, fields in names.items():
            role, _, detail = text.partition(":")
            for rank, name in enumerate(fields.split()):
                self._roles.setdefault(name, Role(role, detail, rank))
        self._prefixes = tuple((prefixes or {}).items())

    def role(self, name: str) -> Role | None:
        """The role of the field ``name``, or None where it has none."""
        if role := self._roles.get(name):
            return role
        for prefix, of_all in self._prefixes:
            if name.startswith(prefix) and len(name) > len(prefix):
                return replace(of_all, detail=name[len(prefix) :])
        return None


class Reading:
    """A layout with what the user says about fields on top.

    Raises InputError where ``columns`` names a role that there is not.
    """

    def __init__(self, layout: "Layout", columns: Mapping[str, str]) -> None:
        self._layout = layout
        self._constants: list[tuple[Role, str]] = []
        self._told: dict[str, list[Role]] = {}
        self._remembered: dict[str, tuple[Role, ...]] = {}
        for text, name in columns.items():
            role = _told_role(text)
            if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
                self._constants.append((role, name[1:-1]))
            else:
                self._told.setdefault(name, []).append(role)
        self._told_roles = {role.name for roles in self._told.values() for role in roles} - HEADERS

    @property
    def told(self) -> tuple[str, ...]:
        """The fields that the user spoke of."""
        return tuple(self._told)

    @property
    def constants(self) -> frozenset[str]:
        """The names of the roles that the user gave a value."""
        return frozenset(role.name for role, _ in self._constants)

    def roles(self, name: str) -> tuple[Role, ...]:
        """What the field ``name`` says: one role, or as many as the user gave it."""
        known = self._remembered.get(name)
        if known is not None:
            return known
        if name in self._told:
            roles = tuple(self._told[name])
        else:
            role = self._layout.role(name)
            roles = (role,) if role and role.name not in self._told_roles else ()
        if len(self._remembered) < _NAMES_REMEMBERED:
            self._remembered[name] = roles
        return roles

    def find(self, fields: Iterable[tuple[str, object]]) -> Found:
        """What fields say, those that are empty (null, ``""``, ``-``) left out."""
        found = Found()
        for name, value in fields:
            if value is None or value in ("", "-"):
                continue
            for role in self.roles(name):
                found.add(role, value)
        for role, constant in self._constants:
            found.add(role, constant)
        return found


def check_columns(columns: Mapping[str, str]) -> None:
    """Raises InputError where ``columns`` names a role that there is not."""
    for text in columns:
        _told_role(text)


def _told_role(text: str) -> Role:
    name, _, detail = _NAMED_ALIKE.get(text, text).partition(":")
    good = name in ROLES
    if name == "duration":
        good = detail in {"", *UNITS_S}
    elif name in HEADERS:
        good = bool(detail)
    elif name in BODIES:
        good = detail in {"", "base64"}
    elif detail:
        good = False
    if not good:
        raise InputError(
            f"{text} is nothing that a field can be mapped to.",
            "Map at, ended, duration, duration:ms, method, path, query, host, status, size, address, user, "
            "request_header:NAME, request_body...",
        )
    return Role(name, detail, -1)
