"""How popular keys are: the law that they were drawn by is found, and the hottest are those that were counted."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from engines import EITHER, exchange, table_of
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.traffic import Exchange
from replay.workload.endpoints.paths import find_paths
from replay.workload.engine import Engine
from replay.workload.profile.facts import facts
from replay.workload.profile.popularity import Popularity, find_popularity, fit_zipf


def popularity(made: Sequence[Exchange], engine: Engine) -> dict[tuple[str, str], Popularity]:
    read = engine.keep(facts(table_of(made, engine), engine))
    found = find_popularity(read, engine, find_paths(read, engine))
    assert [one.requests for one in found] == sorted((one.requests for one in found), reverse=True)
    return {(one.endpoint, one.parameter): one for one in found}


def assert_counted(found: Popularity, values: Sequence[str]) -> None:
    counts = Counter(values)
    assert found.requests == len(values)
    assert found.values == len(counts)
    assert found.once == sum(count == 1 for count in counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0].encode()))
    assert list(found.top) == ranked[:100]
    assert found.top_share == pytest.approx(sum(count for _, count in ranked[:10]) / len(values))


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("keys", [50, 500, 2_000, 20_000])
def test_the_exponent_of_zipf_is_found(exponent: float, keys: int) -> None:
    weights = np.arange(1, keys + 1, dtype=float) ** -exponent
    drawn = np.random.default_rng(7).choice(keys, 20_000, p=weights / weights.sum())
    assert fit_zipf(dict(Counter(Counter(drawn.tolist()).values()))) == pytest.approx(exponent, abs=0.1)


def test_what_is_evenly_popular_has_no_exponent() -> None:
    assert fit_zipf({7: 500}) == pytest.approx(0, abs=0.01)


def test_few_keys_tell_no_law() -> None:
    assert fit_zipf({}) is None
    assert fit_zipf({100: 1, 7: 8}) is None


@given(st.dictionaries(st.integers(1, 10**6), st.integers(1, 200), min_size=1, max_size=20))
def test_any_counts_have_an_exponent_in_bounds(counts_of_counts: dict[int, int]) -> None:
    found = fit_zipf(counts_of_counts)
    assert (found is None) == (sum(counts_of_counts.values()) < 10)
    assert found is None or 0 <= found <= 4


@EITHER
def test_keys_in_paths_and_queries_are_counted(either: Engine) -> None:
    chance = np.random.default_rng(8)
    keys = [str(10_000 + key) for key in chance.zipf(1.3, 900).tolist() if key < 90_000]
    pages = [str(page) for page in chance.integers(0, 7, len(keys)).tolist()]
    made = [
        exchange(number, f"GET /v1/events/{key}/seats/{number % 3}?page={page}&q={'a' * (number % 2)}")
        for number, (key, page) in enumerate(zip(keys, pages, strict=True))
    ]
    found = popularity(made, either)
    endpoint = "GET /v1/events/{event_id}/seats/{seat_id}"
    assert found.keys() == {(endpoint, name) for name in ("event_id", "seat_id", "?page", "?q")}
    assert_counted(found[endpoint, "event_id"], keys)
    assert_counted(found[endpoint, "seat_id"], [str(number % 3) for number in range(len(keys))])
    assert_counted(found[endpoint, "?page"], pages)
    assert_counted(found[endpoint, "?q"], ["a" * (number % 2) for number in range(len(keys))])


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.text("ab=%&+ü", max_size=6), min_size=1, max_size=40))
def test_any_query_is_counted_pair_by_pair(duckdb: Engine, queries: list[str]) -> None:
    found = popularity([exchange(number, f"GET /?{query}") for number, query in enumerate(queries)], duckdb)
    pairs = [pair.partition("=")[::2] for query in queries if query for pair in query.split("&")]
    assert found.keys() == {("GET /", f"?{name}") for name, _ in pairs}
    for name in {name for name, _ in pairs}:
        assert_counted(found["GET /", f"?{name}"], [value for own, value in pairs if own == name])


def test_without_parameters_there_is_no_popularity(duckdb: Engine) -> None:
    assert popularity([exchange(0, "GET /status")], duckdb) == {}
    assert popularity([], duckdb) == {}
