"""Which recorded request a modelled event takes for its own, such that all it needs can be had."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from replay.scenario.donors import CREATED, CURSOR, JOINT, VALIDATOR, Donor, Recorded
from replay.scenario.origins import Origins, Sender, subject_of
from replay.scenario.rekey import rekey
from replay.scenario.schedule import Inject, PlannedRequest

_NEVER_PUT_IN = frozenset({CREATED, CURSOR, VALIDATOR})
_MOST_GROUPS = 32  # of donors that need the same, tried for one event
_KEPT = 50_000  # requests for another key, so that what is hot is made once


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a modelled event asks for, and the ``recorded`` client that its sender stands for."""

    endpoint: str
    variant: int
    key: str
    recorded: str
    sender: Sender


@dataclass(frozen=True, slots=True)
class Choice:
    """A donor, its request for the right key, and for each of its needs the origin: None is to be put in.

    ``changed`` tells that it is of another variant than was wanted.
    """

    donor: Donor
    planned: PlannedRequest
    origins: tuple[int | None, ...]
    subject: str
    changed: bool = False


@dataclass(slots=True)
class _Pool:
    """Donors that can stand for each other, also by what they need."""

    donors: list[Donor] = field(default_factory=list)
    _groups: list[list[Donor]] = field(default_factory=list)

    def groups(self) -> Sequence[list[Donor]]:
        """The donors by what they need, the most frequent first."""
        if not self._groups:
            found: dict[object, list[Donor]] = defaultdict(list)
            for donor in self.donors:
                found[donor.signature].append(donor)
            self._groups = sorted(found.values(), key=len, reverse=True)[:_MOST_GROUPS]
        return self._groups


class Chooser:
    """Finds donors. A login goes to its own client, all else to anybody who has the credentials for it."""

    def __init__(self, recorded: Recorded, origins: Origins, dice: random.Random) -> None:
        self._origins = origins
        self._dice = dice
        self._made = recorded.made
        self._pools: dict[tuple[object, ...], _Pool] = defaultdict(_Pool)
        self._producers: dict[tuple[str | None, int], list[Donor]] = defaultdict(list)
        self._givers: dict[tuple[str, int], tuple[Donor, ...]] = {}
        self._rekeyed: dict[tuple[int, str], PlannedRequest] = {}
        self._values: dict[str, tuple[str, ...]] = {}
        self._columns: dict[str, set[str]] = defaultdict(set)
        for donor in recorded.donors:
            planned = donor.planned
            self._columns[planned.client] |= donor.columns
            self._values.setdefault(donor.key, tuple(donor.key.split(JOINT)) if donor.key else ())
            own = (planned.client,)
            for client in (own,) if donor.is_private else (own, ()):
                for rest in ((donor.variant, donor.key), (donor.variant,), ("any", donor.key), ()):
                    self._pools[(*client, planned.endpoint, *rest)].donors.append(donor)
            for source in donor.hands:
                self._producers[planned.client, source].append(donor)
                if not donor.is_private:
                    self._producers[None, source].append(donor)

    def choose(self, wanted: Wanted) -> Choice | None:
        """A donor for an event: as near to what is wanted as there is one whose needs can be met; None for none."""
        variant = (wanted.endpoint, wanted.variant)
        open_key = self._origins.list_key(wanted.sender.client, wanted.endpoint)
        found = self._first(wanted, (*variant, wanted.key))
        if found is None and open_key is not None and open_key != wanted.key:
            found = self._first(wanted, (*variant, open_key), pages=True)
        found = found or self._first(wanted, variant, key=wanted.key)
        if found is None:
            other = self._first(wanted, (wanted.endpoint, "any", wanted.key)) or self._first(wanted, (wanted.endpoint,))
            found = other and Choice(other.donor, other.planned, other.origins, other.subject, changed=True)
        return found

    def producer(self, client: str, source: int) -> Donor | None:
        """A request to put in, that hands a source out to a recorded client; None where nothing could be."""
        givers = self._givers_of(client, source)
        return self._dice.choice(givers) if givers else None

    def _givers_of(self, client: str, source: int) -> tuple[Donor, ...]:
        known = (client, source)
        if known not in self._givers:
            self._givers[known] = self._find_givers(client, source, frozenset())
        return self._givers[known]

    def _first(self, wanted: Wanted, name: tuple[object, ...], *, key: str = "", pages: bool = False) -> Choice | None:
        for client in ((wanted.recorded,), ()):
            pool = self._pools.get((*client, *name))
            if pool and (found := self._among(pool, wanted, key, pages=pages)):
                return found
        return None

    def _among(self, pool: _Pool, wanted: Wanted, key: str, *, pages: bool) -> Choice | None:
        """A donor by lot, if its needs can be met; else of those with other needs. Of pages the next one."""
        drawn = self._dice.choice(pool.donors)
        is_page = any(need.kind == CURSOR for need in drawn.needs)
        if not is_page and not pages and (found := self._met(drawn, wanted, key)):
            return found
        best: Choice | None = None
        latest = -1
        for group in pool.groups():
            found = self._met(self._dice.choice(group), wanted, key)
            if found is None:
                continue
            needs = zip(found.donor.needs, found.origins, strict=True)
            page = max((origin for need, origin in needs if need.kind == CURSOR and origin is not None), default=-1)
            if page > latest or (best is None and not pages):
                best, latest = found, page
        return best

    def _met(self, donor: Donor, wanted: Wanted, key: str) -> Choice | None:
        """The donor's request with where its values come from; None where one comes from nowhere."""
        if not donor.columns <= self._columns[wanted.recorded]:
            return None
        planned = self._for_key(donor, key)
        subject = planned.path
        origins: list[int | None] = []
        in_path: dict[Inject, int] = {}
        for need in donor.needs:
            origin = self._origins.find(need, wanted.sender, subject, tuple(in_path.values()))
            if origin is None and (need.kind in _NEVER_PUT_IN or not self._givers_of(wanted.recorded, need.source)):
                return None
            if origin is not None and need.inject.place == "path":
                in_path[need.inject] = origin
                subject = subject_of(planned, in_path)
            origins.append(origin)
        return Choice(donor, planned, tuple(origins), subject)

    def _for_key(self, donor: Donor, key: str) -> PlannedRequest:
        values = self._values.get(key, ())
        if not key or key == donor.key or not self._made.isdisjoint(values):
            return donor.planned
        known = (id(donor), key)
        if known not in self._rekeyed:
            if len(self._rekeyed) >= _KEPT:
                self._rekeyed.clear()
            self._rekeyed[known] = rekey(donor.planned, values)
        return self._rekeyed[known]

    def _find_givers(self, client: str, source: int, asked: frozenset[int]) -> tuple[Donor, ...]:
        """The requests that hand a source out to a client, and need least: nothing that is ``asked`` for already."""
        able: dict[tuple[tuple[int, str], ...], bool] = {}

        def is_able(donor: Donor) -> bool:
            if not donor.columns <= self._columns[client]:
                return False
            needs = tuple((need.source, need.kind) for need in donor.needs)
            if needs not in able:
                able[needs] = all(
                    kind not in _NEVER_PUT_IN
                    and own not in {*asked, source}
                    and self._find_givers(client, own, asked | {source})
                    for own, kind in needs
                )
            return able[needs]

        for whose in (client, None):
            found = [donor for donor in self._producers.get((whose, source), ()) if is_able(donor)]
            if found:
                fewest = min(len(donor.needs) for donor in found)
                return tuple(donor for donor in found if len(donor.needs) == fewest)
        return ()
