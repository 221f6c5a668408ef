"""What is known of where a command goes, from what it is given."""

import pytest

from replay.rehearsal.spelled import Spelled, spelled_out


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        ("postgresql://me:x@db.test:5432/shop", "db.test", "shop"),
        ("POSTGRES://me@db.test/shop?sslmode=require", "db.test", "shop"),
        ("postgresql+asyncpg://me:p%40ss@db.test/shop", "db.test", "shop"),
        ("postgresql://me:p@ss@db.test/shop", "db.test", "shop"),
        ("postgresql://me@[2001:db8::7]:5432/shop", "2001:db8::7", "shop"),
        ("postgresql:///shop?host=db.test", "db.test", "shop"),
        ("jdbc:mysql://db.test:3306/shop?useSSL=false", "db.test", "shop"),
        ("jdbc:postgresql:shop", "", "shop"),
        ("mysql2://me@db.test/shop", "db.test", "shop"),
        ("postgis://me@db.test/shop", "db.test", "shop"),
        ("mongodb+srv://me:x@db.test/shop", "db.test", "shop"),
        ("rediss://db.test:6379/0", "db.test", "0"),
    ],
)
def test_a_url(url: str, host: str, name: str) -> None:
    found = Spelled((host,) if host else (), (name,))
    assert spelled_out(["./deploy", url], {}) == found
    assert spelled_out(["sh", "-c", f"./deploy --to '{url}'; true"], {}) == found
    assert spelled_out(["./deploy"], {"ANY": url}) == found


def test_a_url_of_several_hosts() -> None:
    assert spelled_out(["x", "postgresql://me@one:1,two:2/shop"], {}).hosts == ("one", "two")


@pytest.mark.parametrize(
    "command",
    [
        "psql 'host=db.test dbname=shop' -f up.sql",
        "psql \"host = db.test  dbname='shop'\"",
        "psql -h db.test shop",
        "psql -hdb.test -d shop -f production.sql",
        "cd sql && psql --host=db.test --dbname=shop && echo live",
        "echo 1 | mysql --host db.test --user production --database shop > live",
        "PGHOST=db.test PGDATABASE=shop ./deploy",
        "export DB_HOST=db.test DB_NAME=shop; ./deploy",
        "env POSTGRES_HOST=db.test POSTGRES_DB=shop ./deploy",
        "ssh stage 'psql -h db.test shop'",
    ],
)
def test_a_command_of_a_shell(command: str) -> None:
    assert spelled_out(["sh", "-c", command], {}) == Spelled(("db.test",), ("shop",))


@pytest.mark.parametrize(
    "words",
    [
        ["dropdb", "--force", "shop"],
        ["createdb", "-T", "shop"],
        ["pg_restore", "-c", "--dbname=shop"],
        ["psql", "service=shop"],
    ],
)
def test_a_client_s_own_words(words: list[str]) -> None:
    assert spelled_out(words, {}).databases == ("shop",)


@pytest.mark.parametrize(
    ("environment", "host", "name"),
    [
        ({"PGHOST": "db.test", "PGDATABASE": "shop"}, "db.test", "shop"),
        ({"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "shop"}, "192.0.2.1", "shop"),
        ({"MYSQL_HOST": "db.test", "MYSQL_DATABASE": "shop"}, "db.test", "shop"),
        ({"SHOP_DB_HOST": "db.test", "DATABASE_NAME": "shop"}, "db.test", "shop"),
    ],
)
def test_variables(environment: dict[str, str], host: str, name: str) -> None:
    assert spelled_out(["./deploy"], environment) == Spelled((host,), (name,))


@pytest.mark.parametrize(
    "words",
    [
        ["./deploy", "--label", "service=live", "--env", "production"],
        ["curl", "https://files.prod.example.test/x.dump", "-o", "live"],
        ["aws", "s3", "cp", "s3://prod-backups/shop.dump", "."],
        ["sh", "-c", "du -h live; it's"],
        ["python", "manage.py", "--settings", "shop.production"],
    ],
)
def test_what_is_no_database(words: list[str]) -> None:
    assert spelled_out(words, {"RAILS_ENV": "production", "HOSTNAME": "live"}) == Spelled((), ())
