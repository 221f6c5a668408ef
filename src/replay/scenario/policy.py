"""What of a schedule must not reach the target: requests that are left out, and those that are answered without it.

A *pattern* is a method and a path as endpoints have it, ``POST /v2/payments``. ``*`` stands for any text and ``?`` for
one character; ``WRITES`` for every method but GET, HEAD and OPTIONS. Case does not count. Where a pattern
begins with ``!``, what it fits is sent although one before it leaves it out.
"""

import dataclasses
import difflib
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

from replay.errors import InputError
from replay.scenario.answers import Answers, GivenAnswer
from replay.scenario.data import REBUILD
from replay.scenario.planning import without
from replay.scenario.schedule import PlannedRequest, Schedule
from replay.scenario.words import many

_WRITES = "WRITES"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_KEPT = "!"
_NEAR = 3
_LISTS = ("places", "users")
_COUNTS = ("left_out", "needing", "givers", "answered")


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked for: patterns of what is left out, and answers. An endpoint that has an answer is not left out."""

    leave_out: tuple[str, ...] = ()
    answers: tuple[GivenAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Withheld:
    """The endpoints that are not sent: those ``left_out``, and those with an answer of ours."""

    left_out: frozenset[str] = frozenset()
    answers: Answers = field(default_factory=dict)

    @property
    def endpoints(self) -> frozenset[str]:
        """All of them."""
        return self.left_out | frozenset(self.answers)


@dataclass(frozen=True, slots=True)
class KeptBack:
    """How many requests of a schedule's ``planned`` are not sent, by endpoint, the most frequent first.

    They are counted before it is paced. ``needing`` are left out since they need what a left out one hands out, and
    ``givers`` are these, by how many they keep back. ``places`` says where in an answer of ours later requests look for
    a value, and ``users`` to which endpoints of the target they send it.
    """

    planned: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    needing: Mapping[str, int] = field(default_factory=dict)
    givers: Mapping[str, int] = field(default_factory=dict)
    answered: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def endpoints(self) -> frozenset[str]:
        """The endpoints of which some or all requests are not sent."""
        return frozenset(self.left_out) | frozenset(self.needing) | frozenset(self.answered)

    def to_json(self) -> dict[str, Any]:
        """As ``scenario.json`` and ``rehearsal.json`` have it."""
        listed = {name: {endpoint: list(found) for endpoint, found in getattr(self, name).items()} for name in _LISTS}
        return {"planned": self.planned, **{name: dict(getattr(self, name)) for name in _COUNTS}, **listed}

    @classmethod
    def from_json(cls, found: object, planned: int) -> Self:
        """What ``to_json`` gave; where that is nothing, all of the ``planned`` requests are sent."""
        if not isinstance(found, Mapping):
            return cls(planned)
        try:
            counts = {name: {str(one): int(count) for one, count in found[name].items()} for name in _COUNTS}
            places, users = (
                {str(endpoint): tuple(map(str, own)) for endpoint, own in found.get(name, {}).items()}
                for name in _LISTS
            )
            return cls(int(found["planned"]), **counts, places=places, users=users)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"A scenario does not say what it keeps back: {error!r}.", REBUILD) from error

    def told(self, of: str = "") -> list[str]:
        """Sentences for people, none where everything is sent; ``of`` says what the counts are of."""
        where = f" {of}" if of else ""
        sentences = []
        if self.left_out:
            sentences.append(f"Left out as was asked: {self._share(self.left_out, where)}, {_most(self.left_out)}.")
        if self.needing:
            giver = next(iter(self.givers))
            sentences.append(
                f"Left out too, for want of a value that one of these hands out: {self._share(self.needing, where)}, "
                f"{_most(self.needing)}. They need {giver} first of all: give that an answer, or keep it with "
                f"{_KEPT + giver!r}."
            )
        if any(self.answered.values()):
            sentences.append(
                f"Answered without being sent: {self._share(self.answered, where)}, {_most(self.answered)}."
            )
        for endpoint, places in self.places.items():
            sentences.append(f"The answer to {endpoint} must have {', '.join(places)}, which later requests send back.")
        for endpoint, users in self.users.items():
            sentences.append(
                f"What the answer to {endpoint} hands out goes to Stage with {', '.join(users)}: unless Stage takes "
                "any, give these an answer too, or leave them out."
            )
        return sentences

    def _share(self, counts: Mapping[str, int], where: str) -> str:
        count = sum(counts.values())
        return f"{many(count, 'request')} of {self.planned:,} ({count / max(1, self.planned):.1%}){where}"


def resolve(policy: Policy, endpoints: Iterable[str], where: str = "") -> Withheld:
    """Which of the endpoints a policy withholds. ``where`` stands before its keys in messages.

    Raises InputError for a pattern that is none, or that fits nothing.
    """
    known = sorted(set(endpoints))
    left_out: set[str] = set()
    for written in policy.leave_out:
        fitting = _fitting(written.removeprefix(_KEPT), known, f"{where}leave_out")
        left_out = left_out - fitting if written.startswith(_KEPT) else left_out | fitting
    answers: dict[str, GivenAnswer] = {}
    for answer in policy.answers:
        for endpoint in _fitting(answer.endpoint, known, f"{where}answers"):
            answers.setdefault(endpoint, answer)
    return Withheld(frozenset(left_out - set(answers)), answers)


def withhold(schedule: Schedule, withheld: Withheld) -> tuple[Schedule, KeptBack]:
    """The schedule as it is played: without what is left out and what needs a value of that, and how much that is.

    What followed a request that is left out follows the one before it. What is answered stays, since later requests
    wait for it and need what it hands out; credentials of the target's it needs none.
    """
    if not withheld.endpoints:
        return schedule, KeptBack(len(schedule))
    asked: set[int] = set()
    needing: dict[int, str] = {}  # with the endpoint that is the root
    for planned in schedule:
        if planned.endpoint in withheld.left_out:
            asked.add(planned.request)
            continue
        giver = next(
            (inject.origin for inject in planned.injects if inject.origin in asked or inject.origin in needing), None
        )
        if giver is not None:
            needing[planned.request] = needing.get(giver) or schedule.requests[giver].endpoint
    kept = without(schedule.requests, asked | set(needing))
    requests = tuple(_free(planned) if planned.endpoint in withheld.answers else planned for planned in kept)
    answered = dict.fromkeys(sorted(withheld.answers), 0)
    answered |= _counted(planned.endpoint for planned in requests if planned.endpoint in withheld.answers)
    counts = KeptBack(
        len(schedule),
        _counted(planned.endpoint for planned in schedule if planned.request in asked),
        _counted(planned.endpoint for planned in schedule if planned.request in needing),
        _counted(needing.values()),
        dict(sorted(answered.items(), key=lambda item: -item[1])),
        _places(requests, withheld.answers),
        _users(requests, withheld.answers),
    )
    return dataclasses.replace(schedule, requests=requests), counts


def _fitting(pattern: str, known: Sequence[str], where: str) -> set[str]:
    method, _, path = pattern.strip().partition(" ")
    if not method or not path.strip():
        raise InputError(
            f"{where} has {pattern!r}, which is not a method and a path.",
            'Write it like "POST /v2/payments" or "* /mail/*".',
        )
    fitting = {
        endpoint
        for endpoint in known
        if _fits_method(method.upper(), endpoint.partition(" ")[0].upper())
        and any(_regular(path.strip()).fullmatch(form) for form in _forms(endpoint.partition(" ")[2]))
    }
    if not fitting:
        near = difflib.get_close_matches(pattern, known, _NEAR, cutoff=0.5)
        hint = f"Near it: {', '.join(near)}." if near else "`replay inspect` shows the endpoints."
        raise InputError(f"{where} has {pattern!r}, which fits no endpoint of the capture.", hint)
    return fitting


def _forms(path: str) -> set[str]:
    """A path as it is written, and as a server may read it: ``//mail/%73end`` and ``/x/../mail/send`` are one to it."""
    read = re.sub(r";[^/]*", "", unquote(path))
    plain = posixpath.normpath(re.sub(r"/{2,}", "/", read)) if read.startswith("/") else read
    return {path, read, plain, plain + "/" if read.endswith("/") else plain}


def _fits_method(pattern: str, method: str) -> bool:
    return method not in _READS if pattern == _WRITES else _regular(pattern).fullmatch(method) is not None


def _regular(pattern: str) -> re.Pattern[str]:
    return re.compile(
        "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in re.sub(r"\*+", "*", pattern)),
        re.DOTALL | re.IGNORECASE,
    )


def _free(planned: PlannedRequest) -> PlannedRequest:
    """A request that needs nothing but what other requests hand out."""
    needed = tuple(inject for inject in planned.injects if inject.origin is not None)
    return dataclasses.replace(planned, injects=needed)


def _places(requests: Sequence[PlannedRequest], answers: Answers) -> dict[str, tuple[str, ...]]:
    """Where the answers of ours must have what later requests send back."""
    used = {(inject.origin, inject.captured) for planned in requests for inject in planned.injects}
    found: dict[str, dict[str, None]] = {}
    for planned in requests:
        if planned.endpoint in answers:
            for wanted in planned.extracts:
                if (planned.request, wanted.captured) in used:
                    found.setdefault(planned.endpoint, {})[wanted.place] = None
    return {endpoint: tuple(sorted(places)) for endpoint, places in sorted(found.items())}


def _users(requests: Sequence[PlannedRequest], answers: Answers) -> dict[str, tuple[str, ...]]:
    """The endpoints that get from us what an answer of ours has handed out."""
    found: dict[str, set[str]] = {}
    for planned in requests:
        for inject in planned.injects:
            origin = "" if inject.origin is None else requests[inject.origin].endpoint
            if origin in answers and planned.endpoint not in answers:
                found.setdefault(origin, set()).add(planned.endpoint)
    return {endpoint: tuple(sorted(users)) for endpoint, users in sorted(found.items())}


def _counted(endpoints: Iterable[str]) -> dict[str, int]:
    return dict(Counter(endpoints).most_common())


def _most(counts: Mapping[str, int]) -> str:
    first = next(iter(counts))
    return f"the most of {first}" if len(counts) > 1 else f"all of {first}"
