import math
from collections import Counter
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.traffic import Client
from replay.workload.profile.visits import USUAL_GAP_S, find_gap, find_visits, idle_histogram

ADA, BEA = Client("ada", "user"), Client("bea", "user")


def parts(starts_s: Sequence[float], took_s: float = 1.0) -> list[tuple[int, ...]]:
    ends_s = [start_s + took_s for start_s in starts_s]
    visits, _ = find_visits(starts_s, ends_s, [ADA] * len(starts_s), [0] * len(starts_s))
    return [visit.exchanges for visit in visits]


def test_half_an_hour_of_nothing_parts_two_visits() -> None:
    assert parts([0, 1700, 1702, 3600]) == [(0, 1, 2), (3,)]
    assert parts([0, 1700, 1702, 3400]) == [(0, 1, 2, 3)]


def test_a_long_answer_is_not_idleness() -> None:
    assert parts([0, 3000], took_s=2000) == [(0, 1)]


def test_a_job_that_comes_every_hour_stays_one_visit() -> None:
    assert parts([hour * 3600.0 for hour in range(10)]) == [tuple(range(10))]


def test_what_followed_and_what_overlapped() -> None:
    #          0 1 2 3 4 5 6 7 8 9
    # 0        ---
    # 1          -------
    # 2              -
    # 3                    -
    starts_s, ends_s = [0, 1, 3, 6], [1.5, 4.5, 3.5, 6.5]
    _, after = find_visits(starts_s, ends_s, [ADA] * 4, [0] * 4)
    assert after == (None, None, 0, 1)


def test_clients_follow_only_themselves() -> None:
    visits, after = find_visits([0, 1, 2, 3], [0.5, 1.5, 2.5, 3.5], [ADA, BEA, ADA, BEA], [0, 1, 0, 1])
    assert after == (None, None, 0, 1)
    assert [(visit.client, visit.exchanges) for visit in visits] == [(ADA, (0, 2)), (BEA, (1, 3))]


def test_what_is_of_another_strand_is_no_predecessor() -> None:
    visits, after = find_visits([0, 1, 2, 3], [0.5, 1.5, 2.5, 3.5], [ADA] * 4, [0, 1, 0, 1])
    assert after == (None, None, 0, 1)
    assert len(visits) == 1


def test_exchanges_of_one_moment_overlap() -> None:
    _, after = find_visits([5, 5, 5], [5, 5, 5], [ADA] * 3, [0] * 3)
    assert after == (None, None, None)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 4000), st.sampled_from([ADA, BEA])), max_size=40).map(
        lambda rows: sorted(rows, key=lambda row: row[0])
    )
)
def test_every_exchange_is_in_one_visit_and_follows_what_was_over(rows: list[tuple[int, int, Client]]) -> None:
    starts_s = [float(start) for start, _, _ in rows]
    ends_s = [float(start + took) for start, took, _ in rows]
    clients = [client for _, _, client in rows]
    visits, after = find_visits(starts_s, ends_s, clients, [0] * len(rows))
    assert sorted(number for visit in visits for number in visit.exchanges) == list(range(len(rows)))
    for visit in visits:
        for number in visit.exchanges:
            assert clients[number] == visit.client
            earlier = after[number]
            over = [one for one in visit.exchanges if one < number and ends_s[one] < starts_s[number]]
            if earlier is None:
                assert not over
            else:
                assert earlier in visit.exchanges
                assert ends_s[earlier] <= starts_s[number]
                assert all(ends_s[one] <= ends_s[earlier] for one in over)


# The gap


def histogram(*pauses: tuple[float, int]) -> pd.DataFrame:
    """So many pauses of so many seconds, spread over the half octaves beside."""
    counts: Counter[int] = Counter()
    for seconds, count in pauses:
        middle = round(2 * math.log2(seconds))
        for away, share in ((-2, 0.1), (-1, 0.2), (0, 0.4), (1, 0.2), (2, 0.1)):
            counts[middle + away] += round(count * share)
    return pd.DataFrame({"octave": list(counts), "count": list(counts.values())}).astype("int64")


def test_the_gap_is_in_the_valley_between_two_hills() -> None:
    found = find_gap(histogram((4, 50_000), (4 * 3600, 3_000)))
    assert 60 <= found.gap_s < 4 * 3600
    assert "rare here" in found.reason
    longer = find_gap(histogram((240, 50_000), (86_400, 3_000)))
    assert 600 < longer.gap_s <= 6 * 3600


def test_one_hill_has_no_valley() -> None:
    for seconds in (1, 5, 60, 600, 7200, 86_400):
        assert find_gap(histogram((seconds, 50_000))).gap_s == USUAL_GAP_S


def test_few_pauses_tell_nothing() -> None:
    assert find_gap(histogram((4, 50_000), (4 * 3600, 150))).gap_s == USUAL_GAP_S
    assert find_gap(histogram()).gap_s == USUAL_GAP_S


def test_a_shallow_valley_is_none() -> None:
    level = pd.DataFrame({"octave": range(40), "count": [10_000 - 100 * octave for octave in range(40)]})
    assert find_gap(level).gap_s == USUAL_GAP_S


@given(st.dictionaries(st.integers(-3, 60), st.integers(0, 10**7), max_size=60))
def test_any_pauses_give_a_gap_within_bounds(counts: dict[int, int]) -> None:
    found = find_gap(pd.DataFrame({"octave": list(counts), "count": list(counts.values())}))
    assert found.gap_s == USUAL_GAP_S or 60 <= found.gap_s <= 6 * 3600
    assert found.reason


@given(st.lists(st.none() | st.integers(0, 10**13), max_size=50))
def test_a_histogram_counts_every_pause(pauses: list[int | None]) -> None:
    found = idle_histogram(pd.DataFrame({"idle_us": pd.array(pauses, dtype="Int64")}))
    assert found["count"].sum() == sum(pause is not None for pause in pauses)
    assert (found["octave"] >= 0).all()


def test_years_between_two_exchanges() -> None:
    year_s = 365 * 86_400.0
    assert parts([0, 1, 3 * year_s, 3 * year_s + 5]) == [(0, 1), (2, 3)]
