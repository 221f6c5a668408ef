"""What this process knows of its own replay: rates asked for and reached, which endpoints fail and since when."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from replay.evidence.values import LATELY_S, Observation, Outcome, expected_outcome, fails_now


@dataclass(slots=True)
class _Second:
    """An endpoint's requests that were known in one second of the replay."""

    requests: int = 0
    failed: int = 0
    first_failed_s: float = float("inf")


class Tally:
    """Counts a replay's requests as they come to be known: some additions for each, a look at the endpoints a second.

    ``due`` are how many requests are due in each second of a schedule of ``duration_s``. ``clock`` is the replay's,
    None until it runs.
    """

    def __init__(self, due: Sequence[int], duration_s: float) -> None:
        self._due = due
        self._planned = sum(due)
        self._duration_s = duration_s
        self.clock: Callable[[], float] | None = None
        self._observed = 0
        self._lately: dict[str, dict[int, _Second]] = defaultdict(dict)
        self._fails_since: dict[str, float | None] = {}
        self._back_since: dict[str, float] = {}
        self._judged_s = 0

    def observed(self, observation: Observation) -> None:
        """Take what became of a request."""
        self._observed += 1
        at_s = observation.due_s if observation.done_s is None else observation.done_s
        if int(at_s) > self._judged_s:
            self._judge(float(int(at_s)))
        seconds = self._lately[observation.endpoint]
        second = seconds.get(int(at_s)) or seconds.setdefault(int(at_s), _Second())
        second.requests += 1
        expected = expected_outcome(observation.expected_status, observation.expected_shape)
        if observation.outcome not in {Outcome.OK, expected}:
            second.failed += 1
            second.first_failed_s = min(second.first_failed_s, at_s)

    def look(self) -> dict[str, Any]:
        """How the replay goes now, as the page's keys; empty where it has not begun."""
        if self.clock is None:
            return {}
        now_s = self.clock()
        self._judge(now_s)
        from_s, to_s = max(0, int(now_s) - LATELY_S), max(0, int(now_s))
        length_s = max(1, min(to_s, LATELY_S))
        answered = sum(
            second.requests for own in self._lately.values() for at_s, second in own.items() if from_s <= at_s < to_s
        )
        return {
            "at_s": now_s,
            "duration_s": self._duration_s,
            "planned": self._planned,
            "observed": self._observed,
            "open": max(0, sum(self._due[: to_s + 1]) - self._observed),
            "asked_per_s": sum(self._due[from_s:to_s]) / length_s,
            "answered_per_s": answered / length_s,
            "endpoints": [
                [name, since_s, self._back_since.get(name)] for name, since_s in sorted(self._fails_since.items())
            ],
        }

    def _judge(self, now_s: float) -> None:
        """Which endpoints fail now. One that nobody asked for lately stays as it was."""
        self._judged_s = int(now_s)
        for endpoint, own in self._lately.items():
            for second in [second for second in own if second <= now_s - LATELY_S - 1]:
                del own[second]
            lately = [second for at_s, second in own.items() if at_s > now_s - LATELY_S - 1]
            if not lately:
                continue
            failed = sum(second.failed for second in lately)
            since_s = self._fails_since.get(endpoint)
            if fails_now(failed, sum(second.requests for second in lately)):
                first_s = min(second.first_failed_s for second in lately)
                self._fails_since[endpoint] = first_s if since_s is None else since_s
                self._back_since.pop(endpoint, None)
            else:
                self._fails_since[endpoint] = None
                if since_s is not None:
                    self._back_since[endpoint] = now_s
