"""Answers that are well by themselves and have nothing in common with the captured ones.

An application that does not know its caller need not refuse: it sends a redirect to its login, the login page itself,
or an error with status 200. None of these is what the capture had, and a control that gets them proves nothing.
"""

from functools import cache

import numpy as np
import pandas as pd

from replay.evidence.values import class_of
from replay.judge.answers.texts import texts_of
from replay.judge.arrays import Flags, numbers
from replay.shapes import CUT, EMPTY

_SUCCESS, _REDIRECT = 2, 3
_WELL = (_SUCCESS, _REDIRECT)
_UNKNOWN = frozenset({EMPTY, "unknown", "..."})
_OPENS, _SCALARS = "{[", frozenset({"null", "bool", "number", "str"})


def unlike(observations: pd.DataFrame) -> Flags:
    """Which answers, (n,), are of another status class than the captured one, or hold something of another kind.

    Kinds are JSON, HTML and whatever else; in JSON, objects, lists, and objects that share no field. Where a body is
    not known, it is not compared.
    """
    status, expected = (numbers(observations, name, 0.0).astype(np.int64) for name in ("status", "expected_status"))
    came, had = texts_of(observations["shape"]), texts_of(observations["expected_shape"])
    answers = pd.DataFrame({"status": status, "expected": expected, "came": came.codes, "had": had.codes})
    group = answers.groupby(list(answers), sort=False).ngroup().to_numpy()
    shapes, captured = (*came.names, None), (*had.names, None)  # the last is that of no text
    found = [
        _is_unlike(now, then, shapes[code], captured[was])
        for now, then, code, was in answers.drop_duplicates().to_numpy(np.int64).tolist()
    ]
    return np.array(found, dtype=np.bool_)[group]


def _is_unlike(status: int, expected: int, came: str | None, had: str | None) -> bool:
    if class_of(status) not in _WELL or class_of(expected) not in _WELL:
        return False  # one that failed has an outcome of its own
    if class_of(status) != class_of(expected):
        return True
    if came is None or had is None or _UNKNOWN & {came, had}:
        return False
    return class_of(status) == _SUCCESS and (_kind_of(came) != _kind_of(had) or _share_nothing(came, had))


@cache
def _kind_of(shape: str) -> str:
    if shape[0] in _OPENS:
        return shape[0]
    if shape in _SCALARS:
        return "scalar"
    return "html" if "html" in shape else "other"


def _share_nothing(came: str, had: str) -> bool:
    """Whether both are objects with fields, and no field of one is a field of the other."""
    fields, captured = _fields_of(came), _fields_of(had)
    return bool(fields) and bool(captured) and not fields & captured


@cache
def _fields_of(shape: str) -> frozenset[str]:
    """The names of an object's own fields; none where it is no object, or a shape too long to be told whole."""
    if not shape.startswith("{") or CUT in shape:
        return frozenset()
    names, depth, start = set(), 0, 1
    for place, letter in enumerate(shape):
        if letter == ":" and depth == 1 and start >= 0:
            names.add(shape[start:place])
            start = -1
        elif letter == "," and depth == 1:
            start = place + 1
        depth += (letter in "{[") - (letter in "}]")
    return frozenset(names)
