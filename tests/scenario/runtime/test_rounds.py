"""A schedule that repeats is played with values of each round's own, and nothing of a round stays when it is over."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from replay.scenario.runtime.carried import CarriedValues
from replay.scenario.schedule import Extract, Inject, PlannedRequest
from replay.traffic import Response

Plan = Callable[..., PlannedRequest]
COUNTING = """
        from pathlib import Path

        from replay.scenario.runtime.user import _SESSIONS

        (session,) = _SESSIONS.values()
        engine = session._engine
        sizes = [engine._needed, engine._answered, engine._roots, engine._over, engine._play.values._values]
        with (Path(__file__).parent / "sizes").open("a") as file:
            print(*map(len, sizes), file=file)
        return request
"""


@pytest.mark.slow
def test_nothing_of_a_round_stays(stage: Any, room: Any, planned: Plan) -> None:
    token = Extract("json:/id", "captured")
    room.write(
        [
            planned(0, "/flaky/0/503", extracts=(token,)),
            planned(1, "/v2/events/captured", 0.05, after=0, injects=(Inject("path", "captured", 0),)),
            planned(2, "/ok", 0.1, visit=1),
        ],
        prepare=COUNTING.strip(),
    )
    run = room.play(stage.url, duration_s=6.0)
    assert run.code == 0, run.said
    rows = run.observations()
    assert len(rows) == 179  # the last round's last is due at the end
    assert [*rows.request] == [*range(179)]
    assert set(rows.outcome) == {"ok"}
    sizes = [max(map(int, line.split())) for line in (room.folder / "sizes").read_text().splitlines()]
    assert max(sizes[90:]) <= max(20, *sizes[:30])


def test_values_are_let_go_of_and_secrets_are_bounded(planned: Plan) -> None:
    values = CarriedValues({"c1": {"client_secret": "made-up-secret"}}, {})
    given = Extract("json:/t", "captured")
    for number in range(2000):
        body = b'{"t": "token-number-%d"}' % number
        response = Response(200, (("Content-Type", "application/json"),), body)
        values.answered(planned(number, extracts=(given,)), response)
        if number:
            values.forget(number - 1)
    later = planned(2000, injects=(Inject("bearer", "captured", 1999),))
    assert values.needed(later) == {later.injects[0]: "token-number-1999"}
    assert len(values._values) == 1
    secrets = values.secrets("c1")
    assert {"made-up-secret", "token-number-1999"} <= secrets
    assert len(secrets) == 501


STATS = """
from locust.stats import RequestStats
from replay.scenario.runtime.pruning import prune

stats = RequestStats()
entry = stats.get("/x", "GET")
kept = [stats.total.num_reqs_per_sec, entry.num_reqs_per_sec, entry.num_fail_per_sec]
for counts in kept:
    counts.update(dict.fromkeys(range(100, 200), 1))
prune(stats, 150)
assert all([*counts] == [*range(150, 200)] for counts in kept), kept
"""


def test_locust_keeps_the_last_seconds_only() -> None:
    """In a process of its own: locust patches the one that imports it."""
    subprocess.run([sys.executable, "-c", STATS], check=True, timeout=60)
