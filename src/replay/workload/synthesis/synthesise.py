"""Drawing traffic from a model: as long and as large as is asked for."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.errors import InputError
from replay.workload.synthesis.arrivals import Curve, draw_starts
from replay.workload.synthesis.bursts import compare_bursts, measure_bursts
from replay.workload.synthesis.keys import draw_keys
from replay.workload.synthesis.model import VisitModel
from replay.workload.synthesis.predecessors import with_predecessors
from replay.workload.synthesis.quantiles import Floats, Integers, draw, spread_chances
from replay.workload.synthesis.walk import cut_legs, walk

COLUMNS = ("at_s", "duration_s", "client", "visit", "endpoint", "key", "variant", "overlaps", "after")
_LONGEST_VISIT = 512  # steps that are walked in one go
_LONGEST_RESIDENT = 64
_LONG_PAUSES = 0.01
_MOST_DRAWS, _MOST_DRAWN = 24, 400_000


def synthesise(
    model: VisitModel, *, duration_s: float, scale: float = 1.0, seed: int, start_s: float = 0.0, curve: Curve = ()
) -> pd.DataFrame:
    """Traffic between 0 and ``duration_s`` seconds, in order of time; the same for the same arguments.

    ``scale`` multiplies visitors and residents, not what each of them does. ``start_s`` is when 0 is on the capture's
    clock: what comes by the clock keeps its phase. ``curve`` has moments (seconds) with factors of the visitors' rate,
    which runs straight between them. Columns are those that a model is fitted to, with ``overlaps`` (sent before all
    earlier answers of the visit had come) and ``after``: the row of the latest answer that had come, or -1.

    Raises InputError where the duration or the scale is not positive.
    """
    if not (duration_s > 0 and scale > 0):
        raise InputError("Traffic is synthesised for more than 0 seconds, at a scale above 0.")
    rng = np.random.default_rng(seed)
    draws = [
        [draw_starts(own, duration_s, rng, scale=scale, start_s=start_s, curve=curve) for own in model.arrivals]
        for _ in range(1 if curve else _count_draws(model, duration_s, scale))  # a curve makes bursts of its own
    ]
    origin = np.repeat(np.arange(len(model.arrivals)), [own.size for own in draws[0]])
    visitors = origin.size
    kinds, lengths = model.classes.draw_visits(origin, rng)
    residents = _draw_residents(model, scale, rng)
    exchanges = np.maximum(1, np.rint(model.residents[residents] * duration_s)).astype(np.int64)
    endless = np.arange(visitors + residents.size) >= visitors
    legs = cut_legs(
        np.concatenate([kinds, model.classes.chance.size + residents]),
        np.concatenate([lengths, exchanges]),
        endless,
        np.where(endless, _LONGEST_RESIDENT, _LONGEST_VISIT),
    )
    steps = walk(model, legs, rng)
    unit, at_s = steps["unit"].to_numpy(), steps["at_s"].to_numpy(float, copy=True)
    stays = unit >= visitors
    at_s[stays] = _fill(at_s[stays], unit[stays] - visitors, residents.size, duration_s, rng)
    due = [_begin(at_s[~stays], unit[~stays], np.concatenate([*own, np.zeros(0)]), duration_s, rng) for own in draws]
    at_s[~stays] = _choose_like(model, due, at_s[stays], duration_s, scale)
    steps = steps.assign(at_s=at_s)[at_s < duration_s].sort_values(["unit", "at_s"], kind="stable")
    steps = steps.reset_index(drop=True)
    unit, endpoint = steps["unit"].to_numpy(), steps["endpoint"].to_numpy()
    steps["key"] = draw_keys(model.keys, unit, endpoint, rng)
    chances = endpoint + spread_chances(endpoint, rng)
    steps["variant"] = model.variant[np.searchsorted(model.variant_chance, chances, side="right")]
    steps["endpoint"] = pd.Categorical.from_codes(endpoint.astype(np.int64), pd.Index(model.endpoints))
    steps["visit"] = np.cumsum((np.diff(unit, prepend=-1) != 0) | steps["breaks"].to_numpy()) - 1
    clients = np.concatenate([_draw_clients(model, visitors, rng), np.arange(residents.size) + visitors])
    steps["client"] = clients[unit]
    return with_predecessors(steps)[list(COLUMNS)]


def _draw_residents(model: VisitModel, scale: float, rng: np.random.Generator) -> Integers:
    """Which resident each of those to come is like: ``scale`` times each of them, what is left over by lot."""
    copies = np.floor(scale + rng.random(model.residents.size)).astype(np.int64)
    return np.repeat(np.arange(model.residents.size), copies)


def _count_draws(model: VisitModel, duration_s: float, scale: float) -> int:
    """How often the beginnings of visits are drawn, to choose from: the more visits, the more alike are two draws."""
    visits = sum(own.per_s for own in model.arrivals) * duration_s * scale
    return int(np.clip(_MOST_DRAWN / max(visits, 1), 1, _MOST_DRAWS))


def _begin(at_s: Floats, unit: Integers, starts_s: Floats, duration_s: float, rng: np.random.Generator) -> Floats:
    """When the steps of visits are due.

    What would not end in time begins when some other visit does or, if it is too long for that too, as it fits: a
    capture has no visits that go on after it.
    """
    spans = np.zeros(starts_s.size)
    np.maximum.at(spans, unit, at_s)
    other = rng.permutation(starts_s)
    begins = np.where(starts_s + spans < duration_s, starts_s, other)
    fitting = rng.random(starts_s.size) * np.maximum(duration_s - spans, 0.0)
    begins = np.where(begins + spans < duration_s, begins, fitting)
    return np.asarray(at_s + begins[unit])


def _choose_like(model: VisitModel, due: list[Floats], beside: Floats, duration_s: float, scale: float) -> Floats:
    """Of several draws of when visitors' steps are due, the one that is, with all else, about as bursty as the capture.

    A capture has few large bursts, so whether two of them meet makes much of its index of dispersion.
    """

    def strangeness(at_s: Floats) -> float:
        both = np.concatenate([at_s, beside])
        return compare_bursts(measure_bursts(both[both < duration_s], duration_s), model.dispersion, scale)

    return min(due, key=strangeness)


def _fill(at_s: Floats, unit: Integers, count: int, duration_s: float, rng: np.random.Generator) -> Floats:
    """When the steps of residents are due: their longest pauses are drawn out or cut such that all time is filled.

    Then each is turned by a random part of the time, the end followed by the beginning: nobody begins at 0.
    """
    gaps = np.diff(at_s, prepend=0.0)
    gaps[np.diff(unit, prepend=-1) != 0] = 0.0
    order = np.lexsort([-gaps, unit])
    sizes = np.bincount(unit, minlength=count)
    ranks = np.empty(unit.size)
    ranks[order] = np.arange(unit.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    longest: npt.NDArray[np.bool_] = ranks < np.ceil(sizes[unit] * _LONG_PAUSES)
    # As if the pause from the last step to the first, when turned, were one more of the usual length.
    target = duration_s * (1 - 1 / np.maximum(sizes, 1))
    long_s = np.bincount(unit, weights=gaps * longest, minlength=count)
    short_s = np.bincount(unit, weights=gaps * ~longest, minlength=count)
    factors = np.clip((target - short_s) / np.maximum(long_s, 1e-9), 0.0, None)
    gaps = np.where(longest, gaps * factors[unit], gaps)
    due = pd.Series(gaps).groupby(unit).cumsum().to_numpy(float)
    fits = short_s + long_s * factors <= duration_s
    turned = (due + (rng.random(count) * duration_s)[unit]) % duration_s
    return np.where(fits[unit], turned, due)


def _draw_clients(model: VisitModel, visits: int, rng: np.random.Generator) -> Integers:
    """Whose each visit is: some come once, some often."""
    if not visits:
        return np.zeros(0, dtype=np.int64)
    row = np.zeros(visits, dtype=np.int64)
    own = np.rint(draw(model.visits_per_client, row, spread_chances(row, rng))).astype(np.int64)
    clients = np.repeat(np.arange(visits), np.maximum(own, 1))[:visits]
    return rng.permutation(clients)
