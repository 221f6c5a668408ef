"""From a workload to a schedule of traffic like it: longer or larger than was recorded, the same for the same seed.

A model of visits says who sends what, when and after which answer (``workload.synthesis``). Each of its events takes a
recorded request, its donor, for all else; what the donor needed from an answer comes from an earlier event that hands
out the like. A token that nothing before hands out is asked for first: such requests are *put in*. What cannot be sent
is *left out*. Both are counted.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pandas as pd

from replay.errors import InputError
from replay.scenario.casting import Role, cast_clients
from replay.scenario.choosing import Choice, Chooser, Wanted
from replay.scenario.donors import Need, Recorded, read_donors
from replay.scenario.origins import Origins, Sender
from replay.scenario.payloads import Payloads
from replay.scenario.planning import SHORTEST_S
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule
from replay.scenario.words import many
from replay.workload import Workload
from replay.workload.synthesis import VisitModel, fit, synthesise

MOST_REQUESTS = 5_000_000  # a schedule lies in memory
_LEAD_S = 0.05  # between the answer that hands a token out and the first request with it
_BY_PLACE = ("bearer", "cookie:")  # what stands there is replaced, whatever it is


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be modelled: so long, so many times the clients, and the ``seed`` of chance."""

    duration_s: float | None = None
    scale: float = 1.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Modelled:
    """A modelled schedule, how many ``events`` were drawn for it, and what became of them, by endpoint.

    ``put_in`` are requests for tokens that nothing before hands out; ``left_out`` events that need a value or a login
    that is not to be had; ``changed`` those of which no donor of the drawn variant could be sent, but another.
    """

    schedule: Schedule
    ask: Ask
    events: int
    put_in: Mapping[str, int]
    left_out: Mapping[str, int]
    changed: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """All but the schedule, as plain JSON values."""
        return {
            "duration_s": self.schedule.duration_s,
            "scale": self.ask.scale,
            "seed": self.ask.seed,
            "events": self.events,
            "put_in": dict(self.put_in),
            "left_out": dict(self.left_out),
            "changed": dict(self.changed),
            "notes": self.told()[1:],
        }

    def told(self) -> list[str]:
        """Sentences for people: what it is, and what became of the events that were drawn."""
        clients = len({planned.client for planned in self.schedule})
        ask = self.ask
        drawn = f"{many(len(self.schedule), 'request')} of {many(clients, 'client')}"
        span = f"{self.schedule.duration_s:,.0f} s (scale {ask.scale:g}, seed {ask.seed})"
        sentences = [f"Drawn from a model: {drawn} in {span}."]
        for counts, what in (
            (self.put_in, "put in, for tokens that nothing before hands out"),
            (self.left_out, "left out, for want of a value or a login"),
            (self.changed, "of another variant than was drawn, for want of that one's values"),
        ):
            if counts:
                most = f", the most of {next(iter(counts))}" if len(counts) > 1 else f" ({next(iter(counts))})"
                sentences.append(f"{many(sum(counts.values()), 'request')} {what}{most}.")
        return sentences


def model_schedule(workload: Workload, ask: Ask, payloads: Payloads | None = None) -> Modelled:
    """Draw a schedule from a model of the workload, by default as long as that.

    Raises InputError where duration and scale are not above 0 or make too many requests, and where nothing is drawn.
    """
    recorded = read_donors(workload, payloads)
    duration_s = max(workload.duration_s, SHORTEST_S) if ask.duration_s is None else ask.duration_s
    if not recorded.donors:
        return Modelled(Schedule((), duration_s), ask, 0, {}, {}, {})
    events = recorded.events()
    expected = len(events) * duration_s / max(workload.duration_s, SHORTEST_S) * ask.scale
    if expected > MOST_REQUESTS:
        raise InputError(
            f"That makes more than {MOST_REQUESTS:,} requests.", "Give a shorter duration or a lower scale."
        )
    model = fit(events)
    drawn = _with_cold_keys(synthesise(model, duration_s=duration_s, scale=ask.scale, seed=ask.seed), model, recorded)
    if drawn.empty:
        raise InputError(
            "The model has drawn no request for so short a time.", "Give a longer duration, or another seed."
        )
    planner = _Planner(recorded, cast_clients(drawn, recorded.donors), random.Random(ask.seed))  # noqa: S311 - can be repeated
    planner.plan(drawn)
    return Modelled(
        planner.schedule(duration_s),
        ask,
        len(drawn),
        *(dict(count.most_common()) for count in (planner.put_in, planner.left_out, planner.changed)),
    )


def _with_cold_keys(drawn: pd.DataFrame, model: VisitModel, recorded: Recorded) -> pd.DataFrame:
    """What was drawn with the keys too cold for the model: it numbers them only (``~17``)."""
    if not model.keys.colder.any():
        return drawn
    hot = {
        (model.endpoints[int(chance)], name) for chance, name in zip(model.keys.chance, model.keys.name, strict=True)
    }
    cold: dict[str, dict[str, None]] = defaultdict(dict)
    known: set[str] = set()
    for donor in recorded.donors:
        known.add(donor.key)
        if (donor.planned.endpoint, donor.key) not in hot:
            cold[donor.planned.endpoint][donor.key] = None
    listed = {endpoint: list(keys) for endpoint, keys in cold.items()}

    def named(endpoint: str, key: str) -> str:
        keys = listed.get(endpoint)
        return keys[int(key[1:]) % len(keys)] if keys and key[:1] == "~" and key not in known else key

    keys = [named(str(endpoint), key) for endpoint, key in zip(drawn["endpoint"], drawn["key"], strict=True)]
    return drawn.assign(key=keys)


@dataclass(slots=True)
class _Part:
    """A planned request that is not numbered yet. ``after`` and the origins of ``injects`` are places among parts."""

    planned: PlannedRequest
    path: str
    due_s: float
    visit: int
    client: str
    after: int | None
    injects: tuple[Inject, ...]
    extracts: dict[Extract, None]


class _Planner:
    """Plans the events of a model one by one, in the order they are due."""

    def __init__(self, recorded: Recorded, roles: Mapping[int, Role], dice: random.Random) -> None:
        self._roles = roles
        self._origins = Origins(recorded.sources)
        self._chooser = Chooser(recorded, self._origins, dice)
        self._parts: list[_Part] = []
        self.put_in: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()

    def plan(self, drawn: pd.DataFrame) -> None:
        """Plan all events. What followed one that is left out follows the one before that."""
        places: list[int | None] = []
        columns = ("at_s", "client", "visit", "endpoint", "variant", "key", "after")
        for at_s, client, visit, endpoint, variant, key, after in zip(
            *(drawn[name].tolist() for name in columns), strict=True
        ):
            role = self._roles[client]
            sender = Sender(client, visit, at_s)
            earlier = None if after < 0 else places[after]
            choice = self._chooser.choose(Wanted(endpoint, variant, key, role.recorded, sender))
            if choice is None:
                self.left_out[endpoint] += 1
                places.append(earlier)
                continue
            if choice.changed:
                self.changed[endpoint] += 1
            origins = [
                self._origin(need, role, sender) if origin is None else origin
                for need, origin in zip(choice.donor.needs, choice.origins, strict=True)
            ]
            places.append(self._add(choice, origins, role, sender, earlier))

    def schedule(self, duration_s: float) -> Schedule:
        """All that was planned, numbered in the order it is due."""
        parts = self._parts
        order = sorted(range(len(parts)), key=lambda place: parts[place].due_s)  # stable: what is put in comes first
        numbers = [0] * len(parts)
        for number, place in enumerate(order):
            numbers[place] = number
        visits: dict[int, int] = {}
        requests = tuple(_numbered(parts[place], number, numbers, visits) for number, place in enumerate(order))
        copies = {role.name: role.recorded for role in self._roles.values() if role.name != role.recorded}
        sending = {part.client for part in parts}
        return Schedule(requests, duration_s, {name: own for name, own in copies.items() if name in sending})

    def _origin(self, need: Need, role: Role, sender: Sender) -> int:
        """The request that hands out what is needed: put in, unless one for another need did already."""
        found = self._origins.find(need, sender, "")
        if found is not None:
            return found
        donor = self._chooser.producer(role.recorded, need.source)
        if donor is None:
            raise ValueError(f"nothing hands out {need.inject.place}")
        origins = [self._origin(own, role, sender) for own in donor.needs]
        earliest_s = max((self._parts[origin].due_s for origin in origins), default=0.0)
        due_s = max(earliest_s, sender.at_s - donor.duration_s - _LEAD_S)
        put_in = Sender(sender.client, sender.visit, due_s)
        self.put_in[donor.planned.endpoint] += 1
        return self._add(Choice(donor, donor.planned, (), donor.planned.path), origins, role, put_in, None)

    def _add(self, choice: Choice, origins: Iterable[int], role: Role, sender: Sender, after: int | None) -> int:
        """Plan a request, and tell those that hand its values out. Its place among parts."""
        donor, path = choice.donor, choice.planned.path
        place = len(self._parts)
        self._origins.add(place, donor, sender, choice.subject, donor.key)
        injects = list(donor.plain)
        for need, origin in zip(donor.needs, origins, strict=True):
            where, handed = self._origins.donor(origin).hands[need.source]
            name = need.inject.captured
            if need.inject.place == "path" and (renamed := _renamed(path, name, handed)):
                path, name = renamed, handed
            elif need.inject.place.startswith(_BY_PLACE):
                name = handed
            self._parts[origin].extracts[Extract(where, name)] = None
            injects.append(Inject(need.inject.place, name, origin=origin))
            self._origins.use(need, sender, origin)
        self._parts.append(_Part(choice.planned, path, sender.at_s, sender.visit, role.name, after, tuple(injects), {}))
        return place


def _renamed(path: str, old: str, new: str) -> str:
    """The path with the last segment that is ``old`` replaced; nothing where none is, or another is ``new``."""
    segments = path.split("/")
    texts = [unquote(segment) for segment in segments]
    if old not in texts or (new in texts and new != old) or "/" in new:
        return ""
    segments[len(texts) - 1 - texts[::-1].index(old)] = quote(new, safe="")
    return "/".join(segments)


def _numbered(part: _Part, number: int, numbers: list[int], visits: dict[int, int]) -> PlannedRequest:
    planned = part.planned
    return PlannedRequest(
        request=number,
        visit=visits.setdefault(part.visit, len(visits)),
        client=part.client,
        endpoint=planned.endpoint,
        due_s=part.due_s,
        after=None if part.after is None else numbers[part.after],
        method=planned.method,
        path=part.path,
        query=planned.query,
        headers=planned.headers,
        body=planned.body,
        expected_status=planned.expected_status,
        expected_shape=planned.expected_shape,
        extracts=tuple(part.extracts),
        injects=tuple(
            inject if inject.origin is None else Inject(inject.place, inject.captured, origin=numbers[inject.origin])
            for inject in part.injects
        ),
    )
