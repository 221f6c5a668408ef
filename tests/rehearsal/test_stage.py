"""Stage before an arm: its replicas have all, its caches are warm."""

import sys
import uuid

import psycopg
import pytest

from replay.errors import StageError
from replay.rehearsal.plan import read_plan
from replay.rehearsal.stage import put_back, wait_for_replicas

from .stepping import running


def probes(setting):
    return read_plan(setting.write(), setting.environment).probes


@pytest.mark.usefixtures("table")
def test_an_arm_does_not_begin_while_a_replica_is_behind(playable, server) -> None:
    wait_for_replicas(probes(playable), 30)
    with psycopg.connect(server.replica, autocommit=True) as replica:
        replica.execute("SELECT pg_wal_replay_pause()")
        try:
            with server.connect() as connection:
                connection.execute("UPDATE token SET scope = repeat('x', 200)")
            with pytest.raises(StageError, match=r"the replica 127\.0\.0\.1:\d+ is [\d,]+ bytes behind, 0\.5 s after"):
                wait_for_replicas(probes(playable), 0.5)
        finally:
            replica.execute("SELECT pg_wal_replay_resume()")
    wait_for_replicas(probes(playable), 30)


def test_a_replica_that_does_not_answer_is_named(playable) -> None:
    playable.environment["STAGE_REPLICA_DSN"] = "host=127.0.0.1 port=1 user=tester dbname=postgres"
    with pytest.raises(StageError, match=r"127\.0\.0\.1:1 cannot be read"):
        wait_for_replicas(probes(playable), 0.1)


def test_a_primary_is_no_replica(playable) -> None:
    playable.environment["STAGE_REPLICA_DSN"] = playable.environment["STAGE_DSN"]
    with pytest.raises(StageError, match="is not a replica"):
        wait_for_replicas(probes(playable), 0.1)


def test_a_warming_that_fails_is_named_with_its_log(playable) -> None:
    playable.values["target"]["warm"] = f"{sys.executable} -c 'print(41 + 1); raise SystemExit(3)'"
    doings: list[str] = []
    with pytest.raises(StageError, match="Stage's warm failed: exit code 3") as failed:
        bring_back(playable, doings)
    log = playable.folder / "warm.log"
    assert str(log) in failed.value.hint
    assert "42" in log.read_text()
    assert doings == ["putting Stage back", "waiting until Stage answers", "warming Stage's caches"]


def test_nothing_is_left_of_a_warming_at_its_limit(playable) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    playable.values["target"] |= {"warm": f"sh -c 'sleep 60 & sleep 60; : {mark}'", "reset_timeout": "2s"}
    with pytest.raises(StageError, match="Stage's warm failed: ended at its limit of 2 s"):
        bring_back(playable, [])
    assert running(mark) == []


def bring_back(playable, doings: list[str]) -> float:
    plan = read_plan(playable.write(), playable.environment)
    return put_back(plan.target, plan.folder, playable.folder, str, doings.append)
