"""What looks like production is refused before anything is touched."""

from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from replay.demo.postgres import find_programs
from replay.errors import ExitCode, PlanError, Refused, StageError
from replay.rehearsal import production
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.target import NOT_PRODUCTION

from .clusters import running
from .mariadb import MariaDB, servers


def check(setting):
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


@pytest.mark.parametrize(
    "host",
    [
        *("prod.example.test", "api.prod-eu.example.test", "eu-PROD.example.test", "production", "db-production-1"),
        *("prd.example.test", "api_prod.example.test", "live-eu.example.test", "use1-prod01.example.test"),
    ],
)
def test_a_target_with_such_a_name(setting, host) -> None:
    setting.values["target"] |= {"url": f"http://{host}", "allow": [host, "127.0.0.1"]}
    with pytest.raises(Refused, match=f"The target's host {host.lower()}, which looks like production"):
        check(setting)
    setting.values["target"]["not_production"] = NOT_PRODUCTION
    assert check(setting).arms


@pytest.mark.parametrize(
    "host",
    [
        *("products.example.test", "stage.example.test", "reproduction.example.test", "preprod.example.test"),
        *("pre-production-2.example.test", "api-nonprod.example.test", "stage.example.live"),
    ],
)
def test_a_target_with_another_name(setting, host) -> None:
    setting.values["target"] |= {"url": f"http://{host}", "allow": [host, "127.0.0.1"]}
    assert check(setting).arms


@pytest.mark.parametrize("name", ["shop_production", "app_prod", "shop-prd", "prd", "live"])
def test_a_database_with_such_a_name(setting, name: str) -> None:
    setting.environment["STAGE_DSN"] += f" dbname={name}"
    with pytest.raises(Refused, match=f"The step 'migrate' goes to the database {name}, which looks like production"):
        check(setting)


def test_a_database_with_a_name_of_the_plan_s_own(setting) -> None:
    setting.environment["STAGE_DSN"] += " dbname=shop_real"
    assert check(setting).arms
    setting.values["target"]["production"] = ["*_real"]
    with pytest.raises(Refused, match="The step 'migrate' goes to the database shop_real"):
        check(setting)


def test_the_word_that_overrides_is_a_sentence(setting) -> None:
    setting.values["target"]["not_production"] = "yes"
    with pytest.raises(PlanError, match="must be one of I have looked"):
        check(setting)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PGDATABASE", "shop_production", "goes to the database shop_production"),
        ("PGHOST", "db-prod.example.test", "goes to the host db-prod.example.test"),
        ("PGHOSTADDR", "127.0.0.1", ""),
        ("PGUSER", "prod", "goes to the database prod"),  # whose name is the user's where nobody gives one
    ],
)
def test_names_that_the_environment_fills_in(setting, monkeypatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    setting.environment["STAGE_DSN"] = "port=1" if variable == "PGHOST" else "host=127.0.0.1 port=1"
    setting.values["target"]["allow"] = ["127.0.0.1", value]
    if not said:
        assert check(setting).arms
        return
    with pytest.raises(Refused, match=f"The step 'migrate' {said}, which looks like production"):
        check(setting)


def test_a_dsn_may_say_otherwise_than_the_environment(setting, monkeypatch) -> None:
    monkeypatch.setenv("PGDATABASE", "shop_production")
    setting.environment["STAGE_DSN"] = "host=127.0.0.1 port=1 dbname=shop_stage"
    assert check(setting).arms


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PGHOST": "prod-db.example.test"}, "The reset goes to the host prod-db.example.test"),
        ({"PGDATABASE": "shop_production"}, "The reset goes to the database shop_production"),
        ({"PGSERVICE": "production"}, "The reset goes to the database production"),
        ({"URL": "postgresql+psycopg://me:x@db.test:5432/shop_prod?x=1"}, "The reset goes to the database shop_prod"),
        ({"URL": "mysql://me:x@live-db.test/shop?charset=utf8mb4"}, "The reset goes to the host live-db.test"),
        ({"DSN": "host=db.test dbname='shop_prd'"}, "The reset goes to the database shop_prd"),
        ({"DATABASE_URL": "mysql2://me@shop-prod.test/shop"}, "The reset goes to the host shop-prod.test"),
        ({"DB_HOST": "shop-prod.test"}, "The reset goes to the host shop-prod.test"),
    ],
)
def test_names_in_what_commands_are_given(setting, given: dict[str, str], said: str) -> None:
    setting.values["rehearsal.environment"] = given
    with pytest.raises(Refused, match=f"{said}, which looks like production"):
        check(setting)


@pytest.mark.parametrize("place", ["/cloudsql/shop:europe-west1:prod-db", "/srv/production/sockets", "@live"])
def test_a_socket_with_such_a_name(setting, place: str) -> None:
    setting.environment["STAGE_DSN"] = f"host={place}"
    setting.values["target"]["allow"] = ["127.0.0.1", "localhost"]
    with pytest.raises(Refused, match=f"The step 'migrate' goes to the host {place}, which looks like production"):
        check(setting)


@pytest.mark.parametrize("allowed", ["localhost", "LOCALHOST.", "localhost:5432", "[::1]:5432"])
def test_a_socket_is_this_machine_however_that_is_allowed(setting, allowed: str) -> None:
    setting.environment["STAGE_DSN"] = "host=/var/run/postgresql"
    setting.values["target"] |= {"url": "http://stage.test", "allow": ["stage.test", allowed]}
    assert check(setting).arms
    setting.values["target"]["allow"] = ["stage.test"]
    with pytest.raises(Refused, match="would go to a database on this machine"):
        check(setting)


def test_names_in_a_command_of_a_shell(setting) -> None:
    words = "sh -c 'psql -h db.test \"dbname=shop_prod\"'"
    setting.values["steps"] = [{"name": "up", "kind": "migrate", "at": "1s", "run": words}]
    with pytest.raises(Refused, match="The step 'up' goes to the database shop_prod"):
        check(setting)


def test_names_in_the_words_of_a_command(setting) -> None:
    words = "sh -c 'psql \"postgresql://me@[2001:db8::7]:5432/shop_production\" -f up.sql'"
    setting.values["steps"] = [{"name": "up", "kind": "migrate", "at": "1s", "run": words}]
    with pytest.raises(Refused, match="The step 'up' goes to the database shop_production"):
        check(setting)
    setting.values["steps"][0]["run"] = words.replace("production", "stage")
    assert check(setting).arms


@pytest.mark.parametrize("at", ["host=api.example.test port=1", "host=API.example.test.", "hostaddr=192.0.2.7 port=1"])
def test_a_dsn_at_a_host_of_a_production_capture(setting, at: str) -> None:
    host = at.partition("=")[2].partition(" ")[0]
    setting.environment["STAGE_DSN"] = f"{at} user=tester"
    setting.values["target"]["allow"] = ["127.0.0.1", host]
    capture = setting.folder / "production" / "capture.json"
    capture.write_text(capture.read_text().replace('"api.example.test:443"', '"api.example.test:443", "192.0.2.7"'))
    with pytest.raises(Refused, match=f"The step 'migrate' goes to the host {host}, which is one of a production cap"):
        check(setting)
    setting.values["target"]["not_production"] = NOT_PRODUCTION  # the capture knows better
    with pytest.raises(Refused, match="which is one of a production capture"):
        check(setting)


def test_a_mysql_dsn_at_a_host_of_a_production_capture(setting) -> None:
    setting.values["probes.shop"] = {"kind": "mysql", "dsn": "mysql://me:x@api.example.test/shop"}
    setting.values["target"]["allow"] = ["127.0.0.1", "api.example.test"]
    with pytest.raises(Refused, match=r"The probe 'shop' goes to the host api\.example\.test, which is one of"):
        check(setting)


def test_a_reset_at_a_host_of_a_production_capture(setting) -> None:
    setting.values["rehearsal.environment"] = {"SOURCE": "postgresql://me@api.example.test/shop"}
    with pytest.raises(Refused, match=r"The reset goes to the host api\.example\.test, which is one of"):
        check(setting)


def test_a_host_of_a_capture_of_another_environment(setting) -> None:
    setting.environment["STAGE_DSN"] = "host=qa.example.test"
    setting.values["target"]["allow"] = ["127.0.0.1", "qa.example.test"]
    assert check(setting).arms


def test_a_mysql_database_with_such_a_name(setting) -> None:
    setting.values["probes.shop"] = {"kind": "mysql", "dsn": "mysql://me:x@127.0.0.1:1/shop_production"}
    with pytest.raises(Refused, match="The probe 'shop' goes to the database shop_production, which looks like prod"):
        check(setting)
    setting.values["probes.shop"]["dsn"] = "mysql://me:x@127.0.0.1:1/shop"
    assert check(setting).arms


HOLDS = "holds the table replay_production"


@contextmanager
def marked(server, made: str, undone: str):
    """The server's database, marked as production's for a time."""
    with server.connect() as connection:
        connection.execute(made)
        try:
            yield
        finally:
            connection.execute(undone)


def test_a_database_with_the_marker_is_refused_before_the_reset(playable, server, api) -> None:
    made = "CREATE SCHEMA about; CREATE TABLE about.replay_production ()"
    with marked(server, made, "DROP SCHEMA about CASCADE"), pytest.raises(Refused, match=HOLDS):
        conduct(check(playable), playable.out)
    assert not playable.was_reset
    assert not api.asked


@pytest.mark.parametrize("changed", [{"port": "1"}, {"user": "nobody_there"}])
def test_a_database_that_cannot_be_asked_is_refused_before_the_reset(playable, server, api, changed) -> None:
    playable.environment["STAGE_DSN"] = make_conninfo(server.primary, **changed)
    with pytest.raises(StageError, match="The step 'migrate' goes to a database of which nobody knows") as raised:
        conduct(check(playable), playable.out)
    assert raised.value.exit_code == ExitCode.BROKEN
    assert "see that it runs" in raised.value.hint
    assert not playable.was_reset
    assert not api.asked


def test_the_marker_outweighs_a_database_that_cannot_be_asked(playable, server) -> None:
    playable.values["probes.database"]["dsn"] = make_conninfo(server.primary, port="1")
    made = "CREATE TABLE replay_production ()"
    with marked(server, made, "DROP TABLE replay_production"), pytest.raises(Refused, match=HOLDS):
        conduct(check(playable), playable.out)


def both_hosts(first: str, second: str) -> str:
    """A connection string that names two servers, of which the client takes the first that answers."""
    values = [conninfo_to_dict(one) for one in (first, second)]
    return make_conninfo(first, **{key: ",".join(str(one[key]) for one in values) for key in ("host", "port")})


def test_of_several_hosts_each_is_asked_for_the_marker(playable, server) -> None:
    with running(find_programs(), {}) as other:
        with other.connect() as connection:
            connection.execute("CREATE TABLE replay_production ()")
        playable.environment["STAGE_DSN"] = both_hosts(server.primary, other.primary)
        outline = check(playable)
        with pytest.raises(Refused, match=HOLDS):
            conduct(outline, playable.out)
    with pytest.raises(StageError, match="goes to a database of which nobody knows"):  # it is gone
        conduct(outline, playable.folder / "again")
    assert not playable.was_reset


def test_a_database_that_never_answers_the_question(playable, monkeypatch) -> None:
    monkeypatch.setattr(production, "_ANSWER_LIMIT_S", 0.5)
    monkeypatch.setattr(production, "_MARKED", "SELECT pg_sleep(60), %s::text")
    with pytest.raises(StageError, match=r"nobody knows whether it is production's: no answer within 0\.5 s"):
        conduct(check(playable), playable.out)
    assert not playable.was_reset


def test_a_database_that_the_reset_makes(playable, server) -> None:
    made = make_conninfo(server.primary, dbname="not yet")
    playable.environment["STAGE_DSN"] = made
    playable.values["steps"] = []
    playable.values["target"]["reset"] = playable.program(
        "reset", "echo reset >> was-reset; exit 7"
    )  # as far as it comes
    with pytest.raises(StageError, match="Stage's reset failed"):
        conduct(check(playable), playable.out)
    assert playable.was_reset == 1
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(made)


@pytest.fixture(scope="module")
def maria():
    with servers(()) as (server,):
        yield server


@pytest.fixture
def beside_maria(playable, maria: MariaDB):
    playable.values["probes.shop"] = {"kind": "mysql", "dsn": maria.dsn()}
    playable.values["target"]["reset"] = playable.program("reset", "echo reset >> was-reset; exit 7")
    return playable


def test_a_mariadb_with_the_marker_is_refused_before_the_reset(beside_maria, maria: MariaDB, api) -> None:
    # In another database than the probe's, and the probe's user has no right to the table.
    maria.run("CREATE DATABASE about", "CREATE TABLE about.replay_production (marked int)")
    try:
        with pytest.raises(Refused, match="The probe 'shop' goes to a database that holds the table replay_production"):
            conduct(check(beside_maria), beside_maria.out)
    finally:
        maria.run("DROP DATABASE about")
    assert not beside_maria.was_reset
    assert not api.asked


@pytest.mark.parametrize("engine", ["InnoDB", "Aria"])
def test_a_user_who_sees_the_marker_alone_is_enough(beside_maria, maria: MariaDB, engine: str) -> None:
    maria.run(
        f"CREATE TABLE shop.replay_production (marked int) ENGINE = {engine}",
        "CREATE USER stranger@'%' IDENTIFIED BY 'hush-42'",
        "GRANT SELECT ON shop.replay_production TO stranger@'%'",
    )
    beside_maria.values["probes.shop"]["dsn"] = maria.dsn("stranger", "hush-42")
    try:
        with pytest.raises(Refused, match="holds the table replay_production"):
            conduct(check(beside_maria), beside_maria.out)
    finally:
        maria.run("DROP TABLE shop.replay_production", "DROP USER stranger@'%'")


def test_a_mariadb_without_the_marker(beside_maria, maria: MariaDB) -> None:
    # Its database need not be there: the reset may be what makes it.
    beside_maria.values["probes.shop"]["dsn"] = maria.dsn().replace("/shop", "/not_yet")
    with pytest.raises(StageError, match="Stage's reset failed"):
        conduct(check(beside_maria), beside_maria.out)
    assert beside_maria.was_reset == 1


@pytest.mark.parametrize("wrong", [":1/shop", "wrong-password"])
def test_a_mariadb_that_cannot_be_asked_is_refused_before_the_reset(beside_maria, maria: MariaDB, wrong: str) -> None:
    dsn = maria.dsn(password=wrong) if wrong == "wrong-password" else maria.dsn().partition(f":{maria.port}")[0] + wrong
    beside_maria.values["probes.shop"]["dsn"] = dsn
    with pytest.raises(StageError, match="The probe 'shop' goes to a database of which nobody knows") as raised:
        conduct(check(beside_maria), beside_maria.out)
    assert wrong not in f"{raised.value.message} {raised.value.hint}" or wrong == ":1/shop"
    assert not beside_maria.was_reset
