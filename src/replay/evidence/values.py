"""The values that evidence is made of. Times are seconds from the arm's common start unless the name says otherwise."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from replay.shapes import EMPTY, is_empty

CHANGE_DATA = ("migrate", "rollback", "revert")  # kinds of steps; the others leave data and schema alone
INTERRUPTED = "interrupted"  # the error of what was not sent as the arm ended before
WAIT = "wait"  # the kind of a step that does nothing to Stage
QUIET = "quiet"  # the workload and the role of an arm without traffic


class Outcome(StrEnum):
    """The class of one response by itself."""

    OK = "ok"
    REFUSED = "refused"
    SERVER_ERROR = "server error"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    NO_CONNECTION = "no connection"
    UNSENT = "unsent"


def outcome_of(status: int, shape: str) -> Outcome:
    """The outcome of a response that came. 204, 205, 304 and redirects have no content by nature and are ok."""
    if status >= 500:
        return Outcome.SERVER_ERROR
    if status >= 400:
        return Outcome.REFUSED
    if 200 <= status < 300 and status not in {204, 205} and is_empty(shape):
        return Outcome.EMPTY
    return Outcome.OK


def expected_outcome(expected_status: int | None, expected_shape: str | None) -> Outcome:
    """The outcome that the capture had for a request. Where it kept no body, the content is not held against it."""
    if not expected_status:
        return Outcome.OK
    shape = expected_shape if expected_shape is not None else "unknown"
    return outcome_of(expected_status, shape)


def class_of(status: int) -> int:
    """The class of a status, 2 for 2xx; what was not modified (304) is a success whose body the client has."""
    return 2 if status == 304 else status // 100


LATELY_S = 5  # what a rate is taken over, and what tells whether an endpoint fails now
_FAILS_SHARE = 0.2


def fails_now(failed: int, requests: int) -> bool:
    """Whether so many failures of an endpoint's latest requests say that it fails: a fifth, and two at least."""
    return failed >= max(2.0, _FAILS_SHARE * requests)


@dataclass(frozen=True, slots=True)
class Observation:
    """What became of one planned request.

    ``due_s`` is its planned moment, ``waited_s`` how long past it a predecessor's answer kept it, ``sent_s`` when its
    first byte left, so that ``sent_s - due_s - waited_s`` is the engine's own lateness. Times are None where the moment
    never came. ``caused_by`` is the number of the request whose failure left this one unsent.
    ``digest`` is 16 hex digits of BLAKE2b over the body. ``expected_status`` is None where the capture had no response.
    ``items`` is the length of the body's main list (`replay.shapes`), None where it has none. ``reads_back`` is the
    number of the request that asked for the same before its visit wrote there (`replay.scenario.reading`).
    """

    request: int
    visit: int
    client: str
    endpoint: str
    due_s: float
    waited_s: float
    sent_s: float | None
    first_byte_s: float | None
    done_s: float | None
    status: int | None
    size_bytes: int | None
    digest: str | None
    shape: str | None
    expected_status: int | None
    expected_shape: str | None
    outcome: str
    error: str | None
    caused_by: int | None
    worker: str
    items: int | None = None
    expected_items: int | None = None
    reads_back: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A planned request sent once more, because of a failure that the capture did not have.

    ``request`` is its number; its Observation is attempt 1, so ``attempt`` counts from 2. ``why`` is the failure of the
    attempt before (``503``, ``timeout``); a login that is played again says ``login``, and ``caused_by`` is then the
    number of the request that was refused.
    """

    request: int
    attempt: int
    why: str
    caused_by: int | None
    sent_s: float | None
    done_s: float | None
    status: int | None
    outcome: str
    error: str | None
    worker: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample of a probe: one number, named by ``metric`` with its unit at the end (``replica_lag_s``).

    ``detail`` says more, as plain JSON values: for a lock wait who waited, for what, and who held it up.
    """

    at_s: float
    probe: str
    metric: str
    value: float
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """The moment at which the arm, a step or one statement of a step started or ended.

    ``event`` is ``started``, ``ended`` or ``failed``; ``interrupted`` where the rehearsal was ended, ``not done`` where
    a step never began (``error`` says why): neither says anything about the step. ``statement`` is empty for the
    step as a whole; ``index`` counts statements from 1 and is 0 for the step. ``error`` is the database's or the
    program's own words.
    """

    at_s: float
    step: str
    kind: str
    event: str
    index: int = 0
    statement: str = ""
    rows: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """The lines of one template that a log got within one second (``at_s`` is that second's start)."""

    at_s: float
    probe: str
    template: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A response kept to be shown: one of a few for each endpoint and outcome, scrubbed."""

    request: int
    endpoint: str
    outcome: str
    at_s: float
    status: int | None
    body: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class ArmInfo:
    """One pass over Stage, as ``arms/ARM/arm.json`` has it.

    ``role`` is the workload's (production, pre-production, or quiet where there is no traffic); ``steps`` whether the
    steps ran. ``planned`` counts the schedule's requests. ``started_at`` is the common start, UTC in ISO 8601.
    ``state`` is running, complete, aborted (by a rule of the plan or a failed step), failed or interrupted, with its
    ``reason``.
    """

    arm: str
    workload: str
    role: str
    steps: bool
    started_at: str
    duration_s: float
    planned: int
    state: str = "running"
    reason: str = ""


__all__ = [
    "CHANGE_DATA",
    "EMPTY",
    "INTERRUPTED",
    "QUIET",
    "WAIT",
    "ArmInfo",
    "Attempt",
    "LogEvent",
    "Mark",
    "Observation",
    "Outcome",
    "Reading",
    "Sample",
    "expected_outcome",
    "outcome_of",
]
