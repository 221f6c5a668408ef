"""What probes have in common: readings closed in segments, and a thread that samples at its interval."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping

from replay.errors import first_line
from replay.evidence.files import Segments
from replay.evidence.values import Reading
from replay.rehearsal.clock import ArmClock


class Readings:
    """The readings of one probe, closed in a segment every second. What was read before the arm's start is left out."""

    def __init__(self, probe: str, clock: ArmClock, segments: Segments) -> None:
        self._probe = probe
        self._clock = clock
        self._segments = segments
        self._lock = threading.Lock()
        self._held: list[Reading] = []
        self._closed_s = 0.0

    @property
    def now_s(self) -> float:
        """The arm's time."""
        return self._clock.now_s()

    def add(
        self, metric: str, value: float, detail: Mapping[str, object] | None = None, at_s: float | None = None
    ) -> None:
        """Add a reading, at this moment unless another is given."""
        now_s = self._clock.now_s()
        at_s = now_s if at_s is None else at_s
        with self._lock:
            if at_s >= 0:
                self._held.append(Reading(at_s, self._probe, metric, value, dict(detail or {})))
            if now_s - self._closed_s >= 1.0:
                self._close(now_s)

    def failed(self, error: str, **detail: object) -> None:
        """Say that the probe could not read. Said even before the arm's start, as of the start."""
        self.add("probe_failed", 1.0, {"error": error, **detail}, max(0.0, self._clock.now_s()))

    def close(self) -> None:
        """Close what is held."""
        with self._lock:
            self._close(self._clock.now_s())

    def _close(self, now_s: float) -> None:
        self._closed_s = now_s
        held, self._held = self._held, []
        # A full disk is not to take the arm down; the readings that are missing will be missed by the judge.
        with contextlib.suppress(OSError):
            self._segments.write(held)


class Sampler:
    """Calls ``sample`` every ``interval_s`` in a thread until it is stopped; where sampling is slow, more rarely.

    A sample's own cost is kept below a quarter of the time, so that reading Stage does not become a load on it. With
    ``failed``, what a sample raises is told to it, and the next one is taken all the same.
    """

    def __init__(
        self,
        name: str,
        interval_s: float,
        sample: Callable[[], None],
        end: Callable[[], None],
        failed: Callable[[str], None] | None = None,
    ) -> None:
        self._failed = failed
        self._interval_s = interval_s
        self._sample = sample
        self._end = end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End, and wait for it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _play(self) -> None:
        clock = ArmClock.started_now()
        due_s = 0.0
        try:
            while not self._stopping.is_set():
                began_s = clock.now_s()
                self._try(self._sample)
                ended_s = clock.now_s()
                due_s = max(due_s + self._interval_s, ended_s + 3 * (ended_s - began_s))
                self._stopping.wait(max(0.0, due_s - clock.now_s()))
        finally:
            self._try(self._end)

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(f"{type(error).__name__}: {first_line(error)}")


class Samplers:
    """Several samplers as one probe, so that none of them can hold up the others."""

    def __init__(self, samplers: Iterable[Sampler]) -> None:
        self._samplers = tuple(samplers)

    def start(self) -> None:
        """Begin to connect and to read."""
        for sampler in self._samplers:
            sampler.start()

    def stop(self) -> None:
        """End, and close what was read."""
        for sampler in self._samplers:
            sampler.stop()
