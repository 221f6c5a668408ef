"""Events in the order of their visits: what came before each, and how long the visit had been idle."""

import numpy as np
import pandas as pd


def in_order(events: pd.DataFrame, by: str = "visit") -> pd.DataFrame:
    """``events`` by visit and time, with ``first``, ``last`` and ``idle_s``, numbered anew.

    ``idle_s`` is the time since the latest answer so far: negative where one was still awaited, NaN for the first.
    """
    ordered = events.sort_values([by, "at_s"], kind="stable").reset_index(drop=True)
    units = ordered[by].to_numpy()
    changes = units[1:] != units[:-1]
    ordered["first"] = np.concatenate([[True], changes])[: len(ordered)]
    ordered["last"] = np.concatenate([changes, [True]])[: len(ordered)]
    ends = ordered["at_s"] + ordered["duration_s"]
    busy = ends.groupby(units).cummax().shift(1)
    ordered["idle_s"] = (
        (ordered["at_s"] - busy).round(6).mask(ordered["first"])
    )  # clocks of captures tell no more apart
    return ordered
