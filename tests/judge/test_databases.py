"""Which database the steps ran in, what a rollback left behind, and how long the migration took."""

import dataclasses

import pytest
import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import EVENTS, PRODUCTION, failed, of, production, qa
from simulate import STEP, TOKEN

from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.values import QUIET, ArmInfo, Mark
from replay.judge.criteria import parse_criteria
from replay.judge.trust.databases import check_steps_seen, outside
from replay.judge.verdict import judge

UNDO = "undo it"
SQL = {"name": STEP, "kind": "migrate", "sql": "up.sql", "dsn": "${STAGE_DSN}"}
ROLLBACK = {"name": UNDO, "kind": "rollback", "sql": "down.sql", "dsn": "${STAGE_DSN}"}
UNDONE = {"name": UNDO, "kind": "rollback", "run": "alembic downgrade -1"}
COMMAND = {"name": STEP, "kind": "migrate", "run": "alembic upgrade head"}
noted = simulate.database


def table(rows: int, after: int | None, checksum: str = "1", checksum_after: str = "1", name: str = "token"):
    return {
        "table": name,
        "rows": rows,
        "rows_after": after,
        "checksum": checksum,
        "checksum_after": checksum_after,
        "uncounted": "" if after is not None else "after: too large",
    }


def run(*databases, planted=None, steps=(SQL,), control=None, **rehearsal) -> Evidence:
    """A run whose steps arm of production noted these databases."""
    beside = list(databases) if control is None else control
    stage = {"databases": {"production-steps": list(databases), "production-control": beside}}
    return simulate.evidence(planted or production(), stage=stage, plan={"steps": list(steps)}, **rehearsal)


def seen(evidence: Evidence):
    return check_steps_seen(evidence, evidence.arms["production-steps"], parse_criteria(evidence.rehearsal["criteria"]))


# Where the steps ran


def test_a_step_in_the_applications_database_passes() -> None:
    check = seen(run(noted()))
    assert check.passed
    assert "events (127.0.0.1:5432)" in check.sentence
    assert judge(run(noted())).verdict == "GO"


def test_a_step_in_a_database_that_nobody_uses_is_inconclusive() -> None:
    mine = noted("other", probes=[], seen={"touched": [[20.1, 26.2]], "sessions": []}, changes=["table x came"])
    verdict = judge(run(mine, noted(steps=[])))
    assert verdict.verdict == "INCONCLUSIVE"
    assert failed(verdict) == {"steps_seen"}
    (reason,) = (reason for reason in verdict.reasons if "did not use" in reason)
    assert f"The step {STEP!r} ran in the database other (127.0.0.1:5432)" in reason
    assert "in production-steps" in reason
    assert "configured with" in reason


def test_what_is_proven_stands_all_the_same() -> None:
    planted = production()
    planted.step(35, 36, "duplicate key", "roll back", "rollback")
    evidence = run(noted("other", seen={"touched": [], "sessions": []}), planted=planted)
    assert "steps_seen" in failed(judge(evidence))
    assert judge(evidence).verdict == "NO_GO"


def test_a_step_that_failed_is_not_asked() -> None:
    planted = simulate.workload(1)
    planted.step(20, 25, "no connection")
    assert seen(run(noted("other", seen={"touched": []}), planted=planted)).passed


@pytest.mark.parametrize(
    ("databases", "step"),
    [((), COMMAND), ((noted(seen={"samples": 0}),), SQL), ((noted() | {"seen": None},), SQL)],
    ids=["none named", "no looks", "out of reach"],
)
def test_what_could_not_be_looked_at_is_inconclusive_unless_the_plan_accepts_it(databases, step) -> None:
    evidence = run(*databases, steps=[step])
    check = seen(evidence)
    assert not check.passed
    assert "could not be seen" in check.sentence
    assert ("names no PostgreSQL database" in check.sentence) is (not databases)
    assert "probe of kind postgres" in check.hint
    verdict = judge(evidence)
    assert (verdict.verdict, failed(verdict)) == ("INCONCLUSIVE", {"steps_seen"})
    accepted = judge(run(*databases, steps=[step], criteria={"unseen_steps": True}))
    assert accepted.verdict == "GO"
    assert any("could not be seen" in reason and "unseen_steps" in reason for reason in accepted.reasons)


# The application, or somebody else


def bystander(**fields):
    """A database that a monitoring reads all the time, with traffic or without."""
    return noted("other", probes=[], seen={"looks": simulate.looks(rest=20, traffic=20)} | fields)


def test_a_database_that_only_a_bystander_uses_is_inconclusive() -> None:
    verdict = judge(run(bystander(), noted(steps=[])))
    assert (verdict.verdict, failed(verdict)) == ("INCONCLUSIVE", {"steps_seen"})
    assert "other (127.0.0.1:5432) was used, but no more while the traffic was played than before" in verdict.reasons[0]
    assert "a monitoring say" in verdict.reasons[0]


def test_a_bystander_beside_the_application_is_no_matter() -> None:
    assert seen(run(noted(seen={"looks": simulate.looks(rest=20, traffic=40)}))).passed


def test_every_database_that_the_application_uses_may_be_stepped_in() -> None:
    second = {"name": "second", "kind": "migrate", "sql": "b.sql", "dsn": "${B}"}
    planted = production()
    planted.step(30, 31, name="second")
    both = run(noted(), noted("billing", steps=["second"]), planted=planted, steps=[SQL, second])
    assert seen(both).passed
    one = run(noted(), bystander() | {"steps": ["second"]}, planted=planted, steps=[SQL, second])
    assert "'second'" in seen(one).sentence
    assert not seen(one).passed


def test_a_bystander_is_told_by_sessions_where_the_server_does_not_count() -> None:
    quiet = {"counts": False, "touched": [], "written": []}
    steady = [[from_s, to_s, 0, 1] for from_s, to_s, _, _ in simulate.looks()]
    assert seen(run(noted(seen=quiet))).passed
    assert not seen(run(noted(seen=quiet | {"looks": steady}))).passed


@pytest.mark.parametrize("every", [1, 2, 5, 15])
def test_a_bystander_that_comes_now_and_then_is_not_taken_for_the_application(every) -> None:
    for first in range(every):
        moved = [
            [look[0], look[1], 50.0 * (number % every == first), 0] for number, look in enumerate(simulate.looks())
        ]
        assert not seen(run(noted(seen={"looks": moved}))).passed


def test_what_the_steps_move_says_nothing_of_the_application() -> None:
    """A step that reads its tables for half a minute, in a database where nothing else goes on but now and then."""
    planted = simulate.workload(1)
    planted.step(10, 50)
    moved = [[look[0], look[1], 1000.0 * (10 <= look[0] < 50), 0] for look in simulate.looks()]
    mine = noted(seen={"looks": moved, "touched": [[2.0, 3.0], [10.0, 52.0]]})
    assert not seen(run(mine, planted=planted, control=[noted(seen={"looks": simulate.looks(0, 0)})])).passed


def test_looks_from_before_there_were_any_say_nothing() -> None:
    check = seen(run(noted(seen={"looks": []})))
    assert not check.passed
    assert "before the traffic was not noted" in check.sentence


@pytest.mark.parametrize(
    "broken",
    [{"production-steps": 5}, {"production-steps": [{}]}, {"production-steps": [None]}, "text",
     {"production-steps": [noted(seen={"touched": [[0, float("inf")]]})]},
     {"production-steps": [noted(seen={"samples": float("inf")})]},
     {"production-steps": [noted(seen={"looks": [[0, 1, 2]]})]},
     {"production-steps": [noted(seen={"looks": [[0, 1, float("nan"), 2]]})]}],
)  # fmt: skip
def test_notes_that_cannot_be_read_are_inconclusive(broken) -> None:
    evidence = simulate.evidence(production(), stage={"databases": broken}, plan={"steps": [SQL]})
    assert "steps_seen" in failed(judge(evidence))


def test_a_server_that_does_not_count_is_told_by_its_sessions() -> None:
    silent = {"counts": False, "touched": [], "written": []}
    assert seen(run(noted(seen=silent))).passed
    assert not seen(run(noted(seen=silent | {"sessions": []}))).passed


def test_a_step_that_takes_all_the_time_is_told_by_sessions() -> None:
    planted = simulate.workload(1)
    planted.step(0.5, 59.5)
    assert seen(run(noted(), planted=planted)).passed
    alone = seen(run(noted(seen={"sessions": []}), planted=planted))
    assert not alone.passed
    assert "could not be seen" in alone.sentence


@given(st.lists(st.tuples(st.floats(19.7, 26.9), st.floats(0.01, 7)), max_size=20))
def test_what_moves_while_a_step_runs_is_no_application(spells) -> None:
    touched = [[from_s, min(27.0, from_s + length_s)] for from_s, length_s in spells]
    assert not seen(run(noted(seen={"touched": touched}))).passed


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 10))),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 10))),
)
def test_more_of_the_application_is_never_less(spells, more) -> None:
    first = [(from_s, from_s + length_s) for from_s, length_s in spells]
    second = [(from_s, from_s + length_s) for from_s, length_s in more]
    assert outside([*first, *second], [(40.0, 60.0)]) or not outside(first, [(40.0, 60.0)])


def commanded(sessions, schema, **spells):
    command = {"sessions": sessions, "schema": schema}
    return noted(steps=[], seen={"commands": {STEP: command}, **spells})


@pytest.mark.parametrize(
    ("sessions", "schema", "passes"),
    [(1, "same", True), (0, "changed", True), (0, "same", False), (None, "same", False), (0, None, False)],
)
@pytest.mark.parametrize("does", [{"run": "psql"}, {"alembic": "head"}, {"django": "manage.py"}], ids=str)
@pytest.mark.parametrize("kind", ["migrate", "rollback"])
def test_a_command_that_left_no_trace_is_inconclusive(sessions, schema, passes, does, kind) -> None:
    planted = simulate.workload(1)
    planted.step(20, 25, kind=kind)
    step = {"name": STEP, "kind": kind, **does}
    check = seen(run(commanded(sessions, schema), steps=[step], planted=planted))
    assert check.passed is passes
    if (sessions, schema) == (0, "same"):
        assert "no session of it was seen there" in check.sentence


@pytest.mark.parametrize("kind", ["deploy", "restart", "command"])
def test_what_changes_no_data_need_not_be_seen(kind) -> None:
    planted = simulate.workload(1)
    planted.step(20, 25, kind=kind)
    for does in ({"run": "true"}, {"http": "POST /x"}, {"sql": "x.sql", "dsn": "x"}):
        assert seen(run(steps=[{"name": STEP, "kind": kind, **does}], planted=planted)).passed


def test_a_command_that_no_probe_looks_after_is_inconclusive() -> None:
    check = seen(run(noted(steps=[], probes=[]), steps=[COMMAND]))
    assert not check.passed
    assert "no probe looks at a PostgreSQL database" in check.sentence


def test_a_command_in_a_database_that_is_not_the_applications() -> None:
    unused = commanded(1, "changed", touched=[])
    assert not seen(run(unused, steps=[COMMAND])).passed
    assert seen(run(unused, steps=[COMMAND | {"kind": "deploy"}], planted=_deployed())).passed


def _deployed():
    planted = simulate.workload(1)
    planted.step(20, 25, kind="deploy")
    return planted


# What a rollback left behind


def rolled_back():
    planted = simulate.workload(1, mix={TOKEN: (1500, 0.0), EVENTS: (1500, 0.0)})
    planted.step(20, 25)
    planted.step(35, 36, name=UNDO, kind="rollback")
    return planted


def after(*tables, control=(), **fields) -> Evidence:
    database = noted(steps=[STEP, UNDO], tables=list(tables), **fields)
    beside = noted(steps=[STEP, UNDO], tables=list(control))
    return run(database, planted=rolled_back(), steps=[SQL, ROLLBACK], control=[beside])


def test_a_rollback_that_put_back_all_passes() -> None:
    verdict = judge(after(table(1000, 1100), control=[table(1000, 1103)]))
    assert verdict.verdict == "GO"
    (check,) = (check for check in verdict.checks if check.name == "data_after_rollback")
    assert check.passed
    assert "no rows are lost in 1 table." in check.sentence


def test_rows_that_a_rollback_lost_are_told_with_figures() -> None:
    verdict = judge(after(table(1000, 950), control=[table(1000, 1100)]))
    assert verdict.verdict == "NO_GO"
    assert verdict.rests_on == "proof"
    (finding,) = of(verdict, metric="data_after_rollback")
    assert "token has 950 rows, beside 1,100 in the control (and 1,000 before): 13.6% are missing" in verdict.reasons[0]
    assert finding["evidence"]["differences"] == [
        {"table": "token", "rows": 1000, "rows_after": 950, "rows_control": 1100}
    ]
    assert finding["phase"] == f"after {UNDO}"


@pytest.mark.parametrize(
    ("rows_after", "share", "verdict"),
    [(1089, 0.01, "GO"), (1088, 0.01, "NO_GO"), (1096, 0, "GO"), (1095, 0, "NO_GO"), (900, 0.5, "GO")],
)
def test_how_many_may_be_missing(rows_after, share, verdict) -> None:
    evidence = after(table(1000, rows_after), control=[table(1000, 1100)])
    evidence.rehearsal["criteria"] = {"rollback_rows_share": share}
    assert judge(evidence).verdict == verdict


def test_what_was_never_written_is_not_lost() -> None:
    planted = rolled_back()
    numbers = planted.fail(TOKEN, 20, 25, 1.0, "server error")
    database = noted(steps=[STEP, UNDO], tables=[table(1000, 1500 - len(numbers))])
    beside = noted(steps=[STEP, UNDO], tables=[table(1000, 1500)])
    assert len(numbers) > 50
    evidence = run(database, planted=planted, steps=[SQL, ROLLBACK], control=[beside])
    assert of(judge(evidence), metric="data_after_rollback") == []
    database["tables"] = [table(1000, 1400 - len(numbers))]
    verdict = judge(evidence)
    (finding,) = of(verdict, metric="data_after_rollback")
    assert f"and no more than {len(numbers)} of them for requests that failed" in finding["explanation"]


def test_a_schema_that_is_not_as_before() -> None:
    changes = ["column token.scope came", "table visit_2026 came"]
    evidence = after(schema_after="2", changes=changes)
    control = evidence.rehearsal["stage"]["databases"]["production-control"][0]
    verdict = judge(evidence)
    assert verdict.verdict == "NO_GO"
    assert "in the schema, column token.scope came; in the schema, table visit_2026 came" in verdict.reasons[0]
    control["changes"] = ["table visit_2026 came"]  # by the application itself
    assert "visit_2026" not in judge(evidence).reasons[0]
    control["changes"] = changes
    assert judge(evidence).verdict == "GO"


@pytest.mark.parametrize("kind", ["migrate", "revert"])
def test_only_a_rollback_that_comes_last_is_held_to_it(kind) -> None:
    planted = rolled_back()
    planted.step(45, 46, name="again", kind=kind)
    database = noted(steps=[STEP, UNDO, "again"], schema_after="2", changes=["column token.scope came"])
    evidence = run(database, planted=planted, steps=[SQL, ROLLBACK, SQL | {"name": "again"}])
    assert of(judge(evidence), metric="data_after_rollback") == []


def test_a_rollback_that_could_not_be_looked_at_is_said() -> None:
    verdict = judge(after(schema_after=None))
    (check,) = (check for check in verdict.checks if check.name == "data_after_rollback")
    assert check.passed
    assert "could not be compared" in check.sentence
    assert verdict.verdict == "INCONCLUSIVE"
    assert failed(verdict) == {"data_compared"}
    assert "events (127.0.0.1:5432) was not looked at after the arm" in verdict.reasons[0]


def test_a_table_that_went_uncounted_is_inconclusive() -> None:
    verdict = judge(after(table(1000, None), control=[table(1000, 1000)]))
    assert verdict.verdict == "INCONCLUSIVE"
    assert failed(verdict) == {"data_compared"}
    assert "were not counted: token (after: too large)" in verdict.reasons[0]
    many = table(1000, None) | {"rows": None, "uncounted": "before: 100 others were counted"}
    assert judge(after(many)).verdict == "GO"


def test_a_database_of_a_kind_that_is_not_looked_at_is_said() -> None:
    unseen = run(planted=rolled_back(), steps=[COMMAND, UNDONE], criteria={"unseen_steps": True})
    verdict = judge(unseen)
    assert verdict.verdict == "GO", verdict.reasons
    (check,) = (check for check in verdict.checks if check.name == "data_after_rollback")
    assert "was not compared with what was before: only PostgreSQL databases are looked at" in check.sentence
    limits = {"unseen_steps": True, "rollback_rows_share": 0}
    limited = run(planted=rolled_back(), steps=[COMMAND, UNDONE], criteria=limits)
    assert failed(judge(limited)) == {"limits_measured"}


ALL_ALONG = [[0.0, 60.0]]
BY_THE_STEPS = {"written": [[19.9, 25.5], [34.9, 36.5]], "touched": ALL_ALONG}


@pytest.mark.parametrize(
    ("mine", "control", "seen_there", "verdict"),
    [
        (table(1000, 1000, "1", "2"), table(1000, 1000, "1", "1"), BY_THE_STEPS, "NO_GO"),
        (table(1000, 1003, "1", "2"), table(1000, 1000, "1", "1"), BY_THE_STEPS, "NO_GO"),
        (table(1000, 1000, "1", "1"), table(1000, 1000, "1", "1"), BY_THE_STEPS, "GO"),
        (table(1000, 1000, "1", "2"), table(1000, 1000, "1", "3"), BY_THE_STEPS, "GO"),
        (table(1000, 1003, "1", "2"), table(1000, 1004, "1", "3"), BY_THE_STEPS, "GO"),
        (table(1000, 1000, "1", "2"), table(1000, 1000, None, None), BY_THE_STEPS, "GO"),
        (table(1000, 1000, "1", "2"), table(1000, 1000, name="another"), BY_THE_STEPS, "GO"),
        (table(1000, 1000, "1", "2"), table(1000, 1000, "1", "1"), {"written": ALL_ALONG}, "GO"),
        (table(1000, 1000, "1", "2"), table(1000, 1000, "1", "1"), BY_THE_STEPS | {"counts": False}, "GO"),
    ],
    ids=["contents", "rows", "as before", "written by the traffic", "grown", "no checksum", "not in the control",
         "somebody wrote", "not counted"],
)  # fmt: skip
def test_what_the_same_traffic_leaves_alone_only_the_steps_can_have_changed(mine, control, seen_there, verdict) -> None:
    judged = judge(after(mine, control=[control], seen=seen_there))
    assert judged.verdict == verdict, judged.reasons
    if verdict == "NO_GO":
        assert "token has" in judged.reasons[0]
        assert judged.rests_on == "proof"


def quiet(database, criteria=None, kind: str = "rollback", to_s: float = 4.0) -> Evidence:
    """A run with a quiet arm, whose last step noted this."""
    played = noted(steps=[STEP, UNDO])
    evidence = run(played, planted=rolled_back(), steps=[SQL, ROLLBACK], criteria=criteria or {})
    like = evidence.arms["production-steps"]
    info = ArmInfo("quiet-steps", QUIET, QUIET, steps=True, started_at="2026-01-01T00:09:00Z", duration_s=1.0,
                   planned=0, state="complete")  # fmt: skip
    marks = [
        Mark(0.0, "", "arm", "started"),
        *(Mark(at_s, STEP, "migrate", event) for at_s, event in ((1.0, "started"), (2.0, "ended"))),
        *(Mark(at_s, UNDO, kind, event) for at_s, event in ((3.0, "started"), (to_s, "ended"))),
        Mark(to_s + 3, "", "arm", "ended"),
    ]
    alone_arm = ArmEvidence(
        info, like.observations.iloc[:0], like.readings.iloc[:0], like.log.iloc[:0], tuple(marks), ()
    )
    whole = simulate.with_arm(evidence, alone_arm)
    whole.rehearsal["stage"]["databases"]["quiet-steps"] = [database]
    return whole


def alone(*tables, written=((1.0, 4.2),), **fields):
    return noted(steps=[STEP, UNDO], tables=list(tables), seen={"touched": [], "written": list(written)}, **fields)


def test_without_traffic_all_must_be_as_before() -> None:
    assert judge(quiet(alone(table(1000, 1000)))).verdict == "GO"
    for database, words in (
        (alone(table(1000, 1001)), "token has 1,001 rows, and had 1,000"),
        (alone(table(1000, 1000, "1", "2")), "token has its 1,000 rows, but not all hold what they held"),
        (alone(schema_after="2"), "the schema is another"),
    ):
        verdict = judge(quiet(database))
        assert verdict.verdict == "NO_GO"
        assert words in verdict.reasons[0]
        assert "without any traffic" in verdict.reasons[0]
        assert verdict.rests_on == "proof"


def test_where_somebody_else_writes_only_lost_rows_tell() -> None:
    writes = [[0.0, 0.6], [6.0, 7.0]]
    assert judge(quiet(alone(table(1000, 1003, "1", "2"), written=writes))).verdict == "GO"
    assert judge(quiet(alone(table(1000, 900, "1", "2"), written=writes))).verdict == "NO_GO"


# How long the migration took


@pytest.mark.parametrize(("limit_s", "verdict"), [(None, "GO"), (5.0, "GO"), (4.9, "NO_GO"), (0.0, "NO_GO")])
def test_a_migration_has_its_window(limit_s, verdict) -> None:
    criteria = {} if limit_s is None else {"migration_s": limit_s}
    found = judge(simulate.evidence(production(), qa(), criteria=criteria))
    assert found.verdict == verdict
    assert [check.passed for check in found.checks if check.name == "migration_s"] == (
        [] if limit_s is None else [verdict == "GO"] * 2
    )
    if verdict == "NO_GO":
        assert "The migration took 5.0 s under the production workload; the window is" in found.reasons[0]
        (finding,) = of(found, metric="migration_s", workload="production")
        assert finding["only_in_production"] is False


def test_steps_of_one_migration_are_one_and_a_later_one_is_not() -> None:
    planted = production()
    planted.step(27, 30, name="backfill")
    planted.step(40, 41, name=UNDO, kind="rollback")
    planted.step(45, 46, name="once more")
    verdict = judge(simulate.evidence(planted, criteria={"migration_s": 1}))
    (finding,) = of(verdict, metric="migration_s")
    assert finding["observed"] == 10.0


def test_of_repetitions_the_worst_speaks() -> None:
    first = production()
    second = simulate.again(first, 1, 2, PRODUCTION)
    second.step(20, 29)
    verdict = judge(simulate.evidence(first, second, criteria={"migration_s": 6}))
    (check,) = (check for check in verdict.checks if check.name == "migration_s")
    assert (check.passed, check.observed) == (False, 9.0)


def test_a_window_without_traffic() -> None:
    verdict = judge(quiet(alone(), {"migration_s": 20}, kind="migrate", to_s=49.0))
    assert verdict.verdict == "NO_GO"
    assert "The migration took 48.0 s without any traffic; the window is 20.0 s." in verdict.reasons[0]
    assert judge(quiet(alone(), {"migration_s": 48}, kind="migrate", to_s=49.0)).verdict == "GO"


def test_a_migration_that_does_not_end_is_beyond_its_window() -> None:
    planted = simulate.workload(1)
    planted.step(20, 25)
    planted.marks = [mark for mark in planted.marks if mark.event == "started"]
    verdict = judge(simulate.evidence(planted, criteria={"migration_s": 30}))
    assert verdict.verdict == "NO_GO"
    assert "had not ended after 40.0 s" in verdict.reasons[0]


def test_labels_do_not_matter() -> None:
    evidence = after(table(1000, 950), control=[table(1000, 1100)])
    first = judge(evidence).to_json()
    turned = dataclasses.replace(evidence, arms=dict(reversed(evidence.arms.items())))
    assert judge(turned).to_json() == first
