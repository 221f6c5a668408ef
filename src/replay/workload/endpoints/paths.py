"""The endpoints of a capture of any size: learned from its distinct paths, and given to the engine as a table."""

from dataclasses import dataclass

import ibis
import pandas as pd

from replay.traffic import Endpoint
from replay.workload.endpoints.operations import operation_from
from replay.workload.endpoints.routes import Rules
from replay.workload.endpoints.templates import Endpoints, SeenPath, learn_paths
from replay.workload.engine import Engine
from replay.workload.profile.facts import SEPARATOR

MOST_KEYS = 3  # of a path's parameters, those whose values are counted: the last ones, which say most
_NOT_FOUND = [400, 404, 405]
_SEEN = ["method", "form", "operation", "count", "found"]


@dataclass(frozen=True, slots=True)
class Paths:
    """The endpoints of a capture.

    ``forms`` has a row for each ``method``, ``form`` and ``asked`` of the facts: ``endpoint`` (a number in
    ``endpoints``), and where in the path its parameters stand (``place_0`` and so on, counted by slashes, NULL for
    none). ``parameters`` has for each endpoint the parameters' names, in the same order.
    """

    learned: Endpoints
    endpoints: tuple[Endpoint, ...]
    parameters: tuple[tuple[str, ...], ...]
    forms: pd.DataFrame


def find_paths(facts: ibis.Table, engine: Engine, rules: Rules | None = None) -> Paths:
    """Find the endpoints of a capture; ``rules`` come first where some are given."""
    counted = facts.group_by(["method", "form", "asked"]).aggregate(
        count=facts.count(), found=(~facts.status.isin(_NOT_FOUND)).sum()
    )
    rows = engine.frame(counted.order_by("method", "form", "asked"))
    rows["operation"] = [_operation(form, asked) for form, asked in zip(rows["form"], rows["asked"], strict=True)]
    seen = (
        SeenPath(method, form, operation, count, found > 0)
        for method, form, operation, count, found in rows[_SEEN].itertuples(index=False, name=None)
    )
    learned = learn_paths(seen, rules)
    numbers: dict[Endpoint, int] = {}
    names: dict[int, tuple[str, ...]] = {}
    endpoints: list[int] = []
    places: list[tuple[int | None, ...]] = []
    for method, form, operation in zip(rows["method"], rows["form"], rows["operation"], strict=True):
        endpoint = numbers.setdefault(learned.endpoint(method, form, operation), len(numbers))
        here = [(number, name) for number, name in enumerate(learned.parameters(form), form.startswith("/")) if name]
        here = here[-MOST_KEYS:]
        names.setdefault(endpoint, tuple(name for _, name in here))
        endpoints.append(endpoint)
        places.append((*(number for number, _ in here), *(None,) * (MOST_KEYS - len(here))))
    forms = rows[["method", "form", "asked"]].assign(endpoint=pd.array(endpoints, dtype="int64"))
    for place in range(MOST_KEYS):
        forms[f"place_{place}"] = pd.array([own[place] for own in places], dtype="Int32")
    return Paths(learned, tuple(numbers), tuple(names[number] for number in range(len(numbers))), forms)


def _operation(form: str, asked: str) -> str:
    if not asked:
        return ""
    try:
        return operation_from(form, *asked.split(SEPARATOR))
    except ValueError:  # a body with our separator in it
        return ""
