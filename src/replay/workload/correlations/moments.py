"""Dates and times in requests that follow the clock: they were 'today' or 'a week ago' when they were sent.

What is always the same date is somebody's birthday, or when an event is: it stays. What moves shows it, over all that
stands at one place of an endpoint's requests:

now       times within minutes of the request's own
today     dates of which at least half are the request's own day
follows   the distances from the request's own time are fewer than the values themselves: every distance comes again
          with other days (or minutes), as those of 'since yesterday' do
range     a date beside one of these in the same requests, by its name the other end (``from``, ``to``) or, over more
          than a day, always as far from it

Dates further than 35 days from the request are none of it.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from replay.traffic import Endpoint
from replay.workload.correlations.dates import Said, read_said
from replay.workload.correlations.links import Traffic
from replay.workload.correlations.values import Value, place_pattern

_WINDOW = timedelta(days=35)
_NOW_S = 300.0
_BIN_S = 120.0
_DAY_S = 86400.0
_LEAST_FOLLOWING = 4
_LEAST_BITS = 0.5
_LEAST_GAIN = 0.25  # of the entropy of the values
_LEAST_NEAR = 0.9
_LEAST_TODAY = 0.5
_FIXED_NAMES = re.compile(r"birth|born|dob|version|expir|valid_(?:from|to|until)|card|iat$|exp$|nbf$")
_END = re.compile(r"(?:^|_)(?:after|before|begin|end|from|gte?|lte?|max|min|since|start|stop|till|to|until)(?:_|$)")
_KINDS = ("path", "query:", "form:", "json:", "xml:", "header:")
_CONDITIONAL = ("header:if-", "header:last-")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that exchange ``exchange`` sends at ``place`` as ``value``, and that moves with the clock.

    ``clock`` is its form (see ``dates``), ``offset_s`` how far it was from the request's start; whole days where the
    form has no time of day that moves.
    """

    exchange: int
    place: str
    value: str
    clock: str
    offset_s: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """A time that was sent: by whom, where, and how far from its own start. ``distance`` is in bins of its form."""

    exchange: int
    value: Value
    said: Said
    offset_s: float

    @property
    def bin_s(self) -> float:
        return _DAY_S if self.said.day else _BIN_S

    @property
    def bin(self) -> int:
        return round(self.said.at.timestamp() / self.bin_s)

    @property
    def distance(self) -> int:
        return round(self.offset_s / self.bin_s)


_Place = tuple[Endpoint, str, str, str]


def find_moments(traffic: Traffic) -> tuple[Moment, ...]:
    """The times in requests that move with the clock, in the order of the requests."""
    places: dict[_Place, list[_Seen]] = defaultdict(list)
    for number, values in enumerate(traffic.sent):
        for value in dict.fromkeys(values):
            if value.place.startswith(_KINDS) and not value.place.startswith(_CONDITIONAL):
                for said in read_said(value.text):
                    offset_s = _offset_s(said, traffic.exchanges[number].at)
                    key = (traffic.endpoints[number], place_pattern(value.place), value.name, said.clock)
                    places[key].append(_Seen(number, value, said, offset_s))
    moving = {place for place, seen in places.items() if _moves(place[2], seen)}
    moving |= _ranges(places, moving)
    found: dict[tuple[int, str, str], Moment] = {}
    for place in sorted(moving, key=lambda place: (-len(places[place]), str(place))):
        for seen in places[place]:
            if abs(seen.offset_s) <= _WINDOW.total_seconds():
                moment = Moment(seen.exchange, seen.value.place, seen.value.text, seen.said.clock, seen.offset_s)
                found.setdefault((moment.exchange, moment.place, moment.value), moment)
    return tuple(sorted(found.values(), key=lambda moment: (moment.exchange, moment.place, moment.value)))


def _offset_s(said: Said, at: datetime) -> float:
    if not said.day:
        return (said.at - at).total_seconds()
    zone = said.at.tzinfo or UTC
    today = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return _DAY_S * round((said.at - today) / timedelta(days=1))


def _moves(name: str, seen: Sequence[_Seen]) -> bool:
    if _FIXED_NAMES.search(name):
        return False
    near = [one for one in seen if abs(one.offset_s) <= _WINDOW.total_seconds()]
    if len(near) < _LEAST_NEAR * len(seen):
        return False
    if near[0].said.day:
        today = sum(one.offset_s == 0 for one in near)
        return today >= _LEAST_TODAY * len(near) or _follows(near)
    now = sum(abs(one.offset_s) <= _NOW_S for one in near if one.said.zoned)
    return now >= _LEAST_NEAR * len(near) or _follows(near)


def _follows(seen: Sequence[_Seen]) -> bool:
    """Whether the distances from the requests' own times say more about the values than the values do by themselves."""
    if len(seen) < _LEAST_FOLLOWING:
        return False
    values, distances = _entropy(one.bin for one in seen), _entropy(one.distance for one in seen)
    return values - distances >= max(_LEAST_BITS, _LEAST_GAIN * values)


def _entropy(bins: Iterable[int]) -> float:
    counts = Counter(bins)
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def _ranges(places: dict[_Place, list[_Seen]], moving: set[_Place]) -> set[_Place]:
    """The places whose dates are the other end of a moving one in the same request."""
    found: set[_Place] = set()
    for place, seen in places.items():
        if place in moving or _FIXED_NAMES.search(place[2]):
            continue
        for other in moving:
            same = other[0] == place[0] and other[3] == place[3]
            if same and _is_other_end((place[2], other[2]), seen, places[other]):
                found.add(place)
    return found


def _is_other_end(names: tuple[str, str], seen: Sequence[_Seen], others: Sequence[_Seen]) -> bool:
    at = {one.exchange: one for one in others}
    if any(one.exchange not in at or abs(one.offset_s) > _WINDOW.total_seconds() for one in seen):
        return False
    if all(_END.search(name) for name in names):
        return True
    apart = {round(one.offset_s - at[one.exchange].offset_s) for one in seen}
    return len(apart) == 1 and len({at[one.exchange].bin for one in seen}) > 1
