"""How far a replica is behind, in bytes and in seconds. Reads nothing; tested without a database."""

from collections import deque

_LONGEST = 20_000


def lsn_number(text: str) -> int:
    """The byte position that PostgreSQL writes as ``16/B374D848``."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


class LagHistory:
    """Remembers where the primary's log was when, as far as the replica has not got there yet.

    The lag in seconds is the age of the oldest position seen on the primary that the replica has not replayed, and 0
    when it has replayed all there was. An idle primary therefore shows no lag, where the usual
    ``now() - pg_last_xact_replay_timestamp()`` grows. What was written before the first sample counts from then on.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, int]] = deque()
        self._caught_up_s: float | None = None

    def lag(self, at_s: float, primary: int, replica: int) -> tuple[int, float]:
        """Take in one sample (time, both positions); the lag now, in bytes and in seconds."""
        if not self._waiting or self._waiting[-1][1] < primary:
            self._waiting.append((at_s, primary))
        while self._waiting and self._waiting[0][1] <= replica:
            self._waiting.popleft()
        if len(self._waiting) > _LONGEST:  # a replica that stands still for an hour: every second moment is enough
            self._waiting = deque(list(self._waiting)[::2])
        if not self._waiting:
            self._caught_up_s = at_s
        seconds = at_s - self._waiting[0][0] if self._waiting else 0.0
        return max(0, primary - replica), seconds

    def replay_lag(self, at_s: float, age_s: float | None) -> float | None:
        """How old the data is that a reader of the replica gets, as of the last sample, or None where it is unknown.

        ``age_s`` is the age of the last transaction that it replayed. That is the answer only while it is behind, and
        no more than the time since it was last seen with all there was: after a rest, the first long transaction would
        otherwise make a replica look as old as the rest was long.
        """
        if self._caught_up_s is None:
            return age_s
        since_s = at_s - self._caught_up_s
        return since_s if age_s is None or not self._waiting else max(0.0, min(age_s, since_s))
