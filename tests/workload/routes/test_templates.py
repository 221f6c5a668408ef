"""Routes of described APIs, found again in traffic that shows nothing but paths.

The first five set the bar. The others were described when the rules stood, to see what they are worth elsewhere.
"""

import random

import pytest
from described import read_api, seen, traffic
from score import exact_f1, nameless, paired_f1

from replay.workload.endpoints.routes import read_rules
from replay.workload.endpoints.templates import learn_paths

BAR = 0.98
SEEDS = range(6)
FIVE = ("events", "codehost", "shop", "tracker", "cloud")
OTHERS = ("music", "clinic", "packages", "travel", "forum", "devices")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FIVE)
def test_the_routes_of_an_api_are_found_again(name: str, seed: int) -> None:
    asked = traffic(read_api(name), seed)
    learned = learn_paths(seen(asked))
    assert exact_f1(learned, asked)[0] >= BAR
    assert paired_f1(learned, asked) >= BAR


@pytest.mark.parametrize("name", OTHERS)
def test_the_routes_of_an_api_that_the_rules_were_not_made_for(name: str) -> None:
    api = read_api(name)
    scores = []
    for seed in SEEDS:
        asked = traffic(api, seed)
        scores.append(exact_f1(learn_paths(seen(asked)), asked)[0])
    assert sum(scores) / len(scores) >= BAR
    assert min(scores) >= 0.95


@pytest.mark.parametrize("name", FIVE + OTHERS)
def test_the_descriptions_are_wide_and_every_route_is_asked_for(name: str) -> None:
    api = read_api(name)
    assert 25 <= len(api.templates) <= 60
    assert {one.route for one in traffic(api, 0)} == set(api.templates)


@pytest.mark.parametrize("name", FIVE)
def test_more_traffic_does_not_make_it_worse(name: str) -> None:
    asked = traffic(read_api(name), 1, requests=20_000)
    assert exact_f1(learn_paths(seen(asked)), asked)[0] >= BAR


@pytest.mark.parametrize("name", FIVE)
def test_the_order_of_the_paths_does_not_matter(name: str) -> None:
    asked = traffic(read_api(name), 2)
    paths = list(seen(asked))
    once = learn_paths(paths)
    random.Random(2).shuffle(paths)  # noqa: S311 - no secret
    again = learn_paths(paths)
    assert all(once.endpoint("GET", one.path) == again.endpoint("GET", one.path) for one in asked)


@pytest.mark.parametrize("name", FIVE + OTHERS)
def test_with_its_description_an_api_is_read_as_it_says(name: str, request: pytest.FixtureRequest) -> None:
    rules = read_rules(request.path.parent / f"{name}.yaml")
    for one in traffic(read_api(name), 3, requests=500):
        if "/contents/" in one.path:  # OpenAPI has no word for a parameter with slashes
            continue
        match = rules.match(one.method, one.path)
        assert match is not None
        assert nameless(match.template) == nameless(one.route)
