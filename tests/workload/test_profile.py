"""A capture as small tables: what they say of traffic made for it, and of captures that are odd, broken or huge."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from engines import START, exchange, made_capture, profile_of
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.segments import to_table
from replay.capture.store import CaptureWriter
from replay.errors import InputError
from replay.traffic import Exchange
from replay.workload.endpoints.routes import read_rules
from replay.workload.engine import Engine
from replay.workload.profile.profile import START as OF_A_VISIT
from replay.workload.profile.profile import Profile, Timing, profile, read_profile


def totals(found: Profile) -> set[int]:
    """What each table that has all exchanges says their number is."""
    tables = (found.endpoints, found.successions, found.variants, found.classes, found.agents)
    return {
        found.exchanges,
        sum(found.client_counts),
        sum(size * count for size, count in found.sittings.lengths.items()),
        *(int(table["count"].sum()) for table in tables),
    }


def bearer(number: int) -> tuple[tuple[str, str], ...]:
    return (("Authorization", f"Bearer token-{number}"), ("User-Agent", "app/1 (x)"))


def test_an_empty_capture(duckdb: Engine) -> None:
    found = profile_of([], duckdb)
    assert totals(found) == {0}
    assert found.clients == ()
    assert found.duration_s == 0
    assert found.tail is None
    assert found.arrivals.series == ()


def test_one_exchange(duckdb: Engine) -> None:
    found = profile_of([exchange(0, "GET /v1/events/12345?a=b", took_s=0.25)], duckdb)
    assert totals(found) == {1}
    assert found.duration_s == 0.25
    (row,) = found.endpoints.to_dict("records")
    assert row["endpoint"] == "GET /v1/events/{event_id}"
    assert row["statuses"] == {"200": 1}
    assert row["duration_p10_s"] == row["duration_p99_s"] == 0.25
    assert found.sittings.lengths == {1: 1}
    assert found.sittings.think_s == {}
    assert found.successions["before"].tolist() == [OF_A_VISIT]


def test_nothing_of_one_exchange_is_known_but_its_moment(duckdb: Engine) -> None:
    bare = exchange(0, "GET ", status=0, took_s=0.0, client="")
    found = profile_of([bare, bare], duckdb)
    assert totals(found) == {2}
    assert found.endpoints["statuses"].tolist() == [{"none": 2}]
    assert found.duration_s == 0


def test_one_client_in_order(duckdb: Engine) -> None:
    steps = ["GET /login", "POST /login", "GET /v1/events", "GET /v1/events/12345"]
    made = [
        exchange(4000.0 * visit + 2 * place, step, headers=bearer(1))
        for visit in range(10)
        for place, step in enumerate(steps)
    ]
    found = profile_of(made, duckdb)
    assert totals(found) == {40}
    assert len(found.clients) == 1
    assert found.sittings.count == 10
    assert found.sittings.lengths == {4: 10}
    assert found.sittings.think_s[0.5] == pytest.approx(1.9)
    pairs = zip(found.successions["before"], found.successions["endpoint"], strict=True)
    names = [*steps[:3], "GET /v1/events/{event_id}"]
    assert set(pairs) == set(zip([OF_A_VISIT, *names], names, strict=False))
    assert set(found.successions["count"]) == {10}
    by_before = dict(zip(found.successions["before"], found.successions["think_s"], strict=True))
    assert math.isnan(by_before.pop(OF_A_VISIT))
    assert list(by_before.values()) == pytest.approx([1.9] * 3)


def test_what_follows_a_login_is_of_the_visit_whatever_it_presents_and_over_whatever_it_comes(duckdb: Engine) -> None:
    """Each call comes over a connection of its own, and each login gives another token."""
    login = {"body": '{"username": "ada", "password": "made up"}', "headers": (("Content-Type", "application/json"),)}
    made = []
    for turn in range(5):
        sent = [("POST /login", login | {"answer": {"access_token": f"token-{turn}"}})]
        sent += [("GET /v1/things", {"headers": bearer(turn)})] * 2
        made += [
            exchange(5 * turn + place, request, connection=f"{turn}-{place}", **more)
            for place, (request, more) in enumerate(sent)
        ]
    found = profile_of(made, duckdb)
    assert len(found.clients) == 1
    counts = {
        (before, endpoint): count
        for before, endpoint, count in found.successions[["before", "endpoint", "count"]].itertuples(index=False)
    }
    assert counts == {
        (OF_A_VISIT, "POST /login"): 1,
        ("POST /login", "GET /v1/things"): 5,
        ("GET /v1/things", "GET /v1/things"): 5,
        ("GET /v1/things", "POST /login"): 4,
    }


def test_side_by_side_is_what_one_client_sends_at_once(duckdb: Engine) -> None:
    own = [exchange(0.25, "GET /", took_s=2, connection="1"), exchange(0.5, "GET /", took_s=2, connection="2")]
    others = [exchange(100.25, "GET /", took_s=2, client="b"), exchange(100.5, "GET /", took_s=2, client="c")]
    assert profile_of(own + others, duckdb).sittings.side_by_side == 0.25


@pytest.mark.parametrize(
    ("moments", "has_durations", "whole_seconds"),
    [
        ([(0.0, 0.0), (7.0, 0.0)], False, True),  # Combined
        ([(0.0, 0.2), (7.0, 3.5)], True, True),  # whole seconds at the beginning
        ([(0.8, 0.2), (6.5, 3.5)], True, True),  # or at the end, with a time that was measured
        ([(0.2, 0.0), (7.0, 0.0)], False, False),
        ([(0.8, 0.2), (7.0, 0.5)], True, False),
    ],
)
def test_how_finely_a_capture_tells_time(
    duckdb: Engine, moments: list[tuple[float, float]], has_durations: bool, whole_seconds: bool
) -> None:
    found = profile_of([exchange(at_s, "GET /", took_s=took_s) for at_s, took_s in moments], duckdb)
    assert found.timing == Timing(has_durations, whole_seconds)
    assert found.timing.tells_company == (has_durations and not whole_seconds)
    assert math.isnan(found.endpoints["duration_p50_s"].iloc[0]) == (not has_durations)


def test_clocks_that_run_backwards(duckdb: Engine) -> None:
    table = to_table([exchange(10 - number, f"GET /{number % 2}", took_s=1.0) for number in range(10)])
    durations = [-5.0 if number % 2 else 0.5 for number in range(10)]  # what no writer of ours lets in
    table = table.set_column(1, table.schema.field(1), [durations])
    found = profile(duckdb.given(table), duckdb)
    assert totals(found) == {10}
    assert found.duration_s == pytest.approx(9.5)
    assert found.endpoints["duration_p10_s"].min() == 0
    assert all(value >= 0 for value in found.sittings.think_s.values())


@pytest.mark.parametrize("took_s", [0.0, 1.0])
def test_every_moment_is_the_same(duckdb: Engine, took_s: float) -> None:
    made = [
        exchange(0, f"GET /v1/things/{number % 5}", took_s=took_s, headers=bearer(number % 3)) for number in range(300)
    ]
    found = profile_of(made, duckdb)
    assert totals(found) == {300}
    assert found.sittings.lengths == {100: 3}
    assert found.sittings.side_by_side == 1
    assert found.classes["most_running"].tolist() == [300]
    assert found.classes["running"].tolist() == [8]
    assert found.classes["same_key"].tolist() == [True]


def test_an_hour_of_nothing(duckdb: Engine) -> None:
    made = [
        exchange(half * 4000 + number, "GET /", headers=bearer(number % 2)) for half in (0, 1) for number in range(200)
    ]
    found = profile_of(made, duckdb)
    assert totals(found) == {400}
    assert found.sittings.count == 4
    assert len(found.arrivals.series) == 120
    assert found.arrivals.series[60] == 0
    assert found.arrivals.peaks == ()


def test_years_apart(duckdb: Engine) -> None:
    # An end in microseconds and an endpoint's number do not fit in 64 bits together.
    made = [
        exchange(year * 365 * 86_400 + number, f"GET /{'abcde'[number]}", took_s=0.5, headers=bearer(1))
        for year in range(20)
        for number in range(5)
    ]
    found = profile_of([*made, exchange(0, "GET /stuck", took_s=9e8, client="stuck")], duckdb)
    assert totals(found) == {101}
    pairs = set(zip(found.successions["before"], found.successions["endpoint"], strict=True))
    assert {("GET /a", "GET /b"), ("GET /d", "GET /e"), (OF_A_VISIT, "GET /a")} <= pairs
    assert found.sittings.lengths == {5: 20, 1: 1}


def test_more_endpoints_than_bits_were_thought_of(duckdb: Engine) -> None:
    words = [f"{first}{second}" for first in "abcdefghijklmnop" for second in "abcdefghijklmnop"]
    made = [exchange(number, f"GET /{word}/{word}s/x", headers=bearer(1)) for number, word in enumerate(words)]
    found = profile_of(made, duckdb)
    assert totals(found) == {256}
    assert set(found.successions["before"]) <= {OF_A_VISIT, *found.endpoints["endpoint"]}


def test_statuses_sizes_and_times_are_measured(duckdb: Engine) -> None:
    chance = random.Random(3)  # noqa: S311 - no secret
    made = [
        exchange(
            number, f"GET /v1/{'ab'[number % 2]}", status=chance.choice([200, 201, 404, 0]),
            answer=b"x" * chance.randrange(500), took_s=chance.random(),
        )
        for number in range(400)
    ]  # fmt: skip
    rows = profile_of(made, duckdb).endpoints.set_index("endpoint")
    for name in "ab":
        own = [one for one in made if one.request.path == f"/v1/{name}"]
        row = rows.loc[f"GET /v1/{name}"]
        assert row["count"] == len(own)
        statuses = Counter(str(one.response.status) if one.response else "none" for one in own)
        assert row["statuses"] == dict(statuses)
        took = pd.Series([round(one.duration_s, 6) for one in own])
        size = pd.Series([len(one.response.body or b"") if one.response else 0 for one in own])
        for quantile in (0.1, 0.5, 0.9, 0.99):
            percent = round(100 * quantile)
            assert row[f"duration_p{percent}_s"] == pytest.approx(took.quantile(quantile), abs=1e-6)
            assert row[f"size_p{percent}_bytes"] == pytest.approx(size.quantile(quantile))
        assert row["size_most_bytes"] == size.max()


def test_the_same_key_and_how_many_at_once(duckdb: Engine) -> None:
    made = [exchange(0, "GET /v1/events/12345", took_s=10, client="a")]
    made += [exchange(number, f"GET /v1/events/{12344 + number}", took_s=0.5, client="b") for number in (1, 2, 3)]
    rows = profile_of(made, duckdb).classes
    found = {(row["running"], row["same_key"]): row["count"] for row in rows.to_dict("records")}
    assert found == {(0, False): 1, (1, True): 1, (1, False): 2}
    assert set(rows["most_running"]) == {1, 2}


def test_agents_are_products(duckdb: Engine) -> None:
    agents = ["app/1 (a)", "app/1(b)", "app/2", "", '"quoted"/1 x']
    made = [exchange(number, "GET /", headers=(("User-Agent", agent),)) for number, agent in enumerate(agents)]
    rows = profile_of(made, duckdb).agents
    assert rows["agent"].tolist()[0] == "app/1"
    assert rows["count"].tolist() == [2, 1, 1, 1]


def test_rules_name_endpoints(duckdb: Engine, tmp_path: Path) -> None:
    file = tmp_path / "routes.txt"
    file.write_text("GET /shop/{category}/{item}\n", encoding="utf-8")
    made = [exchange(0, "GET /shop/a/b"), exchange(1, "GET /shop/c/d")]
    found = profile(duckdb.spooled([to_table(made)]), duckdb, read_rules(file))
    assert found.endpoints["endpoint"].tolist() == ["GET /shop/{category}/{item}"]
    assert {one.parameter for one in found.parameters} == {"category", "item"}


def test_a_capture_is_read_from_its_folder(duckdb: Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no capture"):
        read_profile(tmp_path / "none", duckdb)
    with CaptureWriter(tmp_path / "a*", environment="production", scrubber=None) as writer:
        for number, one in enumerate(made_capture()):
            writer.add(one, "test")
            if number % 50 == 0:
                writer.flush()
    assert totals(read_profile(tmp_path / "a*", duckdb)) == {len(made_capture())}


@pytest.mark.slow
@settings(max_examples=15)
@given(
    st.lists(
        st.builds(
            exchange,
            st.integers(0, 10**4) | st.floats(0, 10**8),
            st.text(" /?&=a1%.~é\"'\\", max_size=12).map(lambda target: f"GET /{target}"),
            headers=st.lists(st.tuples(st.sampled_from(["Cookie", "User-Agent", "Authorization"]), st.text())).map(
                tuple
            ),
            body=st.none() | st.binary(max_size=30) | st.text('{}[]",:1a\\', max_size=20),
            status=st.sampled_from([0, 200, 204, 404, 999]),
            answer=st.none() | st.binary(max_size=20),
            took_s=st.floats(-1, 10**7),
            client=st.text(max_size=3),
            connection=st.text(max_size=2),
        ),
        max_size=30,
    )
)
def test_any_capture_has_a_profile(duckdb: Engine, made: list[Exchange]) -> None:
    assert totals(profile_of(made, duckdb)) == {len(made)}


def scan(paths: int) -> Iterator[Exchange]:
    """A robot guesses paths beside real traffic."""
    chance = random.Random(4)  # noqa: S311 - no secret
    endings = ["", ".php", ".bak", "/admin", "/.env", "/config.json", ".zip", "/index.html"]
    for number in range(paths):
        word = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=chance.randint(3, 14)))
        path = f"/{word}{number}{endings[number % 8]}"
        yield exchange(number / 100, f"GET {path}", status=404, took_s=0.001, client="robot")
        if number % 20 == 0:
            real = f"GET /v1/events/{10_000 + number % 700}"
            yield exchange(number / 100, real, took_s=0.01, headers=bearer(number % 9))


@pytest.mark.slow
def test_a_scan_of_200_000_paths_has_few_endpoints(duckdb: Engine) -> None:
    found = profile(duckdb.spooled([to_table(list(scan(200_000)))]), duckdb)
    assert totals(found) == {210_000}
    assert len(found.endpoints) <= 50
    real = found.endpoints.set_index("endpoint").loc["GET /v1/events/{event_id}"]
    assert real["count"] == 10_000


@pytest.mark.slow
def test_100_000_clients(duckdb: Engine) -> None:
    made = [
        exchange(number / 50, f"GET /v1/things/{number % 1000}", headers=bearer(number % 100_000))
        for number in range(200_000)
    ]
    found = profile(duckdb.spooled([to_table(made)]), duckdb)
    assert totals(found) == {200_000}
    assert len(found.clients) == 100_000
    assert set(found.client_counts) == {2}
    assert found.tail is None


def test_moments_are_those_of_the_capture(duckdb: Engine) -> None:
    made: Sequence[Exchange] = [exchange(0.5, "GET /"), exchange(2.25, "GET /", took_s=0.5)]
    found = profile_of(made, duckdb)
    assert found.duration_s == pytest.approx(2.25)
    assert (made[0].at - START) == timedelta(seconds=0.5)
    assert found.arrivals.series == (1.0, 0.0, 1.0)
