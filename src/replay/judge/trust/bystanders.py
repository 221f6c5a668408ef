"""Whether a database is the application's, or only somebody else's: a monitoring reads other databases too.

The application has more to do with its database while traffic is played than before; nobody else has. The looks of all
arms are taken together, those that a step may have moved left out.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from scipy import stats

_P = 0.005
_RATIO = 1.25  # somebody else's work is not quite even either
_FEWEST, _FEW = 3, 60
_SHORTEST_S = 0.5  # in less, what was counted is not handed in yet: the last look of an arm, say

Look = tuple[float, float, float]  # from, to, and how much moved meanwhile; seconds of the arm


def follows_traffic(looks: Iterable[Look]) -> bool | None:
    """Whether more moved in looks during the traffic than in those before it; None where there are too few."""
    rest: list[float] = []
    traffic: list[float] = []
    for from_s, to_s, moved in looks:
        if to_s - from_s >= _SHORTEST_S and (to_s <= 0 or from_s >= 0):
            (rest if to_s <= 0 else traffic).append(moved / (to_s - from_s))
    if min(len(rest), len(traffic)) < _FEWEST:
        return None
    if np.mean(traffic) <= _RATIO * np.mean(rest):
        return False
    few = len(rest) + len(traffic) <= _FEW  # ties only make the exact test more cautious
    method: Literal["exact", "asymptotic"] = "exact" if few else "asymptotic"
    test = stats.mannwhitneyu(np.array(traffic), np.array(rest), alternative="greater", method=method)
    return bool(test.pvalue <= _P)
