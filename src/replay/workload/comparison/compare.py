"""Two captures side by side: what production does that the other never tries, and how much of production is covered."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from replay.capture.store import open_capture, verified_capture
from replay.errors import InputError
from replay.workload.comparison import blind_spots, usage
from replay.workload.comparison.blind_spots import BlindSpot, Kind, Two
from replay.workload.comparison.coverage import Coverage, EndpointCoverage, find_coverage
from replay.workload.endpoints.paths import Paths, find_paths
from replay.workload.endpoints.routes import Match, Rules
from replay.workload.endpoints.templates import LOST
from replay.workload.engine import Engine
from replay.workload.profile.facts import facts
from replay.workload.profile.profile import Profile, profile, profile_of

__all__ = ["BlindSpot", "Comparison", "Coverage", "EndpointCoverage", "Kind", "compare", "compare_captures"]

_FINDERS = (
    blind_spots.endpoints,
    blind_spots.variants,
    blind_spots.orders,
    blind_spots.concurrency,
    blind_spots.same_key,
    blind_spots.responses,
    usage.keys,
    usage.clients,
    usage.arrivals,
    usage.visits,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What parts a capture from production.

    ``blind_spots`` are what it does not try, those first that concern most of production; ``too_small_to_tell`` what it
    does not show either, and could not be expected to.
    """

    production: Profile
    other: Profile
    coverage: Coverage
    endpoints: tuple[EndpointCoverage, ...]
    blind_spots: tuple[BlindSpot, ...]
    too_small_to_tell: tuple[BlindSpot, ...]


def compare(production: Profile, other: Profile, names: tuple[str, str] = ("production", "the other")) -> Comparison:
    """Compare a capture with production. Sentences call them by ``names``."""
    two = Two(production, other, names)
    found = [spot for find in _FINDERS for spot in find(two)] if production.exchanges else []
    ranked = sorted(found, key=lambda spot: (-spot.share, list(Kind).index(spot.kind), spot.what))
    coverage, endpoints = find_coverage(production, other)
    return Comparison(
        production,
        other,
        coverage,
        endpoints,
        tuple(spot for spot in ranked if spot.told),
        tuple(spot for spot in ranked if not spot.told),
    )


def compare_captures(
    production: Path,
    other: Path,
    engine: Engine,
    rules: Rules | None = None,
    on_doing: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare the capture in the folder ``other`` with the one in ``production``, in the endpoints of production.

    ``on_doing`` is told what goes on. Raises InputError where one is missing, damaged or not complete, or production is
    empty.
    """
    captures = [open_capture(path) for path in (production, other)]
    names = _names(captures[0].manifest.name or production.name, captures[1].manifest.name or other.name)
    if not captures[0].manifest.exchanges:
        raise InputError(f"{production} holds no exchanges.", "Give the capture of production first, then the other.")
    tables = []
    for name, one in zip(names, captures, strict=True):
        on_doing(f"Checking {one.manifest.exchanges:,} exchanges of {name}")
        tables.append(engine.read(verified_capture(one.path).files))
    reading = [
        f"Reading {one.manifest.exchanges:,} exchanges of {name}" for name, one in zip(names, captures, strict=True)
    ]
    on_doing(reading[0])
    read = engine.keep(facts(tables[0], engine))
    paths = find_paths(read, engine, rules)
    first = profile_of(read, paths, engine)
    on_doing(reading[1])
    return compare(first, profile(tables[1], engine, _Known(paths, rules)), names)


class _Known(Rules):
    """The endpoints of production as rules, so that both captures have the same words for the same thing.

    What ``rules`` name comes first. Paths that production never found are left to what each capture shows by itself.
    """

    def __init__(self, paths: Paths, rules: Rules | None) -> None:
        super().__init__(())
        self._learned = paths.learned
        self._given = rules
        self._known = {endpoint.template for endpoint in paths.endpoints} - {LOST}

    def match(self, method: str, path: str) -> Match | None:
        """What production's endpoints make of a path."""
        given = self._given.match(method, path) if self._given else None
        if given:
            return given
        template = self._learned.endpoint(method, path).template
        if template not in self._known:
            return None
        return Match(template, self._learned.parameters(path, method), self._learned.values(path, method))


def _names(production: str, other: str) -> tuple[str, str]:
    return (production, other) if production != other else (production, "the other")
