"""How popular the keys of a parameter are: the hottest as measured, the rest as a law fits them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import ibis
import numpy as np
import pandas as pd

from replay.workload.endpoints.paths import MOST_KEYS, Paths
from replay.workload.engine import Engine

_FEWEST_KEYS = 10
_STEEPEST, _PRECISE = 4.0, 1e-4
_TOP = 100


@dataclass(frozen=True, slots=True)
class Popularity:
    """The popularity of the values of one parameter of an endpoint.

    ``top`` are the hottest values with their counts; ``top_share`` is the share of the ten hottest. ``exponent`` is
    that of Zipf's law, fitted to all ranks by maximum likelihood: 0 is no skew, 1 the usual skew of the web; None where
    there are too few values. ``once`` counts the values met only once: the more, the more new ones are to come.
    """

    endpoint: str
    parameter: str
    requests: int
    values: int
    once: int
    top: tuple[tuple[str, int], ...]
    top_share: float
    exponent: float | None


def fit_zipf(counts_of_counts: dict[int, int]) -> float | None:
    """The exponent of Zipf's law over ranks, from how many values were met so many times.

    The likelihood is that of drawing each request's rank from ``rank ** -s`` over the ranks that were met (a bounded
    zeta law); ranks are those of the counts. The method is that of Clauset, Shalizi and Newman, Power-law Distributions
    in Empirical Data (2009).
    """
    counts = np.repeat(
        np.array(sorted(counts_of_counts, reverse=True), dtype=np.int64),
        [counts_of_counts[count] for count in sorted(counts_of_counts, reverse=True)],
    )
    if counts.size < _FEWEST_KEYS:
        return None
    logs = np.log(np.arange(1, counts.size + 1))
    measured = float((counts * logs).sum() / counts.sum())
    # The likelihood is greatest where the law's mean of log(rank) is the measured one; that mean falls as s grows.
    low, high = 0.0, _STEEPEST
    while high - low > _PRECISE:
        exponent = (low + high) / 2
        weights = np.exp(-exponent * logs)
        low, high = (exponent, high) if float((weights * logs).sum() / weights.sum()) > measured else (low, exponent)
    return (low + high) / 2


def find_popularity(facts: ibis.Table, engine: Engine, paths: Paths) -> tuple[Popularity, ...]:
    """The popularity of the values of each parameter in paths and queries, the most used first."""
    values = ibis.union(_in_paths(facts, engine, paths), _in_queries(facts, engine, paths), distinct=False)
    counted = engine.keep(values.group_by(["endpoint", "parameter", "value"]).aggregate(count=values.count()))
    per_parameter = ibis.window(
        group_by=["endpoint", "parameter"], order_by=[ibis.desc(counted["count"]), counted["value"]]
    )
    ranked = counted.mutate(rank=ibis.row_number().over(per_parameter))
    top = engine.frame(ranked.filter(ranked["rank"] < _TOP).order_by("endpoint", "parameter", "rank"))
    spread = engine.frame(counted.group_by(["endpoint", "parameter", "count"]).aggregate(values=counted.count()))
    hottest = dict(_groups(top))
    found = [
        _popularity(str(paths.endpoints[endpoint]), str(parameter), hottest[endpoint, parameter], own)
        for (endpoint, parameter), own in _groups(spread)
    ]
    return tuple(sorted(found, key=lambda one: (-one.requests, one.endpoint, one.parameter)))


def _in_paths(facts: ibis.Table, engine: Engine, paths: Paths) -> ibis.Table:
    joined = facts.join(engine.given(paths.forms), ["method", "form", "asked"])
    segments = joined.path.split("/")
    named = engine.given(
        pd.DataFrame(
            [(number, place, name) for number, own in enumerate(paths.parameters) for place, name in enumerate(own)],
            columns=["endpoint", "at", "parameter"],
        ).astype({"endpoint": "int64", "at": "int64", "parameter": "str"})
    )
    each = [
        joined.filter(joined[f"place_{place}"].notnull()).select(
            "endpoint", at=ibis.literal(place, "int64"), value=segments[joined[f"place_{place}"]]
        )
        for place in range(MOST_KEYS)
    ]
    values = ibis.union(*each, distinct=False)
    counted = values.join(named, ["endpoint", "at"])
    return counted.select("endpoint", "parameter", "value")


def _in_queries(facts: ibis.Table, engine: Engine, paths: Paths) -> ibis.Table:
    asked = facts.filter(facts["query"] != "")
    joined = asked.join(engine.given(paths.forms), ["method", "form", "asked"])
    pairs = joined.select("endpoint", pair=joined["query"].split("&").unnest())
    return pairs.select(
        "endpoint",
        parameter=ibis.literal("?") + pairs.pair.re_extract("^([^=]*)", 1),
        value=pairs.pair.re_extract("(?s)=(.*)", 1),
    )


def _popularity(endpoint: str, parameter: str, hottest: pd.DataFrame, spread: pd.DataFrame) -> Popularity:
    counts = {int(count): int(values) for count, values in zip(spread["count"], spread["values"], strict=True)}
    requests = sum(count * values for count, values in counts.items())
    top = [(str(value), int(count)) for value, count in zip(hottest["value"], hottest["count"], strict=True)]
    return Popularity(
        endpoint=endpoint,
        parameter=parameter,
        requests=requests,
        values=sum(counts.values()),
        once=counts.get(1, 0),
        top=tuple(top),
        top_share=sum(count for _, count in top[:10]) / requests,
        exponent=fit_zipf(counts),
    )


def _groups(rows: pd.DataFrame) -> Iterator[tuple[tuple[int, str], pd.DataFrame]]:
    for key, own in rows.groupby(["endpoint", "parameter"]):
        endpoint, parameter = cast("tuple[int, str]", key)
        yield (endpoint, parameter), own
