"""Effects of the steps on endpoints' failures, as one pair of arms shows them.

What has a proven cause (a lock behind the step, an error that names what the step changed) needs less proof than what
stands alone. Without a cause one pair can only suspect: bursts of failures that are nobody's doing come up in one arm
and not in the other. What a second pair must show to confirm it is said in `replay.judge.effects.shown`; only what no
burst can be is blocking by itself.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from replay.judge.answers.contents import SHRUNKEN, STALE
from replay.judge.arrays import Flags, Rows, Times
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.clients import Part
from replay.judge.effects.noise import NOISE_BLOCK_S, longest_outage, near_stall, recovery, within
from replay.judge.effects.shown import Size, clearer, shown_by_both, suspected
from replay.judge.effects.tallies import FAILURES, Counting, Tally, failures_in_windows, in_windows
from replay.judge.effects.windows import LATER, windows_of
from replay.judge.findings import BLOCKING, NOTE, SUSPECT
from replay.judge.phases import phase_order
from replay.judge.statistics import dispersion, more_failures_p, smallest_visible

_SPELL_FAILURES = 10
_SPELL_SUSTAINED = 5
_BURST_S = 3
_WITH_CAUSE = 3
_GONE = 2
_GONE_S = 3.0
_OUTAGE_P = 0.02
_OF_STATE = (SHRUNKEN, STALE)  # arms whose states differ drift further apart while they last
_STRONG = 0.9  # of the longest outage that is put up with


@dataclass(frozen=True, slots=True)
class Comparison:
    """Events (failures, slow answers) since the first step against the reference.

    ``phi`` and ``p_value`` take the clustering of both into account; ``reference_phi`` and ``p_by_reference`` that of
    the reference alone, for what a lock or an outage sets apart; ``p_without_burst`` leaves out the worst three
    seconds. ``seconds`` counts the distinct seconds in which events were seen; ``spell`` is what `_is_spell`
    says.
    """

    later: int
    n_later: int
    reference: int
    n_reference: int
    phi: float
    reference_phi: float
    p_value: float
    p_by_reference: float
    seconds: int
    spell: bool


@dataclass(frozen=True, slots=True)
class Events:
    """What happened to an endpoint's requests: ``hits`` among those that ``asked``, in both arms."""

    control_hits: Flags
    control_asked: Flags
    hits: Flags
    asked: Flags


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of one endpoint. ``rows`` are its positions in the case's pairs.

    ``caused`` says that its failures are too many among the requests that met a lock behind a step or an error naming
    what the step changed (``caused_p``); ``alone`` is the severity that it would have without that. ``gone`` says that
    none of its requests succeeded any more, however few they were; ``out`` that an outage is longer than the
    reference's, and ``strong`` that it is longer than any burst. ``tallies`` are those of the windows of
    `replay.judge.effects.windows`, by name, of all failures and of those spread over clients; ``mirrored`` those beside
    the control's own failures in the same time, where what fails may come of arms that drift apart, else none.
    """

    endpoint: str
    rows: Rows
    test: Comparison
    tallies: dict[str, Tally]
    mirrored: dict[str, Tally]
    severity: str
    alone: str
    gone: bool
    out: bool
    caused: bool
    caused_p: float
    phases: tuple[str, ...]
    outage_s: float
    reference_outage_s: float
    first_bad_s: float | None
    recovered_s: float | None
    smallest: int | None
    strong: bool

    @property
    def took_s(self) -> float | None:
        """How long it took to come back, once it broke; None where it did not."""
        return None if self.first_bad_s is None or self.recovered_s is None else self.recovered_s - self.first_bad_s

    @property
    def p_value(self) -> float:
        """The p that its severity rests on."""
        if self.caused:
            return self.caused_p
        if self.alone in {NOTE, ""}:
            return self.test.p_value
        found = [one.p_value() for one in self.tallies.values()]
        return min([*found, self.test.p_by_reference] if self.out or self.test.spell else found, default=1.0)


def compare(case: Case, endpoint: str, told: Callable[[Case, Rows], Events]) -> Comparison:
    """Test events of one endpoint, as ``told`` finds them in a case's rows, against all that was without the steps."""
    quiet, later, later_hits = _asked(case, endpoint, told)
    t_start = case.column("t_start")
    reference, n_reference = sum(int(part.events.sum()) for part in quiet), sum(len(part.events) for part in quiet)
    cells = np.concatenate([part.at_s + 1e6 * number for number, part in enumerate(quiet)])
    in_reference = _blocks(cells, np.concatenate([part.events for part in quiet]))
    reference_phi = dispersion(in_reference)
    x, n = int(later_hits.sum()), len(later)
    phi = _phi(case, in_reference, later, later_hits)
    hit = later[later_hits]
    return Comparison(
        later=x,
        n_later=n,
        reference=reference,
        n_reference=n_reference,
        phi=phi,
        reference_phi=reference_phi,
        p_value=more_failures_p(x, n, reference, n_reference, phi),
        p_by_reference=more_failures_p(x, n, reference, n_reference, reference_phi),
        seconds=len(np.unique(np.floor(case.column("t_end")[hit]))),
        spell=_is_spell(case, t_start[hit], [part.at_s[part.events] for part in quiet]),
    )


def tallied(
    case: Case,
    endpoint: str,
    told: Callable[[Case, Rows], Events],
    counting: Counting = FAILURES,
    among: Collection[str] | None = None,
) -> dict[str, Tally]:
    """The tally of such events in each window, or in those ``among`` them, by the window's name."""
    windows = {name: one for name, one in windows_of(case).items() if among is None or name in among}
    if not windows:
        return {}
    quiet, later = _parts(case, endpoint, told)
    return in_windows(counting, quiet, later, case.first_step_s, windows)


def _failures_tallied(case: Case, endpoint: str) -> dict[str, Tally]:
    """The tallies of new failures in each window, by its name."""
    quiet, later = _parts(case, endpoint, _new_failures)
    return failures_in_windows(quiet, later, case.first_step_s, windows_of(case))


def _parts(case: Case, endpoint: str, told: Callable[[Case, Rows], Events]) -> tuple[list[Part], Part]:
    """(the parts of the reference, what was asked later)."""
    quiet, rows, hits = _asked(case, endpoint, told)
    return quiet, _part(case, "t_start", rows, hits)


def _asked(case: Case, endpoint: str, told: Callable[[Case, Rows], Events]) -> tuple[list[Part], Rows, Flags]:
    """(the parts of the reference, the rows asked later, their hits)."""
    rows = case.rows[endpoint]
    events = told(case, rows)
    _, masked = case.masked
    asked = events.asked & ~masked[rows]
    rows, hits = rows[asked], events.hits[asked]
    is_later = case.later[rows]
    quiet = [_of_control(case, endpoint, events)]
    quiet += [_of_control(one, endpoint, told(one, one.rows_of(endpoint))) for one in case.beside]
    quiet.append(_part(case, "t_start", rows[~is_later], hits[~is_later]))
    return quiet, rows[is_later], hits[is_later]


def _of_control(case: Case, endpoint: str, events: Events) -> Part:
    """What the control was asked."""
    rows = case.rows_of(endpoint)
    masked, _ = case.masked
    asked = events.control_asked & ~masked[rows]
    return _part(case, "c_start", rows[asked], events.control_hits[asked])


def _part(case: Case, start: str, rows: Rows, hits: Flags) -> Part:
    return Part(case.column(start)[rows], hits, case.clients[rows])


def _phi(case: Case, reference: tuple[Times, Times], later: Rows, hits: Flags) -> float:
    """The dispersion, every phase centred at its own rate: an effect that fills a phase is not held for a burst."""
    phase, at_s = case.texts("phase")[later], case.column("t_start")[later]
    groups = [phase == name for name in phase_order(case.spans)]
    return dispersion(reference, *(_blocks(at_s[group], hits[group]) for group in groups))


def _is_spell(case: Case, at_s: Times, reference: Sequence[Times]) -> bool:
    """Whether failures at these moments are a spell that came with a step and is like nothing in the reference.

    Two thirds of them and 10 or more while a step ran (or within two seconds after), and 5 or more sustained: three
    times as many as ever in the control and in the time before the steps.
    """
    near = at_s[within(at_s, at_s, case.step_windows)]
    if len(near) < max(_SPELL_FAILURES, 2 * len(at_s) / 3):
        return False
    sustained = _sustained(near, every_second=True)
    return sustained >= _SPELL_SUSTAINED and sustained >= 3 * max(_sustained(moments) for moments in reference)


def _sustained(at_s: Times, *, every_second: bool = False) -> int:
    """The most failures within five seconds, the worst three of these left out: a burst sustains nothing.

    ``every_second`` asks for failures in each of the five.
    """
    if not len(at_s):
        return 0
    second = np.floor(at_s - np.floor(at_s.min())).astype(np.int64)
    counts = np.bincount(second, minlength=int(second.max()) + int(NOISE_BLOCK_S))
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(counts, int(NOISE_BLOCK_S)), axis=1)
    if every_second:
        windows = windows[windows[:, 0] > 0]
    return int(windows[:, :-_BURST_S].sum(axis=1).max(initial=0))


def _blocks(at_s: Times, hits: Flags) -> tuple[Times, Times]:
    _, cell = np.unique(np.floor(at_s / NOISE_BLOCK_S), return_inverse=True)
    failures: Times = np.bincount(cell, weights=hits.astype(np.float64)).astype(np.float64)
    return (failures, np.bincount(cell).astype(np.float64))


def failures(case: Case) -> list[Effect]:
    """The effect of the steps on the failures of every endpoint, by name."""
    return [_failures_of(case, endpoint) for endpoint in case.rows]


def failing_in_both(first: Effect, second: Effect, limits: Criteria) -> bool:
    """Whether two pairs of arms together show that an endpoint fails: in the same window, or in the same way."""
    if not all(_is_more_than_drift(one.mirrored, limits) for one in (first, second)):
        return False
    ways = (
        (first.out, second.out),
        (first.gone, second.gone),
        (first.test.spell, second.test.spell),
        (first.severity == BLOCKING, second.severity == BLOCKING),
    )
    if any(one and other for one, other in ways):
        return True
    return bool(shown_by_both(first.tallies, second.tallies, limits, Size(limits.min_failures)))


def _new_failures(case: Case, rows: Rows, *, later: bool = False) -> Events:
    """New failures of both arms; ``later`` looks only at the time since the first step."""
    asked = case.fair[rows] & case.later[rows] if later else case.fair[rows]
    return Events(case.flags("c_new")[rows], asked, case.flags("t_new")[rows], asked)


def _mirrored(case: Case, endpoint: str, failing: Rows) -> dict[str, Tally]:
    """The tallies beside the control's failures of the same time, where what fails drifts apart in both arms."""
    rows = case.rows[endpoint]
    other = rows[case.later[rows] & case.flags("c_new")[rows]]
    drifting = _hold_too_little(case.texts("t_kind")[failing]) and _hold_too_little(case.texts("c_kind")[other])
    return tallied(case, endpoint, partial(_new_failures, later=True)) if drifting else {}


def _is_more_than_drift(mirrored: dict[str, Tally], limits: Criteria) -> bool:
    return not mirrored or bool(suspected(mirrored, clearer(limits), Size(limits.min_failures)))


def _hold_too_little(kinds: npt.NDArray[np.object_]) -> bool:
    """Whether most of these answers are well by themselves, and hold less than the other arm's, or what is old."""
    return bool(2 * np.isin(kinds, _OF_STATE).sum() > len(kinds))


def _failures_of(case: Case, endpoint: str) -> Effect:
    limits, rows = case.criteria.of(endpoint), case.rows[endpoint]
    t_new, fair = case.flags("t_new"), case.fair
    test = compare(case, endpoint, _new_failures)
    windows = _failures_tallied(case, endpoint)
    _, masked = case.masked
    t_start, t_end = case.column("t_start"), case.column("t_end")
    later = rows[case.later[rows] & fair[rows] & ~masked[rows]]
    before = rows[~case.later[rows] & fair[rows] & ~masked[rows]]
    outage_s, _ = longest_outage(t_start[later], t_end[later], t_new[later])
    reference_outage_s = max(
        longest_outage(t_start[before], t_end[before], t_new[before])[0],
        *(_longest_of_control(one, endpoint) for one in (case, *case.beside)),
    )
    # When the whole Stage stands still, that is one event, and not the endpoints' own.
    stalls = tuple(stall for stall in case.later_stalls if not case.behind_lock(stall))
    own = later[~near_stall(t_start[later], stalls)] if stalls else later
    own_outage_s = longest_outage(t_start[own], t_end[own], t_new[own])[0] if stalls else outage_s
    lost = own_outage_s * len(own) / max(1.0, case.end_s - case.first_step_s)  # about so many requests in the outage
    failing = later[t_new[later]]
    met = later[case.met_cause(case.column("root_start")[later], case.column("root_end")[later])]
    x_met, asked = int(t_new[met].sum()), limits.failure_ratio * len(met)
    caused_p = more_failures_p(x_met, asked, test.reference, test.n_reference, test.reference_phi)
    caused = x_met >= _WITH_CAUSE and caused_p <= limits.p_value_with_cause
    by_phase = Counter(case.texts("phase")[failing].tolist())
    in_phase = Counter(case.texts("phase")[later].tolist())
    out = own_outage_s >= max(limits.shortest_outage_s, 1.5 * reference_outage_s) and test.p_by_reference <= _OUTAGE_P
    many = any(
        count >= limits.strong_failures and count >= limits.failure_share * in_phase[phase]
        for phase, count in by_phase.items()
    )
    alone = _severity_alone(test, windows, limits, own_outage_s if out else 0.0, many=many)
    mirrored = _mirrored(case, endpoint, failing)
    if mirrored and alone in {SUSPECT, BLOCKING}:  # one pair cannot prove it, since what drifts goes on doing so
        alone = SUSPECT if _is_more_than_drift(mirrored, limits) else NOTE
    gone = not test.reference and test.n_reference >= _GONE and _is_gone(t_end[later], t_new[later])
    if gone and alone != BLOCKING:
        alone = SUSPECT
    first_bad_s, recovered_s = recovery(t_start[later], t_end[later], t_new[later])
    phases = [phase for phase in phase_order(case.spans) if by_phase[phase] >= max(3, 0.1 * len(failing))]
    return Effect(
        endpoint=endpoint,
        rows=rows,
        test=test,
        tallies=windows,
        mirrored=mirrored,
        severity=BLOCKING if caused else alone,
        alone=alone,
        gone=gone,
        out=out,
        caused=caused,
        caused_p=caused_p,
        phases=tuple(phases or [phase for phase, _ in by_phase.most_common(1)]),
        outage_s=outage_s,
        reference_outage_s=reference_outage_s,
        first_bad_s=first_bad_s,
        recovered_s=recovered_s,
        smallest=_smallest(windows[LATER], limits) if LATER in windows else None,
        strong=out and own_outage_s >= _STRONG * limits.unavailable_s and lost >= limits.strong_failures,
    )


def _smallest(later: Tally, limits: Criteria) -> int | None:
    """The fewest new failures, each in a block of its own, that one pair of arms would suspect."""
    asked = limits.failure_ratio * later.requests
    found = smallest_visible(asked, later.reference, later.n_reference, later.phi, limits.p_value_one_pair)
    return None if found is None else max(found, math.ceil(limits.min_failures / 2))


def _longest_of_control(case: Case, endpoint: str) -> float:
    rows = case.rows_of(endpoint)
    rows = rows[case.fair[rows]]
    return longest_outage(case.column("c_start")[rows], case.column("c_end")[rows], case.flags("c_new")[rows])[0]


def _is_gone(end_s: Times, bad: Flags) -> bool:
    """Whether the last requests, two or more and for longer than a burst, all failed.

    Too few for any test where an endpoint is seldom called; but a rare endpoint that is lost for good must not be GO.
    """
    order = np.argsort(end_s, kind="stable")
    good = np.flatnonzero(~bad[order])
    last = end_s[order][int(good[-1]) + 1 if len(good) else 0 :]
    return len(last) >= _GONE and bool(last[-1] - last[0] > _GONE_S)


def _severity_alone(
    test: Comparison, windows: dict[str, Tally], limits: Criteria, outage_s: float, *, many: bool
) -> str:
    """How much one pair of arms says without a cause. ``many`` is the size that blocking takes by itself."""
    apart = test.p_by_reference <= limits.p_value
    if outage_s >= limits.unavailable_s and test.p_by_reference <= limits.p_value_both:
        return BLOCKING
    rising = [one for one in windows.values() if one.rises(limits.failure_ratio)]
    least_p = min((one.p_value(limits.failure_ratio) for one in rising), default=1.0)
    if many and least_p <= (limits.p_value_both if apart and test.spell else limits.p_value_alone):
        return BLOCKING
    if outage_s or (apart and test.spell) or suspected(windows, limits, Size(limits.min_failures)):
        return SUSPECT
    enough = test.later - test.reference * test.n_later / max(1, test.n_reference) >= limits.min_failures
    return NOTE if test.p_value <= limits.p_value and enough and test.seconds >= limits.min_seconds else ""
