"""Which earlier request of a modelled schedule hands out what a later one needs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from replay.scenario.modelled.donors import CREATED, CURSOR, EVERY, VALIDATOR, Donor, Need, Source, asked_for
from replay.scenario.schedule import Inject, PlannedRequest

LASTING = frozenset({CREATED, CURSOR, VALIDATOR})  # what is not given up for its age
_LOOKED_AT = 64  # of the latest answers that hand out the same: who opens several forms sends several


@dataclass(frozen=True, slots=True)
class Sender:
    """A modelled client in one of its visits, and when it sends."""

    client: int
    visit: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A donor, its request for the right ``key``, and for each of its needs the origin: None is to be put in.

    ``subject`` is the path with origins for what is injected. ``changed`` tells that it is of another variant than was
    wanted.
    """

    donor: Donor
    planned: PlannedRequest
    origins: tuple[int | None, ...]
    subject: str
    key: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list or thing that a client has opened: its key, and what was asked of it."""

    key: str
    asked: str


class Origins:
    """What has been handed out so far, to whom; requests are added in the order they are due."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._due_s: dict[int, float] = {}
        self._of_client: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._of_visit: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._of_path: dict[tuple[object, ...], int] = {}
        self._made: dict[int, list[int]] = defaultdict(list)
        self._gone: set[tuple[int, int, str]] = set()
        self._handed: dict[int, Donor] = {}
        self._listings: dict[tuple[int, int], Listing] = {}

    def add(self, number: int, choice: Choice, sender: Sender) -> None:
        """Request ``number`` is planned as chosen."""
        donor = choice.donor
        if not donor.hands:
            return
        self._due_s[number] = sender.at_s
        self._handed[number] = donor
        asked = asked_for(choice.planned) if any(self._sources[source].pages for source in donor.hands) else ""
        for source in donor.hands:
            page = (donor.page, asked) if self._sources[source].pages else (0, "")
            self._of_client[sender.client, source].append(number)
            self._of_visit[sender.visit, source].append(number)
            self._of_path[sender.client, source, *page, choice.subject] = number
            self._listings[sender.client, source] = Listing(choice.key, asked)
            if self._sources[source].shared:
                self._made[source].append(number)

    def donor(self, number: int) -> Donor:
        """The donor of a request that hands something out."""
        return self._handed[number]

    def listing(self, client: int, source: int) -> Listing | None:
        """What a client was handed a source for last."""
        return self._listings.get((client, source))

    def meet(self, donor: Donor, planned: PlannedRequest, sender: Sender) -> tuple[tuple[int | None, ...], str]:
        """For each need of a donor the request that hands it out, or None; and what its path is about.

        What one answer handed out in the capture comes from one answer here too.
        """
        found: list[int | None] = []
        in_path: dict[Inject, int] = {}
        subject = planned.path
        for need in donor.needs:
            number = self.find(need, sender, subject, tuple(in_path.values()))
            if number is not None and need.inject.place == "path":
                in_path[need.inject] = number
                subject = subject_of(planned, in_path)
            found.append(number)
        groups: dict[int | None, list[int]] = {}
        for place, need in enumerate(donor.needs):
            groups.setdefault(need.inject.origin, []).append(place)
        for own in groups.values():
            numbers = {found[place] for place in own}
            if len(numbers) > 1 and not any(donor.needs[place].kind in LASTING for place in own):
                known = sorted((number for number in numbers if number is not None), reverse=True)
                every = (number for number in known if all(self.gives(number, donor.needs[place]) for place in own))
                one = next(every, None)
                for place in own:
                    found[place] = one
        return tuple(found), subject

    def find(self, need: Need, sender: Sender, subject: str, within: Sequence[int] = ()) -> int | None:
        """The latest request that hands out what is needed, of the same visit first, or None.

        ``within`` are the origins of what stands in the path: a validator may come from the making of its thing.
        """
        if need.listed:
            number = self._of_path.get((sender.client, need.source, need.page, need.asked, subject))
            return number if number is not None and self.gives(number, need) else None
        if need.kind == VALIDATOR:
            return next((number for number in within if need.source in self._handed[number].hands), None)
        for known in (
            self._of_visit.get((sender.visit, need.source), ()),
            self._of_client.get((sender.client, need.source), ()),
            self._made.get(need.source, ()) if need.whose or need.kind == CREATED else (),
        ):
            number = next((number for number in known[: -_LOOKED_AT - 1 : -1] if self.gives(number, need)), None)
            if number is not None and self._is_fresh(number, need, sender.at_s):
                return number
        return None

    def gives(self, number: int, need: Need) -> bool:
        """Whether a request hands out what is needed, and nobody has taken it who alone can use it."""
        return need.source in self._handed[number].hands and (number, need.source, self._use_of(need)) not in self._gone

    def use(self, need: Need, number: int) -> None:
        """A request takes what ``number`` hands out. What can be used but once is then gone."""
        use = self._use_of(need)
        if need.kind not in {CREATED, VALIDATOR} and use in self._sources[need.source].once:
            self._gone.add((number, need.source, use))

    def _use_of(self, need: Need) -> str:
        return EVERY if EVERY in self._sources[need.source].once else need.use

    def _is_fresh(self, number: int, need: Need, at_s: float) -> bool:
        return need.kind in LASTING or at_s - self._due_s[number] <= self._sources[need.source].life_s


def subject_of(planned: PlannedRequest, origins: Mapping[Inject, int]) -> str:
    """A request's path, what is injected into it named by its origin: those of one thing have the same."""
    named = {inject.captured: f"\0{number}" for inject, number in origins.items() if inject.place == "path"}
    if not named:
        return planned.path
    return "/".join(named.get(unquote(segment), segment) for segment in planned.path.split("/"))
