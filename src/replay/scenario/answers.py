"""Answers that a scenario gives itself, so that a payment or a mail never reaches the target.

::

    [[answers]]                           # in a plan [[workloads.NAME.answers]]
    endpoint = "POST /v2/payments"
    status = 201
    json = { id = "{uuid}", state = "paid" }
    headers = { Location = "/v2/payments/{uuid}" }
    delay = "0.2s"

In ``json``, ``body`` (a text) and ``headers``, ``{uuid}`` and ``{number}`` are new for each answer, and within one
answer alike. They hang on the request's number alone, so that every arm gets the same.
"""

import json
import random
import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.capture.sources.moments import parse_duration_s
from replay.errors import InputError
from replay.scenario.data import REBUILD, whole
from replay.scenario.repeats import only
from replay.scenario.schedule import Schedule
from replay.traffic import Headers, Response

ANSWERS = "answers.json"  # in a scenario's data
_KEYS = ("endpoint", "status", "json", "body", "headers", "delay")
_FIRST_NUMBER = 1_000_000_000  # a database takes it for an id, and hardly has it
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What requests to ``endpoint`` (a pattern, see `replay.scenario.policy`) get instead of the target's answer."""

    endpoint: str
    status: int = 200
    headers: Headers = ()
    body: str = ""
    delay_s: float = 0.0

    def response(self, request: int) -> Response:
        """The answer to the request with that number."""
        drawn = random.Random(f"answer {request}").getrandbits(128)  # noqa: S311 - no secret
        made = {"{uuid}": str(uuid.UUID(int=drawn, version=4)), "{number}": str(_FIRST_NUMBER + request)}

        def filled(text: str) -> str:
            for placeholder, value in made.items():
                text = text.replace(placeholder, value)
            return text

        body = filled(self.body).encode("utf-8", "surrogatepass")
        return Response(self.status, tuple((name, filled(text)) for name, text in self.headers), body, len(body))

    def to_json(self) -> dict[str, Any]:
        """As ``answers.json`` and a plan that is written down have it."""
        return {
            "endpoint": self.endpoint,
            "status": self.status,
            "headers": [list(pair) for pair in self.headers],
            "body": self.body,
            "delay_s": self.delay_s,
        }


Answers = Mapping[str, GivenAnswer]
"""By the endpoint that they are for."""


def read_answer(table: object, where: str) -> GivenAnswer:
    """One answer as TOML has it; ``where`` is how messages call it. Raises InputError for what is wrong with it."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where} must be a table.", 'It has endpoint = "POST /path" and, say, status = 201.')
    unknown = next((key for key in table if key not in _KEYS), None)
    if unknown is not None:
        raise InputError(f"{where} has an unknown key {unknown!r}.", f"Known: {', '.join(_KEYS)}.")
    endpoint, status, headers, delay = (table.get(key) for key in ("endpoint", "status", "headers", "delay"))
    if not isinstance(endpoint, str):
        raise InputError(f"{where} needs an endpoint.", 'Write it like endpoint = "POST /v2/payments".')
    status = 200 if status is None else status
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise InputError(f"{where} has the status {status!r}, which must be from 200 to 599.")
    headers = {} if headers is None else headers
    if not isinstance(headers, Mapping) or not all(isinstance(text, str) for text in headers.values()):
        raise InputError(f"{where} has headers that are no table of texts.", 'Write { Location = "/v2/payments/1" }.')
    answer = GivenAnswer(endpoint, status, tuple(headers.items()), _body(table, where), _delay_s(delay, where))
    # It is kept beside the scenario and in a run's folder, where a secret of the environment must not be.
    if "${" in answer.body or any("${" in text for _, text in answer.headers):
        raise InputError(
            f"{where} names a variable, and an answer holds none: it is kept in the run's folder.",
            "A credential of the target's comes from the identities.",
        )
    return answer


def read_answers_file(file: Path) -> tuple[GivenAnswer, ...]:
    """The answers in a TOML file, in their order. Raises InputError where it cannot be read or one is none."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The answers {file} cannot be read: {error}.") from error
    tables = values.get("answers")
    if not isinstance(tables, list) or set(values) != {"answers"}:
        raise InputError(f"{file} is no list of answers.", "Each begins with a line [[answers]].")
    return tuple(read_answer(table, f"{file}: [[answers]] number {number}") for number, table in enumerate(tables, 1))


def write_answers(answers: Answers, data: Path) -> None:
    """Write them into a scenario's folder, for nobody else to read; where there are none, no file is left."""
    file = data / ANSWERS
    if not answers:
        file.unlink(missing_ok=True)
        return
    document = [answer.to_json() | {"endpoint": endpoint} for endpoint, answer in sorted(answers.items())]
    with whole(file) as partial:
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_answers(data: Path, meta: Mapping[str, Any]) -> dict[str, GivenAnswer]:
    """The answers in a scenario's folder, by endpoint.

    Raises InputError where they are not for those endpoints that ``scenario.json`` says: without its answer a payment
    would be sent.
    """
    file = data / ANSWERS
    kept_back = meta.get("kept_back")
    said = set(kept_back.get("answered") or ()) if isinstance(kept_back, Mapping) else set()
    found: dict[str, GivenAnswer] = {}
    try:
        for one in json.loads(file.read_bytes()) if file.exists() else []:
            headers = tuple((str(name), str(text)) for name, text in one["headers"])
            found[str(one["endpoint"])] = GivenAnswer(
                str(one["endpoint"]), int(one["status"]), headers, str(one["body"]), float(one["delay_s"])
            )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: {error!r}.", REBUILD) from error
    if said != set(found):
        other = min(said ^ set(found))
        raise InputError(f"{file} and scenario.json do not agree on whether {other} is answered.", REBUILD)
    return found


def count_sent(schedule: Schedule, answers: Answers) -> int:
    """How many requests of a schedule go to the target, which evidence has therefore."""
    return len(only(schedule.requests, lambda planned: planned.endpoint not in answers))


def _body(table: Mapping[str, Any], where: str) -> str:
    if "json" in table and "body" in table:
        raise InputError(f"{where} has json and body.", "One of the two is the answer's body.")
    if "json" in table:
        return json.dumps(table["json"], ensure_ascii=False, default=str)  # TOML's own dates and times
    body = table.get("body", "")
    if not isinstance(body, str):
        raise InputError(f"{where} has a body that is no text.", "For JSON write json = { id = 1 }.")
    return body


def _delay_s(delay: object, where: str) -> float:
    if delay is None:
        return 0.0
    seconds = parse_duration_s(delay) if isinstance(delay, str) and delay[-1:].isalpha() else None
    if seconds is None or seconds > _LONGEST_S:
        raise InputError(f"{where} has the delay {delay!r}.", 'Write it like "0.2s" or "150ms", 10 minutes at most.')
    return seconds
