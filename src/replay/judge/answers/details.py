"""What a client saw of an answer that is worse: its status, the fields in which it differs, how many items it has.

For the sentences of findings; nothing is judged by it.
"""

import re
from collections import Counter

import numpy as np

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Outcome
from replay.judge.answers.changes import LET_IN
from replay.judge.answers.contents import SHRUNKEN
from replay.judge.answers.differences import WRONG_SHAPE
from replay.judge.arrays import Rows, Values, numbers
from replay.judge.case import Case
from replay.judge.findings import listed
from replay.shapes import CUT

_FIELD = re.compile(r"[{,]([^{}\[\]|:,]+):(\w+)?")  # its name, and its type where it holds neither list nor object
_JSON = ("{", "[")  # what the shape of an object or a list begins with
_STATUSES = (Outcome.REFUSED, Outcome.SERVER_ERROR)
_SHOWN = 3


def detail(case: Case, kind: str, hit: Rows) -> str:
    """What to say behind the sentence's verb, such as `` (status 404)``; empty where there is nothing to say.

    ``hit`` are the positions, (n,), of the pairs whose answer in the steps arm was of this ``kind``.
    """
    asked = case.pairs["request"].to_numpy(np.int64)[hit]
    if kind in _STATUSES:
        return _statuses(case, asked)
    if kind == LET_IN:
        return _status_instead(case, asked)
    if kind == SHRUNKEN:
        return _items(case, asked)
    return _status_instead(case, asked) or _fields(case, asked) if kind == WRONG_SHAPE else ""


def _statuses(case: Case, asked: Rows) -> str:
    """The status that most of them have."""
    status = _of(case.steps, asked, "status")
    counts = Counter(status.astype(int).tolist())
    most = min(counts, key=lambda one: (-counts[one], one))
    return f" (status {most})" if len(counts) == 1 else f" (status {most} most often)"


def _status_instead(case: Case, asked: Rows) -> str:
    """The status of the answer to the first of them beside the control's, where these are of different classes."""
    had, has = (int(_of(arm, asked.min(), "status")[0]) for arm in (case.control, case.steps))
    return f" (status {has} instead of {had})" if had // 100 != has // 100 else ""


def _items(case: Case, asked: Rows) -> str:
    """How many items most of their lists have, beside the control's: the medians."""
    had, has = (float(np.median(_of(arm, asked, "items"))) for arm in (case.control, case.steps))
    return f" ({has:g} instead of {had:g} by the median)"


def _of(arm: ArmEvidence, asked: Rows | np.int64, name: str) -> Values:
    """What an arm's observations of these requests have in a column; 0 where they have nothing."""
    rows = np.isin(arm.observations["request"].to_numpy(np.int64), asked)
    return numbers(arm.observations, name, 0.0)[rows]


def _fields(case: Case, asked: Rows) -> str:
    """Which fields differ in the answer to the first of them from the control's to the same request."""
    had, has = (_shape(arm, int(asked.min())) for arm in (case.control, case.steps))
    if CUT in had + has:
        return ""
    if had[:1] in _JSON and has[:1] not in _JSON:
        return f" ({has} instead of JSON)"
    before, now = (dict(_FIELD.findall(shape)) for shape in (had, has))
    lacking = [name for name in before if name not in now]
    more = [name for name in now if name not in before]
    other = [
        f"{name!r} is {now[name]} instead of {kind}"
        for name, kind in before.items()
        if kind and now.get(name, kind) not in ("", kind)
    ]
    told = [
        f"{word} {listed(list(map(repr, names)), _SHOWN)}"
        for word, names in (("without", lacking), ("with", more))
        if names
    ]
    if not told and other:
        told = [listed(other, _SHOWN)]
    return f" ({', '.join(told)})" if told else ""


def _shape(arm: ArmEvidence, request: int) -> str:
    rows = arm.observations["shape"][arm.observations["request"] == request]
    return str(rows.iloc[0])
