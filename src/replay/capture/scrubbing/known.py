"""What was seen to be a secret, and what was seen to be an id, as keyed digests: the things themselves are not kept."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from replay.capture.pseudonyms import Key
from replay.capture.scrubbing.starts import Starts

_FRESH_MOST = 100_000
_SHARDS = 64
_SHARD_SHIFT = 58
_Digests = npt.NDArray[np.uint64]


class Known:
    """The secrets met so far, and the values that names said to be ids: 8 bytes for each, and never the values.

    One in about 10**12 lookups against 10 million entries is wrong. Two with the same key can be joined, also after
    they went through pickle. ``version`` changes whenever something is added.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self.secrets = _Set()
        self.ids = _Set()
        self.starts = Starts(key)

    @property
    def version(self) -> int:
        """A number that is another one whenever something was added."""
        return len(self.secrets) + len(self.ids)

    def add(self, value: str) -> bool:
        """Note that ``value`` is a secret; whether that is news."""
        known = len(self.secrets)
        self.secrets.add(self._digest(value))
        if len(self.secrets) == known:
            return False
        self.starts.add(value)
        return True

    def may_hold(self, value: str) -> bool:
        """Whether ``value`` may be a secret: never wrong where it is none of them, and fast."""
        return self.starts.may_hold(value)

    def add_id(self, value: str) -> None:
        """Note that a name said of ``value``, which looks like a secret, that it is an id, a digest or a cursor."""
        self.ids.add(self._digest(value))

    def is_id(self, value: str) -> bool:
        """Whether ``value`` was seen to be an id, a digest or a cursor."""
        return self._digest(value) in self.ids

    def update(self, other: "Known") -> None:
        """Add all that ``other``, of the same key, knows."""
        if other.key != self.key:
            raise ValueError("what is known under one key says nothing under another")
        self.secrets.update(other.secrets)
        self.ids.update(other.ids)
        self.starts.update(other.starts)

    def __contains__(self, value: str) -> bool:
        return self._digest(value) in self.secrets

    def __len__(self) -> int:
        return len(self.secrets)

    def _digest(self, value: str) -> int:
        data = value.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, key=self.key.value, digest_size=8, person=b"known")
        return int.from_bytes(digest.digest(), "big")


class _Set:
    """64-bit numbers: the latest in a Python set, the others sorted in shards, so that none is copied whole."""

    def __init__(self) -> None:
        self.fresh: set[int] = set()
        self.shards: list[_Digests] = [np.empty(0, np.uint64)] * _SHARDS
        self._stored = 0

    def add(self, digest: int) -> None:
        if digest in self:
            return
        self.fresh.add(digest)
        if len(self.fresh) >= _FRESH_MOST:
            self._compact()

    def update(self, other: "_Set") -> None:
        for shard in other.shards:
            self._merge(shard)
        for digest in other.fresh:
            self.add(digest)

    def __contains__(self, digest: int) -> bool:
        if digest in self.fresh:
            return True
        if not self._stored:
            return False
        shard = self.shards[digest >> _SHARD_SHIFT]
        wanted = np.uint64(digest)
        at = int(shard.searchsorted(wanted))
        return at < len(shard) and bool(shard[at] == wanted)

    def __len__(self) -> int:
        return len(self.fresh) + self._stored

    def _compact(self) -> None:
        fresh, self.fresh = self.fresh, set()
        self._merge(np.fromiter(fresh, np.uint64, len(fresh)))

    def _merge(self, digests: _Digests) -> None:
        digests = np.sort(digests)
        edges = np.searchsorted(digests, _EDGES)
        for number, piece in enumerate(np.split(digests, edges)):
            if len(piece):
                joined = np.unique(np.concatenate([self.shards[number], piece]))
                self._stored += len(joined) - len(self.shards[number])
                self.shards[number] = joined

    def __getstate__(self) -> dict[str, Any]:
        self._compact()
        return self.__dict__


_EDGES: _Digests = np.array([number << _SHARD_SHIFT for number in range(1, _SHARDS)], np.uint64)
