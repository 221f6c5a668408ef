"""Where `replay run` goes, with its load and its probes, and whether that may be."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.cli.soaking import SoakFile
from replay.errors import StageError
from replay.rehearsal.destinations import lead
from replay.rehearsal.production import check_captured, check_marked, check_places
from replay.target import (
    PRODUCTION,
    Target,
    check_allowed,
    check_name,
    check_not_production,
    parse_environment,
    parse_target,
)

_ANSWERS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Aim:
    """A target, and the hosts of the scenario's capture where that is production's, else None.

    ``looks`` says whether names and marks of production are looked at.
    """

    target: Target
    captured: Sequence[str] | None
    looks: bool

    def checked(self, soak: SoakFile) -> SoakFile:
        """The same file of criteria, where its probes may go to where they go. Raises Refused."""
        destinations = tuple(lead(soak.dsns, soak.probes))
        if self.looks:
            check_places(destinations, by_option=True)
        if self.captured is not None:
            check_captured(self.target, destinations, self.captured)
        return soak

    def ask(self, soak: SoakFile | None) -> None:
        """Ask whether the target answers, and whether the probes' databases are marked as production's.

        Raises StageError where one of them does not answer, Refused where one is.
        """
        target = self.target
        try:
            socket.create_connection((target.host, target.port), _ANSWERS_WITHIN_S).close()
        except OSError as error:
            raise StageError(f"{target.url} does not answer: {error}.", "Start it, or correct --target.") from error
        if soak is not None and self.looks:
            check_marked(soak.dsns, soak.probes, by_option=True)


def aim_at(url: str, allow: Sequence[str], capture: Mapping[str, Any], *, looks: bool) -> Aim:
    """Check a target as the runtime does, and its name, before anything is done. ``capture`` is what a scenario says.

    Raises InputError where it is no target, Refused where load may not go there.
    """
    target = parse_target(url)
    check_allowed(target.host, allow, "Load", by_option=True)
    if looks:
        check_name("The target's host", target.host, by_option=True)
    if parse_environment(str(capture.get("environment", ""))) != PRODUCTION:
        return Aim(target, None, looks)
    hosts = capture.get("hosts") or ()
    check_not_production(target, hosts)
    return Aim(target, hosts, looks)
