"""What a rehearsal could have seen: an endpoint that met the steps too seldom proves nothing by being well."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.failures import Effect
from replay.judge.findings import NOTE, Check, evidence_check, percent, seconds

_NAMED = 4
_FEWEST = 8  # new failures on an endpoint that never fails otherwise, as a rule


@dataclass(frozen=True, slots=True)
class Sight:
    """How well one endpoint was seen: so few new failures of its ``requests`` since the first step would have been.

    ``smallest`` is None where no number would. ``share_of_all`` is what part of the workload's requests it has, and
    ``longer_s`` how much longer the arms had to run to see the share that is asked for.
    """

    endpoint: str
    requests: int
    smallest: int | None
    share_of_all: float
    longer_s: float

    @property
    def share(self) -> float | None:
        """The smallest share of new failures that would have been seen."""
        return self.smallest / self.requests if self.smallest and self.requests else None


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


def check_coverage(case: Case, effects: Iterable[Effect]) -> Check:
    """Whether all that production asks for often was seen well enough. A failure is INCONCLUSIVE."""
    criteria = case.criteria
    unseen = [effect for effect in effects if effect.severity in {"", NOTE}]  # what was found was seen
    asked = [one for one in sights(case, unseen) if _counts(one, criteria)]
    missed = [one for one in asked if one.share is None or one.share > criteria.of(one.endpoint).visible_share]
    told = "; ".join(_told(one) for one in missed[:_NAMED])
    more = f"; and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
    longer_s = max((one.longer_s for one in missed), default=0.0)
    coarsest = max((one.share if one.share is not None else 1.0 for one in asked), default=None)
    return evidence_check(
        "visible",
        passed=not missed,
        workload=case.workload,
        limit=criteria.visible_share,
        observed=coarsest,
        well=f"Of each endpoint that {case.workload} often asks for, {percent(coarsest or 0.0)} failing newly "
        "would have been seen.",
        wrong=f"{case.workload}'s effects would have been seen too late: {told}{more}.",
        hint=f"Let the arms run {seconds(longer_s)} longer (duration), or set visible_share for these endpoints.",
        voids="",
        unit="share",
        limit_unit="share or less",
    )


def _counts(one: Sight, criteria: Criteria) -> bool:
    """Whether an endpoint must be seen: production asks for it often, or the plan says so."""
    return one.share_of_all >= criteria.visible_of or one.endpoint in dict(criteria.endpoints)


def _told(one: Sight) -> str:
    seen = (
        f"{one.smallest} new failures ({percent(one.share)}) at least" if one.share is not None else "no number of them"
    )
    return (
        f"{one.endpoint} had {one.requests} requests since the first step, of which {seen} would have been seen failing"
    )
