"""Each request of a steps arm beside the same request of its control and what the capture had.

A request *fails newly* in one arm when its outcome there is worse than the captured one and the other arm's is not.
Both arms are asked the same, so that chance favours neither, and what fails in both (Stage has not the data, say)
counts in neither. Its kind is the outcome (``empty``, ``server error``, ...) or ``wrong shape``: a body whose shape no
request to that endpoint had in the capture, in the other arm, or before the steps; ``shrunken`` or ``stale``, see
`replay.judge.answers.contents`; ``too late``: an answer for which its client waits no longer, and took more than twice
as long as the other arm's; ``let in``: answered with success where the capture and the other arm refused.

What is well by itself and only differs from the other arm's answer is marked beside it: `replay.judge.answers.changes`.

Millions of requests have to be compared within seconds: texts are numbers here, see `replay.judge.answers.texts`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Outcome, expected_outcome
from replay.judge.answers import changes
from replay.judge.answers.cascade import refused_for_want_of_a_token
from replay.judge.answers.contents import SHRUNKEN, STALE, answers_of, asked_of, contents, emptied
from replay.judge.answers.texts import Texts, alike, codes_of, texts_of
from replay.judge.arrays import Codes, Flags, Rows, Times, numbers
from replay.judge.phases import Span, phase_order, phases_of

WRONG_SHAPE = "wrong shape"
OUTCOMES = tuple(map(str, Outcome))
TOO_LATE = "too late"
FAILURES = frozenset({*OUTCOMES, TOO_LATE})  # what else is wrong with an answer has changed
# What may be wrong with an answer; nothing first.
KINDS = ("", *OUTCOMES, WRONG_SHAPE, SHRUNKEN, STALE, changes.LET_IN, TOO_LATE)
# The columns of Observation that the judge looks at.
COLUMNS = (
    "request",
    "visit",
    "client",
    "endpoint",
    "due_s",
    "waited_s",
    "sent_s",
    "done_s",
    "status",
    "shape",
    "expected_status",
    "expected_shape",
    "outcome",
    "caused_by",
    "digest",
    "items",
    "expected_items",
    "reads_back",
)
_OK = OUTCOMES.index(Outcome.OK)
_LOST = {Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.NO_CONNECTION, Outcome.UNSENT}
# What is worse than what the capture had. A captured server error is no promise at all.
_WORSE: dict[Outcome, set[Outcome]] = {
    Outcome.OK: {*_LOST, Outcome.EMPTY, Outcome.REFUSED},
    Outcome.EMPTY: {*_LOST, Outcome.REFUSED},
    Outcome.REFUSED: {*_LOST, Outcome.EMPTY},
}
# By the captured outcome and the one that came; a name that is no outcome (the last column) is worse than none.
_IS_WORSE = np.array([[came in _WORSE.get(had, ()) for came in (*Outcome, None)] for had in Outcome])
_FAR_LATER = 2.0
_LONGEST_CHAIN = 100


def expected_outcomes(observations: pd.DataFrame) -> Codes:
    """The captured outcome of every observation, as places in ``OUTCOMES``."""
    status = numbers(observations, "expected_status", 0.0).astype(np.int64)
    shape = texts_of(observations["expected_shape"])
    kinds = len(shape.names) + 1
    keys, first = pd.factorize(status * kinds + shape.codes + 1)
    known = [_expected(int(key // kinds), int(key % kinds) - 1, shape.names) for key in first]
    return np.array(known, dtype=np.int64)[keys]


def _expected(status: int, shape: int, names: tuple[str, ...]) -> int:
    return OUTCOMES.index(expected_outcome(status, names[shape] if shape >= 0 else None))


def paired(steps: pd.DataFrame, control: pd.DataFrame) -> tuple[Rows, Rows]:
    """The positions of the requests that both arms have, in the order of ``steps``; of a repeated one the first."""
    here, there = (_first_of_each(one["request"].to_numpy(np.int64)) for one in (steps, control))
    asked, other = steps["request"].to_numpy(np.int64)[here], control["request"].to_numpy(np.int64)[there]
    at = find(asked, other)
    return here[at >= 0], there[at[at >= 0]]


def _first_of_each(requests: Rows) -> Rows:
    if (np.diff(requests) > 0).all():
        return np.arange(len(requests))
    return np.sort(np.unique(requests, return_index=True)[1])


def find(values: Rows, among: Rows) -> Rows:
    """The position of each of the values, (n,), ``among`` others, (m,), that are all different; -1: not there. (n,)."""
    if not len(among):
        return np.full(len(values), -1)
    order = None if (np.diff(among) > 0).all() else np.argsort(among)
    at = np.minimum(np.searchsorted(among, values, sorter=order), len(among) - 1)
    at = at if order is None else order[at]
    return np.where(among[at] == values, at, -1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The requests that both arms have. ``outcome`` and ``shape`` are those of the captured answers."""

    request: Rows
    endpoint: Texts
    outcome: Codes
    shape: Texts


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one arm answered: ``outcome`` are places in ``OUTCOMES``, ``latency`` is nan where no response came."""

    due: Times
    start: Times
    sent: Times
    end: Times
    latency: Times
    outcome: Codes
    shape: Texts


def pair(
    control: ArmEvidence,
    steps: ArmEvidence,
    spans: tuple[Span, ...],
    givers: frozenset[str] = frozenset(),
    patience_s: Callable[[str], float] = lambda _: math.inf,
) -> pd.DataFrame:
    """One row for each request that both arms have, in their order. Texts are categories.

    ``givers`` are the endpoints that hand out what later requests authenticate with, ``patience_s`` says how long the
    clients of an endpoint wait for an answer.

    Columns: request, client (a number), endpoint, phase (of the steps arm); for control and steps (``c_`` and ``t_``)
    start, sent (nan where it was not), end, kind (empty where nothing is wrong), new, good (an outcome no worse than
    captured), latency (nan where no response came), other_shape and fewer_items (than in the other arm), told of those
    pairs that could_shape and could_items; root and root_endpoint, root_start, root_end: of the request whose failure
    left this one unsent or without a token, or its own.
    """
    here, there = paired(steps.observations, control.observations)
    of_steps, of_control = _rows(steps.observations, here), _rows(control.observations, there)
    asked, t, c = _asked(of_steps), _answers(of_steps), _answers(of_control)
    phase = phases_of(spans, t.due, np.maximum(t.due, t.end))
    t_kind, c_kind = (_IS_WORSE[asked.outcome, one.outcome] * (one.outcome + 1) for one in (t, c))
    before = phase == 0
    well = answers_of(of_steps, t.outcome == _OK, t_kind == 0), answers_of(of_control, c.outcome == _OK, c_kind == 0)
    listed = asked_of(of_steps, asked.endpoint, before)
    empty, held = (Outcome.EMPTY, *emptied(listed, *well)), contents(listed, *well)
    waited_s = np.array([patience_s(name) for name in asked.endpoint.names], dtype=np.float64)[asked.endpoint.codes]
    late = (TOO_LATE, _late(t, c, waited_s, c_kind == 0), _late(c, t, waited_s, t_kind == 0))
    status = changes.statuses_of(of_steps, of_control)
    let_in = (changes.LET_IN, *changes.let_in(status, (well[0].ok, well[1].ok)))
    wrong = (WRONG_SHAPE, *_wrong_shapes(asked, t, c, before))
    for kind, in_steps, in_control in (empty, wrong, *held, let_in, late):
        t_kind[in_steps & (t_kind == 0)] = KINDS.index(kind)  # what fails otherwise already keeps its kind
        c_kind[in_control & (c_kind == 0)] = KINDS.index(kind)
    ok = (asked.outcome == _OK) & well[0].ok & well[1].ok
    shapes = changes.other_shapes(status, asked.shape, t.shape, c.shape, ok).but(_others(t_kind, c_kind, WRONG_SHAPE))
    items = changes.fewer_items(*well).but(_others(t_kind, c_kind, SHRUNKEN))
    causes = numbers(of_steps, "caused_by", -1.0).astype(np.int64)
    follows = _refused(of_steps, asked, t, t_kind, givers)
    root = _roots(asked.request, np.where((causes < 0) & (follows >= 0), asked.request[follows], causes))
    columns: dict[str, Any] = {
        "request": asked.request,
        "client": codes_of(of_steps["client"]).astype(np.int32),
        "endpoint": _category(asked.endpoint.codes, asked.endpoint.names),
        "phase": _category(phase, phase_order(spans)),
        **{f"t_{name}": values for name, values in _columns(t, t_kind, c_kind).items()},
        **{f"c_{name}": values for name, values in _columns(c, c_kind, t_kind).items()},
        **changes.columns(shapes, items),
        "root": asked.request[root],
        "root_endpoint": _category(asked.endpoint.codes[root], asked.endpoint.names),
        "root_start": t.start[root],
        "root_end": t.end[root],
    }
    return pd.DataFrame(columns, copy=False)


def _rows(observations: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """The observations at these positions; not copied where these are all of them, since there may be millions."""
    if len(rows) == len(observations) and (np.diff(rows) > 0).all():
        return observations
    return observations[[name for name in COLUMNS if name in observations]].iloc[rows]


def _asked(observations: pd.DataFrame) -> _Asked:
    return _Asked(
        request=observations["request"].to_numpy(np.int64),
        endpoint=texts_of(observations["endpoint"]),
        outcome=expected_outcomes(observations),
        shape=texts_of(observations["expected_shape"]),
    )


def _answers(observations: pd.DataFrame) -> _Answers:
    due, sent, done = (numbers(observations, name) for name in ("due_s", "sent_s", "done_s"))
    start = due + np.maximum(numbers(observations, "waited_s"), 0.0)
    end = np.where(np.isnan(done), np.where(np.isnan(sent), start, sent), done)
    outcome = texts_of(observations["outcome"]).as_in(OUTCOMES)
    return _Answers(
        due=due,
        start=start,
        sent=np.where(outcome == OUTCOMES.index(Outcome.UNSENT), np.nan, sent),
        end=np.maximum(end, start),
        latency=np.where(np.isnan(numbers(observations, "status")), np.nan, done - sent),
        outcome=np.where(outcome < 0, len(OUTCOMES), outcome),
        shape=texts_of(observations["shape"]),
    )


def _columns(answers: _Answers, kind: Codes, other: Codes) -> dict[str, Any]:
    """The columns of one arm; ``other`` are the kinds of the other one."""
    return {
        "start": answers.start,
        "sent": answers.sent,
        "end": answers.end,
        "latency": answers.latency,
        "kind": _category(kind, KINDS),
        "new": (kind > 0) & (other == 0),
        "good": kind == 0,
    }


def _category(codes: npt.NDArray[np.integer[Any]], names: Sequence[str]) -> Any:
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names), dtype=object))


def _others(t_kind: Codes, c_kind: Codes, kind: str) -> Flags:
    """Where an answer is worse in another way than this one."""
    own = KINDS.index(kind)
    found: Flags = ((t_kind > 0) & (t_kind != own)) | ((c_kind > 0) & (c_kind != own))
    return found


def _late(answers: _Answers, others: _Answers, patience_s: Times, well: Flags) -> Flags:
    """Which answers came after their client had stopped waiting, and after far longer than in the other arm.

    Where the other one was not ``well`` there is no telling how long it takes: an error may come sooner.
    """
    late: Flags = well & (answers.latency > np.maximum(patience_s, _FAR_LATER * others.latency))
    return late


def _wrong_shapes(asked: _Asked, steps: _Answers, control: _Answers, before: Flags) -> tuple[Flags, Flags]:
    """Which answers (of the steps arm, of the control) are ok and have a shape that nobody had for that endpoint.

    ``before`` are the requests that were over before the first step.
    """
    shape, t_shape, c_shape = alike(asked.shape, steps.shape, control.shape)
    places = asked.endpoint.codes * (len(shape.names) + 1)
    captured, t_had, c_had = (places + one.codes for one in (shape, t_shape, c_shape))
    answered = (asked.outcome == _OK) & (shape.codes >= 0)
    t_ok = answered & (steps.outcome == _OK) & (t_shape.codes >= 0)
    c_ok = answered & (control.outcome == _OK) & (c_shape.codes >= 0)
    known, earlier = _all_of(captured[answered]), _all_of(t_had[t_ok & before])
    in_steps, in_control = _all_of(t_had[t_ok]), _all_of(c_had[c_ok])
    return (
        _are_novel(t_had, t_ok & (t_had != captured), (known, earlier, in_control)),
        _are_novel(c_had, c_ok & (c_had != captured), (known, in_steps)),
    )


def _all_of(had: Codes) -> Codes:
    return np.asarray(pd.unique(had))


def _are_novel(had: Codes, asked: Flags, known: tuple[Codes, ...]) -> Flags:
    novel = np.zeros(len(had), dtype=np.bool_)
    rows = np.flatnonzero(asked)
    novel[rows] = ~np.isin(had[rows], np.concatenate(known))
    return novel


def _refused(observations: pd.DataFrame, asked: _Asked, answers: _Answers, kind: Codes, givers: frozenset[str]) -> Rows:
    """The position of the token request that a refusal follows from; -1 where there is none."""
    visit = numbers(observations, "visit", -1.0).astype(np.int64)
    gives = np.array([name in givers for name in asked.endpoint.names], dtype=np.bool_)
    refused = (kind == KINDS.index(Outcome.REFUSED)) & np.isin(numbers(observations, "status"), changes.UNKNOWN)
    return refused_for_want_of_a_token(
        visit, answers.start, answers.end, gives=gives[asked.endpoint.codes], failed=kind > 0, refused=refused
    )


def _roots(requests: Rows, causes: Rows) -> Rows:
    """The position of the request that failed by itself, by following ``causes`` from one to the next."""
    root = np.arange(len(requests))
    left = np.flatnonzero(causes >= 0)
    parent = root.copy()
    at = find(causes[left], requests)
    parent[left] = np.where(at >= 0, at, left)
    for _ in range(_LONGEST_CHAIN):
        further = parent[root[left]]
        if (further == root[left]).all():
            break
        root[left] = further
    return root


def difference_of(kind: str) -> str:
    """The name of the difference that a kind of failure is."""
    if kind == Outcome.EMPTY:
        return "emptied"
    return "newly failing" if kind in OUTCOMES else kind
