"""Which variant of an endpoint a request is: of its key, where the key is met often, else of the endpoint's other keys.

A hot event has many pages of attendees and a cold one has none: variants and keys are not drawn apart.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from replay.workload.synthesis.quantiles import Floats, Integers, cumulate, spread_chances

_MOST_VARIANTS = 50_000
_ENOUGH = 12  # of a key, to have variants of its own
_MOST_KEYS = 5_000


@dataclass(frozen=True, slots=True)
class Variants:
    """The variants of each of ``groups``, by popularity.

    The first groups are the endpoints', by number; group ``endpoints + n`` is that of the key ``key[n]`` of the
    endpoint ``endpoint[n]``. A row of ``variant`` has as its ``chance`` its group's number plus the cumulative share.
    """

    endpoints: int
    endpoint: Integers
    key: tuple[str, ...]
    chance: Floats
    variant: Integers


def fit_variants(events: pd.DataFrame, endpoints: int) -> Variants:
    """Fit events with ``endpoint`` (a number), ``key`` and ``variant``."""
    pairs = events.groupby(["endpoint", "key"], as_index=False, observed=True).size()
    often = pairs[pairs["size"] >= _ENOUGH].sort_values("size", ascending=False, kind="stable").head(_MOST_KEYS)
    keys = Variants(endpoints, often["endpoint"].to_numpy(np.int64), tuple(map(str, often["key"])), *_nothing())
    endpoint = events["endpoint"].to_numpy(np.int64)
    group = _groups(keys, endpoint, events["key"])
    # An endpoint whose keys are all hot may still be drawn with another one.
    lonely = np.setdiff1d(np.arange(endpoints), group)
    everywhere = np.isin(endpoint, lonely)
    counted = pd.DataFrame(
        {
            "group": np.concatenate([group, endpoint[everywhere]]),
            "variant": np.concatenate([events["variant"].to_numpy(np.int64), events["variant"].to_numpy()[everywhere]]),
        }
    )
    counts = counted.groupby(["group", "variant"], as_index=False).size()
    firsts = counts.sort_values("size", ascending=False, kind="stable").drop_duplicates("group").index
    most = counts.sort_values("size", ascending=False, kind="stable").head(_MOST_VARIANTS).index
    counts = counts.loc[firsts.union(most)].sort_values(["group", "variant"])
    chance = cumulate(counts["group"].to_numpy(np.int64), counts["size"].to_numpy(float))
    return Variants(endpoints, keys.endpoint, keys.key, chance, counts["variant"].to_numpy(np.int64))


def draw_variants(variants: Variants, endpoint: Integers, key: "pd.Series[str]", rng: np.random.Generator) -> Integers:
    """A variant for each request, given its endpoint and key."""
    group = _groups(variants, endpoint, key)
    return variants.variant[np.searchsorted(variants.chance, group + spread_chances(group, rng), side="right")]


def _groups(variants: Variants, endpoint: Integers, key: "pd.Series[str]") -> Integers:
    own = pd.MultiIndex.from_arrays([variants.endpoint, np.array(variants.key, dtype=object)])
    found = own.get_indexer(pd.MultiIndex.from_arrays([endpoint, key.astype(object)]))
    return np.where(found >= 0, variants.endpoints + found, endpoint).astype(np.int64)


def _nothing() -> tuple[Floats, Integers]:
    return np.zeros(0), np.zeros(0, dtype=np.int64)
