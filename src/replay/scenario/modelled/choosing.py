"""Which recorded request a modelled event takes for its own, such that all it needs can be had."""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from replay.scenario.modelled.donors import CURSOR, JOINT, VALIDATOR, Donor, Need, Recorded
from replay.scenario.modelled.givers import NEVER_PUT_IN, Givers
from replay.scenario.modelled.origins import Choice, Listing, Origins, Sender
from replay.scenario.modelled.rekey import rekey
from replay.scenario.schedule import PlannedRequest

_GOING_ON = frozenset({CURSOR, VALIDATOR})
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


@dataclass(slots=True)
class _Pool:
    """Donors that can stand for each other, also by what they need."""

    donors: list[Donor] = field(default_factory=list)
    _groups: list[list[Donor]] = field(default_factory=list)
    _of_list: dict[str, list[list[Donor]]] = field(default_factory=lambda: defaultdict(list))

    def groups(self, asked: str) -> Sequence[list[Donor]]:
        """The donors by what they need: those that go on with a list, then the most frequent."""
        if not self._groups:
            found: dict[object, list[Donor]] = defaultdict(list)
            for donor in self.donors:
                found[donor.signature].append(donor)
            self._groups = sorted(found.values(), key=len, reverse=True)[:_MOST_GROUPS]
            for group in found.values():
                for need in group[0].needs:
                    if need.asked:
                        self._of_list[need.asked].append(group)
        return (*self._of_list.get(asked, ()), *self._groups)


class Chooser:
    """Finds donors. A login goes to its own client, all else to anybody who has the credentials for it."""

    def __init__(self, recorded: Recorded, origins: Origins, dice: random.Random) -> None:
        self._origins = origins
        self._dice = dice
        self._made = recorded.made
        self._pools: dict[tuple[object, ...], _Pool] = defaultdict(_Pool)
        self._givers = Givers(recorded.donors)
        self._leads: dict[tuple[str, int], int] = {}
        self._goes_on: dict[tuple[int, str, int, str], list[Donor]] = defaultdict(list)
        self._rekeyed: dict[tuple[int, str], PlannedRequest] = {}
        self._values: dict[str, tuple[str, ...]] = {}
        for donor in recorded.donors:
            planned = donor.planned
            self._values.setdefault(donor.key, tuple(donor.key.split(JOINT)) if donor.key else ())
            own = (planned.client,)
            for client in (own,) if donor.is_private else (own, ()):
                for rest in ((donor.variant, donor.key), (donor.variant,), ("any", donor.key), ()):
                    self._pools[(*client, planned.endpoint, *rest)].donors.append(donor)
            for need in donor.needs:
                if need.listed:
                    self._leads[planned.endpoint, donor.variant] = need.source
                if donor.hands and need.kind not in NEVER_PUT_IN and need.inject.origin is not None:
                    self._goes_on[_going_on(need.inject.origin, donor)].append(donor)

    def choose(self, wanted: Wanted) -> Choice | None:
        """A donor for an event: as near to what is wanted as there is one whose needs can be met; None for none."""
        variant = (wanted.endpoint, wanted.variant)
        listing = self._listing(wanted)
        found = self._first(wanted, (*variant, wanted.key))
        if found is None and listing is not None and listing.key != wanted.key:
            found = self._first(wanted, (*variant, listing.key), listed=True)
            found = found or self._first(wanted, variant, key=listing.key, listed=True)
        found = found or self._first(wanted, variant, key=wanted.key)
        if found is None:
            any_variant = (wanted.endpoint, "any")
            other = self._first(wanted, (*any_variant, listing.key), listed=True) if listing else None
            other = other or self._first(wanted, (*any_variant, wanted.key)) or self._first(wanted, (wanted.endpoint,))
            found = other and dataclasses.replace(other, changed=True)
        return found

    def producer(self, client: str, need: Need) -> tuple[str, Donor] | None:
        """A request to put in for what a recorded client needs, and who sends it; None where nothing could be."""
        return self._givers.choose(client, need, self._dice)

    def _listing(self, wanted: Wanted) -> Listing | None:
        """What the client has opened last of what an event goes on with: a list, or a thing to be changed."""
        source = self._leads.get((wanted.endpoint, wanted.variant))
        return None if source is None else self._origins.listing(wanted.sender.client, source)

    def _first(self, wanted: Wanted, name: tuple[object, ...], *, key: str = "", listed: bool = False) -> Choice | None:
        for client in ((wanted.recorded,), ()):
            pool = self._pools.get((*client, *name))
            if pool and (found := self._among(pool, wanted, key, listed=listed)):
                return found
        return None

    def _among(self, pool: _Pool, wanted: Wanted, key: str, *, listed: bool) -> Choice | None:
        """A donor by lot, if its needs can be met; else of those with other needs. Of pages the next one.

        With ``listed`` it is only one that goes on with what is open.
        """
        drawn = self._dice.choice(pool.donors)
        is_page = any(need.kind == CURSOR for need in drawn.needs)
        if not is_page and not listed and (found := self._met(drawn, wanted, key)):
            return self._together(found, wanted, key) or found
        listing = self._listing(wanted)
        best: Choice | None = None
        latest = -1
        for group in pool.groups(listing.asked if listing else ""):
            found = self._met(self._dice.choice(group), wanted, key)
            if found is None:
                continue
            needs = zip(found.donor.needs, found.origins, strict=True)
            page = max((origin for need, origin in needs if need.kind in _GOING_ON and origin is not None), default=-1)
            if page > latest or (best is None and not listed):
                best, latest = found, page
        return best

    def _together(self, choice: Choice, wanted: Wanted, key: str) -> Choice | None:
        """The same step of the login that the choice's origins are steps of, where it is one of another."""
        for need, origin in zip(choice.donor.needs, choice.origins, strict=True):
            if not choice.donor.hands or origin is None or need.kind in NEVER_PUT_IN:
                continue
            began = self._origins.donor(origin).planned.request
            for donor in self._goes_on.get(_going_on(began, choice.donor), ())[:1]:
                if donor.planned.client == wanted.recorded or not donor.is_private:
                    return self._met(donor, wanted, key)
        return None

    def _met(self, donor: Donor, wanted: Wanted, key: str) -> Choice | None:
        """The donor's request with where its values come from; None where one comes from nowhere."""
        if not donor.columns <= self._givers.columns[wanted.recorded]:
            return None
        planned = self._for_key(donor, key)
        origins, subject = self._origins.meet(donor, planned, wanted.sender)
        for need, origin in zip(donor.needs, origins, strict=True):
            if origin is None and (need.kind in NEVER_PUT_IN or not self._givers.has(wanted.recorded, need)):
                return None
        return Choice(donor, planned, origins, subject, donor.key if planned is donor.planned else key)

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


def _going_on(began: int, donor: Donor) -> tuple[int, str, int, str]:
    """What the recorded request ``began`` goes on with, where ``donor`` is like that."""
    return began, donor.planned.endpoint, donor.variant, donor.key
