"""How much all the rest of Stage slowed down at each moment: what every endpoint shares is not one endpoint's doing.

A Stage is slow for seconds at a time, since something else wants its processors. That is noise where a step slows one
endpoint down, and it is known, for the other endpoints have it too. Only what is slower than usual is taken off: where
a step makes the others faster, an endpoint that stays as it was has not become slow.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from replay.judge.effects.noise import Times
from replay.judge.effects.tallies import BLOCK_S

_FEWEST = 10  # answers of other endpoints in a block that tell how it was
_FURTHEST = 2.0  # of log latency: a single answer that took far longer tells no more


def drag(at_s: Times, latency_s: Times, endpoint: npt.NDArray[np.int64], usual_s: Sequence[float]) -> Times:
    """By what factor, 1 or more, the other endpoints' answers of the same two seconds took longer than ``usual_s``.

    ``at_s``, ``latency_s`` (nan where there was no good answer) and ``endpoint`` (numbers from 0) have shape (n,);
    ``usual_s`` has each endpoint's usual latency (nan where there is none).
    """
    block = np.maximum(np.floor(at_s / BLOCK_S), 0.0).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        slower = np.clip(np.log(latency_s / np.asarray(usual_s, dtype=np.float64)[endpoint]), -_FURTHEST, _FURTHEST)
    told = np.isfinite(slower)
    blocks = int(block.max(initial=0)) + 1
    cell = endpoint * blocks + block
    sums, counts = (
        np.bincount(cell[told], weights=weights, minlength=len(usual_s) * blocks).reshape(-1, blocks)
        for weights in (slower[told], None)
    )
    others = counts.sum(axis=0) - counts
    mean = np.where(others >= _FEWEST, (sums.sum(axis=0) - sums) / np.maximum(others, 1), 0.0)
    factor: Times = np.exp(np.maximum(mean, 0.0)).reshape(-1)[cell]
    return factor
