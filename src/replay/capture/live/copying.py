"""Copies of bodies on their way, within a limit for each and one for all together."""


class Allowance:
    """How much memory all copies together may take."""

    def __init__(self, limit_bytes: int) -> None:
        self._left_bytes = limit_bytes

    def take(self, size_bytes: int) -> bool:
        """Take memory for ``size_bytes``, or say that there is none."""
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Give back what was taken."""
        self._left_bytes += size_bytes


class Copy:
    """Passes a body on and keeps a copy. It is called with each piece, and with an empty one at the end, if at all.

    ``not_kept`` says why there is no copy, empty as long as there is one.
    """

    __slots__ = ("_allowance", "_held_bytes", "_limit_bytes", "_pieces", "not_kept", "size_bytes")

    def __init__(self, limit_bytes: int, allowance: Allowance) -> None:
        self._limit_bytes = limit_bytes
        self._allowance = allowance
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self.size_bytes = 0
        self.not_kept = ""

    def __call__(self, piece: bytes) -> bytes:
        """Copy ``piece``, and return it."""
        size_bytes = len(piece)
        self.size_bytes += size_bytes
        if not self.not_kept and size_bytes:
            if self.size_bytes > self._limit_bytes:
                self._drop(f"larger than {self._limit_bytes} bytes")
            elif not self._allowance.take(size_bytes):
                self._drop("too many large bodies at once")
            else:
                self._pieces.append(piece)
                self._held_bytes += size_bytes
        return piece

    def take(self) -> bytes | None:
        """The body as sent, or None where it was not kept. The copy is empty afterwards."""
        body = None if self.not_kept else b"".join(self._pieces)
        self._forget()
        return body

    def drop(self, reason: str) -> None:
        """Keep no copy, because of ``reason``."""
        if not self.not_kept:
            self._drop(reason)

    def _drop(self, reason: str) -> None:
        self.not_kept = reason
        self._forget()

    def _forget(self) -> None:
        self._allowance.give_back(self._held_bytes)
        self._pieces = []
        self._held_bytes = 0
