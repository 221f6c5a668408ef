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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from replay.judge.effects.blocks import Blocks, at_most, in_blocks, usual_rate
from replay.judge.effects.clients import Part, clustered, spread
from replay.judge.statistics import more_failures_p


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


def in_windows(
    counting: Counting, reference: Sequence[Part], later: Part, from_s: float, windows: Mapping[str, tuple[int, int]]
) -> dict[str, Tally]:
    """A tally of each window of ``later`` against the ``reference``, see `tallies`; blocks begin at ``from_s``."""
    *quiet, since = spread([*reference, later]) if counting.spread else [*reference, later]
    clients = _sum([(clustered(part),) for part in quiet]) if counting.by_client else ()
    found = tallies(
        counting,
        [in_blocks(part.at_s, part.events) for part in quiet],
        in_blocks(since.at_s, since.events, from_s),
        list(windows.values()),
        clients,
    )
    return dict(zip(windows, found, strict=True))


def failures_in_windows(
    reference: Sequence[Part], later: Part, from_s: float, windows: Mapping[str, tuple[int, int]]
) -> dict[str, Tally]:
    """The tallies of failures, both of all of them and of those that are spread over clients."""
    of_all = in_windows(FAILURES, reference, later, from_s, windows)
    if not later.events.any():
        return of_all
    over_clients = in_windows(SPREAD, reference, later, from_s, windows)
    return of_all | {f"{name}, over clients": one for name, one in over_clients.items()}


def tallies(
    counting: Counting,
    reference: Sequence[Blocks],
    later: Blocks,
    windows: Sequence[tuple[int, int]],
    clients: tuple[tuple[float, float], ...] = (),
) -> list[Tally]:
    """A tally of each window (first block, stop) of ``later`` against the ``reference``.

    This has a part or more, of which the last is the same arm before the steps. ``clients`` is their scatter among
    clients, where that counts.
    """
    rate = usual_rate([*reference, later])
    quiet = [_capped(counting, blocks, rate) for blocks in reference]
    capped = _capped(counting, later, rate)
    scatter = _sum([_scatter(counting, blocks) for blocks in quiet])
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


def _capped(counting: Counting, blocks: Blocks, rate: float) -> Blocks:
    return Blocks(np.minimum(blocks.events, at_most(blocks.requests, rate, counting.least)), blocks.requests)


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
