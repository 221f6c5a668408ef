import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.noise import find_stalls, longest_outage, merge, near_stall, recovery, within


def times(*values):
    return np.array(values, dtype=float)


def test_a_stall_is_a_time_with_requests_and_no_success():
    due = np.arange(0, 20, 0.1)
    done = np.where((due > 8) & (due < 12), 12.0, due + 0.05)
    (stall,) = find_stalls(due, done, np.ones(len(due), dtype=bool), 20.0)
    assert 7.9 < stall.from_s < 8.2
    assert stall.to_s == 12.0
    assert near_stall(times(6.5, 7.2, 10, 12.6, 13), (stall,)).tolist() == [False, True, True, True, False]


def test_an_arm_that_asks_for_little_does_not_stall():
    due = np.arange(0, 60, 3.0)
    assert find_stalls(due, due + 2.5, np.ones(len(due), dtype=bool), 60.0) == ()
    assert find_stalls(times(), times(), np.array([], dtype=bool), 60.0) == ()


def test_nothing_but_failures_is_one_long_stall():
    due = np.arange(0, 20, 0.1)
    (stall,) = find_stalls(due, due, np.zeros(len(due), dtype=bool), 20.0)
    assert stall.length_s == 20.0


def test_an_outage_is_three_failures_in_a_row_or_more():
    at = times(0, 1, 2, 3, 4, 5, 6)
    assert longest_outage(at, at + 0.1, np.array([0, 1, 1, 1, 1, 0, 0], dtype=bool)) == pytest.approx((3.1, 1.0))
    assert longest_outage(at, at + 0.1, np.array([0, 1, 1, 0, 1, 1, 0], dtype=bool)) == (0.0, 0.0)


def test_recovery_is_the_end_of_the_last_spell_that_counts():
    at = np.arange(0.0, 60.0)
    bad = ((at >= 20) & (at < 26)) | (at == 50)
    assert recovery(at, at + 0.5, bad) == (20.5, 26.5)
    assert recovery(at, at + 0.5, at >= 40) == (40.5, None)
    assert recovery(at, at + 0.5, at < 0) == (None, None)


def test_one_success_long_after_the_last_failure_is_a_recovery():
    at = times(1, 2, 3, 10)
    assert recovery(at, at, np.array([1, 1, 1, 0], dtype=bool)) == (1.0, 10.0)
    assert recovery(at, at, np.array([0, 0, 1, 1], dtype=bool)) == (3.0, None)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=8),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), min_size=1, max_size=8),
)
def test_within_says_what_a_loop_would(windows, intervals):
    windows = [(float(start), float(start + length)) for start, length in windows]
    starts = times(*(start for start, _ in intervals))
    ends = times(*(start + length for start, length in intervals))
    slow = [any(s <= end and e >= start for start, end in windows) for s, e in zip(starts, ends, strict=True)]
    assert within(starts, ends, windows).tolist() == slow
    assert all(a[1] < b[0] for a, b in zip(merge(windows), merge(windows)[1:], strict=False))
