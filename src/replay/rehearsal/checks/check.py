"""What one question to Stage came to. Whatever Stage does is a value here, and never an error."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from replay.errors import ExitCode, InputError, ReplayError

PASSED, FAILED, NOT_ASKED = "passed", "failed", "not asked"
PLAN, STAGE = "plan", "stage"


@dataclass(frozen=True, slots=True)
class Check:
    """A question with its answer, in a sentence; ``hint`` says what to do, or what is worth to know.

    ``state`` is ``passed``, ``failed`` or ``not asked``. ``fault`` says whose a failure is: the ``plan``'s (with its
    credentials) or ``stage``'s. ``figures`` are plain JSON values, by names that end in their units.
    """

    name: str
    state: str
    sentence: str
    hint: str = ""
    fault: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def scrubbed(self, scrub: Callable[[str], str]) -> "Check":
        """The same without secrets in its texts."""
        figures = {key: scrub(value) if isinstance(value, str) else value for key, value in self.figures.items()}
        texts = {key: scrub(getattr(self, key)) for key in ("name", "sentence", "hint")}
        return dataclasses.replace(self, **texts, figures=figures)

    def to_json(self) -> dict[str, Any]:
        """As the dry run's document has it."""
        return {
            "name": self.name,
            "state": self.state,
            "sentence": self.sentence,
            "hint": self.hint,
            "fault": self.fault or None,
            "figures": dict(self.figures),
        }


def passed(name: str, sentence: str, hint: str = "", *, figures: Mapping[str, Any] | None = None) -> Check:
    """What is as it should be."""
    return Check(name, PASSED, sentence, hint, figures=figures or {})


def failed(name: str, sentence: str, hint: str = "", *, fault: str, figures: Mapping[str, Any] | None = None) -> Check:
    """What is not as it should be."""
    return Check(name, FAILED, sentence, hint, fault, figures or {})


def not_asked(name: str, why: str, hint: str = "") -> Check:
    """What could not be asked, and why."""
    return Check(name, NOT_ASKED, why, hint)


def broken(name: str, error: ReplayError) -> Check:
    """A failure that an error tells of."""
    fault = PLAN if isinstance(error, InputError) else STAGE
    return failed(name, error.message, error.hint, fault=fault)


def exit_code_of(checks: Iterable[Check]) -> ExitCode:
    """What a dry run leaves with: 2 where a failure is the plan's, else 4 where one is Stage's, else 0."""
    faults = {check.fault for check in checks if check.state == FAILED}
    if PLAN in faults:
        return ExitCode.INPUT
    return ExitCode.BROKEN if faults else ExitCode.GO
