"""An arm's folder to which observations and readings are written by hand, and what watches it."""

from pathlib import Path

from replay.evidence.files import ArmFolder
from replay.evidence.values import Observation, Reading
from replay.rehearsal.watch import Watch

_OUTCOMES = {".": "ok", "x": "server error", "r": "refused", "u": "unsent"}


class Watched:
    def __init__(self, folder: Path, due: tuple[int, ...] = (), window_s: float = 10.0) -> None:
        self.arm = ArmFolder(folder / "arm")
        self.arm.create()
        self.watch = Watch(self.arm, due, window_s)
        self._observations = self.arm.observations("w")
        self._readings = self.arm.readings("database")

    def observe(self, at_s: float, outcomes: str, expected_status: int = 200, endpoint: str = "GET /") -> None:
        """One request for each letter: ``.`` is ok, ``x`` a server error, ``r`` refused, ``u`` unsent."""
        self._observations.write(
            Observation(
                request=number,
                visit=0,
                client="c",
                endpoint=endpoint,
                due_s=at_s,
                waited_s=0.0,
                sent_s=None if letter == "u" else at_s,
                first_byte_s=None,
                done_s=None if letter == "u" else at_s + 0.1,
                status=None,
                size_bytes=None,
                digest=None,
                shape=None,
                expected_status=expected_status,
                expected_shape=None,
                outcome=_OUTCOMES[letter],
                error=None,
                caused_by=None,
                worker="w",
            )
            for number, letter in enumerate(outcomes)
        )

    def read(self, at_s: float, metric: str, value: float, detail: dict[str, object]) -> None:
        self._readings.write([Reading(at_s, "database", metric, value, detail)])
