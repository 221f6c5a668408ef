"""When one pair of arms suspects an effect without a cause, and when a second pair has shown it again.

Both pairs have arms of their own, so that what they show at the same endpoint in the same window is independent. The
first one screens: it may be wrong now and then, since that costs only a second pair. The second one must show some of
it too, and both together must be beyond chance. The evidence of both adds up, which finds what neither can prove. What
an arm already had before the steps is no effect of theirs, however much its control differs.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from replay.judge.criteria import Criteria
from replay.judge.effects.tallies import Tally

_TIMES = 2.0


@dataclass(frozen=True, slots=True)
class Size:
    """How large an effect must be to matter: so many events more in both pairs, half of them in one, and a share."""

    events: float
    share: float = 0.0

    def fits(self, tally: Tally, pairs: int) -> bool:
        """Whether the effect of one pair, or two, is large enough."""
        return tally.excess >= max(self.events * pairs / 2, self.share * tally.requests)


def clearer(limits: Criteria) -> Criteria:
    """The limits for what comes the other way round too in the same time: there must be twice as much of it."""
    return dataclasses.replace(limits, failure_ratio=max(limits.failure_ratio, _TIMES))


def suspected(tallies: Mapping[str, Tally], limits: Criteria, size: Size) -> list[str]:
    """The windows in which one pair suspects an effect."""
    return [
        name
        for name, one in tallies.items()
        if size.fits(one, 1)
        and one.rises(limits.failure_ratio)
        and one.p_value(limits.failure_ratio) <= limits.p_value_one_pair
    ]


def shown_by_both(first: Mapping[str, Tally], second: Mapping[str, Tally], limits: Criteria, size: Size) -> list[str]:
    """The windows in which the first pair suspects an effect, and both pairs together show it."""
    both = {name: first[name] + second[name] for name in suspected(first, limits, size) if name in second}
    return [
        name
        for name, one in both.items()
        if size.fits(one, 2)
        and one.rises(limits.failure_ratio)
        and second[name].p_value(limits.failure_ratio) <= limits.p_value_again
        and one.p_value(limits.failure_ratio) <= limits.p_value_both
    ]
