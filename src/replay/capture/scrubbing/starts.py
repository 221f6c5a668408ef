"""Which texts may hold a known secret: told of a whole column at once, by the first eight bytes of each secret."""

import numpy as np
import numpy.typing as npt

from replay.capture.pseudonyms import Key

_SIZE_BITS = 23
_EIGHT = 8
_WORD = (1 << 64) - 1


class Starts:
    """The first eight bytes of texts, as 23 bits each. Never wrong where it says no; seldom where it says yes."""

    def __init__(self, key: Key) -> None:
        self._factor = int.from_bytes(key.digest("starts", "", _EIGHT), "little") | 1
        self.seen: npt.NDArray[np.bool_] | None = None

    def add(self, text: str) -> None:
        """Note a text; one of fewer than eight bytes cannot be found."""
        start = text[:_EIGHT].encode("utf-8", "surrogatepass")[:_EIGHT]
        if len(start) == _EIGHT:
            if self.seen is None:
                self.seen = np.zeros(1 << _SIZE_BITS, bool)
            self.seen[(int.from_bytes(start, "little") * self._factor & _WORD) >> (64 - _SIZE_BITS)] = True

    def may_hold(self, text: str) -> bool:
        """Whether ``text`` may start as a noted one does."""
        if self.seen is None:
            return False
        start = text[:_EIGHT].encode("utf-8", "surrogatepass")[:_EIGHT]
        place = (int.from_bytes(start, "little") * self._factor & _WORD) >> (64 - _SIZE_BITS)
        return self.seen.item(place)

    def update(self, other: "Starts") -> None:
        """Add all that ``other``, of the same key, noted."""
        if self.seen is None or other.seen is None:
            self.seen = other.seen if self.seen is None else self.seen
        else:
            self.seen = self.seen | other.seen

    def found(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Where in ``data`` a noted text may start, in order."""
        places = max(0, len(data) - _EIGHT + 1)
        if self.seen is None or not places:
            return np.empty(0, np.int64)
        windows = np.lib.stride_tricks.as_strided(data, (places, _EIGHT), (1, 1))
        words = np.ascontiguousarray(windows).view("<u8").reshape(-1)
        hashes = (words * np.uint64(self._factor)) >> np.uint64(64 - _SIZE_BITS)
        found: npt.NDArray[np.int64] = np.flatnonzero(self.seen[hashes.astype(np.int64)])
        return found
