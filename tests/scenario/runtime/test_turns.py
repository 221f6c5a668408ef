"""A visit's requests come to stand in the order of their moments, however long each was under way."""

import gevent
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.runtime.turns import Turns


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(0, 0.002)), max_size=12))
def test_earlier_moments_of_a_visit_stand_first(requests: list[tuple[int, int, float]]) -> None:
    turns = Turns(patience_s=30)
    stood: list[tuple[int, float]] = []

    def make_and_stand(visit: int, moment_s: int, takes_s: float) -> None:
        turn = turns.take(visit, moment_s)
        gevent.sleep(takes_s)
        turns.await_earlier(turn)
        stood.append((visit, moment_s))
        turns.stand(turn)

    gevent.joinall([gevent.spawn(make_and_stand, *request) for request in requests], raise_error=True, timeout=30)
    assert sorted(stood) == sorted((visit, moment_s) for visit, moment_s, _ in requests)
    for each in range(3):
        moments = [moment_s for visit, moment_s in stood if visit == each]
        assert moments == sorted(moments)


def test_one_that_gets_no_connection_keeps_nobody() -> None:
    turns = Turns()
    turns.take(1, 0.0)
    other, later = turns.take(2, 1.0), turns.take(1, 1.0)
    turns.await_earlier(other)
    with gevent.Timeout(30):
        turns.await_earlier(later)
    turns.stand(later)
    turns.stand(later)


def test_who_stands_or_has_given_up_is_waited_for_by_nobody() -> None:
    turns = Turns()
    first, second = turns.take(1, 0.0), turns.take(1, 1.0)
    turns.stand(first)
    somebody_else = gevent.spawn(lambda: None)
    turns.await_earlier(second)
    assert not somebody_else.dead  # nobody had a chance to run meanwhile
    somebody_else.join()
