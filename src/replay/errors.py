"""The errors that a user can act on, and the exit codes of the command.

ReplayError                root: a message, a hint, an exit code
├── InputError             2  wrong usage or input: a capture, a locustfile, a run's folder, an option
│   ├── PlanError          2  the plan says something that cannot be done
│   └── Refused            2  load or a step would go where the plan does not allow
├── StageError             4  Stage, its reset or its database does not answer or does not behave
├── ToolError              4  the tool itself, or a program it starts, broke
└── Interrupted            130  somebody pressed Ctrl-C
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit code says. ``NO_GO`` is returned only after ``verdict.json`` is written."""

    GO = 0
    NO_GO = 1
    INPUT = 2
    INCONCLUSIVE = 3
    BROKEN = 4
    INTERRUPTED = 130


def first_line(error: BaseException, text: str | None = None) -> str:
    """The first line of what went wrong (of ``text``, where that says it better); its kind where it says nothing."""
    return next(iter((str(error) if text is None else text).strip().splitlines()), type(error).__name__)


class ReplayError(Exception):
    """Something that ends a command.

    ``message`` is one sentence that says what is wrong; ``hint`` says what to do about it.
    """

    exit_code = ExitCode.BROKEN

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(ReplayError):
    """Wrong usage or input."""

    exit_code = ExitCode.INPUT


class PlanError(InputError):
    """The plan says something that cannot be done."""


class Refused(InputError):
    """Load or a step would go where it is not allowed."""


class StageError(ReplayError):
    """Stage, its reset or its database does not answer or does not behave."""


class ToolError(ReplayError):
    """The tool itself, or a program that it starts, broke."""


class Interrupted(ReplayError):
    """Somebody pressed Ctrl-C; what there was is kept."""

    exit_code = ExitCode.INTERRUPTED
