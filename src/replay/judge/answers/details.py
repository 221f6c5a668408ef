"""What a client saw of an answer that is worse: its status, or the fields in which it differs.

For the sentences of findings; nothing is judged by it.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Outcome
from replay.judge.arrays import Rows, numbers
from replay.judge.case import Case

_FIELD = re.compile(r"[{,]([^{}\[\]|:,]+):(\w+)?")  # its name, and its type where it holds neither list nor object
_CUT = "~"  # what a shape that was too long ends with, before a digest
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
    return _fields(case, asked) if kind == "wrong shape" else ""


def _statuses(case: Case, asked: Rows) -> str:
    """The status that most of them have."""
    observations = case.steps.observations
    status = numbers(observations, "status", 0.0)[np.isin(observations["request"].to_numpy(np.int64), asked)]
    counts = Counter(status.astype(int).tolist())
    most = min(counts, key=lambda one: (-counts[one], one))
    return f" (status {most})" if len(counts) == 1 else f" (status {most} most often)"


def _fields(case: Case, asked: Rows) -> str:
    """Which fields differ in the answer to the first of them from the control's to the same request."""
    had, has = (_shape(arm, int(asked.min())) for arm in (case.control, case.steps))
    if _CUT in had + has:
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
        f"{word} {_listed(list(map(repr, names)))}" for word, names in (("without", lacking), ("with", more)) if names
    ]
    if not told and other:
        told = [_listed(other)]
    return f" ({', '.join(told)})" if told else ""


def _shape(arm: ArmEvidence, request: int) -> str:
    rows = arm.observations["shape"][arm.observations["request"] == request]
    return str(rows.iloc[0])


def _listed(names: Sequence[str]) -> str:
    kept = ", ".join(names[:_SHOWN])
    return kept if len(names) <= _SHOWN else f"{kept} and {len(names) - _SHOWN} more"
