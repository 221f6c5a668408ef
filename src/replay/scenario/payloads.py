"""Bodies for writes whose own the capture does not have: templates by endpoint, from a TOML file.

::

    ["POST /v1/events"]
    json = { name = "Event {random:8}", venue_id = "{venue_id:number}", starts_at = "{now}" }

    ["PUT /v1/events/{event_id}/note"]
    form = { event = "{event_id}", text = "seen {now:%H:%M}" }

    ["POST /soap"]
    text = "<Ping id='{uuid}'/>"
    type = "text/xml"

``{NAME}`` is what the request's own path says for the parameter, else a value of the pool of that name; ``{uuid}``,
``{random:N}`` (letters and digits), ``{digits:N}`` are new each time, ``{now}`` and ``{now:FORMAT}`` the moment in UTC.
``{{`` and ``}}`` are braces. In JSON, a text that is one placeholder ending in ``:number`` becomes a number.
"""

import difflib
import json
import re
import secrets
import string
import tomllib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from replay.errors import InputError
from replay.scenario.pools import template_parameters
from replay.traffic import Exchange

PAYLOADS = "payloads.toml"  # in a scenario's data
_WRITES = frozenset({"POST", "PUT", "PATCH"})
_SEEN_BY_RECORDERS = ("accept", "accept-encoding", "connection")  # headers that logs hardly ever have
_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded", "text": "text/plain; charset=utf-8"}
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
_MADE = frozenset({"uuid", "now", "random", "digits"})
_LONGEST = 100_000
_NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Payload:
    """A body's template. ``kind`` is ``json``, ``form`` or ``text``; ``value`` what TOML has for it."""

    kind: str
    value: Any
    content_type: str

    def names(self) -> frozenset[str]:
        """The parameters that it asks for."""
        return frozenset(name for text in _texts(self.value) for name, _ in _placeholders(text)) - _MADE

    def fill(self, value_of: Callable[[str], str], now: datetime) -> bytes:
        """The body. ``value_of`` gives a parameter's value."""

        def filled(text: str) -> str:
            return _PLACEHOLDER.sub(lambda match: _made(match, value_of, now), text)

        if self.kind == "json":
            return json.dumps(_mapped(self.value, filled), ensure_ascii=False).encode("utf-8", "surrogatepass")
        if self.kind == "form":
            return urlencode({filled(name): filled(str(value)) for name, value in self.value.items()}).encode()
        return filled(self.value).encode("utf-8", "surrogatepass")


Payloads = Mapping[str, Payload]


def read_payloads(file: Path) -> dict[str, Payload]:
    """The templates in a file, by endpoint. Raises InputError where it cannot be read or a template is none."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The payloads {file} cannot be read: {error}.") from error
    return {endpoint: _payload(endpoint, table, file) for endpoint, table in tables.items()}


def check_payloads(payloads: Payloads, endpoints: Iterable[str]) -> None:
    """Raise InputError where a template is for an endpoint that is not there."""
    known = sorted(set(endpoints))
    for endpoint in payloads:
        if endpoint not in known:
            near = difflib.get_close_matches(endpoint, known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else "`replay inspect` shows the endpoints."
            raise InputError(f"The payload for {endpoint!r} fits no endpoint of the capture.", hint)


def needed_pools(payloads: Payloads) -> dict[str, str]:
    """The parameters that only a pool can give, each with an endpoint that needs it."""
    return {
        name: endpoint
        for endpoint, payload in sorted(payloads.items(), reverse=True)
        for name in sorted(payload.names() - set(template_parameters(endpoint)))
    }


def check_pools(payloads: Payloads, parameters: Iterable[str]) -> None:
    """Raise InputError where a template needs a pool that is not given. ``parameters`` are those with a pool."""
    given = set(parameters)
    for name, endpoint in needed_pools(payloads).items():
        if name not in given:
            raise InputError(
                f"The payload for {endpoint} needs a pool for {name}.",
                f"Give one: --pool {name}=FILE, or [pools.{name}] in a plan.",
            )


def lacks_body(exchange: Exchange, *, expected: bool = False) -> bool:
    """Whether a request had a body, or may have had one, that the capture does not hold.

    Content-Length tells where it is there, then for a write a Content-Type. A write without either had no body where
    the recorder saw bodies or all headers (the response has its body, the request an Accept or its kin): what is left
    comes from a log, which knows neither. ``expected`` takes any other method for a write too.
    """
    request, response = exchange.request, exchange.response
    if request.body is not None:
        return False
    size = (request.header("content-length") or "").strip()
    if size:
        return size.strip("0") != ""
    if request.method not in _WRITES and not expected:
        return False
    if request.header("content-type"):
        return True
    saw_all = any(request.header(name) is not None for name in _SEEN_BY_RECORDERS)
    return not saw_all and (response is None or response.body is None)


def _payload(endpoint: str, table: Any, file: Path) -> Payload:
    where = f"{file}: [{json.dumps(endpoint, ensure_ascii=False)}]"
    if not isinstance(table, dict):
        raise InputError(f"{where} must be a table.", 'Write ["POST /path"] and below it json, form or text.')
    kinds = [kind for kind in _TYPES if kind in table]
    unknown = next((key for key in table if key not in (*_TYPES, "type")), None)
    if unknown is not None or len(kinds) != 1:
        said = f"has an unknown key {unknown!r}" if unknown is not None else "needs one of json, form, text"
        raise InputError(f"{where} {said}.", "It has json, form or text, and type where that is not the usual one.")
    kind = kinds[0]
    value, content_type = table[kind], table.get("type", _TYPES[kind])
    fits = isinstance(value, dict) if kind == "form" else isinstance(value, str) or kind == "json"
    if not fits or not isinstance(content_type, str):
        raise InputError(f"{where} has a value that is no {kind} template.", "A form is a table; text, type are texts.")
    payload = Payload(kind, value, content_type)
    for text in _texts(value):
        for name, detail in _placeholders(text):
            if name in {"random", "digits"} and not (detail.isdigit() and 0 < int(detail) <= _LONGEST):
                raise InputError(f"{where} has {{{name}}} without a length.", f"Write {{{name}:10}}.")
    return payload


def _placeholders(text: str) -> Iterator[tuple[str, str]]:
    for match in _PLACEHOLDER.finditer(text):
        if match[1]:
            yield match[1], match[2] or ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _mapped(value: Any, filled: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        alone = _PLACEHOLDER.fullmatch(value)
        return _number(filled(value)) if alone and alone[2] == _NUMBER else filled(value)
    if isinstance(value, dict):
        return {filled(name): _mapped(item, filled) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, filled) for item in value]
    return value if isinstance(value, (bool, int, float)) else value.isoformat()  # TOML's own dates and times


def _number(text: str) -> Any:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def _made(match: re.Match[str], value_of: Callable[[str], str], now: datetime) -> str:
    name, detail = match[1], match[2] or ""
    match name:
        case None:
            return match[0][0]
        case "uuid":
            return str(uuid.uuid4())
        case "now":
            moment = now.astimezone(UTC)
            return moment.strftime(detail or "%Y-%m-%dT%H:%M:%SZ")
        case "random" | "digits":
            letters = string.digits if name == "digits" else string.ascii_letters + string.digits
            return "".join(secrets.choice(letters) for _ in range(int(detail)))
    return value_of(name)
