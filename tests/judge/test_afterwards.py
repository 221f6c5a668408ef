"""What a rollback left behind, and how long the migration took."""

import dataclasses

import pytest
import simulate
from incident import EVENTS, PRODUCTION, SQL, failed, of, production, qa
from incident import run_with as run
from simulate import STEP, TOKEN

from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.values import QUIET, ArmInfo, Mark
from replay.judge.phases import undoing
from replay.judge.verdict import judge

UNDO = "undo it"
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


# What a rollback left behind


def rolled_back(kind="rollback"):
    planted = simulate.workload(1, mix={TOKEN: (1500, 0.0), EVENTS: (1500, 0.0)})
    planted.step(20, 25)
    planted.step(35, 36, name=UNDO, kind=kind)
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


@pytest.mark.parametrize(
    ("left", "came", "verdict"),
    [
        (0, ["table alembic_version came"], "GO"),
        (0, ["sequence alembic_version_id_seq came", "table alembic_version came"], "GO"),
        (1, ["table alembic_version came"], "NO_GO"),
        (0, ["table alembic_version came", "table sources came"], "NO_GO"),
        (0, ["column alembic_version.version_num changed"], "NO_GO"),
    ],
)
def test_the_empty_table_that_a_migration_tool_made_for_its_notes_is_no_difference(left, came, verdict) -> None:
    notes = {**table(0, left, name="alembic_version"), "rows": None, "checksum": None}
    changed = {"changes": came, "schema_after": "another"}
    found = judge(after(table(1000, 1100), notes, control=[table(1000, 1103)], **changed))
    assert found.verdict == verdict
    (check,) = (check for check in found.checks if check.name == "data_after_rollback")
    assert ("as before but for alembic_version, where nothing is noted" in check.sentence) == (verdict == "GO")
    if "table sources came" in came:
        assert "in the schema, table sources came." in check.sentence


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


@pytest.mark.parametrize(
    ("kinds", "place"),
    [
        ([], None),
        (["deploy", "restart", "command"], None),
        (["migrate"], None),
        (["migrate", "rollback"], 1),
        (["migrate", "rollback", "restart", "wait", "deploy", "command"], 1),
        (["migrate", "rollback", "migrate"], None),
        (["migrate", "rollback", "migrate", "revert", "deploy"], 3),
        (["migrate", "rollback", "revert"], 2),
    ],
)
def test_what_undoes_is_the_last_that_changes_data(kinds, place) -> None:
    assert undoing(kinds) == place


LOST = {"tables": [table(1000, 10)], "schema_after": "2", "changes": ["column token.scope came"]}


def undone_by(undo, *later, kind="rollback", before=(), **fields) -> Evidence:
    """A run whose steps left rows and the schema behind, with further steps (name, kind, action) around the undoing."""
    planted = rolled_back(kind)
    steps = [SQL, undo | {"kind": kind}]
    for number, (name, kind_of, action) in enumerate([*before, *later]):
        at_s = 28 if number < len(before) else 38 + 4 * number
        planted.step(at_s, at_s + 1, name=name, kind=kind_of)
        steps.append({"name": name, "kind": kind_of} | action)
    mine = noted(steps=[STEP, UNDO], **LOST, **fields)
    return run(mine, planted=planted, steps=steps, control=[noted(steps=[STEP, UNDO], tables=[table(1000, 1000)])])


RUN = {"run": "./it"}


@pytest.mark.parametrize("kind", ["rollback", "revert"])
@pytest.mark.parametrize(
    "later",
    [(), (("restart the API", "restart", RUN),), (("v2", "deploy", RUN),), (("flush", "command", {"http": "POST /x"}),),
     (("until it is well", "wait", {"wait": "5s"}), ("v1", "deploy", RUN), ("again", "restart", RUN))],
    ids=lambda later: " and ".join(kind for _, kind, _ in later) or "nothing",
)  # fmt: skip
def test_what_an_undoing_left_behind_is_found_whatever_follows_that_migrates_nothing(kind, later) -> None:
    verdict = judge(undone_by(ROLLBACK, *later, kind=kind))
    assert verdict.verdict == "NO_GO"
    (finding,) = of(verdict, metric="data_after_rollback")
    assert "column token.scope came" in finding["explanation"]
    assert "token has 10 rows" in finding["explanation"]
    behind = ", ".join(repr(name) for name, what, _ in later if what != "wait")
    assert finding["explanation"].startswith(f"After the {kind} 'undo it'{behind and f' (and {behind})'} under")
    (check,) = (check for check in verdict.checks if check.name == "data_after_rollback")
    assert not check.passed


@pytest.mark.parametrize("kind", ["migrate", "rollback", "revert"])
def test_a_step_that_migrates_again_ends_the_comparison_and_one_that_undoes_is_held_to_it_itself(kind) -> None:
    verdict = judge(undone_by(ROLLBACK, ("again", kind, {"sql": "again.sql", "dsn": "${STAGE_DSN}"})))
    found = of(verdict, metric="data_after_rollback")
    assert [one["phase"] for one in found] == ([] if kind == "migrate" else ["after again"])


SAME = {"commands": {UNDO: {"sessions": 3, "schema": "same"}}}
V2, AGAIN = ("v2", "deploy", RUN), ("v2 again", "deploy", RUN)


@pytest.mark.parametrize("action", [RUN, {"http": "POST /deploys/v1"}], ids=str)
def test_the_way_back_of_the_code_between_two_deploys_is_not_held_to_the_schema_and_that_is_said(action) -> None:
    verdict = judge(undone_by({"name": UNDO} | action, AGAIN, before=[V2], seen=SAME))
    assert verdict.verdict == "GO", verdict.reasons
    (check,) = (check for check in verdict.checks if check.name == "data_after_rollback")
    assert "was not compared with what was before: it stands between two deploys" in check.sentence
    assert check.sentence in verdict.reasons


@pytest.mark.parametrize(
    ("undo", "before", "later", "seen"),
    [
        (ROLLBACK, [V2], [AGAIN], SAME),
        ({"name": UNDO, "alembic": "-1"}, [V2], [AGAIN], SAME),
        ({"name": UNDO} | RUN, [V2], [AGAIN], {"commands": {UNDO: {"sessions": 3, "schema": "changed"}}}),
        ({"name": UNDO} | RUN, [V2], [], SAME),
        ({"name": UNDO} | RUN, [], [AGAIN], SAME),
    ],
    ids=["by SQL", "by Alembic", "it changed the schema", "no deploy after it", "no deploy before it"],
)
def test_any_other_way_back_is_held_to_the_schema(undo, before, later, seen) -> None:
    assert judge(undone_by(undo, *later, before=before, seen=seen)).verdict == "NO_GO"


def test_a_deploy_that_migrates_by_itself_is_not_put_down_to_the_rollback() -> None:
    own = {"commands": {"v2": {"sessions": 3, "schema": "changed"}}}
    verdict = judge(undone_by(ROLLBACK, V2, seen=own))
    assert verdict.verdict == "GO", verdict.reasons
    assert any("not compared with what was before: the step 'v2' changed the schema" in one for one in verdict.reasons)
    limited = undone_by(ROLLBACK, V2, seen=own)
    limited.rehearsal["criteria"] = {"rollback_rows_share": 0.01}
    assert failed(judge(limited)) == {"limits_measured"}


@pytest.mark.parametrize("later", [(), (V2,)], ids=["last", "before a deploy"])
def test_a_limit_of_what_a_rollback_leaves_is_measured_whatever_follows(later) -> None:
    limited = undone_by(ROLLBACK, *later)
    limited.rehearsal["criteria"] = {"rollback_rows_share": 0.01}
    assert failed(judge(limited)) == set()


def test_a_revert_that_fails_is_named_as_such_and_counts_as_a_failed_rollback() -> None:
    planted = rolled_back()
    planted.step(45, 46, "it is in use", "full revert", "revert")
    verdict = judge(simulate.evidence(planted, criteria={"failed_steps": 1}))
    assert verdict.verdict == "NO_GO"
    (finding,) = of(verdict, metric="rollback_failed")
    assert finding["explanation"].startswith("The revert 'full revert' failed under the production workload")
    assert judge(simulate.evidence(planted, criteria={"failed_rollbacks": 1})).verdict == "GO"


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
    assert "was not compared with what was before: none of its databases was noted" in check.sentence
    assert check.sentence in verdict.reasons
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


def test_labels_do_not_matter() -> None:
    evidence = after(table(1000, 950), control=[table(1000, 1100)])
    first = judge(evidence).to_json()
    turned = dataclasses.replace(evidence, arms=dict(reversed(evidence.arms.items())))
    assert judge(turned).to_json() == first


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


def test_all_steps_that_migrate_are_one_migration_and_what_lies_between_them_is_not() -> None:
    planted = production()
    planted.step(27, 30, name="backfill")
    planted.step(32, 40, name="v2", kind="deploy")
    planted.step(40, 41, name=UNDO, kind="rollback")
    planted.step(45, 46, name="once more")
    assert judge(simulate.evidence(planted, criteria={"migration_s": 9})).verdict == "GO"
    verdict = judge(simulate.evidence(planted, criteria={"migration_s": 8.5}))
    (finding,) = of(verdict, metric="migration_s")
    assert finding["observed"] == 9.0
    assert "The migration took 9.0 s in 3 steps under the production workload" in finding["explanation"]
    assert (finding["evidence"]["step"], finding["phase"]) == ("once more", "during once more")
    assert finding["first_bad_s"] == 45.5


def test_a_second_migration_after_a_deploy_counts() -> None:
    planted = simulate.workload(1)
    planted.step(20, 21)
    planted.step(22, 30, name="v2", kind="deploy")
    planted.step(32, 41, name="contract")
    verdict = judge(simulate.evidence(planted, criteria={"migration_s": 8}))
    assert verdict.verdict == "NO_GO"
    assert [check.observed for check in verdict.checks if check.name == "migration_s"] == [10.0]


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
    assert "The migration took 47.0 s in 2 steps without any traffic; the window is 20.0 s." in verdict.reasons[0]
    assert judge(quiet(alone(), {"migration_s": 47}, kind="migrate", to_s=49.0)).verdict == "GO"


def test_a_migration_that_does_not_end_is_beyond_its_window() -> None:
    planted = simulate.workload(1)
    planted.step(20, 25)
    planted.marks = [mark for mark in planted.marks if mark.event == "started"]
    verdict = judge(simulate.evidence(planted, criteria={"migration_s": 30}))
    assert verdict.verdict == "NO_GO"
    assert "had not ended after 40.0 s" in verdict.reasons[0]
