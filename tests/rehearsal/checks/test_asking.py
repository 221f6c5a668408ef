"""Whole dry runs over a small Stage: a real API with logins over a real PostgreSQL, real locust, a real reset."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import psycopg
import pytest

from replay.capture.store import CaptureWriter
from replay.rehearsal.checks import identities, visits
from replay.rehearsal.checks.asking import Asked, ask_stage
from replay.rehearsal.checks.check import FAILED, NOT_ASKED, PASSED, PLAN, STAGE, Check, exit_code_of
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.scenario.answers import GivenAnswer
from replay.scenario.locustfile import build_scenario
from replay.scenario.policy import Policy
from replay.traffic import Exchange, Request, Response

CLIENTS = ("alpha", "beta", "gamma")
JSON = (("content-type", "application/json"),)
FORM = "application/x-www-form-urlencoded"


class Shop(ThreadingHTTPServer):
    """Logs clients in by a secret, keeps each login in a table, and lets nobody else read."""

    daemon_threads = True

    def __init__(self, dsn: str) -> None:
        super().__init__(("127.0.0.1", 0), ShopHandler)
        self.dsn = dsn
        self.ready = True
        self.pause_s = 0.0
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class ShopHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def do_GET(self) -> None:
        self.server.asked[f"GET {self.path}"] += 1
        if self.path == "/health":
            self.answer(200 if self.server.ready else 503, {"ok": self.server.ready})
        elif self.path == "/open":
            self.answer(200, {"id": 1})
        else:
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            known = token.startswith("stage-token-")
            self.answer(200 if known else 401, {"id": 1} if known else {"error": "who are you"})

    def do_POST(self) -> None:
        self.server.asked[f"POST {self.path}"] += 1
        time.sleep(self.server.pause_s)
        said = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        client = said.partition("client_id=")[2].partition("&")[0]
        if f"client_secret=stage-secret-of-{client}" not in said:
            self.answer(401, {"error": "invalid_client"})
            return
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO login (client) VALUES (%s)", (client,))
        self.answer(200, {"access_token": f"stage-token-for-{client}-0123456789"})

    def answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def write_logins(folder: Path, clients: Sequence[str] = CLIENTS) -> None:
    """Clients, three unless others are named, that log in and read with the token they get."""
    start = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    host = "api.example.test:443"
    with CaptureWriter(folder, environment="production", hosts=[host], scrubber=None) as writer:
        for number, client in enumerate(clients):
            token = f"captured-token-of-{client}-abcdefghij"
            secret = f"captured-secret-of-{client}-abcdefghij"
            login = f"grant_type=client_credentials&client_id={client}&client_secret={secret}".encode()
            answer = json.dumps({"access_token": token}).encode()
            at = start + timedelta(seconds=number / 10)
            request = Request("POST", host, "/token", headers=(("content-type", FORM),), body=login)
            writer.add(Exchange(at, 0.01, client, client, request, Response(200, JSON, answer, len(answer))))
            for later in range(1, 4):
                headers = (("authorization", f"Bearer {token}"),)
                request = Request("GET", host, f"/things/{later}", headers=headers)
                moment = at + timedelta(seconds=later)
                writer.add(Exchange(moment, 0.01, client, client, request, Response(200, JSON, b'{"id":1}', 8)))


@pytest.fixture
def shop(server) -> Iterator[Shop]:
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS login; CREATE TABLE login (client text)")
        connection.execute("INSERT INTO login VALUES ('long ago')")
    with Shop(server.primary) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS login, replay_production")


@pytest.fixture
def stage(setting, shop: Shop, server):
    """A plan over it. Clients have their credentials, and the reset removes what logins have left."""
    write_logins(setting.folder / "logins")
    give(setting, dict.fromkeys(CLIENTS, "stage-secret-of-"))
    setting.environment["STAGE_DSN"] = f"{server.primary} password=hush-hush-42"
    setting.environment["STAGE_REPLICA_DSN"] = f"{server.replica} password=hush-hush-42"
    (setting.folder / "up.sql").write_text("ALTER TABLE login ADD COLUMN added int;\n")
    let_reset(setting, server, "DELETE FROM login WHERE client <> 'long ago'")
    setting.values["target"]["url"] = shop.url
    setting.values["probes.database"]["replicas"] = ["${STAGE_REPLICA_DSN}"]
    setting.values["workloads.production"] |= {"capture": "logins", "identities": "clients.csv"}
    del setting.values["workloads.qa"]
    return setting


def give(setting, secrets: dict[str, str]) -> None:
    rows = "".join(f"{client},{secret}{client}\n" for client, secret in secrets.items())
    file = setting.folder / "clients.csv"
    file.write_text(f"client,client_secret\n{rows}")
    file.chmod(0o600)


def let_reset(setting, server, statement: str) -> None:
    (setting.folder / "put_back.py").write_text(
        f"import psycopg\npsycopg.connect({server.primary!r}, autocommit=True).execute({statement!r})\n"
    )
    setting.values["target"]["reset"] = setting.program(
        "reset", f"echo reset >> was-reset; exec {sys.executable} put_back.py"
    )


def ask(setting, say: Callable[[str], None] = lambda _: None) -> Asked:
    outline = check_plan(read_plan(setting.write(), setting.environment), setting.out)
    asked = ask_stage(outline, setting.out, say)
    said = repr(asked.checks)
    assert "hush-hush" not in said
    assert "secret-of" not in said
    assert not setting.out.exists()
    return asked


def by_name(asked: Asked) -> dict[str, Check]:
    return {check.name: check for check in asked.checks}


def states(asked: Asked, state: str) -> list[str]:
    return [check.name for check in asked.checks if check.state == state]


def test_all_is_well(stage, shop: Shop) -> None:
    asked = ask(stage)
    assert states(asked, FAILED) == states(asked, NOT_ASKED) == [], asked.checks
    assert exit_code_of(asked.checks) == 0
    assert stage.was_reset == 2
    checks = by_name(asked)
    assert [name for name in checks if name.startswith("identity")] == [
        f"identity {one} of production" for one in CLIENTS
    ]
    assert "clients of production" not in checks
    for client in CLIENTS:
        assert checks[f"identity {client} of production"].figures == {"requests": 4, "sent": 4, "as in the capture": 4}
    assert shop.asked["POST /token"] == 3
    whole = checks["the reset puts everything back"]
    assert whole.figures["put back"] == ["public.login has 4 rows instead of 1 rows"]
    took_s = checks["reset"].figures["until_ready_s"]
    assert asked.outline.reset_s == pytest.approx(took_s, abs=0.01)
    assert checks["duration"].figures["estimate_s"] == pytest.approx(asked.outline.estimate_s, abs=0.1)
    assert not stage.out.exists()


@pytest.mark.slow
def test_every_identity_is_tried_once_one_after_the_other(stage, shop: Shop) -> None:
    clients = [f"client-{number}" for number in range(40)]
    write_logins(stage.folder / "many", clients)
    stage.values["workloads.production"]["capture"] = "many"
    give(stage, dict.fromkeys(clients, "stage-secret-of-") | {"client-33": "old-secret-of-"})
    asked = ask(stage)
    assert states(asked, FAILED) == ["identity client-33 of production"]
    assert len([name for name in states(asked, PASSED) if name.startswith("identity")]) == 39
    assert "clients of production" not in by_name(asked)
    assert shop.asked["POST /token"] == 40


@pytest.mark.slow
def test_identities_for_which_there_is_no_time_are_counted(stage, shop: Shop, monkeypatch) -> None:
    monkeypatch.setattr(visits, "SPAN_S", 1.0)
    monkeypatch.setattr(identities, "_TELL_EVERY_S", 0.0)
    shop.pause_s = 0.9
    clients = [f"client-{number}" for number in range(12)]
    write_logins(stage.folder / "many", clients)
    stage.values["workloads.production"] |= {"capture": "many", "timeout": "2s"}
    give(stage, dict.fromkeys(clients, "stage-secret-of-"))
    said: list[str] = []
    asked = ask(stage, said.append)
    tried = [name for name in by_name(asked) if name.startswith("identity")]
    left = by_name(asked)["clients of production"]
    assert 1 <= len(tried) < 8
    assert left.figures == {"clients": 12, "not_played": 12 - len(tried), "too_late": 12 - len(tried)}
    assert left.sentence.endswith(f"{12 - len(tried)} were not, {12 - len(tried)} of them for want of time.")
    assert any(line.endswith(" of 48 requests") and "first visits of 12 clients of production" in line for line in said)


def test_an_identity_with_a_wrong_password(stage) -> None:
    give(stage, dict.fromkeys(CLIENTS, "stage-secret-of-") | {"beta": "old-secret-of-"})
    asked = ask(stage)
    assert states(asked, FAILED) == ["identity beta of production"]
    check = by_name(asked)["identity beta of production"]
    assert check.sentence == "Refused with 401 at POST /token, where the capture had 200."
    assert (check.fault, exit_code_of(asked.checks)) == (PLAN, 2)
    assert check.figures["sent"] == 1


def test_a_reset_that_does_not_put_all_back(stage, server) -> None:
    let_reset(stage, server, "DELETE FROM login WHERE client = 'alpha'")
    asked = ask(stage)
    assert states(asked, FAILED) == ["the reset puts everything back"]
    check = by_name(asked)["the reset puts everything back"]
    assert "public.login has 3 rows instead of 1 rows" in check.sentence
    assert (check.fault, exit_code_of(asked.checks)) == (STAGE, 4)


def test_who_has_no_credentials_is_left_out_and_a_hook_is_called(stage, shop: Shop) -> None:
    from replay.scenario.locustfile import build_scenario  # noqa: PLC0415 - for this alone

    build_scenario(stage.folder / "logins", stage.folder / "own.py")
    own = stage.folder / "own.py"
    text = own.read_text()
    assert "return request" in text
    own.write_text(
        text.replace("        return request", "        return mended(request)")
        + "\n\nfrom mending import mended  # noqa: E402\n"
    )
    (stage.folder / "mending.py").write_text(
        "from dataclasses import replace\n\n\ndef mended(request):\n"
        "    return replace(request, path='/open') if request.path == '/things/3' else request\n"
    )
    stage.values["workloads.production"] |= {"locustfile": "own.py"}
    give(stage, {"gamma": "stage-secret-of-"})
    asked = ask(stage)
    assert states(asked, FAILED) == [], asked.checks
    names = [name for name in by_name(asked) if name.startswith("identity")]
    assert names == ["identity gamma of production"]
    left = by_name(asked)["clients of production"]
    assert (left.state, left.figures) == (PASSED, {"clients": 3, "not_played": 2, "too_late": 0})
    assert left.sentence == "The first visits of 1 of 3 clients were played, 2 were not."
    assert shop.asked["GET /open"] == 1
    assert shop.asked["GET /things/3"] == 0


def test_identities_from_the_database(stage) -> None:
    del stage.values["workloads.production"]["identities"]
    query = "SELECT 'alpha' AS client, 'stage-secret-of-alpha' AS client_secret"
    stage.values["workloads.production.identities"] = {"sql": query, "dsn": "${STAGE_DSN}"}
    asked = ask(stage)
    check = by_name(asked)["Stage's own values for production"]
    assert (check.state, check.fault) == (FAILED, PLAN), "two clients lack theirs"
    assert by_name(asked)["visits of production"].state == NOT_ASKED
    rows = " UNION ALL ".join(
        f"SELECT '{client}' AS client, 'stage-secret-of-{client}' AS client_secret" for client in CLIENTS
    )
    stage.values["workloads.production.identities"]["sql"] = rows
    asked = ask(stage)
    assert states(asked, FAILED) == [], asked.checks
    assert by_name(asked)["Stage's own values for production"].figures == {"identities": 3}
    assert len([name for name in by_name(asked) if name.startswith("identity")]) == 3


def test_a_pool_from_the_database(stage, shop: Shop) -> None:
    query = "SELECT number FROM generate_series(100, 140) AS number"
    stage.values["pools.thing_id"] = {"sql": query, "dsn": "${STAGE_DSN}"}
    asked = ask(stage)
    assert states(asked, FAILED) == [], asked.checks
    assert by_name(asked)["Stage's own values for production"].figures == {"thing_id": 41}
    assert shop.asked["GET /things/1"] == 0
    stage.values["pools.thing_id"]["sql"] = "SELECT number FROM no_such_table"
    check = by_name(ask(stage))["Stage's own values for production"]
    assert (check.state, check.fault) == (FAILED, PLAN)
    assert "no_such_table" in check.sentence


def test_without_a_reset_nothing_is_written(stage, shop: Shop, server) -> None:
    del stage.values["target"]["reset"]
    asked = ask(stage)
    assert not stage.was_reset
    assert shop.asked["POST /token"] == 0
    assert exit_code_of(asked.checks) == 0
    assert {"reset", *(f"identity {client} of production" for client in CLIENTS)} == set(states(asked, NOT_ASKED))
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM login").fetchone() == (1,)


def test_stage_is_not_there(stage, shop: Shop) -> None:
    shop.shutdown()
    shop.server_close()
    asked = ask(stage)
    assert exit_code_of(asked.checks) == 0
    assert states(asked, NOT_ASKED) == ["target", "reset", "identities"]
    assert by_name(asked)["rights of the step 'migrate'"].state == PASSED
    assert not stage.was_reset


def test_stage_answers_and_is_not_ready(stage, shop: Shop) -> None:
    shop.ready = False
    stage.values["target"]["ready_timeout"] = "1s"
    asked = ask(stage)
    assert states(asked, FAILED) == ["target"]
    assert "status 503" in by_name(asked)["target"].sentence
    assert exit_code_of(asked.checks) == 4
    assert not stage.was_reset


def test_a_reset_that_fails(stage, shop: Shop) -> None:
    stage.values["target"]["reset"] = stage.program("reset", "echo it cannot be >&2; exit 7")
    asked = ask(stage)
    assert states(asked, FAILED) == ["reset"]
    assert by_name(asked)["reset"].sentence == "Stage's reset failed: exit code 7: it cannot be."
    assert exit_code_of(asked.checks) == 4
    assert shop.asked["POST /token"] == 0


@pytest.mark.parametrize("dsn", ["host=127.0.0.1 port=1 dbname=x", "{primary} dbname=no_such_database"])
def test_stage_is_not_put_back_where_a_database_cannot_be_asked(stage, shop: Shop, server, dsn: str) -> None:
    stage.environment["STAGE_DSN"] = dsn.format(primary=server.primary)
    asked = ask(stage)
    assert by_name(asked)["reset"].state == NOT_ASKED
    assert "could not be asked whether it is production's" in by_name(asked)["reset"].sentence
    assert exit_code_of(asked.checks) == (2 if "primary" in dsn else 0)
    assert not stage.was_reset
    assert set(shop.asked) == {"GET /health"}


def test_stage_is_not_put_back_where_mysql_cannot_be_asked(stage, shop: Shop) -> None:
    stage.values["probes.shop"] = {"kind": "mysql", "dsn": "mysql://me:hush-43@127.0.0.1:1/shop"}
    asked = ask(stage)
    assert by_name(asked)["reset"].state == NOT_ASKED
    assert "nobody knows whether it is production's" in by_name(asked)["reset"].sentence
    assert exit_code_of(asked.checks) == 0
    assert not stage.was_reset
    assert set(shop.asked) == {"GET /health"}


def test_what_is_production_s_is_neither_put_back_nor_asked(stage, shop: Shop, server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE replay_production ()")
    asked = ask(stage)
    assert [check.name for check in asked.checks] == ["production", "Stage", "disk", "duration"]
    assert "holds the table replay_production" in asked.checks[0].sentence
    assert exit_code_of(asked.checks) == 2
    assert not stage.was_reset
    assert not shop.asked


def test_a_role_without_rights(stage, server) -> None:
    with server.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN")
    weak = psycopg.conninfo.make_conninfo(server.primary, user="weak", password="hush-hush-42")
    stage.environment["STAGE_DSN"] = weak
    stage.values["target"]["ready_timeout"] = "1s"  # whoever may not see the replica waits for it in vain
    asked = ask(stage)
    with server.connect() as connection:
        connection.execute("DROP ROLE weak")
    checks = by_name(asked)
    assert checks["rights of the step 'migrate'"].sentence == "weak is not the owner of login, who is tester."
    assert checks["rights of the probe 'database'"].hint == "GRANT pg_monitor TO weak"
    assert exit_code_of(asked.checks) == 2


def test_checks_have_a_document(stage, shop: Shop) -> None:
    shop.ready = False
    stage.values["target"]["ready_timeout"] = "1s"
    for check in ask(stage).checks:
        document = json.loads(json.dumps(check.to_json()))
        assert set(document) == {field.name for field in dataclasses.fields(Check)}


def test_what_a_plan_keeps_back_is_not_sent(stage, shop: Shop) -> None:
    stage.values["workloads.production"]["leave_out"] = ["GET /things/*"]
    ask(stage)
    assert {name for name in shop.asked if name != "GET /health"} == {"POST /token"}


def test_what_a_scenario_answers_itself_is_not_sent(stage, shop: Shop) -> None:
    body = '{"access_token": "stage-token-of-ours-0123456789"}'
    answer = GivenAnswer("POST /token", 200, JSON, body)
    scenario = build_scenario(stage.folder / "logins", stage.folder / "ours.py", policy=Policy(answers=(answer,)))
    workload = stage.values["workloads.production"]
    del workload["capture"], workload["identities"]
    workload["locustfile"] = scenario.path.name
    asked = ask(stage)
    assert states(asked, FAILED) == [], asked.checks
    assert not [name for name in shop.asked if name.startswith("POST")]


@pytest.mark.slow
@pytest.mark.parametrize("more", [("--dry-run",), ("--out", "runs/killed")])
@pytest.mark.parametrize("asked", [True, False])
def test_killed_while_its_load_boots_no_credential_is_left(stage, tmp_path: Path, more, asked: bool) -> None:
    if asked:
        del stage.values["workloads.production"]["identities"]
        rows = " UNION ALL ".join(
            f"SELECT '{client}' AS client, 'stage-secret-of-' || '{client}' AS client_secret" for client in CLIENTS
        )
        stage.values["workloads.production.identities"] = {"sql": rows, "dsn": "${STAGE_DSN}"}
    own = build_scenario(stage.folder / "logins", stage.folder / "own.py").path
    booting = stage.folder / "booting"
    own.write_text(f"import pathlib, time\n\npathlib.Path({str(booting)!r}).touch()\ntime.sleep(30)\n{own.read_text()}")
    del stage.values["workloads.production"]["capture"]
    stage.values["workloads.production"] |= {"locustfile": "own.py", "duration": "5s"}
    private = tmp_path / "private"
    private.mkdir()
    command = [sys.executable, "-m", "replay", "rehearse", str(stage.write()), *more]
    environment = {**os.environ, **stage.environment, "TMPDIR": str(private)}
    with subprocess.Popen(
        command, cwd=stage.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        until = time.monotonic() + 60
        while not booting.exists():
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        started = psutil.Process(running.pid).children(recursive=True)
        running.kill()
    left = [file for folder in (private, stage.folder / "runs") for file in folder.rglob("*") if file.is_file()]
    for process in started:
        process.kill()
    psutil.wait_procs(started, timeout=20)
    assert left
    assert [file for file in left if b"stage-secret-of-alpha" in file.read_bytes()] == []
