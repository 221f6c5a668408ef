"""Giving writes without a known body one from a template, at the moment they are sent."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from replay.scenario.payloads import Payloads, check_pools
from replay.scenario.pools import Binding, path_parameters
from replay.scenario.schedule import PlannedRequest

Prepare = Callable[[PlannedRequest, str], PlannedRequest]


class Filler:
    """Fills bodies from ``payloads``. A pool gives its values as often as the scenario sends them, else evenly.

    Which value a request gets hangs on its number alone, so that every arm sends the same. Raises InputError where a
    template needs a pool that is not there.
    """

    def __init__(self, payloads: Payloads, bindings: Sequence[Binding]) -> None:
        self._payloads = payloads
        self._choices = {name: _choice(binding) for binding in bindings for name in binding.pool.parameters}
        check_pools(payloads, self._choices)

    def before(self, prepare: Prepare) -> Prepare:
        """``prepare``, which then sees the body."""
        return (lambda request, client: prepare(self(request), client)) if self._payloads else prepare

    def __call__(self, request: PlannedRequest) -> PlannedRequest:
        """The request, with a body where it has none and its endpoint has a template."""
        payload = self._payloads.get(request.endpoint)
        if payload is None or request.body is not None:
            return request
        own = path_parameters(request)

        def value_of(name: str) -> str:
            return own[name] if name in own else self._choices[name](f"{request.request} {name}")

        body = payload.fill(value_of, datetime.now(UTC))
        kept = tuple(pair for pair in request.headers if pair[0].lower() != "content-type")
        return dataclasses.replace(request, body=body, headers=(*kept, ("Content-Type", payload.content_type)))


def _choice(binding: Binding) -> Callable[[str], str]:
    """Chooses one of a pool's values by a seed."""
    loads = dict.fromkeys(binding.pool.values, 0)
    for captured, value in binding.matched.items():
        loads[value] += binding.counts[captured]
    values = tuple(loads)
    weights = tuple(itertools.accumulate(loads.values() if any(loads.values()) else itertools.repeat(1, len(values))))
    return lambda seed: random.Random(seed).choices(values, cum_weights=weights)[0]  # noqa: S311 - no secret
