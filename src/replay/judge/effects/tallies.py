"""Events of an endpoint (failures, slow answers) counted so that bursts weigh little, and added up over pairs of arms.

Failures come in bursts, and a test that counts them calls a burst an effect. What a step did shows in many blocks of
time. So the unit is a block of two seconds: its events count up to what is usual for the endpoint and not beyond, which
leaves a burst of any size one or two marks. How much the marks still scatter is measured over blocks of several
lengths, since what disturbs a Stage may last longer than two seconds; the length where it is worst counts.

Failures also keep to a few clients, and how many requests these have left is chance. They are counted in two ways: all
of them, with their scatter among the clients of the reference (not among those of the window: a step that breaks one
kind of client is no chance); and *spread*, each client up to what is usual, so that one who fails anyway does not hide
that all others do now.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from replay.judge.arrays import Counts, Flags, Rows, Times
from replay.judge.statistics import more_failures_p

TALLY_BLOCK_S = 2.0
_CALM = 0.9  # the share of the blocks that say what is usual: those with the fewest events
_ABOVE = 1.5  # a block, or a client, counts up to so many standard deviations more than that, and one


@dataclass(frozen=True, slots=True)
class Counting:
    """How events are counted: up to ``least`` in any block, and their scatter over so many blocks at a time.

    ``by_client`` asks for the scatter among clients too, ``spread`` counts each client up to what is usual.
    """

    least: float
    scales: tuple[int, ...]
    by_client: bool = False
    spread: bool = False


# Latency is correlated over longer times than failures, and slow answers are never quite rare. Whose answers are slow
# anyway has them slow in both arms.
FAILURES = Counting(least=1.0, scales=(1, 2), by_client=True)
SPREAD = Counting(least=1.0, scales=(1, 2), spread=True)
SLOW = Counting(least=2.0, scales=(1, 2, 5))


@dataclass(frozen=True, slots=True)
class Tally:
    """A window of a steps arm against all that was without the steps. Two of them add up to that of both pairs.

    ``marks`` are capped events among ``requests``, ``reference`` those among ``n_reference``; ``excess`` is how many
    more events there were than expected, none capped. ``before`` and ``n_before`` are those of the same arm before the
    steps, which the reference has too. ``scatter`` has, for each scale, Pearson's chi2 and its degrees of freedom, and
    for clients the variance of the sum and what it would be without clusters.
    """

    marks: float
    requests: float
    reference: float
    n_reference: float
    excess: float
    before: float
    n_before: float
    scatter: tuple[tuple[float, float], ...]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.marks + other.marks,
            self.requests + other.requests,
            self.reference + other.reference,
            self.n_reference + other.n_reference,
            self.excess + other.excess,
            self.before + other.before,
            self.n_before + other.n_before,
            _sum((self.scatter, other.scatter)),
        )

    @property
    def phi(self) -> float:
        """The dispersion where it is worst, 1 or more: chi2 by its degrees of freedom, or clients' design effect."""
        return max([1.0, *(found / usual for found, usual in self.scatter if usual)])

    def rises(self, ratio: float = 1.0) -> bool:
        """Whether the rate is ``ratio`` times what it was before in the same arm: no more of an arm that was worse."""
        return self.marks * self.n_before >= ratio * self.before * self.requests

    def p_value(self, ratio: float = 1.0) -> float:
        """One-sided p of so many marks if the rate were up to ``ratio`` times the reference's."""
        return more_failures_p(self.marks, ratio * self.requests, self.reference, self.n_reference, self.phi)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Events and requests of one arm, or a part of it, by block. ``clients`` is what `clustered` says of all of it."""

    events: Counts
    requests: Counts
    clients: tuple[float, float] = (0.0, 0.0)

    def part(self, first: int, stop: int) -> "Blocks":
        """The blocks from ``first`` to before ``stop``, without a word of clients."""
        return Blocks(self.events[first:stop], self.requests[first:stop])


def in_blocks(at_s: Times, events: Flags, from_s: float = 0.0, clients: Rows | None = None) -> Blocks:
    """The events among requests by blocks of two seconds from ``from_s`` on; what is earlier is in the first.

    ``at_s`` (arm seconds), ``events`` (which of the requests are one) and ``clients`` (a number each, 0 or more; where
    these are not given, nothing is said of them) are (n,). There are as many blocks as reach to the last request.
    """
    block: Rows = np.maximum(np.floor((at_s - from_s) / TALLY_BLOCK_S), 0.0).astype(np.int64)
    requests = np.bincount(block)
    by_block = np.bincount(block[events], minlength=len(requests)).astype(np.float64)
    told = (0.0, 0.0) if clients is None else clustered(_once(events, clients, block), clients)
    return Blocks(by_block, requests.astype(np.float64), told)


def _once(events: Flags, clients: Rows, block: Rows) -> Flags:
    """One event of each client in each block: a burst of one client is no cluster, as a block's count is capped too."""
    hits = np.flatnonzero(events)
    cells = clients[hits] * (int(block.max(initial=0)) + 1) + block[hits]
    once = np.zeros(len(events), dtype=np.bool_)
    once[hits[np.unique(cells, return_index=True)[1]]] = True
    return once


def clustered(events: Flags, clients: Rows) -> tuple[float, float]:
    """(variance of the number of events as clients cluster them, what it would be for independent ones).

    Their ratio is the design effect that counts are divided by: Rao and Scott, *A simple method for the analysis of
    clustered binary data* (Biometrics 1992). Both are 0 where there is nothing to tell it by. Arrays are (n,).
    """
    total, n = float(events.sum()), float(len(events))
    if total < 2 or total == n:
        return (0.0, 0.0)
    asked = np.bincount(clients)
    failed = np.bincount(clients[events], minlength=len(asked))
    apart, several = failed - asked * (total / n), float((asked > 0).sum())
    if several < 2:
        return (0.0, 0.0)
    return (several / (several - 1.0) * float((apart**2).sum()), total * (1.0 - total / n))


@dataclass(frozen=True, slots=True)
class Part:
    """Requests of one arm: when each was asked (arm seconds), which are events, and whose they are (a number)."""

    at_s: Times
    events: Flags
    clients: Rows


def in_windows(
    counting: Counting, reference: Sequence[Part], later: Part, from_s: float, windows: Mapping[str, tuple[int, int]]
) -> dict[str, Tally]:
    """A tally of each window of ``later`` against the ``reference``, see `tallies`; blocks begin at ``from_s``."""
    parts = [*reference, later]
    if counting.spread:
        length_s = float(np.ptp(later.at_s)) if len(later.at_s) else 0.0
        kept = spread([(part.events, _in_pieces(part, length_s)) for part in parts])
        parts = [dataclasses.replace(part, events=one) for part, one in zip(parts, kept, strict=True)]
    quiet = [
        in_blocks(part.at_s, part.events, clients=part.clients if counting.by_client else None) for part in parts[:-1]
    ]
    since = in_blocks(later.at_s, parts[-1].events, from_s)
    return dict(zip(windows, tallies(counting, quiet, since, list(windows.values())), strict=True))


def _in_pieces(part: Part, length_s: float) -> Rows:
    """Whose each request is, as another client in each piece of so many seconds.

    What a client counts up to depends little on how much it asks, so a long part must not have it once where a short
    one has it once too.
    """
    if length_s <= 0.0 or not len(part.at_s):
        return part.clients
    piece = np.floor((part.at_s - part.at_s.min()) / length_s).astype(np.int64)
    whose: Rows = part.clients + (int(part.clients.max()) + 1) * piece
    return whose


def failures_in_windows(
    reference: Sequence[Part], later: Part, from_s: float, windows: Mapping[str, tuple[int, int]]
) -> dict[str, Tally]:
    """The tallies of failures, both of all of them and of those that are spread over clients."""
    of_all = in_windows(FAILURES, reference, later, from_s, windows)
    if not later.events.any():
        return of_all
    over_clients = in_windows(SPREAD, reference, later, from_s, windows)
    return of_all | {f"{name}, over clients": one for name, one in over_clients.items()}


def spread(parts: Sequence[tuple[Flags, Rows]]) -> list[Flags]:
    """The events of each part (which of its requests are one, whose requests these are) without what clients have more.

    A client counts up to what is usual for so many requests, as a block does; of those that have more the rest is left
    out evenly.
    """
    cells = [_of_clients(events, clients) for events, clients in parts]
    rate = _usual_rate(cells)
    return [
        _thinned(events, clients, _most(cell.requests, rate, 1.0))
        for (events, clients), cell in zip(parts, cells, strict=True)
    ]


def _of_clients(events: Flags, clients: Rows) -> Blocks:
    requests = np.bincount(clients).astype(np.float64)
    return Blocks(np.bincount(clients[events], minlength=len(requests)).astype(np.float64), requests)


def _thinned(events: Flags, clients: Rows, most: Counts) -> Flags:
    hits = np.flatnonzero(events)
    hits = hits[np.argsort(clients[hits], kind="stable")]
    whose = clients[hits]
    found = np.bincount(whose, minlength=len(most))
    rank = np.arange(len(hits)) - (np.cumsum(found) - found)[whose]
    allowed = np.minimum(most, found)[whose]
    share = allowed / found[whose]
    kept = np.floor((rank + 1) * share + 0.5) > np.floor(rank * share + 0.5)
    thinned = np.zeros(len(events), dtype=np.bool_)
    thinned[hits[kept]] = True
    return thinned


def tallies(
    counting: Counting, reference: Sequence[Blocks], later: Blocks, windows: Sequence[tuple[int, int]]
) -> list[Tally]:
    """A tally of each window (first block, stop) of ``later`` against the ``reference``.

    This has a part or more, of which the last is the same arm before the steps.
    """
    rate = _usual_rate([*reference, later])
    quiet = [_capped(counting, blocks, rate) for blocks in reference]
    capped = _capped(counting, later, rate)
    scatter = _sum([_scatter(counting, blocks) for blocks in quiet])
    clients = _sum([(blocks.clients,) for blocks in reference])
    events = sum(float(blocks.events.sum()) for blocks in reference)
    marks = sum(float(blocks.events.sum()) for blocks in quiet)
    asked = sum(float(blocks.requests.sum()) for blocks in quiet)
    before = float(quiet[-1].events.sum()), float(quiet[-1].requests.sum())
    found = []
    for first, stop in windows:
        here = capped.part(first, stop)
        requests = float(here.requests.sum())
        found.append(
            Tally(
                marks=float(here.events.sum()),
                requests=requests,
                reference=marks,
                n_reference=asked,
                excess=float(later.events[first:stop].sum()) - events * requests / max(1.0, asked),
                before=before[0],
                n_before=before[1],
                scatter=_sum((scatter, _scatter(counting, here))) + clients,
            )
        )
    return found


def _usual_rate(parts: Sequence[Blocks]) -> float:
    """Events a request in the blocks, or of the clients, that have the fewest."""
    events = np.concatenate([one.events for one in parts])
    requests = np.concatenate([one.requests for one in parts])
    events, requests = events[requests > 0], requests[requests > 0]
    calm = np.argsort(events, kind="stable")[: int(_CALM * len(events))]
    asked = float(requests[calm].sum())
    return float(events[calm].sum()) / asked if asked else 0.0


def _capped(counting: Counting, blocks: Blocks, rate: float) -> Blocks:
    return Blocks(np.minimum(blocks.events, _most(blocks.requests, rate, counting.least)), blocks.requests)


def _most(requests: Counts, rate: float, least: float) -> Counts:
    """So many events count of cells with so many requests."""
    usual = rate * requests
    most: Counts = np.maximum(least, 1.0 + np.ceil(usual + _ABOVE * np.sqrt(usual)))
    return most


def _scatter(counting: Counting, blocks: Blocks) -> tuple[tuple[float, float], ...]:
    """Pearson's chi2 about the part's own rate, and its degrees of freedom, at each scale."""
    return tuple(_chi2(blocks, scale) for scale in counting.scales)


def _chi2(blocks: Blocks, scale: int) -> tuple[float, float]:
    whole = len(blocks.events) // scale * scale
    events = blocks.events[:whole].reshape(-1, scale).sum(axis=1)
    total = float(events.sum())
    if not total:
        return (0.0, 0.0)
    requests = blocks.requests[:whole].reshape(-1, scale).sum(axis=1)
    events, requests = events[requests > 0], requests[requests > 0]
    if len(events) < 2:
        return (0.0, 0.0)
    usual = requests * (total / float(requests.sum()))
    return (float(((events - usual) ** 2 / usual).sum()), len(events) - 1.0)


def _sum(scatters: Sequence[tuple[tuple[float, float], ...]]) -> tuple[tuple[float, float], ...]:
    return tuple((sum(chi2 for chi2, _ in one), sum(df for _, df in one)) for one in zip(*scatters, strict=True))
