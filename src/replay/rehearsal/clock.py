"""The arm's clock: seconds from its common start."""

import time


class ArmClock:
    """Counts from ``start_at`` (seconds since the epoch), and is deaf to later corrections of the wall clock."""

    def __init__(self, start_at: float) -> None:
        self.start_at = start_at
        self._zero = time.monotonic() + (start_at - time.time())

    def now_s(self) -> float:
        """Seconds from the arm's start; negative before it."""
        return time.monotonic() - self._zero

    @classmethod
    def started_now(cls) -> "ArmClock":
        """A clock that counts from this moment."""
        return cls(time.time())
