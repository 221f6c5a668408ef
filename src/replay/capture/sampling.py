"""Taking a share of the clients, never of their requests, so that visits stay whole."""

import hashlib

_DIGEST_BYTES = 8


def is_sampled(client: str, share: float) -> bool:
    """Whether ``client`` is among the ``share`` (0 to 1) that is taken: always the same for the same name.

    Who is in a smaller share is in every larger one too.
    """
    if share >= 1.0:
        return True
    digest = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "big") < share * float(1 << 8 * _DIGEST_BYTES)
