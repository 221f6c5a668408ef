"""Variants of requests: named, counted, and the rare ones together where there are too many."""

import json
from collections import Counter
from collections.abc import Sequence

import pytest
from engines import exchange, table_of

from replay.traffic import Exchange
from replay.workload.comparison.compare import Kind, compare
from replay.workload.comparison.coverage import Coverage, find_coverage
from replay.workload.engine import Engine
from replay.workload.profile import variants as module
from replay.workload.profile.facts import facts
from replay.workload.profile.profile import profile
from replay.workload.profile.variants import OTHERS, find_variants


def counted(made: Sequence[Exchange], engine: Engine) -> dict[str, int]:
    rows = profile(table_of(made, engine), engine).variants
    return dict(zip(rows["variant"], rows["count"], strict=True))


def test_what_a_few_clients_leave_out_is_seen(duckdb: Engine) -> None:
    made = []
    for number in range(100):
        body = {"event_id": number, "name": f"name {number}", "seats": [{"row": number}] * (number % 5 + 1)}
        if number % 33 == 0:
            del body["name"]
        made.append(exchange(number, "POST /bookings", body=json.dumps(body, indent=number % 2 or None)))
    assert counted(made, duckdb) == {
        "{event_id:number,name:str,seats:[{row:number}]}": 96,
        "{event_id:number,seats:[{row:number}]}": 4,
    }


def test_the_order_of_names_does_not_matter(duckdb: Engine) -> None:
    made = [exchange(0, "GET /?b=1&a=2"), exchange(1, "GET /?a=1&b=2&a=3"), exchange(2, "GET /?&a&b&")]
    made += [exchange(3, "POST /", body="b=1&a=2"), exchange(4, "POST /", body="a=&b=")]
    assert counted(made, duckdb) == {"?a&b": 3, "form a&b": 2}


def test_a_query_and_a_body_are_one_variant(duckdb: Engine) -> None:
    made = [exchange(0, "POST /?dry=1", body='{"a": 1}'), exchange(1, "POST /?dry=1"), exchange(2, "POST /", body="")]
    assert counted(made, duckdb) == {"?dry {a:number}": 1, "?dry": 1, "empty": 1}


def test_what_is_rare_counts_as_others(duckdb: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    made = [exchange(number, f"GET /?{'abcdef'[number % 6]}=1") for number in range(6)]
    made += [exchange(10 + number, f"GET /?{'abc'[number % 3]}=1") for number in range(6)]
    found = counted(made, duckdb)
    assert found == {"?a": 3, "?b": 3, "?c": 3, OTHERS: 3}


def test_others_are_like_nothing_of_another_capture(duckdb: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 20)
    one, other = (
        profile(table_of([exchange(number + 0.5, f"GET /s?{name}{number}") for number in range(30)], duckdb), duckdb)
        for name in "ab"
    )
    coverage, _ = find_coverage(one, other)
    assert (coverage.endpoint, coverage.variant, coverage.concurrency) == (1.0, 0.0, 0.0)
    coverage, (only,) = find_coverage(one, one)
    assert coverage == only.coverage == Coverage(1.0, 1.0, 1.0, 1.0)
    few = profile(table_of([exchange(number + 0.5, "GET /s?b1") for number in range(30)], duckdb), duckdb)
    compared = compare(one, few)
    found = [
        spot.sentence for spot in (*compared.blind_spots, *compared.too_small_to_tell) if spot.kind == Kind.VARIANT
    ]
    assert found
    assert not any(OTHERS in sentence for sentence in found)


def test_each_form_has_one_number(duckdb: Engine) -> None:
    made = [exchange(number, f"GET /?{number % 7}") for number in range(50)]
    read = duckdb.keep(facts(table_of(made, duckdb), duckdb))
    found = find_variants(read, duckdb)
    assert found.numbers["made"].is_unique
    assert found.texts[0] == OTHERS
    assert Counter(found.texts).most_common(1)[0][1] == 1
    assert sorted(found.numbers["variant"]) == list(range(1, 8))
