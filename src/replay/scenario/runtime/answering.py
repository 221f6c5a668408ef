"""What to say of a scenario's own answers before it is played. Pure."""

from collections import Counter

from replay.scenario.answers import Answers
from replay.scenario.runtime.places import extract
from replay.scenario.schedule import Schedule
from replay.scenario.words import many


def notes_on(answers: Answers, schedule: Schedule) -> list[str]:
    """How many requests are answered and not sent, and which answers lack what later requests send back."""
    counts = Counter(planned.endpoint for planned in schedule if planned.endpoint in answers)
    notes = [
        f"{many(count, 'request')} to {endpoint} answered by the scenario, not sent."
        for endpoint, count in counts.items()
    ]
    used = {(inject.origin, inject.captured) for planned in schedule for inject in planned.injects}
    lacking: dict[str, None] = {}
    for planned in schedule:
        if planned.endpoint in answers:
            response = answers[planned.endpoint].response(planned.request)
            for wanted in planned.extracts:
                if (planned.request, wanted.captured) in used and extract(wanted, response) is None:
                    lacking[f"The answer to {planned.endpoint} has no {wanted.place}"] = None
    return notes + [f"{said}, which later requests send back: they are not sent." for said in lacking]
