"""The order of a visit's requests, kept also where something held the process up."""

from dataclasses import dataclass, field

import gevent
import gevent.event

_PATIENCE_S = 0.005  # one whose connection takes longer is not waited for: the loop stays open


@dataclass(slots=True)
class Turn:
    """A request on its way to ``moment_s``. Once it stands at the alarm, that keeps the order."""

    visit: int
    moment_s: float
    standing: gevent.event.Event = field(default_factory=gevent.event.Event)


class Turns:
    """The turns of all visits whose requests are being made. None waits longer than ``patience_s`` for others."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._of_visit: dict[int, list[Turn]] = {}

    def take(self, visit: int, moment_s: float) -> Turn:
        """The turn of a request of ``visit`` that is to leave at ``moment_s``. To be ended by `stand`."""
        turn = Turn(visit, moment_s)
        self._of_visit.setdefault(visit, []).append(turn)
        return turn

    def await_earlier(self, turn: Turn) -> None:
        """Return when the visit's requests of earlier moments stand, or its patience is over."""
        earlier = [one for one in self._of_visit[turn.visit] if one.moment_s < turn.moment_s]
        if earlier:
            gevent.wait([one.standing for one in earlier], timeout=self._patience_s)

    def stand(self, turn: Turn) -> None:
        """Let later ones pass: this one stands at the alarm, or will never leave. Again: nothing."""
        turns = self._of_visit.get(turn.visit, [])
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._of_visit[turn.visit]
            turn.standing.set()
