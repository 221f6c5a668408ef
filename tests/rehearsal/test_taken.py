"""Which statement took a lock: what looks at a session can tell, and what a judge makes of it with the step's marks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.phases import Span, Statement
from replay.judge.probes.taken import taking
from replay.rehearsal.probes.taken import Holdings, Look, keep_out

TABLE = "relation:5:16384"
ALTER, UPDATE, SLEEP = "ALTER TABLE token ADD COLUMN b int", "UPDATE other SET n = 1", "SELECT pg_sleep(3)"


def look(at_s: float, query: str, began_s: float, held: dict[str, set[str]], transaction_s: float = 0.0) -> Look:
    frozen = {target: frozenset(modes) for target, modes in held.items()}
    return Look(at_s, at_s + 0.01, at_s, transaction_s, began_s, query, frozen)


@given(
    pauses=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8),
    taker=st.integers(0, 7),
    how_late=st.floats(0, 1),
    looks=st.lists(st.floats(0.0, 8.0), min_size=1, max_size=40),
    delay_s=st.floats(0, 0.3),
)
def test_what_is_certain_is_true(pauses: list[float], taker: int, how_late: float, looks: list[float], delay_s: float):
    """Statements follow each other, and one takes the lock. A look reads the locks, and then what runs."""
    starts = [0.0]
    for pause in pauses:
        starts.append(starts[-1] + pause)
    taker %= len(pauses)
    taken_s = starts[taker] + how_late * (starts[taker + 1] - starts[taker])
    running = list(pairwise(starts))
    holdings = Holdings()
    for at_s in sorted(set(looks)):
        read_s = at_s + delay_s
        number = next((n for n, (_, end_s) in enumerate(running) if read_s < end_s), len(running) - 1)
        held = {TABLE: {"ShareLock"}} if taken_s <= at_s else {}
        seen = Look(
            at_s, read_s, at_s, 0.0, running[number][0], str(number), {k: frozenset(v) for k, v in held.items()}
        )
        holdings.see(at_s, {7: seen})
        known = holdings.taken(7, TABLE, ["ShareLock"])
        assert (known is not None) == bool(held)
        if known is not None:
            assert (known.after_s if known.after_s is not None else -1.0) <= taken_s <= known.by_s
            # A statement ends before the next begins: at the very moment, both are right.
            assert not known.certain or known.query == str(taker) or taken_s == starts[int(known.query)]


def test_a_lock_of_another_transaction_is_another_lock() -> None:
    holdings = Holdings()
    holdings.see(1.0, {7: look(1.0, "a", 0.5, {TABLE: {"ShareLock"}, "advisory:5:0:1:1": {"ExclusiveLock"}})})
    holdings.see(2.0, {7: look(2.0, "b", 1.5, {TABLE: {"ShareLock"}, "advisory:5:0:1:1": {"ExclusiveLock"}}, 1.4)})
    again, advisory = holdings.taken(7, TABLE, ["ShareLock"]), holdings.taken(7, "advisory:5:0:1:1", ["ExclusiveLock"])
    assert again is not None
    assert advisory is not None
    assert (again.query, advisory.query) == ("b", "a")
    holdings.see(3.0, {})
    assert holdings.taken(7, TABLE, ["ShareLock"]) is None
    assert holdings.taken(7, "advisory:5:0:1:1", ["ExclusiveLock"]) == advisory


def test_an_advisory_lock_is_as_old_as_the_last_look_that_saw_its_session_without_it() -> None:
    """Between two statements outside a transaction a session is not seen, and keeps its advisory locks."""
    advisory = "advisory:5:0:1:1"
    holdings = Holdings()
    for at_s, looks in [
        (1.0, {7: look(1.0, "first", 0.9, {})}),
        (2.0, {}),
        (3.0, {7: look(3.0, SLEEP, 2.5, {advisory: {"ExclusiveLock"}, TABLE: {"ShareLock"}}, 2.5)}),
    ]:
        holdings.see(at_s, looks)
    taken = holdings.taken(7, advisory, ["ExclusiveLock"])
    assert taken is not None
    assert (taken.after_s, taken.by_s, taken.certain) == (1.0, pytest.approx(3.01), False)
    within = holdings.taken(7, TABLE, ["ShareLock"])
    assert within is not None
    assert within.after_s == 2.0


def test_a_row_is_certain_only_while_no_other_statement_has_run() -> None:
    holdings = Holdings()
    holdings.see(1.0, {7: look(1.0, "a", 0.5, {})})
    holdings.see(2.0, {7: look(2.0, "a", 0.5, {TABLE: {"RowExclusiveLock"}})})
    first = holdings.taken_row(7, TABLE)
    assert first is not None
    assert (first.query, first.certain) == ("a", True)
    holdings.see(3.0, {7: look(3.0, "b", 2.5, {TABLE: {"RowExclusiveLock"}})})
    second = holdings.taken_row(7, TABLE)
    assert second is not None
    assert not second.certain


@pytest.mark.parametrize(
    ("held", "wanted", "kept_out_by"),
    [
        ({"AccessShareLock"}, "AccessExclusiveLock", ("AccessShareLock",)),
        ({"AccessShareLock", "RowExclusiveLock"}, "ShareLock", ("RowExclusiveLock",)),
        ({"ShareLock"}, "ShareLock", ()),
        ({"AccessExclusiveLock", "RowExclusiveLock"}, "AccessShareLock", ("AccessExclusiveLock",)),
        ({"ExclusiveLock"}, None, ()),
    ],
)
def test_which_modes_keep_each_other_out(held: set[str], wanted: str | None, kept_out_by: tuple[str, ...]) -> None:
    assert keep_out(held, wanted) == kept_out_by


def spans(*statements: tuple[str, float, float]) -> tuple[Span, ...]:
    told = tuple(Statement(n, text, from_s, to_s) for n, (text, from_s, to_s) in enumerate(statements, 1))
    return (Span("up", "migrate", 0.0, statements=told),)


def told(marks: tuple[Span, ...], *, certain: bool = False, query: str = SLEEP, after_s: float | None = 1.0):
    session = {
        "step": "up",
        "holds": "AccessExclusiveLock",
        "taken": {"query": query, "after_s": after_s, "by_s": 1.3, "certain": certain},
    }
    return taking(session, {"relation": "public.token", "lock": "relation public.token"}, marks)


def test_a_judge_tells_which_of_several_statements_took_a_lock() -> None:
    marks = spans(("BEGIN", 1.0, 1.01), (ALTER, 1.1, 1.12), (UPDATE, 1.12, 1.2), (SLEEP, 1.2, 4.2))
    assert told(marks) == ALTER
    assert told(marks, certain=True, query="DO $$ ... $$") == "DO $$ ... $$", "what the probe saw goes before all"
    assert told(()) is None, "without marks nothing is known"
    two = spans((ALTER, 1.1, 1.12), ("ALTER TABLE token ADD COLUMN c int", 1.12, 1.2))
    assert told(two) is None, "either may have"
    assert told(spans((ALTER, 0.1, 0.2), ("LOCK TABLE token", 1.1, 1.2))) == "LOCK TABLE token", "the other was over"
    assert told(spans(("ALTER TABLE tokens ADD b int", 1.1, 1.2), (ALTER, 1.1, 1.2))) == ALTER, "a name is whole"
    assert taking({"step": "up"}, {}, marks) is None
