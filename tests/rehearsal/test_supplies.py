"""Stage's own ids and credentials, from files and from a real database, up to a whole rehearsal with them."""

import csv
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.errors import InputError, PlanError, Refused, StageError
from replay.evidence.run import read_run
from replay.rehearsal.conductor import conduct
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.supplies import asks_stage, gather, pool_values
from replay.traffic import Exchange, Request, Response

QUERY = "SELECT id FROM token WHERE id > 900 ORDER BY id DESC"


def read(setting):
    return read_plan(setting.write(), setting.environment)


def check(setting):
    return check_plan(read(setting), setting.out)


def pool(setting, **values: object) -> None:
    setting.values["pools.token_id"] = values


@pytest.fixture
def queried(setting, server, table):
    """A plan with a pool from the database, which is really there."""
    assert table
    setting.environment["STAGE_DSN"] = f"{server.primary} password=hush-hush-42"
    pool(setting, sql=QUERY, dsn="${STAGE_DSN}")
    return setting


def test_a_plan_with_pools(setting) -> None:
    pool(setting, sql=f"{QUERY};", dsn="${STAGE_DSN}", parameters=["tokenId", "token"])
    setting.values["pools.events"] = {"csv": "ids.csv", "column": "id"}
    setting.values["workloads.production.identities"] = {"sql": "SELECT 1 AS key", "dsn": "${STAGE_DSN}"}
    plan = read(setting)
    token, events = plan.pools
    assert (token.name, token.parameters, token.query.sql) == ("token_id", ("token_id", "token"), QUERY)
    assert (events.parameters, events.csv, events.column) == (("events",), setting.folder / "ids.csv", "id")
    production = plan.workloads[1]
    assert (production.identities, production.credentials.sql) == (None, "SELECT 1 AS key")
    assert plan.resolved["workloads"]["production"]["identities"]["dsn"] == "${STAGE_DSN}"
    assert "hush-hush-42" not in json.dumps(plan.resolved) + repr(plan)
    assert [user for user, _ in plan.dsns][-2:] == ["The pool 'token_id'", "The identities of 'production'"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "one of the two must be there"),
        ({"csv": "x", "sql": "SELECT 1"}, "one of the two must be there"),
        ({"sql": "SELECT 1"}, "needs a dsn"),
        ({"csv": "x", "dsn": "host=127.0.0.1"}, '"dsn" in .* is for sql'),
        ({"sql": "SELECT 1", "dsn": "host=127.0.0.1", "column": "id"}, "is for csv"),
        ({"sql": "SELECT 1; DROP TABLE x", "dsn": "host=127.0.0.1"}, "has 2 statements"),
        ({"csv": "x", "colum": "id"}, "unknown key"),
    ],
)
def test_a_pool_that_is_none(setting, values: dict, said: str) -> None:
    pool(setting, **values)
    with pytest.raises(PlanError, match=said):
        read(setting)


def test_two_pools_for_one_parameter(setting) -> None:
    pool(setting, csv="a.csv")
    setting.values["pools.other"] = {"csv": "b.csv", "parameters": ["token_id"]}
    with pytest.raises(PlanError, match="Two pools are for token_id"):
        read(setting)


def test_a_pool_s_database_must_be_allowed(setting) -> None:
    pool(setting, sql=QUERY, dsn="host=db.example.test")
    with pytest.raises(Refused, match="The pool 'token_id' would go to"):
        check(setting)
    del setting.values["pools.token_id"]
    setting.values["workloads.qa.identities"] = {"sql": "SELECT 1", "dsn": "host=db.example.test"}
    with pytest.raises(Refused, match="The identities of 'qa' would go to"):
        check(setting)


def test_a_dry_run_shows_what_pools_bind(setting, monkeypatch, capsys) -> None:
    for name, value in setting.environment.items():
        monkeypatch.setenv(name, value)
    (setting.folder / "ids.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(2000, 2040)))
    pool(setting, csv="ids.csv")
    setting.values["pools.nothing"] = {"sql": QUERY, "dsn": "${STAGE_DSN}"}
    assert run(["rehearse", str(setting.write()), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "60 captured values of token_id (sent 60 times) get Stage's 40, rank for rank; the 20 coldest share" in said
    assert "The pool 'nothing' is bound to nothing" in said
    setting.values["pools.token_id"] = {"sql": QUERY, "dsn": "${STAGE_DSN}"}
    del setting.values["pools.nothing"]
    assert run(["rehearse", str(setting.write()), "--dry-run"]) == 0
    assert "60 captured values (sent 60 times) get Stage's own, which its database is asked" in capsys.readouterr().out
    assert run(["rehearse", str(setting.plan), "--dry-run", "--json"]) == 0
    pools = json.loads(capsys.readouterr().out)["pools"]
    assert pools["qa"] == [{"pool": "token_id", "captured": 20, "sent": 20, "values": None, "shared": None}]
    assert not setting.was_reset


def test_an_empty_file_is_known_before_anything_runs(setting) -> None:
    (setting.folder / "ids.csv").write_text("id\n")
    pool(setting, csv="ids.csv")
    with pytest.raises(InputError, match="The pool token_id is empty"):
        check(setting)


def test_what_a_database_gives(queried) -> None:
    (own,) = read(queried).pools
    assert pool_values(own) == tuple(str(number) for number in range(1000, 900, -1))
    assert pool_values(own, 3) == ("1000", "999", "998")


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("SELECT id FROM token WHERE id < 0", InputError, "is empty: its query gives no value"),
        ("SELECT NULL::int", InputError, "is empty"),
        ("SELECT nothing FROM token", StageError, "cannot be read: column"),
        ("DELETE FROM token RETURNING id", StageError, "cannot be read"),
        ("WITH gone AS (DELETE FROM token RETURNING id) SELECT id FROM gone", StageError, "cannot be read"),
        ("SELECT setval('counter', 5)", StageError, "read-only transaction"),
    ],
)
def test_a_query_only_reads(queried, server, sql: str, kind: type[Exception], said: str) -> None:
    with server.connect() as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS counter")
        pool(queried, sql=sql, dsn="${STAGE_DSN}")
        (own,) = read(queried).pools
        with pytest.raises(kind, match=said):
            pool_values(own)
        assert connection.execute("SELECT count(*) FROM token").fetchone() == (1000,)


def test_credentials_go_to_a_file_without_a_name(queried, tmp_path: Path) -> None:
    sql = "SELECT 'key-of-' || id AS \"x-api-key\", id % 2 = 0 AS even FROM token ORDER BY id LIMIT 2"
    queried.values["workloads.qa.identities"] = {"sql": sql, "dsn": "${STAGE_DSN}"}
    plan = read(queried)
    workload = plan.workloads[0]
    assert asks_stage(plan, workload)
    folder = tmp_path / "arm" / "pools"
    given = {"captured": [3], "ranked": ("busy", "quiet"), "folder": folder}
    supplies = gather(plan, workload, needed=[("busy", "x-api-key"), ("quiet", "x-api-key")], **given)
    assert supplies.identities is not None
    assert supplies.identities.stat().st_mode & 0o777 == 0o600
    assert supplies.identities.stat().st_nlink == 0
    for _ in range(2):  # whoever reads it has it from its beginning
        with supplies.identities.open(newline="") as lines:
            assert list(csv.reader(lines)) == [["x-api-key", "even"], ["key-of-1", "false"], ["key-of-2", "true"]]
    reads = [sys.executable, "-c", f"print(open({str(supplies.identities)!r}).read())"]
    assert (
        "key-of-2" in subprocess.run(reads, pass_fds=supplies.handed, check=True, capture_output=True, text=True).stdout
    )
    (held,) = supplies.handed
    supplies.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held)
    assert supplies.secrets >= {"key-of-1", "key-of-2"}
    assert supplies.pools == (f"token_id={folder / 'token_id.csv'}",)
    given["ranked"] = ("busy", "quiet", "third")
    with pytest.raises(InputError, match="no x-api-key for third, first of all and 2 rows where 3 are needed"):
        gather(plan, workload, needed=[(client, "x-api-key") for client in given["ranked"]], **given)


def test_a_failed_query_for_credentials_quotes_none(queried, tmp_path: Path) -> None:
    sql = "SELECT ('secret-word-' || id)::int AS key FROM token"
    queried.values["workloads.qa.identities"] = {"sql": sql, "dsn": "${STAGE_DSN}"}
    plan = read(queried)
    with pytest.raises(StageError) as failed:
        gather(plan, plan.workloads[0], captured=[1], needed=[], ranked=[], folder=tmp_path / "a")
    assert "secret-word" not in failed.value.message
    assert "InvalidTextRepresentation 22P02" in failed.value.message


@pytest.mark.slow
def test_a_rehearsal_with_stage_s_own_values(playable) -> None:
    """Production's ids do not exist on Stage, and neither do its keys: the API would answer with nothing."""
    start, body = datetime(2026, 1, 5, 9, tzinfo=UTC), b'{"id":1,"scope":"read"}'
    with CaptureWriter(playable.folder / "keyed", environment="production", hosts=["a.test"], scrubber=None) as writer:
        for number in range(60):
            client = "busy" if number % 3 else "quiet"
            headers = (("x-api-key", f"{client}-0123456789abcdef"), ("user-agent", client))
            request = Request("GET", "a.test", f"/tokens/{70_000 + number % 7 * (number % 2)}", headers=headers)
            response = Response(200, (("content-type", "application/json"),), body, len(body))
            writer.add(Exchange(start + timedelta(seconds=number / 20), 0.01, client, client, request, response))
    playable.values["workloads.production"] |= {"capture": "keyed"}
    del playable.values["workloads.qa"]
    playable.values["steps"][0]["at"] = "1s"
    keys = "SELECT 'stage-key-' || id AS \"x-api-key\" FROM token ORDER BY id LIMIT 2"
    playable.values["workloads.production.identities"] = {"sql": keys, "dsn": "${STAGE_DSN}"}
    pool(playable, sql="SELECT id FROM token ORDER BY id DESC", dsn="${STAGE_DSN}")
    conduct(check(playable), playable.out)

    evidence = read_run(playable.out)
    assert evidence.rehearsal["state"] == "complete"
    assert evidence.rehearsal["warnings"] == []
    pools = evidence.rehearsal["stage"]["pools"]
    assert pools["production-control"] == pools["production-steps"]
    for name, arm in evidence.arms.items():
        assert (arm.observations["outcome"] == "ok").all(), arm.observations["error"].dropna().unique()
        folder = playable.out / "arms" / name
        assert (folder / "pools" / "token_id.csv").read_text().splitlines()[:3] == ["value", "1000", "999"]
        assert "captured values of token_id" in (folder / "locust.log").read_text()
    everything = b"".join(file.read_bytes() for file in playable.out.rglob("*") if file.is_file())
    assert not re.search(rb"stage-key-\d", everything)  # the query, in the plan, has them without their number
    assert b"hush-hush-42" not in everything


@pytest.mark.slow
def test_values_that_differ_between_arms_are_told(playable) -> None:
    """A reset that makes ids anew: each arm gets those that are there, and the run says so."""
    put_back = playable.folder / "put_back.py"
    anew = "UPDATE token SET id = -id WHERE abs(id) <= 100"
    put_back.write_text(f"{put_back.read_text()}connection.execute({anew!r})\n")
    del playable.values["workloads.qa"]
    playable.values["workloads.production"]["duration"] = "2s"
    playable.values["steps"][0]["at"] = "1s"
    pool(playable, sql="SELECT id FROM token WHERE abs(id) <= 100 ORDER BY abs(id)", dsn="${STAGE_DSN}")
    conduct(check(playable), playable.out)
    (warning,) = read_run(playable.out).rehearsal["warnings"]
    assert warning == (
        "The pool token_id gave production-steps other values than production-control: each arm was bound to its own."
    )
