"""When visitors' steps are due: visits begin by the clock and in bursts, and all together are as bursty as the capture.

A capture has few large bursts, so whether two of them meet makes much of its index of dispersion. Beginnings are drawn
several times over: the first draws tell by how much bursts have to be stronger or weaker at each scale, since residents
and the inside of visits make bursts too, and the likest is taken and made liker.
"""

import numpy as np

from replay.workload.synthesis.arrivals import Arrivals, Curve, draw_starts, with_bursts
from replay.workload.synthesis.bursts import WINDOWS_S, compare_bursts, measure_bursts
from replay.workload.synthesis.model import VisitModel
from replay.workload.synthesis.quantiles import Floats, Integers

_ROUNDS, _DRAWS = 4, 8
_NOTICEABLE, _LEAST_EFFECT = 0.03, 0.2
_LIMITS = (-1.1, 1.1)  # of a change, as a logarithm: a factor of three
_MOST_DRAWN = 400_000
_MOVED, _TRIES = (0.3, 0.01), 150  # of the visits
_MOST_MOVED = 6_000_000


class Beginnings:
    """The beginnings of visits, drawn until they fit."""

    def __init__(
        self,
        model: VisitModel,
        duration_s: float,
        rng: np.random.Generator,
        *,
        scale: float,
        start_s: float,
        curve: Curve,
    ) -> None:
        self._model, self._duration_s, self._rng = model, duration_s, rng
        self._scale, self._start_s, self._curve = scale, start_s, curve
        self._first = self._draw(model.arrivals)
        sizes = [own.size for own in self._first]
        self.origin = np.repeat(np.arange(len(sizes)), sizes)

    def due(self, at_s: Floats, unit: Integers, beside: Floats) -> Floats:
        """When the steps are due that are ``at_s`` from the beginning of the visit ``unit``.

        ``beside`` are the moments of all other requests. What is due after the end belongs to a visit that is under way
        at the beginning: see ``wrap``.
        """
        visits = self.origin.size
        draws = int(np.clip(_MOST_DRAWN / max(visits, 1) / _ROUNDS, 1, _DRAWS))  # many visits are alike by themselves
        if self._curve:  # which makes bursts of its own
            return self._place(at_s, unit, self._first)
        arrivals = self._model.arrivals
        found: list[Floats] = []
        excess, change = np.full(len(WINDOWS_S), np.nan), np.zeros(len(WINDOWS_S))
        for number in range(_ROUNDS):
            starts = [self._draw(arrivals) for _ in range(draws)]
            drawn = [self._place(at_s, unit, own) for own in starts]
            found += drawn
            if number < _ROUNDS - 1:
                before, excess = excess, self._excess(drawn, beside)
                change = self._change(excess, before, change)
                factors = list(zip(WINDOWS_S, np.exp(change).tolist(), strict=True))
                arrivals = tuple(with_bursts(own, factors) for own in arrivals)
        return self._likest(found, unit, beside)

    def _likest(self, found: list[Floats], unit: Integers, beside: Floats) -> Floats:
        """The draw nearest to the capture, and then nearer: some visits begin as in another draw where that helps."""

        def strangeness(due_s: Floats) -> float:
            return compare_bursts(self._bursts(due_s, beside), self._model.dispersion, self._scale)

        least, best = min(((strangeness(own), place) for place, own in enumerate(found)), default=(0.0, 0))
        due_s = found[best]
        tries = int(np.clip(_MOST_MOVED / max(due_s.size + beside.size, 1), 0, _TRIES))
        for share in np.geomspace(*_MOVED, tries):
            moved = self._rng.random(self.origin.size) < share
            tried = np.where(moved[unit], found[self._rng.integers(len(found))], due_s)
            if (far := strangeness(tried)) < least:
                least, due_s = far, tried
        return due_s

    def _draw(self, arrivals: tuple[Arrivals, ...]) -> list[Floats]:
        return [
            draw_starts(own, self._duration_s, self._rng, scale=self._scale, start_s=self._start_s, curve=self._curve)
            for own in arrivals
        ]

    def _place(self, at_s: Floats, unit: Integers, starts: list[Floats]) -> Floats:
        """Visits from their beginnings on. One that would not end in time begins when some other does, if that fits."""
        starts_s = np.concatenate([*starts, np.zeros(0)])
        spans = np.zeros(starts_s.size)
        np.maximum.at(spans, unit, at_s)
        other = self._rng.permutation(starts_s)
        fits = (starts_s + spans < self._duration_s) | (other + spans >= self._duration_s)
        return np.asarray(at_s + np.where(fits, starts_s, other)[unit])

    def _bursts(self, due_s: Floats, beside: Floats) -> tuple[float | None, ...]:
        return measure_bursts(np.concatenate([due_s % self._duration_s, beside]), self._duration_s)

    def _excess(self, found: list[Floats], beside: Floats) -> Floats:
        """The logarithm of what is beyond chance in each window, on average over draws; NaN where there is nothing."""
        bursts = np.array([self._bursts(own, beside) for own in found], dtype=float).mean(axis=0)
        return np.asarray(np.log(np.where(bursts > 1, bursts - 1, np.nan)), dtype=np.float64)

    def _change(self, excess: Floats, before: Floats, change: Floats) -> Floats:
        """By how much to change the excess of beginnings next, as a logarithm: what lacks, by what was of use before.

        Where much of the excess is not theirs, changing them has little effect.
        """
        wanted = np.array([one if one and one > 1 else np.nan for one in self._model.dispersion], dtype=float)
        lacking = np.log((wanted - 1) * self._scale) - excess
        tried = np.abs(change) > _NOTICEABLE
        effect = np.where(tried, (excess - before) / np.where(tried, change, 1.0), 1.0)
        steps = lacking / np.clip(np.nan_to_num(effect, nan=1.0), _LEAST_EFFECT, 1.0)
        return np.asarray(np.clip(np.nan_to_num(steps), *_LIMITS))
