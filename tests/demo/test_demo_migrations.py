import threading
from importlib.resources import files

import psycopg
import pytest

from replay.demo.identities import Integration
from replay.demo.stage import Stage
from replay.rehearsal.steps.sql import split_statements

from .conftest import Api

CATALOG = """
SELECT 'column', table_name, column_name, data_type || is_nullable || coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', '', proname, '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1, 2, 3, 4
"""


def run(stage: Stage, name: str) -> None:
    """Statement by statement in one session, as a step does."""
    text = (files("replay.demo") / "migrations" / name).read_text()
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        for statement in split_statements(text, name):
            connection.execute(statement.text)


def catalog(database: psycopg.Connection) -> list[tuple[object, ...]]:
    return database.execute(CATALOG).fetchall()


def scopes(database: psycopg.Connection) -> dict[str, int]:
    return dict(database.execute("SELECT scope, count(*) FROM access_tokens GROUP BY 1").fetchall())


@pytest.fixture
def by_device(database: psycopg.Connection) -> dict[str, int]:
    """How many tokens each scope is to have, before the migration."""
    found = database.execute("SELECT count(*), count(device) FROM access_tokens").fetchone()
    assert found is not None
    return {"full": found[0] - found[1], "check-in": found[1]}


def test_unsafe_gives_every_token_its_scope(
    fresh_stage: Stage, api: Api, database: psycopg.Connection, scanner: Integration, by_device: dict[str, int]
) -> None:
    assert by_device["check-in"] > 100
    run(fresh_stage, "unsafe/0042_token_scopes.sql")
    assert scopes(database) == by_device
    api.log_in(scanner, device="new door")
    api.log_in(scanner)
    assert scopes(database) == {"full": by_device["full"] + 1, "check-in": by_device["check-in"] + 1}


def test_unsafe_rewrites_all_tokens_of_an_integration_at_each_login(
    fresh_stage: Stage, api: Api, database: psycopg.Connection, scanner: Integration
) -> None:
    run(fresh_stage, "unsafe/0042_token_scopes.sql")
    (before,) = database.execute("SELECT max(xmin::text::bigint) FROM access_tokens").fetchone() or (0,)
    api.log_in(scanner)
    written = "SELECT count(*) FROM access_tokens WHERE xmin::text::bigint > %s AND integration_id = %s"
    of_it = "SELECT count(*) FROM access_tokens WHERE integration_id = %s"
    assert (
        database.execute(written, [before, scanner.number]).fetchone()
        == database.execute(of_it, [scanner.number]).fetchone()
    )


def test_unsafe_data_rolls_back_where_nobody_logs_in_with_a_device(
    fresh_stage: Stage, api: Api, database: psycopg.Connection, suite: Integration
) -> None:
    run(fresh_stage, "unsafe/0042_token_scopes.sql")
    api.log_in(suite)
    run(fresh_stage, "unsafe/rollback_data.sql")
    assert set(scopes(database)) == {"full"}


def test_unsafe_data_does_not_roll_back_once_a_device_has_logged_in(
    fresh_stage: Stage, api: Api, database: psycopg.Connection, scanner: Integration
) -> None:
    run(fresh_stage, "unsafe/0042_token_scopes.sql")
    api.log_in(scanner, device="new door")
    before = scopes(database)
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="access_tokens"):
        run(fresh_stage, "unsafe/rollback_data.sql")
    assert scopes(database) == before


def test_revert_restores_the_schema_after_a_failed_rollback(
    fresh_stage: Stage, api: Api, database: psycopg.Connection, scanner: Integration
) -> None:
    before = catalog(database)
    run(fresh_stage, "unsafe/0042_token_scopes.sql")
    assert catalog(database) != before
    api.log_in(scanner, device="new door")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        run(fresh_stage, "unsafe/rollback_data.sql")
    run(fresh_stage, "unsafe/revert.sql")
    assert catalog(database) == before
    assert api.get("/v1/events/1", api.log_in(scanner, device="new door")).status == 200


def test_safe_reaches_the_same_data_and_rolls_back(
    fresh_stage: Stage, api: Api, database: psycopg.Connection, scanner: Integration, by_device: dict[str, int]
) -> None:
    before = catalog(database)
    run(fresh_stage, "safe/0042_token_scopes.sql")
    assert scopes(database) == by_device
    api.log_in(scanner, device="new door")
    assert scopes(database) == by_device | {"check-in": by_device["check-in"] + 1}
    (validated,) = database.execute(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'access_tokens_scope_fkey'"
    ).fetchone() or (False,)
    assert validated
    run(fresh_stage, "safe/rollback.sql")
    assert catalog(database) == before


def test_safe_waits_for_a_reader_without_holding_others_up(fresh_stage: Stage, api: Api, scanner: Integration) -> None:
    """While a transaction holds the token table, as an export does, the API goes on answering."""
    token = api.log_in(scanner)
    with psycopg.connect(fresh_stage.dsn) as reading:
        reading.execute("SELECT count(*) FROM access_tokens")
        migration = threading.Thread(target=run, args=(fresh_stage, "safe/0042_token_scopes.sql"))
        migration.start()
        try:
            answers = [api.get("/v1/events/1", token) for _ in range(40)] + [api.token(scanner) for _ in range(20)]
            assert migration.is_alive()
        finally:
            reading.rollback()
            migration.join(60)
    assert not migration.is_alive()
    assert all(answer.status == 200 and answer.body for answer in answers)
    run(fresh_stage, "safe/rollback.sql")
