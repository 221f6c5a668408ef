"""Counting that a burst cannot fool, and what two pairs of arms say together."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.criteria import Criteria
from replay.judge.effects.blocks import Blocks, in_blocks
from replay.judge.effects.clients import Part, clustered, spread
from replay.judge.effects.shown import Size, shown_by_both, suspected
from replay.judge.effects.tallies import FAILURES, SLOW, Tally, in_windows, tallies

SIZE = Size(events=5)
COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=40)


def blocks(events: list[float], requests: float = 50.0) -> Blocks:
    return Blocks(np.minimum(np.array(events, dtype=np.float64), requests), np.full(len(events), requests))


def tally(later: list[float], reference: list[float]) -> Tally:
    return tallies(FAILURES, [blocks(reference)], blocks(later), [(0, len(later))])[0]


@given(st.lists(st.floats(0, 100), max_size=50), st.floats(0, 50))
def test_every_request_is_in_one_block(moments: list[float], from_s: float) -> None:
    at_s = np.array(moments)
    events = at_s > 20
    found = in_blocks(at_s, events, from_s)
    assert found.requests.sum() == len(at_s)
    assert found.events.sum() == events.sum()
    assert (found.events <= found.requests).all()


@given(COUNTS, COUNTS, st.sampled_from([FAILURES, SLOW]))
def test_marks_are_no_more_than_the_events_and_windows_add_up(later, reference, counting) -> None:
    half = len(later) // 2
    windows = [(0, len(later)), (0, half), (half, len(later))]
    whole, first, second = tallies(counting, [blocks(reference)], blocks(later), windows)
    assert whole.marks == first.marks + second.marks <= sum(later)
    assert whole.reference <= sum(reference)
    assert whole.excess == pytest.approx(first.excess + second.excess)
    assert whole.phi >= 1


@given(COUNTS, COUNTS)
def test_swapping_arms_swaps_signs(later, reference) -> None:
    there, back = tally(later, reference), tally(reference, later)
    assert there.excess * len(reference) == pytest.approx(-back.excess * len(later), abs=1e-6)
    assert not (there.p_value() < 0.05 and back.p_value() < 0.05)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_pairs_add_up_in_any_order(later, reference, other_later, other_reference) -> None:
    one, other = tally(later, reference), tally(other_later, other_reference)
    assert one + other == other + one
    assert (one + other).marks == one.marks + other.marks
    assert (one + other).p_value() == (other + one).p_value()


@given(COUNTS, COUNTS, st.floats(1, 5), st.floats(1, 5))
def test_a_larger_ratio_asks_for_more(later, reference, ratio, more) -> None:
    one = tally(later, reference)
    assert one.p_value(ratio) <= one.p_value(ratio * more) + 1e-12


@given(st.integers(1, 50))
def test_a_burst_of_any_size_is_two_marks(size: int) -> None:
    later = [0.0] * 10 + [float(size)] * 2 + [0.0] * 8
    one = tally(later, [0.0] * 60)
    assert one.marks == 2
    assert not suspected({"later": one}, Criteria(), SIZE)


def test_failures_that_are_spread_are_suspected_and_a_burst_as_large_is_not() -> None:
    spread = tally([1.0] * 10 + [0.0] * 30, [0.0] * 80)
    burst = tally([10.0] + [0.0] * 39, [0.0] * 80)
    assert suspected({"later": spread}, Criteria(), SIZE) == ["later"]
    assert suspected({"later": burst}, Criteria(), SIZE) == []


def test_dense_failures_are_not_cut_off() -> None:
    rng = np.random.default_rng(1)
    reference, later = rng.poisson(10, 80).astype(float), rng.poisson(20, 40).astype(float)
    found = tallies(FAILURES, [blocks(reference.tolist(), 300.0)], blocks(later.tolist(), 300.0), [(0, 40)])[0]
    assert found.marks > 0.8 * later.sum()
    assert found.p_value(1.25) < 1e-3


def made(excess: float, marks: float = 6, reference: float = 0, before: float = 0) -> Tally:
    return Tally(marks, 100, reference, 1000, excess, before, 400, ((0.0, 0.0),))


def test_both_together_prove_what_neither_can() -> None:
    limits = Criteria()
    weak = made(3, marks=3)
    assert weak.p_value(limits.failure_ratio) > limits.p_value_both
    assert shown_by_both({"later": weak}, {"later": weak}, limits, SIZE) == ["later"]
    assert shown_by_both({"later": weak}, {"later": made(0, marks=0)}, limits, SIZE) == []
    assert shown_by_both({"later": weak}, {"soon": weak}, limits, SIZE) == []
    assert shown_by_both({"later": made(1000, 60)}, {"later": made(0, 0)}, limits, SIZE) == []


def test_what_the_arm_had_before_the_steps_is_none_of_their_doing() -> None:
    assert suspected({"later": made(20, 25, reference=40)}, Criteria(), SIZE) == ["later"]
    assert suspected({"later": made(20, 25, reference=40, before=90)}, Criteria(), SIZE) == []


PAIRS = st.builds(made, st.floats(0, 40), st.floats(0, 40))


@given(PAIRS, PAIRS, st.floats(0, 100), st.floats(0.001, 0.5))
def test_what_both_show_one_suspects_and_stricter_limits_show_less(one, other, share, strict) -> None:
    limits = Criteria()
    first, second = {"later": one}, {"later": other}
    shown = shown_by_both(first, second, limits, SIZE)
    assert set(shown) <= set(suspected(first, limits, SIZE))
    stricter = dataclasses.replace(limits, p_value_one_pair=strict * limits.p_value_one_pair)
    assert set(shown_by_both(first, second, stricter, SIZE)) <= set(shown)
    assert set(shown_by_both(first, second, limits, Size(5, share))) <= set(shown)


@given(st.floats(0, 40), st.floats(0, 40), st.floats(0, 20))
def test_more_failures_in_the_second_pair_never_dismiss_what_was_shown(marks, excess, more) -> None:
    first = {"later": made(10, 10)}
    if shown_by_both(first, {"later": made(excess, marks)}, Criteria(), SIZE):
        assert shown_by_both(first, {"later": made(excess + more, marks + more)}, Criteria(), SIZE)


def asked(events: list[bool] | np.ndarray, clients: list[int] | np.ndarray, each_s: float = 2.0) -> Part:
    """Requests one after another, each in a block of its own where nothing else is said."""
    events, clients = np.array(events, dtype=bool), np.array(clients, dtype=np.int64)
    return Part(np.arange(len(events)) * each_s, events, clients)


def test_failures_of_four_clients_are_four_events() -> None:
    clients = np.arange(4000) % 40
    events = (clients < 4) & (np.random.default_rng(1).random(4000) < 0.2)
    found, usual = clustered(asked(events, clients))
    assert events.sum() / (found / usual) == pytest.approx(4, rel=0.4)


def test_independent_failures_are_not_clustered_however_unequal_clients_are() -> None:
    dice = np.random.default_rng(1)
    clients = dice.geometric(0.05, 5000)
    ratios = []
    for _ in range(200):
        found, usual = clustered(asked(dice.random(5000) < 0.01, clients))
        ratios.append(found / usual)
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)
    assert np.max(ratios) < 3


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60), st.randoms(use_true_random=False))
def test_clusters_depend_on_no_order_and_no_names(some: list[tuple[bool, int]], dice) -> None:
    other = [(event, 9 - client) for event, client in some]
    dice.shuffle(other)
    told = [clustered(asked([event for event, _ in one], [client for _, client in one])) for one in (some, other)]
    assert told[0] == pytest.approx(told[1])
    assert told[0][0] >= 0


def test_a_burst_of_one_client_is_one_event_of_its() -> None:
    clients = np.arange(400) % 40
    burst = asked((clients == 3) & (np.arange(400) < 200), clients, each_s=0.01)
    assert clustered(burst) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("events", "clients"), [([], []), ([True], [3]), ([True, True], [1, 2]), ([True, False, True], [5, 5, 5])]
)
def test_what_tells_nothing_of_clients_says_nothing(events: list[bool], clients: list[int]) -> None:
    assert clustered(asked(events, clients)) == (0.0, 0.0)


def test_clients_of_the_reference_count_and_those_of_the_window_do_not() -> None:
    clients = np.arange(4000) % 41
    by_few, none = (clients < 4) & (np.arange(4000) % 5 == 0), np.zeros(4000, dtype=bool)
    few, clean = (asked(events, clients, each_s=0.025) for events in (by_few, none))

    def phi(counting, reference: Part, later: Part) -> float:
        return in_windows(counting, [reference], later, 0.0, {"all": (0, 50)})["all"].phi

    assert phi(FAILURES, few, clean) > 5
    assert phi(FAILURES, clean, few) < 2
    assert phi(SLOW, few, clean) < 2


ASKED = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=80)


@given(st.lists(ASKED, min_size=1, max_size=3), st.permutations(range(6)))
def test_spread_leaves_events_out_and_adds_none(parts: list[list[tuple[bool, int]]], names: list[int]) -> None:
    given_parts = [asked([event for event, _ in one], [client for _, client in one]) for one in parts]
    found = spread(given_parts)
    for part, kept in zip(given_parts, found, strict=True):
        assert not (kept.events & ~part.events).any()
        assert {*kept.clients[kept.events]} == {*part.clients[part.events]}, "each client that has events keeps some"
    renamed = [asked(part.events, [names[client] for client in part.clients]) for part in given_parts]
    assert [one.events.tolist() for one in spread(renamed)] == [one.events.tolist() for one in found]


def test_what_is_usual_of_clients_does_not_depend_on_their_numbers() -> None:
    """Nineteen clients fail once, of which one asks ten times as much; the twentieth fails five times of ten."""
    clients = np.repeat(np.arange(20), [100, *[10] * 19])
    first = np.concatenate(([True], np.diff(clients) > 0))
    failing = first | ((clients == 19) & (np.arange(len(clients)) >= len(clients) - 4))
    renamed = np.where(clients == 0, 18, np.where(clients == 18, 0, clients))
    told = [spread([asked(failing, one)])[0].events.tolist() for one in (clients, renamed)]
    assert told[0] == told[1]


def test_a_client_counts_up_to_what_is_usual() -> None:
    clients = np.arange(4000) % 40
    dice = np.random.default_rng(2)
    few, all_of_them = (clients == 7) & (dice.random(4000) < 0.5), dice.random(4000) < 0.05
    alone = spread([asked(few, clients), asked(np.zeros(4000, dtype=bool), clients)])
    assert alone[0].events.sum() == 1
    kept = spread([asked(few, clients), asked(all_of_them, clients)])
    assert kept[1].events.sum() > 0.8 * all_of_them.sum()
    assert kept[0].events.sum() < 15
    moments = np.flatnonzero(kept[0].events)
    assert moments.min() < 1000, "what is kept is from all of the time"
    assert moments.max() > 3000


def test_a_long_part_counts_as_often_as_a_short_one() -> None:
    """One client of ten fails by a half all along; a quarter of the time is after the step."""
    clients = np.arange(4000) % 10
    failing = (clients == 3) & (np.arange(4000) % 20 == 3)
    long, short = spread([asked(failing, clients), asked(failing[:1000], clients[:1000])])
    assert long.events.sum() == pytest.approx(4 * short.events.sum(), abs=2)
