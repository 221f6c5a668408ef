"""Each request of a steps arm beside the same request of its control and what the capture had.

A request *fails newly* in one arm when its outcome there is worse than the captured one and the other arm's is not.
Both arms are asked the same, so that chance favours neither, and what fails in both (Stage has not the data, say)
counts in neither. Its kind is the outcome (``empty``, ``server error``, ...) or ``wrong shape``: a body whose shape no
request to that endpoint had in the capture, in the other arm, or before the steps.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Outcome, expected_outcome
from replay.judge.phases import BEFORE, Span, phases_of

WRONG_SHAPE = "wrong shape"
_LOST = {Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.NO_CONNECTION, Outcome.UNSENT}
# What is worse than what the capture had. A captured server error is no promise at all.
_WORSE: dict[str, set[str]] = {
    Outcome.OK: {*_LOST, Outcome.EMPTY, Outcome.REFUSED},
    Outcome.EMPTY: {*_LOST, Outcome.REFUSED},
    Outcome.REFUSED: {*_LOST, Outcome.EMPTY},
}
_LONGEST_CHAIN = 100


def expected_outcomes(observations: pd.DataFrame) -> npt.NDArray[Any]:
    """The captured outcome of every observation, as text."""
    statuses = observations["expected_status"].fillna(0).astype("int64")
    shapes = observations["expected_shape"].fillna("\0").astype(str)
    keys, _ = pd.factorize(statuses.astype(str) + "\1" + shapes)
    first = pd.Series(range(len(keys))).groupby(keys).first() if len(keys) else pd.Series(dtype="int64")
    known = [_expected(int(statuses.iloc[at]), str(shapes.iloc[at])) for at in first]
    return np.array(known, dtype=object)[keys] if len(keys) else np.array([], dtype=object)


def _expected(status: int, shape: str) -> str:
    return str(expected_outcome(status, None if shape == "\0" else shape))


def pair(control: ArmEvidence, steps: ArmEvidence, spans: tuple[Span, ...]) -> pd.DataFrame:
    """One row for each request that both arms have, in their order.

    Columns: request, endpoint, phase (of the steps arm); for control and steps (``c_`` and ``t_``) start, end, outcome,
    kind (empty where nothing is wrong), new, good (an outcome no worse than captured), latency (nan where no response
    came); root and root_endpoint, root_start, root_end: of the request whose failure left this one unsent, or its own.
    """
    left, right = _arm(control, "c_"), _arm(steps, "t_")
    right["expected"] = expected_outcomes(right)
    both = right.merge(left.drop(columns=["endpoint"]), on="request", how="inner", validate="one_to_one")
    start, end = both["t_due"].to_numpy(np.float64), both["t_end"].to_numpy(np.float64)
    both["phase"] = phases_of(spans, start, np.maximum(start, end))
    expected = both["expected"].to_numpy(object)
    for arm in ("t_", "c_"):
        outcome = both[f"{arm}outcome"].to_numpy(object)
        bad = np.zeros(len(both), dtype=bool)
        for captured, worse in _WORSE.items():
            bad |= (expected == str(captured)) & np.isin(outcome.astype(str), [str(item) for item in worse])
        both[f"{arm}kind"] = np.where(bad, outcome, "")
    _find_wrong_shapes(both)
    t_bad, c_bad = both["t_kind"].to_numpy(object) != "", both["c_kind"].to_numpy(object) != ""
    both["t_new"], both["c_new"] = t_bad & ~c_bad, c_bad & ~t_bad
    both["t_good"], both["c_good"] = ~t_bad, ~c_bad
    return _with_roots(both)


def _arm(arm: ArmEvidence, prefix: str) -> pd.DataFrame:
    seen = arm.observations.drop_duplicates("request")
    start = seen["due_s"] + seen["waited_s"].clip(lower=0)
    frame = pd.DataFrame(
        {
            "request": seen["request"],
            "endpoint": seen["endpoint"],
            f"{prefix}start": start,
            f"{prefix}end": seen["done_s"].fillna(seen["sent_s"]).fillna(start).clip(lower=start),
            f"{prefix}outcome": seen["outcome"].astype(object),
            f"{prefix}shape": seen["shape"].astype(object),
            f"{prefix}latency": (seen["done_s"] - seen["sent_s"]).where(seen["status"].notna()),
        }
    )
    if prefix == "t_":
        frame["t_due"] = seen["due_s"]
        frame["caused_by"] = seen["caused_by"]
        frame["error"] = seen["error"].astype(object)
        frame["expected_status"], frame["expected_shape"] = seen["expected_status"], seen["expected_shape"]
    return frame


def _find_wrong_shapes(both: pd.DataFrame) -> None:
    """Mark answers that are ok by class and whose shape nobody had for that endpoint."""
    answered = (both["expected"] == str(Outcome.OK)) & both["expected_shape"].notna()
    shapes = {arm: both["endpoint"] + "\1" + both[f"{arm}shape"].fillna("").astype(str) for arm in ("t_", "c_")}
    ok = {arm: answered & (both[f"{arm}outcome"] == str(Outcome.OK)) & both[f"{arm}shape"].notna() for arm in shapes}
    captured = set((both["endpoint"] + "\1" + both["expected_shape"].fillna("").astype(str))[answered])
    earlier = set(shapes["t_"][ok["t_"] & (both["phase"] == BEFORE)])
    novel = {
        "t_": ok["t_"] & ~shapes["t_"].isin(captured | earlier | set(shapes["c_"][ok["c_"]])),
        "c_": ok["c_"] & ~shapes["c_"].isin(captured | set(shapes["t_"][ok["t_"]])),
    }
    for arm, wrong in novel.items():
        both.loc[wrong, f"{arm}kind"] = WRONG_SHAPE


def _with_roots(both: pd.DataFrame) -> pd.DataFrame:
    """Follow ``caused_by`` to the request that failed by itself."""
    position = dict(zip(both["request"].tolist(), range(len(both)), strict=True))
    causes = both["caused_by"].fillna(-1).astype("int64").to_numpy()
    root = np.arange(len(both))
    for at in np.flatnonzero(causes >= 0):
        here = int(at)
        for _ in range(_LONGEST_CHAIN):
            cause = position.get(int(causes[here]), here)
            if cause == here:
                break
            here = cause
        root[at] = here
    both["root"] = both["request"].to_numpy()[root]
    both["root_endpoint"] = both["endpoint"].to_numpy(object)[root]
    both["root_start"], both["root_end"] = both["t_start"].to_numpy()[root], both["t_end"].to_numpy()[root]
    return both


def difference_of(kind: str) -> str:
    """The name of the difference that a kind of failure is."""
    return {str(Outcome.EMPTY): "emptied", WRONG_SHAPE: WRONG_SHAPE}.get(kind, "newly failing")
