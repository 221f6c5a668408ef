"""How far two captures are from each other, as a forecast is judged: one number an aspect, 0 where nothing differs.

Each number is bounded or a ratio, so that none depends on how long or how busy the captures are:

mix, pairs      total variation: the largest difference in the probability of any set of endpoints, or of successions
lengths, think  the Kolmogorov-Smirnov distance of the distributions: no bins, and no unit
keys            total variation over the hundred hottest keys of the capture to be forecast, all others as one
dispersion      the logarithm of the ratio of the indices of dispersion: twice as bursty is as far off as half as bursty

Gibbs and Su, On Choosing and Bounding Probability Metrics (2002), compares the first two with others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.workload.synthesis.bursts import WINDOWS_S, measure_bursts
from replay.workload.synthesis.sequences import in_order

Floats = npt.NDArray[np.float64]

ASPECTS = ("mix", "pairs", "lengths", "think", "keys", *(f"dispersion_{size}" for size in WINDOWS_S))
_HOTTEST = 100


@dataclass(frozen=True, slots=True)
class Portrait:
    """What distances are taken of: shares by name, sorted samples, and the indices of dispersion (None: too short)."""

    mix: "pd.Series[float]"
    pairs: "pd.Series[float]"
    lengths: Floats
    think: Floats
    keys: "pd.Series[float]"
    dispersion: tuple[float | None, ...]


def draw_portrait(events: pd.DataFrame, duration_s: float) -> Portrait:
    """The portrait of events between 0 and ``duration_s``.

    A pair is an endpoint and what follows it in the visit, its beginning and its end included. A think time runs from
    the latest answer so far in the visit to the next request, and is negative where the two overlap. A key counts
    together with its endpoint.
    """
    ordered = in_order(events)
    names = ordered["endpoint"].astype(str)
    first, last = ordered["first"].to_numpy(), ordered["last"].to_numpy()
    before = names.shift(1, fill_value="").mask(first, "(begin)")
    pairs = pd.concat([before + " > " + names, names[last] + " > (end)"])
    keyed = ordered["key"] != ""
    keys = names[keyed] + " " + ordered["key"][keyed].astype(str)
    return Portrait(
        mix=names.value_counts(normalize=True),
        pairs=pairs.value_counts(normalize=True),
        lengths=np.sort(ordered.groupby("visit").size().to_numpy(dtype=float)),
        think=np.sort(ordered["idle_s"].to_numpy()[~first]),
        keys=keys.value_counts(normalize=True),
        dispersion=measure_bursts(events["at_s"].to_numpy(np.float64), duration_s),
    )


def measure_distances(forecast: Portrait, real: Portrait) -> dict[str, float]:
    """How far a forecast is from what came, by aspect; ``nan`` where either has nothing to compare."""
    distances = {
        "mix": total_variation(forecast.mix, real.mix),
        "pairs": total_variation(forecast.pairs, real.pairs),
        "lengths": kolmogorov_smirnov(forecast.lengths, real.lengths),
        "think": kolmogorov_smirnov(forecast.think, real.think),
        "keys": total_variation(*_hottest(forecast.keys, real.keys)),
    }
    for size, one, other in zip(WINDOWS_S, forecast.dispersion, real.dispersion, strict=True):
        distances[f"dispersion_{size}"] = abs(float(np.log(one / other))) if one and other else float("nan")
    return distances


def total_variation(one: "pd.Series[float]", other: "pd.Series[float]") -> float:
    """Half the sum of the differences of shares; ``nan`` where either is empty."""
    if one.empty or other.empty:
        return float("nan")
    both = pd.DataFrame({"one": one, "other": other}).fillna(0.0)
    return float((both["one"] - both["other"]).abs().sum()) / 2


def kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """The largest difference of the distribution functions of two sorted samples; ``nan`` where either is empty."""
    if not one.size or not other.size:
        return float("nan")
    moments = np.concatenate([one, other])
    below = [np.searchsorted(sample, moments, side="right") / sample.size for sample in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _hottest(forecast: "pd.Series[float]", real: "pd.Series[float]") -> tuple["pd.Series[float]", "pd.Series[float]"]:
    hot = real.index[:_HOTTEST]
    if real.empty or forecast.empty:
        return forecast, real
    rest = "(others)"
    ours, theirs = forecast.reindex(hot, fill_value=0.0), real[hot]
    return (
        pd.concat([ours, pd.Series({rest: 1 - ours.sum()})]),
        pd.concat([theirs, pd.Series({rest: 1 - theirs.sum()})]),
    )
