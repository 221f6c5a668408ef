"""Effects of the steps on endpoints: failures, outages, latency, and the whole Stage standing still.

An effect with a proven cause (a lock behind the step, an error that names what the step changed) needs less proof
than one that stands alone. One that stands alone must not rest on a single burst: its worst three seconds are left out
of its test, unless it is a spell of failures that came with a step, or an outage.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.findings import BLOCKING, NOTE, SUSPECT
from replay.judge.noise import BLOCK_S, Flags, longest_outage, recovery, within
from replay.judge.phases import BEFORE, phase_order
from replay.judge.statistics import dispersion, more_failures_p, smallest_visible

Times = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
_BURST_S = 3
_SPELL_FAILURES = 10
_SPELL_SUSTAINED = 5
_WITH_CAUSE = 3
_GONE = 2
_SLOW_SHARE = 0.05
_SLOW_AT_LEAST = 10
_REFERENCE_AT_LEAST = 20


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
    p_without_burst: float
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
    none of its requests succeeded any more, however few they were.
    """

    endpoint: str
    rows: Rows
    test: Comparison
    severity: str
    alone: str
    gone: bool
    caused: bool
    caused_p: float
    phases: tuple[str, ...]
    outage_s: float
    reference_outage_s: float
    first_bad_s: float | None
    recovered_s: float | None
    smallest: int | None

    @property
    def took_s(self) -> float | None:
        """How long it took to come back, once it broke; None where it did not."""
        return None if self.first_bad_s is None or self.recovered_s is None else self.recovered_s - self.first_bad_s

    @property
    def p_value(self) -> float:
        """The p that its severity rests on."""
        if self.caused:
            return self.caused_p
        return self.test.p_by_reference if self.test.spell else self.test.p_value


def compare(case: Case, endpoint: str, told: Callable[[Case, Rows], Events]) -> Comparison:
    """Test events of one endpoint, as ``told`` finds them in a case's rows, against all that was without the steps."""
    rows = case.rows[endpoint]
    events = told(case, rows)
    _, masked = case.masked
    asked = events.asked & ~masked[rows]
    rows, hits = rows[asked], events.hits[asked]
    is_later = case.later[rows]
    later, before, later_hits = rows[is_later], rows[~is_later], hits[is_later]
    t_start = case.column("t_start")
    quiet = [_of_control(case, endpoint, events)]
    quiet += [_of_control(one, endpoint, told(one, one.rows_of(endpoint))) for one in case.beside]
    quiet.append((t_start[before], hits[~is_later]))
    reference, n_reference = sum(int(hits.sum()) for _, hits in quiet), sum(len(hits) for _, hits in quiet)
    cells = np.concatenate([at_s + 1e6 * number for number, (at_s, _) in enumerate(quiet)])
    in_reference = _blocks(cells, np.concatenate([hits for _, hits in quiet]))
    reference_phi = dispersion(in_reference)
    x, n = int(later_hits.sum()), len(later)
    phi = _phi(case, in_reference, later, later_hits)
    p = more_failures_p(x, n, reference, n_reference, phi)
    calm = ~_worst_burst(t_start[later], later_hits)
    calm_phi = _phi(case, in_reference, later[calm], later_hits[calm])
    p_calm = more_failures_p(int(later_hits[calm].sum()), n, reference, n_reference, calm_phi)
    hit = later[later_hits]
    return Comparison(
        later=x,
        n_later=n,
        reference=reference,
        n_reference=n_reference,
        phi=phi,
        reference_phi=reference_phi,
        p_value=p,
        p_without_burst=max(p, p_calm),
        p_by_reference=more_failures_p(x, n, reference, n_reference, reference_phi),
        seconds=len(np.unique(np.floor(case.column("t_end")[hit]))),
        spell=_is_spell(case, t_start[hit], [at_s[hits] for at_s, hits in quiet]),
    )


def _of_control(case: Case, endpoint: str, events: Events) -> tuple[Times, Flags]:
    """The moments at which the control was asked, and which of them were hits."""
    rows = case.rows_of(endpoint)
    masked, _ = case.masked
    asked = events.control_asked & ~masked[rows]
    return case.column("c_start")[rows[asked]], events.control_hits[asked]


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
    sustained = _sustained(near)
    return sustained >= _SPELL_SUSTAINED and sustained >= 3 * max(_sustained(moments) for moments in reference)


def _sustained(at_s: Times) -> int:
    """The most failures within five seconds, the worst two of those seconds left out: a burst sustains nothing."""
    if not len(at_s):
        return 0
    second = np.floor(at_s - np.floor(at_s.min())).astype(np.int64)
    counts = np.bincount(second, minlength=int(second.max()) + int(BLOCK_S))
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(counts, int(BLOCK_S)), axis=1)
    return int(windows[:, :-2].sum(axis=1).max())


def _blocks(at_s: Times, hits: Flags) -> tuple[Times, Times]:
    _, cell = np.unique(np.floor(at_s / BLOCK_S), return_inverse=True)
    failures: Times = np.bincount(cell, weights=hits.astype(np.float64)).astype(np.float64)
    return (failures, np.bincount(cell).astype(np.float64))


def _worst_burst(at_s: Times, hits: Flags) -> Flags:
    """The hits of the worst three seconds."""
    if not hits.any():
        return hits
    second = np.floor(at_s - at_s.min()).astype(np.int64)
    counts = np.bincount(second[hits], minlength=int(second.max()) + _BURST_S)
    worst = int(np.argmax(np.convolve(counts, np.ones(_BURST_S, dtype=np.int64), mode="valid")))
    burst: Flags = hits & (second >= worst) & (second < worst + _BURST_S)
    return burst


def failures(case: Case) -> list[Effect]:
    """The effect of the steps on the failures of every endpoint, by name."""
    return [_failures_of(case, endpoint) for endpoint in case.rows]


def _new_failures(case: Case, rows: Rows) -> Events:
    fair = case.fair[rows]
    return Events(case.flags("c_new")[rows], fair, case.flags("t_new")[rows], fair)


def _failures_of(case: Case, endpoint: str) -> Effect:
    limits, rows = case.criteria.of(endpoint), case.rows[endpoint]
    t_new, fair = case.flags("t_new"), case.fair
    test = compare(case, endpoint, _new_failures)
    _, masked = case.masked
    t_start, t_end = case.column("t_start"), case.column("t_end")
    later = rows[case.later[rows] & fair[rows] & ~masked[rows]]
    before = rows[~case.later[rows] & fair[rows] & ~masked[rows]]
    outage_s, _ = longest_outage(t_start[later], t_end[later], t_new[later])
    reference_outage_s = max(
        longest_outage(t_start[before], t_end[before], t_new[before])[0],
        *(_longest_of_control(one, endpoint) for one in (case, *case.beside)),
    )
    failing = later[t_new[later]]
    met = later[case.met_cause(case.column("root_start")[later], case.column("root_end")[later])]
    x_met = int(t_new[met].sum())
    caused_p = more_failures_p(x_met, len(met), test.reference, test.n_reference, test.reference_phi)
    caused = x_met >= _WITH_CAUSE and caused_p <= limits.p_value_with_cause
    by_phase = Counter(case.texts("phase")[failing].tolist())
    in_phase = Counter(case.texts("phase")[later].tolist())
    strong = any(
        count >= limits.strong_failures and count >= limits.failure_share * in_phase[phase]
        for phase, count in by_phase.items()
    )
    alone = _severity_alone(test, limits, (outage_s, reference_outage_s), strong=strong)
    gone = not test.reference and test.n_reference >= _GONE and _is_gone(t_end[later], t_new[later])
    if gone and alone != BLOCKING:
        alone = SUSPECT
    first_bad_s, recovered_s = recovery(t_start[later], t_end[later], t_new[later])
    phases = [phase for phase in phase_order(case.spans) if by_phase[phase] >= max(3, 0.1 * len(failing))]
    return Effect(
        endpoint=endpoint,
        rows=rows,
        test=test,
        severity=BLOCKING if caused else alone,
        alone=alone,
        gone=gone,
        caused=caused,
        caused_p=caused_p,
        phases=tuple(phases or [phase for phase, _ in by_phase.most_common(1)]),
        outage_s=outage_s,
        reference_outage_s=reference_outage_s,
        first_bad_s=first_bad_s,
        recovered_s=recovered_s,
        smallest=smallest_visible(test.n_later, test.reference, test.n_reference, test.phi, limits.p_value),
    )


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
    return len(last) >= _GONE and bool(last[-1] - last[0] > _BURST_S)


def _severity_alone(test: Comparison, limits: Criteria, outages_s: tuple[float, float], *, strong: bool) -> str:
    outage_s, reference_outage_s = outages_s
    out = outage_s >= limits.outage_s and outage_s > 1.5 * reference_outage_s
    enough = test.later - test.reference * test.n_later / max(1, test.n_reference) >= limits.min_failures
    spread = enough and test.seconds >= limits.min_seconds
    apart = test.p_by_reference <= limits.p_value
    if apart and out and outage_s >= limits.unavailable_s:
        return BLOCKING
    lasting = test.p_without_burst <= limits.p_value and spread
    if (lasting or (apart and test.spell)) and strong:
        return BLOCKING
    if lasting or (apart and spread and (out or test.spell)):
        return SUSPECT
    return NOTE if test.p_value <= limits.p_value and spread else ""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Slow answers of one endpoint. ``limit_s`` is what counts as slow, ``reference_p95_s`` where it comes from."""

    endpoint: str
    rows: Rows
    test: Comparison
    severity: str
    cause: str | None
    phases: tuple[str, ...]
    limit_s: float
    reference_p95_s: float
    lasted_s: float


def slowdowns(case: Case, effects: list[Effect]) -> list[Slowdown]:
    """Endpoints whose answers became slow in at least one phase: 5% of them beyond 1.5 times the reference's p95."""
    found = [_slowdown_of(case, effect.endpoint) for effect in effects]
    return [slowdown for slowdown in found if slowdown is not None]


def _slow(case: Case, rows: Rows, limit_s: float) -> Events:
    """Answers that took longer than ``limit_s``, among those that came and were good."""
    c_latency, t_latency = case.column("c_latency")[rows], case.column("t_latency")[rows]
    c_asked = case.flags("c_good")[rows] & np.isfinite(c_latency)
    t_asked = case.flags("t_good")[rows] & np.isfinite(t_latency)
    return Events(c_asked & (c_latency > limit_s), c_asked, t_asked & (t_latency > limit_s), t_asked)


def _slowdown_of(case: Case, endpoint: str) -> Slowdown | None:
    limits, rows = case.criteria.of(endpoint), case.rows[endpoint]
    t_latency = case.column("t_latency")
    _, masked = case.masked
    asked = rows[case.flags("t_good")[rows] & np.isfinite(t_latency[rows]) & ~masked[rows]]
    later, before = asked[case.later[asked]], asked[~case.later[asked]]
    known = np.concatenate([*(_latency_of_control(one, endpoint) for one in (case, *case.beside)), t_latency[before]])
    if len(known) < _REFERENCE_AT_LEAST or not len(later):
        return None
    p95_s = float(np.quantile(known, 0.95))
    limit_s = max(limits.latency_ratio * p95_s, p95_s + limits.latency_floor_s)
    slow, phase_of = t_latency[later] > limit_s, case.texts("phase")[later]
    if slow.sum() < _SLOW_AT_LEAST:
        return None
    test = compare(case, endpoint, partial(_slow, limit_s=limit_s))
    phases = tuple(
        phase for phase in phase_order(case.spans) if phase != BEFORE and _share(slow[phase_of == phase]) >= _SLOW_SHARE
    )
    if test.p_value > limits.p_value or not phases:
        return None
    t_start, t_end = case.column("t_start"), case.column("t_end")
    hit = later[slow]
    cause = case.cause_of(t_start[hit], t_end[hit])
    lasted_s = float(t_end[hit].max() - t_start[hit].min())
    persistent = any(_persists(case, phase, later, slow, limits) for phase in phases)
    lasting = test.p_without_burst <= limits.p_value and lasted_s >= limits.latency_lasting_s
    severity = BLOCKING if lasting and (cause is not None or persistent) else NOTE
    return Slowdown(endpoint, rows, test, severity, cause, phases, limit_s, p95_s, lasted_s)


def _latency_of_control(case: Case, endpoint: str) -> Times:
    rows = case.rows_of(endpoint)
    masked, _ = case.masked
    latency = case.column("c_latency")[rows]
    return latency[case.flags("c_good")[rows] & np.isfinite(latency) & ~masked[rows]]


def _persists(case: Case, phase: str, later: Rows, slow: Flags, limits: Criteria) -> bool:
    """Whether an endpoint stayed slow after a step until the next one or the end: in each third of that time.

    ``slow`` are flags of the rows ``later``.
    """
    for number, span in enumerate(case.spans):
        if span.after != phase or span.ended_s is None:
            continue
        start = span.ended_s
        stop = next((later_span.started_s for later_span in case.spans[number + 1 :]), case.end_s)
        if stop - start < limits.latency_lasting_s:
            continue
        at_s = case.column("t_start")[later]
        edges = np.linspace(start, stop, 4)
        thirds = [slow[(at_s >= low) & (at_s < high)] for low, high in pairwise(edges)]
        if all(third.sum() >= 3 and _share(third) >= _SLOW_SHARE for third in thirds):
            return True
    return False


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else 0.0
