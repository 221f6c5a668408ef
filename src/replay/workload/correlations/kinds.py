"""What a value is that a response hands out and a request sends back, by the places and names of both."""

import re
from dataclasses import dataclass

from replay.capture.fields import Says, place_says
from replay.documents.urls import looks_like_url
from replay.traffic import Endpoint
from replay.workload.correlations.values import (
    Value,
    is_csrf,
    is_opaque,
    looks_random,
    may_be_id,
    may_be_token,
    secret_column,
)
from replay.workload.endpoints.names import is_identifier, snake

_SHORTEST_TOKEN = 8
_SHORTEST_GUARD = 6
_LONG = 16
_SHORTEST_WEAK = 3
_CURSORS = frozenset(
    "after before continuation continuation_token cursor end_cursor ending_before next next_continuation_token "
    "next_cursor next_page_token next_token page_token prev_cursor previous_cursor scroll_id search_after start_cursor "
    "starting_after sync_token".split()
)
VALIDATORS = {
    "header:if-match": "header:etag",
    "header:if-none-match": "header:etag",
    "header:if-modified-since": "header:last-modified",
    "header:if-unmodified-since": "header:last-modified",
}
# What a redirect of a login hands on.
_PASSED_ON = frozenset("code state ticket login_challenge login_verifier consent_challenge consent_verifier".split())
_IDENTIFYING = re.compile(r"(?:^|_)(?:id|uuid|guid|no|nr|number|key|code|ref|reference|slug|sku|ean|handle)$")
_RESOURCE_ID = re.compile(r"(?:^|_)(?:id|uuid|guid)$")
# Names of what is counted, measured, chosen or dated: equal values are no link.
_AMOUNT = re.compile(
    r"(?:^|_)(?:active|age|amount|at|balance|capacity|category|colou?r|cost|count|country|currency|date|day|duration|"
    r"enabled|expires|expires_in|expiry|fee|gate|height|hour|index|lang|language|length|level|limit|locale|minute|month|"
    r"offset|on|page|pages|per_page|percent|percentage|position|price|priority|qty|quantity|rank|rate|rating|score|seats|"
    r"size|sort|state|status|stock|subtotal|sum|tax|time|timestamp|total|ttl|type|unit|vat|version|weight|width|year)$"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A place of an endpoint's responses that hands values out, as one strand of a client's work meets it."""

    strand: int
    endpoint: Endpoint
    place: str
    name: str
    creates: bool


def is_cursor(name: str) -> bool:
    """Whether a field of this name holds a place in a list."""
    return name in _CURSORS or name.removeprefix("page_") in _CURSORS


def is_key(value: Value) -> bool:
    """Whether a value in a link of a page or a list opens or leads somewhere by itself, and is no thing's id."""
    if is_cursor(value.name) or is_csrf(value.name):
        return True
    return is_opaque(value.text) and place_says(value.name.removesuffix("_id")) is Says.PERHAPS


def kind_of(source: Source, value: Value) -> str | None:
    """The kind of link between a source and a value of a request, where it does not hang on what was created."""
    where, handed = value.place.partition(":")[0], source.place.partition(":")[0]
    if value.place in VALIDATORS or source.place in VALIDATORS.values():
        return "validator" if VALIDATORS.get(value.place) == source.place else None
    if handed == where == "cookie":
        return "token" if source.place == value.place else None
    if len(value.text) >= _SHORTEST_TOKEN and (
        secret_column(value) or (where == "cookie" and looks_random(value.text))
    ):
        return "token"
    if where == "header":
        sure = source.place == value.place or is_csrf(value.name) or is_opaque(value.text)
        return "token" if len(value.text) >= _SHORTEST_TOKEN and sure else None
    if where == "path":
        return _in_path(handed, value)
    return _in_field(source, handed, value) if where in {"query", "form", "json", "xml"} else None


def _in_path(handed: str, value: Value) -> str | None:
    if is_opaque(value.text) and place_says(value.name.removesuffix("_id")) is Says.PERHAPS:
        return "token"
    return "opaque" if handed == "location" and looks_random(value.text) else None


def _in_field(source: Source, handed: str, value: Value) -> str | None:
    sure = is_cursor(source.name) or is_opaque(value.text)
    if is_cursor(value.name) and sure and not looks_like_url(value.text):
        return "cursor"
    if is_csrf(value.name) and len(value.text) >= _SHORTEST_GUARD:
        return "token"
    if source.name == value.name in _PASSED_ON and may_be_token(value.text):
        return "token"
    followed = handed == "location" and len(value.text) >= _LONG and "://" not in value.text
    if source.name == value.name and followed and may_be_token(value.text):
        return "opaque"
    if source.name == value.name and looks_random(value.text):
        if source.place.startswith("html:hidden/") and not _RESOURCE_ID.search(value.name):
            return "token"
        if handed == "location":
            return "opaque"
    return "opaque" if is_opaque(value.text) and not _RESOURCE_ID.search(value.name) else None


def created_kind(source: Source, value: Value) -> str | None:
    """``created`` where a value must be the id of what its source made, empty where that must be borne out, or None."""
    if value.place.partition(":")[0] not in {"path", "query", "form", "json", "xml"}:
        return None
    if _AMOUNT.search(source.name) or _AMOUNT.search(value.name) or not may_be_id(value.text):
        return None
    if is_opaque(value.text) or (source.name == value.name and _IDENTIFYING.search(value.name)):
        return "created"
    other_things = _RESOURCE_ID.search(source.name) and not is_identifier(snake(source.place.rpartition("/")[2]))
    return None if other_things or len(value.text) < _SHORTEST_WEAK else ""


def plainness(place: str) -> int:
    """How directly a value stands at a place of a response: a field before a URL that has it somewhere."""
    if "~" in place or place.startswith(("html:href/", "link:")):
        return 0
    return 1 if place.startswith("location:") else 2
