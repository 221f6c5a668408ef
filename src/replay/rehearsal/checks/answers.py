"""What Stage's answers say of an identity, beside those that the capture had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from replay.evidence.values import Outcome, class_of, expected_outcome
from replay.rehearsal.checks.check import PLAN, STAGE, Check, failed, not_asked, passed
from replay.scenario.schedule import PlannedRequest

_MANY, _ALIKE = 5, 0.8
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: its status, None where none came; and the outcome, as evidence has it."""

    status: int | None
    outcome: str


def judge_visit(name: str, requests: Sequence[PlannedRequest], answers: Mapping[int, Answer]) -> Check:
    """Whether Stage takes a client for who it is: the requests of its visit, and the answers by their numbers.

    Refused is one that got 401 or 403, or, where it carries a credential itself, any status of 4xx, where the capture
    had a success. One that is taken is failed all the same where fewer than four fifths of five answers or more are as
    in the capture: in an arm its control would not agree. One that Stage has no time for (429) is neither.
    """
    had = [(planned, answers[planned.request]) for planned in requests if planned.request in answers]
    sent = [(planned, answer) for planned, answer in had if answer.outcome != Outcome.UNSENT]
    alike = sum(_is_alike(planned, answer) for planned, answer in sent)
    figures = {"requests": len(requests), "sent": len(sent), "as in the capture": alike}
    if not sent:
        return not_asked(name, "None of its requests could be sent.")
    limited = [planned for planned, answer in sent if answer.status == _TOO_MANY != planned.expected_status]
    if limited:
        return failed(
            name,
            f"Stage limits how often it is asked: {_TOO_MANY} at {limited[0].endpoint}"
            + (f", and at {len(limited) - 1} more of its requests." if len(limited) > 1 else "."),
            "Lift that limit on Stage for this machine: all load comes from it, and an arm sends more in less time.",
            fault=STAGE,
            figures={"limited": len(limited), **figures},
        )
    refused = [(planned, answer) for planned, answer in sent if _refused(planned, answer)]
    if refused:
        planned, answer = refused[0]
        return failed(
            name,
            f"Refused with {answer.status} at {planned.endpoint}, where the capture had {planned.expected_status}"
            + (f", and at {len(refused) - 1} more of its requests." if len(refused) > 1 else "."),
            "Are these the credentials that Stage knows it by? They are in the workload's identities.",
            fault=PLAN,
            figures={"refused": len(refused), "status": answer.status, "endpoint": planned.endpoint, **figures},
        )
    others = [(planned, answer) for planned, answer in sent if not _is_alike(planned, answer)]
    told = f"{_first(others)}" if others else ""
    if not any(answer.status is not None and answer.status < 500 for _, answer in sent):
        return failed(
            name, f"None of its {len(sent)} requests was answered well: {told}.", fault=STAGE, figures=figures
        )
    requests_told = "1 request" if len(sent) == 1 else f"{len(sent)} requests"
    note = f"Not as in the capture: {told}." if others else ""
    if len(sent) >= _MANY and alike < _ALIKE * len(sent):
        return failed(
            name,
            f"Accepted, but only {alike} of {requests_told} as in the capture. {note}",
            "Does Stage know these credentials, and have the data that these requests ask for? Pools bind its own ids, "
            "and what an answer of the plan's hands out it does not know.",
            fault=PLAN,
            figures=figures,
        )
    return passed(name, f"Accepted: {alike} of {requests_told} as in the capture.", note, figures=figures)


def _is_alike(planned: PlannedRequest, answer: Answer) -> bool:
    """Whether an answer is of the captured outcome, and no redirect (to a login, say) in the place of a success."""
    if answer.outcome != expected_outcome(planned.expected_status, planned.expected_shape):
        return False
    known = answer.status is not None and planned.expected_status is not None
    return not known or class_of(answer.status or 0) == class_of(planned.expected_status or 0)


def _refused(planned: PlannedRequest, answer: Answer) -> bool:
    if not 200 <= (planned.expected_status or 0) < 400 or answer.status is None:
        return False
    carries = any(inject.credential for inject in planned.injects)
    return answer.status in {401, 403} or (carries and 400 <= answer.status < 500)


def _first(others: Sequence[tuple[PlannedRequest, Answer]]) -> str:
    planned, answer = others[0]
    got = f"{answer.status} ({answer.outcome})" if answer.status else answer.outcome
    more = f", first of {len(others)}" if len(others) > 1 else ""
    return f"{planned.endpoint} got {got} instead of {planned.expected_status or 'nothing'}{more}"
