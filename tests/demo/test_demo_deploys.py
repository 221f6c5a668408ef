import os
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from replay.demo.identities import Integration
from replay.demo.releases import ask
from replay.demo.stage import Stage
from replay.errors import StageError

from .conftest import Api, Reply
from .test_demo_migrations import catalog, run

READS_EVENTS = ("/v1/events?limit=5", "/v1/events/7", "/v1/search?q=hall%203")


def deploy(stage: Stage, release: str) -> subprocess.CompletedProcess[str]:
    """As a step does: by a command that ends with its process group."""
    return subprocess.run(
        [sys.executable, "-m", "replay.demo.deploy", release],
        env={**os.environ, "STAGE_DEPLOYS": stage.environment["STAGE_DEPLOYS"]},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


@pytest.fixture
def first_release(fresh_stage: Stage) -> Stage:
    fresh_stage.put_back()
    return fresh_stage


def replies(api: Api, token: str) -> list[Reply]:
    return [api.get(path, token) for path in READS_EVENTS]


def test_both_releases_answer_alike_on_the_expanded_schema(
    first_release: Stage, api: Api, database: psycopg.Connection, scanner: Integration
) -> None:
    token = api.log_in(scanner)
    before = replies(api, token)
    assert {reply.status for reply in before} == {200}
    run(first_release, "deploy/expand.sql")
    assert replies(api, token) == before
    assert deploy(first_release, "v2").stdout == "deployed v2\n"
    assert replies(api, token) == before
    assert deploy(first_release, "v1").stdout == "deployed v1\n"
    assert replies(api, token) == before
    deploy(first_release, "v2")
    run(first_release, "deploy/contract.sql")
    assert replies(api, token) == before
    columns = database.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'events'::regclass AND attnum > 0")
    assert "venue" not in {name for (name,) in columns}


def test_in_the_wrong_order_the_old_release_fails_and_the_new_one_does_not(
    first_release: Stage, api: Api, scanner: Integration
) -> None:
    token = api.log_in(scanner)
    run(first_release, "deploy/rename.sql")
    assert {reply.status for reply in replies(api, token)} == {500}
    assert api.get("/v1/attendees/7", token).status == 200
    deploy(first_release, "v2")
    assert {reply.status for reply in replies(api, token)} == {200}


@pytest.mark.slow
def test_nobody_is_turned_away_during_a_deploy(first_release: Stage, api: Api, scanner: Integration) -> None:
    token = api.log_in(scanner)
    seen: list[int | str] = []
    done = threading.Event()

    def ask_on() -> None:
        while not done.is_set():
            try:
                seen.append(api.get("/v1/attendees/7", token).status)
            except OSError as error:
                seen.append(str(error))

    clients = [threading.Thread(target=ask_on) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for release in ("v2", "v1") * 4:
            assert deploy(first_release, release).returncode == 0
    finally:
        done.set()
        for client in clients:
            client.join(30)
    assert len(seen) > 50
    assert set(seen) == {200}


def test_what_cannot_be_deployed_leaves_what_runs(first_release: Stage, api: Api, scanner: Integration) -> None:
    done = deploy(first_release, "v3")
    assert done.returncode == 4
    assert "There is no release 'v3' of the API." in done.stderr
    assert api.get("/v1/events/7", api.log_in(scanner)).status == 200


def test_a_reset_deploys_the_first_release(first_release: Stage, api: Api, scanner: Integration) -> None:
    run(first_release, "deploy/rename.sql")
    deploy(first_release, "v2")
    environment = {**os.environ, "STAGE_DSN": first_release.dsn}
    environment["STAGE_DEPLOYS"] = first_release.environment["STAGE_DEPLOYS"]
    subprocess.run([sys.executable, "-m", "replay.demo.reset"], env=environment, check=True)
    assert b"ok" in api.get("/health").body
    assert {reply.status for reply in replies(api, api.log_in(scanner))} == {200}


def test_nobody_to_deploy_is_said() -> None:
    with pytest.raises(StageError, match="Nobody deploys at"):
        ask("127.0.0.1:1", "v2")


def test_a_port_that_is_taken_is_said(first_release: Stage, tmp_path: Path) -> None:
    port = int(first_release.url.rpartition(":")[2])
    with pytest.raises(StageError, match=f"cannot listen on port {port}"):
        Stage(tmp_path, port=port)


def works(api: Api, scanner: Integration, token: str) -> set[str]:
    """Which parts of the API work."""
    guest = {"name": "Guest", "email": "guest@example.test", "ticket": "standard"}
    answers = {
        "logins": api.token(scanner, device="door"),
        "events": api.get("/v1/events/7", token),
        "registrations": api.post("/v1/events/7/registrations", token, guest),
        "check-ins": api.post("/v1/registrations/7/check-in", token),
        "attendees": api.get("/v1/events/7/attendees", token),
    }
    return {name for name, answer in answers.items() if answer.status < 300}


def test_the_incident_breaks_fails_heals_and_reverts(
    first_release: Stage, api: Api, database: psycopg.Connection, scanner: Integration
) -> None:
    before = catalog(database)
    token = api.log_in(scanner)
    whole = works(api, scanner, token)
    assert len(whole) == 5
    run(first_release, "incident/0043_scopes_and_gates.sql")
    assert works(api, scanner, token) == {"attendees"}
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        run(first_release, "incident/rollback.sql")
    assert works(api, scanner, token) == {"attendees"}
    run(first_release, "incident/hotfix.sql")
    assert works(api, scanner, token) == {"attendees", "logins", "registrations"}
    run(first_release, "incident/revert.sql")
    assert works(api, scanner, token) == whole
    assert catalog(database) == before
