"""Answers that are well by status and shape, and yet hold too little or what is out of date.

*Emptied*: no items, where the other arm had some for the same request, and the capture too. Whatever else the answer
says (what was searched for, say) is no content.

*Shrunken*: fewer than half of the items that the other arm had for the same request, where the other arm had four or
more, and the capture too as far as it knows; and fewer than half of what is usual, so that a control has not shrunken
where the steps made lists longer. Usual is what the capture had, times what the endpoint's lists have on Stage for each
item there (the median over the control); where the capture does not know, the median of the control's lists.

*Stale*: the same body as the request that it reads back to (`replay.scenario.reading`), though the visit wrote there in
between, while in the other arm the two differ. In both arms the read before, the writes and the read after must have
been answered well, and one after the other. A body that is another each time (it holds a time, say) never equals
another: what is stale in it is missed, and it gives no false alarm.

Both are looked for in either arm alike, so that chance favours neither. An endpoint that does so anyway, as Stage has
state, is not held to it: one where the arms differed so in more than a twentieth of the requests that could tell before
the first step. Where fewer than 20 could, the lists of the control are laid beside those of the capture as well; where
as many could they are not, since a Stage that is smaller than production is as small in both arms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replay.judge.answers.texts import Texts, codes_of
from replay.judge.arrays import Flags, Values, Whole, numbers

SHRUNKEN = "shrunken"
STALE = "stale"
_FEWEST_ITEMS = 4
_SHRUNKEN_SHARE = 0.5
_UNSTEADY_SHARE = 0.05
_ENOUGH_BEFORE = 20
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Asked:
    """The requests of the pairs in the order of their numbers: each is an element of every array.

    ``endpoint`` are places in ``names``; ``before`` says which were over before the first step. ``items`` are those of
    the captured answers (nan: not known), ``reads_back`` numbers of requests (-1: none).
    """

    request: Whole
    visit: Whole
    endpoint: Whole
    names: Sequence[str]
    before: Flags
    items: Values
    reads_back: Whole


@dataclass(frozen=True, slots=True)
class Answers:
    """What one arm answered to them.

    ``ok`` is the outcome by itself, ``well`` that it is none worse than the captured one. ``items`` is nan where there
    is no list. ``digest`` is -1 where there is no body, and the same number for the same body.
    """

    ok: Flags
    well: Flags
    items: Values
    digest: Whole
    sent_s: Values
    done_s: Values


def asked_of(observations: pd.DataFrame, endpoint: Texts, before: Flags) -> Asked:
    """What an arm's observations say of the requests; those of older evidence say less."""
    return Asked(
        request=observations["request"].to_numpy(np.int64),
        visit=np.nan_to_num(numbers(observations, "visit")).astype(np.int64),
        endpoint=endpoint.codes,
        names=endpoint.names,
        before=before,
        items=numbers(observations, "expected_items"),
        reads_back=np.nan_to_num(numbers(observations, "reads_back"), nan=-1.0).astype(np.int64),
    )


def answers_of(observations: pd.DataFrame, ok: Flags, well: Flags) -> Answers:
    """What an arm's observations say of the answers. Digests are numbers of this arm alone."""
    reads_back = np.isfinite(numbers(observations, "reads_back")).any()
    return Answers(
        ok=ok,
        well=well,
        items=numbers(observations, "items"),
        digest=codes_of(observations["digest"]) if reads_back else np.full(len(observations), -1),
        sent_s=numbers(observations, "sent_s"),
        done_s=numbers(observations, "done_s"),
    )


def emptied(asked: Asked, steps: Answers, control: Answers) -> tuple[Flags, Flags]:
    """Which requests came back with no items at all: (in the steps arm, in the control)."""
    told = steps.ok & control.ok & (np.fmax(steps.items, control.items) > 0) & (asked.items > 0)
    differs = told & (np.fmin(steps.items, control.items) == 0)
    kinds = len(asked.names)
    tellers, apart = (_count(asked.endpoint[which & asked.before], kinds) for which in (told, differs))
    found = differs & ~_is_unsteady(tellers, apart)[asked.endpoint]
    return found & (steps.items == 0), found & (control.items == 0)


def contents(asked: Asked, steps: Answers, control: Answers) -> Iterator[tuple[str, Flags, Flags]]:
    """(kind, which requests are that in the steps arm, which in the control), for each kind."""
    yield SHRUNKEN, *shrunken(asked, steps, control)
    yield STALE, *stale(asked, steps, control)


def shrunken(asked: Asked, steps: Answers, control: Answers) -> tuple[Flags, Flags]:
    """Which requests came back with too few items: (in the steps arm, in the control)."""
    told, differs = _compare(steps.items, control.items, steps.ok & control.ok)
    if not differs.any():
        return differs, differs
    kinds = len(asked.names)
    tellers, apart = (_count(asked.endpoint[which & asked.before], kinds) for which in (told, differs))
    captured = (_count(asked.endpoint[which], kinds) for which in _compare(asked.items, control.items, control.ok))
    few = tellers < _ENOUGH_BEFORE
    of_capture, apart_from_capture = (np.where(few, counts, 0) for counts in captured)
    unsteady = _is_unsteady(tellers + of_capture, apart + apart_from_capture)
    found = differs & ~unsteady[asked.endpoint] & ~(asked.items < _FEWEST_ITEMS)
    usual = _usual(asked, control, control.ok & (_count(asked.endpoint[found], kinds) > 0)[asked.endpoint])
    found &= np.fmin(steps.items, control.items) < _SHRUNKEN_SHARE * usual
    return found & (steps.items < control.items), found & (control.items < steps.items)


def stale(asked: Asked, steps: Answers, control: Answers) -> tuple[Flags, Flags]:
    """Which requests got back what had been before their visit wrote: (in the steps arm, in the control)."""
    found = np.zeros(len(asked.request), dtype=np.bool_), np.zeros(len(asked.request), dtype=np.bool_)
    for reads in _read_backs(asked):
        told = reads.in_turn(steps) & reads.in_turn(control)
        same, same_in_control = reads.are_same(steps), reads.are_same(control)
        differs = told & (same != same_in_control)
        early = asked.before[reads.after]
        if not _is_unsteady((told & early).sum(), (differs & early).sum()):
            found[0][reads.after], found[1][reads.after] = differs & same, differs & same_in_control
    return found


@dataclass(frozen=True, slots=True)
class _Reads:
    """Reads ``after`` a write and those ``before`` it that they read back to, as places in arrays.

    The writes that may concern read ``n`` are ``writes[first[n] : stop[n]]``, those between the two in their visit.
    """

    after: Whole
    before: Whole
    writes: Whole
    first: Whole
    stop: Whole

    def in_turn(self, arm: Answers) -> Flags:
        """Where an arm answered them well, each before the next was sent, and there was a write."""
        told: Flags = arm.ok[self.after] & arm.ok[self.before] & (self.stop > self.first)
        told &= (arm.digest[self.after] >= 0) & (arm.digest[self.before] >= 0)
        told &= self._sums(arm.well[self.writes]) == self.stop - self.first
        told &= self._sums(arm.ok[self.writes]) > 0
        at, ends = np.flatnonzero(told), np.stack((self.first, self.stop), axis=1)
        if len(at):
            sent_s, done_s = (np.append(times[self.writes], 0.0) for times in (arm.sent_s, arm.done_s))
            first_s = np.minimum.reduceat(sent_s, ends[at].ravel())[::2]
            last_s = np.maximum.reduceat(done_s, ends[at].ravel())[::2]
            told[at] = (arm.done_s[self.before[at]] <= first_s) & (last_s <= arm.sent_s[self.after[at]])
        return told

    def _sums(self, flags: Flags) -> Whole:
        sums = np.concatenate(([0], np.cumsum(flags)))
        return sums[self.stop] - sums[self.first]

    def are_same(self, arm: Answers) -> Flags:
        """Where an arm gave the same body twice."""
        same: Flags = arm.digest[self.after] == arm.digest[self.before]
        return same


def _read_backs(asked: Asked) -> Iterator[_Reads]:
    """The requests of each endpoint that read back."""
    after = np.flatnonzero(asked.reads_back >= 0)
    before = np.searchsorted(asked.request, asked.reads_back[after])
    earlier = before < after  # a number that is no earlier request's says nothing
    after, before = after[earlier], before[earlier]
    meant = (asked.request[before] == asked.reads_back[after]) & (asked.visit[before] == asked.visit[after])
    after, before = after[meant], before[meant]
    if not len(after):
        return
    visits = np.unique(asked.visit, return_inverse=True)[1]
    keys = visits * len(visits) + np.arange(len(visits))  # in the order of visits, and of requests within them
    is_write = np.array([name.partition(" ")[0] in _WRITES for name in asked.names])
    writes = np.flatnonzero(is_write[asked.endpoint])
    writes = writes[np.argsort(keys[writes])]
    for endpoint in np.unique(asked.endpoint[after]).tolist():
        related = is_write & [_are_related(asked.names[endpoint], name) for name in asked.names]
        own, mine = writes[related[asked.endpoint[writes]]], asked.endpoint[after] == endpoint
        first, stop = (np.searchsorted(keys[own], keys[ends[mine]]) for ends in (before, after))
        yield _Reads(after[mine], before[mine], own, first, stop)


def _are_related(read: str, write: str) -> bool:
    """Whether one endpoint's path may begin with the other's."""
    one, other = (_segments(name) for name in (read, write))
    return all(
        first == second or first[:1] == "{" or second[:1] == "{" for first, second in zip(one, other, strict=False)
    )


def _segments(endpoint: str) -> list[str]:
    path = endpoint.partition(" ")[2].partition("#")[0]
    return [segment for segment in path.split("/") if segment]


def _usual(asked: Asked, control: Answers, ok: Flags) -> Values:
    """How many items each answer has on Stage as a rule, by the ``ok`` ones of the control; nan where none tells."""
    listed = ok & np.isfinite(control.items)
    known = np.flatnonzero(listed & (asked.items > 0))
    of_each = _medians(asked.endpoint[known], control.items[known] / asked.items[known], len(asked.names))
    alone = _medians(asked.endpoint[listed], control.items[listed], len(asked.names))
    return np.where(np.isnan(asked.items), alone[asked.endpoint], asked.items * of_each[asked.endpoint])


def _medians(groups: Whole, values: Values, count: int) -> Values:
    """The median of each of so many groups; nan where one has no values."""
    return np.asarray(pd.Series(values).groupby(groups).median().reindex(range(count)), dtype=np.float64)


def _compare(one: Values, other: Values, ok: Flags) -> tuple[Flags, Flags]:
    """Which pairs of lists can tell, and which of them differ by more than half."""
    more = np.fmax(one, other)
    told: Flags = ok & np.isfinite(one) & np.isfinite(other) & (more >= _FEWEST_ITEMS)
    return told, told & (np.fmin(one, other) < _SHRUNKEN_SHARE * more)


def _is_unsteady(tellers: Any, apart: Any) -> Any:
    """Whether that many apart, of those that could tell, are the way of an endpoint and no single event."""
    return (apart > 1) & (apart > _UNSTEADY_SHARE * tellers)


def _count(endpoints: Whole, kinds: int) -> Whole:
    return np.bincount(endpoints, minlength=kinds)
