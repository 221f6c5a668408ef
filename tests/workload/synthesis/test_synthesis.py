"""Traffic that is drawn from a model: what holds whatever the capture, and that it is like the capture."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from replay.errors import InputError
from replay.workload.synthesis import VisitModel, fit, read_model, synthesise, write_model
from replay.workload.synthesis.bursts import measure_bursts
from replay.workload.synthesis.distances import draw_portrait, measure_distances
from replay.workload.synthesis.synthesise import COLUMNS

HALF_S = 1800.0

rows = st.tuples(
    st.one_of(st.integers(0, 20).map(float), st.floats(0, 500)),
    st.sampled_from([0.0, 0.01, 30.0]),
    st.integers(0, 3),
    st.sampled_from(["GET /", "GET /items/{id}", "POST /items"]),
    st.sampled_from(["", "1", "2", "ü/3"]),
    st.integers(0, 2),
)


def as_events(drawn: list[tuple[float, float, int, str, str, int]]) -> pd.DataFrame:
    """Each client has one visit."""
    events = pd.DataFrame(drawn, columns=["at_s", "duration_s", "client", "endpoint", "key", "variant"])
    return events.assign(visit=events["client"])


@pytest.fixture(scope="module")
def shop(traffic: ModuleType) -> pd.DataFrame:
    return traffic.shop(5, duration_s=2 * HALF_S)


@pytest.fixture(scope="module")
def model(shop: pd.DataFrame) -> VisitModel:
    return fit(shop[shop["at_s"] < HALF_S], HALF_S)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(rows, min_size=1, max_size=40), scale=st.sampled_from([0.3, 1.0, 3.0]), seed=st.integers(0, 9))
def test_whatever_was_captured_what_is_drawn_is_in_order_and_known(drawn: list, scale: float, seed: int) -> None:
    events = as_events(drawn)
    found = synthesise(fit(events), duration_s=700.0, scale=scale, seed=seed)
    assert tuple(found.columns) == COLUMNS
    assert not found.isna().any(axis=None)
    assert found["at_s"].is_monotonic_increasing
    assert found["at_s"].between(0, 700, inclusive="left").all()
    assert (found["duration_s"] >= 0).all()
    assert set(found["endpoint"].astype(str)) <= set(events["endpoint"])
    pairs = ["endpoint", "variant"]
    known = set(events[pairs].itertuples(index=False, name=None))
    assert set(found[pairs].astype({"endpoint": str}).itertuples(index=False, name=None)) <= known
    keys = set(events[["endpoint", "key"]].itertuples(index=False, name=None))
    stayed = {("GET /", key) for key in events["key"]}  # a request may name the key that its visit is at
    own = set(found[["endpoint", "key"]].astype({"endpoint": str}).itertuples(index=False, name=None))
    assert {key for _, key in own} <= {key for _, key in keys | stayed}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(rows, min_size=1, max_size=40), seed=st.integers(0, 9))
def test_predecessors_are_of_the_visit_and_had_been_answered(drawn: list, seed: int) -> None:
    found = synthesise(fit(as_events(drawn)), duration_s=700.0, seed=seed)
    ends = (found["at_s"] + found["duration_s"]).to_numpy()
    own = found["after"].to_numpy() >= 0
    after = found["after"].to_numpy()[own]
    assert (found["visit"].to_numpy()[after] == found["visit"].to_numpy()[own]).all()
    assert (ends[after] <= found["at_s"].to_numpy()[own] + 1e-9).all()
    for _, visit in found.groupby("visit"):
        before = visit.assign(end=ends[visit.index])["end"].cummax().shift(1)
        assert (visit["overlaps"] == (before > visit["at_s"])).all()
        assert visit["after"].iloc[0] == -1


def test_the_same_seed_draws_the_same_and_another_does_not(model: VisitModel) -> None:
    first = synthesise(model, duration_s=300.0, seed=4)
    assert_frame_equal(first, synthesise(model, duration_s=300.0, seed=4))
    assert not first.equals(synthesise(model, duration_s=300.0, seed=5))


def test_a_written_model_draws_the_same(model: VisitModel, tmp_path: Path) -> None:
    write_model(model, tmp_path / "model.json.gz")
    read = read_model(tmp_path / "model.json.gz")
    assert_frame_equal(synthesise(read, duration_s=300.0, seed=4), synthesise(model, duration_s=300.0, seed=4))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1f\x8b\x08\x00"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.json.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no model of visits"):
        read_model(path)


def test_scale_multiplies_visits_and_clients_but_not_what_a_visit_is(model: VisitModel) -> None:
    one, three = (synthesise(model, duration_s=HALF_S, scale=scale, seed=1) for scale in (1.0, 3.0))
    # One that is under way at the end, and at the beginning, counts twice.
    assert three["visit"].nunique() == pytest.approx(3 * one["visit"].nunique(), rel=0.04)
    assert three["client"].nunique() == pytest.approx(3 * one["client"].nunique(), rel=0.05)
    assert len(three) == pytest.approx(3 * len(one), rel=0.05)
    distances = measure_distances(draw_portrait(three, HALF_S), draw_portrait(one, HALF_S))
    assert max(distances[name] for name in ("mix", "pairs", "lengths", "think")) < 0.03


def test_a_longer_time_has_more_visits_at_the_same_rate(model: VisitModel) -> None:
    short, long = (synthesise(model, duration_s=duration_s, seed=1) for duration_s in (HALF_S, 5 * HALF_S))
    assert long["at_s"].max() > 4.9 * HALF_S
    assert len(long) == pytest.approx(5 * len(short), rel=0.05)


def test_a_monitor_stays_for_all_the_time_with_its_period(model: VisitModel) -> None:
    found = synthesise(model, duration_s=4 * HALF_S, seed=2)
    asked = np.sort(found["at_s"][found["endpoint"] == "GET /health"].to_numpy())
    assert asked.size == pytest.approx(4 * HALF_S / 5, rel=0.01)
    assert np.median(np.diff(asked)) == pytest.approx(5.0, abs=0.1)


def test_a_curve_raises_the_rate_where_it_is_high(model: VisitModel) -> None:
    curve = ((0.0, 1.0), (900.0, 1.0), (900.1, 5.0), (1800.0, 5.0))
    drawn = [synthesise(model, duration_s=HALF_S, seed=seed, curve=curve) for seed in range(8)]
    begins = pd.concat([found.drop_duplicates("visit")["at_s"] for found in drawn])
    assert 2.5 < (begins >= 900).sum() / (begins < 900).sum() < 7


def test_what_comes_by_the_clock_keeps_its_phase() -> None:
    """Each minute at 20 s forty visitors come, over twenty minutes; the traffic drawn begins at 30 s past a minute."""
    dice = np.random.default_rng(1)
    at_s = (np.arange(20)[:, None] * 60 + 20 + dice.uniform(0, 1, (20, 40))).ravel()
    events = as_events([(moment, 0.01, 0, "GET /", "", 0) for moment in at_s])
    events = events.assign(visit=np.arange(len(events)), client=np.arange(len(events)))
    found = synthesise(fit(events, 1200.0), duration_s=600.0, seed=1, start_s=30.0)
    phase = (found["at_s"] + 30.0) % 60
    assert phase.between(19, 22).mean() > 0.9


def test_orders_follow_payments(model: VisitModel) -> None:
    """A shop's order has been paid for: fails where what follows what is not learned."""
    found = synthesise(model, duration_s=4 * HALF_S, seed=6).sort_values(["visit", "at_s"], kind="stable")
    before = found["endpoint"].astype(str).shift(1)
    orders = found["endpoint"] == "POST /orders"
    assert orders.sum() > 50
    assert (before[orders] == "POST /checkout/payment").mean() > 0.95


def test_the_second_half_is_predicted(shop: pd.DataFrame, model: VisitModel) -> None:
    second = shop[shop["at_s"] >= HALF_S]
    real = draw_portrait(second.assign(at_s=second["at_s"] - HALF_S), HALF_S)
    first = measure_distances(draw_portrait(shop[shop["at_s"] < HALF_S], HALF_S), real)
    drawn = [synthesise(model, duration_s=HALF_S, start_s=HALF_S, seed=seed) for seed in range(4)]
    found = pd.DataFrame([measure_distances(draw_portrait(own, HALF_S), real) for own in drawn]).mean()
    for name in ("mix", "pairs", "lengths", "think", "keys"):
        assert found[name] <= 1.5 * max(first[name], 0.03), name


def test_a_distance_tells_mixed_up_traffic_from_like_traffic(shop: pd.DataFrame) -> None:
    first = draw_portrait(shop[shop["at_s"] < HALF_S], HALF_S)
    dice = np.random.default_rng(1)
    mixed = shop[shop["at_s"] < HALF_S].copy()
    mixed["endpoint"] = dice.permutation(mixed["endpoint"].to_numpy())
    mixed["at_s"] = dice.uniform(0, HALF_S, len(mixed))
    found = measure_distances(draw_portrait(mixed, HALF_S), first)
    assert found["mix"] == pytest.approx(0.0, abs=1e-9)
    assert min(found["pairs"], found["think"], found["dispersion_10"]) > 0.2


@pytest.mark.parametrize(
    "cut",
    [
        lambda events: events.head(1),
        lambda events: events[events["client"] == events["client"].iloc[0]],
        lambda events: events[events["endpoint"] == "GET /health"],
        lambda events: events.assign(at_s=7.0),
        lambda events: events.assign(at_s=np.where(events["at_s"] > 900, events["at_s"] + 3600, events["at_s"])),
        lambda events: events.assign(endpoint=[f"GET /{n % 8000}" for n in range(len(events))]),
        lambda events: events.assign(key=[str(n) for n in range(len(events))]),
    ],
    ids=[
        "one exchange",
        "one client",
        "one endpoint",
        "one moment",
        "an hour's gap",
        "thousands of paths",
        "all keys new",
    ],
)
def test_odd_captures_are_drawn_from_too(shop: pd.DataFrame, cut: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    events = cut(shop[shop["at_s"] < HALF_S]).reset_index(drop=True)
    found = synthesise(fit(events), duration_s=float(events["at_s"].max()) + 1, seed=1)
    assert 0.5 * len(events) <= len(found) <= 2 * len(events)


def test_a_model_stays_small(shop: pd.DataFrame, tmp_path: Path) -> None:
    """A scan by a bot: a path, a key and a client for each of 50,000 requests."""
    count = 50_000
    many = pd.DataFrame({"at_s": np.linspace(0, HALF_S, count, endpoint=False), "duration_s": 0.01, "variant": 0})
    numbers = np.arange(count)
    many = many.assign(client=numbers + 10**6, visit=numbers + 10**6, endpoint=[f"GET /{n}" for n in numbers])
    events = pd.concat([shop[shop["at_s"] < HALF_S], many.assign(key=numbers.astype(str))])
    scanned = fit(events, HALF_S)
    write_model(scanned, tmp_path / "model.json.gz")
    assert len(scanned.endpoints) <= 8192
    assert scanned.left_out > 0.5
    assert (tmp_path / "model.json.gz").stat().st_size < 8 * 2**20


@pytest.mark.parametrize("asked", [{"duration_s": 0.0}, {"duration_s": 60.0, "scale": 0.0}])
def test_what_cannot_be_drawn_is_refused(model: VisitModel, asked: dict[str, float]) -> None:
    with pytest.raises(InputError, match="more than 0 seconds"):
        synthesise(model, seed=1, **asked)


def test_no_events_and_missing_columns_are_refused(shop: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="without events"):
        fit(shop.head(0))
    with pytest.raises(InputError, match="that have key"):
        fit(shop.drop(columns="key"))


# What newcomers would doubt: totals, hot keys, what a key's requests are like, and what is under way at both ends


def walks(begins_s: np.ndarray, steps: int, pause_s: float, keys: np.ndarray, variants: np.ndarray) -> pd.DataFrame:
    """Visits of one client each, of so many steps; keys and variants are of each step, visit by visit."""
    visit = np.repeat(np.arange(begins_s.size), steps)
    at_s = begins_s[visit] + np.tile(np.arange(steps) * pause_s, begins_s.size)
    events = pd.DataFrame(
        {"at_s": at_s, "duration_s": 0.01, "client": visit, "visit": visit, "endpoint": "GET /p/{id}"}
    )
    return events.assign(key=keys, variant=variants).sort_values("at_s", ignore_index=True)


def test_a_hot_key_stays_as_hot_though_it_often_follows_itself() -> None:
    dice = np.random.default_rng(1)
    keys = np.where(dice.random(20_000) < 0.43, "1", dice.integers(2, 500, 20_000).astype(str))
    events = walks(dice.uniform(0, 3500, 4000), 5, 3.0, keys, np.zeros(20_000, dtype=np.int64))
    found = synthesise(fit(events), duration_s=3600, seed=1)
    assert (found["key"] == "1").mean() == pytest.approx((keys == "1").mean(), abs=0.01)


def test_a_visit_that_keeps_to_its_key_still_does() -> None:
    dice = np.random.default_rng(2)
    keys = np.repeat(np.where(dice.random(4000) < 0.3, "1", dice.integers(2, 500, 4000).astype(str)), 5)
    events = walks(dice.uniform(0, 3500, 4000), 5, 3.0, keys, np.zeros(20_000, dtype=np.int64))
    found = synthesise(fit(events), duration_s=3600, seed=1).sort_values(["visit", "at_s"], kind="stable")
    goes_on = found["visit"].eq(found["visit"].shift(1))
    assert found["key"].eq(found["key"].shift(1))[goes_on].mean() > 0.97
    assert (found["key"] == "1").mean() == pytest.approx((keys == "1").mean(), abs=0.02)


def test_a_variant_stays_with_the_keys_that_have_it() -> None:
    dice = np.random.default_rng(3)
    keys = dice.choice(["hot", "warm", *map(str, range(3000))], 20_000, p=[0.3, 0.1, *[0.6 / 3000] * 3000])
    variants = np.where(keys == "hot", 1, np.where((keys == "warm") & (dice.random(20_000) < 0.5), 2, 0))
    found = synthesise(fit(walks(dice.uniform(0, 3500, 4000), 5, 3.0, keys, variants)), duration_s=3600, seed=1)
    shares = found.groupby(found["key"].where(found["key"].isin(["hot", "warm"]), "cold"))["variant"].value_counts(True)
    assert shares["hot", 1] == shares["cold", 0] == 1
    assert shares["warm", 2] == pytest.approx(0.5, abs=0.05)


def test_clocks_that_know_of_the_same_rush_do_not_multiply_the_visitors() -> None:
    """Every day from 9 to 10, in the first ten minutes: the clock of the day knows it, and the clock of the hour."""
    dice = np.random.default_rng(4)
    begins = (np.arange(6)[:, None] * 86400 + 9 * 3600 + dice.uniform(0, 600, (6, 200))).ravel()
    events = walks(begins, 3, 1.0, np.full(3600, ""), np.zeros(3600, dtype=np.int64))
    found = synthesise(fit(events, 6 * 86400.0), duration_s=6 * 86400.0, seed=1)
    assert len(found) == pytest.approx(len(events), rel=0.02)
    assert (found["at_s"] % 86400).between(9 * 3600 - 60, 9 * 3600 + 1300).mean() > 0.95


def test_days_count_as_whole_where_the_last_breaks_off_minutes_before_its_end() -> None:
    dice = np.random.default_rng(5)
    begins = (np.arange(3)[:, None] * 86400 + dice.uniform(8, 20, (3, 600)) * 3600).ravel()
    events = walks(begins, 3, 1.0, np.full(5400, ""), np.zeros(5400, dtype=np.int64))
    found = synthesise(fit(events, 3 * 86400 - 300.0), duration_s=2 * 86400.0, seed=1)
    assert ((found["at_s"] / 3600) % 24).between(7.4, 20.6).mean() > 0.95


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_visits_as_long_as_the_time_are_under_way_at_both_its_ends(share: float) -> None:
    """Sixty clients that are there all the time, as in a short capture of a busy API."""
    dice = np.random.default_rng(6)
    events = walks(dice.uniform(0, 1, 60), 50, 1.0, np.full(3000, ""), np.zeros(3000, dtype=np.int64))
    events["at_s"] = (events["at_s"] + dice.uniform(0, 0.5, 3000)).clip(upper=50.9)
    found = synthesise(fit(events, 51.0), duration_s=51.0 * share, seed=1)
    assert len(found) == pytest.approx(3000 * share, rel=0.1)
    parts = np.bincount((found["at_s"] / (51.0 * share) * 10).astype(int), minlength=10)
    assert parts.min() > 0.6 * parts.mean()
    assert parts.max() < 1.5 * parts.mean()


def test_what_is_drawn_is_as_bursty_as_the_capture_though_few_bursts_make_much_of_it(shop: pd.DataFrame) -> None:
    model = fit(shop[shop["at_s"] < HALF_S], HALF_S)
    drawn = [synthesise(model, duration_s=HALF_S, seed=seed)["at_s"].to_numpy() for seed in range(6)]
    found = np.mean([measure_bursts(at_s, HALF_S) for at_s in drawn], axis=0)
    assert found == pytest.approx(np.array(model.dispersion), rel=0.15)
