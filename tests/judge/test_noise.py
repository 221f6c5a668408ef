import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.effects.noise import find_stalls, longest_outage, merge, near_stall, recovery, within


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


@st.composite
def endpoint_requests(draw):
    """(sent, ended, failed) of an endpoint's requests, some at the same moment."""
    rows = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.booleans()), max_size=40))
    sent = np.array([start / 4 for start, _, _ in rows])
    return sent, sent + np.array([length / 4 for _, length, _ in rows]), np.array([bad for *_, bad in rows], dtype=bool)


@given(endpoint_requests())
def test_recovery_is_what_one_sees_who_goes_from_answer_to_answer(requests):
    sent, ended, failed = requests
    spells = []
    failures = successes = 0
    began = back = last_bad = 0.0
    for at in np.lexsort((sent, ended)):
        moment = ended[at]
        if failures and successes and moment - last_bad >= 2.0:
            spells.append((failures, began, back))
            failures = successes = 0
        if failed[at]:
            began = moment if not failures else began
            failures, successes, last_bad = failures + 1, 0, moment
        elif failures:
            back = moment if not successes else back
            successes += 1
            if moment - last_bad >= 2.0:
                spells.append((failures, began, back))
                failures = successes = 0
    if failures:
        spells.append((failures, began, back if successes >= 3 else None))
    counted = [spell for spell in spells if spell[0] >= 3] or spells or [(0, None, None)]
    assert recovery(sent, ended, failed) == (counted[0][1], counted[-1][2])


@given(endpoint_requests())
def test_the_longest_outage_is_the_longest_run_of_failures(requests):
    sent, ended, failed = requests
    order = np.lexsort((ended, sent)).tolist()
    longest, run = 0.0, []
    for place, at in enumerate(order):
        run = [*run, at] if failed[at] else []
        last = place + 1 == len(order) or not failed[order[place + 1]]
        if last and len(run) >= 3:
            end = max(ended[run])
            if place + 1 < len(order):
                end = max(sent[at], min(end, sent[order[place + 1]]))
            longest = max(longest, end - sent[run[0]])
    assert longest_outage(sent, ended, failed)[0] == longest
