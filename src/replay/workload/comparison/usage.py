"""Blind spots in who sends, how unevenly, when, and for how long. See ``blind_spots``."""

import re
from collections.abc import Iterator

from replay.workload.comparison.blind_spots import ENOUGH, RARELY, BlindSpot, Kind, Two, percent
from replay.workload.comparison.spread import Spread
from replay.workload.profile.popularity import Popularity

_FEW = 20  # values that can be listed
_WORD = re.compile(r"-?\d{1,4}|[A-Za-z][\w.-]{0,15}")  # rather a choice than an id
_FEWER = 0.5  # of the values that are to be expected
_HOT, _HOTTER = 0.02, 2.0
_BURSTY, _BURSTIER = 1.5, 2.0
_HEAVY = 2.0  # the exponent below which a tail is heavy
_FEWEST_TURNS = 5
_PERIODS_S = {"each minute": 60, "each hour": 3600}
_MOST_LISTED = 5


def keys(two: Two) -> Iterator[BlindSpot]:
    """Parameters of which the other uses few values, never some, or none as hot as production's."""
    theirs = {(one.endpoint, one.parameter): one for one in two.other.parameters}
    for own in two.production.parameters:
        other = theirs.get((own.endpoint, own.parameter))
        if other is not None:
            yield from _of_parameter(two, own, other)


def _of_parameter(two: Two, own: Popularity, other: Popularity) -> Iterator[BlindSpot]:
    spread, seen = Spread.of_parameter(own), Spread.of_parameter(other)
    what = f"{own.parameter} of {own.endpoint}"
    expected = spread.values_in(other.requests)
    if other.values < _FEWER * expected:
        share = two.share(spread.beyond(other.values) * own.requests)
        sentence = (
            f"{what} has {_of(other.values, 'value')} in {two.names[1]}, where as many requests of {two.names[0]} have "
            f"about {expected:,.0f}."
        )
        yield BlindSpot(Kind.KEYS, what, expected, other.values, "values", share, sentence, expected >= ENOUGH)
    elif own.parameter.startswith("?") and own.values <= _FEW:
        yield from _values(two, own, other)
    if own.values > 1 and spread.hottest >= max(_HOT, _HOTTER * seen.hottest):
        value = own.top[0][0]
        sentence = (
            f"{percent(spread.hottest)} of {what} is one value ({value}); the hottest has {percent(seen.hottest)} in "
            f"{two.names[1]}."
        )
        told = spread.hottest * other.requests >= ENOUGH
        share = two.share(own.top[0][1])
        yield BlindSpot(Kind.HOT_KEY, what, spread.hottest, seen.hottest, "share", share, sentence, told)


def _values(two: Two, own: Popularity, other: Popularity) -> Iterator[BlindSpot]:
    seen = {value for value, _ in other.top}
    unseen = [(value, count) for value, count in own.top if value not in seen and _WORD.fullmatch(value)]
    if not unseen or other.values > len(seen):
        return
    count = sum(count for _, count in unseen)
    within = count / own.requests
    listed = ", ".join(value for value, _ in unseen[:_MOST_LISTED]) + ("..." if len(unseen) > _MOST_LISTED else "")
    what = f"{own.parameter} of {own.endpoint}"
    sentence = f"{percent(within)} of {what} is {listed}; never in {two.names[1]}."
    share, told = two.share(count), two.told(count, own.endpoint)
    yield BlindSpot(Kind.VALUE, what, within, 0.0, "share", share, sentence, told)


def clients(two: Two) -> Iterator[BlindSpot]:
    """More clients, busier ones, and programs or versions of them that the other has not."""
    own, seen = Spread.of(two.production.client_counts), Spread.of(two.other.client_counts)
    expected = own.values_in(two.other.exchanges)
    if len(seen.top) < _FEWER * expected:
        sentence = (
            f"{two.names[0]} has {_of(len(own.top), 'client')} (about {expected:,.0f} in as many exchanges as "
            f"{two.names[1]} has), {two.names[1]} {len(seen.top):,}."
        )
        share = own.beyond(len(seen.top))
        yield BlindSpot(
            Kind.CLIENTS, "clients", len(own.top), len(seen.top), "clients", share, sentence, expected >= ENOUGH
        )
    tail, other_tail = two.production.tail, two.other.tail
    if tail is not None and tail < _HEAVY and (other_tail is None or other_tail >= _HEAVY):
        busiest = 1 - own.beyond(max(1, len(own.top) // 10))
        sentence = (
            f"The busiest tenth of {two.names[0]}'s clients sends {percent(busiest)}: a heavy tail, as "
            f"{two.names[1]} has none."
        )
        yield BlindSpot(
            Kind.CLIENTS,
            "busiest clients",
            tail,
            other_tail or 0.0,
            "exponent",
            busiest,
            sentence,
            other_tail is not None,
        )
    yield from _agents(two)


def _agents(two: Two) -> Iterator[BlindSpot]:
    seen = set(two.other.agents["agent"])
    programs = {agent.partition("/")[0] for agent in seen}
    for agent, count in zip(two.production.agents["agent"], two.production.agents["count"], strict=True):
        if agent and agent not in seen:
            share = two.share(int(count))
            other = "has other versions of it only" if agent.partition("/")[0] in programs else "does not have it"
            sentence = f"{percent(share)} of {two.names[0]} comes from {agent}; {two.names[1]} {other}."
            yield BlindSpot(Kind.AGENT, agent, share, 0.0, "share", share, sentence, two.told(int(count)))


def arrivals(two: Two) -> Iterator[BlindSpot]:
    """Rates, bursts and peaks by the clock that the other never has."""
    own, other = two.production.arrivals, two.other.arrivals
    arrived = sum(own.series)
    above = sum(rate for rate in own.series if rate > other.highest_per_s)
    if above:
        share = above / arrived
        sentence = (
            f"{percent(share)} of {two.names[0]} comes at a rate that {two.names[1]} never has: its highest second has "
            f"{other.highest_per_s:,} requests, {two.names[0]}'s {own.highest_per_s:,}."
        )
        figures = own.highest_per_s, other.highest_per_s
        yield BlindSpot(Kind.RATE, "highest second", *figures, "per second", share, sentence, bool(two.other.exchanges))
    for window_s, index in own.dispersion.items():
        seen = other.dispersion.get(window_s)
        if index > _BURSTY and index >= _BURSTIER * (seen or 0.0):
            share = sum(max(0.0, rate - own.mean_per_s) for rate in own.series) / arrived
            told = f"{seen:.2g}" if seen is not None else "too short to tell"
            sentence = (
                f"Counts in {window_s} s vary {index:.2g} times as much as chance would have it (index of dispersion); "
                f"{two.names[1]}: {told}."
            )
            what = f"bursts in {window_s} s"
            yield BlindSpot(Kind.BURST, what, index, seen or 0.0, "index", share, sentence, seen is not None)
    peaks = {(peak.clock, peak.phase_s) for peak in other.peaks}
    for peak in own.peaks:
        if (peak.clock, peak.phase_s) not in peaks:
            period_s = _PERIODS_S[peak.clock]
            share = min(1.0, peak.ratio / (period_s - 1 + peak.ratio))
            where = (
                f"{peak.clock} at second {peak.phase_s}"
                if period_s == 60
                else f"{peak.clock} at {_clock(peak.phase_s)}"
            )
            sentence = f"{peak.ratio:.2g} times as much as usual comes {where}; not in {two.names[1]}."
            long_enough = two.other.duration_s >= _FEWEST_TURNS * period_s
            yield BlindSpot(Kind.CLOCK, where, peak.ratio, 1.0, "times", share, sentence, long_enough)


def visits(two: Two) -> Iterator[BlindSpot]:
    """Visits longer than any of the other's, and what a client sends side by side."""
    own, other = two.production.sittings, two.other.sittings
    longest = max(other.lengths, default=0)
    beyond = sum(length * count for length, count in own.lengths.items() if length > longest)
    if beyond:
        share = two.share(beyond)
        most = max(own.lengths)
        sentence = f"Visits have up to {_of(most, 'exchange')}, in {two.names[1]} {longest:,} at most."
        lasting = two.other.duration_s >= own.duration_s.get(0.9, 0.0)
        yield BlindSpot(Kind.VISIT, "long visits", most, longest, "exchanges", share, sentence, lasting and longest > 0)
    if two.tell_company and own.side_by_side and other.side_by_side <= RARELY * own.side_by_side:
        sentence = (
            f"{percent(own.side_by_side)} of {two.names[0]} is sent while another request of the same client is under "
            f"way; {percent(other.side_by_side)} in {two.names[1]}."
        )
        share = own.side_by_side
        told = two.told(share * two.production.exchanges)
        yield BlindSpot(
            Kind.PARALLEL, "requests side by side", share, other.side_by_side, "share", share, sentence, told
        )


def _of(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _clock(phase_s: int) -> str:
    return f"{phase_s // 60:02}:{phase_s % 60:02}"
