"""What a MySQL or MariaDB database holds, compared before and after, on a real MariaDB."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterator

import pytest

from replay.errors import StageError
from replay.rehearsal.databases.arm import _changes
from replay.rehearsal.databases.database import TROUBLE
from replay.rehearsal.databases.fingerprint import Fingerprint, fingerprint
from replay.rehearsal.databases.mysql import MysqlDatabase
from replay.rehearsal.databases.mysql_schema import parts_of
from replay.rehearsal.databases.tables import TableCount, count_tables
from replay.rehearsal.probes.mysql.source import parse_address

from .mariadb import MariaDB, send, servers

PACKET = 1 << 20
_VISIT = (
    "CREATE TABLE shop.visit (token int, at datetime, KEY of (token), "
    "CONSTRAINT of FOREIGN KEY (token) REFERENCES shop.token (id), CONSTRAINT late CHECK (at > '2000-01-01'))"
)
_DAY = (
    "CREATE TABLE shop.day (id int, seen int AS (id + 1), kept int AS (id * 2) STORED) "
    "PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN (20))"
)
SHOP = (
    "SET SESSION foreign_key_checks = 0",
    "CREATE OR REPLACE DATABASE shop",
    "CREATE TABLE shop.token (id int PRIMARY KEY AUTO_INCREMENT, scope varchar(200))",
    "INSERT INTO shop.token (scope) SELECT CONCAT('read ', seq % 7) FROM shop.seq_1_to_1000",
    _VISIT,
    _DAY,
    "INSERT INTO shop.day (id) SELECT seq FROM shop.seq_0_to_19",
    "CREATE VIEW shop.reader AS SELECT id FROM shop.token WHERE scope = 'read 1'",
    "CREATE FUNCTION shop.next_of(n int) RETURNS int DETERMINISTIC RETURN n + 1",
    "CREATE TRIGGER shop.dated BEFORE INSERT ON shop.visit FOR EACH ROW SET NEW.at = NOW()",
)


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with servers((f"--max-allowed-packet={PACKET}",)) as (server,):
        server.run("GRANT SELECT, SHOW VIEW, TRIGGER ON shop.* TO watcher@'%'")
        yield server


@pytest.fixture
def shop(maria: MariaDB) -> MariaDB:
    maria.run(*SHOP)
    return maria


def database(server: MariaDB, dsn: str = "") -> MysqlDatabase:
    return MysqlDatabase(parse_address(dsn or server.dsn()))


def everything(server: MariaDB, dsn: str = "", limit_s: float = 10.0) -> dict[str, TableCount]:
    with database(server, dsn).read(limit_s) as reading:
        return count_tables(reading, (), others=True, quick=False, until=time.monotonic() + limit_s)


def schema(server: MariaDB) -> frozenset[tuple[str, str, str]]:
    with database(server).read(10) as reading:
        return frozenset(reading.schema())


def seen(server: MariaDB) -> tuple[Fingerprint, dict[str, TableCount]]:
    return fingerprint(database(server)), everything(server)


# The schema


def test_what_was_put_back_is_the_same(shop) -> None:
    """Rows in another order and a higher counter, a column that came back elsewhere, an index that was rebuilt."""
    before = seen(shop)
    shop.run(
        "ALTER TABLE shop.visit DROP FOREIGN KEY of",
        "CREATE TABLE shop.copy AS SELECT * FROM shop.token",
        "DELETE FROM shop.token",
        "INSERT INTO shop.token (scope) VALUES ('more')",
        "DELETE FROM shop.token",
        "INSERT INTO shop.token SELECT * FROM shop.copy ORDER BY id DESC",
        "DROP TABLE shop.copy",
        "ALTER TABLE shop.token ADD COLUMN was varchar(200)",
        "UPDATE shop.token SET was = scope",
        "ALTER TABLE shop.token DROP COLUMN scope, CHANGE was scope varchar(200) FIRST",
        "ALTER TABLE shop.visit DROP KEY of",
        "ALTER TABLE shop.visit ADD CONSTRAINT of FOREIGN KEY (token) REFERENCES shop.token (id)",
    )
    assert seen(shop) == before


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("ALTER TABLE token ADD COLUMN added int", ["column token.added came"]),
        ("ALTER TABLE token MODIFY scope varchar(300)", ["column token.scope changed"]),
        ("ALTER TABLE token ALTER scope SET DEFAULT 'x'", ["column token.scope changed"]),
        ("ALTER TABLE token MODIFY scope varchar(200) COLLATE latin1_bin", ["column token.scope changed"]),
        ("ALTER TABLE day DROP COLUMN kept", ["column day.kept went"]),
        ("ALTER TABLE day MODIFY seen int AS (id + 2)", ["column day.seen changed"]),
        ("CREATE INDEX by_scope ON token (scope)", ["index token.by_scope came"]),
        ("ALTER TABLE visit ALTER INDEX of IGNORED", ["index visit.of changed"]),
        ("ALTER TABLE visit DROP FOREIGN KEY of", ["constraint visit.of went"]),
        ("ALTER TABLE visit DROP CONSTRAINT late", ["constraint visit.late went"]),
        ("ALTER TABLE day DROP PARTITION high", ["table day changed"]),
        ("ALTER TABLE day ENGINE = Aria", ["table day changed"]),
        ("ALTER TABLE visit CONVERT TO CHARACTER SET utf8mb4", ["table visit changed"]),
        ("CREATE TABLE `new ``one` (`a,b` int)", ["table new `one came"]),
        ("DROP TABLE visit", ["table visit went"]),
        ("CREATE OR REPLACE VIEW reader AS SELECT id FROM token", ["view reader changed"]),
        ("DROP VIEW reader", ["view reader went"]),
        ("DROP TRIGGER dated", ["trigger visit.dated went"]),
        ("CREATE SEQUENCE number", ["sequence number came"]),
        ("UPDATE token SET scope = 'x'", []),
        ("CREATE TABLE other.thing (id int)", []),
    ],
)
def test_a_change_of_the_schema_is_named(shop, statement, changes) -> None:
    shop.run("CREATE OR REPLACE DATABASE other")
    before = schema(shop)
    shop.run("USE shop", "SET SESSION foreign_key_checks = 0", statement)
    assert _changes(before, schema(shop)) == changes


def test_functions_and_events_are_seen_by_who_may_see_them(shop) -> None:
    dsn = f"mysql://root@127.0.0.1:{shop.port}/shop"
    shop.run("CREATE EVENT shop.cleaning ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.visit")
    found = []
    for change in (
        "SELECT 1",
        "CREATE OR REPLACE FUNCTION shop.next_of(n bigint) RETURNS int DETERMINISTIC RETURN n + 1",
        "CREATE OR REPLACE FUNCTION shop.next_of(n bigint) RETURNS int DETERMINISTIC RETURN n + 2",
        "ALTER EVENT shop.cleaning DISABLE",
    ):
        shop.run(change)
        with database(shop, dsn).read(10) as reading:
            found.append(frozenset(reading.schema()))
    assert [_changes(*pair) for pair in itertools.pairwise(found)] == [
        ["parameter next_of.n changed"],
        ["function next_of changed"],
        ["event cleaning changed"],
    ]


def test_a_table_as_mysql_writes_it() -> None:
    """By MySQL 8's manual: invisible and functional indexes, a check that is not enforced, partitions as a comment."""
    created = (
        "CREATE TABLE `t` (\n"
        "  `id` int NOT NULL AUTO_INCREMENT,\n"
        "  `name` varchar(9) DEFAULT NULL /*!80023 INVISIBLE */,\n"
        "  PRIMARY KEY (`id`),\n"
        "  KEY `lower` ((lower(`name`))),\n"
        "  UNIQUE KEY `na``me` (`name`) /*!80000 INVISIBLE */,\n"
        "  CONSTRAINT `long` CHECK ((char_length(`name`) > 2)) /*!80016 NOT ENFORCED */\n"
        ") ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci\n"
        "/*!50100 PARTITION BY RANGE (`id`)\n"
        "(PARTITION p0 VALUES LESS THAN (10) ENGINE = InnoDB) */"
    )
    parts = list(parts_of("t", created))
    assert [(kind, name) for kind, name, _ in parts] == [
        ("column", "t.id"),
        ("column", "t.name"),
        ("index", "t.PRIMARY"),
        ("index", "t.lower"),
        ("index", "t.na`me"),
        ("constraint", "t.long"),
        ("table", "t"),
    ]
    texts = {name: text for _, name, text in parts}
    assert "INVISIBLE" in texts["t.na`me"]
    assert "NOT ENFORCED" in texts["t.long"]
    assert "p0" in texts["t"]
    assert "17" not in texts["t"]


# Rows and checksums


def test_what_is_counted(shop) -> None:
    shop.run("CREATE OR REPLACE DATABASE other", "CREATE TABLE other.token (id int)")
    found = everything(shop)
    assert {name: one.rows for name, one in found.items()} == {"token": 1000, "visit": 0, "day": 20}
    assert fingerprint(database(shop)).rows == {"shop.token": 1000, "shop.visit": 0, "shop.day": 20}
    assert fingerprint(database(shop)).version.startswith("MariaDB 1")


def test_an_address_without_a_database_stands_for_all_that_the_user_may_see(shop) -> None:
    shop.run("CREATE OR REPLACE DATABASE other", "CREATE TABLE other.token (id int)")
    found = everything(shop, f"mysql://root@127.0.0.1:{shop.port}")
    assert {name: one.rows for name, one in found.items()} == {
        "other.token": 0,
        "shop.token": 1000,
        "shop.visit": 0,
        "shop.day": 20,
    }
    assert set(everything(shop, f"mysql://watcher:hush-42@127.0.0.1:{shop.port}")) == set(found) - {"other.token"}
    assert database(shop, f"mysql://root@127.0.0.1:{shop.port}").name == "all databases"


@pytest.mark.parametrize(
    ("columns", "rows", "others"),
    [
        ("a varchar(9), b varchar(9)", "('ab', 'c')", "('a', 'bc')"),
        ("a varchar(9), b varchar(9)", "('a', NULL)", "('a', 'NULL')"),
        ("a varchar(9), b varchar(9)", "('', NULL)", "(NULL, '')"),
        ("a varchar(9), b varchar(9)", r"('\'', '\\')", r"('\\\'', '')"),
        ("a varchar(9), b varchar(9)", "(1, 3), (2, 4)", "(1, 4), (2, 3)"),
        ("a varchar(9), b int", "('a', 1), ('a', 1), ('b', 1), ('b', 1)", "('a', 1), ('b', 1), ('c', 1), ('c', 1)"),
        ("a varbinary(9)", "(x'00ff')", "(x'00fe')"),
        ("a binary(4)", "(x'00')", "(x'20')"),
        ("a varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "('ÄH')", "('ah')"),
        ("a varchar(9) CHARACTER SET latin1, b varchar(9) CHARACTER SET utf8mb4", "('ä', 'ä')", "('ä', '☃')"),
        ("a varchar(9)", "('a')", "('a ')"),
        ("a bit(9)", "(b'1')", "(b'10')"),
        ("a datetime(6)", "('2026-01-01 00:00:00.000001')", "('2026-01-01 00:00:00.000002')"),
        ("a decimal(30, 10)", "(1.0000000001)", "(1.0000000002)"),
        ("a enum('x', 'y')", "('x')", "('y')"),
        ("a json", """('{"a": 1}')""", """('{"a": 2}')"""),
        ("a point", "(point(1, 2))", "(point(2, 1))"),
        ("`a ``b` int", "(1)", "(2)"),
        (
            "a mediumblob, b mediumblob",
            f"(repeat('x', {PACKET - 9}), repeat('y', {PACKET - 9}))",
            f"(repeat('x', {PACKET - 9}), repeat('z', {PACKET - 9}))",
        ),
    ],
)
def test_a_checksum_tells_rows_apart(shop, columns, rows, others) -> None:
    with contextlib.closing(shop.connect(database="shop")) as connection:
        send(connection, "SET SESSION sql_mode = ''")
        found = []
        for values in (rows, others, rows):
            send(connection, f"CREATE OR REPLACE TABLE thing ({columns})")
            send(connection, f"INSERT INTO thing VALUES {values}")  # noqa: S608
            found.append(everything(shop)["thing"])
    first, other, again = found
    assert (first.rows, first.uncounted) == (other.rows, "")
    assert first.checksum not in (None, other.checksum)
    assert again == first


def test_a_checksum_does_not_depend_on_the_session(shop) -> None:
    shop.run("CREATE TABLE shop.moment (at timestamp(3), a char(4))", "INSERT INTO shop.moment VALUES (NOW(3), 'x')")
    first = everything(shop)["moment"]
    shop.run("SET GLOBAL time_zone = '+05:00'", "SET GLOBAL sql_mode = 'PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES'")
    try:
        assert everything(shop)["moment"] == first
    finally:
        shop.run("SET GLOBAL time_zone = 'SYSTEM'", "SET GLOBAL sql_mode = DEFAULT")


def test_a_locked_table_and_the_time_are_no_reason_to_wait(shop) -> None:
    shop.run("CREATE TABLE shop.free (id int)")
    with contextlib.closing(shop.connect(database="shop")) as holder:
        send(holder, "LOCK TABLES token WRITE")
        with database(shop).read(10) as reading:
            until = time.monotonic() + 5
            found = count_tables(reading, {"token", "free"}, others=False, quick=False, until=until)
    assert "Lock wait timeout" in found["token"].uncounted
    assert found["free"].rows == 0
    with database(shop).read(10) as reading:
        late = count_tables(reading, {"token"}, others=False, quick=False, until=time.monotonic())
    assert late["token"].uncounted == "no time was left for it"


def test_a_count_that_takes_too_long_is_given_up(shop) -> None:
    with database(shop).read(10) as reading:
        (token,) = (table for table in reading.tables() if table.name == "token")
        slow = dataclasses.replace(token, columns="SLEEP(0.01)")
        started = time.monotonic()
        with pytest.raises(TROUBLE, match="max_statement_time exceeded"):
            reading.count(slow, checksum=True, limit_s=0.3)
        assert time.monotonic() - started < 3
        assert not reading.lost
        assert reading.count(token, checksum=False, limit_s=5) == (1000, None)


def test_after_its_time_nothing_more_is_asked(shop) -> None:
    with database(shop).read(0.5) as reading:
        time.sleep(0.6)
        with pytest.raises(TimeoutError):
            reading.schema()


# Who may read what


def test_a_table_that_the_user_may_not_see_is_said_with_the_grant(shop) -> None:
    shop.run(
        "CREATE TABLE shop.`my-safe` (id int) PARTITION BY HASH (id) PARTITIONS 2",
        "CREATE OR REPLACE USER half@'%' IDENTIFIED BY 'hush-42'",
        "GRANT PROCESS ON *.* TO half@'%'",
        "GRANT SELECT ON shop.token TO half@'%'",
    )
    found = everything(shop, shop.dsn("half"))
    assert found["token"].rows == 1000
    assert set(found) == {"token", "visit", "day", "my-safe"}
    for name in ("visit", "day", "my-safe"):
        assert found[name].uncounted == "'half'@'%' may not read it: GRANT SELECT ON `shop`.* TO 'half'@'%'"
    assert fingerprint(database(shop, shop.dsn("half"))).rows == {"shop.token": 1000}


def test_a_table_that_may_be_written_alone_is_no_fingerprint(shop) -> None:
    shop.run(
        "CREATE OR REPLACE USER half@'%' IDENTIFIED BY 'hush-42'",
        "GRANT SELECT ON shop.token TO half@'%'",
        "GRANT INSERT ON shop.visit TO half@'%'",
    )
    assert "SELECT command denied" in everything(shop, shop.dsn("half"))["visit"].uncounted
    with pytest.raises(StageError, match=r"cannot be read: SELECT command denied.*`visit`") as failed:
        fingerprint(database(shop, shop.dsn("half")))
    assert "may read the tables" in failed.value.hint


def test_a_server_that_is_away_has_no_fingerprint() -> None:
    with pytest.raises(StageError, match="Stage's database cannot be read") as failed:
        fingerprint(MysqlDatabase(parse_address("mysql://u:hush-hush@127.0.0.1:1/shop")))
    assert "hush" not in str(failed.value)


def test_two_users_reach_one_database(shop) -> None:
    shop.run("CREATE OR REPLACE DATABASE other", "GRANT SELECT ON other.* TO watcher@'%'")
    root, there = f"mysql://root@127.0.0.1:{shop.port}/shop", shop.dsn().replace("/shop", "/other")
    keys = []
    for dsn in (shop.dsn(), root, there):
        with database(shop, dsn).read(5) as reading:
            keys.append(reading.identity().key)
    assert keys[0] == keys[1] != keys[2]
