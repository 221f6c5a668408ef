"""What looks like production is refused before anything is touched."""

import pytest

from replay.errors import PlanError, Refused
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.target import NOT_PRODUCTION


def check(setting):
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


@pytest.mark.parametrize(
    "host", ["prod.example.test", "api.prod-eu.example.test", "eu-PROD.example.test", "production", "db-production-1"]
)
def test_a_target_with_such_a_name(setting, host) -> None:
    setting.values["target"] |= {"url": f"http://{host}", "allow": [host, "127.0.0.1"]}
    with pytest.raises(Refused, match=f"The target's host {host.lower()}, which looks like production"):
        check(setting)
    setting.values["target"]["not_production"] = NOT_PRODUCTION
    assert check(setting).arms


@pytest.mark.parametrize("host", ["products.example.test", "stage.example.test", "reproduction.example.test"])
def test_a_target_with_another_name(setting, host) -> None:
    setting.values["target"] |= {"url": f"http://{host}", "allow": [host, "127.0.0.1"]}
    assert check(setting).arms


def test_a_database_with_such_a_name(setting) -> None:
    setting.environment["STAGE_DSN"] += " dbname=shop_live"
    assert check(setting).arms
    setting.values["target"]["production"] = ["*_live"]
    with pytest.raises(Refused, match="The step 'migrate' goes to the database shop_live"):
        check(setting)


def test_the_word_that_overrides_is_a_sentence(setting) -> None:
    setting.values["target"]["not_production"] = "yes"
    with pytest.raises(PlanError, match="must be one of I have looked"):
        check(setting)


def test_a_database_with_the_marker_is_refused_before_the_reset(playable, server, api) -> None:
    with server.connect() as connection:
        connection.execute("CREATE SCHEMA about; CREATE TABLE about.replay_production ()")
        try:
            with pytest.raises(Refused, match="holds the table replay_production"):
                conduct(check(playable), playable.out)
        finally:
            connection.execute("DROP SCHEMA about CASCADE")
    assert not playable.was_reset
    assert not api.asked
