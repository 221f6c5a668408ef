"""Identities for the clients that ``pace`` made: each copy its own where the table has one for it. Pure."""

import base64
import binascii
import contextlib
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from replay.scenario.identities import Identities, needed_credentials
from replay.scenario.repeats import changed, round_of
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

_NAMES = frozenset({"client_id", "username", "user", "user_name", "login", "email"})  # columns that say who it is
_NAMELESS = re.compile(r"row \d+")  # what ``read_identities`` calls a row of a table without a column client


@dataclass(frozen=True, slots=True)
class Lent:
    """A paced schedule and the identities that its clients have, copies too.

    ``sharing`` of ``copies`` log in with their original's credentials, since the table has no row for them.
    """

    schedule: Schedule
    identities: Identities
    copies: int = 0
    sharing: int = 0

    @property
    def note(self) -> str:
        """The sentence to say, empty where every copy that needs an identity has its own."""
        if not self.sharing:
            return ""
        return (
            f"{self.sharing} of {self.copies} copies of clients share their original's credentials: "
            "the identities have no row of their own for them (NAME~2), and none to spare."
        )


def lend(schedule: Schedule, identities: Identities) -> Lent:
    """Give each copy of a client that needs credentials its own: ``schedule`` as paced, ``identities`` as given.

    Those are the table's row for its name (``NAME~2``), else a spare row, one of a client that does not occur in the
    schedule: the busiest copy gets the first of them that has all it needs. Else its original's. With a spare row the
    copy goes by that row's name too, wherever it named itself in a login (``client_id``, a user name), unless
    the row has a column for it.
    """
    once = round_of(schedule)
    needed: dict[str, set[str]] = {}
    for client, column in needed_credentials(once):
        needed.setdefault(client, set()).add(column)
    copies = {copy: original for copy, original in schedule.copies.items() if copy in needed}
    if not copies:
        return Lent(schedule, identities)
    occurring = {planned.client for planned in once} | set(schedule.copies.values())
    spare = {name: row for name, row in identities.items() if name not in occurring}
    requests = Counter(planned.client for planned in once)
    lent: dict[str, dict[str, str]] = {name: dict(row) for name, row in identities.items()}
    sharing = 0
    for copy in sorted(copies, key=lambda copy: -requests[copy]):
        if copy in identities:
            continue
        name = next((name for name, row in spare.items() if needed[copy] <= row.keys()), None)
        if name is not None:
            row = spare.pop(name)
            lent[copy] = ({} if _NAMELESS.fullmatch(name) else dict.fromkeys(_NAMES, name)) | dict(row)
        else:
            lent[copy] = dict(identities.get(copies[copy], {}))
            sharing += 1
    named = changed(schedule.requests, lambda planned: _by_its_name(planned, copies, lent))
    return Lent(dataclasses.replace(schedule, requests=named), lent, len(copies), sharing)


def _by_its_name(
    planned: PlannedRequest, copies: Mapping[str, str], lent: Mapping[str, Mapping[str, str]]
) -> PlannedRequest:
    """A copy's login, which names the copy's own user where it named the original."""
    original = copies.get(planned.client)
    if original is None or not any(inject.credential for inject in planned.injects):
        return planned
    taken = {inject.place for inject in planned.injects}
    row = lent[planned.client]
    added = tuple(
        Inject(place, original, credential=column)
        for place, column, text in _user_names(planned)
        if text == original and place not in taken and column in row
    )
    return dataclasses.replace(planned, injects=planned.injects + added) if added else planned


def _user_names(planned: PlannedRequest) -> Iterator[tuple[str, str, str]]:
    """Where a request names its user: place, the identities' column for it, and the name."""
    headers = {name.lower(): text for name, text in planned.headers}
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            yield "basic:username", "username", base64.b64decode(encoded).decode().partition(":")[0]
    kind, pairs = _fields(planned.body or b"", headers.get("content-type", ""))
    yield from ((f"{kind}{name}", name, text) for name, text in pairs if name in _NAMES and isinstance(text, str))


def _fields(body: bytes, content_type: str) -> tuple[str, list[tuple[str, Any]]]:
    """The fields of a body, and what their places begin with."""
    if "x-www-form-urlencoded" in content_type:
        return "form:", list(parse_qsl(body.decode("latin-1")))
    if "json" in content_type:
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(body)
            return "json:/", list(document.items()) if isinstance(document, dict) else []
    return "", []
