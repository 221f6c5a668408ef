"""The recorded requests that a modelled schedule is made of: what each needs from earlier answers, and hands out."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pandas as pd

from replay.scenario.payloads import Payloads, lacks_body
from replay.scenario.planning import schedule_of
from replay.scenario.pools import path_parameters
from replay.scenario.schedule import Inject, PlannedRequest
from replay.shapes import shape_of
from replay.traffic import Response, first_header
from replay.workload import Workload
from replay.workload.correlations.kinds import VALIDATORS
from replay.workload.correlations.places import handed_values, place_pattern

CREATED, CURSOR, VALIDATOR = "created", "cursor", "validator"
JOINT = "\x1f"  # between the values of a key: no path has it
_ENOUGH_ONCE = 3  # producers whose value was used once, to believe that it can be used but once
_SAYS_WHO = ("basic:", "form:", "json:", "xml:")
_STATED = 0.9  # of the life that an answer gives its token
_MAX_AGE = re.compile(r";\s*max-age=(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Need:
    """A value that a request needs from an earlier answer: ``source`` says of which endpoint, and from what place.

    A ``listed`` one belongs to the path that it was handed out at. ``page`` counts the pages before that one of a
    cursor, and is 0 for all else.
    """

    inject: Inject
    source: int
    kind: str
    listed: bool
    page: int


@dataclass(frozen=True, slots=True, eq=False)
class Donor:
    """A recorded request. ``plain`` are the injections that need no earlier answer.

    ``columns`` are the credentials that its sender needs. ``hands`` has for each source the place at which its answer
    hands that out, and the value. ``key`` are the values in its path, ``page`` counts the pages before it.
    """

    planned: PlannedRequest
    duration_s: float
    key: str
    variant: int
    needs: tuple[Need, ...]
    plain: tuple[Inject, ...]
    columns: frozenset[str]
    hands: Mapping[int, tuple[str, str]]
    page: int

    @property
    def is_private(self) -> bool:
        """Whether only its own client can send it: a login, which says whose it is."""
        return any(inject.credential and inject.place.startswith(_SAYS_WHO) for inject in self.plain)

    @property
    def signature(self) -> tuple[object, ...]:
        """What it needs. Donors with the same one can stand for each other."""
        return self.columns, *((need.source, need.inject.place, need.page) for need in self.needs)


@dataclass(frozen=True, slots=True)
class Source:
    """How long what a place of an endpoint's answers hands out can be used, and whether only ``once``."""

    endpoint: str
    pattern: str
    life_s: float
    once: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """All donors in the order of the capture, their sources, and the keys that were made during it."""

    donors: tuple[Donor, ...]
    sources: tuple[Source, ...]
    made: frozenset[str]
    visits: tuple[int, ...]

    def events(self) -> pd.DataFrame:
        """What a model of visits is fitted to: one row a donor."""
        clients = {name: number for number, name in enumerate(dict.fromkeys(one.planned.client for one in self.donors))}
        return pd.DataFrame(
            {
                "at_s": [one.planned.due_s for one in self.donors],
                "duration_s": [one.duration_s for one in self.donors],
                "client": [clients[one.planned.client] for one in self.donors],
                "visit": self.visits,
                "endpoint": [one.planned.endpoint for one in self.donors],
                "key": pd.Series([one.key for one in self.donors], dtype="str"),
                "variant": [one.variant for one in self.donors],
            }
        )


def read_donors(workload: Workload, payloads: Payloads | None = None) -> Recorded:
    """The requests of a workload that can be sent again."""
    exact = schedule_of(workload, payloads).requests
    kept = [
        number
        for number, exchange in enumerate(workload.exchanges)
        if str(workload.endpoints[number]) in (payloads or {}) or not lacks_body(exchange)
    ]
    kinds = {(link.sent, link.value): link.kind for link in workload.correlations}
    sources = _Sources(exact)
    donors: list[Donor] = []
    variants: dict[tuple[tuple[str, ...], str], int] = {}
    lives: dict[int, float] = defaultdict(float)
    uses: Counter[tuple[int, int]] = Counter()
    for number, planned in zip(kept, exact, strict=True):
        needs = tuple(_needs(planned, exact, donors, sources, kinds))
        for need in needs:
            if need.inject.origin is not None:
                age_s = planned.due_s - exact[need.inject.origin].due_s
                lives[need.source] = max(lives[need.source], age_s)
                uses[need.inject.origin, need.source] += 1
        exchange = workload.exchanges[number]
        hands, stated_s = sources.handed(planned, exchange.response)
        for source, life_s in stated_s.items():
            lives[source] = max(lives[source], life_s)
        donors.append(
            Donor(
                planned=planned,
                duration_s=max(0.0, exchange.duration_s),
                key=JOINT.join(path_parameters(planned).values()),
                variant=variants.setdefault(_variant(planned), len(variants)),
                needs=needs,
                plain=tuple(inject for inject in planned.injects if inject.origin is None),
                columns=frozenset(inject.credential for inject in planned.injects if inject.credential),
                hands=hands,
                page=max((need.page + 1 for need in needs if need.kind == CURSOR), default=0),
            )
        )
    made = {need.inject.captured for one in donors for need in one.needs if need.kind == CREATED}
    visit_of = {exchange: visit.number for visit in workload.visits for exchange in visit.exchanges}
    return Recorded(
        tuple(donors), sources.found(lives, uses), frozenset(made), tuple(visit_of[number] for number in kept)
    )


class _Sources:
    """The places that values come from, numbered: those of all that is extracted in an exact schedule."""

    def __init__(self, exact: Sequence[PlannedRequest]) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._of: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for planned in exact:
            for wanted in planned.extracts:
                key = (planned.endpoint, place_pattern(wanted.place))
                if key not in self._numbers:
                    self._numbers[key] = len(self._numbers)
                    self._of[planned.endpoint].append((key[1], self._numbers[key]))

    def number(self, producer: PlannedRequest, captured: str) -> int:
        """The source of a value that a request extracts."""
        place = next(wanted.place for wanted in producer.extracts if wanted.captured == captured)
        return self._numbers[producer.endpoint, place_pattern(place)]

    def handed(
        self, planned: PlannedRequest, response: Response | None
    ) -> tuple[dict[int, tuple[str, str]], dict[int, float]]:
        """What an answer hands out, whether the capture used it or not, and how long it says that this can be used."""
        known = self._of.get(planned.endpoint)
        if not known or response is None or response.status >= 400:
            return {}, {}
        hands: dict[int, tuple[str, str]] = {}
        for wanted in planned.extracts:
            number = self._numbers[planned.endpoint, place_pattern(wanted.place)]
            hands.setdefault(number, (wanted.place, wanted.captured))
        template = planned.endpoint.partition(" ")[2].partition("#")[0]
        values = {value.place: value.text for value in handed_values(response, template)}
        for pattern, number in known:
            if number not in hands and pattern in values:
                hands[number] = (pattern, values[pattern])
        return hands, {
            number: life for number, (place, _) in hands.items() if (life := _stated_s(place, values, response))
        }

    def found(self, lives: Mapping[int, float], uses: Mapping[tuple[int, int], int]) -> tuple[Source, ...]:
        """All sources, in the order of their numbers."""
        counts: dict[int, list[int]] = defaultdict(list)
        for (_, source), count in uses.items():
            counts[source].append(count)
        return tuple(
            Source(endpoint, pattern, lives[number], len(counts[number]) >= _ENOUGH_ONCE and max(counts[number]) == 1)
            for (endpoint, pattern), number in self._numbers.items()
        )


def _needs(
    planned: PlannedRequest,
    exact: Sequence[PlannedRequest],
    donors: Sequence[Donor],
    sources: _Sources,
    kinds: Mapping[tuple[str, str], str],
) -> Iterator[Need]:
    """What a request needs; what stands in its path first, as that says which thing all else is about."""
    for inject in sorted(planned.injects, key=lambda inject: inject.place != "path"):
        if inject.origin is None:
            continue
        producer = exact[inject.origin]
        kind = VALIDATOR if inject.place in VALIDATORS else kinds.get((inject.place, inject.captured), "")
        listed = kind in {CURSOR, VALIDATOR} and producer.path == planned.path
        paged = kind == CURSOR and producer.endpoint == planned.endpoint
        page = donors[inject.origin].page if paged else 0
        yield Need(inject, sources.number(producer, inject.captured), kind, listed, page)


def _variant(planned: PlannedRequest) -> tuple[tuple[str, ...], str]:
    """The names in a request's query and the form of its body, as far as they tell requests apart."""
    content_type = first_header(planned.headers, "content-type") or ""
    body = planned.body or b""
    if "x-www-form-urlencoded" in content_type:
        shape = "form " + "&".join(sorted({name for name, _ in parse_qsl(body.decode("latin-1"), True)}))
    else:
        shape = shape_of(content_type, body)
    return tuple(sorted({name for name, _ in parse_qsl(planned.query, True)})), shape


def _stated_s(place: str, values: Mapping[str, str], response: Response) -> float:
    """How long an answer says that what it hands out can be used; 0 where it says nothing."""
    kind, _, name = place.partition(":")
    text = ""
    if kind == "json":
        text = values.get(f"json:{name.rpartition('/')[0]}/expires_in", "")
    elif kind == "cookie":
        own = (value for key, value in response.headers if key.lower() == "set-cookie" and value.startswith(f"{name}="))
        match = _MAX_AGE.search(next(own, ""))
        text = match[1] if match else ""
    return _STATED * int(text) if text.isascii() and text.isdigit() else 0.0
