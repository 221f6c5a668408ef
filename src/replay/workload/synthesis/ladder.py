"""What is known of a situation, and how much of it to use: as much as has been met often enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.workload.synthesis.quantiles import Integers

Level = tuple[bool, ...]
_OFFSET = 2  # numbers from -1 on are known ones, 0 stands for what is left out


@dataclass(frozen=True, slots=True)
class Ladder:
    """Situations, each of some numbers (-1 or more), as sorted ``keys``.

    ``levels`` say which of the numbers count, the most telling first; the last counts none, and is always there.
    ``sizes`` are one more than the largest numbers.
    """

    keys: Integers
    levels: tuple[Level, ...]
    sizes: tuple[int, ...]

    def find(self, *parts: Integers) -> Integers:
        """The position in ``keys`` of what is used of each situation."""
        found = np.zeros(parts[0].size, dtype=np.int64)
        left = np.arange(parts[0].size)
        for level in self.levels:
            wanted = self._encode(level, [part[left] for part in parts])
            places = np.minimum(np.searchsorted(self.keys, wanted), self.keys.size - 1)
            met = self.keys[places] == wanted
            found[left[met]] = places[met]
            left = left[~met]
        return found

    def members(self, *parts: Integers) -> tuple[Integers, Integers]:
        """At every level where a situation is met: the position in ``keys``, and the number of the situation."""
        positions, numbers = [], []
        for level in self.levels:
            wanted = self._encode(level, parts)
            places = np.minimum(np.searchsorted(self.keys, wanted), self.keys.size - 1)
            met = np.flatnonzero(self.keys[places] == wanted)
            positions.append(places[met])
            numbers.append(met)
        return np.concatenate(positions), np.concatenate(numbers)

    def _encode(self, level: Level, parts: Sequence[Integers]) -> Integers:
        key = np.zeros(parts[0].size, dtype=np.int64)
        for part, used, size in zip(parts, level, self.sizes, strict=True):
            # A number larger than any that was met must not be taken for another situation.
            key = key * (size + _OFFSET + 1) + (np.minimum(part, size) + _OFFSET if used else 0)
        return key


def fit_ladder(
    parts: Sequence[Integers], counts: Integers, levels: tuple[Level, ...], enough: int, most: int
) -> Ladder:
    """The situations that were met ``enough`` times, at most so many of each level; ``counts`` tells how often."""
    sizes = tuple(int(part.max(initial=-1)) + 1 for part in parts)
    bare = Ladder(np.zeros(1, dtype=np.int64), levels, sizes)
    kept = [np.zeros(1, dtype=np.int64)]
    for level in levels[:-1]:
        keys, places = np.unique(bare._encode(level, parts), return_inverse=True)  # noqa: SLF001 - of its own kind
        totals = np.bincount(places, weights=counts, minlength=keys.size)
        often = np.flatnonzero(totals >= enough)
        if often.size > most:
            often = often[np.argsort(-totals[often], kind="stable")[:most]]
        kept.append(keys[often])
    return Ladder(np.unique(np.concatenate(kept)), levels, sizes)
