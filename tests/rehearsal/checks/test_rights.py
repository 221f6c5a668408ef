"""Rights in a real PostgreSQL: an owner, a role without any, a primary and its standby."""

from collections.abc import Iterator

import psycopg
import pytest

from replay.rehearsal.checks.check import FAILED, NOT_ASKED, PASSED, PLAN, Check
from replay.rehearsal.checks.rights import check_database
from replay.rehearsal.checks.uses import OTHER, PROBE, QUERY, REPLICA, STEP, Use
from replay.rehearsal.table import Dsn

ROLES = ("app_owner", "app_member", "app_reader", "app_stranger")


@pytest.fixture(scope="module")
def peopled(server) -> Iterator[object]:
    with server.connect() as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute("GRANT app_owner TO app_member; GRANT pg_monitor TO app_reader")
        connection.execute('CREATE SCHEMA app AUTHORIZATION app_owner; CREATE TABLE app."To Ken" (id int)')
        connection.execute("CREATE TABLE app.event (id int PRIMARY KEY)")
        connection.execute('ALTER TABLE app.event OWNER TO app_owner; ALTER TABLE app."To Ken" OWNER TO app_owner')
        connection.execute("GRANT USAGE ON SCHEMA app TO app_reader; GRANT SELECT, INSERT ON app.event TO app_reader")
    yield server
    with server.connect() as connection:
        connection.execute("DROP SCHEMA app CASCADE; DROP ROLE app_owner, app_member, app_reader, app_stranger")


def as_role(dsn: str, role: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, user=role)


def ask(dsn: str, kind: str, *statements: str) -> list[Check]:
    return list(check_database(dsn, [Use("the tested", kind, Dsn(dsn, "${X}"), statements)]))


def rights(dsn: str, kind: str, *statements: str) -> Check:
    first, clock, own = ask(dsn, kind, *statements)
    assert (first.state, clock.state) == (PASSED, PASSED)
    assert own.name == "rights of the tested"
    return own


@pytest.mark.parametrize(
    ("role", "statement", "lacks"),
    [
        ("app_owner", "ALTER TABLE app.event ADD COLUMN x int", ""),
        ("app_member", "ALTER TABLE app.event ADD COLUMN x int", ""),
        ("app_member", 'DROP TABLE app."To Ken"', ""),
        ("tester", "ALTER TABLE app.event ADD COLUMN x int", ""),
        ("app_reader", "ALTER TABLE app.event ADD COLUMN x int", "is not the owner of app.event, who is app_owner"),
        ("app_reader", "CREATE INDEX ON app.event (id)", "is not the owner of app.event, who is app_owner"),
        ("app_reader", "INSERT INTO app.event VALUES (1)", ""),
        ("app_reader", "UPDATE app.event SET id = 1", "may not UPDATE app.event"),
        ("app_reader", "TRUNCATE app.event", "may not TRUNCATE app.event"),
        ("app_reader", "CREATE TABLE app.new (id int)", "may not create in the schema app"),
        ("app_owner", "CREATE TABLE APP.new (id int)", ""),
        ("app_stranger", "CREATE TABLE new (id int)", "may not create in the schema public"),
        ("app_stranger", "DO $$ BEGIN END $$", "may not create in the schema public"),
        ("app_stranger", "SELECT 1", ""),
        ("app_stranger", "ALTER TABLE not_there ADD x int", ""),
        ("app_stranger", "ALTER TABLE app.event.x.y ADD x int", ""),
    ],
)
def test_what_a_step_may(peopled, role: str, statement: str, lacks: str) -> None:
    check = rights(as_role(peopled.primary, role), STEP, statement)
    assert check.state == (FAILED if lacks else PASSED), check
    if lacks:
        assert (check.sentence, check.fault) == (f"{role} {lacks}.", PLAN)
        assert check.figures["lacks"] == [lacks]


def test_all_that_is_lacking_is_told_once(peopled) -> None:
    statements = ["ALTER TABLE app.event ADD x int", "ALTER TABLE app.event DROP x", 'DROP TABLE app."To Ken"']
    check = rights(as_role(peopled.primary, "app_reader"), STEP, *statements)
    assert check.sentence.endswith("and 1 right more.")
    assert len(check.figures["lacks"]) == 2


def test_what_a_step_makes_itself_is_not_asked(peopled) -> None:
    statements = ["CREATE TABLE app.new (id int)", "INSERT INTO app.new VALUES (1)", "ALTER TABLE app.event ADD x int"]
    check = rights(as_role(peopled.primary, "app_owner"), STEP, *statements)
    assert check.state == PASSED
    assert check.figures == {"relations": ["app", "app.event"], "not there yet": ["app.new"]}


def test_what_is_not_there_and_nobody_makes_is_named(peopled) -> None:
    own = ("ALTER TABLE app.new ADD x int", "ALTER TABLE app.gone ADD x int")

    def hint(before: tuple[str, ...] | None) -> str:
        use = Use("the tested", STEP, Dsn(as_role(peopled.primary, "app_owner"), "${X}"), own, before)
        return [check.hint for check in check_database(use.dsn.value, [use])][-1]

    assert hint(("CREATE TABLE app.new (id int)",)).startswith("app.gone: not there, and no statement makes it. ")
    assert hint(None) == "app.gone, app.new: not there yet, so not asked.", "a command may make it"


def test_a_step_that_changes_its_role_is_not_asked(peopled) -> None:
    check = rights(as_role(peopled.primary, "app_stranger"), STEP, "SET ROLE app_owner", "DROP TABLE app.event")
    assert check.state == NOT_ASKED


def test_nothing_of_a_step_is_done(peopled) -> None:
    rights(peopled.primary, STEP, "DROP TABLE app.event", "CREATE TABLE made (id int)")
    with peopled.connect() as connection:
        assert connection.execute("SELECT to_regclass('app.event'), to_regclass('made')").fetchone() == (
            "app.event",
            None,
        )


@pytest.mark.parametrize(("role", "state"), [("app_reader", PASSED), ("tester", PASSED), ("app_stranger", FAILED)])
def test_what_a_probe_may_see(peopled, role: str, state: str) -> None:
    check = rights(as_role(peopled.primary, role), PROBE)
    assert check.state == state
    if state == FAILED:
        assert (check.hint, check.fault) == (f"GRANT pg_monitor TO {role}", PLAN)
    else:
        assert "Without the extension pg_stat_statements" in check.hint


@pytest.mark.parametrize(
    ("kind", "standby", "said"),
    [
        (STEP, True, "It goes to a replica, and needs a primary."),
        (PROBE, True, "It goes to a replica, and needs a primary."),
        (REPLICA, False, "It goes to a primary, and needs a replica."),
        (REPLICA, True, ""),
        (PROBE, False, ""),
    ],
)
def test_primaries_and_replicas(server, kind: str, standby: bool, said: str) -> None:
    check = rights(server.replica if standby else server.primary, kind)
    assert check.state == (FAILED if said else PASSED)
    assert check.sentence == said or not said


@pytest.mark.parametrize("kind", [QUERY, OTHER])
def test_of_a_query_only_the_connection_is_asked(server, kind: str) -> None:
    assert [check.state for check in ask(server.primary, kind)] == [PASSED, PASSED]


def test_a_database_that_is_not_reached_is_no_fault() -> None:
    (check,) = ask("host=127.0.0.1 port=1 user=x password=hush-hush-42", STEP, "SELECT 1")
    assert (check.state, check.fault) == (NOT_ASKED, "")
    assert "where the tested would go" in check.sentence
    assert "hush" not in repr(check)
    (check,) = ask("host=/nowhere dbname=x", STEP)
    assert check.state == NOT_ASKED


def test_a_server_that_refuses_is_the_plan_s_fault(server) -> None:
    for wrong in ({"user": "nobody_of_that_name"}, {"dbname": "no_such_database"}):
        (check,) = ask(psycopg.conninfo.make_conninfo(server.primary, **wrong, password="hush-hush-42"), STEP)
        assert (check.state, check.fault) == (FAILED, PLAN)
        assert "does not exist" in check.sentence
        assert "hush" not in repr(check)


def test_several_users_of_one_database(server) -> None:
    uses = [Use("the step 'a'", STEP, Dsn(server.primary, "x")), Use("the probe 'b'", PROBE, Dsn(server.primary, "x"))]
    first, _, step, probe = check_database(server.primary, uses)
    assert first.sentence.endswith("a primary, for the step 'a', the probe 'b'.")
    assert (step.name, probe.name) == ("rights of the step 'a'", "rights of the probe 'b'")
