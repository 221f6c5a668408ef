"""How well templates agree with the routes that they should be."""

import re
from collections import Counter, defaultdict
from math import comb

from described import Asked

from replay.workload.endpoints.templates import Endpoints

_PARAMETER = re.compile(r"\{[^{}]*\}")


def nameless(template: str) -> str:
    return _PARAMETER.sub("{}", template)


def exact_f1(learned: Endpoints, asked: list[Asked]) -> tuple[float, float]:
    """F1 over requests (a template found where it is the route's), and the mean over routes of each one's F1."""
    true, given, right = Counter[str](), Counter[str](), Counter[str]()
    for one in asked:
        route, template = nameless(one.route), nameless(learned.endpoint(one.method, one.path).template)
        true[route] += 1
        given[template] += 1
        right[route] += route == template
    hits = sum(right.values())
    micro = 2 * hits / (sum(true.values()) + sum(given.values()))
    each = [2 * right[route] / (true[route] + given[route]) for route in true]
    return micro, sum(each) / len(each)


def paired_f1(learned: Endpoints, asked: list[Asked]) -> float:
    """F1 over pairs of requests: those together in a template against those together in a route."""
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for one in asked:
        cells[nameless(one.route), learned.endpoint(one.method, one.path).template] += 1
    routes, templates = Counter[str](), Counter[str]()
    for (route, template), count in cells.items():
        routes[route] += count
        templates[template] += count
    together = sum(comb(count, 2) for count in cells.values())
    return 2 * together / (sum(comb(n, 2) for n in routes.values()) + sum(comb(n, 2) for n in templates.values()))
