"""What followed from what: a refusal may be the work of a token request that had failed before."""

import numpy as np

from replay.judge.arrays import Flags, Rows, Times


def refused_for_want_of_a_token(
    visit: Rows, start_s: Times, end_s: Times, *, gives: Flags, failed: Flags, refused: Flags
) -> Rows:
    """For each request the position of the token request whose failure it follows from; -1 where there is none.

    A ``refused`` request follows from the latest one of its ``visit`` that ``gives`` a token and had ended before it
    started, where that one ``failed``: the client went on with what it had before, or without any. All are (n,).
    """
    cause = np.full(len(visit), -1, dtype=np.int64)
    givers, lost = np.flatnonzero(gives), np.flatnonzero(refused & ~gives)
    if not len(givers) or not len(lost):
        return cause
    order = np.lexsort((end_s[givers], visit[givers]))
    givers = givers[order]
    # One key for visit and moment, so that the latest giver before a request is the one to its left.
    places = np.unique(visit)
    length_s = float(max(start_s.max(), end_s.max()) - min(start_s.min(), end_s.min())) + 1.0
    keys = np.searchsorted(places, visit[givers]) * length_s + (end_s[givers] - start_s.min())
    asked = np.searchsorted(places, visit[lost]) * length_s + (start_s[lost] - start_s.min())
    at = np.searchsorted(keys, asked, side="right") - 1
    latest = givers[np.maximum(at, 0)]
    follows = (at >= 0) & (visit[latest] == visit[lost]) & failed[latest]
    cause[lost[follows]] = latest[follows]
    return cause
