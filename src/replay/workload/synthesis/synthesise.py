"""Drawing traffic from a model: as long and as large as is asked for."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.errors import InputError
from replay.workload.synthesis.arrivals import Curve
from replay.workload.synthesis.beginnings import Beginnings
from replay.workload.synthesis.keys import draw_keys
from replay.workload.synthesis.model import VisitModel
from replay.workload.synthesis.predecessors import with_predecessors
from replay.workload.synthesis.quantiles import Floats, Integers, draw, spread_chances
from replay.workload.synthesis.variants import draw_variants
from replay.workload.synthesis.walk import cut_legs, walk

COLUMNS = ("at_s", "duration_s", "client", "visit", "endpoint", "key", "variant", "overlaps", "after")
_LONGEST_VISIT = 512  # steps that are walked in one go
_LONGEST_RESIDENT = 64
_LONG_PAUSES = 0.01


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
    beginnings = Beginnings(model, duration_s, rng, scale=scale, start_s=start_s, curve=curve)
    visitors = beginnings.origin.size
    kinds, lengths = model.classes.draw_visits(beginnings.origin, rng)
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
    at_s[~stays] = beginnings.due(at_s[~stays], unit[~stays], at_s[stays][at_s[stays] < duration_s])
    steps = _wrap(steps.assign(at_s=at_s), stays, duration_s)
    unit, endpoint = steps["unit"].to_numpy(), steps["endpoint"].to_numpy()
    steps["key"] = draw_keys(model.keys, unit, endpoint, rng)
    steps["variant"] = draw_variants(model.variants, endpoint, steps["key"], rng)
    steps["endpoint"] = pd.Categorical.from_codes(endpoint.astype(np.int64), pd.Index(model.endpoints))
    begins = (np.diff(unit, prepend=-1) != 0) | (np.diff(steps["lap"], prepend=-1) != 0) | steps["breaks"]
    steps["visit"] = np.cumsum(begins) - 1
    clients = np.concatenate([_draw_clients(model, visitors, rng), np.arange(residents.size) + visitors])
    steps["client"] = clients[unit]
    return with_predecessors(steps)[list(COLUMNS)]


def _draw_residents(model: VisitModel, scale: float, rng: np.random.Generator) -> Integers:
    """Which resident each of those to come is like: ``scale`` times each of them, what is left over by lot."""
    copies = np.floor(scale + rng.random(model.residents.size)).astype(np.int64)
    return np.repeat(np.arange(model.residents.size), copies)


def _wrap(steps: pd.DataFrame, stays: npt.NDArray[np.bool_], duration_s: float) -> pd.DataFrame:
    """Steps in order within their units. A visitor's that are due after the end are one more visit, at the beginning.

    Visits are under way when a time begins, as they are when it ends: as many steps as go beyond it come in.
    ``lap`` numbers the parts of a unit.
    """
    at_s = steps["at_s"].to_numpy()
    lap = np.where(stays, 0, at_s // duration_s).astype(np.int64)
    steps = steps.assign(at_s=at_s - lap * duration_s, lap=lap)[~stays | (at_s < duration_s)]
    return steps.sort_values(["unit", "lap", "at_s"], kind="stable").reset_index(drop=True)


def _fill(at_s: Floats, unit: Integers, count: int, duration_s: float, rng: np.random.Generator) -> Floats:
    """When the steps of residents are due: their longest pauses are drawn out or cut such that all time is filled.

    Where that does not do, all are shortened. Then each is turned by a random part of the time, the end followed by the
    beginning: nobody begins at 0.
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
    shortened = np.minimum(1.0, target / np.maximum(short_s, 1e-9))
    gaps = np.where(longest, gaps * factors[unit], gaps * shortened[unit])
    due = pd.Series(gaps).groupby(unit).cumsum().to_numpy(float)
    return np.asarray((due + (rng.random(count) * duration_s)[unit]) % duration_s)


def _draw_clients(model: VisitModel, visits: int, rng: np.random.Generator) -> Integers:
    """Whose each visit is: some come once, some often."""
    if not visits:
        return np.zeros(0, dtype=np.int64)
    row = np.zeros(visits, dtype=np.int64)
    own = np.rint(draw(model.visits_per_client, row, spread_chances(row, rng))).astype(np.int64)
    clients = np.repeat(np.arange(visits), np.maximum(own, 1))[:visits]
    return rng.permutation(clients)
