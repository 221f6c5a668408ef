"""Effects of the steps on endpoints' latency, as one pair of arms shows them.

Slow is beyond a multiple of what the slowest twentieth took without the steps. The share of slow answers is tested
like failures, in two measures: as the answers came, and with what all of Stage has in common taken off
(`replay.judge.effects.drag`), which shows far smaller effects. What all endpoints have in common shows in the first one
only, and must be clearer there. Each is tested at two limits, since an effect that only the slowest have shows best at
the higher one. What a step leaves behind counts; while it works, only what is far slower does.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from replay.judge.arrays import Flags, Rows, Times
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.blocks import TALLY_BLOCK_S
from replay.judge.effects.drag import calm, drag, is_told
from replay.judge.effects.failures import Comparison, Events, compare, tallied
from replay.judge.effects.shifts import Least, Shift, shift_of, shifted_in_both
from replay.judge.effects.shown import Size, shown_by_both, suspected
from replay.judge.effects.tails import Tail, tail_shift
from replay.judge.effects.tallies import SLOW, Tally
from replay.judge.effects.windows import windows_of
from replay.judge.findings import BLOCKING, NOTE, SUSPECT
from replay.judge.phases import BEFORE, phase_order

_P95_SHARE = 0.05  # where so many answers are beyond the limit, the p95 is
_SIZE = Size(events=10, share=0.02)
_FAR = 4 / 3  # of the limit: twice the p95 where 1.5 times is slow
_AT_LEAST = 10
_REFERENCE_AT_LEAST = 20
# Of the usual p, and times the reference's rate at least, where endpoints have noise in common.
_STRICTER, _CLEARER = 0.1, 2.0
_CAME, _OWN = "as they came", "beside the others"
_SLOWEST = "of the slowest"  # a shift of those alone
_TAIL = Size(events=6, share=0.02)
_TAIL_STRICTER = 0.4  # of the p of other shifts
_STRONG = ("far slower, as they came", 1.0)


_Kind = tuple[str, float]  # a measure, and by how much its limit is multiplied


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Slow answers of one endpoint. ``limit_s`` is what counts as slow, ``reference_p95_s`` where it comes from.

    ``tallies`` are by kind of test, and then by window, ``p_value`` that of the test and the window that show it best.
    ``severity`` is empty where nothing is to be said. ``shifts`` are those of all
    answers, by measure, and of the slowest ones alone.
    """

    endpoint: str
    rows: Rows
    test: Comparison
    severity: str
    cause: str | None
    phases: tuple[str, ...]
    limit_s: float
    reference_p95_s: float
    lasted_s: float
    p_value: float
    tallies: dict[_Kind, dict[str, Tally]]
    shifts: dict[str, Shift]

    def shift(self, limits: Criteria) -> Shift | None:
        """The shift of all answers that one pair suspects; None where it suspects none."""
        found = [self.shifts[name] for name in self._suspected(limits) if name != _SLOWEST]
        return max(found, key=lambda one: one.ratio, default=None)

    def tail(self, limits: Criteria) -> Shift | None:
        """The shift of the slowest answers alone that one pair suspects; None where it suspects none."""
        return self.shifts[_SLOWEST] if _SLOWEST in self._suspected(limits) else None

    def _suspected(self, limits: Criteria) -> list[str]:
        return [
            name for name, one in self.shifts.items() if one.suspects(least_of(limits), _shift_p(limits, name).one_pair)
        ]


@dataclass(frozen=True)
class _Latencies:
    """The latency of every pair's answers in both arms, nan where there was no good one."""

    control: Times
    steps: Times

    @classmethod
    def of(cls, case: Case) -> "_Latencies":
        """As the answers came."""
        return cls(
            np.where(case.flags("c_good"), case.column("c_latency"), np.nan),
            np.where(case.flags("t_good"), case.column("t_latency"), np.nan),
        )

    def beside_the_others(self, case: Case) -> "_Latencies":
        """With what all of Stage has in common taken off."""
        number = np.zeros(len(self.control), dtype=np.int64)
        for place, rows in enumerate(case.rows.values()):
            number[rows] = place
        at_s, usual_s = case.column("c_start"), [_median(self.control[rows]) for rows in case.rows.values()]
        usual_s = calm(at_s, self.control, number, usual_s)
        return _Latencies(
            self.control / drag(at_s, self.control, number, usual_s),
            self.steps / drag(case.column("t_start"), self.steps, number, usual_s),
        )


_Measure = dict[str, _Latencies]  # of each case, by its control


def slowdowns(case: Case) -> list[Slowdown]:
    """The effect of the steps on the latency of every endpoint that has enough answers, by name."""
    came = {one.control.info.arm: _Latencies.of(one) for one in (case, *case.beside)}
    own = {one.control.info.arm: came[one.control.info.arm].beside_the_others(one) for one in (case, *case.beside)}
    found = [_slowdown_of(case, endpoint, {_CAME: came, _OWN: own}) for endpoint in case.rows]
    return [one for one in found if one is not None]


def slow_in_both(first: Slowdown, second: Slowdown, limits: Criteria) -> bool:
    """Whether two pairs of arms together show that an endpoint became slow: its slowest answers, or all of them."""
    for name in first.shifts.keys() & second.shifts.keys():
        if shifted_in_both(first.shifts[name], second.shifts[name], least_of(limits), *_shift_p(limits, name)):
            return True
    return any(
        shown_by_both(first.tallies[kind], second.tallies[kind], _held_to(limits, kind), _SIZE)
        for kind in first.tallies
    )


def least_of(limits: Criteria) -> Least:
    """How much longer all answers of an endpoint must take to count."""
    return Least(limits.latency_ratio, limits.latency_shift_s)


class _ShiftP(NamedTuple):
    """The p that one pair of arms must reach, and the one that two must together."""

    one_pair: float
    both: float


def _shift_p(limits: Criteria, measure: str) -> _ShiftP:
    stricter = {_OWN: 1.0, _CAME: _STRICTER, _SLOWEST: _TAIL_STRICTER}[measure]
    return _ShiftP(stricter * limits.p_value_shift, stricter * limits.p_value_shift_both)


def _held_to(limits: Criteria, kind: _Kind) -> Criteria:
    """The limits for one kind of test."""
    if kind[0] == _OWN:
        return limits
    return dataclasses.replace(
        limits,
        p_value_one_pair=_STRICTER * limits.p_value_one_pair,
        p_value_both=_STRICTER**2 * limits.p_value_both,
        p_value_alone=_STRICTER**2 * limits.p_value_alone,
        failure_ratio=max(limits.failure_ratio, _CLEARER),
    )


def _slowdown_of(case: Case, endpoint: str, measures: dict[str, _Measure]) -> Slowdown | None:
    limits, rows = case.criteria.of(endpoint), case.rows[endpoint]
    came_s = measures[_CAME][case.control.info.arm]
    p95_s = {name: _p95(case, endpoint, measure) for name, measure in measures.items()}
    later = _later(case, rows)
    if not np.isfinite(p95_s[_CAME]) or not len(later):
        return None
    limit_s = _limit_s(limits, p95_s[_CAME])
    enough_s = max(limit_s, p95_s[_CAME] + limits.latency_strong_s)
    stayed = _left_behind(case, limits)
    tallies = {
        (name, far): _tallied(case, endpoint, measure, _limit_s(limits, p95_s[name], far), stayed)
        for name, measure in measures.items()
        for far in (1.0, _FAR)
    }
    tallies[_STRONG] = _tallied(case, endpoint, measures[_CAME], enough_s, _long_enough(case, limits))
    test = compare(case, endpoint, partial(_slow, measure=measures[_CAME], limit_s=limit_s))
    slow, phase_of = case.column("t_latency")[later] > limit_s, case.texts("phase")[later]
    shares = {phase: _share(slow[phase_of == phase]) for phase in phase_order(case.spans) if phase != BEFORE}
    asked = Counter(phase_of.tolist())
    phases = tuple(phase for phase, share in shares.items() if share >= _P95_SHARE and asked[phase] >= _AT_LEAST)
    start_s, end_s = case.column("t_start")[later[slow]], case.column("t_end")[later[slow]]
    lasted_s = float(end_s.max() - start_s.min()) if slow.any() else 0.0
    cause = case.cause_of(start_s, end_s)
    noted = bool(phases) and slow.sum() >= _AT_LEAST and test.p_value <= limits.p_value
    severity = NOTE if noted else ""
    shown = {
        (kind, name) for kind, windows in tallies.items() for name in suspected(windows, _held_to(limits, kind), _SIZE)
    }
    p_value = min((tallies[kind][name].p_value(limits.failure_ratio) for kind, name in shown), default=test.p_value)
    places = {name for _, name in shown}
    shifts = _shifts_of(case, rows, measures, stayed)
    if _are_more(tallies, limits):
        shifts |= _tail_shift(case, endpoint, measures, p95_s[_CAME], stayed)
    for name, shift in shifts.items():
        if shift.suspects(least_of(limits), _shift_p(limits, name).one_pair):
            places |= stayed
            p_value = min(p_value, shift.p_value)
    if places:
        told = tuple(phase for phase in phase_order(case.spans) if phase in places)
        severity, phases = SUSPECT, told or phases or (_longest(case, later),)
    if noted and lasted_s >= limits.latency_lasting_s:
        strong = any(_persists(case, phase, later, enough_s, limits) for phase in phases)
        # One pair proves it only where others were there, of which the same would be known if it were all of Stage.
        alone = strong and _beyond_chance(tallies, limits) and is_told(case.column("t_start"), came_s.steps, later)
        if cause is not None or alone:
            severity = BLOCKING
    return Slowdown(
        endpoint, rows, test, severity, cause, phases, limit_s, p95_s[_CAME], lasted_s, p_value, tallies, shifts
    )


def _longest(case: Case, later: Rows) -> str:
    """The phase with the most of these requests."""
    return str(Counter(case.texts("phase")[later].tolist()).most_common(1)[0][0])


def _shifts_of(case: Case, rows: Rows, measures: dict[str, _Measure], phases: set[str]) -> dict[str, Shift]:
    """The shift of all answers in these phases, by measure, where there are enough to call anything lasting.

    An endpoint may be slower all through one arm, and as they came all of them may: only a change at the step counts.
    Beside the others there is so little noise that the ratio tells it.
    """
    clear = ~case.masked[0][rows] & ~case.masked[1][rows]
    told = case.phase.of(rows).where([name in phases for name in case.phase.names]) & clear
    at_s, before = case.column("t_start")[rows], ~case.later[rows] & clear
    found = {}
    for name, measure in measures.items():
        latency = measure[case.control.info.arm]
        found[name] = shift_of(latency.control[rows], latency.steps[rows], at_s, told, before, strictly=name == _CAME)
    return {name: shift for name, shift in found.items() if shift is not None}


def _are_more(tallies: dict[_Kind, dict[str, Tally]], limits: Criteria) -> bool:
    """Whether slow answers are more than before: where only the fast ones became faster, no tail is slower."""
    return any(
        _TAIL.fits(one, 1) and one.rises(limits.failure_ratio)
        for measure in (_CAME, _OWN)
        for one in tallies[measure, 1.0].values()
    )


def _tail_shift(
    case: Case, endpoint: str, measures: dict[str, _Measure], p95_s: float, phases: set[str]
) -> dict[str, Shift]:
    """The shift of what came slower than ``p95_s`` in these phases, where there is enough of it to tell."""
    quiet = [_tail(one, one.rows_of(endpoint), measures, p95_s, control=True) for one in (case, *case.beside)]
    rows = case.rows[endpoint]
    told = case.phase.of(rows).where([name in phases for name in case.phase.names])
    quiet.append(_tail(case, rows[~case.later[rows]], measures, p95_s, control=False))
    found = tail_shift(quiet, _tail(case, rows[case.later[rows] & told], measures, p95_s, control=False))
    return {} if found is None else {_SLOWEST: found}


def _tail(case: Case, rows: Rows, measures: dict[str, _Measure], p95_s: float, *, control: bool) -> Tail:
    """The slow ones among these answers of an arm, without what met a Stage that stood still."""
    came, own = (measures[name][case.control.info.arm] for name in (_CAME, _OWN))
    rows = rows[~case.masked[0 if control else 1][rows]]
    if control:
        return Tail.beyond(p95_s, case.column("c_start")[rows], came.control[rows], own.control[rows])
    return Tail.beyond(p95_s, case.column("t_start")[rows], came.steps[rows], own.steps[rows])


def _limit_s(limits: Criteria, p95_s: float, far: float = 1.0) -> float:
    return max(limits.latency_ratio * far * p95_s, p95_s + limits.latency_floor_s)


def _tallied(case: Case, endpoint: str, measure: _Measure, limit_s: float, windows: set[str]) -> dict[str, Tally]:
    """The tallies of slow answers in some of the windows."""
    return tallied(case, endpoint, partial(_slow, measure=measure, limit_s=limit_s), SLOW, windows)


def _long_enough(case: Case, limits: Criteria) -> set[str]:
    """The windows that are long enough: what is over sooner is no more than noted."""
    lengths_s = {name: TALLY_BLOCK_S * (stop - first) for name, (first, stop) in windows_of(case).items()}
    return {name for name, length_s in lengths_s.items() if length_s >= limits.latency_lasting_s}


def _left_behind(case: Case, limits: Criteria) -> set[str]:
    """The long windows after a step: while it works, it may slow others down a little, and be none the worse for it."""
    return _long_enough(case, limits) & {span.after for span in case.spans if span.ended_s is not None}


def _slow(case: Case, rows: Rows, measure: _Measure, limit_s: float) -> Events:
    """Answers that took longer than ``limit_s``, among those that came and were good."""
    latency = measure[case.control.info.arm]
    control, steps = latency.control[rows], latency.steps[rows]
    return Events(control > limit_s, np.isfinite(control), steps > limit_s, np.isfinite(steps))


def _p95(case: Case, endpoint: str, measure: _Measure) -> float:
    """The 95th percentile of what the controls and the time before the steps took; nan where that is too few."""
    known = []
    for one in (case, *case.beside):
        rows = one.rows_of(endpoint)
        known.append(measure[one.control.info.arm].control[rows[~one.masked[0][rows]]])
    rows = case.rows_of(endpoint)
    before = rows[~case.later[rows] & ~case.masked[1][rows]]
    latency = np.concatenate([*known, measure[case.control.info.arm].steps[before]])
    latency = latency[np.isfinite(latency)]
    return float(np.quantile(latency, 0.95)) if len(latency) >= _REFERENCE_AT_LEAST else np.nan


def _later(case: Case, rows: Rows) -> Rows:
    """Those of the rows that were answered well since the first step, by a Stage that did not stand still."""
    answered = case.flags("t_good")[rows] & np.isfinite(case.column("t_latency")[rows])
    return rows[answered & case.later[rows] & ~case.masked[1][rows]]


def _beyond_chance(tallies: dict[_Kind, dict[str, Tally]], limits: Criteria) -> bool:
    """Whether one window is beyond what any noise is, beside the others: a machine can be slow for a whole arm."""
    return any(
        one.rises(limits.failure_ratio) and one.p_value(limits.failure_ratio) <= limits.p_value_alone
        for (measure, _), windows in tallies.items()
        if measure == _OWN
        for one in windows.values()
    )


def _persists(case: Case, phase: str, later: Rows, limit_s: float, limits: Criteria) -> bool:
    """Whether an endpoint stayed slow from a step's end to the next step or the end: in each third of that time."""
    t_latency, at_s = case.column("t_latency")[later], case.column("t_start")[later]
    for number, span in enumerate(case.spans):
        if span.after != phase or span.ended_s is None:
            continue
        stop = next((later_span.started_s for later_span in case.spans[number + 1 :]), case.end_s)
        if stop - span.ended_s < limits.latency_lasting_s:
            continue
        edges = np.linspace(span.ended_s, stop, 4)
        thirds = [t_latency[(at_s >= low) & (at_s < high)] > limit_s for low, high in pairwise(edges)]
        if all(third.sum() >= 3 and _share(third) >= _P95_SHARE for third in thirds):
            return True
    return False


def _median(latency: Times) -> float:
    known = latency[np.isfinite(latency)]
    return float(np.median(known)) if len(known) else np.nan


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else 0.0
