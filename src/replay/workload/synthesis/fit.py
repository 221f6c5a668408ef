"""Fitting a model to a capture's events."""

import numpy as np
import pandas as pd

from replay.errors import InputError
from replay.workload.synthesis.arrivals import fit_arrivals
from replay.workload.synthesis.bursts import measure_bursts
from replay.workload.synthesis.classes import fit_classes
from replay.workload.synthesis.habits import fit_habits, stage_of
from replay.workload.synthesis.keys import fit_keys
from replay.workload.synthesis.model import VisitModel
from replay.workload.synthesis.quantiles import measure_quantiles
from replay.workload.synthesis.sequences import in_order
from replay.workload.synthesis.variants import fit_variants

NEEDED = ("at_s", "duration_s", "client", "visit", "endpoint", "key", "variant")
_MOST_ENDPOINTS = 8_192
_MOST_RESIDENTS = 256
# A resident is met in so many of these parts of the capture, and so often at least.
_PARTS, _PRESENT, _FEWEST = 12, 9, 36
_SHORTEST_S = 1.0


def fit(events: pd.DataFrame, duration_s: float | None = None) -> VisitModel:
    """Fit events between 0 and ``duration_s`` (by default, the last answer): one row an exchange, in any order.

    ``events`` has ``at_s`` and ``duration_s`` in seconds, ``client`` and ``visit`` as numbers, ``endpoint`` (names),
    ``key`` ('' for none) and ``variant`` (a number). Raises InputError where there are none, or a column is missing.
    """
    missing = [name for name in NEEDED if name not in events.columns]
    if missing or events.empty:
        raise InputError(f"No model without events{' that have ' + ', '.join(missing) if missing else ''}.")
    span_s = max(_SHORTEST_S, float((events["at_s"] + events["duration_s"]).max()))
    duration_s = span_s if duration_s is None else duration_s
    names, kept = _name_endpoints(events)
    residents = _find_residents(kept, duration_s)
    ordered = _order(kept, residents)
    visiting = ordered["unit"].to_numpy() >= 0
    classes, kinds, origin = fit_classes(ordered[visiting])
    ordered["kind"] = classes.chance.size - 1 - ordered["unit"]
    ordered.loc[visiting, "kind"] = kinds
    coming = ordered[ordered["first"] & visiting]
    starts_s = coming["at_s"].to_numpy(float)
    per_client = coming.groupby("client").size().to_numpy().astype(np.float64)
    per_resident = np.bincount(-1 - ordered["unit"].to_numpy()[~visiting], minlength=len(residents))
    endpoint = ordered["endpoint"].to_numpy(np.int64)
    return VisitModel(
        endpoints=names,
        arrivals=tuple(fit_arrivals(starts_s[origin == n], duration_s) for n in range(origin.max(initial=-1) + 1)),
        classes=classes,
        visits_per_client=measure_quantiles(per_client, np.zeros(per_client.size, dtype=np.int64), 1),
        residents=per_resident / duration_s,
        habits=fit_habits(ordered),
        keys=fit_keys(ordered, len(names)),
        duration_s=measure_quantiles(ordered["duration_s"].to_numpy(np.float64), endpoint, len(names)).round(6),
        variants=fit_variants(ordered, len(names)),
        dispersion=measure_bursts(kept["at_s"].to_numpy(np.float64), duration_s),
        left_out=1 - len(kept) / len(events),
    )


def _name_endpoints(events: pd.DataFrame) -> tuple[tuple[str, ...], pd.DataFrame]:
    """The names of the most frequent endpoints, and their events, with numbers for names."""
    endpoints = events["endpoint"].astype(str)
    counts = endpoints.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    names = tuple(sorted(counts.index[:_MOST_ENDPOINTS]))
    numbers = pd.Index(names).get_indexer(pd.Index(endpoints)).astype(np.int64)
    kept = events[list(NEEDED)].assign(endpoint=numbers)
    return names, kept[numbers >= 0] if len(counts) > len(names) else kept


def _find_residents(events: pd.DataFrame, duration_s: float) -> list[int]:
    """The clients that are there all the time: a monitor, a crawler, an integration. The busiest first."""
    part = (events["at_s"] / duration_s * _PARTS).astype(np.int64)
    present = (events["client"] * _PARTS + part).drop_duplicates().floordiv(_PARTS).value_counts()
    counts = events["client"].value_counts().sort_index()
    often = counts[(counts >= _FEWEST) & (present.reindex(counts.index) >= _PRESENT)]
    return list(often.sort_values(ascending=False, kind="stable").index[:_MOST_RESIDENTS])


def _order(events: pd.DataFrame, residents: list[int]) -> pd.DataFrame:
    """Events in the order in which they are walked: visit by visit, and all of a resident's visits as one.

    A resident's ``unit`` is negative. ``stage`` tells how far a visit is.
    """
    number = pd.Series(np.arange(len(residents)), index=residents, dtype=float)
    resident = events["client"].map(number)
    unit = np.where(resident.notna(), -1 - resident.fillna(0), pd.factorize(events["visit"])[0]).astype(np.int64)
    ordered = in_order(events.assign(unit=unit), by="unit")
    run = np.cumsum(ordered["first"].to_numpy()) - 1
    length = np.where(ordered["unit"] < 0, 0, np.bincount(run)[run])
    # How many steps a visit has had so far: at what begins a resident's next visit, those of the one before.
    position = ordered.groupby(["unit", "visit"]).cumcount().to_numpy().astype(np.int64)
    position = np.where(ordered["first"], 0, np.roll(position, 1) + 1)
    ordered["stage"] = stage_of(position, length)
    return ordered
