"""What a rehearsal could have seen: an endpoint that met the steps too seldom proves nothing by being well."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.failures import Effect
from replay.judge.findings import NOTE, Check, evidence_check, percent, seconds

_NAMED = 4
_FEWEST = 8  # new failures on an endpoint that never fails otherwise, as a rule
_MOST_OF_ALL = 0.5


@dataclass(frozen=True, slots=True)
class Sight:
    """How well one endpoint was seen: so few new failures of its ``requests`` since the first step would have been.

    ``smallest`` is None where no number would, and may be more than there were. ``share_of_all`` is what part of the
    workload's requests it has, and ``longer_s`` how much longer the arms had to run to see the share that is asked for.
    """

    endpoint: str
    requests: int
    smallest: int | None
    share_of_all: float
    longer_s: float

    @property
    def share(self) -> float | None:
        """The smallest share of new failures that would have been seen; None where not even all of them would."""
        return self.smallest / self.requests if self.smallest and self.smallest <= self.requests else None


def sights(case: Case, effects: Iterable[Effect]) -> list[Sight]:
    """How well each endpoint of a workload was seen, those with the most requests first."""
    length_s = case.end_s - case.first_step_s
    found = []
    for effect in effects:
        limit = case.criteria.of(effect.endpoint).visible_share
        requests = effect.test.n_later
        fewest = effect.smallest or _FEWEST
        needed = fewest / limit if limit > 0 else math.inf
        longer_s = max(0.0, (needed / max(1, requests) - 1) * length_s)
        share = len(effect.rows) / max(1, len(case.pairs))
        found.append(Sight(effect.endpoint, requests, effect.smallest, share, longer_s))
    return sorted(found, key=lambda one: (-one.requests, one.endpoint))


def check_coverage(case: Case, effects: Sequence[Effect]) -> Check:
    """Whether all that production asks for often was seen well enough. A failure is INCONCLUSIVE."""
    criteria = case.criteria
    found = {effect.endpoint for effect in effects if effect.severity not in {"", NOTE}}  # what was found was seen
    often = _often(sights(case, effects), criteria)
    asked = [one for one in often if one.endpoint not in found]
    missed = [one for one in asked if _misses(one, criteria.of(one.endpoint).visible_share)]
    told = "; ".join(_told(one) for one in missed[:_NAMED])
    more = f"; and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
    longer_s = max((one.longer_s for one in missed), default=0.0)
    coarsest = max((math.inf if one.share is None else one.share for one in asked), default=None)
    return evidence_check(
        "visible",
        passed=not missed,
        workload=case.workload,
        limit=criteria.visible_share,
        observed=coarsest,
        well=_well(case.workload, coarsest),
        wrong=f"{case.workload}'s effects would have been seen too late: {told}{more}.",
        hint=f"Let the arms run {seconds(longer_s)} longer (duration), or set visible_share for these endpoints.",
        voids="",
        unit="share",
        limit_unit="share or less",
    )


def _misses(one: Sight, limit: float) -> bool:
    """Whether less was seen than must be: of all requests failing nothing, perhaps, which a limit of 1 accepts."""
    return limit < 1 if one.share is None else one.share > limit


def _often(found: Sequence[Sight], criteria: Criteria) -> list[Sight]:
    """The endpoints that must be seen: what production asks for often, and what the plan names.

    Those that are asked most count up to half of all requests, however small a part each of them has: many endpoints,
    each asked for a little, are no reason to see nothing.
    """
    most_asked, so_far = set(), 0.0
    for one in sorted(found, key=lambda one: (-one.share_of_all, one.endpoint)):
        if one.share_of_all >= criteria.visible_of or so_far < _MOST_OF_ALL:
            most_asked.add(one.endpoint)
        so_far += one.share_of_all
    named = dict(criteria.endpoints)
    return [one for one in found if one.endpoint in most_asked or one.endpoint in named]


def _well(workload: str, coarsest: float | None) -> str:
    """``coarsest`` is None where all that is asked for often fails."""
    often = f"that {workload} often asks for"
    if coarsest == math.inf:
        return f"Of some endpoints {often} nothing would have been seen; visible_share = 1 accepts that."
    if coarsest is not None:
        return f"Of each endpoint {often}, {percent(coarsest)} failing newly would have been seen."
    return f"Each endpoint {often} was seen to fail newly."


def _told(one: Sight) -> str:
    had = f"{one.endpoint} had {one.requests} request{'s' * (one.requests != 1)} since the first step"
    if one.share is None:
        return f"{had}: had all of them failed newly, nothing would have been seen"
    return f"{had}, of which {one.smallest} new failures ({percent(one.share)}) at least would have been seen"
