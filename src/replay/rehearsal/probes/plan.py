"""What every kind of probe tells the plan about itself, and what it is given for an arm."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from replay.errors import PlanError
from replay.evidence.files import Segments
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.commands import usual_environment
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Dsn, Table

_LONGEST_S = 3600.0


class Probe(Protocol):
    """Something that reads Stage in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, and close what was read."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a probe is given for one arm.

    ``readings`` and ``log`` open segments for a writer of some name; ``scrub`` takes secrets out of a text;
    ``steps`` maps the name of each step's database sessions to the step's own; ``environment`` is what commands see.
    """

    clock: ArmClock
    readings: Callable[[str], Segments]
    log: Callable[[str], Segments]
    scrub: Scrubber
    steps: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=usual_environment, repr=False)


@dataclass(frozen=True, slots=True)
class ProbePlan(ABC):
    """One ``[probes.NAME]`` of a plan, as its kind has read it."""

    name: str

    @property
    def dsns(self) -> tuple[Dsn, ...]:
        """The PostgreSQL databases that it connects to."""
        return ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The other hosts that it connects to."""
        return ()

    @property
    def databases(self) -> tuple[str, ...]:
        """The names of databases on these hosts that it connects to."""
        return ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words that must not be seen anywhere, other than the passwords in ``dsns``."""
        return ()

    @property
    def reads(self) -> frozenset[str] | None:
        """The metrics that it reads and that criteria may limit; None where that is not known beforehand."""
        return None

    def check(self) -> None:  # noqa: B027 - some kinds have nothing to check
        """Check what can be checked without touching Stage. Raises InputError."""

    def holds(self, table: str) -> bool:  # noqa: ARG002 - not every kind has a database
        """Whether a database on its ``hosts`` holds this table. Raises StageError where one cannot be asked."""
        return False

    def tell_behind(self) -> str:
        """Which replica does not have all of its primary yet, in words; empty where none is behind."""
        return ""

    @abstractmethod
    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""


def read_interval_s(table: Table, default: str, shortest_s: float, hint: str = "") -> float:
    """The time between two looks, in seconds. Raises PlanError where it is below ``shortest_s``, or above 1 h."""
    interval_s = table.duration_s("interval", default) or 0.0
    if interval_s < shortest_s:
        what = f"is {interval_s * 1000:g}ms, and must be {shortest_s * 1000:g}ms or longer"
        raise table.error("interval", what, hint)
    if interval_s > _LONGEST_S:
        raise table.error("interval", f"is {interval_s:g}s, and must be 1h or shorter")
    return interval_s


def check_interval(probe: ProbePlan, lasts_s: float, what: str) -> None:
    """Raise PlanError where a probe looks more rarely than once while ``what`` is played, which ``lasts_s``."""
    interval_s = getattr(probe, "interval_s", None)  # not every kind has one
    if isinstance(interval_s, int | float) and interval_s > lasts_s:
        raise PlanError(
            f"The probe {probe.name!r} looks every {interval_s:g} s, and {what} lasts only {lasts_s:g} s.",
            f"Give [probes.{probe.name}] a shorter interval.",
        )
