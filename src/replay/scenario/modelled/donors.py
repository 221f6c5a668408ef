"""The recorded requests that a modelled schedule is made of: what each needs from earlier answers, and hands out."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

import pandas as pd

from replay.scenario.payloads import Payloads, lacks_body
from replay.scenario.planning import schedule_of
from replay.scenario.pools import path_parameters
from replay.scenario.schedule import Inject, PlannedRequest
from replay.shapes import shape_of
from replay.traffic import Response, first_header
from replay.workload.correlations.bodies import sent_in_body
from replay.workload.correlations.kinds import VALIDATORS
from replay.workload.correlations.places import handed_values, place_pattern, secret_column
from replay.workload.model import Workload

CREATED, CURSOR, VALIDATOR = "created", "cursor", "validator"
EVERY = "*"  # in place of a use
JOINT = "\x1f"  # between the values of a key, and the parts of a step: no path has it
_ENOUGH_ONCE = 3  # producers whose value was used once, to believe that it can be used but once
_DEEPEST = 8  # pages that are told apart
_MOST_STEPS = 2_000  # of one variant each
_ALONG = ("bearer", "cookie:", "header:")
_IN_BODY = ("form:", "json:", "xml:")
_SAYS_WHO = ("basic:", *_IN_BODY)
_REFUSED = 401  # tells of a token that its life is over
_SHORTEST_LIFE_S = 10.0  # of what is not told to live shorter: people pause as they like
_STATED = 0.9  # of the life that an answer gives its token
_MAX_AGE = re.compile(r";\s*max-age=(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Need:
    """A value that a request needs from an earlier answer: ``source`` says of which endpoint, and from what place.

    A ``listed`` one belongs to the path that it was handed out at. Of a cursor, ``page`` counts the pages before the
    one that handed it out, and ``asked`` tells what that was asked for; they are 0 and empty for all else. ``use`` is
    the endpoint that takes it, or empty for what goes along with every request. ``whose`` is the client that was handed
    it, where that is another one.
    """

    inject: Inject
    source: int
    kind: str
    listed: bool
    page: int
    asked: str
    use: str
    whose: str


@dataclass(frozen=True, slots=True, eq=False)
class Donor:
    """A recorded request. ``plain`` are the injections that need no earlier answer.

    ``columns`` are the credentials that its sender needs. ``hands`` has for each source the place at which its answer
    hands that out, and the value. ``key`` are the values in its path, ``page`` counts the pages before it.
    ``is_private`` tells that only its own client can send it: a login, which says whose it is.
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
    is_private: bool

    @property
    def signature(self) -> tuple[object, ...]:
        """What it needs. Donors with the same one can stand for each other."""
        return self.columns, *((need.source, need.inject.place, need.page, need.asked) for need in self.needs)


@dataclass(frozen=True, slots=True)
class Source:
    """A place of an endpoint's answers that hands something out, and what the capture shows of its use.

    ``life_s`` is for how long, ``once`` has the uses that are made of it only once, or ``EVERY`` where that goes for
    all of them together. ``pages`` tells whether it leads to the next page of a list, ``shared`` whether other clients
    use it too.
    """

    endpoint: str
    pattern: str
    life_s: float
    once: frozenset[str]
    pages: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """All donors in the order of the capture, their sources, and the keys that were made during it.

    ``steps`` and ``visits`` are those of the donors. A step is what a visit goes on to: an endpoint and, as far as that
    is frequent, the variant, so that a model learns what of a login, a renewal, a page follows what.
    """

    donors: tuple[Donor, ...]
    sources: tuple[Source, ...]
    made: frozenset[str]
    visits: tuple[int, ...]
    steps: tuple[str, ...]

    def events(self) -> pd.DataFrame:
        """What a model of visits is fitted to: one row a donor, with steps for endpoints."""
        clients = {name: number for number, name in enumerate(dict.fromkeys(one.planned.client for one in self.donors))}
        return pd.DataFrame(
            {
                "at_s": [one.planned.due_s for one in self.donors],
                "duration_s": [one.duration_s for one in self.donors],
                "client": [clients[one.planned.client] for one in self.donors],
                "visit": self.visits,
                "endpoint": self.steps,
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
    variants: dict[tuple[object, ...], int] = {}
    for number, planned in zip(kept, exact, strict=True):
        needs = tuple(_needs(planned, exact, donors, sources, kinds))
        exchange = workload.exchanges[number]
        sources.use(planned, needs, exact)
        hands = sources.handed(planned, exchange.response)
        page = max((need.page + 1 for need in needs if need.kind == CURSOR), default=0)
        variant = (*_variant(planned), min(page, _DEEPEST), frozenset(need.source for need in needs))
        donors.append(
            Donor(
                planned=planned,
                duration_s=max(0.0, exchange.duration_s),
                key=JOINT.join(path_parameters(planned).values()),
                variant=variants.setdefault(variant, len(variants)),
                needs=needs,
                plain=tuple(inject for inject in planned.injects if inject.origin is None),
                columns=frozenset(inject.credential for inject in planned.injects if inject.credential),
                hands=hands,
                page=page,
                is_private=_is_private(planned, hands),
            )
        )
    made = {need.inject.captured for one in donors for need in one.needs if need.kind == CREATED}
    visit_of = {exchange: visit.number for visit in workload.visits for exchange in visit.exchanges}
    return Recorded(
        donors=tuple(donors),
        sources=sources.found(),
        made=frozenset(made),
        visits=tuple(visit_of[number] for number in kept),
        steps=_steps(donors),
    )


def _steps(donors: Sequence[Donor]) -> tuple[str, ...]:
    """The endpoint of each donor, with the variant where that is one of the most frequent."""
    pairs = [(donor.planned.endpoint, donor.variant) for donor in donors]
    own = {pair for pair, _ in Counter(pairs).most_common(_MOST_STEPS)}
    return tuple(f"{pair[0]}{JOINT}{pair[1] if pair in own else ''}" for pair in pairs)


class _Sources:
    """The places that values come from, numbered: those of all that is extracted in an exact schedule."""

    def __init__(self, exact: Sequence[PlannedRequest]) -> None:
        self._lives: dict[int, float] = defaultdict(float)
        self._uses: dict[int, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        self._stated: set[int] = set()
        self._pages: set[int] = set()
        self._shared: set[int] = set()
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

    def use(self, planned: PlannedRequest, needs: Sequence[Need], exact: Sequence[PlannedRequest]) -> None:
        """Learn from what a request needs how that can be used."""
        self._pages |= {need.source for need in needs if need.asked}
        found = {(need.inject.origin, need.source, use) for need in needs for use in (need.use, EVERY)}
        for number, source, use in found:
            if number is None:
                continue
            origin = exact[number]
            self._uses[source][use][number] += 1  # once, at however many places of the request
            if planned.expected_status != _REFUSED:
                self._lives[source] = max(self._lives[source], planned.due_s - origin.due_s)
            if planned.client != origin.client:
                self._shared.add(source)

    def handed(self, planned: PlannedRequest, response: Response | None) -> dict[int, tuple[str, str]]:
        """What an answer hands out, whether the capture used it or not."""
        known = self._of.get(planned.endpoint)
        if not known or response is None or response.status >= 400:
            return {}
        hands: dict[int, tuple[str, str]] = {}
        for wanted in planned.extracts:
            number = self._numbers[planned.endpoint, place_pattern(wanted.place)]
            hands.setdefault(number, (wanted.place, wanted.captured))
        template = planned.endpoint.partition(" ")[2].partition("#")[0]
        values = {value.place: value.text for value in handed_values(response, template)}
        for pattern, number in known:
            if number not in hands and pattern in values:
                hands[number] = (pattern, values[pattern])
        for number, (place, _) in hands.items():
            if life_s := _stated_s(place, values, response):
                self._stated.add(number)
                self._lives[number] = max(self._lives[number], life_s)
        return hands

    def found(self) -> tuple[Source, ...]:
        """All sources, in the order of their numbers."""
        return tuple(
            Source(
                endpoint=endpoint,
                pattern=pattern,
                life_s=max(self._lives[number], 0.0 if number in self._stated else _SHORTEST_LIFE_S),
                once=frozenset(
                    use
                    for use, counts in self._uses[number].items()
                    if len(counts) >= _ENOUGH_ONCE and max(counts.values()) == 1
                ),
                pages=number in self._pages,
                shared=number in self._shared,
            )
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
        asked = asked_for(producer) if kind == CURSOR else ""
        yield Need(
            inject=inject,
            source=sources.number(producer, inject.captured),
            kind=kind,
            listed=listed,
            page=page,
            asked=asked,
            use="" if inject.place.startswith(_ALONG) else planned.endpoint,
            whose="" if producer.client == planned.client or kind in {CREATED, CURSOR, VALIDATOR} else producer.client,
        )


def asked_for(planned: PlannedRequest) -> str:
    """What a request asks of its path: its query and its body, without what is injected."""
    own = {inject.place for inject in planned.injects}
    query = [pair for pair in planned.query.split("&") if f"query:{unquote_plus(pair.partition('=')[0])}" not in own]
    body = (planned.body or b"").decode("latin-1")
    for inject in planned.injects:
        if inject.place.startswith(_IN_BODY):
            body = body.replace(inject.captured, "")
    return f"{'&'.join(sorted(query))} {body}"


def _is_private(planned: PlannedRequest, hands: Mapping[int, tuple[str, str]]) -> bool:
    """Whether a request says whose it is: by a credential, or by a password for which it gets something."""
    if any(inject.credential and inject.place.startswith(_SAYS_WHO) for inject in planned.injects):
        return True
    given = {inject.place for inject in planned.injects if inject.origin is not None}
    sent = sent_in_body(planned.body or b"", first_header(planned.headers, "content-type") or "", "")
    return bool(hands) and any(secret_column(value) and value.place not in given for value in sent)


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
