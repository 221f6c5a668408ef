"""A rehearsal on a Stage over a real MariaDB: put back or not, rolled back or not, and in which database."""

import json
import sys
import threading
from collections.abc import Iterator

import pymysql
import pytest

from replay.evidence.run import read_run
from replay.judge.verdict import judge
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan

from .conftest import Api, ApiHandler, Setting
from .mariadb import MariaDB, send, servers

PUT_BACK = ("DELETE FROM token", "INSERT INTO token SELECT seq, 'read' FROM seq_1_to_1000")
COLUMN_BACK = "ALTER TABLE token DROP COLUMN IF EXISTS added"


class MariaHandler(ApiHandler):
    """Keeps a connection to the database for each of its clients."""

    def setup(self) -> None:
        super().setup()
        self.database = self.server.maria.connect("the api", "shop")

    def finish(self) -> None:
        self.database.close()
        super().finish()

    def do_GET(self) -> None:  # noqa: N802 - the base names it so
        kind, _, number = self.path.strip("/").partition("/")
        if kind == "health":
            self.answer(200, b'{"ok":true}')
            return
        try:
            rows = send(self.database, f"SELECT scope FROM token WHERE id = {int(number)}")  # noqa: S608
        except pymysql.MySQLError:
            self.answer(500, b"")
            return
        self.answer(200, json.dumps({"id": int(number), "scope": rows[0]["scope"] if rows else None}).encode())


class MariaApi(Api):
    def __init__(self, maria: MariaDB) -> None:
        super().__init__("")
        self.RequestHandlerClass = MariaHandler
        self.maria = maria


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with servers(("--userstat=ON",)) as (server,):
        server.run("CREATE DATABASE other", "CREATE TABLE other.token SELECT * FROM shop.token")
        server.run("GRANT SELECT ON other.* TO watcher@'%'")
        yield server


@pytest.fixture
def stage(setting: Setting, maria: MariaDB) -> Iterator[Setting]:
    """A plan whose steps are commands: one that adds a column and fills it, one that takes it away again."""
    maria.run("USE shop", COLUMN_BACK, *PUT_BACK)
    with MariaApi(maria) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        values = setting.values
        del values["workloads.qa"]
        values["workloads.production"] |= {"duration": "16s", "speed": 0.5}
        values["target"] |= {"url": api.url, "reset": command(setting, maria, "reset", COLUMN_BACK, *PUT_BACK)}
        values["probes.database"] = {"kind": "mysql", "dsn": "${STAGE_DSN}"}
        values["criteria"] = {"visible_share": 1.0}
        setting.environment["STAGE_DSN"] = maria.dsn()
        steps(setting, maria)
        yield setting
        api.shutdown()


def command(setting: Setting, maria: MariaDB, name: str, *statements: str, base: str = "shop") -> str:
    """A program that sends these, and stays connected as long as a migration's tool does."""
    (setting.folder / f"{name}.py").write_text(
        "import pymysql, time\n"
        f"connection = pymysql.connect(host='127.0.0.1', port={maria.port}, user='root', database={base!r}, "
        "autocommit=True)\n"
        f"for statement in {list(statements)!r}:\n"
        "    connection.cursor().execute(statement)\n"
        "time.sleep(0.5)\n"
    )
    return setting.program(name, f"exec {sys.executable} {name}.py")


def steps(setting: Setting, maria: MariaDB, *after: str, base: str = "shop") -> None:
    up = command(
        setting, maria, "up", "ALTER TABLE token ADD COLUMN added int", "UPDATE token SET added = 1", base=base
    )
    down = command(setting, maria, "down", "ALTER TABLE token DROP COLUMN added", *after, base=base)
    setting.values["steps"] = [
        {"name": "add", "kind": "migrate", "at": "2s", "run": up},
        {"name": "undo", "kind": "rollback", "after": "1s", "run": down},
    ]


def rehearse(setting: Setting):
    conduct(check_plan(read_plan(setting.write(), setting.environment), setting.out), setting.out)
    evidence = read_run(setting.out)
    verdict = judge(evidence)
    return evidence.rehearsal["stage"], verdict, {check.name: check for check in verdict.checks}


@pytest.mark.slow
def test_a_stage_that_is_put_back_and_rolled_back(stage, maria) -> None:
    noted, verdict, checks = rehearse(stage)
    assert noted["database version"].startswith("MariaDB")
    assert set(noted["fingerprints"]) == set(noted["databases"]) == {"production-control", "production-steps"}
    assert len(set(noted["fingerprints"].values())) == 1
    (found,) = noted["databases"]["production-steps"]
    assert (found["name"], found["place"]) == ("shop", f"127.0.0.1:{maria.port}")
    assert (found["unread"], found["changes"]) == ([], [])
    assert {step: told["schema"] for step, told in found["seen"]["commands"].items()} == {
        "add": "changed",
        "undo": "changed",
    }
    for name in ("run_noted", "stage_the_same", "steps_seen", "data_compared", "data_after_rollback"):
        assert checks[name].passed, checks[name].sentence
    assert "no rows are lost in 1 table" in checks["data_after_rollback"].sentence
    assert verdict.verdict != "NO_GO"
    assert b"hush-42" not in (stage.out / "rehearsal.json").read_bytes()


@pytest.mark.slow
def test_a_stage_that_was_not_put_back_is_inconclusive(stage, maria) -> None:
    """The reset leaves it with fewer rows each time."""
    reset = command(stage, maria, "reset", COLUMN_BACK, "DELETE FROM token ORDER BY id DESC LIMIT 4")
    stage.values["target"]["reset"] = reset
    noted, verdict, checks = rehearse(stage)
    assert not checks["stage_the_same"].passed
    assert verdict.verdict == "INCONCLUSIVE"
    assert noted["differences"]["production-steps"] == ["shop.token has 992 rows, 996 rows before the first arm"]


@pytest.mark.slow
def test_a_rollback_that_loses_rows_is_told(stage, maria) -> None:
    steps(stage, maria, "DELETE FROM token WHERE id > 900")
    _, verdict, checks = rehearse(stage)
    assert not checks["data_after_rollback"].passed
    assert "token has 900 rows, beside 1,000 in the control" in checks["data_after_rollback"].sentence
    assert verdict.verdict == "NO_GO"


@pytest.mark.slow
def test_steps_in_another_database_prove_nothing(stage, maria) -> None:
    steps(stage, maria, base="other")
    stage.values["probes.other"] = {"kind": "mysql", "dsn": "${OTHER_DSN}"}
    stage.environment["OTHER_DSN"] = maria.dsn().replace("/shop", "/other")
    _, verdict, checks = rehearse(stage)
    assert not checks["steps_seen"].passed
    assert verdict.verdict == "INCONCLUSIVE"
