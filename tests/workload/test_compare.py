"""Two captures side by side: what is found where they differ, and nothing where they do not."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.capture.store import CaptureWriter
from replay.errors import InputError
from replay.traffic import Exchange
from replay.workload.comparison.compare import BlindSpot, Comparison, Coverage, Kind, compare, compare_captures
from replay.workload.comparison.differing import fields_of, find_difference
from replay.workload.comparison.spread import Spread
from replay.workload.document import comparison_document, profile_document
from replay.workload.endpoints.routes import Rules
from replay.workload.engine import Engine
from replay.workload.profile.popularity import Popularity
from replay.workload.profile.profile import Profile, read_profile

CAPTURES = Path(__file__).parents[2] / "captures"
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as opened:
        yield opened


@pytest.fixture
def recordings(recording: Any) -> tuple[Any, Any]:
    """Production's traffic and the other's, to be added to."""
    return recording, type(recording)()


@pytest.fixture
def compared(recordings: tuple[Any, Any], engine: Engine, tmp_path: Path) -> Callable[..., Comparison]:
    def compare_both(**options: Any) -> Comparison:
        paths = [
            write(own.exchanges, tmp_path / name) for own, name in zip(recordings, ("production", "qa"), strict=True)
        ]
        return compare_captures(paths[0], paths[1], engine, **options)

    return compare_both


@pytest.fixture(scope="module")
def demo(engine: Engine) -> Comparison:
    return compare_captures(CAPTURES / "production", CAPTURES / "qa", engine)


def write(exchanges: Sequence[Exchange], path: Path) -> Path:
    with CaptureWriter(path, environment="qa", scrubber=None) as writer:
        for exchange in exchanges:
            writer.add(exchange)
    return path


def of_kind(found: Comparison, kind: Kind) -> list[BlindSpot]:
    return [spot for spot in found.blind_spots if spot.kind is kind]


def ladder(found: Comparison) -> tuple[float | None, ...]:
    return dataclasses.astuple(found.coverage)


# What differs


def test_endpoints_that_are_never_or_rarely_called(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(100):
        production.add(number, f"GET /v1/events/{number % 7 + 1}", client="c")
        production.add(number + 0.5, "GET /v1/report" if number % 2 else "GET /v1/export", client="c")
        qa.add(number, f"GET /v1/events/{number % 7 + 1}", client="c")
    qa.add(200, "GET /v1/report", client="c")
    found = compared()
    export, report = of_kind(found, Kind.ENDPOINT)
    assert (export.what, export.share, export.other) == ("GET /v1/export", 0.25, 0.0)
    assert export.sentence == "25.0% of production is GET /v1/export; qa never calls it."
    assert (report.what, report.share, report.other) == ("GET /v1/report", 0.25, pytest.approx(1 / 101))
    assert "for 1.0% only" in report.sentence
    assert found.coverage.endpoint == 0.75


def test_the_endpoints_of_production_are_found_in_few_requests(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    words = ["tea", "jazz", "chess", "yoga", "clay", "rust", "wool", "bread", "light", "stone", "cloud", "river"]
    for number in range(120):
        production.add(number, f"GET /v1/talks/{words[number % 12]}/seats", client="c")
    qa.add(0, "GET /v1/talks/jazz/seats", client="c")
    found = compared()
    assert [one.endpoint for one in found.endpoints] == ["GET /v1/talks/{talk_id}/seats"]
    assert found.coverage.endpoint == 1.0


def test_rules_name_the_endpoints_of_both(recordings: Any, compared: Any) -> None:
    for own in recordings:
        own.add(0, "GET /shop/tea/green")
    found = compared(rules=Rules([("GET", "/shop/{kind}/{name}")]))
    assert [one.endpoint for one in found.endpoints] == ["GET /shop/{kind}/{name}"]
    assert list(found.other.endpoints["endpoint"]) == ["GET /shop/{kind}/{name}"]


def test_a_field_that_is_left_out(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(200):
        note = {} if number % 10 == 0 else {"note": "window"}
        production.add(number, "POST /v1/orders", body={"name": "Kim", "seats": [{"row": number}]} | note, client="c")
        qa.add(number, "POST /v1/orders", body={"name": "Kim", "note": "aisle", "seats": [{"row": 1}]}, client="c")
    (spot,) = of_kind(compared(), Kind.VARIANT)
    assert spot.what == "POST /v1/orders without `note`"
    assert (spot.production, spot.share) == (0.1, 0.1)
    assert spot.sentence == "10.0% of POST /v1/orders come without `note`; qa sends none such."


def test_what_is_rare_cannot_be_told_by_a_small_capture(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(1000):
        production.add(number, "GET /v1/events" + ("?deep=1" if number == 500 else ""), client="c")
    for number in range(200):
        qa.add(number, "GET /v1/events", client="c")
    found = compared()
    assert not of_kind(found, Kind.VARIANT)
    (spot,) = [spot for spot in found.too_small_to_tell if spot.kind is Kind.VARIANT]
    assert spot.what == "GET /v1/events with `?deep`"
    assert not spot.told


def test_a_rare_endpoint_is_told_by_many_calls_of_it(demo: Comparison) -> None:
    """qa calls the exports 31 times, and always for one event: so it would have shown what production does."""
    assert "GET /v1/exports/registrations without `?event_id`" in {spot.what for spot in of_kind(demo, Kind.VARIANT)}
    (slow,) = of_kind(demo, Kind.SLOW)
    assert slow.what == "GET /v1/exports/registrations"
    assert slow.production > 50 * slow.other


def test_orders_concurrency_and_keys(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(60):
        for place in range(3):  # three clients at once, for the same key
            production.add(number * 10 + place / 2, "GET /v1/events/7", client=f"c{place}", took_s=2.0)
        production.add(number * 10 + 5, "DELETE /v1/events/7", client="c0")
        qa.add(number * 10, "DELETE /v1/events/7", client="c0")
        qa.add(number * 10 + 5, "GET /v1/events/7", client="c0")
    for own in recordings:
        for number, exchange in enumerate(own.exchanges):
            own.exchanges[number] = dataclasses.replace(exchange, connection=exchange.client)
    found = compared()
    crowd = next(spot for spot in of_kind(found, Kind.CONCURRENCY) if spot.what.startswith("GET"))
    assert (crowd.production, crowd.other, crowd.unit) == (3, 1, "at once")
    same = next(spot for spot in of_kind(found, Kind.SAME_KEY) if spot.what.startswith("GET"))
    assert (same.production, same.other) == (pytest.approx(2 / 3), 0.0)
    orders = {spot.what for spot in of_kind(found, Kind.ORDER)}
    assert "GET /v1/events/{event_id} → GET /v1/events/{event_id}" in orders
    assert "DELETE /v1/events/{event_id} → GET /v1/events/{event_id}" not in orders
    assert ladder(found)[3] <= ladder(found)[2] < ladder(found)[1] == 1.0


def test_hot_keys_few_values_and_choices(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(200):
        hot = 1 if number % 2 else number + 10
        production.add(number, f"GET /v1/events/{hot}?limit=50", client="c")
        production.add(number + 0.5, f"GET /v1/seats/{number}?limit=5", client="c")
        qa.add(number, f"GET /v1/events/{number + 10}?limit=5", client="c")
        qa.add(number + 0.5, "GET /v1/seats/9?limit=5", client="c")
    found = compared()
    (hot,) = of_kind(found, Kind.HOT_KEY)
    assert (hot.what, hot.production, hot.share) == ("event_id of GET /v1/events/{event_id}", 0.5, 0.25)
    (few,) = of_kind(found, Kind.KEYS)
    assert few.what == "seat_id of GET /v1/seats/{seat_id}"
    assert (few.other, few.share) == (1, pytest.approx(199 / 400))
    (choice,) = of_kind(found, Kind.VALUE)
    assert choice.sentence == "100% of ?limit of GET /v1/events/{event_id} is 50; never in qa."


def test_answers_that_only_production_gets(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(100):
        production.add(number, "GET /v1/a", status=409 if number % 5 == 0 else 200, answer={"a": "x" * 50}, client="c")
        production.add(number + 0.2, "GET /v1/b", answer=[] if number % 4 == 0 else [1], client="c")
        production.add(number + 0.4, "GET /v1/c", answer=["x" * (9 if number % 3 else 9000)], client="c")
        qa.add(number, "GET /v1/a", answer={"a": "x" * 50}, client="c")
        qa.add(number + 0.2, "GET /v1/b", answer=[1], client="c")
        qa.add(number + 0.4, "GET /v1/c", answer=["x" * 9], client="c")
    found = compared()
    (status,) = of_kind(found, Kind.STATUS)
    assert (status.what, status.production) == ("GET /v1/a 409", 0.2)
    (empty,) = of_kind(found, Kind.EMPTY)
    assert (empty.what, empty.production) == ("GET /v1/b", 0.25)
    (large,) = of_kind(found, Kind.LARGE)
    assert (large.what, large.other) == ("GET /v1/c", 13)
    assert large.sentence.startswith("At least 10% of GET /v1/c get more than 13 bytes")


def test_clients_and_agents(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(300):
        version = "app/2.0" if number % 3 else "app/1.9"
        agent = "scanner/1.0" if number % 10 == 0 else version
        production.add(number, "GET /v1/a", client=f"c{number % 30}", headers={"User-Agent": agent})
        qa.add(number, "GET /v1/a", client="c0", headers={"User-Agent": "app/2.0"})
    found = compared()
    (clients,) = of_kind(found, Kind.CLIENTS)
    assert (clients.production, clients.other, clients.share) == (30, 1, pytest.approx(29 / 30))
    sentences = [spot.sentence for spot in of_kind(found, Kind.AGENT)]
    assert any("app/1.9; qa has other versions of it only." in text for text in sentences)
    assert any("scanner/1.0; qa does not have it." in text for text in sentences)


def test_visits_longer_than_any(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for number in range(100):
        production.add(number, "GET /v1/a", client=f"c{number % 5}")
        qa.add(number, "GET /v1/a", client=f"c{number % 50}")
    (visit,) = of_kind(compared(), Kind.VISIT)
    assert (visit.production, visit.other, visit.share) == (20, 2, 1.0)
    assert visit.sentence == "Visits have up to 20 exchanges, in qa 2 at most."


def test_rates_and_bursts(recordings: Any, compared: Any) -> None:
    production, qa = recordings
    for second in range(60):
        for number in range(40 if second % 20 == 0 else 1):
            production.add(second + number / 100, "GET /v1/a", client="c", took_s=0.001)
        qa.add(second, "GET /v1/a", client="c", took_s=0.001)
    found = compared()
    (rate,) = of_kind(found, Kind.RATE)
    # Of the first and the last second a capture has only a part: they stand in no rate.
    assert (rate.production, rate.other, rate.share) == (40, 1, pytest.approx(80 / 136))
    burst = of_kind(found, Kind.BURST)[0]
    assert burst.what == "bursts in 1 s"
    assert burst.production > 10
    assert burst.other == 0.0


@pytest.mark.parametrize("swapped", [False, True])
def test_a_coarse_log_beside_a_fine_one_of_the_same_traffic_has_no_blind_spots(
    recordings: Any, compared: Any, swapped: bool
) -> None:
    """Whole seconds without durations, as in Combined, would have much run at once that never did."""
    fine, coarse = recordings
    for number in range(300):
        at_s, client = number * 0.4, f"c{number % 7}"
        fine.add(at_s, f"GET /v1/events/{number % 3}", client=client, took_s=0.05)
        coarse.add(at_s // 1 - 0.25, f"GET /v1/events/{number % 3}", client=client, took_s=0.0)
    if swapped:
        fine.exchanges, coarse.exchanges = coarse.exchanges, fine.exchanges
    found = compared()
    company = {Kind.CONCURRENCY, Kind.SAME_KEY, Kind.PARALLEL, Kind.SLOW, Kind.ORDER}
    assert not {spot.kind for spot in (*found.blind_spots, *found.too_small_to_tell)} & company
    assert found.coverage.concurrency is None
    assert found.coverage.covered == found.coverage.predecessor
    document = json.loads(json.dumps(comparison_document(found), allow_nan=False))
    assert document["coverage"]["concurrency"] is document["endpoints"][0]["coverage"]["concurrency"] is None
    notes = [document[side]["profile"]["notes"] for side in ("production", "other")]
    note = ["the capture has no durations: what ran side by side is not known"]
    assert notes == ([note, []] if swapped else [[], note])


def test_what_is_not_known_is_null(recordings: Any, compared: Any) -> None:
    for own in recordings:
        for number in range(4):
            own.add(number - 0.25, "GET /v1/a", took_s=0.0)
    (row,) = profile_document(compared().production)["endpoints"]
    assert set(row["duration_s"].values()) == {None}
    assert (row["most_running"], row["same_key_share"], row["running"]) == (None, None, {})


@pytest.mark.parametrize(
    ("coverage", "step"),
    [
        (Coverage(1.0, 1.0, 1.0, 1.0), None),
        (Coverage(0.0, 0.0, 0.0, 0.0), "endpoint"),
        (Coverage(1.0, 0.9, 0.5, 0.2), "predecessor"),
        (Coverage(1.0, 0.9, 0.5, None), "predecessor"),
        (Coverage(1.0, 0.5, 0.5, None), "variant"),
        (Coverage(1.0, 1.0, 1.0, 0.2), "concurrency"),
    ],
)
def test_the_step_that_lost_most(coverage: Coverage, step: str | None) -> None:
    assert coverage.lost_at == step


# The demo's captures


def test_the_demo(demo: Comparison) -> None:
    assert set(demo.production.endpoints["endpoint"]) == set(demo.other.endpoints["endpoint"])
    assert demo.coverage.endpoint == 1.0
    assert 0.9 < demo.coverage.variant < 1.0
    assert ladder(demo) == tuple(sorted(ladder(demo), reverse=True))
    assert {spot.what for spot in of_kind(demo, Kind.VARIANT)} >= {"POST /oauth/token with `device`"}
    crowds = {spot.what: spot for spot in of_kind(demo, Kind.CONCURRENCY)}
    assert crowds["POST /oauth/token"].other == 1
    assert demo.blind_spots == tuple(sorted(demo.blind_spots, key=lambda spot: -spot.share))
    assert all(0 < spot.share <= 1 for spot in (*demo.blind_spots, *demo.too_small_to_tell))


def test_the_other_way_round_shows_what_production_lacks(engine: Engine) -> None:
    found = compare_captures(CAPTURES / "qa", CAPTURES / "production", engine)
    assert "GET /v1/exports/registrations with `?event_id`" in {
        spot.what for spot in (*found.blind_spots, *found.too_small_to_tell)
    }


def test_documents_are_plain_and_bounded(demo: Comparison) -> None:
    document = json.loads(json.dumps(comparison_document(demo), allow_nan=False))
    assert document["coverage"]["endpoint"] == 1.0
    assert len(document["blind_spots"]) == len(demo.blind_spots)
    profile = document["production"]["profile"]
    assert profile == profile_document(demo.production)
    assert sum(own["count"] for own in profile["endpoints"]) == profile["exchanges"] == 5898
    assert all(len(own["top"]) <= 20 for own in profile["parameters"])
    assert len(profile["arrivals"]["series"]) <= 120
    assert sum(profile["visits"]["lengths"].values()) == profile["visits"]["count"]
    for own in profile["endpoints"]:
        assert sum(own["running"].values()) == own["count"]


# Little and nothing


def test_a_production_of_nothing_is_refused(recordings: Any, compared: Any) -> None:
    recordings[1].add(0, "GET /v1/a")
    with pytest.raises(InputError, match="holds no exchanges"):
        compared()


def test_another_of_nothing_covers_nothing(recordings: Any, compared: Any) -> None:
    for number in range(10):
        recordings[0].add(number, f"GET /v1/events/{number}", answer=[])
    found = compared()
    assert ladder(found) == (0.0, 0.0, 0.0, 0.0)
    assert found.blind_spots == ()
    assert {spot.kind for spot in found.too_small_to_tell} >= {Kind.ENDPOINT, Kind.RATE}
    json.dumps(comparison_document(found), allow_nan=False)


def test_one_exchange_each(recordings: Any, compared: Any) -> None:
    for own in recordings:
        own.add(0, "GET /v1/events/5")
    found = compared()
    assert ladder(found) == (1.0, 1.0, 1.0, 1.0)
    assert (found.blind_spots, found.too_small_to_tell) == ((), ())


def test_nothing_with_nothing(engine: Engine, tmp_path: Path) -> None:
    nothing = read_profile(write([], tmp_path / "nothing"), engine)
    found = compare(nothing, nothing)
    assert ladder(found) == (1.0, 1.0, 1.0, 1.0)
    assert (found.blind_spots, found.too_small_to_tell, found.endpoints) == ((), (), ())
    json.dumps(profile_document(nothing), allow_nan=False)


# What always holds

REQUESTS = st.tuples(
    st.integers(0, 40),
    st.sampled_from(["GET /a/{}", "GET /a/{}?x=1", "POST /b", "GET /c/{}/d", "GET /c?page={}", "DELETE /a/{}"]),
    st.integers(1, 5),
    st.sampled_from(["ann", "bob", "eve"]),
    st.sampled_from([0.0, 0.1, 3.0, 20.0]),
    st.sampled_from([200, 200, 404, 0]),
    st.sampled_from([None, {"n": 1}, {"n": "x", "m": [{"k": 1}]}]),
)


def recorded(recording: Any, requests: list[Any]) -> list[Exchange]:
    own = type(recording)()
    for at_s, request, key, client, took_s, status, body in requests:
        own.add(at_s, request.format(key), client=client, took_s=took_s, status=status, body=body, answer=[key] * key)
    return [dataclasses.replace(one, connection=one.client) for one in own.exchanges]


def tells_company(exchanges: list[Exchange]) -> bool:
    """Whether what ran at once is known: not where nothing took any time. Nothing here is at a whole second."""
    return not exchanges or any(exchange.duration_s for exchange in exchanges)


@pytest.mark.slow
@SLOW
@given(requests=st.lists(REQUESTS, min_size=1, max_size=60))
def test_a_capture_has_no_blind_spot_beside_itself(
    requests: list[Any], recording: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    exchanges = recorded(recording, requests)
    path = write(exchanges, tmp_path_factory.mktemp("same") / "one")
    found = compare_captures(path, path, engine)
    everything = (1.0, 1.0, 1.0, 1.0 if tells_company(exchanges) else None)
    assert ladder(found) == everything
    assert (found.blind_spots, found.too_small_to_tell) == ((), ())
    assert all(dataclasses.astuple(one.coverage) == everything for one in found.endpoints)


@pytest.mark.slow
@SLOW
@given(requests=st.lists(REQUESTS, min_size=1, max_size=60), gone=st.sets(st.sampled_from(["ann", "bob", "eve"])))
def test_coverage_does_not_grow_where_clients_go(
    requests: list[Any], gone: set[str], recording: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    exchanges = recorded(recording, requests)
    folder = tmp_path_factory.mktemp("fewer")
    kept = [exchange for exchange in exchanges if exchange.client not in gone]
    whole, fewer = write(exchanges, folder / "whole"), write(kept, folder / "fewer")
    found = compare_captures(whole, fewer, engine)
    known = [share for share in ladder(found) if share is not None]
    assert len(known) == (4 if tells_company(exchanges) and tells_company(kept) else 3)
    assert known[0] <= 1.0
    assert known[0] >= len(kept) / len(exchanges)
    assert known == sorted(known, reverse=True)


@pytest.mark.slow
@settings(deadline=None)
@given(data=st.data())
def test_coverage_does_not_grow_where_classes_go(data: st.DataObject, demo: Comparison) -> None:
    classes = demo.production.classes
    seen = data.draw(st.lists(st.integers(0, len(classes) - 1), unique=True, max_size=30))
    fewer = [place for place in seen if data.draw(st.booleans())]

    def covered(places: list[int]) -> tuple[float, ...]:
        other: Profile = dataclasses.replace(demo.production, classes=classes.iloc[places])
        return ladder(compare(demo.production, other))

    assert all(less <= more for less, more in zip(covered(fewer), covered(seen), strict=True))


# The words for a difference


@pytest.mark.parametrize(
    ("variant", "seen", "words"),
    [
        ("?limit", ["?cursor&limit"], "without `?cursor`"),
        ("?cursor&limit {a:str}", ["?limit {a:str}"], "with `?cursor`"),
        ("{a:str,b:{c:null}}", ["{a:str}"], "with `b`"),
        ("{a:str,b:[{c:number,d:str}]}", ["{a:str,b:[{c:number}]}"], "with `b[].d`"),
        ("{a:null}", ["{a:str}"], "with `a` as null"),
        ("{a:null}", ["xml", "{a:number,b:str}", "{a:number}"], "with `a` as null"),
        ("form a&b", ["form a&b&c"], "without `c`"),
        ("", ["form a"], "without `a`"),
        ("xml", [""], "with `body`"),
        ("{a:[number|str]}", ["{a:[number]}"], "with `a[]` as number or str"),
        ("form a&b&c&d&e&f", [""], "with `a`, with `b`, with `c`, with `d` and 2 more"),
    ],
)
def test_a_difference_in_words(variant: str, seen: list[str], words: str) -> None:
    assert str(find_difference(variant, seen)) == words


@pytest.mark.parametrize("variant", ["others", "{a:{b:str", "{a", "[", "{a:str}~5f", "?x {a:..."])
def test_what_has_no_fields_to_be_named(variant: str) -> None:
    assert fields_of(variant) is None
    assert find_difference(variant, ["{a:str}"]) is None


@given(st.text(alphabet="{}[]:,|?& ab~", max_size=40))
def test_no_text_breaks_the_reading_of_fields(variant: str) -> None:
    fields_of(variant)
    find_difference(variant, ["{a:str}", variant])


# How many values are to be expected


@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=30), uses=st.integers(0, 200))
def test_the_expected_number_of_values(counts: list[int], uses: int) -> None:
    spread = Spread.of(counts)
    expected = spread.values_in(uses)
    assert 0 <= expected <= min(len(counts), uses) + 1e-9
    assert expected <= spread.values_in(uses + 1)
    assert spread.beyond(0) == 1.0
    assert spread.beyond(len(counts)) == pytest.approx(0.0)


def test_values_beyond_the_hottest_are_alike() -> None:
    found = Popularity("GET /x", "id", 100, 42, 40, (("1", 40), ("2", 20)), 0.6, None)
    spread = Spread.of_parameter(found)
    assert (spread.hottest, spread.uses) == (0.4, 100)
    assert spread.beyond(1) == 0.6
    assert spread.beyond(22) == pytest.approx(0.2)
    assert 41 < spread.values_in(10_000) <= 42
