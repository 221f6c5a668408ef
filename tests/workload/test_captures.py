"""Every true link is found, and no other: on captures with their links noted by hand, and on the demo's own."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from replay.workload.correlations.places import place_pattern
from replay.workload.model import model_workload, read_workload

NAMES = ["oauth", "csrf", "paging", "created", "etags", "spa", "oidc", "legacy"]
CAPTURES = Path(__file__).resolve().parents[2] / "captures"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"workload_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def links_of(log: Any) -> set[tuple[str, int, str, int, str]]:
    """The links that are found, by the numbers that the log gave its exchanges."""
    order = sorted(range(len(log.exchanges)), key=lambda number: log.exchanges[number].at)
    found = model_workload(log.exchanges).correlations
    return {(link.kind, order[link.producer], link.handed, order[link.consumer], link.sent) for link in found}


@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("name", NAMES)
def test_every_link_and_no_other(name: str, seed: int) -> None:
    log: Any = module("captures_log").Log(seed)
    module(f"captures_{name}").record(log)
    found = links_of(log)
    assert log.links
    assert log.links - found == set()
    assert found - log.links == set()


def test_the_links_of_the_demonstration() -> None:
    """Who asks for a token gets it, and sends it with all else; pages lead to pages, and what is made is used."""
    workload = read_workload(CAPTURES / "production")
    token, made = "POST /oauth/token", "POST /v1/events/{event_id}/registrations"
    true = {("token", token, "json:/refresh_token", token, "form:refresh_token")}
    for endpoint in {str(endpoint) for endpoint in workload.endpoints} - {token}:
        true.add(("token", token, "json:/access_token", endpoint, "bearer"))
        if endpoint in {"GET /v1/events", "GET /v1/events/{event_id}/attendees"}:
            true.add(("cursor", endpoint, "json:/next_cursor", endpoint, "query:cursor"))
        if "{registration_id}" in endpoint:
            true.add(("created", made, "json:/id", endpoint, "path"))
    found = {
        (
            link.kind,
            str(workload.endpoints[link.producer]),
            place_pattern(link.handed),
            str(workload.endpoints[link.consumer]),
            place_pattern(link.sent),
        )
        for link in workload.correlations
    }
    assert found == true
    # Every request but those for tokens has one, every page but the first has its cursor.
    bearers = [link for link in workload.correlations if link.sent == "bearer"]
    assert len(bearers) == sum(str(endpoint) != token for endpoint in workload.endpoints)
    cursors = [link for link in workload.correlations if link.kind == "cursor"]
    assert len(cursors) == sum("cursor=" in exchange.request.query for exchange in workload.exchanges)
