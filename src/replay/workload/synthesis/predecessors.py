"""Which answer a request may have waited for."""

import numpy as np
import pandas as pd


def with_predecessors(steps: pd.DataFrame) -> pd.DataFrame:
    """``steps`` in order of time, with ``overlaps`` and ``after``.

    ``overlaps`` tells whether an earlier answer of the visit was still awaited; ``after`` is the row of the latest
    answer of the visit that had come when the request, or the first of those side by side with it, was sent;
    -1 where none had.
    """
    ordered = steps.sort_values("at_s", kind="stable").reset_index(drop=True)
    own = pd.DataFrame({"visit": ordered["visit"], "at_s": ordered["at_s"], "row": np.arange(len(ordered))})
    own["end_s"] = ordered["at_s"] + ordered["duration_s"]
    own = own.sort_values(["visit", "at_s"], kind="stable").reset_index(drop=True)
    visit = own["visit"]
    busy = own["end_s"].groupby(visit).cummax()
    before = busy.groupby(visit).shift(1)
    overlaps = (before > own["at_s"]).to_numpy()
    latest = own["row"].where(own["end_s"] == busy).groupby(visit).ffill().groupby(visit).shift(1)
    after = latest.mask(overlaps).where(before.notna(), -1).groupby(visit).ffill()
    rows = own["row"].to_numpy()
    flags, numbers = np.zeros(len(own), dtype=bool), np.full(len(own), -1, dtype=np.int64)
    flags[rows], numbers[rows] = overlaps, after.fillna(-1).to_numpy(np.int64)
    return ordered.assign(overlaps=flags, after=numbers)
