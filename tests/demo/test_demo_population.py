import asyncio
import itertools
import re
from collections import Counter
from pathlib import Path

import psycopg

from replay.demo import population
from replay.demo.endpoints import ROUTES
from replay.demo.identities import INTEGRATIONS, write_identities
from replay.demo.stage import Stage
from replay.demo.wire import Answer, Wire


def endpoints(answers: list[Answer]) -> Counter[str]:
    return Counter(
        f"{answer.method} {re.sub(r'/[0-9]+', '/{id}', answer.path.partition('?')[0])}" for answer in answers
    )


def test_production_is_answered(stage: Stage, database: psycopg.Connection) -> None:
    before = database.execute("SELECT max(id) FROM access_tokens").fetchone()
    answers = asyncio.run(population.production(stage.url, 8.5))
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


def test_production_is_the_same_for_the_same_seed() -> None:
    """What is sent and when is decided beforehand, not by how fast Stage answers."""
    plans = []
    for _ in range(2):
        seats: list[Answer] = []
        seat = population._sit_down("http://127.0.0.1:1", INTEGRATIONS[0], 1, 5, seats)
        plans.append(population._moments(seat.dice, 0.0, 60.0))
    assert plans[0] == plans[1]
    assert 50 < len(plans[0]) < 90


def test_qa_calls_every_endpoint_in_every_loop_and_never_names_a_device(
    stage: Stage, database: psycopg.Connection
) -> None:
    before = database.execute("SELECT count(device) FROM access_tokens").fetchone()
    answers = asyncio.run(population.qa(stage.url, 5.0))
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
