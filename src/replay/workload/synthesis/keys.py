"""Which key a request names: the one that the visit is at, or one drawn by popularity."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from replay.workload.synthesis.ladder import Ladder, fit_ladder
from replay.workload.synthesis.quantiles import Floats, Integers, cumulate, spread_chances

_MOST_KEYS = 20_000
_ENOUGH = 8
_MOST_PAIRS = 20_000
_STAY = ((True, True), (False, True), (False, False))


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of each endpoint, by popularity.

    A row of ``name`` is a key of endpoint ``n`` with its ``chance``: ``n`` plus the cumulative share. A name of None
    stands for keys too cold to be kept one by one, ``colder[n]`` of them. ``stay`` is the chance that a request names
    the key that its visit named last, by the two endpoints (``pairs``); ``empty`` the chance that it names none.
    """

    chance: Floats
    name: tuple[str | None, ...]
    colder: Integers
    pairs: Ladder
    stay: Floats
    empty: Floats


def fit_keys(ordered: pd.DataFrame, endpoints: int) -> Keys:
    """Fit events in order, with ``unit`` (what is walked at once), ``endpoint`` (a number) and ``key``.

    A hot key is named twice in a row by chance too. What chance explains is no staying: the repeats of a pair of
    endpoints are a mixture of both, and each counts as drawn by as much as it probably was (one step of Dempster,
    Laird and Rubin's EM, 1977, from the shares of all keys).
    """
    endpoint = ordered["endpoint"].to_numpy(np.int64)
    named = (ordered["key"] != "").to_numpy()
    met = np.bincount(endpoint, minlength=endpoints)
    own = ordered.loc[named, ["unit", "endpoint", "key"]]
    goes_on = own["unit"].eq(own["unit"].shift(1))
    before = own["endpoint"].shift(1, fill_value=-1).where(goes_on, -1).to_numpy(np.int64)
    same = (own["key"].eq(own["key"].shift(1)) & goes_on).to_numpy()
    parts = (before, own["endpoint"].to_numpy(np.int64))
    pairs = fit_ladder(parts, np.ones(before.size, dtype=np.int64), _STAY, _ENOUGH, _MOST_PAIRS)
    where, which = pairs.members(*parts)
    met_pairs = np.maximum(np.bincount(where, minlength=pairs.keys.size), 1)
    by_chance = np.where(goes_on, _shares(own, own["key"].shift(1, fill_value="")), 0.0)
    repeats, chance = (
        np.bincount(where, weights=values[which], minlength=pairs.keys.size) / met_pairs for values in (same, by_chance)
    )
    stay = np.clip((repeats - chance) / np.maximum(1 - chance, 1e-9), 0.0, 1.0)
    stayed = stay[pairs.find(*parts)]
    drawn = np.where(same, (1 - stayed) * by_chance / np.maximum(stayed + (1 - stayed) * by_chance, 1e-9), 1.0)
    weighted = own.assign(size=drawn)[["endpoint", "key", "size"]]
    counts = weighted.groupby(["endpoint", "key"], as_index=False, observed=True).sum()
    counts = counts.sort_values("size", ascending=False, kind="stable")
    kept, cold = counts.head(_MOST_KEYS), counts.iloc[_MOST_KEYS:]
    rest = cold.groupby("endpoint", as_index=False)["size"].sum().assign(key=None)
    rows = pd.concat([kept, rest]) if len(rest) else kept
    rows = rows.sort_values("endpoint", kind="stable")
    return Keys(
        cumulate(rows["endpoint"].to_numpy(np.int64), rows["size"].to_numpy(float)),
        tuple(None if name is None else str(name) for name in rows["key"]),
        np.bincount(cold["endpoint"].to_numpy(np.int64), minlength=endpoints),
        pairs,
        stay,
        1 - np.bincount(endpoint[named], minlength=endpoints) / np.maximum(met, 1),
    )


def _shares(own: pd.DataFrame, keys: "pd.Series[str]") -> Floats:
    """The share that each of ``keys`` has of all keys of the endpoint in its row."""
    counts = own.groupby(["endpoint", "key"], observed=True).size()
    index = pd.MultiIndex.from_arrays([own["endpoint"], keys])
    found = counts.reindex(index, fill_value=0).to_numpy(np.float64)
    totals = own["endpoint"].map(own["endpoint"].value_counts()).to_numpy(np.float64)
    return np.asarray(found / np.maximum(totals, 1))


def draw_keys(keys: Keys, unit: Integers, endpoint: Integers, rng: np.random.Generator) -> "pd.Series[str]":
    """The keys of requests in the order of what is walked at once; '' for none.

    A key too cold to have been kept is called after its place among those of its endpoint: ``~17``.
    """
    found = np.full(endpoint.size, "", dtype=object)
    rows = np.flatnonzero(spread_chances(endpoint, rng) >= keys.empty[endpoint])
    if rows.size:
        own, at = unit[rows], endpoint[rows]
        goes_on = np.concatenate([[False], own[1:] == own[:-1]])
        before = np.where(goes_on, np.roll(at, 1), -1)
        stays = goes_on & (rng.random(rows.size) < keys.stay[keys.pairs.find(before, at)])
        asking = at[~stays]
        places = np.searchsorted(keys.chance, asking + spread_chances(asking, rng), side="right")
        names = np.array(keys.name, dtype=object)[np.minimum(places, len(keys.name) - 1)]
        cold = np.flatnonzero(names == None)  # noqa: E711 - of each of an array
        names[cold] = [f"~{rank}" for rank in rng.integers(0, keys.colder[asking[cold]])]
        found[rows] = names[np.cumsum(~stays) - 1]
    return pd.Series(found, dtype="str")
