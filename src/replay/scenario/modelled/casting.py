"""Which recorded client each modelled one stands for, and what it is called."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from replay.scenario.modelled.donors import Donor

_COMPARED = 256  # recorded clients, for each that is modelled
_TURN = 0.1  # how much less alike a client counts for each time that it was taken more often than others


@dataclass(frozen=True, slots=True)
class Role:
    """A modelled client: its ``name``, and the ``recorded`` one that it stands for. A copy has a name of its own."""

    name: str
    recorded: str


def cast_clients(events: pd.DataFrame, donors: Sequence[Donor]) -> dict[int, Role]:
    """A role for each ``client`` of modelled ``events``: that of a recorded client that calls the same endpoints.

    Recorded clients are taken about equally often; whoever is taken again is called ``NAME~2``, ``NAME~3``.
    """
    calls: dict[str, Counter[str]] = defaultdict(Counter)
    for donor in donors:
        calls[donor.planned.client][donor.planned.endpoint] += 1
    wanted: dict[int, dict[str, int]] = defaultdict(dict)
    for key, count in events.groupby(["client", "endpoint"], observed=True, sort=False).size().items():
        client, endpoint = cast("tuple[int, str]", key)
        wanted[client][endpoint] = int(count)
    recorded = _Recorded(calls)
    penalty = _TURN * len(recorded.names) / max(len(wanted), 1)
    mark = _mark(recorded.names)
    taken = np.zeros(len(recorded.names), dtype=np.int64)
    roles: dict[int, Role] = {}
    for client in sorted(wanted, key=lambda client: (-sum(wanted[client].values()), client)):
        near, alike = recorded.near(wanted[client])
        best = int(near[np.argmax(alike - penalty * taken[near])])
        taken[best] += 1
        name = recorded.names[best]
        roles[client] = Role(f"{name}{mark}{taken[best]}" if taken[best] > 1 else name, name)
    return roles


class _Recorded:
    """The recorded clients by what they call."""

    def __init__(self, calls: Mapping[str, Mapping[str, int]]) -> None:
        self.names = list(calls)
        endpoints = sorted({endpoint for own in calls.values() for endpoint in own})
        self._columns = {endpoint: number for number, endpoint in enumerate(endpoints)}
        rows = np.repeat(np.arange(len(calls)), [len(own) for own in calls.values()])
        columns = [self._columns[endpoint] for own in calls.values() for endpoint in own]
        shares = np.concatenate([_unit(own) for own in calls.values()])
        self._calls: Any = csr_array((shares, (rows, columns)), shape=(len(calls), len(endpoints)))
        self._turns = [0] * len(endpoints)
        self._callers: list[npt.NDArray[np.int64]] = []
        if len(calls) > _COMPARED:
            by_column = self._calls.tocsc()
            self._callers = [by_column[:, [number]].nonzero()[0].astype(np.int64) for number in range(len(endpoints))]

    def near(self, own: Mapping[str, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Recorded clients, and how alike they are to one that calls ``own``.

        All of them or, where they are many, those whose turn it is of the callers of its rarest endpoint.
        """
        columns = [self._columns[endpoint] for endpoint in own]
        vector = np.zeros(len(self._columns))
        vector[columns] = _unit(own)
        if not self._callers:
            return np.arange(len(self.names)), self._calls @ vector
        rarest = min(columns, key=lambda column: (self._callers[column].size, column))
        callers = self._callers[rarest]
        size = min(_COMPARED, callers.size)
        near = callers[(self._turns[rarest] + np.arange(size)) % callers.size]
        self._turns[rarest] = (self._turns[rarest] + size) % callers.size
        return near, self._calls[near] @ vector


def _unit(counts: Mapping[str, int]) -> npt.NDArray[np.float64]:
    vector = np.array(list(counts.values()), dtype=np.float64)
    return vector / float(np.linalg.norm(vector))


def _mark(names: Sequence[str]) -> str:
    """What stands between a name and a copy's number, such that nobody is called like somebody else."""
    mark = "~"
    while any(mark in name for name in names):
        mark += "~"
    return mark
