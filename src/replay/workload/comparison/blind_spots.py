"""Blind spots: what production does that another capture never tries, with the share of production that it concerns.

Captures have different lengths, so only shares and rates are compared. What the other capture is too small to show
tells nothing and is marked so: fewer than three would be expected in it, were it like production, and fewer than three
among its calls of the same endpoint. Of three expected, chance alone shows none in one case of twenty.

What runs at the same time is compared only where both captures tell it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import pandas as pd

from replay.workload.comparison.differing import find_difference
from replay.workload.profile.profile import START, Profile
from replay.workload.profile.variants import OTHERS

ENOUGH = 3.0  # so many would be expected of a capture as small as the other
RARELY = 0.1  # of production's share
_NEAREST_AMONG = 50
_QUANTILES = (10, 50, 90, 99)
_LARGER = 1.5
_SLOW_S, _SLOWER = 1.0, 3.0


class Kind(StrEnum):
    """What a blind spot is about."""

    ENDPOINT = "endpoint"
    VARIANT = "variant"
    VALUE = "value"
    ORDER = "order"
    CONCURRENCY = "concurrency"
    SAME_KEY = "same key"
    KEYS = "keys"
    HOT_KEY = "hot key"
    RATE = "rate"
    BURST = "burst"
    CLOCK = "clock"
    LARGE = "large response"
    SLOW = "slow response"
    CLIENTS = "clients"
    AGENT = "agent"
    STATUS = "status"
    EMPTY = "empty answer"
    VISIT = "long visit"
    PARALLEL = "side by side"


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """What production does and another capture does not, or hardly.

    ``what`` names it (an endpoint mostly), ``production`` and ``other`` are the two figures in ``unit``, ``share`` is
    the share of production's exchanges that it concerns. ``told`` is False where the other capture is too small to
    tell.
    """

    kind: Kind
    what: str
    production: float
    other: float
    unit: str
    share: float
    sentence: str
    told: bool = True


@dataclass(frozen=True)
class Two:
    """Two captures to be compared, the first being production, with the names that sentences call them by."""

    production: Profile
    other: Profile
    names: tuple[str, str]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How often production called each endpoint."""
        return _column(self.production.endpoints, "count")

    @cached_property
    def other_counts(self) -> dict[str, int]:
        """How often the other capture called each endpoint."""
        return _column(self.other.endpoints, "count")

    @cached_property
    def both(self) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """The endpoints that both call, with what is known of them in each."""
        own, theirs = _records(self.production.endpoints), _records(self.other.endpoints)
        return [(endpoint, row, theirs[endpoint]) for endpoint, row in own.items() if endpoint in theirs]

    @property
    def tell_company(self) -> bool:
        """Whether it is known of both what was under way at the same time."""
        return self.production.timing.tells_company and self.other.timing.tells_company

    def share(self, count: float) -> float:
        """A count as a share of production's exchanges."""
        return count / self.production.exchanges

    def other_share(self, count: float) -> float:
        """A count as a share of the other's exchanges."""
        return count / max(1, self.other.exchanges)

    def told(self, count: float, endpoint: str = "") -> bool:
        """Whether what ``count`` of production's exchanges do would be seen in a capture of the other's size.

        With an ``endpoint`` that they all call, also where it would among the other's calls of that.
        """
        expected = self.share(count) * self.other.exchanges
        if endpoint:
            expected = max(expected, count / self.counts[endpoint] * self.other_counts.get(endpoint, 0))
        return expected >= ENOUGH


def endpoints(two: Two) -> Iterator[BlindSpot]:
    """Endpoints that the other never calls, or hardly ever."""
    for endpoint, count in two.counts.items():
        share, seen = two.share(count), two.other_counts.get(endpoint, 0)
        other_share = two.other_share(seen)
        if seen and other_share > RARELY * share:
            continue
        often = f"calls it for {percent(other_share)} only" if seen else "never calls it"
        sentence = f"{percent(share)} of {two.names[0]} is {endpoint}; {two.names[1]} {often}."
        yield BlindSpot(Kind.ENDPOINT, endpoint, share, other_share, "share", share, sentence, two.told(count))


def variants(two: Two) -> Iterator[BlindSpot]:
    """Requests of a form that the other never sends to the same endpoint, told by the fields that differ."""
    seen = _grouped(two.other.variants, "variant")
    for endpoint, own in _grouped(two.production.variants, "variant").items():
        theirs = seen.get(endpoint)
        if theirs is None:
            continue
        unseen: defaultdict[str, int] = defaultdict(int)
        near = list(theirs)[:_NEAREST_AMONG]
        for variant, count in own.items():
            if variant not in theirs and variant != OTHERS:  # of which nobody knows what they are
                difference = find_difference(variant, near)
                unseen[str(difference) if difference else f"as {variant or 'no body and no query'}"] += count
        for how, count in unseen.items():
            within = count / two.counts[endpoint]
            sentence = f"{percent(within)} of {endpoint} come {how}; {two.names[1]} sends none such."
            yield BlindSpot(
                Kind.VARIANT,
                f"{endpoint} {how}",
                within,
                0.0,
                "share",
                two.share(count),
                sentence,
                two.told(count, endpoint),
            )


def orders(two: Two) -> Iterator[BlindSpot]:
    """An endpoint after another, where the other capture calls both, but never one after the other."""
    pairs = _pairs(two.other.classes)
    for (before, endpoint), count in _pairs(two.production.classes).items():
        known = endpoint in two.other_counts and (before == START or before in two.other_counts)
        if known and (before, endpoint) not in pairs:
            share = two.share(count)
            after = "at the start of a visit" if before == START else f"after {before}"
            sentence = f"{percent(share)} of {two.names[0]} is {endpoint} {after}; never in {two.names[1]}."
            what = f"{before} → {endpoint}"
            yield BlindSpot(Kind.ORDER, what, share, 0.0, "share", share, sentence, two.told(count, endpoint))


def concurrency(two: Two) -> Iterator[BlindSpot]:
    """More requests at once to an endpoint than the other ever sends."""
    if not two.tell_company:
        return
    theirs = _crowds(two.other.classes)
    for endpoint, own in _crowds(two.production.classes).items():
        seen = theirs.get(endpoint)
        count = sum(count for running, count in own.counts.items() if seen and running > max(seen.counts))
        if seen and count:
            sentence = (
                f"Up to {own.most} of {endpoint} run at once; {two.names[1]} has {seen.most} at most. "
                f"{percent(count / two.counts[endpoint])} of them run in such company."
            )
            share, told = two.share(count), two.told(count, endpoint)
            yield BlindSpot(Kind.CONCURRENCY, endpoint, own.most, seen.most, "at once", share, sentence, told)


def same_key(two: Two) -> Iterator[BlindSpot]:
    """Requests to an endpoint for a key that another was under way for."""
    if not two.tell_company:
        return
    theirs = _shared_keys(two.other.classes)
    for endpoint, count in _shared_keys(two.production.classes).items():
        if endpoint not in two.other_counts:
            continue
        within = count / two.counts[endpoint]
        other = theirs.get(endpoint, 0) / two.other_counts[endpoint]
        if other <= RARELY * within:
            often = f"only {percent(other)} in" if other else "never in"
            sentence = (
                f"{percent(within)} of {endpoint} come while another for the same key is under way; "
                f"{often} {two.names[1]}."
            )
            share, told = two.share(count), two.told(count, endpoint)
            yield BlindSpot(Kind.SAME_KEY, endpoint, within, other, "share", share, sentence, told)


def responses(two: Two) -> Iterator[BlindSpot]:
    """Statuses, empty answers, sizes and times that the other never got."""
    for endpoint, own, theirs in two.both:
        for status, count in own["statuses"].items():
            if status not in theirs["statuses"]:
                within = count / own["count"]
                answer = "get no answer" if status == "none" else f"are answered {status}"
                sentence = f"{percent(within)} of {endpoint} {answer}; none in {two.names[1]}."
                share, told = two.share(count), two.told(count, endpoint)
                yield BlindSpot(Kind.STATUS, f"{endpoint} {status}", within, 0.0, "share", share, sentence, told)
        if own["empty"] and not theirs["empty"]:
            within = own["empty"] / own["count"]
            sentence = f"{percent(within)} of {endpoint} come back empty; none in {two.names[1]}."
            share, told = two.share(own["empty"]), two.told(own["empty"], endpoint)
            yield BlindSpot(Kind.EMPTY, endpoint, within, 0.0, "share", share, sentence, told)
        yield from _large(two, endpoint, own, theirs)
        yield from _slow(two, endpoint, own, theirs)


def _large(two: Two, endpoint: str, own: dict[str, Any], theirs: dict[str, Any]) -> Iterator[BlindSpot]:
    most = theirs["size_most_bytes"]
    q = _first_above(own, "size_p{}_bytes", _LARGER * most) if most else None  # else sizes are not known
    if q:
        figures = own["size_p99_bytes"], most
        sentence = (
            f"{_at_least(q)} of {endpoint} get more than {most:,} bytes, the most that {two.names[1]} got "
            f"(p99 {figures[0]:,.0f})."
        )
        count = (100 - q) / 100 * own["count"]
        share, told = two.share(count), two.told(count, endpoint)
        yield BlindSpot(Kind.LARGE, endpoint, *figures, "bytes", share, sentence, told)


def _slow(two: Two, endpoint: str, own: dict[str, Any], theirs: dict[str, Any]) -> Iterator[BlindSpot]:
    """What takes long holds what it works on, whatever the machine: only such times are compared."""
    usual = theirs["duration_p99_s"]
    bound = max(_SLOW_S, _SLOWER * usual)
    q = _first_above(own, "duration_p{}_s", bound) if usual > 0 else None  # else times are not known
    if q:
        figures = own["duration_p99_s"], usual
        sentence = (
            f"{_at_least(q)} of {endpoint} take more than {bound:,.2g} s (p99 {figures[0]:,.2g} s); "
            f"p99 {figures[1]:,.2g} s in {two.names[1]}."
        )
        count = (100 - q) / 100 * own["count"]
        share, told = two.share(count), two.told(count, endpoint)
        yield BlindSpot(Kind.SLOW, endpoint, *figures, "s", share, sentence, told)


def _first_above(own: dict[str, Any], column: str, bound: float) -> int | None:
    """The lowest of the quantiles that is above a bound."""
    return next((q for q in _QUANTILES if own[column.format(q)] > bound), None)


def percent(share: float) -> str:
    """A share as people write it."""
    if share in {0, 1}:
        return f"{share:.0%}"
    if share < 0.001:
        return "<0.1%"
    return ">99.9%" if share > 0.999 else f"{share:.1%}"


def _at_least(quantile: int) -> str:
    return f"At least {100 - quantile}%"


def _column(rows: pd.DataFrame, name: str) -> dict[str, int]:
    return {str(key): int(value) for key, value in zip(rows["endpoint"], rows[name], strict=True)}


def _records(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(row["endpoint"]): {str(key): value for key, value in row.items()} for row in rows.to_dict("records")}


def _grouped(rows: pd.DataFrame, name: str) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for endpoint, value, count in zip(rows["endpoint"], rows[name], rows["count"], strict=True):
        found[endpoint][value] = found[endpoint].get(value, 0) + int(count)
    return found


def _pairs(classes: pd.DataFrame) -> dict[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter()
    for before, endpoint, count in zip(classes["before"], classes["endpoint"], classes["count"], strict=True):
        counts[before, endpoint] += int(count)
    return counts


@dataclass(slots=True)
class _Crowd:
    """How many of an endpoint's requests ran in each class of company, and the most at once."""

    counts: Counter[int] = field(default_factory=Counter)
    most: int = 0


def _crowds(classes: pd.DataFrame) -> dict[str, _Crowd]:
    crowds: defaultdict[str, _Crowd] = defaultdict(_Crowd)
    for row in classes.to_dict("records"):
        crowd = crowds[row["endpoint"]]
        crowd.counts[int(row["running"])] += int(row["count"])
        crowd.most = max(crowd.most, int(row["most_running"]))
    return crowds


def _shared_keys(classes: pd.DataFrame) -> dict[str, int]:
    shared = classes[classes["same_key"].astype(bool)]
    counts: Counter[str] = Counter()
    for endpoint, count in zip(shared["endpoint"], shared["count"], strict=True):
        counts[endpoint] += int(count)
    return counts
