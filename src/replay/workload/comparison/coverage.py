"""How much of production's exchanges another capture has seen the like of."""

from dataclasses import dataclass, fields

import pandas as pd

from replay.workload.profile.profile import Profile
from replay.workload.profile.variants import OTHERS


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares of production's exchanges that another capture has seen the like of, each step with those before it.

    ``endpoint`` counts those whose endpoint was called; ``variant`` those of them whose endpoint was sent such a
    variant too; ``predecessor`` those of these whose endpoint was also called after the same one; ``concurrency``
    those of these of whose endpoint at least as many ran at once (in the classes of ``Profile.classes``), None where
    either capture does not tell. No step is larger than the one before. Of nothing, all is covered.
    """

    endpoint: float
    variant: float
    predecessor: float
    concurrency: float | None

    @property
    def covered(self) -> float:
        """The share that passed every step that is known."""
        return self.predecessor if self.concurrency is None else self.concurrency

    @property
    def lost_at(self) -> str | None:
        """The step at which most was lost, the first of those that lose as much; None where nothing was."""
        passed, lost = 1.0, dict[str, float]()
        for step in fields(self):
            share = getattr(self, step.name)
            if share is not None:
                lost[step.name], passed = passed - share, share
        step_lost = max(lost, key=lambda name: lost[name])
        return step_lost if lost[step_lost] > 0 else None


@dataclass(frozen=True, slots=True)
class EndpointCoverage:
    """An endpoint of production: its share there and in the other capture, and how much of it that covers."""

    endpoint: str
    share: float
    other_share: float
    coverage: Coverage


def find_coverage(production: Profile, other: Profile) -> tuple[Coverage, tuple[EndpointCoverage, ...]]:
    """How much of production the other capture covers: in all, and by endpoint, the most called first."""
    steps = _steps(_told_apart(production, other), other.classes)
    if not (production.timing.tells_company and other.timing.tells_company):
        steps = steps.drop(columns="crowded")
    shares = dict(zip(other.endpoints["endpoint"], other.endpoints["count"] / max(1, other.exchanges), strict=True))
    by_endpoint = {str(endpoint): own for endpoint, own in steps.groupby("endpoint")}
    total = max(1, production.exchanges)
    found = tuple(
        EndpointCoverage(endpoint, count / total, float(shares.get(endpoint, 0.0)), _ladder(by_endpoint[endpoint]))
        for endpoint, count in zip(production.endpoints["endpoint"], production.endpoints["count"], strict=True)
    )
    return _ladder(steps), found


def _told_apart(production: Profile, other: Profile) -> pd.DataFrame:
    """Production's classes. What is not told apart has no like, except where the captures send the very same."""
    if production.variants.equals(other.variants):
        return production.classes
    unlike = production.classes["variant"].replace(OTHERS, f"{OTHERS} of production")
    return production.classes.assign(variant=unlike)


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
        return Coverage(1.0, 1.0, 1.0, 1.0 if "crowded" in steps else None)
    called, sent, followed, *crowded = (
        int(steps.loc[steps[name].astype(bool), "count"].sum()) / total
        for name in steps.columns.drop(["endpoint", "count"])
    )
    return Coverage(called, sent, followed, crowded[0] if crowded else None)
