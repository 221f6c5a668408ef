"""Which recorded requests could be put in, so that their answers hand out what nothing before does."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from replay.scenario.modelled.donors import CREATED, CURSOR, VALIDATOR, Donor, Need

NEVER_PUT_IN = frozenset({CREATED, CURSOR, VALIDATOR})
_OWN, _OTHERS = 1, 1_000  # what a request costs: a client's own history goes before that of all others,
_HANDED_OVER = 1_000_000_000  # and what somebody hands over comes last

_Asks = tuple[int, frozenset[int], frozenset[str]]  # the source handed out, those needed for it, and the credentials


@dataclass(slots=True)
class _Group:
    """Requests that hand out the same, and need the same for it."""

    cost: int
    asks: _Asks
    donors: list[Donor]

    def has(self, donor: Donor, client: str) -> bool:
        """Whether a request is one of these, for a client."""
        own = donor.planned.client == client if self.cost == _OWN else not donor.is_private
        return own and self.asks in _asked(donor)

    def price(self, costs: dict[int, float]) -> float:
        """What it costs to put one in, with all that has to be put in before it."""
        return self.cost + sum(costs.get(source, math.inf) for source in self.asks[1])


class Givers:
    """For each client and source, the requests that could be put in with the fewest others before them.

    What they need in turn costs less than they do, so whoever puts that in as well comes to an end. Who is handed
    something over by another client in the capture can be so again. ``columns`` has the credentials of each client.
    """

    def __init__(self, donors: Sequence[Donor]) -> None:
        self.columns: dict[str, set[str]] = defaultdict(set)
        self._donors = donors
        self._of_client: dict[str, dict[_Asks, _Group]] = defaultdict(dict)
        self._of_anybody: dict[_Asks, _Group] = {}
        self._alone: dict[str, dict[int, list[_Group]]] = {}
        self._found: dict[str, dict[int, list[_Group]]] = {}
        self._over: dict[int, dict[str, None]] = defaultdict(dict)
        self._takes: dict[str, set[int]] = defaultdict(set)
        for donor in donors:
            client = donor.planned.client
            self.columns[client] |= donor.columns
            for need in donor.needs:
                if need.whose:
                    self._over[need.source][need.whose] = None
                    self._takes[client].add(need.source)
            for asks in _asked(donor):
                self._of_client[client].setdefault(asks, _Group(_OWN, asks, [])).donors.append(donor)
                if not donor.is_private:
                    self._of_anybody.setdefault(asks, _Group(_OTHERS, asks, [])).donors.append(donor)

    def has(self, client: str, need: Need) -> bool:
        """Whether what is needed could be handed out to a client by what is put in."""
        return self._able(client, need) is not None

    def choose(self, client: str, need: Need, dice: random.Random) -> tuple[str, Donor] | None:
        """A request to put in for a need, and the client to send it: the same, or who hands it over to that.

        It is the one that the need was met by in the capture, if that will do, or one by lot.
        """
        able = self._able(client, need)
        if able is None:
            return None
        who, groups = able
        recorded = None if need.inject.origin is None else self._donors[need.inject.origin]
        if recorded and any(group.has(recorded, who) for group in groups):
            return who, recorded
        (group,) = dice.choices(groups, [len(group.donors) for group in groups])
        return who, dice.choice(group.donors)

    def _able(self, client: str, need: Need) -> tuple[str, list[_Group]] | None:
        if client not in self._found:
            over = {source: _HANDED_OVER for source in self._takes[client] if self._is_given(source)}
            self._found[client] = self._cheapest(client, over)
        if groups := self._found[client].get(need.source):
            return client, groups
        if need.source not in self._takes[client]:
            return None
        whose = need.whose or next(iter(self._over[need.source]))
        groups = self._of(whose).get(need.source)
        return (whose, groups) if groups else None

    def _is_given(self, source: int) -> bool:
        """Whether all that hand a source over in the capture can be handed it."""
        return all(source in self._of(client) for client in self._over[source])

    def _of(self, client: str) -> dict[int, list[_Group]]:
        """What could be put in for a client that nobody hands anything over to."""
        if client not in self._alone:
            self._alone[client] = self._cheapest(client, {})
        return self._alone[client]

    def _cheapest(self, client: str, over: Mapping[int, float]) -> dict[int, list[_Group]]:
        groups = [*self._of_client[client].values(), *self._of_anybody.values()]
        able = [group for group in groups if group.asks[2] <= self.columns[client]]
        costs = dict(over)
        fell = True
        while fell:  # each round settles one more source, at least
            fell = False
            for group in able:
                price = group.price(costs)
                if price < costs.get(group.asks[0], math.inf):
                    costs[group.asks[0]] = price
                    fell = True
        found: dict[int, list[_Group]] = defaultdict(list)
        for group in able:
            if group.price(costs) == costs.get(group.asks[0]):
                found[group.asks[0]].append(group)
        return dict(found)


def _asked(donor: Donor) -> Iterator[_Asks]:
    """What a request can be put in for, by source; nothing where it needs what cannot be."""
    if not any(need.kind in NEVER_PUT_IN for need in donor.needs):
        needed = frozenset(need.source for need in donor.needs)
        yield from ((source, needed, donor.columns) for source in donor.hands)
