"""How uses spread over values, whatever the length of a capture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.workload.profile.popularity import Popularity


@dataclass(frozen=True, slots=True)
class Spread:
    """The hottest values' counts in falling order, and how many other values share how many other uses."""

    top: tuple[int, ...]
    others: int = 0
    others_uses: int = 0

    @classmethod
    def of(cls, counts: Sequence[int]) -> "Spread":
        """The spread of values that are all known."""
        return cls(tuple(sorted((count for count in counts if count), reverse=True)))

    @classmethod
    def of_parameter(cls, found: Popularity) -> "Spread":
        """The spread of a parameter's values."""
        top = tuple(count for _, count in found.top)
        return cls(top, found.values - len(top), found.requests - sum(top))

    @property
    def uses(self) -> int:
        """How many uses there are in all."""
        return sum(self.top) + self.others_uses

    @property
    def hottest(self) -> float:
        """The share of the hottest value."""
        return self.top[0] / self.uses if self.top else 0.0

    def values_in(self, uses: int) -> float:
        """How many different values are to be expected in so many uses, drawn at random.

        Those that are not among the hottest count as equally hot, which makes it a little too many.
        """
        if not self.top:
            return 0.0
        shares = np.array(self.top, dtype=float) / self.uses
        found = float((1 - (1 - shares) ** uses).sum())
        if self.others:
            found += self.others * (1 - (1 - self.others_uses / self.others / self.uses) ** uses)
        return found

    def beyond(self, values: int) -> float:
        """The share of uses beyond so many of the hottest values."""
        kept = float(sum(self.top[:values]))
        more = min(max(0, values - len(self.top)), self.others)
        kept += more * self.others_uses / self.others if more else 0
        return 1 - kept / self.uses if self.uses else 0.0
