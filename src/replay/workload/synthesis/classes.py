"""Classes of visitors: how long a visit is, how hasty, and what it is mostly about.

With one chain for all, a crawler would become a person halfway. Mixtures of chains are known from web traffic: Cadez,
Heckerman, Meek, Smyth, White, Model-Based Clustering and Visualization of Navigation Patterns (2003).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from replay.workload.synthesis.quantiles import Floats, Integers, cumulate, draw, measure_quantiles, spread_chances

_LENGTHS = np.array([1, 2, 3, 4, 6, 9, 14, 22, 35, 60, 100, 200, 500])
_TEMPOS_S = np.array([0.05, 0.5, 2.0, 10.0, 60.0])  # median idle times
_LEAST_SHARE = 0.001  # of the exchanges, that a class has
_MOST = 170  # classes that are told apart by one more trait
_ORIGIN_SHARE = 0.005
_MOST_ORIGINS = 32


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of each origin, and their lengths. An origin is what visits begin with.

    ``chance`` is a class's origin plus its cumulative share of that origin's visits, ``length`` its row of lengths.
    """

    chance: Floats
    length: Floats

    def draw_visits(self, origin: Integers, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """The class and the length of visits, given their origins."""
        kinds = np.searchsorted(self.chance, origin + spread_chances(origin, rng), side="right")
        lengths = np.rint(draw(self.length, kinds, spread_chances(kinds, rng)))
        return kinds, np.maximum(lengths, 1).astype(np.int64)


def fit_classes(ordered: pd.DataFrame) -> tuple[Classes, Integers, Integers]:
    """The classes of visitors, the class of each of their events, and the origin of each of their visits.

    Events are given in order, with ``first``, ``idle_s``, and ``endpoint`` (a number).
    """
    units = np.cumsum(ordered["first"].to_numpy()) - 1
    lengths = np.bincount(units)
    begins = ordered.loc[ordered["first"], "endpoint"].to_numpy(np.int64)
    origin = _largest(begins, lengths, _ORIGIN_SHARE, _MOST_ORIGINS)
    bucket = np.searchsorted(_LENGTHS, lengths, side="right") - 1
    idle = ordered["idle_s"].groupby(units).median().fillna(0.0).to_numpy()
    tempo = np.where(bucket < 2, 0, np.searchsorted(_TEMPOS_S, idle, side="left"))
    counts = ordered.groupby([units, ordered["endpoint"].to_numpy()]).size().rename_axis(["unit", "endpoint"])
    most = counts.reset_index(name="size").sort_values(["unit", "size"], ascending=[True, False], kind="stable")
    about = most.drop_duplicates("unit")["endpoint"].to_numpy(np.int64)
    kinds = origin
    for trait in (bucket, tempo, about):
        finer = _largest(kinds * (trait.max(initial=0) + 1) + trait, lengths, _LEAST_SHARE, _MOST)
        _, kinds = np.unique(kinds * (finer.max(initial=0) + 1) + finer, return_inverse=True)
    count = int(kinds.max(initial=-1)) + 1
    shares = np.bincount(kinds, minlength=count).astype(float)
    own = np.zeros(count, dtype=np.int64)
    own[kinds] = origin
    classes = Classes(
        cumulate(own, shares),
        measure_quantiles(lengths.astype(float), kinds, count),
    )
    return classes, kinds[units], origin


def _largest(keys: Integers, sizes: Integers, share: float, most: int) -> Integers:
    """Numbers for the keys that have so large a share of the sizes, from 1 on; 0 for all others."""
    _, keys = np.unique(keys, return_inverse=True)
    totals = np.bincount(keys, weights=sizes)
    enough = np.flatnonzero(totals >= share * totals.sum())
    enough = enough[np.argsort(-totals[enough], kind="stable")[:most]]
    numbers = np.zeros(totals.size, dtype=np.int64)
    numbers[np.sort(enough)] = np.arange(1, enough.size + 1)
    return numbers[keys]
