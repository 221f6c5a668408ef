"""Which earlier request of a modelled schedule hands out what a later one needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from replay.scenario.donors import CREATED, CURSOR, VALIDATOR, Donor, Need, Source
from replay.scenario.schedule import Inject, PlannedRequest

_LASTING = frozenset({CREATED, CURSOR, VALIDATOR})  # what is not given up for its age


@dataclass(frozen=True, slots=True)
class Sender:
    """A modelled client in one of its visits, and when it sends."""

    client: int
    visit: int
    at_s: float


class Origins:
    """What has been handed out so far, to whom; requests are added in the order they are due."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._due_s: dict[int, float] = {}
        self._of_client: dict[tuple[int, int], int] = {}
        self._of_visit: dict[tuple[int, int], int] = {}
        self._of_path: dict[tuple[int, int, int, str], int] = {}
        self._made: dict[int, int] = {}
        self._handed: dict[int, Donor] = {}
        self._lists: dict[tuple[int, str], str] = {}

    def add(self, number: int, donor: Donor, sender: Sender, subject: str, key: str) -> None:
        """Request ``number`` was planned after ``donor``; ``subject`` is the path that it goes to."""
        if not donor.hands:
            return
        self._due_s[number] = sender.at_s
        self._handed[number] = donor
        for source in donor.hands:
            self._of_client[sender.client, source] = self._of_visit[sender.visit, source] = number
            self._of_path[sender.client, source, donor.page, subject] = number
            self._made[source] = number
        self._lists[sender.client, donor.planned.endpoint] = key

    def donor(self, number: int) -> Donor:
        """The donor of a request that hands something out."""
        return self._handed[number]

    def list_key(self, client: int, endpoint: str) -> str | None:
        """The key of the latest list of an endpoint that a client has opened."""
        return self._lists.get((client, endpoint))

    def find(self, need: Need, sender: Sender, subject: str, within: Sequence[int] = ()) -> int | None:
        """The latest request that hands out what is needed, of the same visit first, or None.

        ``within`` are the origins of what stands in the path: a validator may come from the making of its thing.
        """
        if need.listed:
            return self._of_path.get((sender.client, need.source, need.page, subject))
        if need.kind == VALIDATOR:
            return next((number for number in within if need.source in self._handed[number].hands), None)
        for number in (
            self._of_visit.get((sender.visit, need.source)),
            self._of_client.get((sender.client, need.source)),
        ):
            if number is not None and self._is_fresh(number, need, sender.at_s):
                return number
        return self._made.get(need.source) if need.kind == CREATED else None

    def use(self, need: Need, sender: Sender, number: int) -> None:
        """A request takes what ``number`` hands out. What can be used but once is then gone."""
        if need.kind not in _LASTING and self._sources[need.source].once:
            for where, key in ((self._of_visit, sender.visit), (self._of_client, sender.client)):
                if where.get((key, need.source)) == number:
                    del where[key, need.source]

    def _is_fresh(self, number: int, need: Need, at_s: float) -> bool:
        return need.kind in _LASTING or at_s - self._due_s[number] <= self._sources[need.source].life_s


def subject_of(planned: PlannedRequest, origins: Mapping[Inject, int]) -> str:
    """A request's path, what is injected into it named by its origin: those of one thing have the same."""
    named = {inject.captured: f"\0{number}" for inject, number in origins.items() if inject.place == "path"}
    if not named:
        return planned.path
    return "/".join(named.get(unquote(segment), segment) for segment in planned.path.split("/"))
