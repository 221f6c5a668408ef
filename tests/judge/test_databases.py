"""Which database the steps ran in."""

import pytest
import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import SQL, failed, production
from incident import run_with as run
from simulate import STEP

from replay.evidence.run import Evidence
from replay.judge.criteria import parse_criteria
from replay.judge.trust.databases import check_steps_seen, outside
from replay.judge.verdict import judge

COMMAND = {"name": STEP, "kind": "migrate", "run": "alembic upgrade head"}
noted = simulate.database


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
    assert ("names no database" in check.sentence) is (not databases)
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
    assert "no probe looks at a database" in check.sentence


def test_a_command_in_a_database_that_is_not_the_applications() -> None:
    unused = commanded(1, "changed", touched=[])
    assert not seen(run(unused, steps=[COMMAND])).passed
    assert seen(run(unused, steps=[COMMAND | {"kind": "deploy"}], planted=_deployed())).passed


def _deployed():
    planted = simulate.workload(1)
    planted.step(20, 25, kind="deploy")
    return planted
