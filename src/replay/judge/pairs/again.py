"""What two pairs of arms show of the same endpoints, by their evidence taken together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from replay.judge.case import Case
from replay.judge.criteria import Criteria
from replay.judge.effects.changes import Change, at_the_same_requests, changed_in_both, changes
from replay.judge.effects.failures import Effect, failing_in_both, failures
from replay.judge.effects.slowdowns import Slowdown, slow_in_both, slowdowns
from replay.judge.effects.tallies import Tally
from replay.judge.effects.whole import failing_together, whole_tallies
from replay.judge.findings import CHANGED, WHOLE_STAGE

FAILING, SLOW = "failures", "latency_p95_s"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one pair of arms shows of its endpoints, and of the ``whole`` of them."""

    effects: Sequence[Effect]
    slowdowns: Sequence[Slowdown]
    changes: Sequence[Change]
    whole: Mapping[str, Tally]


def seen(case: Case) -> Seen:
    """The effects of the steps on failures, on latency, and on what answers hold."""
    if not case.later.any():
        return Seen(failures(case), (), (), {})
    return Seen(failures(case), slowdowns(case), changes(case), whole_tallies(case))


@dataclass(frozen=True, slots=True)
class Again:
    """Keys of what two pairs have ``shown`` together, and of what each has shown ``elsewhere``, at other requests."""

    shown: frozenset[tuple[str, str]] = frozenset()
    elsewhere: frozenset[tuple[str, str]] = frozenset()


def is_weighed(key: tuple[str, str]) -> bool:
    """Whether what a finding's key names is weighed by the evidence of both pairs together."""
    endpoint, metric = key
    return endpoint != "" and metric in {FAILING, SLOW, CHANGED}


def shown_again_among(repetitions: Sequence[Seen], criteria: Criteria) -> set[tuple[str, str]]:
    """The keys of what any two repetitions show, whichever of them suspects it."""
    found: set[tuple[str, str]] = set()
    for one, other in permutations(repetitions, 2):
        found |= shown_again([one], other, criteria).shown
    return found


def shown_again(first: Iterable[Seen], second: Seen, criteria: Criteria) -> Again:
    """What one of the ``first`` pairs suspects, and it and the second together show."""
    effects = {one.endpoint: one for one in second.effects}
    slow = {one.endpoint: one for one in second.slowdowns}
    changed = {(one.endpoint, one.kind): one for one in second.changes}
    found, elsewhere = set[tuple[str, str]](), set[tuple[str, str]]()
    for pair in first:
        if failing_together(pair.whole, second.whole, criteria):
            found.add((WHOLE_STAGE, FAILING))
        for effect in pair.effects:
            limits = criteria.of(effect.endpoint)
            if effect.endpoint in effects and failing_in_both(effect, effects[effect.endpoint], limits):
                found.add((effect.endpoint, FAILING))
        for slowdown in pair.slowdowns:
            limits = criteria.of(slowdown.endpoint)
            if slowdown.endpoint in slow and slow_in_both(slowdown, slow[slowdown.endpoint], limits):
                found.add((slowdown.endpoint, SLOW))
        for change in pair.changes:
            other = changed.get((change.endpoint, change.kind))
            if other and changed_in_both(change, other, criteria.of(change.endpoint)):
                (found if at_the_same_requests(change, other) else elsewhere).add((change.endpoint, CHANGED))
    return Again(frozenset(found), frozenset(elsewhere - found))
