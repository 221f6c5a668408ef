"""What every kind of probe tells the plan about itself, and what it is given for an arm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from replay.evidence.files import Segments
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.commands import usual_environment
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Dsn


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
class ProbePlan:
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
    def secrets(self) -> tuple[str, ...]:
        """Words that must not be seen anywhere, other than the passwords in ``dsns``."""
        return ()

    def check(self) -> None:
        """Check what can be checked without touching Stage. Raises InputError."""

    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""
        raise NotImplementedError
