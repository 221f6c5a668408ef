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
from replay.scenario.modelled.casting import Role, cast_clients
from replay.scenario.modelled.choosing import Chooser, Wanted
from replay.scenario.modelled.donors import JOINT, Need, Recorded, read_donors
from replay.scenario.modelled.origins import Choice, Origins, Sender
from replay.scenario.payloads import Payloads
from replay.scenario.planning import SHORTEST_S
from replay.scenario.reading import with_reads_back
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule
from replay.scenario.words import many
from replay.workload.model import Workload
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
    drawn = _as_recorded(synthesise(model, duration_s=duration_s, scale=ask.scale, seed=ask.seed), model, recorded)
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


def _as_recorded(drawn: pd.DataFrame, model: VisitModel, recorded: Recorded) -> pd.DataFrame:
    """What was drawn with endpoints for steps, and with the keys too cold for the model: it numbers them (``~17``)."""
    keys = drawn["key"].tolist()
    if model.keys.colder.any():
        hot = {(model.endpoints[int(at)], name) for at, name in zip(model.keys.chance, model.keys.name, strict=True)}
        cold: dict[str, dict[str, None]] = defaultdict(dict)
        known = {donor.key for donor in recorded.donors}
        for donor, step in zip(recorded.donors, recorded.steps, strict=True):
            if (step, donor.key) not in hot:
                cold[step][donor.key] = None
        listed = {step: list(own) for step, own in cold.items()}
        for row, (step, key) in enumerate(zip(drawn["endpoint"], keys, strict=True)):
            if key[:1] == "~" and key not in known and (own := listed.get(step)):
                keys[row] = own[int(key[1:]) % len(own)]
    endpoints = [step.partition(JOINT)[0] for step in drawn["endpoint"]]
    return drawn.assign(endpoint=endpoints, key=keys)


@dataclass(slots=True)
class _Part:
    """A planned request that is not numbered yet. ``after`` and the origins of ``injects`` are places among parts."""

    planned: PlannedRequest
    path: str
    due_s: float
    visit: tuple[int, str]
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
        self._copies = {role.name: role.recorded for role in roles.values() if role.name != role.recorded}
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
            places.append(self._add(choice, self._take(choice, role, sender), role, sender, earlier))

    def schedule(self, duration_s: float) -> Schedule:
        """All that was planned, numbered in the order it is due."""
        parts = self._parts
        order = sorted(range(len(parts)), key=lambda place: parts[place].due_s)  # stable: what is put in comes first
        numbers = [0] * len(parts)
        for number, place in enumerate(order):
            numbers[place] = number
        visits: dict[tuple[int, str], int] = {}
        requests = with_reads_back(
            [_numbered(parts[place], number, numbers, visits) for number, place in enumerate(order)]
        )
        sending = {part.client for part in parts}
        return Schedule(requests, duration_s, {name: own for name, own in self._copies.items() if name in sending})

    def _take(self, choice: Choice, role: Role, sender: Sender) -> list[int]:
        """The request that hands each of a choice's needs out. What is found is taken before anything is put in."""
        needs = choice.donor.needs
        for need, origin in zip(needs, choice.origins, strict=True):
            if origin is not None:
                self._origins.use(need, origin)
        begun = len(self._parts)
        origins: list[int] = []
        put_in: dict[int | None, int] = {}  # by the request that handed it out in the capture
        for need, found in zip(needs, choice.origins, strict=True):
            origin = found
            if origin is None:
                origin = put_in.get(need.inject.origin)
                if origin is None or need.source not in self._origins.donor(origin).hands:
                    origin = put_in[need.inject.origin] = self._put_in(need, role, sender, begun)
                self._origins.use(need, origin)
            origins.append(origin)
        return origins

    def _put_in(self, need: Need, role: Role, sender: Sender, begun: int) -> int:
        """The request that hands out what is needed: a new one, unless one was put in since ``begun``."""
        found = self._origins.find(need, sender, "")
        if found is not None and found >= begun:
            return found
        producer = self._chooser.producer(role.recorded, need)
        if producer is None:
            raise ValueError(f"nothing hands out {need.inject.place}")
        who, donor = producer
        role = role if who == role.recorded else self._beside(role, who)
        planned = donor.planned
        before = Sender(sender.client, sender.visit, max(0.0, sender.at_s - donor.duration_s - _LEAD_S))
        choice = Choice(donor, planned, *self._origins.meet(donor, planned, before), donor.key)
        origins = self._take(choice, role, before)
        due_s = max([before.at_s, *(self._parts[origin].due_s for origin in origins)])
        self.put_in[planned.endpoint] += 1
        return self._add(choice, origins, role, Sender(sender.client, sender.visit, due_s), None)

    def _beside(self, role: Role, recorded: str) -> Role:
        """The one of a recorded client's copies that hands over to this role."""
        name = f"{recorded}{role.name.removeprefix(role.recorded)}"
        if name != recorded:
            self._copies[name] = recorded
        return Role(name, recorded)

    def _add(self, choice: Choice, origins: Iterable[int], role: Role, sender: Sender, after: int | None) -> int:
        """Plan a request, and tell those that hand its values out. Its place among parts."""
        donor, path = choice.donor, choice.planned.path
        place = len(self._parts)
        self._origins.add(place, choice, sender)
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
        visit = (sender.visit, role.recorded)
        self._parts.append(_Part(choice.planned, path, sender.at_s, visit, role.name, after, tuple(injects), {}))
        return place


def _renamed(path: str, old: str, new: str) -> str:
    """The path with the last segment that is ``old`` replaced; nothing where none is, or another is ``new``."""
    segments = path.split("/")
    texts = [unquote(segment) for segment in segments]
    if old not in texts or (new in texts and new != old) or "/" in new:
        return ""
    segments[len(texts) - 1 - texts[::-1].index(old)] = quote(new, safe="")
    return "/".join(segments)


def _numbered(part: _Part, number: int, numbers: list[int], visits: dict[tuple[int, str], int]) -> PlannedRequest:
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
        expected_items=planned.expected_items,
        extracts=tuple(part.extracts),
        injects=tuple(
            inject if inject.origin is None else Inject(inject.place, inject.captured, origin=numbers[inject.origin])
            for inject in part.injects
        ),
    )
