"""Steps against a real PostgreSQL and real programs: what is marked, what fails, what is ended."""

import resource
import time

import pytest

from replay.errors import InputError
from replay.rehearsal.steps.actions import Run, SqlFile
from replay.rehearsal.table import Command, Dsn

from .stepping import Stage, events, wait_for


@pytest.fixture
def stage(tmp_path, server, table) -> Stage:
    assert table
    return Stage(tmp_path, server.primary)


def test_every_statement_is_marked(stage, server) -> None:
    stage.step("ALTER TABLE token ADD COLUMN a int;\nUPDATE token SET a = id WHERE id <= 10;\nVACUUM token;")
    marks = stage.play()
    assert events(marks) == [
        ("step 1", 0, "started"),
        *[("step 1", index, event) for index in (1, 2, 3) for event in ("started", "ended")],
        ("step 1", 0, "ended"),
    ]
    assert [mark.rows for mark in marks if mark.index == 2] == [None, 10]
    assert marks[3].statement.startswith("UPDATE token")
    assert sorted(mark.at_s for mark in marks) == [mark.at_s for mark in marks]
    with server.connect() as connection:
        assert connection.execute("SELECT sum(a) FROM token").fetchone() == (55,)


def test_the_first_failing_statement_ends_the_step(stage, server) -> None:
    stage.step("UPDATE token SET scope = 'kept' WHERE id = 1; SELECT * FROM nowhere; UPDATE token SET scope = 'lost'")
    stage.step("SELECT 1", at_s=None, after_s=0.1, kind="rollback")
    marks = stage.play()
    assert events(marks) == [
        ("step 1", 0, "started"),
        ("step 1", 1, "started"),
        ("step 1", 1, "ended"),
        ("step 1", 2, "started"),
        ("step 1", 2, "failed"),
        ("step 1", 0, "failed"),
        ("step 2", 0, "started"),
        ("step 2", 1, "started"),
        ("step 2", 1, "ended"),
        ("step 2", 0, "ended"),
    ]
    assert marks[4].error == 'relation "nowhere" does not exist'
    assert marks[5].error.startswith("statement 2 (line 1) failed: relation")
    assert marks[6].at_s >= marks[5].at_s + 0.1
    with server.connect() as connection:
        assert connection.execute("SELECT scope, count(*) FROM token GROUP BY 1 ORDER BY 1").fetchall() == [
            ("kept", 1),
            ("read", 999),
        ]


def test_a_transaction_of_the_file_is_rolled_back_with_it(stage, server) -> None:
    stage.step("BEGIN; UPDATE token SET scope = 'x'; INSERT INTO token VALUES (1, 'twice'); COMMIT")
    marks = stage.play()
    assert "Key (id)=(1) already exists" in marks[-1].error
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM token WHERE scope = 'x'").fetchone() == (0,)
        held = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'replay step%'"
        wait_for(lambda: connection.execute(held).fetchone() == (0,))


def test_a_transaction_left_open_is_a_failure(stage) -> None:
    stage.step("BEGIN; UPDATE token SET scope = 'x'")
    assert "inside a transaction" in stage.play()[-1].error


def test_a_step_that_must_not_fail_ends_the_others(stage) -> None:
    stage.step("SELECT 1/0", on_failure="end")
    stage.step("SELECT 1")
    assert events(stage.play())[-1] == ("step 2", 0, "not done")
    assert stage.marks[-1].error == "'step 1' failed before it"


def test_a_step_whose_failure_ends_the_arm_says_so(stage) -> None:
    stage.step("SELECT 1", on_failure="abort")
    stage.step("SELECT 1/0", on_failure="abort")
    stage.step("SELECT 1", kind="rollback")
    runner = stage.runner()
    assert runner.aborts == ""
    runner.start()
    assert runner.join(20)
    assert runner.aborts == "the step 'step 2' failed"
    assert events(stage.marks)[-1] == ("step 3", 0, "not done")
    assert stage.marks[-1].error == "'step 2' failed before it, which ends the arm"


def test_a_statement_is_cancelled_at_the_limit(stage) -> None:
    stage.step("SELECT 1; SELECT pg_sleep(60); SELECT 2", timeout_s=0.5)
    began = time.monotonic()
    marks = stage.play()
    assert time.monotonic() - began < 20
    assert [(mark.index, mark.event) for mark in marks[3:]] == [(2, "started"), (2, "failed"), (0, "failed")]
    assert marks[-1].error.endswith("cancelled at the step's limit of 0.5 s")


def test_what_a_migration_says_is_kept_within_bounds(stage) -> None:
    told = "DO $$ BEGIN FOR n IN 1..300000 LOOP RAISE NOTICE 'row % was brought to its new form', n; END LOOP; END $$"
    stage.step(f"{told}; SELECT 1")
    assert stage.play()[-1].event == "ended"
    said = stage.said()
    assert said[1] == "NOTICE: row 1 was brought to its new form"
    assert "NOTICE: row 300000 was brought to its new form" in said
    assert (stage.folder / "steps" / "01.log").stat().st_size < 8_000_000


def test_steps_are_stopped_from_outside(stage) -> None:
    stage.step("SELECT pg_sleep(60)")
    stage.step("SELECT 1", at_s=None, after_s=0.0)
    runner = stage.runner()
    runner.start()
    wait_for(lambda: len(stage.marks) >= 2)
    runner.stop()
    assert not runner.alive
    assert [(mark.index, mark.event, mark.error) for mark in stage.marks if mark.event != "started"] == [
        (1, "interrupted", "interrupted"),
        (0, "interrupted", "statement 1 (line 1) failed: interrupted"),
        (0, "not done", "interrupted"),
    ]


def test_nothing_begins_when_the_load_is_over(stage) -> None:
    stage.step("SELECT 1", at_s=30.0)
    runner = stage.runner()
    runner.start()
    runner.begin_no_more()
    assert runner.join(10)
    assert (stage.marks[-1].event, stage.marks[-1].error) == ("not done", "the load had ended")


def test_a_database_that_does_not_answer(stage) -> None:
    (stage.folder / "x.sql").write_text("SELECT 1")
    dsn = Dsn("host=127.0.0.1 port=1 user=x password=hush-hush-42", "x")
    stage.step(action=SqlFile(stage.folder / "x.sql", dsn))
    (started, failed) = stage.play()
    assert (started.event, failed.event) == ("started", "failed")
    assert failed.error.startswith("no connection: ")
    assert "hush" not in failed.error


def test_a_command_has_its_output_kept_without_secrets(stage, server) -> None:
    stage.step(run=f"echo one; echo hush-hush-42 '{server.primary}' >&2; echo $PGAPPNAME; pwd; exit 3")
    marks = stage.play()
    assert events(marks) == [("step 1", 0, "started"), ("step 1", 0, "failed")]
    assert marks[-1].error == f"exit code 3: {stage.folder.resolve()}"
    lines = stage.log(1).splitlines()
    assert lines[1].endswith("] one")
    assert lines[2].endswith("] *** ${STAGE_DSN}")
    assert lines[3].endswith("] replay step: step 1")
    assert "hush" not in stage.log(1)


@pytest.mark.slow
def test_a_command_is_ended_at_its_limit_with_its_children(stage) -> None:
    alive = stage.folder / "alive"
    stage.step(run=f"(trap '' TERM; while :; do date +%s%N > {alive}; sleep 0.1; done) & sleep 60", timeout_s=0.5)
    marks = stage.play()
    assert marks[-1].error == "ended at its limit of 0.5 s"
    last = alive.read_text()
    time.sleep(0.5)
    assert alive.read_text() == last


def test_a_command_that_leaves_a_server_behind_is_not_waited_for(stage) -> None:
    stage.step(run="sleep 5 & echo started")
    began = time.monotonic()
    assert events(stage.play())[-1] == ("step 1", 0, "ended")
    assert time.monotonic() - began < 4.5


def test_a_program_that_is_not_there(stage) -> None:
    stage.step(action=Run(Command(("no-such-program",), "no-such-program")))
    assert "no-such-program: No such file" in stage.play()[-1].error


def test_an_sql_file_is_read_before_anything_runs(stage) -> None:
    stage.step("-- nothing")
    with pytest.raises(InputError, match="holds no statement"):
        stage.runner()
    stage.plans.clear()
    stage.step("SELECT 1;\n\\gexec")
    with pytest.raises(InputError, match=r"1\.sql, line 2: a command of psql"):
        stage.runner()


def test_sessions_carry_the_name_of_their_step(stage, server) -> None:
    stage.step("SELECT pg_sleep(30)", name="Ümlaut " + "x" * 80)
    runner = stage.runner()
    runner.start()

    def seen() -> bool:
        with server.connect() as connection:
            rows = connection.execute("SELECT application_name FROM pg_stat_activity").fetchall()
        return (stage.plans[0].session_name,) in rows

    try:
        wait_for(seen)
    finally:
        runner.stop()


@pytest.mark.slow
def test_rows_that_nobody_wants_are_not_held(stage) -> None:
    stage.step("SELECT 1; SELECT repeat('x', 1000) FROM generate_series(1, 200000)")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    marks = stage.play()
    assert [mark.rows for mark in marks if mark.index and mark.event == "ended"] == [1, 200_000]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


def test_a_statement_as_long_as_it_likes(stage, server) -> None:
    stage.step(f"UPDATE token SET scope = '{'x' * 5_000_000}' WHERE id = 1")  # noqa: S608 - letters
    assert stage.play()[-1].event == "ended"
    with server.connect() as connection:
        assert connection.execute("SELECT length(scope) FROM token WHERE id = 1").fetchone() == (5_000_000,)


def test_a_session_that_the_server_ends_says_why(stage) -> None:
    stage.step("SELECT pg_terminate_backend(pg_backend_pid()); SELECT 2")
    marks = stage.play()
    assert events(marks)[-2:] == [("step 1", 1, "failed"), ("step 1", 0, "failed")]
    assert "terminating connection due to administrator command" in marks[-1].error
