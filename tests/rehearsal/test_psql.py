"""SQL files as psql reads them: the same file is sent by a step and by psql itself."""

import subprocess

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.demo.postgres import find_programs
from replay.errors import InputError
from replay.rehearsal.steps.psql import read_script

from .stepping import Stage, events


@pytest.fixture
def stage(tmp_path, server, table) -> Stage:
    assert table
    return Stage(tmp_path, server.primary)


def texts(sql: str, folder) -> list[str]:
    file = folder / "up.sql"
    file.write_bytes(sql.encode())
    return [statement.text for statement in read_script(file, folder).statements]


FILES = {
    "rows.csv": 'n,said\n1,"one, two"\n2,\n',
    "sub/inner.sql": "\\set inner 'was read'\nINSERT INTO said VALUES (10, :'inner');\n\\ir deeper.sql\n",
    "sub/deeper.sql": "INSERT INTO said VALUES (11, 'deeper')",
}
SCRIPTS = {
    "a variable as text": r"""
\set v 'it''s \\ \x41\101\ttab'
INSERT INTO said VALUES (1, :'v');
""",
    "a variable as it is": r"""
\set rows '(1, ''a''), (2, ''b'')'
INSERT INTO said VALUES :rows;
""",
    "a variable as a name": r"""
\set t said
INSERT INTO :"t" VALUES (1, 'x');
""",
    "a variable of variables": r"""
\set a 1
\set b :a 2 :'a' "a b"
INSERT INTO said VALUES (:a, :'b');
""",
    "a variable that holds statements": r"""
\set two 'INSERT INTO said VALUES (1, 1); INSERT INTO said VALUES (2'
:two, 3);
""",
    "a variable that was taken back": r"""
\set 1 no
\unset 1
INSERT INTO said VALUES ((ARRAY[7, 8])[1], (ARRAY[7, 8])[1:1]);
""",
    "what only looks like one": r"""
\set x 9
INSERT INTO said SELECT (ARRAY[1, 2])[1]::int, ':x' || $q$:x$q$ /* :x */ -- :x
""",
    "an empty one": r"""
\set v
INSERT INTO said VALUES (1, :'v');
""",
    "other files": r"""
\i sub/inner.sql
INSERT INTO said VALUES (1, :'inner');
""",
    "rows in the file": "COPY said FROM stdin;\n1\ta\\tb\n2\t\\N\n\\.\nINSERT INTO said VALUES (3, 'after');",
    "rows with options": "copy said (said, n) from STDIN with (delimiter '|');\na|1\n",
    "rows with quotes": 'COPY said FROM stdin (format csv, header);\nn,said\n1,"a;\n\'b"\n\\.\n',
    "rows to the end of the file": "COPY said FROM stdin;\n1\tlast",
    "no rows": "COPY said FROM stdin;\n\\.\nINSERT INTO said VALUES (1, '');",
    "rows of a file": r"\copy said from 'rows.csv' csv header",
    "rows after a copy command": "\\copy said (n, said) from stdin (delimiter ',')\n5,five\n\\.\n",
    "what shows only": r"""
\timing on
\pset null '(null)'
\x
INSERT INTO said VALUES (1, '');
\echo done :v 'a  b'
""",
    "rows handed out": r"""
COPY said TO stdout;
INSERT INTO said VALUES (1, 'x');
copy (SELECT n FROM said) to STDOUT (format csv); INSERT INTO said VALUES (2, 'y');
COPY said TO stdin;
""",
    "a transaction": r"""
BEGIN;
INSERT INTO said VALUES (1, 'x');
ROLLBACK;
INSERT INTO said VALUES (2, 'y');
""",
    "lines that end in two characters": (
        "\\set v 1\r\nINSERT INTO said\r\nVALUES (:v, 'x');\r\nCOPY said FROM stdin;\r\n2\ty\r\n\\.\r\n"
    ),
}


def compare(stage: Stage, server, sql: str) -> list[tuple]:
    """What both leave in the table, which must be the same."""
    for name, text in FILES.items():
        file = stage.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    results = []
    with server.connect() as connection:
        for by_psql in (True, False):
            connection.execute("DROP TABLE IF EXISTS said")
            connection.execute("CREATE TABLE said (n int, said text)")
            if by_psql:
                (stage.folder / "psql.sql").write_bytes(sql.encode())
                command = [
                    find_programs() / "psql",
                    "-X",
                    "-q",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-f",
                    "psql.sql",
                    server.primary,
                ]
                environment = {**stage.environment, "PGCLIENTENCODING": "UTF8"}
                done = subprocess.run(command, cwd=stage.folder, env=environment, capture_output=True, check=False)
                assert not done.returncode, done.stderr
            else:
                stage.plans.clear()
                stage.marks.clear()
                stage.step(sql)
                marks = stage.play()
                assert marks[-1].event == "ended", marks[-1].error
            results.append(connection.execute("SELECT * FROM said ORDER BY n, said").fetchall())
        connection.execute("DROP TABLE said")
    assert results[1] == results[0]
    return results[0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_file_does_what_it_does_with_psql(stage, server, name: str) -> None:
    assert compare(stage, server, SCRIPTS[name])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")), min_size=1, max_size=20))
def test_any_value_is_the_same_with_psql(stage, server, values: list[str]) -> None:
    quoted = ["'" + value.replace("\\", "\\\\").replace("'", "''") + "'" for value in values]
    lines = [f"\\set v {one}\nINSERT INTO said VALUES ({n}, :'v');" for n, one in enumerate(quoted)]
    assert [said for _, said in compare(stage, server, "\n".join(lines))] == values


def test_marks_have_rows_and_name_the_file(stage) -> None:
    (stage.folder / "more.sql").write_text("-- of another file\nUPDATE token SET scope = 'b' WHERE id < 3;")
    stage.step("\\echo first\nCOPY token FROM stdin CSV;\n2001,x\n2002,y\n2003,z\n\\.\n\\i more.sql\n\\echo last\n")
    ended = [mark for mark in stage.play() if mark.event == "ended"]
    assert [(mark.index, mark.rows) for mark in ended] == [(1, 3), (2, 2), (0, None)]
    assert ended[0].statement == "COPY token FROM stdin CSV"
    assert ended[1].statement == "UPDATE token SET scope = 'b' WHERE id < 3 /* more.sql, line 2 */"
    assert stage.said()[0] == "first"
    assert stage.said()[-1] == "last"


def test_rows_that_a_copy_hands_out_go_to_the_log(stage) -> None:
    stage.step(
        "UPDATE token SET scope = 'hush-hush-42' WHERE id = 2;\n"
        "COPY (SELECT id, scope FROM token WHERE id < 4 ORDER BY id) TO STDOUT (FORMAT csv);\nSELECT 1"
    )
    marks = stage.play()
    assert [(mark.index, mark.rows) for mark in marks if mark.event == "ended"] == [(1, 1), (2, 3), (3, 1), (0, None)]
    assert stage.said()[2:5] == ["1,read", "2,***", "3,read"]


def test_a_copy_that_hands_out_much_is_kept_within_bounds_and_cancelled_at_the_limit(stage) -> None:
    stage.step("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT")
    stage.step("COPY (SELECT pg_sleep(60)) TO STDOUT; SELECT 1", timeout_s=0.5)
    marks = stage.play()
    assert [mark.rows for mark in marks if mark.index and mark.event == "ended"] == [20_000]
    assert (stage.folder / "steps" / "01.log").stat().st_size < 8_000_000
    assert marks[-1].error.endswith("cancelled at the step's limit of 0.5 s")


def test_a_copy_that_cannot_hand_out_fails_in_the_servers_words(stage) -> None:
    stage.step("COPY nowhere TO STDOUT")
    assert stage.play()[-1].error == 'statement 1 (line 1) failed: relation "nowhere" does not exist'


def test_a_failure_names_the_file_that_was_read_in(stage) -> None:
    (stage.folder / "more.sql").write_text("\nSELECT 1/0")
    stage.step("SELECT 1;\n\\i more.sql")
    assert stage.play()[-1].error == "statement 2 (more.sql, line 2) failed: division by zero"


def test_psql_itself_is_a_command_like_any_other(stage, server) -> None:
    (stage.folder / "up.sql").write_text(
        "SHOW application_name;\nUPDATE token SET scope = 'x';\n\\gexec\nSELECT 1/0;\n"
    )
    psql = f"{find_programs() / 'psql'} -X -v ON_ERROR_STOP=1 -d '{server.primary}' -f up.sql"
    stage.step(run=psql)
    stage.step(run=f"{psql} --single-transaction", at_s=None, after_s=0.0)
    marks = stage.play()
    assert events(marks) == [(f"step {n}", 0, event) for n in (1, 2) for event in ("started", "failed")]
    assert "exit code 3: " in marks[1].error
    assert "division by zero" in marks[1].error
    assert "replay step: step 1" in stage.log()
    assert "UPDATE 1000" in stage.said()


def test_rows_that_do_not_fit_fail_the_step(stage, server) -> None:
    stage.step("COPY token FROM stdin;\nnone\tx\n\\.\nSELECT 1")
    marks = stage.play()
    assert events(marks)[-2:] == [("step 1", 1, "failed"), ("step 1", 0, "failed")]
    assert "invalid input syntax" in marks[-1].error
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM token").fetchone() == (1000,)


def test_a_copy_is_cancelled_at_the_limit(stage, server) -> None:
    (stage.folder / "rows.csv").write_text("3001,x\n")
    with server.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE token IN ACCESS EXCLUSIVE MODE")
        stage.step("\\copy token from 'rows.csv' csv", timeout_s=0.5)
        assert stage.play()[-1].error.endswith("cancelled at the step's limit of 0.5 s")


def test_many_rows_are_copied(stage, server) -> None:
    with (stage.folder / "rows.csv").open("w") as file:
        file.writelines(f"{number},scope {number}\n" for number in range(2_000, 300_000))
    stage.step("\\copy token from rows.csv csv")
    assert next(mark for mark in stage.play() if mark.index and mark.event == "ended").rows == 298_000
    with server.connect() as connection:
        assert connection.execute("SELECT count(*), max(id) FROM token").fetchone() == (299_000, 299_999)


def test_an_index_is_built_concurrently_beside_what_psql_does(stage, server) -> None:
    stage.step('\\set name token_scope\nCREATE INDEX CONCURRENTLY :"name" ON token (scope);')
    assert stage.play()[-1].event == "ended"
    with server.connect() as connection, pytest.raises(psycopg.errors.DuplicateTable):
        connection.execute("CREATE INDEX token_scope ON token (id)")


@pytest.mark.parametrize(
    "line",
    [
        "\\connect other",
        "\\c - postgres",
        "\\! rm x",
        "SELECT 'a' \\gexec",
        "SELECT 1 \\g",
        "\\gexec",
        "\\if true",
        "\\d token",
        "\\o file",
        "\\set AUTOCOMMIT off",
        "\\set ON_ERROR_ROLLBACK on",
        "\\set v `date`",
        "\\echo one \\\\ SELECT 2;",
        "\\copy token to 'x.csv'",
        "\\copy token from program 'cat x'",
        "\\copy (select 1 from token) to 'x'",
        "\\copy token from pstdin",
        "\\i",
        "\\set v '\\\\! date'\n:v",
    ],
)
def test_what_only_psql_can_do_is_refused(tmp_path, line: str) -> None:
    with pytest.raises(InputError, match=r"up\.sql, line [23]: a command of psql") as refused:
        texts(f"SELECT 1;\n{line}\nSELECT 2;", tmp_path)
    assert 'run = "psql -f FILE"' in refused.value.hint


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"up.sql": "SELECT 1;\n\\i none.sql"}, r"up\.sql, line 2: there is no file .*none\.sql"),
        ({"up.sql": "\\i up.sql"}, r"up\.sql, line 1: a file would read itself in \(up\.sql > up\.sql\)"),
        ({"up.sql": "\\i a.sql", "a.sql": "\n\\ir ./up.sql"}, r"a\.sql, line 2: .*up\.sql > a\.sql > up\.sql"),
        ({"up.sql": "\\copy t from 'none.csv'"}, r"line 1: there is no file .*none\.csv"),
        ({"up.sql": "\\i a.sql", "a.sql": "SELECT 1;\nSELECT 'x"}, r"a\.sql, line 2: a quote that does not end"),
        ({"up.sql": "COPY t FROM stdin; SELECT 1;\n\\.\n"}, "line 1: what follows COPY FROM stdin on its line"),
        ({"up.sql": "\\echo nothing\n-- at all"}, "holds no statement"),
    ],
)
def test_a_file_is_refused_before_anything_runs(tmp_path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_script(tmp_path / "up.sql", tmp_path)


def test_variables_that_multiply_are_refused(tmp_path) -> None:
    lines = [r"\set a0 'xxxxxxxxxx'", *(rf"\set a{n} ':a{n - 1} :a{n - 1}'" for n in range(1, 40)), "SELECT :a39"]
    with pytest.raises(InputError, match="put in too often"):
        texts("\n".join(lines), tmp_path)


def test_files_that_multiply_are_refused(tmp_path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.sql").write_text(f"\\i {number + 1}.sql\n\\i {number + 1}.sql\n")
    (tmp_path / "30.sql").write_text("SELECT 1")
    with pytest.raises(InputError, match="too many files"):
        read_script(tmp_path / "0.sql", tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="\\setcopyi:v'\"(); \n.-/*$`1", max_size=80))
def test_any_file_is_read_or_refused(tmp_path, sql: str) -> None:
    try:
        found = texts(sql, tmp_path)
    except InputError:
        return
    assert all(found)
