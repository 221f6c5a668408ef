"""Chance that can be repeated: the same seed and key always draw the same, in every process and in any order."""

import hashlib


def draw(seed: int, *key: object) -> float:
    """A number from 0 up to, but not including, 1, evenly spread over the keys."""
    digest = hashlib.blake2b(repr((seed, *key)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53  # as many bits as a float has
