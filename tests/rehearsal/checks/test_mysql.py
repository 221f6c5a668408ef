"""Rights in a real MariaDB."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from replay.rehearsal.checks.check import FAILED, NOT_ASKED, PASSED, PLAN
from replay.rehearsal.checks.mysql import check_mysql
from replay.rehearsal.probes.mysql.plan import MysqlProbePlan, read_mysql
from replay.rehearsal.table import Surroundings, Table

from ..mariadb import MariaDB, servers  # noqa: TID252 - tests are no package


def probe(dsn: str, *replicas: str) -> MysqlProbePlan:
    table = Table("[probes.shop]", {"dsn": dsn, "replicas": list(replicas)}, Surroundings(Path("plan.toml"), {}))
    return read_mysql("shop", table)


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with servers(("--performance-schema=ON",)) as (server,):
        server.run("CREATE USER stranger@'%' IDENTIFIED BY 'hush-42'", "GRANT SELECT ON shop.* TO stranger@'%'")
        yield server


def test_a_user_who_may_see(maria: MariaDB) -> None:
    first, clock, rights, tables = check_mysql(probe(maria.dsn()))
    assert [first.state, clock.state, rights.state, tables.state] == [PASSED] * 4
    assert "MariaDB" in first.sentence
    assert tables.sentence == "1 can be compared before and after an arm."
    assert (tables.hint, tables.figures["counts"]) == ("", True)


def test_a_user_who_may_not(maria: MariaDB) -> None:
    _, _, rights, tables = check_mysql(probe(maria.dsn("stranger", "hush-42")))
    assert (rights.state, rights.fault) == (FAILED, PLAN)
    assert "GRANT PROCESS ON *.* TO 'stranger'@'%'" in rights.hint
    assert (tables.state, tables.figures["counts"]) == (PASSED, False)
    assert "userstat" in tables.hint


def test_a_table_that_the_user_may_not_read(maria: MariaDB) -> None:
    maria.run(
        "CREATE USER half@'%' IDENTIFIED BY 'hush-42'",
        "GRANT PROCESS ON *.* TO half@'%'",
        "GRANT SELECT ON shop.token TO half@'%'",
        "CREATE TABLE shop.safe (id int)",
    )
    try:
        tables = list(check_mysql(probe(maria.dsn("half", "hush-42"))))[-1]
    finally:
        maria.run("DROP TABLE shop.safe")
    assert (tables.state, tables.fault) == (FAILED, PLAN)
    assert tables.sentence == "safe cannot be compared before and after an arm."
    assert tables.hint.endswith("GRANT SELECT ON `shop`.* TO 'half'@'%'")


def test_a_wrong_password(maria: MariaDB) -> None:
    (check,) = check_mysql(probe(maria.dsn(password="wrong-hush")))
    assert (check.state, check.fault) == (FAILED, PLAN)
    assert "wrong-hush" not in repr(check)


def test_no_replica_and_nobody(maria: MariaDB) -> None:
    checks = list(check_mysql(probe(maria.dsn(), maria.dsn(), "mysql://u:p@127.0.0.1:1/x")))
    assert [check.state for check in checks[-2:]] == [FAILED, NOT_ASKED]
    assert "needs to be a replica" in checks[-2].sentence
