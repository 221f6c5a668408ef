import numpy as np

from replay.evidence.values import Mark
from replay.judge.phases import phase_at, phase_order, phases_of, step_spans

MARKS = (
    Mark(0.0, "", "arm", "started"),
    Mark(20.0, "migrate", "migrate", "started"),
    Mark(20.1, "migrate", "migrate", "started", 1, "ALTER TABLE t"),
    Mark(24.9, "migrate", "migrate", "ended", 1, "ALTER TABLE t", rows=3),
    Mark(25.0, "migrate", "migrate", "ended"),
    Mark(40.0, "roll back", "rollback", "started"),
    Mark(41.0, "roll back", "rollback", "failed", error="duplicate key"),
    Mark(60.0, "", "arm", "ended"),
)


def test_steps_have_their_statements_and_their_end():
    migrate, back = step_spans(reversed(MARKS))
    assert (migrate.started_s, migrate.ended_s, migrate.failed) == (20.0, 25.0, False)
    assert (migrate.statements[0].ended_s, migrate.statements[0].rows) == (24.9, 3)
    assert (back.failed, back.error) == (True, "duplicate key")


def test_a_request_is_during_a_step_when_it_overlaps_it():
    spans = step_spans(MARKS)
    due = np.array([5.0, 15.0, 22.0, 24.0, 26.0, 39.0, 42.0])
    done = np.array([6.0, 21.0, 22.5, 41.0, 27.0, 40.5, 43.0])
    assert [phase_order(spans)[place] for place in phases_of(spans, due, done)] == [
        "before",
        "during migrate",
        "during migrate",
        "during migrate",
        "after migrate",
        "during roll back",
        "after roll back",
    ]
    assert phase_order(spans)[0] == "before"
    assert phase_at(spans, 30.0) == "after migrate"


def test_a_step_without_an_end_lasts():
    spans = step_spans(MARKS[:2])
    assert spans[0].ended_s is None
    assert phase_at(spans, 59.0) == "during migrate"


def test_what_the_end_of_the_rehearsal_cut_neither_ended_nor_failed():
    marks = [
        *MARKS[:3],
        Mark(21.0, "migrate", "migrate", "interrupted", 1, "ALTER TABLE t", error="interrupted"),
        Mark(21.0, "migrate", "migrate", "interrupted", error="interrupted"),
        Mark(21.0, "roll back", "rollback", "not done", error="interrupted"),
    ]
    (migrate,) = step_spans(marks)
    assert (migrate.ended_s, migrate.failed) == (None, False)
    assert (migrate.statements[0].ended_s, migrate.statements[0].failed) == (None, False)


def test_marks_of_a_cut_run_are_read_as_far_as_they_go():
    (span,) = step_spans([Mark(41.0, "x", "migrate", "failed", error="gone")])
    assert (span.started_s, span.ended_s, span.failed) == (41.0, 41.0, True)
    assert step_spans([Mark(3.0, "x", "migrate", "ended", 1, "SELECT 1")]) == ()
