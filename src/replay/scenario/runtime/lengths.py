"""Lengths of time, of which only how many there are of each matters. Pure."""

import math
from collections import Counter

_FROM_S = 1e-6
_STEP = math.log(1.01)


class Lengths:
    """Counts lengths of time in steps of 1%: as many as there may be take no more memory."""

    def __init__(self) -> None:
        self.count = 0
        self.longest: float | None = None
        self._steps: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one; what is negative, by the rounding of clocks, is none at all."""
        self.count += 1
        self.longest = seconds if self.longest is None else max(self.longest, seconds)
        self._steps[0 if seconds <= _FROM_S else 1 + int(math.log(seconds / _FROM_S) / _STEP)] += 1

    def quantile(self, share: float) -> float | None:
        """A quantile in seconds, to 1%; None where there is nothing."""
        wanted, so_far = share * self.count, 0
        for step, count in sorted(self._steps.items()):
            so_far += count
            if so_far > wanted or so_far == self.count:
                return 0.0 if step == 0 else min(_FROM_S * math.exp((step - 0.5) * _STEP), self.longest or 0.0)
        return None
