"""How much of production's exchanges another capture has seen the like of."""

from dataclasses import dataclass

import pandas as pd

from replay.workload.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares of production's exchanges that another capture has seen the like of, each step with those before it.

    ``endpoint`` counts those whose endpoint was called; ``variant`` those of them whose endpoint was sent such a
    variant too; ``predecessor`` those of these whose endpoint was also called after the same one; ``concurrency``
    those of these of whose endpoint at least as many ran at once (in the classes of ``Profile.classes``). No step is
    larger than the one before. Of nothing, all is covered.
    """

    endpoint: float
    variant: float
    predecessor: float
    concurrency: float


@dataclass(frozen=True, slots=True)
class EndpointCoverage:
    """An endpoint of production: its share there and in the other capture, and how much of it that covers."""

    endpoint: str
    share: float
    other_share: float
    coverage: Coverage


def find_coverage(production: Profile, other: Profile) -> tuple[Coverage, tuple[EndpointCoverage, ...]]:
    """How much of production the other capture covers: in all, and by endpoint, the most called first."""
    steps = _steps(production.classes, other.classes)
    shares = dict(zip(other.endpoints["endpoint"], other.endpoints["count"] / max(1, other.exchanges), strict=True))
    by_endpoint = {str(endpoint): own for endpoint, own in steps.groupby("endpoint")}
    total = max(1, production.exchanges)
    found = tuple(
        EndpointCoverage(endpoint, count / total, float(shares.get(endpoint, 0.0)), _ladder(by_endpoint[endpoint]))
        for endpoint, count in zip(production.endpoints["endpoint"], production.endpoints["count"], strict=True)
    )
    return _ladder(steps), found


def _steps(classes: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Production's classes, with what holds of each."""
    ones: pd.Series = classes["endpoint"]
    highest = seen.groupby("endpoint")["running"].max()
    called = ones.isin(highest.index)
    sent = called & _pairs(classes, "variant").isin(_pairs(seen, "variant"))
    followed = sent & _pairs(classes, "before").isin(_pairs(seen, "before"))
    crowded = followed & (classes["running"] <= ones.map(highest).fillna(-1))
    return pd.DataFrame(
        {
            "endpoint": ones,
            "count": classes["count"],
            "called": called,
            "sent": sent,
            "followed": followed,
            "crowded": crowded,
        }
    )


def _pairs(classes: pd.DataFrame, column: str) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([classes["endpoint"], classes[column]])


def _ladder(steps: pd.DataFrame) -> Coverage:
    total = int(steps["count"].sum())
    if not total:
        return Coverage(1.0, 1.0, 1.0, 1.0)
    counts = [
        int(steps.loc[steps[name].astype(bool), "count"].sum()) for name in ("called", "sent", "followed", "crowded")
    ]
    return Coverage(*(count / total for count in counts))
