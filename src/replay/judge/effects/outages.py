"""When each endpoint broke, and when it came back: as intervals that hold the moment.

An outage is a run of new failures (see `replay.judge.answers.differences`) of one endpoint that good answers do not
end. Only requests that were sent tell of it; one that stayed unsent says nothing of its own endpoint. What every
request tells:

- It was answered well: the endpoint had not broken before the request was *sent*, and had come back by the time it was
  *answered*.
- It failed: the endpoint had broken by the time it was *answered* (a request that was under way at that moment fails
  too), and had not come back before it was *sent*.

So it broke after the last good request was sent and before the first failure was answered, and came back after the
last failure was sent and before the first good answer. Both intervals hold the moment, be it seen as the change on
Stage, or as the sending of the first request that fares otherwise.

Where only a share of the requests fails (one kind of payload, say), a good answer proves nothing by itself: it may
have been one of those that never fail. Then so many good ones in a row are asked for as come by chance at most once in
a hundred, and the interval reaches back (or on) to the first (or last) of them: 1 where all fail, 7 where half do, 13
where three in ten do. An outage is parted in two by a run of good answers that lasts two seconds and is longer than the
rest of it would have anywhere by such a chance.

Where an endpoint comes back bit by bit, one instance after another, there is no one moment: the intervals then hold one
between the first bit and the last.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from replay.judge.arrays import Flags, Rows, Times
from replay.judge.case import Case
from replay.judge.effects.failures import Effect
from replay.judge.findings import NOTE, Finding
from replay.judge.statistics import more_failures_p

CALM_S = 2.0
_BY_CHANCE = 0.01
_SPELL = 3
_MOST_ASKED = 1000


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage of an endpoint, in arm seconds.

    It broke between ``last_good_s`` and ``first_bad_s``, and came back between ``last_bad_s`` and ``first_good_s``. The
    lower ends are when a request was sent, the upper ones when one was answered. ``last_good_s`` is None where there
    are too few good answers before it, ``first_good_s`` where there are too few after it: it was not seen to come back.
    ``broke`` and ``came_back`` are phases ("during STEP", "after STEP"); of the ``requests`` from the first failure to
    the last so many were ``failures``.
    """

    last_good_s: float | None
    first_bad_s: float
    last_bad_s: float
    first_good_s: float | None
    broke: str
    came_back: str | None
    requests: int
    failures: int

    @property
    def share(self) -> float:
        """The share of its requests that failed."""
        return self.failures / self.requests


def outages(
    case: Case, effects: Iterable[Effect], findings: Iterable[Finding], *, every: bool = False
) -> dict[str, list[Outage]]:
    """The outages of each endpoint, in the order of time. Endpoints without any are left out.

    Only endpoints that the judge holds something against are looked at, or ``every`` one. Where an endpoint fails now
    and then anyway, what is no more than that is left out, unless it is all that there is.
    """
    held = {one.endpoint for one in findings if one.workload == case.workload and one.severity != NOTE}
    found = {one.endpoint: _of(case, one.rows) for one in effects if every or one.endpoint in held}
    return {endpoint: several for endpoint, several in found.items() if several}


def asked_for(failures: int, requests: int, chance: float = _BY_CHANCE) -> int:
    """How many good answers in a row come with at most that chance, where such a share fails."""
    passing = 1 - failures / requests
    return 1 if passing <= chance else min(_MOST_ASKED, math.ceil(math.log(chance) / math.log(passing)))


def _of(case: Case, rows: Rows) -> list[Outage]:
    new, later, sent = case.flags("t_new"), case.later, case.column("t_sent")
    told = np.isfinite(sent) & (case.flags("t_good") | (new & later))
    anyway = int((case.flags("c_new") | (new & ~later))[rows].sum())
    asked = len(rows) + int((~later[rows]).sum())
    rows = rows[told[rows]]
    track = _Track(sent[rows], case.column("t_end")[rows], new[rows], case.texts("phase")[rows])
    all_of_them = [track.outage(bad, good) for bad, good in track.spells()]
    counted = [one for one in all_of_them if _stands_out(one, len(rows), anyway, asked)]
    return sorted(counted or all_of_them, key=lambda one: one.first_bad_s)


def _stands_out(one: Outage, requests: int, anyway: int, asked: int) -> bool:
    """Whether an outage is more than what the endpoint does anyway (``anyway`` of ``asked``), wherever one looks."""
    if not anyway:
        return True
    return one.failures >= _SPELL and requests * more_failures_p(one.failures, one.requests, anyway, asked, 1.0) <= 0.05


@dataclass(frozen=True, slots=True)
class _Track:
    """The requests of one endpoint: when each was sent and answered, whether it failed newly, and its phase."""

    sent: Times
    done: Times
    bad: Flags
    phase: npt.NDArray[np.object_]

    def spells(self) -> list[tuple[Rows, int]]:
        """The failures, parted where good answers end an outage; with each the number of good ones among them."""
        bad = np.flatnonzero(self.bad)
        bad = bad[np.argsort(self.done[bad], kind="stable")]
        if not len(bad):
            return []
        # Between two failures count the good requests that were sent after all failures so far and before the next.
        last_s = np.maximum.accumulate(self.sent[bad])[:-1]
        good_sent = np.sort(self.sent[~self.bad])
        next_s = self.sent[bad][1:]
        good = np.searchsorted(good_sent, next_s) - np.searchsorted(good_sent, last_s, side="right")
        good = np.concatenate(([0], np.maximum(good, 0)))
        quiet = np.concatenate(([False], next_s - last_s >= CALM_S))
        found, open_ = [], [(0, len(bad))]
        while open_:
            first, stop = open_.pop()
            inner = np.where(quiet[first + 1 : stop], good[first + 1 : stop], 0)
            among = int(good[first + 1 : stop].sum())
            at = first + 1 + int(np.argmax(inner)) if len(inner) else stop
            if at < stop and self._parts(int(inner.max()), stop - first, among):
                open_ += [(first, at), (at, stop)]
            else:
                found.append((bad[first:stop], among))
        return found

    @staticmethod
    def _parts(gap: int, failures: int, among: int) -> bool:
        """Whether so many good answers in a row end an outage: the rest of it would hardly have such a run anywhere."""
        return gap >= asked_for(failures, failures + among - gap + 1, _BY_CHANCE / failures)

    def outage(self, bad: Rows, good: int) -> Outage:
        """The outage of these failures, with so many good answers among them."""
        first, last = bad[np.argmin(self.done[bad])], bad[np.argmax(self.sent[bad])]
        first_bad_s, last_bad_s = float(self.done[first]), float(self.sent[last])
        asked = asked_for(len(bad), len(bad) + good)
        earlier = (self.done <= first_bad_s) | (self.sent < self.sent[bad].min())
        before = np.sort(self.sent[~self.bad & earlier])
        later = np.flatnonzero(~self.bad & (self.sent > last_bad_s) & (self.sent >= first_bad_s))
        later = later[np.argsort(self.done[later], kind="stable")]
        back = later[asked - 1] if len(later) >= asked else None
        return Outage(
            last_good_s=float(before[-asked]) if len(before) >= asked else None,
            first_bad_s=first_bad_s,
            last_bad_s=last_bad_s,
            first_good_s=None if back is None else float(self.done[back]),
            broke=str(self.phase[first]),
            came_back=None if back is None else str(self.phase[back]),
            requests=len(bad) + good,
            failures=len(bad),
        )
