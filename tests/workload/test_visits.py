from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from replay.traffic import Client
from replay.workload.visits import find_visits

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
