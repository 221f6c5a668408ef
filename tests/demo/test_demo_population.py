import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import psycopg
import pytest

from replay.demo import population
from replay.demo.api import TOKEN_CONNECTIONS, TOKEN_WAIT_S
from replay.demo.endpoints import ROUTES
from replay.demo.identities import INTEGRATIONS, write_identities
from replay.demo.stage import Stage
from replay.demo.wire import Answer, Wire


def endpoints(answers: list[Answer]) -> Counter[str]:
    return Counter(
        f"{answer.method} {re.sub(r'/[0-9]+', '/{id}', answer.path.partition('?')[0])}" for answer in answers
    )


def played(stage: Stage, play: Callable[[], Coroutine[object, object, list[Answer]]]) -> list[Answer]:
    """What ``play`` was answered. Played again where the machine stood still for longer than the API waits for a
    connection: then it answers nothing, as it is made to, and says so in its log.
    """
    for _ in range(3):
        stage.error_log.write_bytes(b"")
        answers = asyncio.run(play())
        if b"no connection in time" not in stage.error_log.read_bytes():
            break
    return answers


@pytest.mark.slow
def test_production_is_answered(stage: Stage, database: psycopg.Connection) -> None:
    before = database.execute("SELECT max(id) FROM access_tokens").fetchone()
    answers = played(stage, lambda: population.production(stage.url, 8.5))
    assert not [answer for answer in answers if answer.status not in {200, 201}]
    assert all(answer.body for answer in answers)
    assert set(endpoints(answers)) == {*ROUTES, "POST /oauth/token"}
    assert any("cursor=" in answer.path for answer in answers)
    with_device, without = database.execute(
        "SELECT count(DISTINCT integration_id) FILTER (WHERE device IS NOT NULL), "
        "count(DISTINCT integration_id) FILTER (WHERE device IS NULL) FROM access_tokens WHERE id > %s",
        before,
    ).fetchone() or (0, 0)
    assert (with_device, without) == (18, 22)


def test_a_client_that_got_no_token_logs_in_before_it_acts(stage: Stage, database: psycopg.Connection) -> None:
    seats = [
        population._sit_down(stage.url, integration, 1, 5, []) for integration in INTEGRATIONS[: 1 + TOKEN_CONNECTIONS]
    ]

    async def log_in_while_locked() -> None:
        with database.transaction():
            database.execute("LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE")
            logins = [asyncio.create_task(seat.log_in()) for seat in seats]
            await asyncio.wait(logins, timeout=10 * TOKEN_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*logins)
        for seat in seats:
            await population.search(seat)

    asyncio.run(log_in_while_locked())
    told = sorted([(answer.path.partition("?")[0], bool(answer.body)) for answer in seat.answers] for seat in seats)
    assert told[0] == [("/oauth/token", False), ("/oauth/token", True), ("/v1/search", True)]
    assert told[1:] == [[("/oauth/token", True), ("/v1/search", True)]] * TOKEN_CONNECTIONS
    assert all(answer.status == 200 for seat in seats for answer in seat.answers)


def test_production_is_the_same_for_the_same_seed() -> None:
    """What is sent and when is decided beforehand, not by how fast Stage answers."""
    plans = []
    for _ in range(2):
        seats: list[Answer] = []
        seat = population._sit_down("http://127.0.0.1:1", INTEGRATIONS[0], 1, 5, seats)
        plans.append(population._moments(seat.dice, 0.0, 60.0))
    assert plans[0] == plans[1]
    assert 50 < len(plans[0]) < 90


@pytest.mark.slow
def test_qa_calls_every_endpoint_in_every_loop_and_never_names_a_device(
    stage: Stage, database: psycopg.Connection
) -> None:
    before = database.execute("SELECT count(device) FROM access_tokens").fetchone()
    answers = played(stage, lambda: population.qa(stage.url, 5.0))
    assert not [answer for answer in answers if answer.status not in {200, 201}]
    assert all(answer.body for answer in answers)
    assert set(endpoints(answers)) == {*ROUTES, "POST /oauth/token"}
    assert database.execute("SELECT count(device) FROM access_tokens").fetchone() == before
    pauses = [later.at_s - earlier.at_s - earlier.took_s for earlier, later in itertools.pairwise(answers)]
    assert sorted(pauses)[len(pauses) // 2] < 0.15


def test_an_answer_that_never_comes_is_one_with_status_0() -> None:
    answer = asyncio.run(Wire("http://127.0.0.1:1", "test/1").send("GET", "/"))
    assert (answer.status, answer.body, answer.json()) == (0, b"", {})


def test_identities_have_a_secret_for_every_client(tmp_path: Path) -> None:
    write_identities(tmp_path / "identities.csv")
    lines = (tmp_path / "identities.csv").read_text().splitlines()
    assert lines[0] == "client,client_secret"
    assert len(lines) == len(set(lines)) == len(INTEGRATIONS) + 1 == 43
