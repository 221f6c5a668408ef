"""What an SQL file needs to be allowed, from its statements alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.rehearsal.checks.needs import CREATE, OWN, Need, made_by_none, needs_of


@pytest.mark.parametrize(
    ("statement", "needs"),
    [
        ("ALTER TABLE token ADD COLUMN x int", [(OWN, "token")]),
        ("alter  table\nif exists only app . token rename to y", [(OWN, "app.token")]),
        ('ALTER TABLE "To Ken" DROP COLUMN x', [(OWN, '"To Ken"')]),
        ('ALTER TABLE app."a.b" DROP COLUMN x', [(OWN, 'app."a.b"')]),
        ("DROP TABLE IF EXISTS a, app.b CASCADE", [(OWN, "a"), (OWN, "app.b")]),
        ("DROP INDEX CONCURRENTLY i", [(OWN, "i")]),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON app.t (x)", [(OWN, "app.t")]),
        ("CREATE INDEX ON t USING gin (x)", [(OWN, "t")]),
        ("/* why */ REINDEX TABLE CONCURRENTLY t", [(OWN, "t")]),
        ("REINDEX (VERBOSE) INDEX i", [(OWN, "i")]),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", [(OWN, "v")]),
        ("COMMENT ON TABLE t IS 'ALTER TABLE z'", [(OWN, "t")]),
        ("CREATE TABLE IF NOT EXISTS app.x (id int)", [(CREATE, "app")]),
        ("CREATE UNLOGGED TABLE x AS SELECT 1", [(CREATE, "")]),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql", [(CREATE, "")]),
        ("UPDATE ONLY t SET x = 1", [("UPDATE", "t")]),
        ("INSERT INTO app.t (x) VALUES (1)", [("INSERT", "app.t")]),
        ("DELETE FROM t", [("DELETE", "t")]),
        ("TRUNCATE a, b", [("TRUNCATE", "a"), ("TRUNCATE", "b")]),
        ("COPY t (a, b) FROM STDIN", [("INSERT", "t")]),
        ("SELECT 1", []),
        ("BEGIN", []),
        ("SET lock_timeout = '1s'", []),
    ],
)
def test_statements(statement: str, needs: list[tuple[str, str]]) -> None:
    found = needs_of([statement])
    assert found.needs == tuple(Need(*need) for need in needs)
    assert (found.untold, found.roles) == (0, False)


@pytest.mark.parametrize(
    "statement",
    ["DO $$ BEGIN PERFORM 1; END $$", "GRANT SELECT ON t TO x", "WITH a AS (SELECT 1) DELETE FROM t", "CALL f()"],
)
def test_what_does_not_tell(statement: str) -> None:
    assert needs_of([statement]).untold == 1


@pytest.mark.parametrize("statement", ["SET ROLE owner", "SET LOCAL ROLE x", "SET SESSION AUTHORIZATION x"])
def test_a_change_of_role(statement: str) -> None:
    assert needs_of([statement, "ALTER TABLE t ADD x int"]).roles


@given(st.lists(st.text("ALTER TABLEONDROPcreate indx.\",()'/*-$\n", max_size=60), max_size=5))
def test_no_text_is_too_odd(statements: list[str]) -> None:
    needs_of(statements)


@pytest.mark.parametrize(
    ("statements", "lost"),
    [
        (["ALTER TABLE nowhere ADD x int"], ["nowhere"]),
        (["CREATE TABLE app.nowhere (id int)", "ALTER TABLE app.nowhere ADD x int"], []),
        (["ALTER TABLE t RENAME TO nowhere", "DROP TABLE nowhere"], []),
        (["CREATE TABLE no (id serial)", "ALTER SEQUENCE nowhere", "ALTER SEQUENCE no_id_seq CYCLE"], ["nowhere"]),
        (["DROP TABLE IF EXISTS nowhere"], []),
        (["SELECT make_partition('nowhere')", "DROP TABLE nowhere"], []),
        (["SET search_path = app", "DROP TABLE nowhere"], []),
        (["-- CREATE TABLE nowhere", "DROP TABLE nowhere"], ["nowhere"]),
    ],
)
def test_what_no_statement_makes(statements: list[str], lost: list[str]) -> None:
    names = [need.name for need in needs_of(statements).needs if need.right == OWN and need.name != "t"]
    assert made_by_none(dict.fromkeys(names), statements) == lost
