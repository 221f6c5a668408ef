"""What all kinds of steps have in common: a work that was prepared, done as a job that can be ended."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from replay.rehearsal.steps.plan import StepPlan


class Record(Protocol):
    """Marks a statement of a step."""

    def __call__(self, event: str, index: int, statement: str, *, rows: int | None = None, error: str = "") -> None:
        """Mark it now."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a step is done with, in the plan's folder.

    ``write`` is its log; ``failed`` is how a failure is called at this moment.
    """

    plan: StepPlan
    folder: Path
    write: Callable[[str], None]
    scrub: Callable[[str], str]
    record: Record
    failed: Callable[[], str]


class Job(Protocol):
    """A step that is being done."""

    def do(self) -> str:
        """Do it to its end. Why it failed, or an empty text."""

    def end(self, why: str) -> None:
        """End it from another thread; ``do`` then gives ``why``."""


class Work(Protocol):
    """What a step does, with all that it needs found and read."""

    @property
    def told(self) -> str:
        """What it would do, for people."""

    def job(self, bench: Bench) -> Job:
        """Begin nothing yet."""
