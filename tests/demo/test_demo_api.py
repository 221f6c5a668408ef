import csv
import io
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from replay.demo.identities import Integration
from replay.demo.reset import reset
from replay.demo.stage import Stage

from .conftest import Api


def test_a_token_opens_the_api(api: Api, suite: Integration) -> None:
    issued = api.token(suite).json()
    assert set(issued) == {"access_token", "refresh_token", "expires_in", "token_type"}
    assert api.get("/v1/events/1", issued["access_token"]).status == 200
    renewed = api.token(suite, grant_type="refresh_token", refresh_token=issued["refresh_token"]).json()
    assert renewed["access_token"] != issued["access_token"]
    assert api.get("/v1/events/1", renewed["access_token"]).status == 200


def test_a_refreshed_token_keeps_its_device(api: Api, scanner: Integration, database: psycopg.Connection) -> None:
    issued = api.token(scanner, device="left door").json()
    api.token(scanner, grant_type="refresh_token", refresh_token=issued["refresh_token"])
    assert database.execute("SELECT FROM access_tokens WHERE device = 'left door'").rowcount == 2


def test_tokens_are_kept_hashed(api: Api, suite: Integration, database: psycopg.Connection) -> None:
    token = api.log_in(suite)
    assert not database.execute("SELECT FROM access_tokens t WHERE t::text LIKE %s", [f"%{token}%"]).rowcount


@pytest.mark.parametrize(
    "path", ["/v1/events", "/v1/attendees/1", "/v1/exports/registrations?from=2025-09-01&to=2025-09-01"]
)
def test_without_a_valid_token_nothing_is_answered(api: Api, path: str) -> None:
    assert api.get(path).status == 401
    assert api.get(path, "made-up").status == 401


def test_wrong_credentials_are_refused(api: Api, suite: Integration) -> None:
    assert api.token(suite, client_secret="wrong").status == 401
    assert api.token(suite, grant_type="refresh_token", refresh_token="wrong").status == 401
    assert api.token(suite, grant_type="password").status == 400


def test_cursors_lead_through_all_pages_once(api: Api, suite: Integration) -> None:
    token = api.log_in(suite)
    seen, path = [], "/v1/events/1/attendees?limit=40"
    page = api.get(path, token).json()
    while page["next_cursor"]:
        seen += [item["id"] for item in page["items"]]
        page = api.get(f"{path}&cursor={page['next_cursor']}", token).json()
    seen += [item["id"] for item in page["items"]]
    assert len(seen) > 80
    assert seen == sorted(set(seen))
    assert len(seen) == api.get("/v1/events/1/summary", token).json()["registrations"]


def test_a_registration_is_made_read_and_checked_in(
    api: Api, scanner: Integration, database: psycopg.Connection
) -> None:
    token = api.log_in(scanner, device="scanner 1")
    guest = {"name": "Guest", "email": "guest@example.test", "ticket": "standard"}
    made = api.post("/v1/events/3/registrations", token, guest)
    assert made.status == 201
    number = made.json()["id"]
    assert api.get(f"/v1/registrations/{number}", token).json()["status"] == "booked"
    assert api.get(f"/v1/attendees/{made.json()['attendee_id']}", token).json()["name"] == "Guest"
    for _ in range(2):
        assert api.post(f"/v1/registrations/{number}/check-in", token).json()["status"] == "checked-in"
    assert database.execute("SELECT device FROM check_ins WHERE registration_id = %s", [number]).fetchall() == [
        ("scanner 1",)
    ]


def test_what_is_not_there_and_what_is_not_understood(api: Api, suite: Integration) -> None:
    token = api.log_in(suite)
    assert api.get("/v1/attendees/999999999", token).status == 404
    assert api.post("/v1/registrations/999999999/check-in", token).status == 404
    assert api.post("/v1/events/999999/registrations", token, {"name": "a", "email": "b", "ticket": "c"}).status == 404
    assert api.post("/v1/events/1/registrations", token, {"name": "a"}).status == 422
    assert api.get("/v1/exports/registrations?from=soon", token).status == 422


def test_search_and_events(api: Api, suite: Integration) -> None:
    token = api.log_in(suite)
    found = api.get("/v1/search?q=forum%2012", token).json()
    assert found["count"] == len(found["items"]) > 0
    assert all(item["name"].startswith("Forum 12") for item in found["items"])


def test_an_export_holds_the_token_table_while_it_reads(
    api: Api, suite: Integration, database: psycopg.Connection
) -> None:
    token = api.log_in(suite)
    with ThreadPoolExecutor(1) as pool:
        # 40 rows a day in this small Stage: a month takes two seconds.
        export = pool.submit(api.get, "/v1/exports/registrations?from=2025-10-01&to=2025-10-30", token)
        held = 0
        while not export.done():
            held += database.execute(
                "SELECT FROM pg_locks WHERE relation = 'access_tokens'::regclass AND mode = 'AccessShareLock'"
            ).rowcount
            time.sleep(0.1)
    rows = list(csv.DictReader(io.StringIO(export.result().body.decode())))
    assert held > 5
    assert len(rows) == pytest.approx(30 * 40, abs=2)
    assert {row["status"] for row in rows} == {"booked", "checked-in"}


def test_when_the_pool_starves_the_answer_is_empty_and_logged(
    stage: Stage, api: Api, suite: Integration, scanner: Integration
) -> None:
    """A lock on the token table keeps every connection; who comes then gets 200 with nothing in it."""
    token = api.log_in(suite)
    with psycopg.connect(stage.dsn) as locking, ThreadPoolExecutor(24) as pool:
        locking.execute("LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE")
        reads = [pool.submit(api.get, "/v1/events/1", token) for _ in range(20)]
        logins = [pool.submit(api.token, scanner) for _ in range(4)]
        queries = waiting_queries(stage, 18)
        time.sleep(2.5)
        locking.rollback()
        answers = [read.result() for read in reads]
        issued = [login.result() for login in logins]
    assert {answer.status for answer in answers + issued} == {200}
    assert sum(answer.body == b"" for answer in answers) == 4
    assert sum(answer.body == b"" for answer in issued) == 2
    assert any(query.endswith("/*route='GET /v1/events/{id}'*/") for query in queries)
    assert any(query.endswith("/*route='POST /oauth/token'*/") for query in queries)
    log = stage.error_log.read_text()
    assert log.count("no connection in time") == 6
    assert log.count("Traceback") >= 6


def waiting_queries(stage: Stage, count: int) -> list[str]:
    """What the API waits with, once ``count`` of its connections wait for a lock."""
    with psycopg.connect(stage.dsn, autocommit=True) as looking:
        deadline = time.monotonic() + 20
        while True:
            waiting = looking.execute(
                "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'event-api'"
            ).fetchall()
            if len(waiting) == count:
                return [query for (query,) in waiting]
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_statement_that_fails_is_a_500_and_logged(
    stage: Stage, api: Api, suite: Integration, database: psycopg.Connection
) -> None:
    token = api.log_in(suite)
    database.execute("ALTER TABLE events RENAME COLUMN venue TO place")
    try:
        answer = api.get("/v1/events/1", token)
    finally:
        database.execute("ALTER TABLE events RENAME COLUMN place TO venue")
    assert answer.status == 500
    assert answer.json() == {"status": 500, "detail": "internal error"}
    assert "UndefinedColumn" in stage.error_log.read_text()


def test_the_api_survives_a_reset(stage: Stage, api: Api, suite: Integration) -> None:
    old = api.log_in(suite)
    reset(stage.dsn)
    assert api.get("/health").status == 200
    assert api.get("/v1/events/1", old).status == 401
    assert api.get("/v1/events/1", api.log_in(suite)).status == 200
    assert stage.error_log.read_text() == ""
