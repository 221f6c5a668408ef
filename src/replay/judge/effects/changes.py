"""Effects of the steps on what answers hold, where no single answer is worse than the endpoint's may be anyway.

The event is an answer that is another than the same request got without the steps (`replay.judge.answers.changes`). Its
mirror image, the control's answer being the odd one, comes as often by chance: that and the steps arm before the first
step are the reference, by the same tallies as failures. Lists that grow while traffic is played, and shapes that come
and go, differ both ways. But arms drift apart while they last, and what differs once does so in every answer from then
on: so the mirror image of the same time is a second reference, twice as many as which it must be. One pair of arms can
only suspect, and a second one must show it again, at the same requests: what drifts by chance does so elsewhere.

This stands beside the failures and not among them: what is volatile here would cover what fails there.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from replay.judge.answers.contents import SHRUNKEN
from replay.judge.answers.details import detail
from replay.judge.answers.differences import WRONG_SHAPE
from replay.judge.arrays import Rows
from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.explain import said
from replay.judge.effects.failures import Events, tallied
from replay.judge.effects.shares import share_finding
from replay.judge.effects.shown import Size, clearer, shown_by_both, suspected
from replay.judge.effects.tallies import Tally
from replay.judge.findings import CHANGED, NOTE, SUSPECT, Finding
from replay.judge.phases import phase_order

_COLUMNS = {  # of each kind: which pairs can tell, and what differs in either arm
    WRONG_SHAPE: ("could_shape", "other_shape"),
    SHRUNKEN: ("could_items", "fewer_items"),
}
_VERBS = {WRONG_SHAPE: "have another shape", SHRUNKEN: "have fewer items"}
_SHARE = 0.05  # of a window's answers, at least
_SAME = 0.5  # of the requests of either pair


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one endpoint's answers. ``rows`` are the positions of those that could tell.

    ``tallies`` are beside all that was without the steps, ``mirrored`` beside the other way round in the same time.
    ``hit`` are the numbers of the requests that have it since the first step, of those that ``could``.
    """

    endpoint: str
    kind: str
    rows: Rows
    tallies: dict[str, Tally]
    mirrored: dict[str, Tally]
    severity: str
    phases: tuple[str, ...]
    p_value: float
    could: Rows
    hit: Rows


def changes(case: Case) -> list[Change]:
    """The changes that one pair of arms suspects, by endpoint; as notes those that are too few to weigh."""
    found = [_change_of(case, endpoint, kind) for endpoint in case.rows for kind in _COLUMNS]
    return [one for one in found if one is not None]


def changed_in_both(first: Change, second: Change, limits: Criteria) -> bool:
    """Whether two pairs of arms together show that an endpoint's answers changed."""
    size = _size(limits, _SHARE)
    return bool(
        shown_by_both(first.tallies, second.tallies, limits, size)
        and shown_by_both(first.mirrored, second.mirrored, clearer(limits), size)
    )


def at_the_same_requests(first: Change, second: Change) -> bool:
    """Whether half of the requests that changed in either pair did so in the other one too, as far as that can tell."""
    return _same_share(first, second) >= _SAME and _same_share(second, first) >= _SAME


def _same_share(one: Change, other: Change) -> float:
    told = one.hit[np.isin(one.hit, other.could)]
    return float(np.isin(told, other.hit).mean()) if len(told) else 0.0


def _size(limits: Criteria, share: float) -> Size:
    """``min_failures`` more in each pair, not in both: what differs is commoner than what fails."""
    return Size(2 * limits.min_failures, share)


def differing(case: Case, rows: Rows, kind: str, *, later: bool = False) -> Events:
    """What differs, either way; ``later`` looks only at the time since the first step."""
    could, odd = _COLUMNS[kind]
    asked = case.flags(could)[rows]
    asked = asked & case.later[rows] if later else asked
    return Events(case.flags(f"c_{odd}")[rows], asked, case.flags(f"t_{odd}")[rows], asked)


def _change_of(case: Case, endpoint: str, kind: str) -> Change | None:
    limits, rows = case.criteria.of(endpoint), case.rows[endpoint]
    could, odd = _COLUMNS[kind]
    hit = rows[case.flags(f"t_{odd}")[rows] & case.later[rows]]
    if len(hit) < limits.min_failures:
        return None
    tallies, mirrored = (tallied(case, endpoint, partial(differing, kind=kind, later=one)) for one in (False, True))

    def shown(share: float) -> list[str]:
        size = _size(limits, share)
        return suspected(tallies, limits, size) if suspected(mirrored, clearer(limits), size) else []

    noted = shown(0.0)
    if not noted:
        return None
    by_phase = Counter(case.texts("phase")[hit].tolist())
    told = rows[case.flags(could)[rows]]
    numbers = case.pairs["request"].to_numpy(np.int64)
    return Change(
        endpoint=endpoint,
        kind=kind,
        rows=told,
        tallies=tallies,
        mirrored=mirrored,
        severity=SUSPECT if shown(_SHARE) else NOTE,
        phases=tuple(name for name in phase_order(case.spans) if by_phase[name] >= max(3, 0.1 * len(hit))),
        p_value=min(tallies[name].p_value(limits.failure_ratio) for name in noted),
        could=numbers[told[case.later[told]]],
        hit=numbers[hit],
    )


def change_findings(case: Case, change: Change) -> list[Finding]:
    """The findings about one endpoint's answers, one for each phase in which they changed."""
    phase = case.texts("phase")[change.rows]
    return [_finding(case, change, name, change.rows[phase == name]) for name in change.phases]


def _finding(case: Case, change: Change, phase: str, rows: Rows) -> Finding:
    _, odd = _COLUMNS[change.kind]
    hit, mirrored = rows[case.flags(f"t_{odd}")[rows]], rows[case.flags(f"c_{odd}")[rows]]
    phi = max(one.phi for one in change.tallies.values())
    return share_finding(
        case,
        phase,
        rows,
        hit,
        len(mirrored),
        phi=phi,
        explanation=f"{change.endpoint}: {len(hit)} of {len(rows)} answers {_VERBS[change.kind]} than the same "
        f"request's without the steps{detail(case, change.kind, hit)} {said(phase)}; "
        f"the other way round it was {len(mirrored)}.",
        severity=change.severity,
        endpoint=change.endpoint,
        outcome=change.kind,
        metric=CHANGED,
        difference=change.kind,
        p_value=change.p_value,
        first_bad_s=float(case.column("t_end")[hit].min()),
    )
